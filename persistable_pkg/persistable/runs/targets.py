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
    """The nodes and families that `targets` mean: in lists, tuples and dicts of such, and in whatever lists its own in ``targets``.

    Raises TypeError for what is none of these.
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
        found += leaves_of(inner.values() if issubclass(inner.__class__, Mapping) else inner)  # a project has names for them
    return found


def base_of(leaves: Iterable[Any], store: Any) -> Store:
    """The store of those of `leaves` that name none: `store`, else the enclosing one, else that of their last run, else the default.

    Within the code of a node, that node's store encloses it, in whichever thread or process it is generated.
    """
    if store is not None:
        return open_store(store)
    return nearest_store() or default_store(next(filter(None, map(remembered_store, leaves)), None))


_is_family: Callable[[Any], bool] = attrgetter("_node_is_family")
"""Tell whether a node or family is a family."""


def remember(leaves: Iterable[Any], store: Store) -> None:
    """Let nodes among `leaves` that name no store, families, and all that is upstream of them find what a run puts into `store`."""
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


def makers(leaves: Iterable[Any], store: Store) -> list[tuple[Any, Any]]:
    """The (node, store) pairs of the nodes that make the members of families among `leaves`, as far as they have not made all of them."""
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
"""A family with fewer members is planned as the single nodes are."""


def pairs(targets: Iterable[Any], store: Store, large: list[Any] | None = None) -> list[tuple[Any, Any]]:
    """The (node, store) pairs that `targets`, or the leaves of them, mean.

    large: takes the `key_chunks` of large families, of which no node is made. Raises TypeError for what `leaves_of` does not take,
    InputMissing for a node that is open.
    """
    found: list[tuple[Any, Any]] = []
    looked: set[int] = set()
    for leaf in leaves_of(targets):
        nodes: Iterable[Any] = (leaf,)
        if _is_family(leaf):
            leaf.refresh_once(looked)  # members come and go with what it follows, and all targets see the same
            chunks = leaf.key_chunks if large is not None and len(leaf) >= SMALLEST else None
            if large is not None and chunks is not None:
                large.append(chunks)
                continue
            nodes = leaf.targets
        for node in nodes:
            node.key  # noqa: B018 - an open node says here what it needs
            found.append((node, own_store(node) or store))
    return found
