"""`ForwardingStore`: a store that forwards every call to another, for classes that change some of them.

The only module that checks whether a store has the optional calls of `BaseStore`: a third-party class may have the protocol alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from persistable.stores.base import BaseStore, Listing, Store

_OF_ITS_OWN = frozenset({"info", "pickled_options", "put_unreferenced"})
"""Members that are not forwarded: each store answers them for itself. Each item has to pass through the `put` of a wrapper."""


class ForwardingStore(BaseStore):
    """A wrapper around a store of any class, with all calls of BaseStore."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def pickled_options(self) -> dict[str, Any] | None:
        return None  # options are those of the wrapped store


class _Attribute:
    """An attribute of the wrapped store, or that of BaseStore where it has none."""

    def __init__(self, name: str, default: Any) -> None:
        self._name = name
        self._default = default

    def __get__(self, instance: ForwardingStore | None, owner: type[ForwardingStore]) -> Any:
        default = self._default
        if instance is not None and isinstance(default, property):
            default = default.__get__(instance, owner)
        return default if instance is None else getattr(instance.store, self._name, default)


def _call(name: str, default: Callable[..., Any]) -> Callable[..., Any]:
    """A call of the wrapped store, or that of BaseStore where it has none."""

    @wraps(default)
    def call(self: ForwardingStore, *arguments: Any, **options: Any) -> Any:
        own = getattr(self.store, name, None)
        return default(self, *arguments, **options) if own is None else own(*arguments, **options)

    return call


_calls: dict[str, Any] = {**vars(Listing), **vars(BaseStore), "url": ""}
for _name, _default in _calls.items():
    if not _name.startswith("_") and _name not in _OF_ITS_OWN:
        setattr(ForwardingStore, _name, (_call if callable(_default) else _Attribute)(_name, _default))
