"""States of the nodes of a picture, read from their stores, in a few round trips."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from persistable.key import Key
from persistable.status import Status, seen_of
from persistable.stores.base import Store


def look(nodes: Iterable[Any], store: Store | None) -> dict[Key, Status]:
    """The status of each of `nodes`, those that name no store in `store`. Nodes that are never stored have one only if they failed."""
    nodes = list(nodes)
    found = {node.key: seen.status for node, seen in zip(nodes, seen_of(nodes, store), strict=True)}
    return {node.key: found[node.key] for node in nodes if found[node.key] is not Status.ABSENT or node._persisted}
