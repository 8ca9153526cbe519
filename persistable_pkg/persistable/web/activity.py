"""The activity around a store: running generations, their processes, and the progress of runs of this process."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

from persistable import events
from persistable.errors import InvalidName
from persistable.records import claim_watch
from persistable.records.key import Key
from persistable.runs.estimate import DurationEstimate
from persistable.stores.base import Store
from persistable.stores.custom_path import PLACED

_CLAIM = re.compile(r"(?P<base>.+)\.claim(?:\.\d+)?")
_KEPT = 5.0
"""Factor of the time for which a listing of claims is reused: this many times as long as it took."""


class Activity:
    """Receives the events of this process from `start` on, and lists the claims in a store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._working: dict[Key, dict[str, Any]] = {}
        self._run: dict[str, Any] | None = None
        self._left: dict[str, int] = {}
        self._estimate = DurationEstimate({}, 1)
        self._subscription: events.subscribe | None = None
        self._held: tuple[float, str, list[dict[str, Any]]] = (0.0, "", [])

    def start(self) -> None:
        """Begin to receive events."""
        if self._subscription is None:
            self._subscription = events.subscribe(self)

    def stop(self) -> None:
        """Receive no more events."""
        if self._subscription is not None:
            self._subscription.cancel()
            self._subscription = None

    def __call__(self, event: events.Event) -> None:
        with self._lock:
            if isinstance(event, events.RunStarted):
                self._begin(event)
            elif isinstance(event, events.RunGrew):
                self._add(event.jobs, event.expected)
            elif isinstance(event, events.RunFinished) and self._run is not None:
                self._run |= {"ended": time.time(), "counts": dict(event.counts), "left": None}
            elif isinstance(event, events.NodeEvent):
                self._note(event)

    def _begin(self, event: events.RunStarted) -> None:
        self._left = {}
        self._estimate = DurationEstimate(event.expected, event.workers)
        self._run = {"started": time.time(), "ended": None, "workers": event.workers, "total": 0, "counts": {}, "left": None}
        self._add(event.jobs, {})

    def _add(self, jobs: dict[str, int], expected: dict[str, float]) -> None:
        self._estimate.expect(expected)
        for name, many in jobs.items():
            self._left[name] = self._left.get(name, 0) + many
        if self._run is not None:
            self._run["total"] += sum(jobs.values())

    def _note(self, event: events.NodeEvent) -> None:
        key = event.key
        if isinstance(event, events.Started):
            self._working[key] = {"label": event.label or key.name, "since": time.time(), "done": None, "total": None}
        elif isinstance(event, events.Progressed) and key in self._working:
            self._working[key] |= {"done": event.done, "total": event.total}
        elif isinstance(event, events.Persisted | events.Failed):
            self._working.pop(key, None)
        elif isinstance(event, events.Performed):
            self._working.pop(key, None)
            if self._run is not None:
                counts = self._run["counts"]
                counts[event.outcome] = counts.get(event.outcome, 0) + 1
                self._left[key.name] = self._left.get(key.name, 1) - 1
            if event.outcome == "done":
                self._estimate.observe(key.name, event.seconds)

    def run(self) -> dict[str, Any] | None:
        """The latest run of this process: started, ended, workers, total, counts by outcome, and the seconds that are left, if known."""
        with self._lock:
            if self._run is None:
                return None
            left = None if self._run["ended"] else self._estimate.remaining(self._left)
            return {**self._run, "counts": dict(self._run["counts"]), "left": left}

    def working(self) -> dict[Key, dict[str, Any]]:
        """The keys that this process works at, each with its label, start time and reported progress."""
        with self._lock:
            return {key: dict(facts) for key, facts in self._working.items()}

    def running(self, store: Store) -> list[dict[str, Any]]:
        """All running generations into `store`, by any process: a row for each claim whose owner is not known to be dead."""
        began = time.monotonic()
        until, url, rows = self._held
        if url != store.url or began > until:
            rows = list(_claimed(store))
            now = time.monotonic()
            self._held = (now + _KEPT * (now - began), store.url, rows)
        mine = self.working()
        return [{**row, **mine.get(row["key"], {}), "key": None if row["key"] is None else str(row["key"])} for row in rows]


def _claimed(store: Store) -> Iterator[dict[str, Any]]:
    bases: dict[str, str] = {}
    for prefix in ("", PLACED):
        bases.update((found["base"], path) for path in store.list(prefix) if (found := _CLAIM.fullmatch(path)))
    for base, path in sorted(bases.items()):
        holder = claim_watch.holder_of(store, base)
        if holder is None:
            continue
        try:
            key: Key | None = Key.parse(base)
        except InvalidName:
            key = None
        name = base.removeprefix(PLACED + "/") if key is None else key.name
        host = str(holder.get("host", "")).partition(" ")[0]
        facts = {"since": _since(store, path), "done": None, "total": None}
        yield {"key": key, "name": name, "label": name, "host": host, "pid": holder.get("pid"), **facts}


def _since(store: Store, path: str) -> float | None:
    """The time at which a claim was made, where the store is a folder here."""
    file = store.local_path(path)
    try:
        return None if file is None else os.stat(file).st_mtime
    except OSError:
        return None
