"""Attributes of nodes that the released versions had, see docs/design/released-names.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from persistable.stores.base import check_name
from persistable.stores.local import LocalStore


def released(name: str, find: Callable[[Any], Any]) -> Any:
    """An attribute that is worked out where a class or a constructor has not set it: either may, as they could before."""

    def get(node: Any) -> Any:
        own = node.__dict__.get(name)
        return find(node) if own is None else own

    def keep(node: Any, value: Any) -> None:
        node.__dict__[name] = value

    return property(get, keep, doc=find.__doc__)


def data_dir(node: Any) -> Path | str:
    """The folder of the node's store as a `Path`; the URL of a store that is no folder."""
    store: Any = node.store
    return Path(store.root) if isinstance(store, LocalStore) else str(store.url)


def payload_file_suffix(node: Any) -> str:
    """The suffix of the payload's file: that of its format, unless the class or the constructor says otherwise."""
    suffix: str = node._format().suffix
    return suffix


def dependencies(node: Any) -> list[Any]:
    """The nodes upstream, in the order in which they were given."""
    return list(node.upstream.values())


def suffix_of(node: Any, usual: str) -> str:
    """The suffix of a payload file of `node`; `usual` where nobody says otherwise. Raises InvalidName for what is no suffix."""
    own = node.__dict__.get("payload_file_suffix") or node.__class__.payload_file_suffix
    if not isinstance(own, str):
        return usual
    check_name(f"x{own}")
    return own if own.startswith(".") else f".{own}"
