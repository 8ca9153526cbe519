"""What a store says of one payload."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, NamedTuple

from persistable import claims, holdings
from persistable.errors import PayloadCorrupted
from persistable.key import Key, Place
from persistable.record import FAILED_SUFFIX, SUFFIX, Failure, Record
from persistable.stores.base import Store, stat_many


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
    if node._external:
        return Status.ABSENT if node._look() else Status.DONE
    try:
        record = holdings.find_record(store, node.place)
    except PayloadCorrupted:
        return Status.CORRUPT
    if record is not None:
        if holdings.missing_file(store, record) is not None:
            return Status.CORRUPT
        return Status.STALE if holdings.changed_code(node, record) else Status.DONE
    if claims.holder_of(store, node.place.path) is not None:
        return Status.RUNNING
    if holdings.find_failure(store, node.place) is not None:
        return Status.FAILED
    return Status.BLOCKED if blocking(node, store) else Status.ABSENT


def blocking(node: Any, store: Store) -> list[Key]:
    """The recorded failures that stand between `node` and its payload, nearest first."""
    failed: list[Key] = []
    seen: set[Key] = set()
    queue = [(upstream, upstream._store or store) for upstream in node.upstream.values()]
    for upstream, where in queue:  # grows while it is walked
        if upstream.key in seen or upstream._external or holdings.is_there(where, upstream.place):
            continue
        seen.add(upstream.key)
        if holdings.find_failure(where, upstream.place) is not None:
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


def found_of(places: Sequence[tuple[Place, Store]]) -> list[Found]:
    """What the stores hold at these places, each store asked once for all its records."""
    by_store: dict[str, tuple[Store, list[int]]] = {}
    for index, (_, store) in enumerate(places):
        by_store.setdefault(store.url, (store, []))[1].append(index)
    found: dict[int, Found] = {}
    for store, indices in by_store.values():
        records = store.get_many([places[index][0].path + SUFFIX for index in indices])
        read = _Read(store, [(places[index][0], records.get(places[index][0].path + SUFFIX)) for index in indices])
        absent: list[int] = []
        for index in indices:
            judged = _judged(read.of(places[index][0]), store, read)
            if judged is None:
                absent.append(index)
            else:
                found[index] = judged
        failures = store.get_many([places[index][0].path + FAILED_SUFFIX for index in absent]) if absent else {}
        for index in absent:
            place = places[index][0]
            data = failures.get(place.path + FAILED_SUFFIX)
            failed = data is not None and holdings.failure_in(data, place) is not None
            found[index] = Found(False, failed, None, "its last attempt failed" if failed else "nothing is stored")
    return [found[index] for index in range(len(places))]


class _Read:
    """Records that were read together; the sizes of all their files are asked for at once."""

    def __init__(self, store: Store, read: Iterable[tuple[Place, bytes | None]]) -> None:
        self._records: dict[Place, Record | str | None] = {place: _parsed(store, place, data) for place, data in read}
        files = {record.key: record.files for record in self._records.values() if isinstance(record, Record)}
        found = stat_many(store, [file.path for each in files.values() for file in each])
        sizes = {path: stat.size for path, stat in found.items()}
        self._sound = {key for key, each in files.items() if all(sizes.get(file.path) == file.size for file in each)}

    def of(self, place: Place) -> Record | str | None:
        """What was read at `place`; None for nothing, or for that of another."""
        return self._records[place]

    def wrong(self, store: Store, record: Record) -> str | None:
        """What is wrong with the files of `record`."""
        return None if record.key in self._sound else holdings.missing_file(store, record)


def _parsed(store: Store, place: Place, data: bytes | None) -> Record | str | None:
    try:
        return holdings.parsed(store, place, data) if data is not None else None
    except PayloadCorrupted:
        return holdings.DAMAGED


def _judged(record: Record | str | None, store: Store, read: _Read) -> Found | None:
    """What a record says of its payload; None where there is none."""
    if record is None:
        return None
    if isinstance(record, str):
        return Found(False, False, record, "its record is damaged")
    wrong = read.wrong(store, record)
    if wrong is not None:
        return Found(False, False, record.attempt_token, f"its payload is damaged: {wrong}")
    return Found(True, False, record.attempt_token, "stored")


class Seen(NamedTuple):
    """What a store holds of one payload, for people. size: of what is stored, in bytes. failure: of the last attempt, if it is recorded."""

    status: Status
    size: int = 0
    failure: Failure | None = None


def seen_of(nodes: Sequence[Any], store: Store | None = None) -> list[Seen]:
    """The status of each of `nodes` in its store, else in `store`, as `status_of` gives it; a store is asked once for all its records."""
    default: list[Store] = [store] if store is not None else []  # found once, where it is needed at all
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
        self._known: dict[tuple[str, Place], Seen] = {}

    def seen(self, node: Any, store: Store) -> Seen:
        return self._known[store.url, node.place]

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
                    self._known[store.url, node.place] = Seen(Status.BLOCKED)

    def _unknown(self, places: Sequence[tuple[Any, Store]]) -> list[tuple[Any, Store]]:
        found = {(store.url, node.place): (node, store) for node, store in places}
        return [place for known, place in found.items() if known not in self._known]

    def _look_in(self, store: Store, nodes: list[Any]) -> None:
        for node in [node for node in nodes if node._external]:
            self._known[store.url, node.place] = Seen(status_of(node, store))
        nodes = [node for node in nodes if not node._external]
        records = store.get_many([node.place.path + SUFFIX for node in nodes])
        read = _Read(store, [(node.place, records.get(node.place.path + SUFFIX)) for node in nodes])
        absent: list[Any] = []
        for node in nodes:
            found = _seen_record(read.of(node.place), node, store, read)
            if found is None:
                absent.append(node)
            else:
                self._known[store.url, node.place] = found
        failures = store.get_many([node.place.path + FAILED_SUFFIX for node in absent]) if absent else {}
        claimed = claims.claimed_among(store, [node.place.path for node in absent]) if absent else set[str]()
        for node in absent:
            self._known[store.url, node.place] = _without_record(node.place, store, claimed, failures)


def _by_store(places: Sequence[tuple[Any, Store]]) -> list[tuple[Store, list[Any]]]:
    found: dict[str, tuple[Store, list[Any]]] = {}
    for node, store in places:
        found.setdefault(store.url, (store, []))[1].append(node)
    return list(found.values())


def _without_record(place: Place, store: Store, claimed: set[str], failures: dict[str, bytes]) -> Seen:
    if place.path in claimed and claims.holder_of(store, place.path) is not None:
        return Seen(Status.RUNNING)
    data = failures.get(place.path + FAILED_SUFFIX)
    failure = holdings.failure_in(data, place) if data is not None else None
    return Seen(Status.FAILED, failure=failure) if failure is not None else Seen(Status.ABSENT)


def _seen_record(record: Record | str | None, node: Any, store: Store, read: _Read) -> Seen | None:
    if record is None:
        return None
    if isinstance(record, str) or read.wrong(store, record) is not None:
        return Seen(Status.CORRUPT)
    made_by = record.code
    same = made_by is not None and made_by["quick"] and made_by["quick"] == node._code().quick
    return Seen(Status.DONE if same or not holdings.changed_code(node, record) else Status.STALE, record.size)
