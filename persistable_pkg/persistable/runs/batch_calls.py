"""Several nodes performed by one call of a thread or of another process, as one batch if their store commits many together."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, NamedTuple

from blake3 import blake3

from persistable import events
from persistable.executors import thread_limits
from persistable.nodes import capture, connections, generation
from persistable.nodes.binding import bound_to
from persistable.nodes.prefetch import Inputs, stored_upstream
from persistable.nodes.transitive_upstream import UpstreamNotSent
from persistable.nodes.types import Node
from persistable.records.claims import GeneratedElsewhere
from persistable.records.key import Key
from persistable.records.record_access import find_failure
from persistable.runs import output_forwarding
from persistable.runs.batch import Batch, BatchSizer, Ended
from persistable.runs.concurrent_runs import attempt_limit
from persistable.runs.planner import Unit
from persistable.runs.worker import Job, Outcome, failed, perform, portable_outcome, taken, unpacked_job
from persistable.stores.base import extended


class Member(NamedTuple):
    """One such node.

    node: bound to the store. given: its upstream payloads that are not persisted, by key.
    attempt_limit: see `concurrent_runs.attempt_limit`.
    """

    node: Node
    given: dict[Any, Any]
    attempt: int
    attempt_limit: int


class Batching:
    """The state of a run that decides which of its nodes are performed together, and how many.

    tries: attempts begun, by unit. here: sizes the batches of this thread; on workers each payload name has a `pace` of its own, so that
    short nodes are batched with nodes of the same name. min_call_seconds: see `Executor.min_call_seconds`.
    """

    def __init__(self, tries: dict[Unit, int], min_call_seconds: float) -> None:
        self._tries = tries
        self._min_call_seconds = min_call_seconds
        self.here = BatchSizer()
        self._paces: defaultdict[str, BatchSizer] = defaultdict(partial(BatchSizer, 1 if min_call_seconds else 2, min_call_seconds))
        self._alone: set[Unit] = set()

    def pace(self, unit: Unit) -> BatchSizer:
        """The sizer of batches on workers for the payload name of `unit`."""
        return self._paces[unit.node.payload_name]

    def suits(self, unit: Unit, store: Any) -> bool:
        """Tell whether `unit` may be performed together with others in `store`."""
        node, found = unit.node, unit.found
        if found is None or found.token is not None or unit.store is not store or unit in self._alone:
            return False
        return (self._min_call_seconds > 0 or extended(store).batches) and node.resources is None and isinstance(unit.place, Key)

    def is_like(self, first: Unit) -> Callable[[Unit], bool]:
        """Return a predicate: whether another unit may share a batch on a worker with `first`."""
        name, store = first.node.payload_name, first.store
        return lambda unit: unit.node.payload_name == name and self.suits(unit, store)

    def pack(self, units: Sequence[Unit], packed: Callable[[Unit], bytes]) -> list[tuple[bytes, int]]:
        """Pack the jobs of these units, or of the first that fit into one call, which may have to fit into an object of a cluster's API."""
        jobs: list[tuple[bytes, int]] = []
        size = 0
        for unit in units:
            job = packed(unit)
            size += len(job)
            if jobs and self._min_call_seconds and size > _MOST_BYTES:
                break
            jobs.append((job, attempt_limit(unit)))
        return jobs

    def observe_alone(self, unit: Unit, seconds: float) -> None:
        """Take into account a unit performed alone by a worker: its time includes claim and commit, unlike those of a batch."""
        pace = self.pace(unit)
        if pace.size == 1:
            pace.observe(1, seconds, unit.store)

    def members(self, units: Sequence[Unit], given: Callable[[Unit], dict[Any, Any]]) -> list[Member]:
        """Members of a batch for these units; counts one more attempt at each. given: payloads upstream of a unit not persisted, by key."""
        for unit in units:
            self._tries[unit] = self._tries.get(unit, 0) + 1
        return [
            Member(bound_to(unit.node, unit.store, single_use=True), given(unit), self._tries[unit], attempt_limit(unit)) for unit in units
        ]

    def left(self, units: Sequence[Unit], left: Sequence[int], late: Collection[int]) -> list[Unit]:
        """The units that a batch has not tried, given by number; those not in `late` are to be performed alone."""
        self._alone.update(units[number] for number in left if number not in late)
        for number in left:
            self._tries[units[number]] -= 1
        return [units[number] for number in left]


class Answer(NamedTuple):
    """Result of a batch performed elsewhere.

    outcomes: each with its member's number. left: numbers of the others. late: those of `left` it had no time for. seconds: of the batch.
    """

    outcomes: list[tuple[int, Outcome]]
    left: list[int]
    late: set[int]
    events: tuple[events.Event, ...]
    seconds: float

    @property
    def performed_seconds(self) -> float:
        """The seconds of its members, without claims and commits."""
        return sum(outcome.seconds for _, outcome in self.outcomes)


_MOST_BYTES = 1 << 19


def identity_of(units: Sequence[Unit]) -> str:
    """The name of the call that performs these units, by which another run with the same units recognises it."""
    digest = blake3("\n".join(unit.place.path for unit in units).encode()).hexdigest(16)
    return f"{len(units)} nodes ({digest}) in {units[0].store.url}"


def batch_of(store: Any, members: Sequence[Member]) -> Batch:
    """A batch of these members, of which nothing is stored."""

    def perform_one(number: int, failed_before: bool) -> None:
        node, given, attempt, most = members[number]
        failure = find_failure(store, node.place) if failed_before else None
        if failure is not None and failure.attempt >= most:
            raise GeneratedElsewhere("failed")
        generation.perform_into(batch.pending, node, store, batch.claims, given, failure, attempt, inputs)

    wanted = [each for node, given, *_ in members for each in stored_upstream(node, store) if each[0].key not in given]
    inputs = Inputs(wanted) if wanted else None
    if inputs is not None:
        inputs.prepare()
    batch = Batch(store, [member.node.key for member in members], perform_one)
    return batch


def outcome_of(ended: Ended, node: Node, attempt: int) -> Outcome:
    """The outcome, in a run, of a member that has ended."""
    if ended.error is None:
        return Outcome(True, ended.seconds, attempt=attempt)
    if isinstance(ended.error, UpstreamNotSent | GeneratedElsewhere):
        return Outcome(
            False, 0.0, attempt=attempt, elsewhere="upstream_not_sent" if isinstance(ended.error, UpstreamNotSent) else ended.error.state
        )
    return failed(ended.error, node.retry, attempt, ended.seconds)


def perform_in_thread(order: tuple[str, Any, bool, Any, Sequence[Member], bool]) -> Answer:
    """Perform a batch in a thread of this process; the hooks of the run receive its events at once."""
    run, hooks, output, store, members, fail_fast = order
    with connections.within(run), events.receive_events_with(hooks), capture.set_keep_output(output):
        return _performed(store, members, fail_fast, lambda outcome: outcome)


@capture.session()  # before jobs import modules, whose log handlers would write to the stream itself
def perform_packed(order: tuple[Sequence[tuple[bytes, int]], bool, float]) -> Answer:
    """Perform packed jobs, each with its `attempt_limit`, in this process: as one batch, or for about the given seconds."""
    packed, fail_fast, seconds = order
    jobs = [unpacked_job(data) for data, _ in packed]
    first: Job = jobs[0]
    keys = {job.node.key for job in jobs}
    listened = any(job.events for job in jobs)
    with output_forwarding.run_from_elsewhere(first.run, keys, listened, first.main, first.output, first.levels) as unsent:
        thread_limits.limit(None)
        members = [
            Member(job.node, {key: taken(job.handover_store, handed) for key, handed in job.given.items()}, job.attempt, most)
            for job, (_, most) in zip(jobs, packed, strict=True)
        ]
        if seconds:
            answer = _performed_for(seconds, first.store, members, fail_fast)
        else:
            answer = _performed(first.store, members, fail_fast, portable_outcome)
    return answer._replace(events=tuple(unsent))


for _performs in (perform_in_thread, perform_packed):
    _performs.__dict__["said_as"] = "the generation of some nodes"  # its name in messages of executors


def _performed(store: Any, members: Sequence[Member], fail_fast: bool, carried: Callable[[Outcome], Outcome]) -> Answer:
    batch = batch_of(store, members)
    batch.perform(lambda: not fail_fast)
    outcomes: list[tuple[int, Outcome]] = []
    for ended in batch.ended:
        node, _, attempt, _ = members[ended.number]
        outcomes.append((ended.number, carried(outcome_of(ended, node, attempt))))
    return Answer(outcomes, batch.left, batch.late, (), batch.seconds)


def _performed_for(seconds: float, store: Any, members: Sequence[Member], fail_fast: bool) -> Answer:
    """Perform members until `seconds` have passed, one after another, or in batches if the store commits many together."""
    start, pace = time.perf_counter(), BatchSizer()
    waiting = deque(range(len(members)))
    outcomes: list[tuple[int, Outcome]] = []
    left: list[int] = []
    while waiting and time.perf_counter() - start < seconds and not (fail_fast and not all(outcome.succeeded for _, outcome in outcomes)):
        if not extended(store).batches or pace.size == 1:
            number = waiting.popleft()
            node, given, attempt, most = members[number]
            failures = most - (node.retry.attempts if node.retry is not None else 1)
            outcome, _ = perform(node, store, None, given, attempt, False, failures)
            outcomes.append((number, portable_outcome(outcome)))
            pace.observe(1, outcome.seconds, store)
            continue
        some = [waiting.popleft() for _ in range(min(pace.size, len(waiting)))]
        answer = _performed(store, [members[number] for number in some], fail_fast, portable_outcome)
        outcomes += [(some[number], outcome) for number, outcome in answer.outcomes]
        left += [some[number] for number in answer.left if number not in answer.late]
        waiting.extendleft(some[number] for number in sorted(answer.late, reverse=True))
        pace.observe(len(answer.outcomes), answer.performed_seconds, store, answer.seconds)
    return Answer(outcomes, [*left, *waiting], set(waiting), (), time.perf_counter() - start)
