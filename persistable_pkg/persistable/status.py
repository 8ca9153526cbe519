"""What a store says of one payload."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

from persistable import claims, stored
from persistable.errors import PayloadCorrupted
from persistable.key import Key
from persistable.record import FAILED_SUFFIX, SUFFIX, Failure, Record
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


class Seen(NamedTuple):
    """What a store holds of one payload, for people. size: of what is stored, in bytes. failure: of the last attempt, if it is recorded."""

    status: Status
    size: int = 0
    failure: Failure | None = None


def seen_of(nodes: Sequence[Any]) -> list[Seen]:
    """The status of each of `nodes` in its store, as `status_of` gives it, each store asked once for all its records."""
    default: list[Store] = []  # found once, where it is needed at all
    places: list[tuple[Any, Store]] = []
    for node in nodes:
        if node._store is None and not default:
            default.append(node.store)
        places.append((node, node._store or default[0]))
    lookup = _Lookup()
    lookup.look(places)
    return [lookup.seen(node, store) for node, store in places]


class _Lookup:
    """What is known so far of payloads in stores, by URL of the store and key."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Key], Seen] = {}

    def seen(self, node: Any, store: Store) -> Seen:
        return self._known[store.url, node.key]

    def look(self, places: Sequence[tuple[Any, Store]]) -> None:
        """Look up these and, of what is absent, whatever is upstream and may have failed."""
        levels: list[list[tuple[Any, Store]]] = []
        while places := self._unknown(places):
            for store, nodes in _by_store(places):
                self._look_in(store, nodes)
            absent = [(node, store) for node, store in places if self.seen(node, store).status is Status.ABSENT]
            levels.append(absent)
            places = [(source, source._store or store) for node, store in absent for source in node.upstream.values()]
        for absent in reversed(levels):
            for node, store in absent:
                upstream = [self.seen(source, source._store or store).status for source in node.upstream.values()]
                if Status.FAILED in upstream or Status.BLOCKED in upstream:
                    self._known[store.url, node.key] = Seen(Status.BLOCKED)

    def _unknown(self, places: Sequence[tuple[Any, Store]]) -> list[tuple[Any, Store]]:
        found = {(store.url, node.key): (node, store) for node, store in places}
        return [place for known, place in found.items() if known not in self._known]

    def _look_in(self, store: Store, nodes: list[Any]) -> None:
        records = store.get_many([node.key.path + SUFFIX for node in nodes])
        absent = [node for node in nodes if node.key.path + SUFFIX not in records]
        failures = store.get_many([node.key.path + FAILED_SUFFIX for node in absent]) if absent else {}
        claimed = claims.claimed_among(store, [node.key.path for node in absent]) if absent else set[str]()
        for node in nodes:
            key: Key = node.key
            data = records.get(key.path + SUFFIX)
            if data is not None:
                found = _seen_record(data, node, store)
            elif key.path in claimed and claims.holder_of(store, key.path) is not None:
                found = Seen(Status.RUNNING)
            elif key.path + FAILED_SUFFIX in failures:
                found = Seen(Status.FAILED, failure=Failure.parse(failures[key.path + FAILED_SUFFIX], key))
            else:
                found = Seen(Status.ABSENT)
            self._known[store.url, key] = found


def _by_store(places: Sequence[tuple[Any, Store]]) -> list[tuple[Store, list[Any]]]:
    found: dict[str, tuple[Store, list[Any]]] = {}
    for node, store in places:
        found.setdefault(store.url, (store, []))[1].append(node)
    return list(found.values())


def _seen_record(data: bytes, node: Any, store: Store) -> Seen:
    try:
        record = Record.parse(data, node.key)
    except PayloadCorrupted:
        return Seen(Status.CORRUPT)
    if stored.missing_file(store, record) is not None:
        return Seen(Status.CORRUPT)
    made_by = record.code
    same = made_by is not None and made_by["quick"] and made_by["quick"] == node._code().quick
    return Seen(Status.DONE if same or not stored.changed_code(node, record) else Status.STALE, record.size)
