"""Targets of a run: nodes, families, pipelines and collections of these, as pairs of a node and its store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any

from persistable.nodes.binding import remember_store, remembered_store
from persistable.nodes.generation import default_store, nearest_store
from persistable.nodes.types import own_store, upstream_of
from persistable.stores.base import Store
from persistable.stores.open import open_store


def leaves_of(targets: Iterable[Any]) -> list[Any]:
    """The nodes and families in `targets`, also in lists, tuples and dicts of them, and in objects that list theirs in ``targets``.

    Raises TypeError for any other object.
    """
    found: list[Any] = []
    for target in targets:
        kind: Any = target.__class__
        if getattr(kind, "_node_is_node", False) or getattr(kind, "_node_is_family", False):
            found.append(target)
            continue
        if issubclass(kind, dict | list | tuple):
            inner: Any = target
        elif hasattr(kind, "targets") or (not issubclass(kind, type) and hasattr(target, "targets")):
            inner = target.targets
        else:
            what = f"call {target.__name__}.step(...) for a node of it" if getattr(target, "_is_step", False) else "give nodes"
            raise TypeError(f"{target!r:.80} is nothing to run: {what}, lists or dicts of them, or a Pipeline")
        found += leaves_of(inner.values() if issubclass(inner.__class__, Mapping) else inner)  # a mapping in a project
    return found


def base_of(leaves: Iterable[Any], store: Any) -> Store:
    """The store of those of `leaves` that name none: `store`, else the enclosing one, else that of their last run, else the default.

    Within the code of a node, that node's store encloses it, in any thread or process that generates it.
    """
    if store is not None:
        return open_store(store)
    return nearest_store() or default_store(next(filter(None, map(remembered_store, leaves)), None))


_is_family: Callable[[Any], bool] = attrgetter("_node_is_family")
"""Tell whether a node or family is a family."""


def remember(leaves: Iterable[Any], store: Store) -> None:
    """Set `store` as the store of the last run, for families and nodes without a store among `leaves`, and all upstream of them."""
    seen: set[int] = set()
    stack: list[tuple[Iterable[Any], Store]] = [(leaves, store)]
    while stack:
        some, store = stack.pop()
        for target in some:
            where = store
            if _is_family(target):
                upstream: Iterable[Any] = target.remember(where) if id(target) not in seen else ()
            else:
                own = own_store(target)
                if own is None:
                    remember_store(target, where)
                else:
                    where = own
                upstream = upstream_of(target)
                upstream = upstream.values() if upstream else ()
            if upstream and id(target) not in seen:
                seen.add(id(target))
                stack.append((upstream, where))


def unfinished_makers(leaves: Iterable[Any], store: Store) -> list[tuple[Any, Any]]:
    """The (node, store) pairs of the nodes that make the members of families among `leaves` and have not made all of them yet."""
    found: dict[Any, tuple[Any, Any]] = {}
    for target in leaves:
        for source in target.sources if _is_family(target) else ():
            if hasattr(source, "is_sealed"):
                where = own_store(target) or store
                source.look_in(where)
                if not source.is_sealed:
                    found[source] = (source.node, own_store(source.node) or where)
    return list(found.values())


SMALLEST = 500
"""The smallest family that is planned in chunks; the nodes of a smaller one are planned like single nodes."""


def pairs(targets: Iterable[Any], store: Store, large: list[Any] | None = None) -> list[tuple[Any, Any]]:
    """The (node, store) pairs of `targets`, or of their leaves.

    large: receives the `key_chunks` of large families, of which no node is built. Raises TypeError for targets that `leaves_of` rejects,
    InputMissing for an open node.
    """
    found: list[tuple[Any, Any]] = []
    looked: set[int] = set()
    for leaf in leaves_of(targets):
        nodes: Iterable[Any] = (leaf,)
        if _is_family(leaf):
            leaf.refresh_once(looked)  # its inputs may change its members, and all targets see the same
            chunks = leaf.key_chunks if large is not None and len(leaf) >= SMALLEST else None
            if large is not None and chunks is not None:
                large.append(chunks)
                continue
            nodes = leaf.targets
        for node in nodes:
            node.key  # noqa: B018 - raises for an open node, with the inputs that it needs
            found.append((node, own_store(node) or store))
    return found
