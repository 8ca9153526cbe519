"""The loop of a run, between a planner that decides and an executor that performs."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent import futures
from functools import cache, cached_property
from heapq import heappop, heappush
from queue import Empty, SimpleQueue
from typing import Any

from persistable import events
from persistable.errors import ClaimLost, NotEnforceable, PayloadCorrupted, StoreError, TimedOut
from persistable.executors import notes
from persistable.executors.base import Executor
from persistable.executors.inline import InlineExecutor
from persistable.executors.resources import Resources, Retry
from persistable.fileio.memory_copy import InMemoryCopy
from persistable.nodes import capture, connections
from persistable.nodes.binding import bound_to
from persistable.nodes.failing import announce
from persistable.nodes.label import name_node
from persistable.nodes.loading import refused
from persistable.nodes.staleness import FRESH, Judge
from persistable.nodes.status import State, look_up
from persistable.nodes.stub import stub
from persistable.nodes.types import FAILED, check_unchanged, given_logger, needs_of, own_store
from persistable.params.secret import message_of
from persistable.records import leftovers
from persistable.records.owners import is_dead
from persistable.records.record_access import find_failure
from persistable.runs import batch_calls, output_forwarding
from persistable.runs.attempt import PATIENCE, Attempt, BatchAttempt, died, failed_here
from persistable.runs.concurrent_runs import PeerUnits, failed_elsewhere, failure_since, is_stored, reset_attempts
from persistable.runs.estimate import QueueDepth, expected_seconds
from persistable.runs.failures import NodeFailure
from persistable.runs.payload_passing import Handover, sources_of
from persistable.runs.planner import GIVEN_UP, Decision, Planner, Start, Unit
from persistable.runs.queue import ReadyQueue
from persistable.runs.result import Ending, RunResult
from persistable.runs.worker import (
    Job,
    Outcome,
    Packer,
    check_keys,
    perform,
    perform_packed,
)
from persistable.stores.reach import in_memory, is_shared


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
        self._judging: Callable[[], Judge] | None = cache(Judge)
        self.stopped = False  # whether it ended at the first failure
        self.quiet = False  # whether the caller announces beginning and end
        self._given_up = given_up
        self._executor = executor
        self._inline = isinstance(executor, InlineExecutor)
        self._base = base
        self._wanted = wanted
        self._fail_fast = fail_fast
        self._limits = limits
        self.result = RunResult(base)  # so far
        self._outcomes = self.result.outcomes
        self.run_name = os.urandom(4).hex()  # shared by all parts of a run
        self._ready: list[tuple[int, Unit]] = []  # for the inline executor, which performs one at a time
        self._running: dict[futures.Future[Any], Attempt | BatchAttempt] = {}
        self._timed: dict[futures.Future[Any], Attempt] = {}  # the running attempts with a time limit
        self._arrived: SimpleQueue[futures.Future[Any] | tuple[events.NodeEvent, ...]] = SimpleQueue()
        self._delayed: list[tuple[float, int, Unit]] = []
        self._tries: dict[Unit, int] = {}
        self._told: dict[Unit, int] = {}
        self._healed: set[Unit] = set()
        self._ended: list[tuple[Unit, bool]] = []
        self._failed: set[Unit] = set()
        self._done: set[Unit] = set()
        self._handover: Handover | None = None  # set if a payload is not persisted
        self._whole: set[type] = set()  # classes whose code reads upstream of their upstream: they are sent with all of it
        self._batching: batch_calls.Batching | None = None  # set if a store commits several at once, or calls are expensive
        self._has_peers = False  # whether another run works on a unit of this one: before, no claims of others are looked up
        self._hooks = events.hooks_of_context()
        if not self._inline:
            self._queue = ReadyQueue(executor, limits)
            self._depth = QueueDepth()
        self._heard = events.has_receiver(level=10)
        self._targets = {node.key for node, _ in wanted} if self._heard and events.nodes_wanted() else None

    @cached_property
    def _others(self) -> PeerUnits:
        return PeerUnits()

    @cached_property
    def _packer(self) -> Packer:
        return Packer(self._executor)

    # the run

    def run(self, failed: str) -> RunResult:
        """Plan, perform, and clean up."""
        start = time.perf_counter()
        planner = Planner(self._wanted, self._look, failed=failed, stale=self._stale, packages=not self._executor.schedules_resources)
        decided = None
        leads = self.run_name not in connections.led  # as `connections.leading`, without a call: most runs have no connection
        connections.led.add(self.run_name)
        outer = connections.current.set(self.run_name)
        try:
            decision = planner.decide()
            self._judging = None  # from now on the run changes the stores, so verdicts are not kept
            self._begin(decision)
            decided = decision
            first = planner.start()
            if first is not None:
                if self._executor.shares_memory:
                    self._carry_out(planner, first)
                else:
                    with notes.received_at(self.run_name, self._arrived.put):
                        self._carry_out(planner, first)
        except BaseException:
            self._abort()
            raise
        finally:
            connections.current.reset(outer)
            if leads:
                connections.led.discard(self.run_name)
                if self.run_name in connections.scopes:
                    connections.close(self.run_name)
            self.result.seconds = time.perf_counter() - start
            if decided is not None:
                self._finish(decided)
        return self.result

    def check_stale(self, failed: str) -> None:
        """Raise StaleCode if a stored payload is stale; nothing is begun."""
        self._note_stale(Planner(self._wanted, self._look, failed=failed).decide())
        self.result.stale.refuse()

    def _look(self, units: list[Unit]) -> Sequence[State]:
        if not self._given_up:
            return look_up([(unit.node, unit.store) for unit in units], self._judging)
        asked = [unit for unit in units if (unit.url, unit.place) not in self._given_up]
        found = dict(zip(asked, look_up([(unit.node, unit.store) for unit in asked], self._judging), strict=True))
        return [found.get(unit, GIVEN_UP) for unit in units]

    def _carry_out(self, planner: Planner, first: Start) -> None:
        start: Start | None = first
        while start is not None:
            for unit in start.kept:
                self._close(unit, "reused", _ELSEWHERE, planner_knows=True)
            if start.more:
                self._expect(start.more)
            for unit in start.units:
                self._push(unit)
            for unit, cause in start.skipped:
                self._skip(unit, cause)
            # a failure of this run ends it; a node left as failed in an earlier run does not
            ended = self._advance() if not (self._fail_fast and self.result.failures) else []
            if self._fail_fast and self.result.failures:
                self.stopped = True
                self._abort()
                return
            start = planner.go_on(ended)

    def _note_stale(self, decided: Decision) -> bool:
        stale = [(unit, unit.found.verdict) for unit in decided.reused if unit.found is not None and unit.found.verdict is not FRESH]
        for unit, verdict in stale:
            if verdict.causes:
                self.result.stale.add(unit.node, unit.url, verdict)
        return bool(stale)

    def _begin(self, decided: Decision) -> None:
        for unit in decided.reused:
            self._note(unit, "reused")
        if self._note_stale(decided):
            if self._stale == "raise":
                self.result.stale.refuse()
            if not self.quiet:
                self.result.stale.warn()
        for unit in decided.left:
            self._leave(unit)
        for unit in decided.refused:
            self._refuse(unit)
        self._prepare(decided.needed)
        if events.has_receiver() and not self.quiet:
            jobs = Counter(unit.node.payload_name for unit in decided.needed)
            expected = expected_seconds({unit.node.payload_name: unit.store for unit in decided.needed if unit.node.is_persisted})
            events.emit(events.RunStarted(jobs=dict(jobs), workers=self._executor.workers, expected=expected))

    def _expect(self, more: Sequence[Unit]) -> None:
        """Prepare for units needed besides the planned ones, and announce them."""
        self._prepare(more)
        if events.has_receiver() and not self.quiet:
            events.emit(events.RunGrew(jobs=dict(Counter(unit.node.payload_name for unit in more)), expected={}))

    def _prepare(self, needed: Sequence[Unit]) -> None:
        """Check that the executor can perform these units, and prepare to pass on their payloads and to batch them."""
        _check(self._executor, needed, self._limits)
        if self._handover is None and (self._stale == "generate" or False in [unit.node.is_persisted for unit in needed]):
            # other processes can reach this store, or the check would have refused it
            store = needed[0].store if not self._executor.shares_memory and in_memory(self._base) else self._base
            self._handover = Handover(store, {node.key for node, _ in self._wanted}, self.result)
        if self._handover is not None:
            self._handover.expect(needed)
        if self._batching is None:
            min_call_seconds, stores = self._executor.min_call_seconds, {id(unit.store): unit.store for unit in needed}
            if min_call_seconds or True in [store.batches for store in stores.values()]:
                self._batching = batch_calls.Batching(self._tries, min_call_seconds)

    def _finish(self, decided: Decision) -> None:
        for unit in decided.needed:
            if unit not in self._done and unit not in self._failed:
                self._note(unit, "cancelled")
        if self._handover is not None:
            self._handover.finish()
        if decided.needed:
            self._base.clear_sources(is_dead)
        if events.has_receiver() and not self.quiet:
            events.emit(self.result.finished())

    # performing

    def _advance(self) -> list[tuple[Unit, bool]]:
        """Begin units while there is room, then wait until some have ended, and return these; none if there is nothing left to wait for."""
        while True:
            if self._delayed or self._has_peers:
                self._wake()
            if self._inline:
                if self._ready:
                    self._perform(heappop(self._ready)[1])
            else:
                self._submit()
            if self._ended:
                ended, self._ended = self._ended, []
                return ended
            if self._running:
                self._wait()
            elif not (self._ready if self._inline else self._queue.waiting):
                if self._has_peers:
                    self._others.expect()
                until = self._next_moment()
                if until is None:
                    return []
                time.sleep(max(0.0, until - time.monotonic()))

    def _push(self, unit: Unit) -> None:
        """Queue a unit that is ready."""
        if self._inline:
            heappush(self._ready, (unit.order, unit))
        else:
            self._queue.push(unit)

    def _wake(self) -> None:
        while self._delayed and self._delayed[0][0] <= time.monotonic():
            self._push(heappop(self._delayed)[2])
        if not self._has_peers:
            return
        seen = self._others.look()
        for unit in seen.stored:
            self._close(unit, "reused", _ELSEWHERE)
        for unit in seen.failed:
            self._leave_to_others(unit, "failed")
        for unit in seen.free:
            self._push(unit)

    def _is_elsewhere(self, unit: Unit) -> bool:
        """Tell whether another run has generated `unit`, failed at it, or is generating it; if so, leave it to that run."""
        found = self._others.state_elsewhere(unit)
        if found:
            self._leave_to_others(unit, found)
        return bool(found)

    def _leave_to_others(self, unit: Unit, found: str) -> None:
        self._has_peers = True
        if found == "stored":
            self._close(unit, "reused", _ELSEWHERE)
        elif found == "failed" and (failure := failure_since(unit)) is not None:
            self._fail(unit, Outcome(False, failure.seconds, failed_elsewhere(failure), failure.traceback, attempt=failure.attempt))
        elif found == "failed":
            self._push(unit)
        else:
            self._others.add(unit)

    def _perform(self, unit: Unit) -> None:
        """Perform `unit` in this thread, together with the next units in the order if that saves commits."""
        if self._has_peers and self._is_elsewhere(unit):
            return
        batching = self._batching
        if batching is not None and batching.here.size > 1 and batching.suits(unit, unit.store):
            self._perform_together(unit, batching)
            return
        number = self._tries[unit] = self._tries.get(unit, 0) + 1
        found = unit.found
        token = found.token if found is not None else None
        failures = found.attempts if found is not None and token is None else None  # looked up only if nothing is stored
        node = bound_to(unit.node, unit.store, single_use=True)
        given = self._given(unit) if unit.sources else {}
        outcome, payload = perform(node, unit.store, token, given, number, self._has_peers and unit in self._others.abandoned, failures)
        if batching is not None:
            batching.here.observe(1, outcome.seconds, unit.store)
        self._settle(unit, outcome, payload)

    def _perform_together(self, first: Unit, batching: batch_calls.Batching) -> None:
        """Perform `first` and the next units in the order in one batch."""
        units = [first]
        while self._ready and len(units) < batching.here.size and batching.suits(self._ready[0][1], first.store):
            units.append(heappop(self._ready)[1])
        batch = batch_calls.batch_of(first.store, batching.members(units, self._given))
        try:
            batch.perform(lambda: not self._fail_fast)
        finally:
            for ended in batch.ended:
                unit = units[ended.number]
                self._settle(unit, batch_calls.outcome_of(ended, unit.node, self._tries[unit]), None)
        for unit in batching.left(units, batch.left, batch.late):
            self._push(unit)
        batching.here.observe(len(batch.ended), sum(ended.seconds for ended in batch.ended), first.store, batch.seconds)

    def _given(self, unit: Unit) -> dict[Any, Any]:
        """The payloads upstream of `unit` that are not persisted, by key; `FAILED` for those that it begins without."""
        if self._handover is None and needs_of(unit.node) == "all":
            return {}
        given: dict[Any, Any] = {}
        held = self._handover.held if self._handover is not None else {}
        failed, some = self._failed, needs_of(unit.node) == "any"
        for source in sources_of(unit):
            if source in failed or (some and self._will_not_come(source, unit)):
                given[source.node.key] = FAILED
            elif source in held:
                given[source.node.key] = held[source]
        return given

    def _will_not_come(self, source: Unit, unit: Unit) -> bool:
        """Tell whether `unit` begins without the payload of `source`: that failed, or `unit` needs any one and another is there already."""
        if source in self._failed:
            return True
        return needs_of(unit.node) == "any" and source not in self._done and not source.there

    def _submit(self) -> None:
        workers, batching = self._executor.workers, self._batching
        while (unit := self._queue.pop(len(self._running), self._depth.depth(workers))) is not None:
            if self._has_peers and self._is_elsewhere(unit):
                self._queue.release(unit)
                continue
            at_once, most = workers + 1, 1
            if batching is not None:
                pace = batching.pace(unit)
                at_once, most = pace.at_once(workers), pace.share(self._queue.waiting, workers)
            if batching is not None and most > 1 and batching.suits(unit, unit.store):
                if len(self._running) >= at_once:  # the longer it waits, the larger the batch
                    self._queue.push(unit)
                    return
                self._submit_together([unit, *self._queue.pop_more(most - 1, batching.is_like(unit))], batching)
                continue
            number = self._tries[unit] = self._tries.get(unit, 0) + 1
            resources = unit.node.resources if self._executor.schedules_resources else None
            try:
                function, argument = self._task(unit, number)
                if self._executor.reattaches and unit.node.is_persisted:
                    future = self._executor.submit_as(f"{unit.node.key} in {unit.store.url}", resources, function, argument)
                else:
                    future = self._executor.submit_for(resources, function, argument)
            except Exception as error:  # noqa: BLE001 - a node that cannot be sent fails by itself
                self._settle(unit, failed_here(error, unit, number), None)
                continue
            attempt = self._running[future] = Attempt(unit, number, future)
            if attempt.limit < math.inf:
                self._timed[future] = attempt
            if not self._executor.shares_memory:
                _tell_started(unit, self._tries[unit], self._told)
            future.add_done_callback(self._arrived.put)

    def _submit_together(self, units: list[Unit], batching: batch_calls.Batching) -> None:
        """Submit these units, which are in one store, to a worker as one batch."""
        store = units[0].store
        members = batching.members(units, self._given)
        try:
            if self._executor.shares_memory:
                order: Any = (self.run_name, self._hooks, capture.keep_output.get(), store, members, self._fail_fast)
                future = self._executor.submit_for(None, batch_calls.perform_in_thread, order)
            else:
                packed = batching.pack(units, lambda unit: self._task(unit, self._tries[unit])[1])
                more = range(len(packed), len(units))
                for unit in batching.left(units, more, more):
                    self._push(unit)
                del units[len(packed) :]
                order = (packed, self._fail_fast, 2 * self._executor.min_call_seconds)
                future = self._executor.submit_as(batch_calls.identity_of(units), None, batch_calls.perform_packed, order)
        except Exception:  # noqa: BLE001 - each unit is tried alone, to find the one at fault
            for unit in batching.left(units, range(len(units)), ()):
                self._push(unit)
            return
        self._running[future] = BatchAttempt(units, store, future)
        for unit in units if not self._executor.shares_memory else ():
            _tell_started(unit, self._tries[unit], self._told)
        future.add_done_callback(self._arrived.put)

    def _take_together(self, joint: BatchAttempt) -> None:
        """Take the outcomes of a batch. If its worker has died, each of its units is tried alone, to find the one at fault."""
        assert self._batching is not None
        try:
            answer: batch_calls.Answer = joint.future.result()
        except Exception:  # noqa: BLE001 - an error of the executor
            joint.forget()
            for unit in self._batching.left(joint.units, range(len(joint.units)), ()):
                self._push(unit)
            return
        loggers: dict[object, Any] = {unit.node.key: given_logger(unit.node) for unit in joint.units}
        for event in answer.events:
            output_forwarding.emit_forwarded(event, loggers.get(getattr(event, "key", None)), self._executor.workers > 1)
        for number, outcome in answer.outcomes:
            self._settle(joint.units[number], outcome, None)
        for unit in self._batching.left(joint.units, answer.left, answer.late):
            self._push(unit)
        self._batching.pace(joint.units[0]).observe(len(answer.outcomes), answer.performed_seconds, joint.store, answer.seconds)

    def _task(self, unit: Unit, number: int) -> tuple[Callable[..., Any], Any]:
        found = unit.found
        token = found.token if found is not None else None
        failures = found.attempts if found is not None and token is None else None
        if self._executor.shares_memory:
            waits = self._has_peers and unit in self._others.abandoned
            return _performed, (
                self.run_name,
                self._hooks,
                capture.keep_output.get(),
                bound_to(unit.node, unit.store, single_use=True),
                unit.store,
                token,
                self._given(unit),
                number,
                waits,
                failures,
            )
        handover = self._handover
        given: dict[Any, bytes | str | None] = {}
        for source in sources_of(unit):
            if self._will_not_come(source, unit):
                given[source.node.key] = None
            elif handover is not None and source in handover.handed:
                given[source.node.key] = handover.handed[source]
        check_unchanged(unit.node)  # here, since a copy elsewhere does not know the original params
        node = stub(unit.node, lambda upstream: own_store(upstream) or unit.store, unit.node.__class__ in self._whole)
        return perform_packed, self._packer.pack(
            Job(
                node,
                unit.store,
                token,
                number,
                handover.store if handover is not None else unit.store,
                given,
                handover.path(unit) if handover is not None else None,
                events.has_receiver(given_logger(unit.node)),
                self.run_name,
                self._has_peers and unit in self._others.abandoned,
                output=capture.keep_output.get(),
                failures=failures,
            )
        )

    def _wait(self) -> None:
        """Take all results and events that have arrived; if there are none, wait for one, but not beyond the next retry or timeout."""
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
        if self._has_peers and self._others.moment is not None:
            moments.append(self._others.moment)
        for attempt in self._timed.values():
            if attempt.begun is None and attempt.future.running():
                attempt.begun = time.monotonic()
            moments.append(time.monotonic() + 0.1 if attempt.begun is None else attempt.begun + attempt.limit)
        return min(moments) if moments else None

    def _stop_overdue(self) -> None:
        for attempt in list(self._timed.values()):
            if attempt.begun is None or time.monotonic() < attempt.begun + attempt.limit:
                continue
            if not self._executor.stop(attempt.future):
                continue  # it has just ended: its own outcome counts
            del self._running[attempt.future], self._timed[attempt.future]
            self._queue.release(attempt.unit)
            error = TimedOut(
                f"{attempt.unit.node.key} was stopped after {attempt.limit:g} s, the time its resources allow; give it more, or less to do",
                key=attempt.unit.node.key,
                seconds=attempt.limit,
            )
            self._settle(attempt.unit, died(attempt, error), None)

    def _take(self, future: futures.Future[Any] | tuple[events.NodeEvent, ...]) -> None:
        if isinstance(future, tuple):
            _keep_output(self._running.values(), future)
            output_forwarding.emit_forwarded_all(future, None, self._executor.workers > 1)
            return
        attempt = self._running.pop(future, None)
        if attempt is None:
            return  # stopped, and settled already
        self._timed.pop(future, None)
        if isinstance(attempt, BatchAttempt):
            self._take_together(attempt)
            return
        self._queue.release(attempt.unit)
        payload: Any = None
        outcome: Outcome
        try:
            found: Any = future.result()
            if isinstance(found, Outcome):
                outcome = found
            else:
                outcome, payload = found
        except Exception as error:  # noqa: BLE001 - an error of the executor: a worker died
            outcome = died(attempt, error)
        else:
            if not outcome.elsewhere:
                self._depth.observe(outcome.seconds)
                if self._batching is not None:
                    self._batching.observe_alone(attempt.unit, outcome.seconds)
        if outcome.events:
            output_forwarding.emit_forwarded_all(outcome.events, given_logger(attempt.unit.node), self._executor.workers > 1)
        self._settle(attempt.unit, outcome, payload)

    # outcomes

    def _settle(self, unit: Unit, outcome: Outcome, payload: Any) -> None:
        if outcome.succeeded:
            if self._handover is not None:
                self._handover.keep(unit, outcome.handed, payload)
            self._done.add(unit)
            self._close(unit, "done", outcome)
            return
        if outcome.elsewhere:
            self._tries[unit] -= 1
            if outcome.elsewhere == "upstream_not_sent":
                self._whole.add(unit.node.__class__)
                self._push(unit)
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
        """Generate a corrupt upstream payload again, once, and queue `unit` once more; tell whether that was done."""
        key = getattr(error, "key", None)
        source = next((each for each in unit.sources or () if each.node.key == key), None)
        if not isinstance(error, PayloadCorrupted) or source is None or source in self._healed or not source.node.is_persisted:
            return False
        self._healed.add(source)
        try:
            bound_to(source.node, source.store).load_generate()
            reset_attempts(unit)
        except Exception:  # noqa: BLE001 - then the unit fails with its first error
            return False
        self._tries[unit] -= 1
        self._push(unit)
        return True

    def _note(self, unit: Unit, status: str, seconds: float = 0.0, attempts: int = 0) -> None:
        self._outcomes.put((unit.url, unit.place), Ending(unit.node, unit.store, status, seconds, attempts))

    def _close(self, unit: Unit, status: str, outcome: Outcome, planner_knows: bool = False) -> None:
        """Record the end of `unit`. planner_knows: whether the planner knows it already."""
        self._outcomes.put((unit.url, unit.place), Ending(unit.node, unit.store, status, outcome.seconds, outcome.attempt))
        if status == "reused":
            self._done.add(unit)
        if not planner_knows:
            self._ended.append((unit, status != "failed"))
        if self._handover is not None:
            self._handover.release(unit)
        if self._heard:
            self._tell(unit, status, outcome.seconds, "" if outcome.error is None else f"{type(outcome.error).__name__}: {outcome.error}")

    def _fail(self, unit: Unit, outcome: Outcome) -> None:
        error = outcome.error
        assert error is not None
        name_node(error, unit.node)
        self._failed.add(unit)
        self.result.failures.add(bound_to(unit.node, unit.store), error, outcome.traceback, outcome.attempt, outcome.seconds)
        self._close(unit, "failed", outcome)

    def _leave(self, unit: Unit) -> None:
        """Record a node that failed in an earlier run and is not tried again."""
        failure = find_failure(unit.store, unit.node.place)
        text = f"{failure.error}: {failure.message}" if failure is not None else "it failed before"
        self.result.skip((unit.url, unit.place), unit.node, unit.store, unit.node.key)
        self._failed.add(unit)
        events.emit(events.Skipped(key=unit.node.key, reason=f"its last attempt failed: {text}"), given_logger(unit.node))

    def _refuse(self, unit: Unit) -> None:
        """Fail a node whose stored payload is not accepted, such as one by another class with other code; the payload is not replaced."""
        assert unit.found is not None
        error = refused(unit.node, unit.found.verdict)
        self._failed.add(unit)
        self.result.failures.append(
            NodeFailure(bound_to(unit.node, unit.store), error, f"{type(error).__name__}: {message_of(error)}", 0, 0.0)
        )
        self._note(unit, "failed")
        announce(unit.node, error, 0, 0.0)

    def _skip(self, unit: Unit, cause: Unit) -> None:
        self.result.skip((unit.url, unit.place), unit.node, unit.store, cause.node.key)
        self._failed.add(unit)
        if self._handover is not None:
            self._handover.release(unit)
        events.emit(events.Skipped(key=unit.node.key, reason=f"{cause.node.key} failed"), given_logger(unit.node))
        if self._heard:
            self._tell(unit, "skipped", 0.0, f"{cause.node.key} failed")

    def _tell(self, unit: Unit, status: str, seconds: float, error: str) -> None:
        known = self._targets  # None: no hook wants nodes
        node = None if known is None else bound_to(unit.node, unit.store)
        is_target = known is not None and unit.node.key in known
        events.emit(events.Performed(key=unit.node.key, outcome=status, seconds=seconds, error=error, is_target=is_target, node=node))

    def _abort(self) -> None:
        """Stop all attempts under way, and remove their leftovers. Wait for those that cannot be stopped: they must not go on alone."""
        for future in list(self._running):
            future.cancel()
        for future, attempt in list(self._running.items()):
            if not self._executor.can_stop or not self._executor.stop(future):
                continue
            if isinstance(attempt, BatchAttempt):
                attempt.forget()
            elif attempt.unit.node.is_persisted:
                try:
                    leftovers.tidy(attempt.unit.store, attempt.unit.node.place, PATIENCE)
                except StoreError:
                    continue  # leftovers are never read
        futures.wait(self._running)
        self._running.clear()
        self._timed.clear()


def _keep_output(running: Iterable[Attempt | BatchAttempt], carried: tuple[events.NodeEvent, ...]) -> None:
    """Keep the output that a worker sends while it runs: if it dies, the end of it is kept with the failure."""
    for event in carried:
        if isinstance(event, events.Printed | events.Logged):
            for attempt in running:
                if isinstance(attempt, Attempt) and attempt.unit.node.key == event.key:
                    attempt.add_output(event)


def _tell_started(unit: Unit, attempt: int, announced: dict[Unit, int]) -> None:
    """Announce that a unit performed elsewhere has begun: a worker does not send that event.

    announced: the attempt announced last, by unit.
    """
    logger = given_logger(unit.node)
    if announced.get(unit) != attempt and events.has_receiver(logger):  # else it was announced before a batch gave it back
        announced[unit] = attempt
        events.emit(events.Started(key=unit.node.key, attempt=attempt, label=unit.node.label), logger)


def _check(executor: Executor, needed: Sequence[Unit], limits: Mapping[str, float]) -> None:
    """Raise NotEnforceable or Infeasible, before anything begins, for units that `executor` cannot perform."""
    name = executor.name
    asked: set[int] = set()
    reached: set[int] = set()
    for unit in needed:
        resources: Resources | None = unit.node.resources
        if resources is not None and id(resources) not in asked:
            asked.add(id(resources))
            if resources.time is not None and not executor.can_stop:
                raise NotEnforceable(
                    f"{unit.node.key} may take {resources.time:g} s, but the {name} executor cannot stop work that is running; "
                    'use executor="processes" or RayExecutor, or drop `time` from its resources',
                    key=unit.node.key,
                    executor=name,
                    wanted=f"time={resources.time:g}",
                )
            ReadyQueue(executor, limits).check(unit.node.key, resources)
        if not executor.shares_memory and id(unit.store) not in reached:
            reached.add(id(unit.store))
            check_keys(executor, unit.store, unit.node.key)
            if is_shared(unit.store):
                executor.check_store(unit.store)
                continue
            raise NotEnforceable(
                f"{unit.node.key} is stored in {unit.store.url}, which is in the memory of this process, where the {name} executor "
                "cannot put it; use a folder or another store, or threads",
                key=unit.node.key,
                executor=name,
                wanted=unit.store.url,
            )


_ELSEWHERE = Outcome(True, 0.0, attempt=0)
"""The outcome of a node that another run has generated meanwhile."""


def _performed(arguments: tuple[Any, ...]) -> tuple[Outcome, Any]:
    run, hooks, output, node, *rest = arguments
    with connections.within(run), events.receive_events_with(hooks), capture.set_keep_output(output):
        outcome, payload = perform(node, *rest)
    # other nodes of this process take copies
    return outcome, (InMemoryCopy(payload, node.key) if outcome.succeeded and not node.is_persisted else None)
