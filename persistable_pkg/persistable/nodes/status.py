"""The status of payloads in their stores."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import cache
from typing import Any, NamedTuple, cast

from persistable.errors import PayloadCorrupted, PayloadUntrusted
from persistable.nodes import loading
from persistable.nodes.staleness import FRESH, Judge, Verdict, judged
from persistable.nodes.types import Node
from persistable.records import access, claims, commit, store_format
from persistable.records.items import missing_item
from persistable.records.key import Key, Place, Placed
from persistable.records.known import Read
from persistable.records.record import FAILED_SUFFIX, SUFFIX, Failure, Record
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
    """Stored, but the code that made it, or that of something upstream, has changed since, or something upstream has been stored anew with
    other bytes: served with a warning."""
    FOREIGN = "foreign"
    """Stored, but made by another class with other code: refused, until `accept_code` takes it over. Or in a format that the node does not
    declare and that could run code: refused, too. Or not signed by anybody whom the store trusts: refused, until it is deleted or
    generated anew."""


def status_of(node: Node, store: Store) -> Status:
    """The status of `node` in `store`. Sizes are compared, digests are not: `load` does that."""
    if node.is_external:
        return Status.ABSENT if node._node_look() else Status.DONE
    try:
        record = access.find_record(store, node.place)
    except PayloadCorrupted:
        return Status.CORRUPT
    except PayloadUntrusted:
        return Status.FOREIGN
    if record is not None:
        if access.missing_file(store, record) is not None or missing_item(store, record) is not None:
            return Status.CORRUPT
        wrong = loading.refusal(node, record)
        return Status.CORRUPT if isinstance(wrong, PayloadCorrupted) else Status.FOREIGN if wrong else _status(judged(node, store, record))
    if claims.holder_of(store, node.place.path) is not None:
        return Status.RUNNING
    if access.find_failure(store, node.place) is not None:
        return Status.FAILED
    return Status.BLOCKED if blocking(node, store) else Status.ABSENT


def _status(verdict: Verdict) -> Status:
    if verdict.refused:
        return Status.FOREIGN
    return Status.STALE if verdict.causes else Status.DONE


def blocking(node: Node, store: Store) -> list[Key]:
    """The recorded failures that stand between `node` and its payload, nearest first."""
    failed: list[Key] = []
    seen: set[Key] = set()
    queue = [(upstream, upstream._node_store or store) for upstream in node.upstream.values()]
    for upstream, where in queue:  # grows while it is walked
        if upstream.key in seen or upstream.is_external or access.is_there(where, upstream.place):
            continue
        seen.add(upstream.key)
        if access.find_failure(where, upstream.place) is not None:
            failed.append(upstream.key)
        queue.extend((source, source._node_store or where) for source in upstream.upstream.values())
    return failed


class Found(NamedTuple):
    """The state of one payload in a store, as far as a plan needs to know.

    stored: a committed record, and files of the sizes it names. failed: the last attempt is recorded as a failure. token: of the record,
    sound or not, None where there is none. why: in words. verdict: what is to be said of what is stored. attempts: those that failed.
    """

    stored: bool
    failed: bool
    token: access.Token
    why: str
    verdict: Verdict = FRESH
    attempts: int = 0

    @property
    def refused(self) -> bool:
        """Tell whether there is something that is not served."""
        return self.verdict.refused


PORTION = 5000
"""So many records are in memory at once."""


def found_of(asked: Sequence[tuple[Any, Store]], judge: Callable[[], Judge] | None = None) -> list[Found]:
    """The states of these nodes in their stores, each store asked for the records of thousands at once.

    judge: gives that of earlier looks of the same plan, where anything is stored.
    """
    judge = judge or cache(Judge)
    by_store: dict[str, tuple[Store, list[int]]] = {}
    urls: dict[int, str] = {}
    for index, (_, store) in enumerate(asked):
        url = urls.get(id(store)) or urls.setdefault(id(store), store.url)
        by_store.setdefault(url, (store, []))[1].append(index)
    found: dict[int, Found] = {}
    for store, indices in by_store.values():
        for first in range(0, len(indices), PORTION):
            portion = indices[first : first + PORTION]
            found.update(zip(portion, _found_in(store, [asked[index][0] for index in portion], judge), strict=True))
    return [found[index] for index in range(len(asked))]


def _found_in(store: Store, nodes: list[Any], judge: Callable[[], Judge]) -> list[Found]:
    places = [node.place for node in nodes]
    read = _Read(store, places)
    found: list[Found | None] = [read.found(place) for place in places] if read.any else [None] * len(places)
    stored = [index for index, each in enumerate(found) if each is not None and each.stored and not each.refused]
    verdicts = judge().judge([(nodes[index], store, read.record(places[index])) for index in stored]) if stored else ()
    for index, judged_alone in zip(stored, verdicts, strict=True):
        wrong = loading.refusal(nodes[index], read.record(places[index]))
        if isinstance(wrong, PayloadCorrupted):
            found[index] = cast("Found", found[index])._replace(stored=False, why=str(wrong))
            continue
        verdict = judged_alone if wrong is None else judged_alone._replace(barred=wrong)
        if verdict is not FRESH:
            found[index] = _judged(cast("Found", found[index]), nodes[index], verdict)
    absent = [base + FAILED_SUFFIX for base, judged in zip(read.bases, found, strict=True) if judged is None]
    failures = (read.records or store).get_many(absent) if absent else {}
    if not failures:
        return [each or _NOTHING for each in found]
    return [each or _never(failures, place) for place, each in zip(places, found, strict=True)]


def _judged(found: Found, node: Node, verdict: Verdict) -> Found:
    why = found.why
    if verdict.refused:
        why = f"{'untrusted' if verdict.barred else 'foreign'}: {loading.refused(node, verdict)}"
    elif verdict.causes:
        why = f"stored, stale: {verdict.describe()}"
    elif verdict.unknown:
        why = f"stored ({'; '.join(verdict.unknown)})"
    return found._replace(verdict=verdict, why=why)


def _never(failures: dict[str, bytes], place: Place) -> Found:
    data = failures.get(place.path + FAILED_SUFFIX)
    failure = access.failure_in(data, place) if data is not None else None
    return _FAILED._replace(attempts=failure.attempt) if failure is not None else _NOTHING


_NOTHING = Found(False, False, None, "nothing is stored")
_FAILED = Found(False, True, None, "its last attempt failed")


class _Read:
    """The records at some places, read together; the sizes of all their files are asked for at once."""

    def __init__(self, store: Store, places: Sequence[Place]) -> None:
        # without a call of each that lies under its key: there are thousands
        self.bases = ["/".join(place) if place.__class__ is Key else place.path for place in places]
        paths = [base + SUFFIX for base in self.bases]
        self.records = Read(store, paths) if getattr(store, "batches", False) else None
        data = self.records.data if self.records is not None else store.get_many(paths)
        self.any = bool(data)
        """Whether there is any record."""
        if len(data) < len(paths) and getattr(store, "format_seen", None) is None:
            store_format.before_reading(store)
        self._store = store
        self._refused: dict[Place, PayloadUntrusted] = {}
        self._records = {place: self._named(place, data[path]) for place, path in zip(places, paths, strict=True) if path in data}
        files = [file[1] for record in self._records.values() if isinstance(record, Record) for file in record.head["files"]]
        self._stats = (stat_many(store, files) if self.records is None else self.records.stat_many(files)) if files else {}

    def _named(self, place: Place, data: bytes) -> Record | access.Unusable | None:
        try:
            return access.named(self._store, place, data)
        except PayloadCorrupted:
            return access.DAMAGED
        except PayloadUntrusted as error:
            self._refused[place] = error
            return access.UNTRUSTED

    def refusal(self, place: Place) -> Verdict | None:
        """The verdict on a record that the store does not trust; None for all others."""
        error = self._refused.get(place)
        return FRESH._replace(barred=error) if error is not None else None

    def of(self, place: Place) -> tuple[Record | access.Unusable | None, str | None]:
        """The record at `place`, damaged or untrusted, None for nothing or that of another; and what is wrong with its files."""
        record = self._records.get(place)
        if not isinstance(record, Record):
            return record, None
        if self._is_sound(record):
            return record, missing_item(self._store, record)
        wrong = access.missing_file(self._store, record)
        if wrong is not None and isinstance(place, Placed):
            if commit.complete(self._store, place, record):  # of who was killed between the record and the move of its file
                return record, None
            return None, None  # the file there is another than was written
        return record, wrong

    def record(self, place: Place) -> Record:
        """The record at `place`, where there is one."""
        record = self._records[place]
        assert isinstance(record, Record)
        return record

    def _is_sound(self, record: Record) -> bool:
        stats = self._stats
        return all((stat := stats.get(path)) is not None and stat.size == size for _, path, size, *_ in record.head["files"])

    def found(self, place: Place) -> Found | None:
        """The state of the payload of the record; None where there is none."""
        record, wrong = self.of(place)
        if record is None:
            return None
        refusal = self.refusal(place)
        if refusal is not None:
            return Found(True, False, access.UNTRUSTED, f"untrusted: {refusal.barred}", refusal)
        if isinstance(record, access.Unusable):
            return Found(False, False, record, "its record is damaged")
        if wrong is not None:
            return Found(False, False, record.attempt_token, f"its payload is damaged: {wrong}")
        return Found(True, False, record.attempt_token, "stored")


class Seen(NamedTuple):
    """The state of one payload in a store, for people.

    size: of what is stored, in bytes. failure: of the last attempt, if it is recorded. verdict: on what is stored.
    """

    status: Status
    size: int = 0
    failure: Failure | None = None
    verdict: Verdict = FRESH


def seen_of(nodes: Sequence[Any], store: Store | None = None) -> list[Seen]:
    """The status of each of `nodes` in its store, else in `store`, as `status_of` gives it; a store is asked once for all its records."""
    default: list[Store] = [store] if store is not None else []  # found once, where it is needed at all
    lookup = _Lookup()
    asked: list[_Asked] = []
    for node in nodes:
        if node._node_store is None and node._node_remembered is not None and store is None:
            asked.append(lookup.asked(node, node.store))
            continue
        if node._node_store is None and not default:
            default.append(node.store)
        asked.append(lookup.asked(node, node._node_store or default[0]))
    lookup.look(asked)
    return [lookup.known[each.id] for each in asked]


class _Asked(NamedTuple):
    """A node in a store; `id` is the URL of the store and the place."""

    node: Node
    store: Store
    id: tuple[str, Place]


class _Lookup:
    """The states known so far of payloads in stores, by URL of the store and place."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, Place], Seen] = {}
        self._urls: dict[int, tuple[str, Store]] = {}
        self._judge = Judge()

    def asked(self, node: Node, store: Store) -> _Asked:
        url = self._urls.get(id(store)) or self._urls.setdefault(id(store), (store.url, store))
        return _Asked(node, store, (url[0], node.key if node.is_external else node.place))  # an input has no place in the store

    def look(self, asked: Sequence[_Asked]) -> None:
        """Look up these and, of what is absent, whatever is upstream and may have failed."""
        levels: list[list[tuple[_Asked, list[_Asked]]]] = []
        while unknown := {each.id: each for each in asked if each.id not in self.known}:
            by_store: dict[str, tuple[Store, list[_Asked]]] = {}
            for each in unknown.values():
                by_store.setdefault(each.id[0], (each.store, []))[1].append(each)
            for store, some in by_store.values():
                self._look_in(store, some)
            absent = [each for each in unknown.values() if self.known[each.id].status is Status.ABSENT]
            levels.append(
                [
                    (each, [self.asked(source, source._node_store or each.store) for source in each.node.upstream.values()])
                    for each in absent
                    if each.node.upstream
                ]
            )
            asked = [source for _, sources in levels[-1] for source in sources]
        for level in reversed(levels):
            for each, sources in level:
                if any(self.known[source.id].status in (Status.FAILED, Status.BLOCKED) for source in sources):
                    self.known[each.id] = Seen(Status.BLOCKED)

    def _look_in(self, store: Store, asked: list[_Asked]) -> None:
        for node, _, known in [each for each in asked if each.node.is_external]:
            self.known[known] = Seen(status_of(node, store))
        asked = [each for each in asked if not each.node.is_external]
        read = _Read(store, [each.id[1] for each in asked])
        absent: list[_Asked] = []
        stored: list[tuple[_Asked, Record]] = []
        for each in asked:
            record, wrong = read.of(each.id[1])
            refused = read.refusal(each.id[1])
            if refused is not None:
                self.known[each.id] = Seen(_status(refused), 0, None, refused)
            elif record is None:
                absent.append(each)
            elif isinstance(record, access.Unusable) or wrong is not None:
                self.known[each.id] = Seen(Status.CORRUPT)
            else:
                stored.append((each, record))
        verdicts = self._judge.judge([(each.node, store, record) for each, record in stored])
        for (each, record), verdict in zip(stored, verdicts, strict=True):
            refusal = loading.refusal(each.node, record)
            if isinstance(refusal, PayloadCorrupted):
                self.known[each.id] = Seen(Status.CORRUPT)
                continue
            told = verdict if refusal is None else verdict._replace(barred=refusal)
            self.known[each.id] = Seen(_status(told), record.size, None, told)
        places = [each.id[1] for each in absent]
        failures = store.get_many([place.path + FAILED_SUFFIX for place in places]) if absent else {}
        claimed = claims.claimed_among(store, [place.path for place in places]) if absent else set[str]()
        for each, place in zip(absent, places, strict=True):
            self.known[each.id] = _without_record(place, store, claimed, failures)


def _without_record(place: Place, store: Store, claimed: set[str], failures: dict[str, bytes]) -> Seen:
    if claimed and place.path in claimed and claims.holder_of(store, place.path) is not None:
        return Seen(Status.RUNNING)
    data = failures.get(place.path + FAILED_SUFFIX) if failures else None
    failure = access.failure_in(data, place) if data is not None else None
    return Seen(Status.FAILED, failure=failure) if failure is not None else _ABSENT


_ABSENT = Seen(Status.ABSENT)
