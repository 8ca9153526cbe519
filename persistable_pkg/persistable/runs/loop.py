"""The loop of a run, between a plan that decides and an executor that carries out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent import futures
from functools import cached_property
from heapq import heappop, heappush
from queue import Empty, SimpleQueue
from typing import Any

from persistable import events
from persistable.errors import ClaimLost, NotEnforceable, PayloadCorrupted, RemoteError, StoreError, TimedOut, WorkerDied
from persistable.executors.base import Executor
from persistable.executors.resolve import is_inline
from persistable.executors.resources import Resources, Retry
from persistable.nodes import connections, generation
from persistable.nodes.binding import bound_to
from persistable.nodes.generation import FAILED
from persistable.nodes.loading import refused
from persistable.nodes.node import Persistable
from persistable.nodes.staleness import Judge
from persistable.nodes.status import Found
from persistable.nodes.stub import stub
from persistable.nodes.types import check_unchanged, given_logger, needs_of, own_store
from persistable.params.secret import clean
from persistable.records import leftovers
from persistable.records.access import find_failure
from persistable.records.key import Key
from persistable.records.record import Failure
from persistable.runs.batch import Batch, Pace
from persistable.runs.estimate import QueueDepth, expected_seconds
from persistable.runs.handover import Handover, taken_by
from persistable.runs.others import Others, failure_since, is_stored
from persistable.runs.plan import GIVEN_UP, Decided, Look, Start, Unit, look, planning
from persistable.runs.queue import Room
from persistable.runs.result import NodeFailure, RunResult
from persistable.runs.worker import (
    Job,
    Outcome,
    Packer,
    check_keys,
    failed,
    lines_of,
    outcome_of,
    perform,
    perform_here,
    perform_packed,
)
from persistable.stores.base import extended
from persistable.stores.reach import in_memory, is_shared

_PATIENCE = 1.0
"""Seconds for a worker that was killed to be gone."""


class Attempt:
    """One try at one unit, under way."""

    __slots__ = ("begun", "future", "limit", "number", "started", "unit")

    def __init__(self, unit: Unit, number: int, future: futures.Future[Any]) -> None:
        self.unit = unit
        self.number = number
        self.future = future
        self.started = time.time()
        self.limit: float | None = unit.node.resources.time if unit.node.resources is not None else None
        self.begun: float | None = None
        """When it was first seen running: waiting for a worker does not count against its time."""


class Loop:
    """The state of one run."""

    def __init__(
        self,
        executor: Executor,
        base: Any,
        wanted: list[tuple[Any, Any]],
        fail_fast: bool,
        limits: Mapping[str, float],
        given_up: Collection[Any],
        stale: str,
    ) -> None:
        self._stale = stale
        self._judge: Judge | None = Judge()
        self.stopped = False  # whether it ended at the first failure
        self.quiet = False  # whether somebody else announces beginning and end
        self._given_up = given_up
        self._executor = executor
        self._inline = is_inline(executor)
        self._base = base
        self._wanted = wanted
        self._targets = {node.key for node, _ in wanted}
        self._fail_fast = fail_fast
        self._room = Room(executor, limits)
        self._result = RunResult(base)
        self._running: dict[futures.Future[Any], Attempt] = {}
        self._arrived: SimpleQueue[futures.Future[Any]] = SimpleQueue()
        self._delayed: list[tuple[float, int, Unit]] = []
        self._tries: dict[Unit, int] = {}
        self._healed: set[Unit] = set()
        self._ended: list[tuple[Unit, bool]] = []
        self._failed: set[Unit] = set()
        self._done: set[Unit] = set()
        self._handover = Handover(base, self._targets, self._result)
        self._whole: set[type] = set()  # those whose code asks for more of the upstream than it names
        self._batches = Pace()
        self._alone: set[Unit] = set()  # those that a batch has left
        self._others = Others()
        self._hooks = events.own_hooks()

    @cached_property
    def _depth(self) -> QueueDepth:
        return QueueDepth()

    @cached_property
    def _packer(self) -> Packer:
        return Packer(self._executor)

    @property
    def result(self) -> RunResult:
        """As far as it has come."""
        return self._result

    # the whole

    def run(self, failed: str) -> RunResult:
        """Plan, carry out, clean up."""
        start = time.perf_counter()
        steps = planning(self._wanted, failed=failed, stale=self._stale, packages=not self._executor.places)
        decided = None
        try:
            request = next(steps)
            while isinstance(request, Look):
                request = steps.send(self._look(request.units))
            assert isinstance(request, Decided)
            self._judge = None  # from now on it changes what is stored
            self._begin(request)
            decided = request
            with connections.within(self._handover.run):
                self._carry_out(steps)
        except BaseException:
            self._abort()
            raise
        finally:
            steps.close()
            connections.close(self._handover.run)
            self._result.seconds = time.perf_counter() - start
            if decided is not None:
                self._finish(decided)
        return self._result

    def check_stale(self, failed: str) -> None:
        """Raise StaleCode if something is stale; nothing is begun."""
        steps = planning(self._wanted, failed=failed)
        request = next(steps)
        while isinstance(request, Look):
            request = steps.send(self._look(request.units))
        steps.close()
        assert isinstance(request, Decided)
        for unit in request.reused:
            if unit.found is not None and unit.found.verdict.causes:
                self._result.stale.add(unit.node, unit.store.url, unit.found.verdict)
        self._result.stale.refuse()

    def _look(self, units: list[Unit]) -> list[Found]:
        if not self._given_up:
            return look(units, self._judge)
        asked = [unit for unit in units if (unit.store.url, unit.node.place) not in self._given_up]
        found = dict(zip(asked, look(asked, self._judge), strict=True))
        return [found.get(unit, GIVEN_UP) for unit in units]

    def _carry_out(self, steps: Any) -> None:
        request = next(steps, None)
        while request is not None:
            if isinstance(request, Look):
                request = steps.send(self._look(request.units))
                continue
            assert isinstance(request, Start)
            for unit in request.kept:
                self._keep_as_it_is(unit)
            if request.more:
                self._expect(request.more)
            for unit in request.units:
                self._room.queue(unit)
            for unit, cause in request.skipped:
                self._skip(unit, cause)
            ended = self._advance()
            if self._fail_fast and self._failed:
                self.stopped = True
                self._abort()
                return
            try:
                request = steps.send(ended)
            except StopIteration:
                return

    def _begin(self, decided: Decided) -> None:
        for unit in decided.reused:
            self._result.note(unit.node, unit.store, "reused")
            if unit.found is not None and unit.found.verdict.causes:
                self._result.stale.add(unit.node, unit.store.url, unit.found.verdict)
        if self._stale == "raise":
            self._result.stale.refuse()
        if not self.quiet:
            self._result.stale.warn()
        for unit in decided.left:
            self._leave(unit)
        for unit in decided.refused:
            self._refuse(unit)
        self._check(decided.needed)
        if decided.needed and not self._executor.shares_memory and in_memory(self._base):
            self._handover.store = decided.needed[0].store  # one that other processes can reach, or it would have been refused
        self._handover.expect(decided.needed)
        if events.listened() and not self.quiet:
            jobs = Counter(unit.node.payload_name for unit in decided.needed)
            expected = expected_seconds({unit.node.payload_name: unit.store for unit in decided.needed if unit.node.is_persisted})
            events.emit(events.RunStarted(jobs=dict(jobs), workers=self._executor.workers, expected=expected))

    def _expect(self, more: Sequence[Unit]) -> None:
        """Be ready for what is needed besides what was planned."""
        self._check(list(more))
        self._handover.expect(more)
        if events.listened() and not self.quiet:
            events.emit(events.RunGrew(jobs=dict(Counter(unit.node.payload_name for unit in more)), expected={}))

    def _check(self, needed: list[Unit]) -> None:
        """Refuse, before anything begins, what this executor could not do."""
        name = self._executor.name
        asked: set[int] = set()
        reached: set[int] = set()
        for unit in needed:
            resources: Resources | None = unit.node.resources
            if resources is not None and id(resources) not in asked:
                asked.add(id(resources))
                if resources.time is not None and not self._executor.stops:
                    raise NotEnforceable(
                        f"{unit.node.key} may take {resources.time:g} s, but the {name} executor cannot stop work that is running; "
                        'use executor="processes" or RayExecutor, or drop `time` from its resources',
                        key=unit.node.key,
                        executor=name,
                        wanted=f"time={resources.time:g}",
                    )
                self._room.check(unit.node.key, resources)
            if not self._executor.shares_memory and id(unit.store) not in reached:
                reached.add(id(unit.store))
                check_keys(self._executor, unit.store, unit.node.key)
                if is_shared(unit.store):
                    continue
                raise NotEnforceable(
                    f"{unit.node.key} is to be kept in {unit.store.url}, which is in the memory of this process, where the {name} executor "
                    "cannot put it; use a folder or another store, or threads",
                    key=unit.node.key,
                    executor=name,
                    wanted=unit.store.url,
                )

    def _finish(self, decided: Decided) -> None:
        for unit in decided.needed:
            if self._result.outcomes.at(unit.store.url, unit.node.place) is None:
                self._result.note(unit.node, unit.store, "cancelled")
        self._handover.finish()
        if decided.needed:
            leftovers.clear_sources(self._base)
        if events.listened() and not self.quiet:
            events.emit(self._result.finished())

    # carrying out

    def _advance(self) -> list[tuple[Unit, bool]]:
        """Begin what there is room for, then wait until something has ended; nothing, when nothing is left to wait for."""
        while True:
            if self._delayed or self._others.met:
                self._wake()
            if self._inline:
                unit = self._room.take(0)
                if unit is not None and not (self._others.met and self._is_elsewhere(unit)) and not self._perform_together(unit):
                    self._perform_here(unit)
            else:
                self._submit()
            if self._ended:
                ended, self._ended = self._ended, []
                return ended
            if self._running:
                self._wait()
            elif not self._room.waiting:
                self._others.expect()
                until = self._next_moment()
                if until is None:
                    return []
                time.sleep(max(0.0, until - time.monotonic()))

    def _wake(self) -> None:
        while self._delayed and self._delayed[0][0] <= time.monotonic():
            self._room.queue(heappop(self._delayed)[2])
        seen = self._others.look()
        for unit in seen.stored:
            self._close(unit, "reused", _ELSEWHERE)
        for unit in seen.failed:
            self._leave_to_others(unit, "failed")
        for unit in seen.free:
            self._room.queue(unit)

    def _is_elsewhere(self, unit: Unit) -> bool:
        """Tell whether somebody else has generated `unit`, or is at it: then there is nothing to begin."""
        found = self._others.ahead(unit)
        if found:
            self._room.release(unit)
            self._leave_to_others(unit, found)
        return bool(found)

    def _leave_to_others(self, unit: Unit, found: str) -> None:
        if found == "stored":
            self._others.met = True
            self._close(unit, "reused", _ELSEWHERE)
        elif found == "failed" and (failure := failure_since(unit)) is not None:
            self._fail(unit, _failed_elsewhere(failure))
        elif found == "failed":
            self._room.queue(unit)
        else:
            self._others.add(unit)

    def _perform_here(self, unit: Unit) -> None:
        number = self._tries[unit] = self._tries.get(unit, 0) + 1
        token = unit.found.token if unit.found is not None else None
        node = bound_to(unit.node, unit.store, lent=True)
        given = self._given(unit) if unit.sources else {}
        outcome, payload = perform(node, unit.store, token, given, number, unit in self._others.abandoned)
        self._batches.saw(1, outcome.seconds)
        self._room.release(unit)
        self._settle(unit, outcome, payload)

    def _perform_together(self, first: Unit) -> bool:
        """Perform `first` and those next in the order in one batch; False where it is one that is performed alone."""
        if not self._suits(first, first.store) or self._batches.size < 2:
            return False
        units = self._room.take_more(first, self._batches.size)
        apart = next((place for place, unit in enumerate(units) if not self._suits(unit, first.store)), len(units))
        for unit in units[apart:]:
            self._room.queue(unit)
        units = units[:apart]
        members = [(bound_to(unit.node, unit.store, lent=True), self._given(unit)) for unit in units]

        def perform_one(number: int, failed_before: bool) -> None:
            node, given = members[number]
            failure = find_failure(first.store, node.place) if failed_before else None
            generation.perform_into(batch.pending, node, first.store, batch.claims, given, failure, self._tries[units[number]])

        for unit in units:
            self._tries[unit] = self._tries.get(unit, 0) + 1
        batch = Batch(first.store, [node.key for node, _ in members], perform_one)
        start = time.perf_counter()
        try:
            batch.perform(lambda: not self._fail_fast)
        finally:
            for ended in batch.ended:
                unit = units[ended.number]
                self._settle(unit, outcome_of(ended, unit.node, self._tries[unit]), None)
        for number in batch.left:
            self._tries[units[number]] -= 1
            if number not in batch.late:
                self._alone.add(units[number])
            self._room.queue(units[number])
        self._batches.saw(len(batch.ended), time.perf_counter() - start)
        return True

    def _suits(self, unit: Unit, store: Any) -> bool:
        """Tell whether `unit` may be performed together with others in `store`."""
        node, found = unit.node, unit.found
        if found is None or found.token is not None or unit.store is not store or unit in self._alone:
            return False
        return extended(store).batches and node.resources is None and isinstance(node.place, Key)

    def _given(self, unit: Unit) -> dict[Any, Any]:
        """The payloads upstream of it that are not persisted, by key."""
        given: dict[Any, Any] = {}
        for source in taken_by(unit):
            if self._will_not_come(source, unit):
                given[source.node.key] = FAILED
            elif not source.node.is_persisted and source in self._handover.held:
                given[source.node.key] = self._handover.held[source]
        return given

    def _will_not_come(self, source: Unit, unit: Unit) -> bool:
        """Tell whether `unit` goes on without that upstream: it failed, or one of several that would do is there already."""
        if source in self._failed:
            return True
        return needs_of(unit.node) == "any" and source not in self._done and not source.there

    def _submit(self) -> None:
        while (unit := self._room.take(len(self._running), self._depth.depth(self._executor.workers))) is not None:
            if self._others.met and self._is_elsewhere(unit):
                continue
            number = self._tries[unit] = self._tries.get(unit, 0) + 1
            resources = unit.node.resources if self._executor.places else None
            try:
                function, argument = self._task(unit, number)
                if self._executor.adopts and unit.node.is_persisted:
                    future = self._executor.submit_as(f"{unit.node.key} in {unit.store.url}", resources, function, argument)
                else:
                    future = self._executor.submit_for(resources, function, argument)
            except Exception as error:  # noqa: BLE001 - a node that cannot be sent fails by itself
                self._settle(unit, _driver_failure(error, unit, number), None)
                continue
            self._running[future] = Attempt(unit, number, future)
            # what happens elsewhere is only told when it is over
            if not self._executor.shares_memory and events.listened(given_logger(unit.node)):
                events.emit(events.Started(key=unit.node.key, attempt=number, label=unit.node.label), given_logger(unit.node))
            future.add_done_callback(self._arrived.put)

    def _task(self, unit: Unit, number: int) -> tuple[Callable[..., Any], Any]:
        token = unit.found.token if unit.found is not None else None
        if self._executor.shares_memory:
            waits = unit in self._others.abandoned
            return _performed, (
                self._handover.run,
                self._hooks,
                bound_to(unit.node, unit.store, lent=True),
                unit.store,
                token,
                self._given(unit),
                number,
                waits,
            )
        given: dict[Any, bytes | str | None] = {}
        for source in taken_by(unit):
            if self._will_not_come(source, unit):
                given[source.node.key] = None
            elif source in self._handover.handed:
                given[source.node.key] = self._handover.handed[source]
        check_unchanged(unit.node)  # here: a copy elsewhere cannot know what they were
        node = stub(unit.node, lambda upstream: own_store(upstream) or unit.store, Persistable, unit.node.__class__ in self._whole)
        return perform_packed, self._packer.pack(
            Job(
                node,
                unit.store,
                token,
                number,
                self._handover.store,
                given,
                self._handover.path(unit),
                events.listened(given_logger(unit.node)),
                self._handover.run,
                unit in self._others.abandoned,
            )
        )

    def _wait(self) -> None:
        """Take what has arrived; if nothing has, wait for it, but not beyond the next retry or timeout."""
        until = self._next_moment()
        try:
            future = self._arrived.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
        except Empty:
            self._stop_overdue()
            return
        while True:
            self._take(future)
            try:
                future = self._arrived.get_nowait()
            except Empty:
                return

    def _next_moment(self) -> float | None:
        moments = [self._delayed[0][0]] if self._delayed else []
        if self._others.moment is not None:
            moments.append(self._others.moment)
        for attempt in self._running.values():
            if attempt.limit is not None:
                if attempt.begun is None and attempt.future.running():
                    attempt.begun = time.monotonic()
                moments.append(time.monotonic() + 0.1 if attempt.begun is None else attempt.begun + attempt.limit)
        return min(moments) if moments else None

    def _stop_overdue(self) -> None:
        for attempt in list(self._running.values()):
            if attempt.limit is None or attempt.begun is None or time.monotonic() < attempt.begun + attempt.limit:
                continue
            if not self._executor.stop(attempt.future):
                continue  # it has just ended: its own outcome counts
            del self._running[attempt.future]
            self._room.release(attempt.unit)
            error = TimedOut(
                f"{attempt.unit.node.key} was stopped after {attempt.limit:g} s, the time its resources allow; give it more, or less to do",
                key=attempt.unit.node.key,
                seconds=attempt.limit,
            )
            self._settle(attempt.unit, self._killed(attempt, error), None)

    def _take(self, future: futures.Future[Any]) -> None:
        attempt = self._running.pop(future, None)
        if attempt is None:
            return  # stopped, and seen to already
        self._room.release(attempt.unit)
        payload: Any = None
        outcome: Outcome
        try:
            found: Any = future.result()
            if isinstance(found, Outcome):
                outcome = found
            else:
                outcome, payload = found
        except Exception as error:  # noqa: BLE001 - the executor's own: a worker that died
            outcome = self._killed(attempt, error)
        self._depth.saw(outcome.seconds)
        for event in outcome.events:
            events.emit(event, given_logger(attempt.unit.node))
        self._settle(attempt.unit, outcome, payload)

    def _killed(self, attempt: Attempt, error: Exception) -> Outcome:
        """An attempt that did not live to say how it ended: what it left is removed, and its failure recorded for it."""
        unit = attempt.unit
        error = clean(_of_node(error, unit.node.key))
        outcome = _driver_failure(error, unit, attempt.number)
        if unit.node.is_persisted:
            try:
                leftovers.tidy(unit.store, unit.node.place, _PATIENCE)
                failure = find_failure(unit.store, unit.node.place)
                number = failure.attempt + 1 if failure is not None else attempt.number
                took = time.time() - attempt.started
                generation.record_failure(unit.node, unit.store, error, number, attempt.started, took)
            except StoreError as second:
                error.add_note(f"and the failure could not be recorded: {second}")
        events.emit(
            events.Failed(
                key=unit.node.key,
                attempt=attempt.number,
                error=f"{type(error).__name__}: {error}",
                seconds=outcome.seconds,
                label=unit.node.label,
            ),
            given_logger(unit.node),
        )
        return outcome

    # what an outcome means

    def _settle(self, unit: Unit, outcome: Outcome, payload: Any) -> None:
        if outcome.succeeded:
            if outcome.handed is not None:
                self._handover.handed[unit] = outcome.handed
            elif not unit.node.is_persisted and self._executor.shares_memory:
                self._handover.keep(unit, payload)
            self._done.add(unit)
            self._close(unit, "done", outcome)
            return
        if outcome.elsewhere:
            self._tries[unit] -= 1
            if outcome.elsewhere == "beyond":
                self._whole.add(unit.node.__class__)
                self._room.queue(unit)
                return
            self._leave_to_others(unit, outcome.elsewhere)
            return
        assert outcome.error is not None
        if isinstance(outcome.error, ClaimLost) and is_stored(unit):
            self._close(unit, "reused", _ELSEWHERE)
            return
        if self._heal(unit, outcome.error):
            return
        retry: Retry | None = unit.node.retry
        if outcome.again and retry is not None and outcome.attempt < retry.attempts:
            delay = retry.delay_after(outcome.attempt)
            heappush(self._delayed, (time.monotonic() + delay, unit.order, unit))
            text = f"{type(outcome.error).__name__}: {outcome.error}"
            events.emit(events.Retried(key=unit.node.key, attempt=outcome.attempt, delay=delay, error=text), given_logger(unit.node))
            return
        self._fail(unit, outcome)

    def _heal(self, unit: Unit, error: Exception) -> bool:
        """Generate an upstream payload that turned out to be corrupt again, once, and perform `unit` once more."""
        key = getattr(error, "key", None)
        source = next((each for each in unit.sources or () if each.node.key == key), None)
        if not isinstance(error, PayloadCorrupted) or source is None or source in self._healed or not source.node.is_persisted:
            return False
        self._healed.add(source)
        try:
            bound_to(source.node, source.store).load_generate()
        except Exception:  # noqa: BLE001 - then the unit fails with what it had to say
            return False
        self._tries[unit] -= 1
        self._others.failed_here.add(unit)
        self._room.queue(unit)
        return True

    def _close(self, unit: Unit, status: str, outcome: Outcome) -> None:
        self._result.note(unit.node, unit.store, status, outcome.seconds, outcome.attempt)
        if status == "reused":
            self._done.add(unit)
        self._ended.append((unit, status != "failed"))
        self._handover.let_go(unit)
        if events.listened(level=10):
            events.emit(events.Performed(key=unit.node.key, outcome=status, seconds=outcome.seconds))

    def _fail(self, unit: Unit, outcome: Outcome) -> None:
        error = outcome.error
        assert error is not None
        name = f"while generating {unit.node.key}"
        if not any(note.startswith(name) for note in getattr(error, "__notes__", ())):
            error.add_note(f"{name}: {unit.node.label}")
        if outcome.traceback and error.__traceback__ is None:
            error.add_note(f"where it was raised:\n{outcome.traceback}")
        self._failed.add(unit)
        lines = outcome.traceback or lines_of(error)
        self._result.failures.append(NodeFailure(bound_to(unit.node, unit.store), error, lines, outcome.attempt, outcome.seconds))
        self._close(unit, "failed", outcome)

    def _leave(self, unit: Unit) -> None:
        """A node that failed in an earlier run and is not tried again."""
        failure = find_failure(unit.store, unit.node.place)
        text = f"{failure.error}: {failure.message}" if failure is not None else "it failed before"
        self._result.skip(unit.node, unit.store, unit.node.key)
        self._failed.add(unit)
        events.emit(events.Skipped(key=unit.node.key, reason=f"its last attempt failed: {text}"), given_logger(unit.node))

    def _refuse(self, unit: Unit) -> None:
        """Fail a node whose stored payload is not served, such as one that another class with other code has made: nor is it replaced."""
        assert unit.found is not None
        error = refused(unit.node, unit.found.verdict)
        self._failed.add(unit)
        self._result.failures.append(NodeFailure(bound_to(unit.node, unit.store), error, f"{type(error).__name__}: {error}", 0, 0.0))
        self._result.note(unit.node, unit.store, "failed")
        events.emit(
            events.Failed(key=unit.node.key, attempt=0, error=f"{type(error).__name__}: {error}", seconds=0.0, label=unit.node.label),
            given_logger(unit.node),
        )

    def _keep_as_it_is(self, unit: Unit) -> None:
        """A node that was to follow others, which turned out to have the same bytes as before."""
        self._result.note(unit.node, unit.store, "reused")
        self._done.add(unit)
        self._handover.let_go(unit)
        if events.listened(level=10):
            events.emit(events.Performed(key=unit.node.key, outcome="reused", seconds=0.0))

    def _skip(self, unit: Unit, cause: Unit) -> None:
        self._result.skip(unit.node, unit.store, cause.node.key)
        self._failed.add(unit)
        self._handover.let_go(unit)
        events.emit(events.Skipped(key=unit.node.key, reason=f"{cause.node.key} failed"), given_logger(unit.node))
        if events.listened(level=10):
            events.emit(events.Performed(key=unit.node.key, outcome="skipped", seconds=0.0))

    def _abort(self) -> None:
        """End all that is under way, and what it leaves behind. What cannot be stopped is waited for: it must not go on alone."""
        for future in list(self._running):
            future.cancel()
        for future, attempt in list(self._running.items()):
            if self._executor.stops and self._executor.stop(future) and attempt.unit.node.is_persisted:
                try:
                    leftovers.tidy(attempt.unit.store, attempt.unit.node.place, _PATIENCE)
                except StoreError:
                    continue  # it is garbage that nobody reads
        futures.wait(self._running)
        self._running.clear()


_ELSEWHERE = Outcome(True, 0.0, attempt=0)


"""Of what somebody else has generated meanwhile."""


def _failed_elsewhere(failure: Failure) -> Outcome:
    """Of a node whose last attempt has failed in another run since this one began."""
    text = f"it failed in another run, on {failure.host}: {failure.error}: {failure.message}"
    error = RemoteError(text, error=failure.error, text=failure.message, traceback=failure.traceback, key=failure.key)
    return Outcome(False, failure.seconds, error, failure.traceback, attempt=failure.attempt)


def _performed(arguments: tuple[Any, ...]) -> tuple[Outcome, Any]:
    run, hooks, *rest = arguments
    with connections.within(run), events.heard_by(hooks):
        return perform_here(*rest)


def _of_node(error: Exception, key: Key) -> Exception:
    """A `WorkerDied` that says which node it was about; other errors as they are."""
    if not isinstance(error, WorkerDied):
        return error
    of_node = WorkerDied(f"{key} was not finished: {error}", key=key, exitcode=error.exitcode)
    of_node.__cause__ = error.__cause__
    return of_node


def _driver_failure(error: Exception, unit: Unit, number: int) -> Outcome:
    return failed(error, unit.node.retry, number, 0.0)
