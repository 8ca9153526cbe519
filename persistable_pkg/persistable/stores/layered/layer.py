"""One layer of a `LayeredStore`: a store, with its limits and permissions."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any, cast
from urllib.parse import parse_qsl, quote

from persistable.errors import LayerSkippedWarning, StoreError
from persistable.params.masking import masked
from persistable.stores.base import Store, extended
from persistable.stores.open import open_store
from persistable.stores.readonly import ReadOnlyStore, Unwritable
from persistable.stores.signing_keys import TRUSTING

_NAMES = ("url", "readonly", "max_bytes", "trust", "sign", "options")
_SCHEME = "layered://?"


class Layer:
    """A store as one of several layers.

    ``store`` is a path, a URL or a store. ``trust`` names the public keys, one of which has to have signed a record here,
    and ``sign`` the private key to sign with, as in `open_store`; with ``trust`` and without ``sign`` the layer is ``readonly``.
    """

    readonly: bool
    """True for a layer that is never written, claimed in or collected; also where its store was opened as read-only."""
    store: Store
    """The store of this layer."""
    max_bytes: int | None
    """Files of more bytes bypass the layer (None: no limit), unless it is the slowest that may be written."""

    __slots__ = ("max_bytes", "readonly", "store")

    def __init__(
        self,
        store: str | os.PathLike[str] | Store,
        *,
        readonly: bool = False,
        max_bytes: int | None = None,
        trust: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        sign: Any = None,
    ) -> None:
        if max_bytes is not None and (type(max_bytes) is not int or max_bytes < 0):
            raise ValueError(f"max_bytes is {max_bytes!r}; give a number of bytes, 0 or more, or None for no limit")
        opened = open_store(store, sign=sign, trust=trust) if sign is not None or trust is not None else open_store(store)
        self.readonly = readonly or isinstance(opened, Unwritable)
        self.store = ReadOnlyStore(opened) if readonly and not isinstance(opened, Unwritable) else opened
        self.max_bytes = max_bytes

    @property
    def trust(self) -> tuple[str, ...] | None:
        """The public keys, one of which has to have signed a record here; None where no signature is required."""
        return extended(self.store).trust

    @classmethod
    def of(cls, source: Any) -> Layer:
        """The layer given as a path, URL, store, mapping (as in ``persistable.toml``) or layer."""
        if isinstance(source, Layer):
            return source
        made = cls._of(cast("Mapping[str, Any]", source)) if isinstance(source, Mapping) else cls(source)
        place = made.store.local_path("any") if made.readonly else None
        if place is not None and not place.parent.is_dir():
            warnings.warn(
                f"nothing is found in the layer {made.store.url}: there is no such folder; mount it, or correct the path",
                LayerSkippedWarning,
                stacklevel=6,
            )
        return made

    @classmethod
    def _of(cls, facts: Mapping[str, Any]) -> Layer:
        for name in facts:
            if name not in _NAMES:  # a misspelled `readonly` must not permit writes
                near = get_close_matches(str(name), _NAMES, n=1)
                hint = f"; did you mean {near[0]}" if near else ""
                takes = ", ".join(_NAMES)
                raise TypeError(f"a layer has no {name!r}{hint}; it takes {takes}; settings of the store itself go into options")
        if "url" not in facts:
            raise TypeError(f"the layer {dict(facts)!r} names no store; add url = a path or URL")
        rest = {name: fact for name, fact in facts.items() if name not in ("url", "options")}
        return cls(open_store(facts["url"], **facts.get("options", {})), **rest)

    def takes(self, size: int) -> bool:
        """Tell whether a file of `size` bytes may be kept here as a copy."""
        return self.max_bytes is None or size <= self.max_bytes

    def __repr__(self) -> str:
        facts = [
            self.store.url,
            *(["readonly"] if self.readonly else []),
            *([f"max_bytes={self.max_bytes}"] if self.max_bytes is not None else []),
        ]
        return f"<Layer {' '.join(facts)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Layer, readonly=self.readonly, max_bytes=self.max_bytes), (self.store,)


def url_of(layers: Iterable[Layer]) -> str:
    """One URL for all layers: each as ``layer=``, followed by its options."""
    items: list[str] = []
    for layer in layers:
        items.append("layer=" + quote(layer.store.url.partition(TRUSTING)[0], safe=":/"))
        if layer.readonly:
            items.append("readonly=1")
        if layer.max_bytes is not None:
            items.append(f"max_bytes={layer.max_bytes}")
        items.extend("trust=" + quote(name, safe=":/") for name in layer.trust or ())
    return _SCHEME + "&".join(items)


def layers_of(url: str) -> list[Layer]:
    """The layers of a URL from `url_of`, or one written by hand. Raises StoreError for an unknown part."""
    found: list[dict[str, Any]] = []
    for name, value in parse_qsl(url.partition("?")[2], keep_blank_values=True):
        if name == "layer":
            found.append({"url": value})
        elif found and name == "readonly" and value in ("", "0", "1"):
            found[-1]["readonly"] = value != "0"
        elif found and name == "max_bytes" and value.isdecimal():
            found[-1]["max_bytes"] = int(value)
        elif found and name == "trust":
            found[-1]["trust"] = (*found[-1].get("trust", ()), value)
        else:
            shown, word = masked(url), masked(f"{name}={value}")
            message = f"{shown}: {word} says nothing of a layer; write layered://?layer=URL&readonly=1&layer=URL"
            raise StoreError(message, url=shown, path="")
    return [Layer.of(facts) for facts in found]
