"""A run of families too large to have all nodes in memory at once: looked up, planned and performed in chunks."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from contextlib import suppress
from functools import cache
from operator import itemgetter
from queue import SimpleQueue
from typing import Any, NamedTuple

from persistable import events
from persistable.errors import ClaimLost, StoreError
from persistable.executors import notes
from persistable.executors.base import Executor
from persistable.executors.inline import InlineExecutor
from persistable.nodes import connections, format_check
from persistable.nodes.binding import bound_to
from persistable.nodes.staleness import Judge
from persistable.nodes.status import look_up
from persistable.nodes.types import own_store
from persistable.params.secret import message_of
from persistable.records import claim_watch
from persistable.records.bulk import failed_attempts, format_in_records, made_by, present
from persistable.records.key import Key
from persistable.records.record import SUFFIX
from persistable.records.record_access import find_failure
from persistable.runs import output_forwarding
from persistable.runs.batch import Batch, BatchSizer
from persistable.runs.concurrent_runs import failed_elsewhere
from persistable.runs.estimate import expected_seconds
from persistable.runs.failures import Location
from persistable.runs.result import FamilyResult, RunResult
from persistable.runs.worker import Packer, check_keys, failed

CHUNK = 5000
"""Chunk size: members planned together; chunks run one after another."""
CLOSER = 1000
"""Possibly stale members whose nodes are built at once."""

_TRIES = 2
"""The number of times that members given back by a worker are sent again in a batch."""

Wanted = list[tuple[Any, Any]]
Member = tuple[FamilyResult, int]


class MemberGroup(NamedTuple):
    """Members of a family, by number, to perform together. tries: how often they were given back before."""

    family: FamilyResult
    numbers: Sequence[int]
    tries: int = 0


class ChunkedRun:
    """Runs single nodes, and large families, of which only members that are not stored are built as nodes.

    loop: returns a `Loop` for (node, store) pairs, given the nodes that failed before. key_chunks: the `KeyChunks` of each family. base:
    the store of families that name none.
    """

    def __init__(
        self,
        loop: Callable[[Wanted, dict[Location, Any]], Any],
        wanted: Wanted,
        key_chunks: Iterable[Any],
        base: Any,
        executor: Executor,
        fail_fast: bool,
        stale: str,
    ) -> None:
        self._stale = stale
        self._judging = cache(Judge)
        self._loop = loop
        self._wanted = wanted
        self._executor = executor
        self.result = RunResult(base)
        self._families: list[FamilyResult] = []
        for chunks in key_chunks:
            family = FamilyResult(chunks, chunks.store if chunks.store is not None else base)
            if not any(map(family.equals, self._families)):
                self._families.append(family)
        self._failed: dict[Location, Any] = {}
        self._attempts: dict[FamilyResult, dict[int, int]] = {family: {} for family in self._families}
        """The number of the last attempt at each member whose failure was on record when the run began."""
        self._begun = False
        self._fail_fast = fail_fast
        self._generators: dict[FamilyResult, Any] = {}
        self._pace = BatchSizer()
        self._queue: deque[MemberGroup] = deque()
        self._slow: Counter[FamilyResult] = Counter()
        self._packer = Packer(executor)
        self.run_name = os.urandom(4).hex()

    def run(self, failed: str) -> RunResult:
        """Look up all members, then perform one chunk after another."""
        start = time.perf_counter()
        self.result.outcomes.families.extend(self._families)
        for family in self._families:
            check_keys(self._executor, family.store, family.chunks.model.key)
            self._look(family)
        if self._stale == "raise":
            self.result.stale.refuse()
            if self._wanted:
                self._loop(self._wanted, {}).check_stale(failed)
        missing = [(family, number) for family in self._families for number in family.numbers("cancelled")] if self._few() else None
        chunks = [missing] if missing is not None else self._chunks()
        if failed == "retry" and not self._executor.min_call_seconds:  # else a call is expensive, and the loop sizes calls by that
            missing_some = [family for family in self._families if family.count("cancelled")]
            if not self._executor.shares_memory:
                for family in missing_some:
                    self._executor.check_store(family.store)
            fit = {family: format_check.refusal(family.chunks.model) is None for family in missing_some}
            self._generators = {family: family.chunks.direct_generator(family.store) if fit[family] else None for family in missing_some}
        # the loop announces a single chunk itself, unless all of it is performed without the loop
        quiet = missing is None or (not self._wanted and bool(self._generators) and all(self._generators.values()))
        announces = events.has_receiver() and quiet
        if announces:
            self._announce()
        try:
            with connections.leading(self.run_name):
                for chunk in chunks:
                    if not self._carry_out(chunk, failed, quiet):
                        break
        finally:
            self.result.seconds = time.perf_counter() - start
            if announces:
                events.emit(self.result.finished())
        self.result.stale.warn()
        return self.result

    def _few(self) -> bool:
        return sum(family.count("cancelled") for family in self._families) <= CHUNK

    def _look(self, family: FamilyResult) -> None:
        """Look up the members of a family that are stored, and those of them that are stale."""
        made_by, format_ = self._made_by(family), format_in_records(family.chunks.model.payload_io)
        for numbers in family.chunks:
            bases: list[str] = family.chunks.bases(numbers)
            there = present(family.store, bases, format_)
            if len(there) == len(bases) and made_by is not None and set(there.values()) == {made_by}:
                family.set_all(numbers, "reused")
                continue
            absent = {base: number for number, base in zip(numbers, bases, strict=True) if base not in there}
            failures = failed_attempts(family.store, list(absent)) if absent else {}
            self._attempts[family].update((absent[base], attempt) for base, attempt in failures.items())
            same = [number for number, base in zip(numbers, bases, strict=True) if made_by is not None and there.get(base) == made_by]
            family.set_all(same, "reused")
            known = set(same)
            self._look_closer(
                family, [number for number, base in zip(numbers, bases, strict=True) if base in there and number not in known]
            )

    def _made_by(self, family: FamilyResult) -> bytes | None:
        """The bytes common to the records of all members if nothing has changed; None if they differ between members."""
        return None if family.chunks.factory.upstream_families else made_by(self._judging().expected(family.chunks.model, family.store))

    def _look_closer(self, family: FamilyResult, numbers: list[int]) -> None:
        """Judge these members, which are stored, but perhaps not as the current code would generate them."""
        for first in range(0, len(numbers), CLOSER):
            some = numbers[first : first + CLOSER]
            nodes = [family.chunks.nodes[number] for number in some]
            for number, node, found in zip(some, nodes, look_up([(node, family.store) for node in nodes], self._judging), strict=True):
                if not found.stored or found.verdict.refused or (found.verdict.causes and self._stale == "generate"):
                    continue  # left to the loop
                family.set(number, "reused")
                if found.verdict.causes:
                    self.result.stale.add(node, family.url, found.verdict)

    def _chunks(self) -> Iterator[list[Member]]:
        missing = ((family, number) for family in self._families for number in family.numbers("cancelled"))
        while chunk := list(itertools.islice(missing, CHUNK)):
            yield chunk

    def _carry_out(self, chunk: list[Member], failed: str, quiet: bool) -> bool:
        """Run one chunk, and tell whether to go on with the next."""
        if any(self._generators.values()):
            chunk = self._perform_directly(chunk)
            if self._fail_fast and self._failed:
                return False
        if failed == "retry" and (self._begun or any(self._generators.values())):
            chunk = self._left_to_others(chunk)
            if not chunk and not self._wanted:
                return True
        self._begun = True
        members: dict[Location, list[Member]] = {}
        wanted, self._wanted = self._wanted, []
        for family, number in chunk:
            node = family.chunks.nodes[number]
            members.setdefault((family.url, node.place), []).append((family, number))
            wanted.append((node, family.store))
        loop = self._loop(wanted, self._failed)
        loop.quiet, loop.run_name = quiet, self.run_name
        try:
            loop.run(failed)
        finally:
            self._take(loop.result, members)
        return not loop.stopped

    def _left_to_others(self, chunk: list[Member]) -> list[Member]:
        """Record failures of another run since this one began, after as many attempts as `Retry` allows; return the other members."""
        rest: list[Member] = []
        for family, members in itertools.groupby(chunk, key=itemgetter(0)):
            numbers = [number for _, number in members]
            last = failed_attempts(family.store, family.chunks.bases(numbers))
            if not last:
                rest += [(family, number) for number in numbers]
                continue
            retry = family.chunks.model.retry
            enough = retry.attempts if retry is not None else 1
            for number, key in zip(numbers, family.chunks.keys(numbers), strict=True):
                since = last.get(key.path, 0) - self._attempts[family].get(number, 0)
                is_own = (family.url, key) in self._failed
                failure = find_failure(family.store, key) if since >= enough and not is_own else None
                if failure is None:
                    rest.append((family, number))
                else:
                    self._note(family, [number], [(0, failed_elsewhere(failure), failure.traceback, failure.seconds)])
        return rest

    def _perform_directly(self, chunk: list[Member]) -> list[Member]:
        """Generate members that need no node, in this thread or, many at a time, by the executor; return the other members."""
        rest: list[Member] = []
        groups = itertools.groupby(chunk, key=itemgetter(0))
        self._queue.extend(MemberGroup(family, [number for _, number in members]) for family, members in groups)
        with connections.within(self.run_name):
            if isinstance(self._executor, InlineExecutor):
                while (group := self._next(rest)) is not None:
                    self._perform(group, rest)
            else:
                self._send(rest)
        return rest

    def _send(self, rest: list[Member]) -> None:
        """Have workers perform the groups of `_next`, many members per call; no call keeps running after an early end."""
        executor, running = self._executor, dict[futures.Future[Any], MemberGroup]()
        arrived: SimpleQueue[futures.Future[Any] | tuple[events.NodeEvent, ...]] = SimpleQueue()
        with notes.received_at(self.run_name, arrived.put):
            try:
                while True:
                    while len(running) < self._pace.at_once(executor.workers) and (group := self._next(rest)) is not None:
                        try:
                            function, argument = self._task(group)
                            future = executor.submit_for(None, function, argument)
                        except Exception as error:  # noqa: BLE001 - each member is tried alone, to find the one at fault
                            self._arrived(rest, group, error)
                            continue
                        running[future] = group
                        future.add_done_callback(arrived.put)
                    if not running:
                        return
                    news = arrived.get()
                    if isinstance(news, tuple):
                        output_forwarding.emit_forwarded_all(news, None, executor.workers > 1)
                        continue
                    try:
                        found = news.result()
                    except Exception as error:  # noqa: BLE001 - an error of the executor
                        found = error
                    self._arrived(rest, running.pop(news), found)
            finally:
                self._end(running)

    def _end(self, running: dict[futures.Future[Any], MemberGroup]) -> None:
        """Stop the calls under way, and remove the claims of the stopped workers."""
        for future in running:
            future.cancel()
        for future in running:
            if self._executor.can_stop:
                self._executor.stop(future)
        futures.wait(running)
        for family, numbers, _ in running.values():
            with suppress(StoreError):  # claims that cannot be removed are taken over by the next process
                claim_watch.forget_dead(family.store, family.chunks.bases(numbers))

    def _goes_on(self) -> bool:
        return not (self._fail_fast and self._failed)

    def _next(self, rest: list[Member]) -> MemberGroup | None:
        """The next members to perform together, one after another; None if there are none. Members left to the loop go to `rest`."""
        while self._queue and self._goes_on():
            family, numbers, tries = self._queue.popleft()
            if self._generators.get(family) is None:
                rest += [(family, number) for number in numbers]
                continue
            if self._failed:  # some of these may have failed earlier in this run
                locations = [(family.url, key) for key in family.chunks.keys(numbers)]
                rest += [(family, number) for number, location in zip(numbers, locations, strict=True) if location in self._failed]
                numbers = [number for number, location in zip(numbers, locations, strict=True) if location not in self._failed]
            some, later = numbers[: self._pace.size], numbers[self._pace.size :]
            if later:
                self._queue.appendleft(MemberGroup(family, later, tries))
            if some:
                return MemberGroup(family, some, tries)
        return None

    def _perform(self, group: MemberGroup, rest: list[Member]) -> None:
        family, numbers, _ = group
        keys = family.chunks.keys(numbers)
        batch: Batch = self._generators[family].batch(keys, family.chunks.rows(numbers), self._attempts_at(group, keys))
        try:
            batch.perform(lambda: not self._fail_fast)
        finally:
            self._note(family, numbers, [(each.number, each.error, "", each.seconds) for each in batch.ended])
        if batch.late:
            self._queue.appendleft(MemberGroup(family, [numbers[place] for place in sorted(batch.late)]))
        rest += [(family, numbers[place]) for place in batch.left if place not in batch.late]
        self._pace.observe(len(batch.ended), sum(ended.seconds for ended in batch.ended), family.store, batch.seconds)

    def _task(self, group: MemberGroup) -> tuple[Callable[..., Any], Any]:
        family, numbers, _ = group
        generator, keys, rows = self._generators[family], family.chunks.keys(numbers), family.chunks.rows(numbers)
        attempts = self._attempts_at(group, keys)
        if self._executor.shares_memory:
            in_thread: tuple[Callable[..., Any], Any] = generator.thread_request(keys, rows, attempts, self.run_name)
            return in_thread
        elsewhere: tuple[Callable[..., Any], Any] = generator.request(keys, rows, attempts, self._packer, self.run_name)
        return elsewhere

    def _attempts_at(self, group: MemberGroup, keys: Sequence[Key]) -> dict[str, int]:
        """The number of the last attempt, by digest, at the members of a group whose failure was on record when the run began."""
        known = self._attempts[group.family]
        return {key.digest: known[number] for number, key in zip(group.numbers, keys, strict=True) if number in known} if known else {}

    def _arrived(self, rest: list[Member], group: MemberGroup, answer: Any) -> None:
        family, numbers, tries = group
        if isinstance(answer, Exception):
            rest += [(family, number) for number in numbers]
            return
        output_forwarding.emit_forwarded_all(answer.events, None, self._executor.workers > 1)
        self._note(family, numbers, answer.ended)
        self._pace.observe(len(answer.ended), sum(seconds for *_, seconds in answer.ended), family.store, answer.seconds)
        left: list[int] = [numbers[place] for place in answer.left]
        if not tries:
            self._judge(family, len(left) > len(answer.ended))
        if left and tries < _TRIES:
            self._queue.append(MemberGroup(family, left, tries + 1))
        else:
            rest += [(family, number) for number in left]

    def _judge(self, family: FamilyResult, slow: bool) -> None:
        """Send members one by one if they take so long that most are given back; the first call of each worker may be slow."""
        self._slow[family] = self._slow[family] + 1 if slow else 0
        if self._slow[family] > self._executor.workers + 2:
            self._generators[family] = None

    def _note(self, family: FamilyResult, numbers: Sequence[int], ended: Sequence[tuple[int, BaseException | None, str, float]]) -> None:
        """Record how members ended: each by its index in `numbers`, error, traceback if that came from elsewhere, and seconds."""
        announces, shown = events.has_receiver(level=10), events.nodes_wanted()
        for place, error, lines, seconds in ended:
            number = numbers[place]
            status = "done" if error is None else "failed"
            if isinstance(error, ClaimLost) and family.store.exists(family.chunks.bases([number])[0] + SUFFIX):
                status = "reused"  # the process that took it over has stored it
            family.set(number, status, seconds, 1)
            if error is not None and status == "failed":
                self._fail(family, number, failed(error, None, 1, seconds).error, lines, seconds)
            if announces:
                message = "" if error is None or status != "failed" else f"{type(error).__name__}: {message_of(error)}"
                node = bound_to(family.chunks.nodes[number], family.store) if shown else None
                key = family.chunks.keys([number])[0]
                events.emit(events.Performed(key=key, outcome=status, seconds=seconds, error=message, is_target=True, node=node))

    def _fail(self, family: FamilyResult, number: int, error: Exception | None, lines: str, seconds: float) -> None:
        assert error is not None
        node = bound_to(family.chunks.nodes[number], family.store)
        self.result.failures.add(node, error, lines, 1, seconds)
        self._failed[family.url, node.place] = node.key

    def _take(self, part: RunResult, members: dict[Location, list[Member]]) -> None:
        """Add the results of one chunk."""
        for location, ending in part.outcomes.own().items():
            for family, number in members.get(location, ()):
                family.set(number, *ending[2:])
            if location not in members and location not in self.result.outcomes.own():
                self.result.outcomes.put(location, ending)
            if ending.status in ("failed", "skipped"):
                self._failed[location] = location[1].key
        self.result.take(part)

    def _announce(self) -> None:
        jobs = Counter(node.payload_name for node, _ in self._wanted)
        stores = {node.payload_name: own_store(node) or store for node, store in self._wanted if node.is_persisted}
        for family in self._families:
            jobs[family.chunks.model.payload_name] += family.count("cancelled")
            stores[family.chunks.model.payload_name] = family.store
        events.emit(events.RunStarted(jobs=dict(jobs), workers=self._executor.workers, expected=expected_seconds(stores)))
