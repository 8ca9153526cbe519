"""The status of payloads in their stores."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import cache
from typing import Any, NamedTuple, cast

from persistable.errors import PayloadCorrupted, PayloadUntrusted
from persistable.nodes import loading
from persistable.nodes.staleness import FRESH, Judge, Verdict
from persistable.nodes.types import Node
from persistable.records import claim_watch, commit, record_access, store_format
from persistable.records.failure import FAILED_SUFFIX, Failure
from persistable.records.items import missing_item
from persistable.records.key import Key, Place, Placed
from persistable.records.record import SUFFIX, Record
from persistable.records.record_cache import Read
from persistable.stores.base import Store, stat_many


class Status(Enum):
    """The state of one payload in one store."""

    ABSENT = "absent"
    """Neither stored nor failed so far."""
    RUNNING = "running"
    """A process is generating it."""
    DONE = "done"
    """Stored, and made by the code as it is now."""
    FAILED = "failed"
    """The last attempt raised; asking for the payload tries again."""
    BLOCKED = "blocked"
    """Not stored, and cannot be generated: something upstream failed."""
    CORRUPT = "corrupt"
    """The record or a file it names is damaged or gone; asking for the payload generates it again."""
    STALE = "stale"
    """Stored, but the code that made it, or that of something upstream, has changed since, or something upstream has been stored anew with
    other bytes: served with a warning."""
    FOREIGN = "foreign"
    """Stored, but made by another class with other code: refused, until `accept_code` takes it over. Or in a format that the node does not
    declare and that could run code: refused, too. Or not signed with a key that the store trusts: refused, until it is deleted or
    generated anew."""


class State(NamedTuple):
    """The state of one payload in a store.

    stored: whether it has a committed record, and files of the sizes that this names. token: of the record, sound or not, None if there is
    none. why: the reason, in words. size: of the stored payload, in bytes. verdict: on the stored payload. failure: of the last attempt, if
    it is recorded. attempts: number of failed ones.
    """

    status: Status
    stored: bool = False
    token: record_access.Token = None
    why: str = ""
    size: int = 0
    verdict: Verdict = FRESH
    failure: Failure | None = None
    attempts: int = 0


_ABSENT = State(Status.ABSENT, why="nothing is stored")


def states_of(nodes: Sequence[Any], store: Store | None = None) -> list[State]:
    """The states of `nodes`, as `states_in` gives them, each in its own store, else in `store`, by default the one that it uses."""
    default = store
    asked: list[tuple[Any, Store]] = []
    for node in nodes:
        where: Store | None = node._node_store
        if where is None and store is None and (default is None or node._node_remembered is not None):
            where = node.store
            if node._node_remembered is None:
                default = where  # found once, if it is needed at all
        asked.append((node, cast("Store", where or default)))
    return states_in(asked)


def states_in(asked: Sequence[tuple[Any, Store]]) -> list[State]:
    """The states of these nodes in their stores; for absent ones also whether one is being generated, or something upstream has failed."""
    judge = cache(Judge)
    known: dict[tuple[str, Place], State] = {}
    urls: dict[int, tuple[str, Store]] = {}

    def location(node: Node, store: Store) -> tuple[str, Place]:
        url, _ = urls.get(id(store)) or urls.setdefault(id(store), (store.url, store))
        return url, node.key if node.is_external else node.place  # an input has no place in the store

    locations = [location(*each) for each in asked]
    unknown = dict(zip(locations, asked, strict=True))
    levels: list[dict[tuple[str, Place], list[tuple[str, Place]]]] = []
    while unknown:
        for at, (node, _) in unknown.items():
            if node.is_external:
                known[at] = _ABSENT if node._node_look() else State(Status.DONE, True)
        inside = {at: each for at, each in unknown.items() if at not in known}
        known.update(zip(inside, look_up(list(inside.values()), judge, running=True), strict=True))
        level: dict[tuple[str, Place], list[tuple[str, Place]]] = {}
        further: dict[tuple[str, Place], tuple[Any, Store]] = {}
        for at, (node, store) in inside.items():
            if known[at].status is Status.ABSENT and node.upstream:
                sources = {location(*each): each for each in [(source, source._node_store or store) for source in node.upstream.values()]}
                level[at] = list(sources)
                further.update(sources)
        levels.append(level)
        unknown = {at: each for at, each in further.items() if at not in known}
    for level in reversed(levels):
        for at, above in level.items():
            if any(known[source].status in (Status.FAILED, Status.BLOCKED) for source in above):
                known[at] = State(Status.BLOCKED)
    return [known[at] for at in locations]


def blocking(node: Node, store: Store) -> list[Key]:
    """The keys of the nodes upstream whose recorded failures block `node`, nearest first."""
    failed: list[Key] = []
    seen: set[Key] = set()
    queue = [(upstream, upstream._node_store or store) for upstream in node.upstream.values()]
    for upstream, where in queue:  # grows while it is walked
        if upstream.key in seen or upstream.is_external or record_access.is_there(where, upstream.place):
            continue
        seen.add(upstream.key)
        if record_access.find_failure(where, upstream.place) is not None:
            failed.append(upstream.key)
        queue.extend((source, source._node_store or where) for source in upstream.upstream.values())
    return failed


PORTION = 5000
"""Records in memory at once."""


def look_up(asked: Sequence[tuple[Any, Store]], judge: Callable[[], Judge] | None = None, running: bool = False) -> list[State]:
    """The states of these nodes in their stores, with thousands of records read at once, and without the states of nodes upstream.

    Sizes are compared, digests are not: `load` does that. judge: returns that of earlier calls for the plan; called if anything is stored.
    running: whether to tell payloads that are being generated from absent ones.
    """
    judge = judge or cache(Judge)
    by_store: dict[str, tuple[Store, list[int]]] = {}
    urls: dict[int, str] = {}
    for index, (_, store) in enumerate(asked):
        url = urls.get(id(store)) or urls.setdefault(id(store), store.url)
        by_store.setdefault(url, (store, []))[1].append(index)
    found: dict[int, State] = {}
    for store, indices in by_store.values():
        for first in range(0, len(indices), PORTION):
            portion = indices[first : first + PORTION]
            found.update(zip(portion, _look_in(store, [asked[index][0] for index in portion], judge, running), strict=True))
    return [found[index] for index in range(len(asked))]


def _look_in(store: Store, nodes: list[Any], judge: Callable[[], Judge], running: bool) -> list[State]:
    places = [node.place for node in nodes]
    read = _Read(store, places)
    found = [read.state(place) for place in places] if read.any else [_ABSENT] * len(places)
    stored = [index for index, each in enumerate(found) if each.status is Status.DONE]
    verdicts = judge().judge([(nodes[index], store, read.record(places[index])) for index in stored]) if stored else ()
    for index, verdict in zip(stored, verdicts, strict=True):
        wrong = loading.refusal(nodes[index], read.record(places[index]))
        if verdict is not FRESH or wrong is not None:
            found[index] = _judged(found[index], nodes[index], verdict, wrong)
    absent = [index for index, each in enumerate(found) if each is _ABSENT]
    if not absent:
        return found
    failures = (read.records or store).get_many([read.bases[index] + FAILED_SUFFIX for index in absent])
    claimed = claim_watch.claimed_among(store, [read.bases[index] for index in absent]) if running else ()
    for index in absent if failures or claimed else ():
        base = read.bases[index]
        if base in claimed and claim_watch.holder_of(store, base) is not None:
            found[index] = State(Status.RUNNING)
        elif base + FAILED_SUFFIX in failures:
            failure = record_access.failure_in(failures[base + FAILED_SUFFIX], places[index])
            if failure is not None:
                found[index] = State(Status.FAILED, why="its last attempt failed", failure=failure, attempts=failure.attempt)
    return found


def _judged(found: State, node: Node, verdict: Verdict, wrong: PayloadUntrusted | PayloadCorrupted | None) -> State:
    """Return the state after judgement. verdict: on the code and the upstream. wrong: the error that refuses its format, or None."""
    if isinstance(wrong, PayloadCorrupted):
        return found._replace(status=Status.CORRUPT, stored=False, why=str(wrong))
    if wrong is not None:
        verdict = verdict._replace(barred=wrong)
    status, why = found.status, found.why
    if verdict.refused:
        status, why = Status.FOREIGN, f"{'untrusted' if verdict.barred else 'foreign'}: {loading.refused(node, verdict)}"
    elif verdict.causes:
        status, why = Status.STALE, f"stored, stale: {verdict.describe()}"
    elif verdict.unknown:
        why = f"stored ({'; '.join(verdict.unknown)})"
    return found._replace(status=status, verdict=verdict, why=why)


class _Read:
    """The records at some places, read together; the sizes of all their files are read at once."""

    def __init__(self, store: Store, places: Sequence[Place]) -> None:
        # no call for each place that is a key: there are thousands
        self.bases = ["/".join(place) if place.__class__ is Key else place.path for place in places]
        paths = [base + SUFFIX for base in self.bases]
        self.records = Read(store, paths) if getattr(store, "batches", False) else None
        data = self.records.data if self.records is not None else store.get_many(paths)
        self.any = bool(data)
        """True if there is any record."""
        if len(data) < len(paths) and getattr(store, "format_seen", None) is None:
            store_format.before_reading(store)
        self._store = store
        self._refused: dict[Place, PayloadUntrusted] = {}
        self._records = {place: self._named(place, data[path]) for place, path in zip(places, paths, strict=True) if path in data}
        files = [file[1] for record in self._records.values() if isinstance(record, Record) for file in record.head["files"]]
        self._stats = (stat_many(store, files) if self.records is None else self.records.stat_many(files)) if files else {}

    def _named(self, place: Place, data: bytes) -> Record | record_access.Unusable | None:
        try:
            return record_access.named(self._store, place, data)
        except PayloadCorrupted:
            return record_access.DAMAGED
        except PayloadUntrusted as error:
            self._refused[place] = error
            return record_access.UNTRUSTED

    def of(self, place: Place) -> tuple[Record | record_access.Unusable | None, str | None]:
        """The record at `place`, or DAMAGED or UNTRUSTED, or None if this payload has none; and the defect of its files, or None."""
        record = self._records.get(place)
        if not isinstance(record, Record):
            return record, None
        if self._is_sound(record):
            return record, missing_item(self._store, record)
        wrong = record_access.missing_file(self._store, record)
        if wrong is not None and isinstance(place, Placed):
            if commit.complete(self._store, place, record):  # of a process killed between the record and the move of its file
                return record, None
            return None, None  # the file there is not the one that was written
        return record, wrong

    def record(self, place: Place) -> Record:
        """The record at `place`, which must be a sound one."""
        record = self._records[place]
        assert isinstance(record, Record)
        return record

    def _is_sound(self, record: Record) -> bool:
        for _, path, size, *_ in record.head["files"]:
            stat = self._stats.get(path)
            if stat is None or stat.size != size:
                return False
        return True

    def state(self, place: Place) -> State:
        """The state of the payload at `place`, before it is judged."""
        record, wrong = self.of(place)
        if record is None:
            return _ABSENT
        if record is record_access.UNTRUSTED:
            refused = self._refused[place]
            return State(Status.FOREIGN, True, record, f"untrusted: {refused}", verdict=FRESH._replace(barred=refused))
        if isinstance(record, record_access.Unusable):
            return State(Status.CORRUPT, token=record, why="its record is damaged")
        if wrong is not None:
            return State(Status.CORRUPT, token=record.attempt_token, why=f"its payload is damaged: {wrong}")
        return State(Status.DONE, True, record.attempt_token, "stored", record.size)
