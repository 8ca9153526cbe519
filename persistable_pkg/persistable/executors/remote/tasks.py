"""Tasks of a `RemoteExecutor`, and groups of those with the same resources."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent import futures
from typing import TYPE_CHECKING, NamedTuple

from persistable.executors.outcomes import OwnFuture
from persistable.executors.remote.engine import CALL_OVERHEADS
from persistable.executors.resources import Resources
from persistable.executors.sizing import ChunkSizer

if TYPE_CHECKING:
    from persistable.executors.remote.driver import Driver
    from persistable.executors.remote.engine import Engine, Job

_MOST = 1000  # calls of a job


class Call(NamedTuple):
    """A packed call, with the name of its function in messages, and the module of the function."""

    name: str
    module: str
    parts: Sequence[bytes]


class Task(OwnFuture):
    """The future of a call. All but its outcome is guarded by the driver's lock."""

    def __init__(self, driver: Driver, group: Group, call: Call, identity: str | None) -> None:
        super().__init__(call.name)
        self._driver = driver
        self.group = group
        self.module, self.parts = call.module, call.parts
        self.weight = sum(map(len, self.parts))
        self.identity = identity
        self.job: Job | None = None
        """The job that it belongs to; None while it waits in the queue, and after it was answered."""
        self.stopping = False
        """True while its job is being killed to stop this task."""

    @property
    def is_stopped(self) -> bool:
        """Tell whether it ended because it was stopped."""
        return self.done() and (self.cancelled() or isinstance(self.exception(), futures.CancelledError))

    def cancel(self) -> bool:
        """Cancel it while it is in the queue; a task at the engine is ended by the executor's `stop`."""
        if self.done() or not self._driver.withdraw(self):
            return self.cancelled()
        return self.discard()

    def finish(self, result: object, error: BaseException | None) -> None:
        self.parts = ()
        super().finish(result, error)


class Group:
    """Tasks with the same resources, in the order in which they begin. place: of their jobs, if the engine must not choose it."""

    def __init__(self, resources: Resources | None, engine: Engine, place: object = None) -> None:
        self.resources = resources
        self.place = place
        self.waiting: deque[Task] = deque()
        self._most_bytes = engine.most_bytes
        self._only_identified = not engine.takes_back
        overhead = engine.overhead
        self._alone = resources is not None and resources.time is not None
        self._has_answers = False
        self._sizer = ChunkSizer(work=CALL_OVERHEADS * overhead, least=overhead, most=_MOST, short=2 * overhead, weight=0.5)

    def take(self, jobs: int, slots: int) -> list[list[Task]]:
        """Take the tasks of up to `jobs` jobs from the queue."""
        return [self._take_one(slots) for _ in range(jobs) if self.waiting]

    def observe(self, seconds: float | None) -> None:
        """Update the average duration by that of a call, if known."""
        self._has_answers = True
        if seconds is not None:
            self._sizer.observe(seconds)

    def _size(self, slots: int) -> int:
        if self._alone:
            return 1
        if self._sizer.seconds is None:
            return 2 if self._has_answers else 1  # the second call of a job shows the duration without imports
        return self._sizer.size(len(self.waiting), slots)

    def _may_share(self, task: Task) -> bool:
        return task.identity is not None or not self._only_identified

    def _fits(self, more: int, weight: int) -> bool:
        """Tell whether the next task fits into a job that may take `more` tasks, and `weight` bytes."""
        return more > 0 and bool(self.waiting) and self.waiting[0].weight <= weight and self._may_share(self.waiting[0])

    def _take_one(self, slots: int) -> list[Task]:
        size = self._size(slots) if self._may_share(self.waiting[0]) else 1
        taken = [self.waiting.popleft()]
        weight = taken[0].weight
        while self._fits(size - len(taken), self._most_bytes - weight):
            taken.append(self.waiting.popleft())
            weight += taken[-1].weight
        return taken
