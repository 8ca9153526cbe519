"""`RunResult`: the outcome of each node of a run, its payload and record."""

from __future__ import annotations

from array import array
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from functools import cached_property
from itertools import islice, repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast, overload

from persistable.errors import RunFailed, UnknownKey
from persistable.events import RunFinished
from persistable.fileio.memory_copy import InMemoryCopy
from persistable.nodes.binding import bound_to
from persistable.nodes.types import Node, hold, is_family, is_node, own_store
from persistable.records.key import Key, Place, Placed
from persistable.records.record import SUFFIX, Record
from persistable.records.record_access import parsed
from persistable.records.units import duration_in_words
from persistable.runs.failures import SHOWN_WHOLE, Failures, Location, NodeFailure, kinds
from persistable.runs.stale import Stale

if TYPE_CHECKING:
    from persistable.nodes.node import Persistable

STATUSES = ("cancelled", "reused", "done", "failed", "skipped")


_CODES = {status: code for code, status in enumerate(STATUSES)}


class Ending(NamedTuple):
    """Outcome of one node. attempts: attempts made in this run."""

    node: Node
    store: Any
    status: str
    seconds: float
    attempts: int

    @property
    def location(self) -> Location:
        """The URL of its store, and its place there."""
        return self.store.url, self.node.place


class FamilyResult:
    """Outcomes of the members of one family, by number; at first, all are cancelled.

    chunks: gives keys and nodes by number, see `persistable.families.bulk_keys.KeyChunks`. store: the store of all of them.
    """

    def __init__(self, chunks: Any, store: Any) -> None:
        self.chunks = chunks
        self.store = store
        self.url: str = store.url
        self._statuses = bytearray(len(chunks))
        self._attempts = bytearray(len(chunks))
        self._seconds = array("f", bytes(4 * len(chunks)))
        self._numbers: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self._statuses)

    def equals(self, other: FamilyResult) -> bool:
        """Tell whether both have the same members in the same store. If they have not, their first members mostly differ."""
        if (self.url, len(self), self.chunks.model.payload_name) != (other.url, len(other), other.chunks.model.payload_name):
            return False
        return all(self.chunks.keys(numbers) == other.chunks.keys(numbers) for numbers in (range(1), *self.chunks))

    def set(self, number: int, status: str, seconds: float = 0.0, attempts: int = 0) -> None:
        """Record the outcome of one member."""
        self._statuses[number] = _CODES[status]
        self._seconds[number] = seconds
        self._attempts[number] = min(attempts, 255)

    def set_all(self, numbers: Iterable[int], status: str) -> None:
        """Record the same outcome for these members, without an attempt."""
        code, statuses = _CODES[status], self._statuses
        if isinstance(numbers, range) and numbers.step == 1:
            statuses[numbers.start : numbers.stop] = bytes((code,)) * len(numbers)
            return
        for number in numbers:
            statuses[number] = code

    def count(self, status: str) -> int:
        """The number of members with that outcome."""
        return self._statuses.count(STATUSES.index(status))

    def numbers(self, status: str) -> Iterator[int]:
        """The numbers of the nodes that ended with `status`."""
        wanted = STATUSES.index(status)
        at = self._statuses.find(wanted)
        while at >= 0:
            yield at
            at = self._statuses.find(wanted, at + 1)

    def keys(self) -> Iterator[Key]:
        """All keys, in order."""
        for numbers in self.chunks:
            yield from self.chunks.keys(numbers)

    def find(self, key: Key) -> int | None:
        """The number of the member with that key; None if there is none. The first call builds an index of all."""
        if key.name != self.chunks.model.payload_name:
            return None
        if self._numbers is None:
            self._numbers = {each.digest: number for number, each in enumerate(self.keys())}
        return self._numbers.get(key.digest)

    def ending(self, number: int) -> Ending:
        """The outcome of this member."""
        status = STATUSES[self._statuses[number]]
        return Ending(self.chunks.nodes[number], self.store, status, self._seconds[number], self._attempts[number])

    def facts(self) -> Iterator[tuple[Location, str, float, int]]:
        """The location of each, its status, seconds and attempts, without its node."""
        url = self.url
        for key, status, seconds, attempts in zip(self.keys(), self._statuses, self._seconds, self._attempts, strict=True):
            yield (url, key), STATUSES[status], seconds, attempts


class Outcomes:
    """Outcomes by location."""

    def __init__(self) -> None:
        self._own: dict[Location, Ending] = {}
        self._urls: dict[str, None] = {}
        self._placed: dict[Key, list[Location]] = {}
        self.families: list[FamilyResult] = []

    def put(self, location: Location, ending: Ending) -> None:
        """Record the outcome of the node at `location`, which is in no family."""
        if location not in self._own:
            self._urls[location[0]] = None
            if isinstance(location[1], Placed):
                self._placed.setdefault(location[1].key, []).append(location)
        self._own[location] = ending

    def at(self, url: str, place: Place) -> Ending | None:
        """The outcome of the node at that location; None if this run has none there."""
        if (url, place) in self._own:
            return self._own[url, place]
        member = self._in_family(url, place)
        return member[0].ending(member[1]) if member is not None else None

    def of(self, key: Key, url: str) -> Iterator[Ending]:
        """Outcomes of the nodes with that key: those under the key, then those at custom paths; of both, the store of that URL first."""
        urls = dict.fromkeys([url, *self._urls, *(family.url for family in self.families)])
        found = (self.at(each, key) for each in urls)
        yield from (ending for ending in found if ending is not None)
        yield from (self._own[location] for location in sorted(self._placed.get(key, ()), key=lambda location: location[0] != url))

    def __iter__(self) -> Iterator[Location]:
        for family in self.families:
            yield from zip(repeat(family.url), family.keys())
        yield from self._own

    def __len__(self) -> int:
        return len(self._own) + sum(map(len, self.families))

    def endings(self) -> Iterator[Ending]:
        """All outcomes, in the order of iteration."""
        for family in self.families:
            yield from map(family.ending, range(len(family)))
        yield from self._own.values()

    def _in_family(self, url: str, place: Place) -> tuple[FamilyResult, int] | None:
        for family in self.families:
            number = family.find(place) if family.url == url and isinstance(place, Key) else None
            if number is not None:
                return family, number
        return None

    def put_first(self, earlier: Outcomes) -> None:
        """Add the outcomes of `earlier`, which count if both have one of a node."""
        for location, ending in earlier._own.items():
            member = self._in_family(*location)
            if member is None:
                self.put(location, ending)
            else:
                member[0].set(member[1], *ending[2:])
        for own in [location for location in self._own if earlier._in_family(*location) is not None]:
            del self._own[own]
        self.families = [*earlier.families, *(family for family in self.families if not any(map(family.equals, earlier.families)))]

    def own(self) -> Mapping[Location, Ending]:
        """The outcomes of the nodes that are in no family."""
        return MappingProxyType(self._own)

    def counts(self) -> dict[str, int]:
        """Status to number of nodes, without inputs from outside."""
        counts: dict[str, int] = dict.fromkeys(("done", "reused", "failed", "skipped", "cancelled"), 0)
        for ending in self._own.values():
            if not (ending.status == "reused" and ending.node.is_external):  # an input, which no run makes
                counts[ending.status] += 1
        for status in counts:
            counts[status] += sum(family.count(status) for family in self.families)
        return counts

    def facts(self) -> Iterator[tuple[Location, str, float, int]]:
        """The location of each, its status, seconds and attempts."""
        for family in self.families:
            yield from family.facts()
        for location, (_, _, status, seconds, attempts) in self._own.items():
            yield location, status, seconds, attempts


def _not_here(target: object, why: str) -> UnknownKey:
    text = str(getattr(target, "key", target))
    return UnknownKey(f"{text} {why}", text=text, nearest=[])


class Records(dict[Key, Record]):
    """Records by key, the first if one key has several places; also indexed by node, for the record at its own place."""

    def __init__(self, found: Mapping[Location, Record], ending: Callable[[Any], Ending | None]) -> None:
        super().__init__()
        for (_, place), record in found.items():
            self.setdefault(place.key, record)
        self._found = found
        self._ending = ending

    if TYPE_CHECKING:  # a node is looked up by __missing__

        def __getitem__(self, target: Key | Node) -> Record: ...

    def __missing__(self, node: Node | Key) -> Record:
        ending = None if isinstance(node, Key) else self._ending(node)
        if ending is None or ending.location not in self._found:
            raise _not_here(node, "is no node of this run" if ending is None else f"has no record; its outcome is {ending.status}")
        return self._found[ending.location]


_AT_ONCE = 5000
"""The number of records in memory together, if they are not kept."""


def _read(endings: Iterable[Ending]) -> Iterator[tuple[Location, Record]]:
    """The existing records of these, read from each store in batches of `_AT_ONCE`."""
    stores: dict[str, tuple[Any, list[Place]]] = {}
    for node, store, *_ in endings:
        if node.is_persisted:
            stores.setdefault(store.url, (store, []))[1].append(node.place)
    for url, (store, places) in stores.items():
        for first in range(0, len(places), _AT_ONCE):
            some = places[first : first + _AT_ONCE]
            data = store.get_many([place.path + SUFFIX for place in some])
            for place in some:
                record = parsed(store, place, data[place.path + SUFFIX]) if place.path + SUFFIX in data else None
                if record is not None:
                    yield (url, place), record


TargetT = TypeVar("TargetT")


class RunResult(Mapping[Any, Any]):
    """The outcome of a run. ``result[node]`` is that node, bound to its store; ``result[family]`` the family, so that
    ``result[family][key].payload`` and ``result[family].payloads()`` are the payloads after the run.

    A mapping from keys. Nodes of one key may have several places: in two stores, or at two paths of a workspace whose ids have the same
    data. Each counts separately, in `counts`, `rows`, ``len`` and iteration; a node finds the outcome at its own place, and a key the
    first.

    failures: a `NodeFailure` for each node that failed by itself. stale: stale payloads that were reused, a mapping from keys to the
    changes. counts: ``"done"``, ``"reused"``, ``"failed"``, ``"skipped"``, ``"cancelled"`` and ``"stale"`` (some of the reused) to
    numbers of nodes. seconds: from start to end. saved: seconds that reuse saved.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self.outcomes = Outcomes()
        """The outcome of each node."""
        self._held: dict[Location, Any] = {}
        self._waits: dict[Location, Key] = {}
        self.failures = Failures()
        self.seconds = 0.0

    @cached_property
    def stale(self) -> Stale:
        """Stale payloads that were reused: key to the changes since, in words."""
        return Stale()

    def after(self, earlier: RunResult) -> RunResult:
        """Add the result of an earlier phase of the same run, whose outcomes count first, and return this one."""
        self.outcomes.put_first(earlier.outcomes)
        self._held.update(earlier._held)
        self.failures[:0] = earlier.failures
        self.stale.take(earlier.stale)
        self._waits.update(earlier._waits)
        self.seconds += earlier.seconds
        return self

    def skip(self, location: Location, node: Node, store: Any, cause: Key) -> None:
        """Record a node as not tried, with the key of the failed one it waits for: its own if it failed in an earlier run and was left."""
        self.outcomes.put(location, Ending(node, store, "skipped", 0.0, 0))
        self._waits[location] = cause

    def left(self, failure: NodeFailure) -> bool:
        """Tell whether the node of `failure`, from an earlier run, was left as it was."""
        return self._waits.get(failure.location) == failure.key

    @property
    def skipped(self) -> dict[Key, Key]:
        """Key of each node that was not tried, to the key of the failed one it waits for."""
        return {place.key: cause for (_, place), cause in self._waits.items()}

    def take(self, part: RunResult) -> None:
        """Add failures and payloads of a part of the same run, whose outcomes are recorded already."""
        failed = {failure.location for failure in self.failures}
        self._held.update(part._held)
        self.failures.extend(part.failures)
        self.stale.take(part.stale)
        self._waits.update({location: cause for location, cause in part._waits.items() if location not in failed})

    def finished(self) -> RunFinished:
        """The event for the end of the run."""
        failures = tuple([(failure.key, failure.text) for failure in self.failures])
        return RunFinished(counts=self.counts, failures=failures, seconds=self.seconds)

    def hold(self, node: Node, store: Any, payload: Any) -> None:
        """Keep the payload of a target that is not persisted, as an `InMemoryCopy` if it can change; each lookup returns a copy."""
        self._held[store.url, node.place] = payload

    def _ending(self, target: object) -> Ending | None:
        """The outcome of a node, or of the first one with a key. A node bound to no store may be in any."""
        key = getattr(target, "key", None)
        if not isinstance(key, Key):
            return None
        place = getattr(target, "place", key)
        store = own_store(target) if is_node(target) else None
        if store is not None:
            return self.outcomes.at(store.url, place)
        found = list(self.outcomes.of(key, self._store.url))
        return next((ending for ending in found if ending.node.place == place), found[0] if found else None)

    @overload
    def __getitem__(self, target: Key) -> Persistable[Any, Any]: ...
    @overload
    def __getitem__(self, target: TargetT) -> TargetT: ...
    def __getitem__(self, target: object) -> Any:
        if is_family(target):
            return cast("Any", target).kept_in(self._store)
        ending = self._ending(target)
        if ending is None:
            if isinstance(target, Key) or not isinstance(getattr(target, "key", None), Key):
                raise _not_here(target, "is no node of this run")
            node = cast("Node", target)
            return bound_to(node, own_store(node) or self._store)  # not needed by the run: as its store has it
        same = not isinstance(target, Key) and cast("Node", target).place == ending.node.place
        return self._bound(ending, cast("Node", target) if same else ending.node)

    def _bound(self, ending: Ending, node: Node) -> Any:
        bound = bound_to(node, ending.store)
        if ending.location in self._held:
            held = self._held[ending.location]
            hold(bound, held.copy(writable=True) if held.__class__ is InMemoryCopy else held)
        return bound

    def __iter__(self) -> Iterator[Key]:
        return (place.key for _, place in self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)

    def __contains__(self, target: object) -> bool:
        return self._ending(target) is not None

    def values(self) -> ValuesView[Any]:
        """The node at each place."""
        return _Nodes(self)

    def items(self) -> ItemsView[Any, Any]:
        """The key and the node of each place."""
        return _Items(self)

    def each(self) -> Iterator[Any]:
        """The nodes, bound, in the order of iteration."""
        return (self._bound(ending, ending.node) for ending in self.outcomes.endings())

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of nodes by outcome; the stale are some of the reused."""
        return {**self.outcomes.counts(), "stale": len(self.stale)}

    @property
    def records(self) -> Records:
        """The records of all nodes of the run that have one, read now, each store asked once."""
        return Records(dict(_read(self.outcomes.endings())), self._ending)

    @property
    def saved(self) -> float:
        """Seconds that the payloads reused by this run took when they were generated. Each access reads the records."""
        return sum(record.seconds for _, record in _read(ending for ending in self.outcomes.endings() if ending.status == "reused"))

    def status(self, node: Node) -> str:
        """The outcome of a node: ``"done"``, ``"reused"``, ``"failed"``, ``"skipped"`` or ``"cancelled"``. Raises KeyError without one."""
        ending = self._ending(node)
        if ending is None:
            raise _not_here(node, "is no node of this run")
        return ending.status

    def rows(self) -> list[dict[str, Any]]:
        """One dict per node: name, key, status, seconds, attempts, error, store (the URL), and at (the path, if not under the key)."""
        errors = self._errors()
        return [
            {
                "name": location[1].name,
                "key": str(location[1].key),
                "status": status,
                "seconds": seconds,
                "attempts": attempts,
                "error": errors.get(location),
                "store": location[0],
                "at": location[1].to if isinstance(location[1], Placed) else None,
            }
            for location, status, seconds, attempts in self.outcomes.facts()
        ]

    def _errors(self) -> dict[Location, str]:
        """The error of each node that failed, and for each node not tried the one that it waits for, in words."""
        found = {failure.location: failure.text for failure in self.failures}
        causes = {failure.key: failure.describe() for failure in self.failures}
        return found | {
            location: f"waits for {causes.get(cause) or f'{cause}, which failed before'}" for location, cause in self._waits.items()
        }

    def to_frame(self) -> Any:
        """`rows` as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows(), columns=["name", "key", "status", "seconds", "attempts", "error", "store", "at"])

    def failed(self) -> RunFailed:
        """The failures as one exception group."""
        counts = self.counts
        text = f"{counts['failed']} of {len(self)} nodes failed"
        if counts["skipped"]:
            text += f", and {counts['skipped']} that need them were skipped"
        if len(self.failures) > 1:
            text += f": {kinds(self.failures)}"
        for failure in self.failures[SHOWN_WHOLE:]:  # enough of them are shown with the group
            failure.error.__traceback__ = None
        group = RunFailed(text, [failure.error for failure in self.failures])
        group.result = self
        return group

    def __repr__(self) -> str:
        return f"<RunResult: {', '.join(f'{number} {status}' for status, number in self.counts.items() if number) or 'nothing to do'}>"

    def _repr_html_(self) -> str:
        from persistable.graph.notebook import Html, badge, card, digest, listing, number

        errors = self._errors()
        rows = [
            (
                ending.node.label,
                badge(ending.status),
                number(duration_in_words(ending.seconds) if ending.attempts else ""),
                errors.get(ending.location, ""),
                digest(ending.node.key),
            )
            for ending in self._first(_SHOWN)
        ]
        counts = Html(" ".join(badge(status, count) for status, count in self.counts.items() if count))
        made = listing(("node", "status", "took", "", "key"), rows, len(self) - _SHOWN) if rows else "nothing to do"
        return card("run", " ", counts, made)

    def _first(self, number: int) -> list[Ending]:
        """The first outcomes, failures before all others."""
        failed = [ending for failure in self.failures[:number] if (ending := self.outcomes.at(*failure.location)) is not None]
        others = (ending for ending in self.outcomes.endings() if ending.status != "failed")
        return [*failed, *islice(others, number - len(failed))]


class _Nodes(ValuesView[Any]):
    """The nodes of a result; not looked up by key, as one key may have several."""

    def __init__(self, result: RunResult) -> None:
        super().__init__(result)
        self._each = result.each

    def __iter__(self) -> Iterator[Any]:
        return self._each()


class _Items(ItemsView[Any, Any]):
    def __init__(self, result: RunResult) -> None:
        super().__init__(result)
        self._each = result.each

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return ((node.key, node) for node in self._each())


_SHOWN = 60
