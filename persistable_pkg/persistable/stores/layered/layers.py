"""The layers of a store together: the one that decides, their common URL, options and facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from persistable.stores.base import BaseStore, Store, extended
from persistable.stores.layered.cache_copies import CacheCopies
from persistable.stores.layered.layer import Layer, layers_of, url_of
from persistable.stores.layered.mutable import MutableCache
from persistable.stores.layered.outage import Availability
from persistable.stores.layered.primary import Primary
from persistable.stores.layered.records import CachedRecords
from persistable.stores.reach import in_memory

if TYPE_CHECKING:
    from persistable.stores.signing_keys import SigningKey


class LayersOfStore(BaseStore):
    """The base of `LayeredStore`: its layers, and the properties that follow from them."""

    def __init__(self, *layers: Any) -> None:
        self.layers: tuple[Layer, ...] = tuple(Layer.of(layer) for layer in layers)
        """The layers as given, opened."""
        if not self.layers:
            raise ValueError("a LayeredStore needs at least one layer, the fastest first")
        self._at = Primary(self.layers)
        self._url = url_of(self.layers)
        self._available = Availability(self.layers, self._at)
        self._records = CachedRecords(self.layers, self._at, self._available)
        self._mutable = MutableCache(self.layers, self._at, self._available)
        self._cached = CacheCopies(self.layers, self._at, self._available, self._records, self._mutable)

    @property
    def _primary(self) -> int:
        return self._at.index

    @property
    def _caches(self) -> Sequence[int]:
        return self._at.caches

    @classmethod
    def from_url(cls, url: str, readonly: bool = False) -> Self:
        """The store of ``layered://?layer=URL&max_bytes=1000&layer=URL&readonly=1``; options follow their layer."""
        store = cls(*layers_of(url))
        return store.as_readonly() if readonly else store

    def as_readonly(self) -> Self:
        """The same layers, none of which may be written."""
        return type(self)(*[Layer(layer.store, readonly=True) for layer in self.layers])

    @property
    def url(self) -> str:
        return self._url

    @property
    def primary(self) -> Layer | None:
        """The slowest layer that may be written, which decides about commits. None where no layer may be written."""
        return self.layers[self._at.configured_index] if self._at.configured_index >= 0 else None

    @property
    def deciding(self) -> Layer | None:
        """The layer that decides now about commits: the primary, or its stand-in while it is down."""
        return self.layers[self._primary] if self._primary >= 0 else None

    @property
    def primary_store(self) -> Store:
        return extended(self.primary.store).primary_store if self.primary is not None else self

    @property
    def deciding_store(self) -> Store:
        return extended(self.deciding.store).deciding_store if self.deciding is not None else self

    @property
    def signer(self) -> SigningKey | None:  # type: ignore[override]
        """The signing key of the primary; where that has none, of the first writable layer that has one."""
        layers = [*([self.primary] if self.primary is not None else []), *self.layers]
        return next((signer for layer in layers if not layer.readonly and (signer := extended(layer.store).signer) is not None), None)

    @property
    def trust(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """The public keys that any layer trusts; None where no layer requires signatures."""
        asked = [layer.trust for layer in self.layers if layer.trust is not None]
        return tuple(dict.fromkeys(each for keys in asked for each in keys)) if asked else None

    def sync(self) -> Sequence[str]:
        """Copy to the primary the changes made while it was down, by this process or another; their paths.

        Done automatically at the first use, and when the primary answers again. Raises the error of a primary that is still down.
        """
        return self._at.sync()

    @property
    def exclusive(self) -> bool:
        """Tell whether `create` is exclusive in the primary, which holds the claims."""
        return extended(self.primary.store).exclusive if self.primary is not None else True

    def info(self) -> dict[str, Any]:
        """Facts about the store and each of its layers."""
        infos = [{**extended(layer.store).info(), "readonly": layer.readonly} for layer in self.layers]
        return {**super().info(), "layers": infos}

    @property
    def in_memory(self) -> bool:  # type: ignore[override]
        """Tell whether the primary is in the memory of this process only."""
        return self.primary is not None and in_memory(self.primary.store)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.layers, self.pickled_options()

    def pickled_options(self) -> dict[str, Any] | None:
        """The options that a pickle keeps, and the layers known to be down, so that a worker of this host does not wait for them again."""
        down = self._at.known_outage()
        return {**(super().pickled_options() or {}), "_down": down} if down else super().pickled_options()

    def __setstate__(self, state: dict[str, Any]) -> None:
        down = state.pop("_down", None)
        self.__dict__.update(state)
        if down:
            self._at.take_over(down)

    def close(self) -> None:
        """Close every layer."""
        for layer in self.layers:
            layer.store.close()
