"""The driver's side of `RayExecutor`: a queue, a bounded number of batches at Ray, and one thread that sets outcomes from their reports.

A task is sent until it is answered. If a worker dies, or is killed, its tasks without an answer are sent again, in ever smaller batches: a
task that was alone in its batch is itself the cause.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent import futures
from functools import partial
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any

from persistable.errors import RunError, WorkerDied
from persistable.executors import notes
from persistable.executors.base import portable
from persistable.executors.ray import batch as remote
from persistable.executors.ray.batch import LOOK, NOTES, OVERDUE, BatchResult, Progress
from persistable.executors.ray.cluster import Cluster
from persistable.executors.ray.objects import BatchPacker, ObjectCache
from persistable.executors.ray.tasks import Batch, Group, Task

_TRIES = 3  # times that a task alone in its batch is sent again after a lost node, or a worker killed for another task
_FEW = 16  # maximum tasks of a dead batch that are sent one by one
_PATIENCE = 60.0  # seconds that `stop` waits for Ray to notice
# Seconds within which a slow batch publishes its progress; a stopped one without progress waits at Ray and is cancelled there. One on its
# way to a worker must not be cancelled: Ray 2.60 fails it, and when the worker's answer arrives too it ends this process, the user's
# program. Nor must one that is about to end: the worker that performs the next one by then would be killed.
_IN_FLIGHT = 2 * OVERDUE


class Driver:
    """Queue and thread of a `RayExecutor`. State shared with callers is guarded by the lock; all other state belongs to the thread."""

    def __init__(self, cluster: Cluster, max_pending: int | None) -> None:
        self.cluster = cluster
        self._max_pending = max_pending
        self._name = f"persistable-{uuid.uuid4().hex}-"
        self._cache = ObjectCache(cluster.ray)
        self._numbers = count()
        self._events: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._awake = False
        self._closing = False
        self._pid = os.getpid()
        self._groups: dict[tuple[str, bool], Group] = {}
        self._batches: set[Batch] = set()
        self._measured = self._looked = self._killed = -math.inf
        self._thread = threading.Thread(target=self._run, name="persistable-ray", daemon=True)
        self._thread.start()

    # --- called by anyone

    def group(self, options: Mapping[str, Any], alone: bool) -> Group:
        key = repr(sorted(options.items())), alone
        with self._lock:
            group = self._groups.get(key)
            if group is None:
                run = self.cluster.ray.remote(remote.run_batch).options(max_retries=0, name="persistable", **options)
                group = Group(run, options, alone)
                self._measure(group)
                self._groups[key] = group
        return group

    def submit(self, task: Task) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("this RayExecutor was made in another process, before a fork; make one of its own for this process")
        with self._lock:
            if self._closing:
                raise RuntimeError("cannot schedule new futures after shutdown")
            task.group.waiting.append(task)
            wake = not self._awake and self._has_capacity(task.group)
            self._awake = self._awake or wake
        if wake:
            self._events.put(None)

    def stop(self, task: Task) -> bool:
        """End a task; return True if it is cancelled when this returns, False if it ended by itself."""
        with self._lock:
            if task.done():
                return False
            task.stopped = True
            batch = task.batch
            waits = batch is None and task in task.group.waiting
            if waits:
                task.group.waiting.remove(task)
        if waits:
            task.fail(futures.CancelledError())
            return True
        if batch is not None:  # otherwise its answer is being unpacked, or another thread has stopped it
            self._events.put(partial(self._end_stopped, batch))
        if threading.current_thread() is self._thread:
            return True  # called from a callback of a future: waiting here would block the stop
        futures.wait([task], timeout=_PATIENCE)
        return task.done() and isinstance(_error(task), futures.CancelledError)

    def close(self, cancel: bool = False) -> None:
        """Accept no more tasks; end when all accepted ones have ended, or with `cancel` those that have begun."""
        with self._lock:
            self._closing = True
            dropped = [task for group in self._groups.values() for task in group.waiting if not task.begun] if cancel else []
        for task in dropped:
            task.cancel()
        self._events.put(None)

    def join(self) -> None:
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # --- the thread

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except Exception as error:  # noqa: BLE001 - any error must be set on the tasks, or they would block forever
            self._give_up(error)
        finally:
            if self.cluster.connected:
                with contextlib.suppress(Exception):
                    remote.kv_remove(self._name)
                    remote.kv_remove(f"{NOTES}{self._name}")
            self.cluster.leave()

    def _step(self) -> bool:
        try:
            event = self._events.get(timeout=LOOK if self._batches else None)
        except Empty:
            event = None
            if not self.cluster.connected:
                raise RunError("Ray was shut down while tasks were running there") from None
        if event is not None:
            event()
        if time.monotonic() > self._looked + LOOK:
            self._check_batches()
        while taken := self._take():
            self._send(*taken)
        with self._lock:
            return not (self._closing and not self._batches and not any(group.waiting for group in self._groups.values()))

    def _take(self) -> tuple[Group, Batch] | None:
        """Make the next batch, if another may be at Ray."""
        if time.monotonic() - self._measured > 5:
            self._measured = time.monotonic()
            for group in list(self._groups.values()):
                self._measure(group)
        with self._lock:
            for group in self._groups.values():
                if not group.waiting or not self._has_capacity(group):
                    continue
                tasks = group.take()
                batch = Batch(f"{self._name}{next(self._numbers)}.", group, tasks)
                for task in tasks:
                    task.batch = batch
                group.at_ray += 1
                self._batches.add(batch)
                return group, batch
            self._awake = False
            return None

    def _has_capacity(self, group: Group) -> bool:
        return group.at_ray < group.window and len(self._batches) < self._limit()

    def _limit(self) -> int:
        return self._max_pending or max(64, int(4 * self.cluster.total("CPU")))

    def _measure(self, group: Group) -> None:
        group.measure(self.cluster.slots(group.options), self._max_pending, self._limit())

    def _send(self, group: Group, batch: Batch) -> None:
        packer = BatchPacker(self._cache)
        packed: list[Task] = []
        kept = batch.tasks
        for place, task in enumerate(kept):
            if packer.full and packed:
                self._requeue(kept[place:])
                break
            if not task.begun and not task.set_running_or_notify_cancel():
                continue
            task.begun = True
            assert task.call is not None
            try:
                packer.add(*task.call)
            except Exception as error:  # noqa: BLE001 - pickling an object may raise anything
                task.fail(error)
                continue
            packed.append(task)
        batch.tasks = packed
        if packed:
            batch.holds = packer.holds
            refs = [held.ref for held in packer.holds]
            batch.ref = group.remote.remote(packer.request(batch.name), *refs)
            batch.sent_at = time.monotonic()
            batch.ref.future().add_done_callback(partial(self._note, batch))
        else:
            self._leave(batch)

    def _note(self, batch: Batch, answer: futures.Future[Any]) -> None:
        self._events.put(partial(self._answered, batch, answer))

    def _leave(self, batch: Batch) -> None:
        with self._lock:
            self._batches.discard(batch)
            batch.group.at_ray -= 1

    def _requeue(self, tasks: Iterable[Task]) -> None:
        """Put tasks back at the head of the queue; those that were stopped are cancelled."""
        unwanted: list[Task] = []
        with self._lock:
            for task in reversed(list(tasks)):
                task.batch = None
                if task.stopped:
                    unwanted.append(task)
                else:
                    task.group.waiting.appendleft(task)
        for task in unwanted:
            task.fail(futures.CancelledError())

    # --- results of a batch

    def _answered(self, batch: Batch, answer: futures.Future[Any]) -> None:
        error = answer.exception()
        if error is not None:
            self._failed(batch, error)
            return
        report: BatchResult = answer.result()
        if report.notes:
            self._deliver(batch.name)  # before the outcomes of its tasks
        self._leave(batch)
        if report.outcomes:
            fresh = batch.group.sizer.seconds is None
            batch.group.learn(report)
            if fresh:
                self._measure(batch.group)
        last = len(report.outcomes) - 1
        for place, (task, outcome) in enumerate(zip(batch.tasks, report.outcomes, strict=False)):
            if task.batch is batch:
                task.settle(outcome, report.buffers if place == last else ())
        self._requeue(batch.own(last + 1))

    def _failed(self, batch: Batch, error: BaseException) -> None:
        errors = self.cluster.ray.exceptions
        gone = (
            errors.NodeDiedError,
            errors.ObjectLostError,
            errors.OwnerDiedError,
            errors.LocalRayletDiedError,
            errors.ObjectFetchTimedOutError,
        )
        self._leave(batch)
        if not isinstance(error, (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.TaskCancelledError, *gone)):
            for task in batch.own():
                task.fail(portable(error))
            return
        if batch.sent_at + OVERDUE < time.monotonic():
            with contextlib.suppress(Exception):
                self._deliver(batch.name)
            self._read_progress(batch)
            remote.kv_remove(batch.name)
        left = batch.own()
        company = math.isqrt(len(batch.tasks)) if len(batch.tasks) > _FEW else 1
        excused = len(left) > 1 or batch.cancelled or isinstance(error, gone) or time.monotonic() < self._killed + _IN_FLIGHT
        for task in left:
            task.tries += len(left) == 1
            task.company = company
            if not task.stopped and (not excused or task.tries > _TRIES):
                task.fail(_died(error))
        self._requeue(batch.own())

    # --- batches that take long, and tasks that were stopped

    def _check_batches(self) -> None:
        now = self._looked = time.monotonic()
        if self._batches:
            self._deliver(self._name)
        if any(batch.progress is None and batch.sent_at + OVERDUE < now and len(batch.tasks) > 1 for batch in self._batches):
            known = remote.kv_names(self._name)
            for batch in [batch for batch in self._batches if batch.name in known]:
                self._read_progress(batch)
        for batch in [batch for batch in self._batches if batch.stopped_at is not None]:
            self._end_stopped(batch)

    def _deliver(self, name: str) -> None:
        """Deliver the notes of batches whose names begin with `name`, in the order in which they were sent."""
        for note in sorted(remote.kv_names(f"{NOTES}{name}")):
            data = remote.kv_get(note)
            if data is not None:
                notes.deliver(data)
            remote.kv_remove(note)

    def _read_progress(self, batch: Batch) -> None:
        """Settle the tasks that a slow batch has performed, and queue those again that it will not perform."""
        data = None if batch.progress is not None else remote.kv_get(batch.name)
        if data is None:
            return
        batch.progress = progress = Progress(*pickle.loads(data))
        for task, ended in zip(batch.tasks, progress.outcomes, strict=False):
            if task.batch is batch:
                task.settle(ended)
        self._requeue(batch.own(len(progress.outcomes) + 1))

    def _end_stopped(self, batch: Batch) -> None:
        """End a batch whose running task was stopped: kill its process, or cancel the batch where it waits."""
        now = time.monotonic()
        batch.stopped_at = batch.stopped_at or now
        if batch not in self._batches or batch.cancelled or now < batch.sent_at + OVERDUE:
            return
        self._read_progress(batch)
        if not any(task.stopped for task in batch.own()):
            batch.stopped_at = None
        elif batch.progress is not None:
            batch.cancelled = True
            self._killed = math.inf
            threading.Thread(target=self._kill, args=(batch, batch.progress), name="persistable-ray-kill", daemon=True).start()
        elif now > max(batch.stopped_at, batch.sent_at) + _IN_FLIGHT:
            batch.cancelled = True
            self._killed = now
            self.cluster.ray.cancel(batch.ref, force=True)

    def _kill(self, batch: Batch, progress: Progress) -> None:
        try:
            if self.cluster.is_here(progress.node):
                remote.kill(batch.name, progress.pid)
            else:
                self.cluster.call_on(progress.node, remote.kill, batch.name, progress.pid)
        except Exception:  # noqa: BLE001 - the node may be gone, and with it the task
            pass
        self._killed = time.monotonic()

    # --- the end

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            self._closing = True
            left = [task for batch in self._batches for task in batch.own()]
            left += [task for group in self._groups.values() for task in group.waiting]
            self._batches.clear()
        for task in left:
            if task.begun or task.set_running_or_notify_cancel():
                task.fail(portable(error))


def _error(task: Task) -> BaseException | None:
    try:
        return task.exception(0)
    except futures.CancelledError as error:
        return error


def _died(error: BaseException) -> WorkerDied:
    message = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return WorkerDied(f"the Ray worker that performed this task is gone: {message}", exitcode=None)
