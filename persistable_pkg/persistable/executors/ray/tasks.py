"""Tasks, groups of those with the same resources, and batches of them at Ray."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import Any

from persistable.executors.calls import answer
from persistable.executors.outcomes import settle
from persistable.executors.ray.batch import BatchResult, Ended, Progress
from persistable.executors.ray.objects import CachedBuffer
from persistable.executors.sizing import ChunkSizer

_WORK = 0.075  # target seconds of work of a batch
_LEAST = 0.004  # seconds of work that are not worth two batches
_MOST = 10_000  # tasks of a batch
_SHORT = 0.1  # for shorter tasks, more batches are at Ray than can run, so that no worker waits for the next


class Task(futures.Future[Any]):
    """A future and its call."""

    # as class attributes, they cost nothing for ordinary tasks
    batch: Batch | None = None
    begun = False
    stopped = False
    tries = 0
    company = _MOST

    def __init__(self, group: Group, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.group = group
        self.call: tuple[Any, tuple[Any, ...], dict[str, Any]] | None = (fn, args, kwargs)

    def settle(self, ended: Ended, buffers: Sequence[Any] = ()) -> None:
        self.call = self.batch = None
        went_well, data = ended
        settle(self, *answer(went_well, [data, *buffers]))

    def fail(self, error: BaseException) -> None:
        self.call = self.batch = None
        self.set_exception(error)


class Group:
    """Tasks with the same resources: they share batches, sized by the duration of the last ones."""

    def __init__(self, remote: Any, options: Mapping[str, Any], alone: bool) -> None:
        self.remote = remote
        self.options = options
        self.alone = alone
        self.waiting: deque[Task] = deque()
        self.sizer = ChunkSizer(work=_WORK, least=_LEAST, most=_MOST, short=_WORK, weight=0.5)
        self.at_ray = 0
        self.slots = 1
        self.window = 1

    def learn(self, report: BatchResult) -> None:
        """Update the average duration by that of a batch."""
        self.sizer.observe(report.seconds / len(report.outcomes))

    def measure(self, slots: float, asked: int | None, most: int) -> None:
        """Set the maximum number of batches at Ray: by default those that can run, so that waiting tasks can still be cancelled."""
        self.slots = max(1, int(min(slots, most)))
        extra = self.slots if self.sizer.seconds is not None and self.sizer.seconds < _SHORT else 0
        self.window = self.slots if self.alone else asked or self.slots + extra

    def take(self) -> list[Task]:
        """Take the tasks of the next batch from the queue."""
        size = 1 if self.alone else self.sizer.size(len(self.waiting), 2 * self.slots)
        taken = [self.waiting.popleft()]
        size = min(size, taken[0].company)
        while len(taken) < size and self.waiting and self.waiting[0].company >= size:
            taken.append(self.waiting.popleft())
        return taken


class Batch:
    """Tasks that were sent together, as one task of Ray."""

    def __init__(self, name: str, group: Group, tasks: list[Task]) -> None:
        self.name = name
        self.group = group
        self.tasks = tasks
        self.sent_at = math.inf
        self.ref: Any = None
        self.holds: list[CachedBuffer] = []
        self.progress: Progress | None = None
        self.stopped_at: float | None = None
        self.cancelled = False

    def own(self, start: int = 0) -> list[Task]:
        """Return its tasks from position `start` on without an answer yet."""
        return [task for task in self.tasks[start:] if task.batch is self]
