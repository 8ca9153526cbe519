"""What a store says of one payload."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

from persistable import claims, stored
from persistable.errors import PayloadCorrupted
from persistable.key import Key
from persistable.record import FAILED_SUFFIX, SUFFIX, Record
from persistable.stores.base import Store


class Status(Enum):
    """The state of one payload in one store."""

    ABSENT = "absent"
    """Nothing is stored."""
    RUNNING = "running"
    """Somebody is generating it."""
    DONE = "done"
    """Stored, and made by the code as it is now."""
    FAILED = "failed"
    """The last attempt raised; asking for the payload tries again."""
    BLOCKED = "blocked"
    """Nothing is stored, and something upstream failed."""
    CORRUPT = "corrupt"
    """The record or a file it names is damaged or gone; asking for the payload generates it again."""
    STALE = "stale"
    """Stored, but the generating code has changed since: served with a warning."""


def status_of(node: Any, store: Store) -> Status:
    """The status of `node` in `store`. Sizes are compared, digests are not: `load` does that."""
    try:
        record = stored.find_record(store, node.key)
    except PayloadCorrupted:
        return Status.CORRUPT
    if record is not None:
        if stored.missing_file(store, record) is not None:
            return Status.CORRUPT
        return Status.STALE if stored.changed_code(node, record) else Status.DONE
    if claims.holder_of(store, node.key.path) is not None:
        return Status.RUNNING
    if stored.find_failure(store, node.key) is not None:
        return Status.FAILED
    return Status.BLOCKED if blocking(node, store) else Status.ABSENT


def blocking(node: Any, store: Store) -> list[Key]:
    """The recorded failures that stand between `node` and its payload, nearest first."""
    failed: list[Key] = []
    seen: set[Key] = set()
    queue = [(upstream, upstream._store or store) for upstream in node.upstream.values()]
    for upstream, where in queue:  # grows while it is walked
        if upstream.key in seen or where.exists(upstream.key.path + SUFFIX):
            continue
        seen.add(upstream.key)
        if stored.find_failure(where, upstream.key) is not None:
            failed.append(upstream.key)
        queue.extend((source, source._store or where) for source in upstream.upstream.values())
    return failed


class Found(NamedTuple):
    """What a store holds of one payload, as far as a plan needs to know.

    stored: a committed record, and files of the sizes it names. failed: the last attempt is recorded as a failure. token: of the record,
    sound or not, None where there is none. why: in words.
    """

    stored: bool
    failed: bool
    token: str | None
    why: str


def found_of(places: Sequence[tuple[Key, Store]]) -> list[Found]:
    """What the stores hold under these keys, each store asked once for all its records."""
    by_store: dict[str, tuple[Store, list[int]]] = {}
    for index, (_, store) in enumerate(places):
        by_store.setdefault(store.url, (store, []))[1].append(index)
    found: dict[int, Found] = {}
    for store, indices in by_store.values():
        records = store.get_many([places[index][0].path + SUFFIX for index in indices])
        absent: list[int] = []
        for index in indices:
            key = places[index][0]
            data = records.get(key.path + SUFFIX)
            if data is None:
                absent.append(index)
            else:
                found[index] = _judged(data, key, store)
        failures = store.get_many([places[index][0].path + FAILED_SUFFIX for index in absent]) if absent else {}
        for index in absent:
            failed = places[index][0].path + FAILED_SUFFIX in failures
            found[index] = Found(False, failed, None, "its last attempt failed" if failed else "nothing is stored")
    return [found[index] for index in range(len(places))]


def _judged(data: bytes, key: Key, store: Store) -> Found:
    try:
        record = Record.parse(data, key)
    except PayloadCorrupted:
        return Found(False, False, stored.DAMAGED, "its record is damaged")
    wrong = stored.missing_file(store, record)
    if wrong is not None:
        return Found(False, False, record.attempt_token, f"its payload is damaged: {wrong}")
    return Found(True, False, record.attempt_token, "stored")
