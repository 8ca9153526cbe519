"""`Batch`: many short generations in one store, claimed together, performed one after another, and committed together.

For stores where a commit costs more than what is committed. Whoever waits for one of them waits no longer than `PERIOD` and the one that
is being performed: then what is finished is committed, and what has not begun is given back, whatever that one does.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from persistable import claims, generation, holdings
from persistable.errors import StoreError
from persistable.key import Key
from persistable.record import FAILED_SUFFIX, SUFFIX
from persistable.stores.base import Bytes, stat_many

PERIOD = 0.1
"""Seconds for which a finished payload may wait for its commit."""
MOST = 2000
"""So many members of a batch at most: as many claims are held, and are left behind by a process that is killed."""
LARGEST = 1 << 23
"""So many bytes of finished payloads are kept in memory."""


class Member(NamedTuple):
    """One node of a batch, bound to the store, of which nothing was stored; `given` and `attempt` as for `generation.generate`."""

    node: Any
    given: Mapping[Key, Any]
    attempt: int


class Ended(NamedTuple):
    """How one member ended: `error` is what stopped it, None where it is committed. seconds: what it took."""

    number: int
    error: BaseException | None
    seconds: float


class Batch:
    """Members by number. `ended` and `left` grow: those performed, and those that are somebody else's, or were given back."""

    def __init__(self, store: Any, members: Sequence[Member]) -> None:
        self._store = store
        self._members = members
        self._lock = threading.Lock()
        self._waiting: deque[int] = deque()
        self._pending = Pending(store)
        self._finished: list[tuple[int, _Changes, float]] = []
        self._bytes = 0
        self._oldest = 0.0
        self._begun = 0.0
        self._over = threading.Event()
        self.ended: list[Ended] = []
        self.left: list[int] = []

    def perform(self, go_on: Callable[[], bool]) -> None:
        """Perform what nobody else does, until `go_on` says no after a failure. What is finished is committed, come what may."""
        places = [member.node.place for member in self._members]
        watcher = threading.Thread(target=self._watch, name="persistable-batch", daemon=True)
        try:
            failed_before = self._claim(places)
        except StoreError:  # what stands in the way is told by each of them, alone
            self.left.extend(range(len(places)))
            return
        try:
            watcher.start()
            while (number := self._next()) is not None:
                if not self._perform_one(number, number in failed_before) and not go_on():
                    break
        finally:
            self._over.set()
            if watcher.ident is not None:
                watcher.join()
            try:
                self._commit()
            finally:
                self.left.extend(self._waiting)
                self._claims.release()

    def _claim(self, places: Sequence[Key]) -> set[int]:
        """Let those wait that nobody else holds nor has committed; the value is those of them that have failed before."""
        self._claims = claims.Claims(self._store, [place.path for place in places])
        try:
            paths = [place.path for place in places if place.path in self._claims.bases]
            there = stat_many(self._store, [path + suffix for path in paths for suffix in (SUFFIX, FAILED_SUFFIX)])
            mine = self._claims.bases - {path.removesuffix(SUFFIX) for path in there}
            self._waiting.extend(number for number, place in enumerate(places) if place.path in mine)
            self._give_back({number for number, place in enumerate(places) if place.path not in mine})
        except StoreError:
            self._claims.release()
            raise
        return {number for number, place in enumerate(places) if place.path + FAILED_SUFFIX in there}

    def _next(self) -> int | None:
        with self._lock:
            self._begun = time.perf_counter()
            return self._waiting.popleft() if self._waiting else None

    def _perform_one(self, number: int, failed_before: bool) -> bool:
        node, given, attempt = self._members[number]
        start = self._begun
        failure = holdings.find_failure(self._store, node.place) if failed_before else None
        try:
            generation.perform_into(self._pending, node, self._store, self._claims, given, failure, attempt)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it becomes a fact
            self._pending.take()
            self.ended.append(Ended(number, error, time.perf_counter() - start))
            return False
        now = time.perf_counter()
        changes = self._pending.take()
        with self._lock:
            self._finished.append((number, changes, now - start))
            self._bytes += changes.size
            self._oldest = self._oldest or now
            due = now - self._oldest > PERIOD or self._bytes > LARGEST
        if due:
            self._commit()
        return True

    def _commit(self) -> None:
        """Commit what is finished, in one call of the store."""
        with self._lock:
            finished, self._finished, self._bytes, self._oldest = self._finished, [], 0, 0.0
            if not finished:
                return
            bases = {self._members[number].node.place.path: number for number, _, _ in finished}
            lost = self._claims.lost(set(bases))
            kept = [changes for number, changes, _ in finished if self._members[number].node.place.path not in lost]
            try:
                self._claims.give_back(set(bases), *_stages(kept), delete=[path for changes in kept for path in changes.gone])
            except StoreError:  # what stands in the way is told by each of them, alone
                self.left.extend(bases.values())
                return
            for number, changes, seconds in finished:
                place = self._members[number].node.place
                self.ended.append(Ended(number, claims.lost_to_others(place) if place.path in lost else None, seconds))
                for act in changes.after if place.path not in lost else ():
                    act()

    def _give_back(self, numbers: set[int]) -> None:
        bases = {self._members[number].node.place.path for number in numbers} & self._claims.bases
        if bases:
            self._claims.give_back(bases)
        self.left.extend(sorted(numbers))

    def _watch(self) -> None:
        """Where one takes long, do not let the others wait for it."""
        while not self._over.wait(PERIOD / 2):
            if time.perf_counter() - self._begun < PERIOD:
                continue
            self._commit()
            with self._lock:
                waiting = set(self._waiting)
                self._waiting.clear()
                if waiting:
                    self._give_back(waiting)


class _Changes(NamedTuple):
    """What is to be done for one payload: items to put, those that come last, paths to delete, and what follows."""

    items: dict[str, Bytes]
    gone: list[str]
    after: list[Callable[[], object]]
    size: int


def _stages(changes: Sequence[_Changes]) -> tuple[dict[str, Bytes], dict[str, Bytes]]:
    """Payloads first, records last."""
    payloads: dict[str, Bytes] = {}
    records: dict[str, Bytes] = {}
    for change in changes:
        for path, data in change.items.items():
            (records if path.endswith(SUFFIX) else payloads)[path] = data
    return payloads, records


class Pending:
    """A store in which small things that are put, or deleted, wait to be taken from here; all else is as in `store`."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._items: dict[str, Bytes] = {}
        self._gone: list[str] = []
        self._after: list[Callable[[], object]] = []

    def take(self) -> _Changes:
        """All that waits, which it then does no longer."""
        taken = _Changes(self._items, self._gone, self._after, sum(map(len, self._items.values())))
        self._items, self._gone, self._after = {}, [], []
        return taken

    def afterwards(self, act: Callable[[], object]) -> None:
        """`act` is done once what was put is committed."""
        self._after.append(act)

    def put(self, path: str, data: Bytes) -> None:
        self._items[path] = data

    def delete(self, path: str) -> bool:
        if self._items.pop(path, None) is None:
            self._gone.append(path)
        return True

    def get(self, path: str) -> bytes:
        data = self._items.get(path)
        found: bytes = bytes(data) if data is not None else self._store.get(path)
        return found

    def read(self, path: str) -> Any:
        if path not in self._items:
            return self._store.read(path)
        from io import BytesIO

        return BytesIO(self._items[path])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
