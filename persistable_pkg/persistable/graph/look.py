"""What a store says of many nodes at once, in a few round trips."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from persistable import claims, stored
from persistable.errors import PayloadCorrupted
from persistable.key import Key
from persistable.record import FAILED_SUFFIX, SUFFIX, Record
from persistable.status import Status
from persistable.stores.base import Store


def look(nodes: Iterable[Any], store: Store | None) -> dict[Key, Status]:
    """The status of each of `nodes`, which come upstream first. Nodes that are never stored have one only if they failed."""
    nodes = list(nodes)
    places: dict[int, tuple[Store, list[Any]]] = {}
    for node in nodes:
        where: Store = node._store or store or node.store
        places.setdefault(id(where), (where, []))[1].append(node)
    found: dict[Key, Status] = {}
    for where, members in places.values():
        found.update(_in_one_store(where, members))
    _block(nodes, found)
    return {node.key: found[node.key] for node in nodes if found[node.key] is not Status.ABSENT or getattr(node, "_persisted", True)}


def _in_one_store(store: Store, nodes: list[Any]) -> dict[Key, Status]:
    records = store.get_many([node.key.path + SUFFIX for node in nodes])
    without = [node for node in nodes if node.key.path + SUFFIX not in records]
    failures = store.get_many([node.key.path + FAILED_SUFFIX for node in without])
    found: dict[Key, Status] = {}
    for node in nodes:
        key: Key = node.key
        if key.path + SUFFIX in records:
            found[key] = _of_record(node, records[key.path + SUFFIX])
        elif claims.holder_of(store, key.path) is not None:
            found[key] = Status.RUNNING
        else:
            found[key] = Status.FAILED if key.path + FAILED_SUFFIX in failures else Status.ABSENT
    return found


def _of_record(node: Any, data: bytes) -> Status:
    try:
        record = Record.parse(data, node.key)
        return Status.STALE if stored.changed_code(node, record) else Status.DONE
    except PayloadCorrupted:
        return Status.CORRUPT


def _block(nodes: list[Any], found: dict[Key, Status]) -> None:
    """What is absent while something upstream failed is blocked; `nodes` come upstream first."""
    for node in nodes:
        if found[node.key] is Status.ABSENT and any(
            found[source.key] in (Status.FAILED, Status.BLOCKED) for source in node.upstream.values()
        ):
            found[node.key] = Status.BLOCKED
