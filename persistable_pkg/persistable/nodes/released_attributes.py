"""Attributes of nodes that the released versions had, see docs/design/released-names.md."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from persistable.nodes.types import Node
from persistable.stores.base import check_name
from persistable.stores.local import LocalStore


def released(name: str, find: Callable[[Any], Any]) -> Any:
    """An attribute computed by `find` unless a class or a constructor has set it, as both could in released versions."""

    def get(node: Node) -> Any:
        own = node.__dict__.get(name)
        return find(node) if own is None else own

    def keep(node: Node, value: Any) -> None:
        node.__dict__[name] = value

    return property(get, keep, doc=find.__doc__)


def data_dir(node: Node) -> Path | str:
    """The folder of the node's store as a `Path`; the URL of a store that is no folder."""
    store: Any = node.store
    return Path(store.root) if isinstance(store, LocalStore) else str(store.url)


def payload_file_suffix(node: Node) -> str:
    """The suffix of the payload's file: that of its format, unless the class or the constructor sets another."""
    return node._node_format().suffix


def dependencies(node: Node) -> list[Any]:
    """The nodes upstream, in the order in which they were given."""
    return list(node.upstream.values())


def checked_suffix(suffix: str) -> str:
    """`suffix`. Raises InvalidName for one that cannot end the name of a file."""
    check_name(f"x{suffix}")
    return suffix


def suffix_of(node: Node, usual: str) -> str:
    """The suffix of a payload file of `node`; `usual` if neither it nor its class has one. Raises InvalidName as `checked_suffix`."""
    kind: Any = node.__class__
    own = node.__dict__.get("payload_file_suffix") or kind.payload_file_suffix
    if not isinstance(own, str):
        return usual
    return own if checked_suffix(own).startswith(".") else f".{own}"
