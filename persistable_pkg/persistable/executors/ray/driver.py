"""The driver's side of `RayExecutor`: a queue, a bounded number of batches at Ray, and one thread that turns their reports into results."""

from __future__ import annotations

import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent import futures
from functools import partial
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any

from persistable.errors import RunError, WorkerDied
from persistable.executors.base import portable
from persistable.executors.ray import journal
from persistable.executors.ray.batch import Report, run_batch
from persistable.executors.ray.cluster import Cluster
from persistable.executors.ray.journal import Found
from persistable.executors.ray.objects import Package, Shelf
from persistable.executors.ray.tasks import OVERDUE, Batch, Group, Task

_BUDGET = 0.15  # seconds after which a batch begins no further task
_TRIES = 3  # times that a task is sent again because its node, or its worker before it began, was lost
_FAREWELL = 2.0  # seconds that the nodes have to remove their logs
_PATIENCE = 60.0  # seconds that `stop` waits for Ray to notice
# Seconds after which a batch that must not begin any more is cancelled at Ray. Most are on their way to a worker and come back at once. Ray
# 2.60 must not be told to cancel these: it fails the task, and when the worker's answer comes too it ends this process, the user's program.
_IN_FLIGHT = 1.0


class Driver:
    """Owns the thread. All state that is shared with callers changes under the lock; all else belongs to the thread."""

    def __init__(self, cluster: Cluster, max_pending: int | None) -> None:
        self.cluster = cluster
        self._max_pending = max_pending
        self._folder = tempfile.mkdtemp(prefix="persistable-ray-")
        self._home = cluster.home(self._folder)
        self._shelf = Shelf(cluster.ray)
        self._numbers = count()
        self._events: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._awake = False
        self._closing = False
        self._pid = os.getpid()
        self._groups: dict[tuple[str, bool], Group] = {}
        self._batches: set[Batch] = set()
        self._measured = -math.inf
        self._thread = threading.Thread(target=self._run, name="persistable-ray", daemon=True)
        self._thread.start()

    # --- called by anyone

    def group(self, options: Mapping[str, Any], alone: bool) -> Group:
        key = repr(sorted(options.items())), alone
        with self._lock:
            group = self._groups.get(key)
            if group is None:
                remote = self.cluster.ray.remote(run_batch).options(max_retries=0, name="persistable", **options)
                group = Group(remote, options, alone)
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
            wake = not self._awake and self._room(task.group)
            self._awake = self._awake or wake
        if wake:
            self._events.put(None)

    def stop(self, task: Task) -> bool:
        """True if the task is cancelled when this returns, False if it ended by itself."""
        with self._lock:
            if task.done():
                return False
            task.stopped = True
            batch = task.batch
            if batch is None:
                task.group.waiting.remove(task)
        if batch is None:
            task.fail(futures.CancelledError())
            return True
        batch.sent.wait(_PATIENCE)
        if task in batch.tasks:
            found = self._end(batch.name, batch.tasks.index(task))
            self._events.put(partial(self._ended, batch, task, found))
        if threading.current_thread() is self._thread:
            return True  # called from a callback of a future: it happens, but not while this waits
        futures.wait([task], timeout=_PATIENCE)
        return task.done() and isinstance(_error(task), futures.CancelledError)

    def close(self, cancel: bool = False) -> None:
        """Take no more; end when everything that was taken has ended."""
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
        except Exception as error:  # noqa: BLE001 - nobody must wait for ever, whatever it was
            self._give_up(error)
        finally:
            self._quietly(self._clear_elsewhere)
            journal.clear(journal.Home(self._folder, self._home.token))
            self.cluster.leave()

    def _clear_elsewhere(self) -> None:
        if self.cluster.connected and (others := self.cluster.others()):
            self.cluster.ask(journal.clear, self._home, nodes=others, timeout=_FAREWELL)

    def _step(self) -> bool:
        due = min((batch.look_at for batch in self._batches), default=math.inf) - time.monotonic()
        try:
            event = self._events.get(timeout=max(0.0, min(1.0, due)) if self._batches else None)
        except Empty:
            event = None
            if not self.cluster.connected:
                raise RunError("Ray was shut down while tasks were running there") from None
        if event is not None:
            event()
        self._look_at_overdue()
        while taken := self._take():
            self._send(*taken)
        with self._lock:
            return not (self._closing and not self._batches and not any(group.waiting for group in self._groups.values()))

    def _take(self) -> tuple[Group, Batch] | None:
        """The next batch, if there is room for one."""
        if time.monotonic() - self._measured > 5:
            self._measured = time.monotonic()
            for group in list(self._groups.values()):
                self._measure(group)
        with self._lock:
            for group in self._groups.values():
                if not group.waiting or not self._room(group):
                    continue
                tasks = [group.waiting.popleft() for _ in range(min(group.size(), len(group.waiting)))]
                batch = Batch(f"{self._home.token}-{next(self._numbers)}", group, tasks)
                for task in tasks:
                    task.batch = batch
                group.at_ray += 1
                self._batches.add(batch)
                return group, batch
            self._awake = False
            return None

    def _room(self, group: Group) -> bool:
        return group.at_ray < group.window and len(self._batches) < self._limit()

    def _limit(self) -> int:
        return self._max_pending or max(64, int(4 * self.cluster.total("CPU")))

    def _measure(self, group: Group) -> None:
        group.measure(self.cluster.slots(group.options), self._max_pending, self._limit())

    def _send(self, group: Group, batch: Batch) -> None:
        package = Package(self._shelf)
        packed: list[Task] = []
        kept = batch.tasks
        for place, task in enumerate(kept):
            if package.full and packed:
                self._requeue(kept[place:])
                break
            if not task.begun and not task.set_running_or_notify_cancel():
                continue
            task.begun = True
            assert task.call is not None
            try:
                package.add(*task.call)
            except Exception as error:  # noqa: BLE001 - whatever somebody's class does when it is pickled
                task.fail(error)
                continue
            packed.append(task)
        batch.tasks = packed
        if packed:
            batch.holds = package.holds
            refs = [held.ref for held in package.holds]
            batch.ref = group.remote.remote(package.order(self._home, batch.name, _BUDGET), *refs)
            batch.look_at = time.monotonic() + OVERDUE if len(packed) > 1 else math.inf
            batch.ref.future().add_done_callback(partial(self._note, batch))
        else:
            self._leave(batch)
        batch.sent.set()

    def _note(self, batch: Batch, answer: futures.Future[Any]) -> None:
        self._events.put(partial(self._answered, batch, answer))

    def _leave(self, batch: Batch) -> None:
        with self._lock:
            self._batches.discard(batch)
            batch.group.at_ray -= 1

    def _requeue(self, tasks: Iterable[Task]) -> None:
        """Back to the head of the queue, but for those that somebody wants no more."""
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

    # --- what becomes of a batch

    def _answered(self, batch: Batch, answer: futures.Future[Any]) -> None:
        error = answer.exception()
        if error is not None:
            self._failed(batch, error)
            return
        report: Report = answer.result()
        self._leave(batch)
        if report.outcomes:
            fresh = batch.group.seconds is None
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
        if not isinstance(error, (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.TaskCancelledError, *gone)):
            self._leave(batch)
            for task in batch.own():
                task.fail(portable(error))
            return
        node_lost = isinstance(error, gone)
        found = journal.bury(self._home, batch.name) if self._home.folder else Found("absent", [])
        if batch.void:
            self._recover(batch, error, Found("void", []), node_lost)
            return
        if found.state in ("dead", "closed"):
            self._recover(batch, error, found, node_lost or found.orphan)
            return
        others = self.cluster.others()
        if not others:
            self._recover(batch, error, found._replace(state="absent"), node_lost)
            return
        self._aside(partial(self._ask_others, batch, error, node_lost, others))

    def _ask_others(self, batch: Batch, error: BaseException, node_lost: bool, others: list[str]) -> None:
        answers: dict[str, Found] = self.cluster.ask(journal.bury, self._home, batch.name, nodes=others)
        known = [found for found in answers.values() if found.state in ("dead", "closed")]
        if known:
            found = known[0]
        elif len(answers) == len(others):
            found = Found("absent", [])
        else:
            silent = set(others) - set(answers)
            node_lost = node_lost or not silent <= {node["NodeID"] for node in self.cluster.nodes(fresh=True)}
            found = Found("absent" if node_lost else "unknown", [])
        self._events.put(partial(self._recover, batch, error, found, node_lost))

    def _recover(self, batch: Batch, error: BaseException, found: Found, node_lost: bool) -> None:
        """Give out what was done; the task that was running died; those behind it never began."""
        self._leave(batch)
        again: list[Task] = []
        for place, task in enumerate(batch.tasks):
            if task.batch is not batch:
                continue
            outcome = found.done[place] if place < len(found.done) else None
            began = outcome is not None or (found.state == "dead" and place == len(found.done))
            if outcome:
                task.settle(outcome)
            elif task.stopped or (not began and found.state in ("dead", "closed", "void")):
                again.append(task)
            elif found.state != "unknown" and task.tries < _TRIES and (node_lost or not began):
                task.tries += 1
                again.append(task)
            else:
                task.fail(_died(error, found))
        self._requeue(again)

    # --- batches that take long, and tasks nobody wants any more

    def _look_at_overdue(self) -> None:
        now = time.monotonic()
        for batch in [batch for batch in self._batches if batch.look_at <= now]:
            if batch.unwanted:
                batch.look_at = math.inf
                self.cluster.ray.cancel(batch.ref, force=True)
                continue
            batch.pause *= 2
            batch.look_at = now + batch.pause
            found = journal.halt(self._home, batch.name) if self._home.folder else Found("absent", [])
            if found.state in ("open", "closed"):
                self._split(batch, found)
            elif others := self.cluster.others():
                batch.look_at = math.inf
                self._aside(partial(self._halt_elsewhere, batch, others))

    def _halt_elsewhere(self, batch: Batch, others: list[str]) -> None:
        answers: dict[str, Found] = self.cluster.ask(journal.halt, self._home, batch.name, nodes=others)
        for found in answers.values():
            if found.state in ("open", "closed"):
                self._events.put(partial(self._split, batch, found))
                return
        if not batch.unwanted:
            batch.look_at = time.monotonic() + batch.pause

    def _split(self, batch: Batch, found: Found) -> None:
        """A batch was told to begin no other task: give out what it has done, and take back what it will not do."""
        if batch not in self._batches:
            return
        if not batch.unwanted:
            batch.look_at = math.inf
        for task, data in zip(batch.tasks, found.done, strict=False):
            if task.batch is batch and data:
                task.settle(data)
        self._requeue(batch.own(len(found.done) + 1))

    def _end(self, name: str, position: int) -> Found | None:
        """No node performs the task at this position any more; None where that is not certain."""
        here = journal.end(self._home, name, position) if self._home.folder else Found("absent", [])
        if here.state in ("open", "closed", "dead"):
            return here
        others = self.cluster.others()
        answers: dict[str, Found] = self.cluster.ask(journal.end, self._home, name, position, nodes=others) if others else {}
        for found in answers.values():
            if found.state in ("open", "closed", "dead"):
                return found
        return Found("void", []) if len(answers) == len(others) and here.state != "elsewhere" else None

    def _ended(self, batch: Batch, task: Task, found: Found | None) -> None:
        if task.batch is not batch or batch not in self._batches:
            return
        if found is None or found.state == "void":
            batch.void = found is not None
            if not batch.unwanted:
                batch.unwanted = True
                batch.look_at = time.monotonic() + _IN_FLIGHT
        elif found.state == "open":
            self._split(batch, found)

    # --- the end

    def _aside(self, work: Callable[[], None]) -> None:
        threading.Thread(target=self._quietly, args=(work,), name="persistable-ray-ask", daemon=True).start()

    def _quietly(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - told by the thread, which gives up
            self._events.put(partial(_throw, error))

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            self._closing = True
            left = [task for batch in self._batches for task in batch.own()]
            left += [task for group in self._groups.values() for task in group.waiting]
            self._batches.clear()
        for task in left:
            if task.begun or task.set_running_or_notify_cancel():
                task.fail(portable(error))


def _throw(error: Exception) -> None:
    raise error


def _error(task: Task) -> BaseException | None:
    try:
        return task.exception(0)
    except futures.CancelledError as error:
        return error


def _died(error: BaseException, found: Found) -> WorkerDied:
    told = (str(error).strip().splitlines() or [type(error).__name__])[0]
    where = f" on node {found.node}" if found.node else ""
    what = "; what it had done is not known, since its node does not answer" if found.state == "unknown" else ""
    return WorkerDied(f"the Ray worker that performed this task{where} is gone{what}: {told}", exitcode=None)
