"""`PeerUnits`: units of a run that another process generates, polled until they are stored, failed, or free again."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from persistable.errors import RemoteError
from persistable.records import claim_watch
from persistable.records.failure import Failure
from persistable.records.record import SUFFIX, Record
from persistable.records.record_access import find_failure, peek
from persistable.runs.planner import Unit
from persistable.stores.base import extended, stat_many

_SOON, _FIRST_WAIT, _LONGEST_WAIT = 0.01, 0.02, 0.5
_MANY = 256


class PeerStates(NamedTuple):
    """The states of some units. stored: by another run. failed: in another run. free: no run generates them any more. held: a run does."""

    stored: list[Unit]
    failed: list[Unit]
    free: list[Unit]
    held: list[Unit]


class PeerUnits:
    """Units that other processes generate. No message reports their end, so the stores are polled, less often while nothing happens."""

    def __init__(self) -> None:
        self._units: dict[Unit, claim_watch.ClaimWatch] = {}
        self._wait = _FIRST_WAIT
        self._next = 0.0
        self._idle = False
        self.abandoned: set[Unit] = set()
        """Units whose owner does not respond any more: an attempt at one waits until its claim can be taken over."""

    def __len__(self) -> int:
        return len(self._units)

    def add(self, unit: Unit) -> None:
        """Note that another process generates `unit`."""
        if not self._units:
            self._wait, self._next = _FIRST_WAIT, time.monotonic() + _FIRST_WAIT
        self._units[unit] = claim_watch.ClaimWatch(unit.store, unit.node.place.path)

    @property
    def moment(self) -> float | None:
        """The time of the next look, by ``time.monotonic()``; None without units."""
        return self._next if self._units else None

    def expect(self) -> None:
        """Poll sooner from now on: the run has nothing else to do until one of them ends."""
        if self._units and not self._idle:
            self._idle = True
            self._wait = _SOON
            self._next = min(self._next, time.monotonic() + _SOON)

    def look(self) -> PeerStates:
        """The states of the units, if it is time to look, else of none; those that are stored, failed or free are removed."""
        if not self._units or time.monotonic() < self._next:
            return PeerStates([], [], [], [])
        sights = _claim_states(self._units)
        seen = _seen([unit for unit, sight in sights.items() if sight == "free"])
        gone = [unit for unit, sight in sights.items() if sight == "gone"]
        self.abandoned.update(gone)
        free = [*seen.free, *gone]
        ended = [*seen.stored, *seen.failed, *free]
        for unit in ended:
            del self._units[unit]
        if ended:
            self._wait = _SOON if self._idle else _FIRST_WAIT
        else:
            longest = max(_LONGEST_WAIT, *[claim_watch.poll_of(unit.store) for unit in self._units])
            self._wait = min((1.25 if self._idle else 1.5) * self._wait, longest)
        self._next = time.monotonic() + self._wait * random.uniform(0.75, 1.25)
        return seen._replace(free=free, held=[*seen.held, *[unit for unit, sight in sights.items() if sight == "held"]])

    def state_elsewhere(self, unit: Unit) -> str:
        """The state of `unit` in other runs since it was planned: ``"stored"``, ``"failed"``, ``"held"``, or ``""``.

        Looked up only in stores where that costs less than an attempt.
        """
        store = unit.store
        self._idle = False
        if unit in self.abandoned or not unit.node.is_persisted:
            return ""
        whole = extended(store)
        if store.local_path(unit.node.place.path) is None and not (whole.batches and whole.definite):
            return ""
        seen = _seen([unit])
        if seen.failed:
            return "failed"
        return "stored" if seen.stored else "held" if seen.held else ""


def is_stored(unit: Unit) -> bool:
    """Tell whether a payload of `unit` has been stored since it was planned."""
    found = peek(unit.store, unit.node.place)
    before = unit.found.token if unit.found is not None else None
    return isinstance(found, Record) and found.attempt_token != before


def failure_since(unit: Unit) -> Failure | None:
    """The failure of `unit` recorded since it was planned, after as many attempts as its `Retry` allows; None without one."""
    failure = find_failure(unit.store, unit.node.place)
    return failure if failure is not None and failure.attempt >= attempt_limit(unit) else None


def attempt_limit(unit: Unit) -> int:
    """The number of the attempt, in any run, after which a recorded failure of `unit` counts as a failure in this run."""
    before = unit.found.attempts if unit.found is not None else 0
    return before + (unit.node.retry.attempts if unit.node.retry is not None else 1)


def failed_elsewhere(failure: Failure) -> RemoteError:
    """The error for a node whose last attempt failed in another run since this one began."""
    text = f"it failed in another run, on {failure.host}: {failure.error}: {failure.message}"
    return RemoteError(text, error=failure.error, text=failure.message, traceback=failure.traceback, key=failure.key)


def reset_attempts(unit: Unit) -> None:
    """Count attempts at `unit` from the failure on record now, so that this does not keep it from being tried again."""
    failure = find_failure(unit.store, unit.node.place) if unit.found is not None else None
    if unit.found is not None and failure is not None:
        unit.found = unit.found._replace(attempts=failure.attempt)


def _claim_states(watches: Mapping[Unit, claim_watch.ClaimWatch]) -> dict[Unit, claim_watch.ClaimState]:
    """Look at the claims on some units; claims seen before are read together, once per store."""
    by_store: dict[str, tuple[Any, list[Unit]]] = {}
    for unit, watch in watches.items():
        if watch.holder is not None:
            by_store.setdefault(unit.store.url, (unit.store, []))[1].append(unit)
    found: dict[str, dict[str, bytes]] = {}
    for url, (store, some) in by_store.items():
        found[url] = store.get_many([watches[unit].path for unit in some])
    return {unit: watch.look(found.get(unit.store.url, {}).get(watch.path)) for unit, watch in watches.items()}


def _seen(units: Iterable[Unit]) -> PeerStates:
    by_store: dict[str, tuple[Any, list[Unit]]] = {}
    for unit in units:
        by_store.setdefault(unit.store.url, (unit.store, []))[1].append(unit)
    seen = PeerStates([], [], [], [])
    for store, some in by_store.values():
        for first in range(0, len(some), _MANY):
            _sort(store, some[first : first + _MANY], seen)
    return seen


def _sort(store: Any, units: list[Unit], seen: PeerStates) -> None:
    paths = [unit.node.place.path for unit in units]
    there = stat_many(store, [path + SUFFIX for path in paths])
    unclaimed = set(paths) - claim_watch.claimed_among(store, paths)
    for unit, path in zip(units, paths, strict=True):
        if path + SUFFIX in there and is_stored(unit):
            seen.stored.append(unit)
        elif path not in unclaimed:
            seen.held.append(unit)
        elif is_stored(unit):  # stored between the lookups of records and of claims
            seen.stored.append(unit)
        elif failure_since(unit) is not None:
            seen.failed.append(unit)
        else:
            seen.free.append(unit)
