"""`Batch`: many short generations in one store, claimed together, performed one after another, and committed together.

For stores where a commit costs more than the data committed. Another process waits for a member at most a period, the commits, and the
member being performed: then finished members are committed, and members not begun are given back, even if that one takes longer. A batch
whose members take longer than expected gives back those that it has not begun within a period, so that other processes can perform them.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from types import FrameType
from typing import NamedTuple

from persistable.errors import StoreError
from persistable.nodes import capture
from persistable.records import claims
from persistable.records.failure import FAILED_SUFFIX
from persistable.records.key import Key
from persistable.records.record import SUFFIX
from persistable.stores.base import BaseStore, Bytes, Store, extended, stat_many, stem_of
from persistable.stores.overlay import BufferedStore

PERIOD = 0.1
"""Seconds that a finished payload may wait for its commit, and during which a batch begins members; more in stores polled less often."""
LONGEST = 8.0
"""Seconds that a batch should take with its claims and commits: older claims are checked by other processes for a dead owner."""
MOST = 2000
"""The maximum number of members of a batch: as many claims are held, and are left behind by a killed process."""
LARGEST = 1 << 23
"""Bytes of finished payloads in memory above which they are committed."""

_LEAST_SHARE = 5
"""The divisor of the intended work of a call: a call with less work than that part costs more than it saves."""


def period_of(store: BaseStore) -> float:
    """Seconds of a period in `store`, see `PERIOD`."""
    return PERIOD * max(1.0, store.poll / BaseStore.poll)


class Ended(NamedTuple):
    """Outcome of one member. error: the exception that ended it, None if it is committed. seconds: its duration."""

    number: int
    error: BaseException | None
    seconds: float


Perform = Callable[[int, bool], object]
"""Generates a member, given its number and whether it failed before, into `Batch.pending` under `Batch.claims`; raises if it fails."""


class Batch:
    """A batch of members, by number, with the keys `places`; nothing was stored of them.

    `ended` and `left` grow: the performed members, and those of other processes or given back; of the latter, `late` are those that the
    batch had no time for. `seconds`: its duration with claims and commits.
    """

    claims: claims.Claims

    def __init__(self, store: BaseStore, places: Sequence[Key], perform: Perform) -> None:
        self._store = store
        self._places = places
        self._paths = [place.path for place in places]
        self._perform = perform
        self._period = period_of(store)
        self._lock = threading.Lock()
        self._waiting: deque[int] = deque()
        self.pending = Pending(store)
        self._finished: list[tuple[int, float]] = []
        self._oldest = 0.0
        self._begun = self._start = math.inf  # nothing has begun, so nothing takes long: the first member always begins
        self._over = threading.Event()
        self.seconds = 0.0
        self.ended: list[Ended] = []
        self.left: list[int] = []
        self.late: set[int] = set()

    def perform(self, go_on: Callable[[], bool]) -> None:
        """Perform the members that no other process holds, until `go_on` is False after a failure. Finished ones are always committed."""
        begun = time.perf_counter()
        watcher = threading.Thread(target=copy_context().run, args=(self._watch,), name="persistable-batch", daemon=True)
        try:
            failed_before = self._claim(claims.current_frame())
        except StoreError:  # each member raises it again when it is performed alone
            self.left.extend(range(len(self._paths)))
            return
        try:
            watcher.start()
            with capture.session():
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
                self.claims.release()
                self.seconds = time.perf_counter() - begun

    def _claim(self, holder: FrameType) -> set[int]:
        """Claim and queue the members that no other process holds or has committed; return the numbers of those that failed before."""
        self.claims = claims.Claims(self._store, self._paths, holder)
        try:
            doubtful = self.claims.bases - self.claims.new
            there = stat_many(self._store, [path + suffix for path in doubtful for suffix in (SUFFIX, FAILED_SUFFIX)]) if doubtful else {}
            mine = self.claims.bases - {path.removesuffix(SUFFIX) for path in there} if there else self.claims.bases
            self._waiting.extend(number for number, path in enumerate(self._paths) if path in mine)
            if len(mine) < len(self._paths):
                self._give_back({number for number, path in enumerate(self._paths) if path not in mine})
        except StoreError:
            self.claims.release()
            raise
        return {number for number, path in enumerate(self._paths) if path + FAILED_SUFFIX in there} if there else set()

    def _next(self) -> int | None:
        with self._lock:
            self._begun = time.perf_counter()
            self._start = min(self._start, self._begun)
            if self._begun - self._start > self._period:
                self._give_back_waiting()
            return self._waiting.popleft() if self._waiting else None

    def _perform_one(self, number: int, failed_before: bool) -> bool:
        start = self._begun
        pending = self.pending
        try:
            self._perform(number, failed_before)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - it becomes part of the outcome
            pending.drop()
            self.ended.append(Ended(number, error, time.perf_counter() - start))
            return False
        now = time.perf_counter()
        with self._lock:
            pending.keep()
            self._finished.append((number, now - start))
            self._oldest = self._oldest or now
            due = now - self._oldest > self._period or pending.kept.size > LARGEST
        if due:
            self._commit()
        return True

    def _commit(self) -> None:
        """Commit the finished members, in one call of the store."""
        with self._lock:
            finished, self._finished, self._oldest = self._finished, [], 0.0
            kept = self.pending.take_kept()
            if not finished:
                return
            paths = self._paths
            bases = {paths[number] for number, _ in finished}
            lost = self.claims.lost(bases)
            if lost:
                lost -= self._commit_first(kept.take(lost))
            payloads, records = kept.stages
            try:
                self.claims.give_back(bases, payloads, records, delete=kept.deletes)
            except StoreError:  # each member raises it again when it is performed alone
                self.left.extend([number for number, _ in finished])
                return
            except BaseException:  # an interrupt: commit again at the end, whether or not it was done
                self._finished[:0] = finished
                self.pending.replace_kept(kept.joined(self.pending.kept))
                raise
            self.left.extend([number for number, _ in finished if paths[number] in lost])  # other processes have committed them
            self.ended.extend([Ended(number, None, seconds) for number, seconds in finished if paths[number] not in lost])
            for base, act in kept.after:
                if base not in lost:
                    act()

    def _commit_first(self, changes: Changes) -> set[str]:
        """Commit members whose claims other processes took over, unless those were first; return the bases of the committed ones."""
        try:
            payloads, records = changes.stages
            self._store.put_many(payloads)
            done = {stem_of(path) for path in self._store.create_many(records)}
            self._store.change_many(delete=[path for path in payloads if stem_of(path) not in done])
            self._store.change_many(delete=[path for path in changes.deletes if stem_of(path) in done])
        except StoreError:  # then each of them is performed alone
            return set()
        return done

    def _give_back_waiting(self) -> None:
        waiting = set(self._waiting)
        self._waiting.clear()
        if waiting:
            self.late |= waiting
            self._give_back(waiting)

    def _give_back(self, numbers: set[int]) -> None:
        bases = {self._paths[number] for number in numbers} & self.claims.bases
        if bases:
            self.claims.give_back(bases)
        self.left.extend(sorted(numbers))

    def _watch(self) -> None:
        """Commit finished members, and give back those not begun, while one member takes longer than a period."""
        while not self._over.wait(self._period / 2):
            if time.perf_counter() - self._begun < self._period:
                continue
            self._commit()
            with self._lock:
                self._give_back_waiting()


class Changes(BufferedStore):
    """Changes of finished members, to be committed in one call of the store.

    after: pairs of the base of a member and a function to call once it is committed. size: bytes of all items.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.after: list[tuple[str, Callable[[], object]]] = []
        self.size = 0

    @property
    def stages(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """Items to put: payloads, and records, which are put after them."""
        payloads: dict[str, bytes] = {}
        records: dict[str, bytes] = {}
        for path, data in self.items.items():
            if data is not None:
                (records if path.endswith(SUFFIX) else payloads)[path] = data
        return payloads, records

    def joined(self, later: Changes) -> Changes:
        """Add the `later` changes to these, and return these."""
        self.items.update(later.items)
        self.after += later.after
        self.size += later.size
        return self

    def take(self, bases: set[str]) -> Changes:
        """Remove and return the changes of the members with these bases."""
        taken = Changes(self.store)
        for path in [path for path in self.items if stem_of(path) in bases]:
            taken.items[path] = self.items.pop(path)
        return taken


class BatchSizer:
    """Sizer of batches: the number of members that take half a period together, so that few are given back.

    It also sets the number of batches under way at once. work: seconds that a batch should take at least, if more than half a period.
    """

    def __init__(self, size: int = 4, work: float = 0.0) -> None:
        self.size = size
        self._work = work
        self._useful = MOST

    def observe(self, number: int, seconds: float, store: Store, whole: float = 0.0) -> None:
        """Take into account that `number` members took `seconds` to generate for `store`, and `whole` with claims and commits."""
        if number:
            aim = max(period_of(extended(store)) / 2, self._work)
            most = number * aim / max(seconds, 1e-6)
            slow = whole > LONGEST / 4
            if slow:  # else a batch four times as large takes no longer than that
                most = min(most, number * LONGEST / whole)
            self.size = max(1, min(MOST, 4 * self.size, int(most)))
            if whole and not self._work:  # more batches only wait for each other in the store, and must be smaller to end in time
                self._useful = max(1, round((1 if slow else 2) * whole / max(whole - seconds, 1e-6)))

    def share(self, waiting: int, workers: int) -> int:
        """The size of the next batch on a worker: all workers get a share of `waiting`, but no call has less work than it costs."""
        least = self.size // _LEAST_SHARE if self._work else 1
        return min(self.size, max(least, waiting // min(workers, self.at_once(workers)) + 1))

    def at_once(self, workers: int) -> int:
        """Number of batches to have under way: one more than workers, but no more than keep two at the store, or one if that is slow."""
        return min(workers + 1, self._useful)


class Pending(BufferedStore):
    """The store that members are generated into: it buffers the changes of the current member, over those of finished ones, in `kept`."""

    def __init__(self, store: Store) -> None:
        self._base = store
        self._after: list[Callable[[], object]] = []
        super().__init__(store)
        self.replace_kept(Changes(store))

    def replace_kept(self, kept: Changes) -> None:
        """Set the changes that wait to be committed to `kept`."""
        self.store = self.kept = kept

    def take_kept(self) -> Changes:
        """Remove and return the changes that wait to be committed."""
        kept = self.kept
        self.replace_kept(Changes(self._base))
        return kept

    def put(self, path: str, data: Bytes) -> None:
        self.items[path] = data if type(data) is bytes else bytes(data)  # the path is checked by the commit

    def keep(self) -> None:
        """Move the changes of the current member to `kept`, to be committed."""
        kept, items = self.kept, self.items
        kept.items.update(items)
        for data in items.values():
            if data is not None:
                kept.size += len(data)
        if self._after:
            base = next((stem_of(path) for path in items if path.endswith(SUFFIX)), "")
            kept.after += [(base, act) for act in self._after]
        self.drop()

    def drop(self) -> None:
        """Drop the changes of the current member."""
        self.items.clear()
        if self._after:
            self._after = []

    def afterwards(self, act: Callable[[], object]) -> None:
        """Call `act` once the changes of the current member are committed."""
        self._after.append(act)
