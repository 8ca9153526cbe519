"""`accept_code`: accept the code changes of many payloads at once, as changes in nothing that matters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from persistable.nodes import loading
from persistable.nodes.status import PORTION, look_up
from persistable.nodes.types import own_store, upstream_of
from persistable.runs.targets import base_of, leaves_of, pairs
from persistable.stores.base import Store


def accept_code(*targets: Any, reason: str, store: Any = None, upstream: bool = True) -> int:
    """Accept the code of every stale or foreign payload stored among `targets`: record that it has changed in nothing that matters.

    Parameters:
        targets: nodes, families, lists or dicts of them, pipelines, workspaces.
        reason: the text to keep in each record.
        store: the store of nodes that name none; by default as for `run`.
        upstream: whether their upstream payloads are accepted as well.

    Returns the number of records changed. Payloads downstream that were stale only because of these need no change.
    """
    leaves = leaves_of(targets)
    found = pairs(leaves, base_of(leaves, store))
    return accept_all(_lineage(found) if upstream else found, reason)


def accept_all(nodes: Iterable[tuple[Any, Store]], reason: str) -> int:
    """Accept the code of these nodes, each in its store, given upstream before downstream; see `accept_code`."""
    left = [(node, store) for node, store in nodes if node.is_persisted]
    number = 0
    for first in range(0, len(left), PORTION):
        some = left[first : first + PORTION]
        keys = {node.key for node, _ in some}
        for (node, store), found in zip(some, look_up(some), strict=True):
            verdict = found.verdict
            follows = verdict.follows and keys.issuperset(cause.key for cause in verdict.causes)
            if found.stored and verdict.barred is None and (verdict.foreign or (verdict.causes and not follows)):
                loading.accept_code(node, store, reason)
                number += 1
    return number


def _lineage(found: list[tuple[Any, Store]]) -> list[tuple[Any, Store]]:
    """These nodes and all upstream of them, upstream first, each with its store."""
    done: dict[tuple[str, Any], tuple[Any, Store]] = {}
    stack = [(node, store, False) for node, store in reversed(found)]
    while stack:
        node, store, ready = stack.pop()
        place = (store.url, node.place if node.is_persisted else node.key)
        if place in done:
            continue
        if ready or not upstream_of(node):
            done[place] = (node, store)
            continue
        stack.append((node, store, True))
        stack.extend((source, own_store(source) or store, False) for source in upstream_of(node).values())
    return list(done.values())
