"""Pool of worker processes, owned by one thread that sends them tasks, receives their answers, and replaces those that die."""

from __future__ import annotations

import atexit
import os
import selectors
import signal
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from concurrent import futures
from itertools import count
from typing import Any

from persistable.errors import WorkerDied
from persistable.executors.calls import answer, name_of, pack
from persistable.executors.outcomes import failed, how_ended, stopped_error
from persistable.executors.processes.frames import RESULT, Frame
from persistable.executors.processes.task import Task
from persistable.executors.processes.worker import Worker
from persistable.executors.sizing import ChunkSizer

_AHEAD = 16  # tasks a worker may hold
_SHORT = 0.002  # seconds; tasks that take less on average are sent ahead
_LATE = 0.01  # seconds after which tasks sent ahead are taken back
_SHUTDOWN = 5.0  # seconds a worker without work may take to end
_FAILED_STARTS = 3  # consecutive workers that end before they are ready, after which no other is started

_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


class Pool:
    """Worker processes, and the tasks for them.

    Only its own thread uses the selector, starts workers and closes descriptors; everything else is guarded by the lock. Outcomes are
    delivered without the lock, since callbacks may submit.
    """

    def __init__(self, size: int, environment: Mapping[str, str] | None, grace: float) -> None:
        self.size = size
        self._environment = environment
        self._grace = grace
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._numbers = count(1)
        self._waiting: deque[Task] = deque()
        self._workers: list[Worker] = []
        self._leaving: list[Worker] = []
        self._retired: list[Worker] = []
        self._outcomes: list[tuple[Task, Frame | BaseException]] = []
        self._sizer = ChunkSizer(work=_AHEAD * _SHORT, least=0.0, most=_AHEAD, short=_SHORT, weight=0.2)
        self._failed_starts = 0
        self._closing = False
        self._abandoned = False
        self._ended = False
        self._thread: threading.Thread | None = None
        self._timeout: float | None = None
        self._woken = False

    # --- for the threads of the user

    def submit(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> futures.Future[Any]:
        """Queue a call. Raises RuntimeError after `shutdown`."""
        name = name_of(fn)
        try:
            task = Task(self, next(self._numbers), name, pack((fn, args, kwargs)))
        except Exception as error:  # noqa: BLE001 - pickling an object may raise anything
            error.add_note(f"{name} or one of its arguments cannot be pickled, and so cannot go to a worker process")
            return failed(error)
        with self._lock:
            if self._closing or self._process != os.getpid():
                raise RuntimeError(
                    "this ProcessExecutor was shut down, or belongs to the process that this one was forked from; make another"
                )
            self._waiting.append(task)
            if self._thread is None:
                self._open()
        self._wake()
        return task

    def withdraw(self, task: Task, begun: bool = False) -> bool:
        """Prevent a task from being begun. False if a worker has begun it, or if it was withdrawn before.

        begun: also withdraw a task that was marked as running because a worker was about to begin it.
        """
        with self._lock:
            if task.withdrawn or task.settled or (task.begun and not begun):
                return False
            if task.worker is not None:
                self._take_back(task.worker)
            if task.worker is not None:
                task.begin()
                return False
            task.withdrawn = True
        self._wake()
        return True

    def stop(self, task: Task) -> bool:
        """End a task that waits or runs, and its child processes; return False if it had ended by itself."""
        if task.done():
            return False
        if self.withdraw(task, begun=True):
            task.discard()
            return True
        with self._lock:
            worker = task.worker
            mine = worker is not None and not worker.leaving
            outcomes = self._seize(worker, task) if worker is not None and mine else []
            ended = task.settled
        self._wake()
        _deliver(outcomes)
        if worker is None or ended:
            return False
        if mine:
            return self._end(worker, task)
        futures.wait([task])  # another thread is ending it
        return True

    def shutdown(self, wait: bool, cancel: bool) -> None:
        """Accept no more tasks, with `cancel` cancel those that have not begun, and with `wait` wait for the rest."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._closing = True
            unwanted = self._give_up_waiting() if cancel else []
        for task in unwanted:
            task.discard()
        self._wake()
        if wait and self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def abandon(self) -> None:
        """End everything immediately, at the end of the program."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._closing = self._abandoned = True
            unwanted = self._give_up_waiting()
            for worker in self._workers:
                if worker.given or not worker.ready:
                    worker.signal(signal.SIGKILL)
        for task in unwanted:
            task.discard()
        self._wake()
        if self._thread is not None:
            self._thread.join(2 * _SHUTDOWN)

    def drop(self) -> None:
        """Close the pool of an executor without references. Takes no lock: the garbage collector calls it, and any lock may be held."""
        self._closing = True
        if self._process == os.getpid():
            self._wake()

    def forget(self) -> None:
        """Release the descriptors of the original process in a forked copy, or the workers would outlive the original."""
        if self._thread is not None:
            self._selector.close()
            self._wake_reader.close()
            self._wake_writer.close()
        for worker in [*self._workers, *self._leaving, *self._retired]:
            worker.close()

    # --- for any thread that holds the lock

    def _seize(self, worker: Worker, task: Task) -> list[tuple[Task, Frame | BaseException]]:
        """Remove a worker from the pool, unless `task` has ended: then the worker may be performing another, which must not be ended."""
        self._take_back(worker)
        outcomes = self._noted(worker.drain())
        if worker.given and not task.settled:
            worker.leaving = True
            self._workers.remove(worker)
            self._leaving.append(worker)
        return outcomes

    def _take_back(self, worker: Worker) -> None:
        if not worker.leaving:  # else this was done, and the worker may be closed
            self._waiting.extendleft(reversed(worker.recall()))

    def _give_up_waiting(self) -> list[Task]:
        for worker in self._workers:
            self._take_back(worker)
        unwanted = [task for task in self._waiting if not task.withdrawn]
        self._waiting.clear()
        for task in unwanted:
            task.withdrawn = True
        return unwanted

    def _noted(self, answered: list[tuple[Task, Frame]]) -> list[tuple[Task, Frame | BaseException]]:
        for _, frame in answered:
            self._sizer.observe(frame.elapsed / 1e9)
        return [*answered]

    # --- for the thread that stops a task

    def _end(self, worker: Worker, task: Task) -> bool:
        try:
            worker.kill(self._grace)
        finally:
            with self._lock:
                outcomes = self._noted(worker.drain())
                self._leaving.remove(worker)
                self._retired.append(worker)
                stopped = not task.settled
                task.settled, task.worker = True, None
            _deliver(outcomes)
            if stopped:
                task.finish(None, stopped_error(task.name))
            self._wake()
        return stopped

    # --- for the pool's own thread

    def _open(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, name="persistable-pool", daemon=True)
        self._thread.start()
        _POOLS.add(self)

    def _wake(self) -> None:
        if self._thread is not None and not self._woken:
            self._woken = True
            try:
                self._wake_writer.send(b"!")
            except OSError:  # full, so that the thread wakes anyway; or closed, without a thread
                pass

    def _run(self) -> None:
        try:
            while not self._ended:
                events = self._selector.select(self._timeout)
                with self._lock:
                    outcomes = self._handle(events)
                _deliver(outcomes)
        except BaseException as error:
            self._collapse(error)
            raise
        finally:
            self._shut_down()

    def _collapse(self, error: BaseException) -> None:
        """End all tasks after an error of the pool itself, so that none blocks forever."""
        with self._lock:
            self._closing = True
            lost = [*self._give_up_waiting(), *(task for worker in self._workers for task in worker.given)]
            for worker in self._workers:
                worker.signal(signal.SIGKILL)
        for task in lost:
            task.finish(None, WorkerDied(f"{task.name} is lost, since its pool failed: {error!r}", exitcode=None))

    def _handle(self, events: list[tuple[selectors.SelectorKey, int]]) -> list[tuple[Task, Frame | BaseException]]:
        outcomes: list[tuple[Task, Frame | BaseException]] = []
        gone: list[Worker] = []
        for key, mask in events:
            worker: Worker | None = key.data
            if worker is None:
                self._woken = False
                self._wake_reader.recv(1 << 12)
            elif not worker.leaving:
                answered, ended = _attend(worker, key, mask)
                outcomes += self._noted(answered)
                self._failed_starts = 0 if worker.ready else self._failed_starts
                if ended and worker not in gone:
                    gone.append(worker)
        for worker in gone:
            outcomes += self._reap(worker)
        for worker in self._retired:
            self._watch(worker, 0)
            worker.close()
        self._retired.clear()
        self._feed()
        outcomes += self._spawn()
        self._watch_workers()
        self._ended = self._closing and not (self._waiting or self._leaving or any(worker.given for worker in self._workers))
        return outcomes

    def _reap(self, worker: Worker) -> list[tuple[Task, Frame | BaseException]]:
        """Remove a worker that has ended by itself: the task that it had begun fails, the others are queued again."""
        self._workers.remove(worker)
        self._watch(worker, 0)
        self._take_back(worker)
        exitcode = worker.reap()
        outcomes = self._noted(worker.drain())
        self._failed_starts = 0 if worker.ready else self._failed_starts + 1
        for task in worker.given:
            task.settled, task.worker = True, None
            outcomes.append((task, futures.CancelledError() if self._abandoned else _died(task, worker, exitcode)))
        worker.close()
        return outcomes

    def _feed(self) -> None:
        """Give tasks to every idle worker; if tasks are short, give more to all workers, so that none waits for this thread."""
        while self._waiting and self._waiting[0].withdrawn:
            self._waiting.popleft()
        share = self._sizer.size(len(self._waiting), self.size)
        for worker in self._workers:
            if worker.ready and not worker.given:
                self._give(worker, share)
        if share > 1:
            for worker in self._workers:
                if worker.given and len(worker.given) <= share // 2 and not (worker.slow or worker.congested):
                    self._give(worker, share - len(worker.given))

    def _give(self, worker: Worker, most: int) -> None:
        tasks: list[Task] = []
        while self._waiting and len(tasks) < most:
            task = self._waiting[0]
            if not task.withdrawn:
                if not task.small and (tasks or worker.given):
                    break
                tasks.append(task)
            self._waiting.popleft()
            if tasks and not tasks[-1].small:
                break
        if tasks:
            worker.give(tasks)

    def _spawn(self) -> list[tuple[Task, Frame | BaseException]]:
        """Start workers for waiting tasks; if none can be started, these tasks fail."""
        trouble = ""
        if self._failed_starts >= _FAILED_STARTS:
            trouble = f"{_FAILED_STARTS} worker processes in a row ended before they could begin; what they said is on standard error"
        try:
            starting = sum(not worker.ready for worker in self._workers)
            for _ in range(min(len(self._waiting) - starting, self.size - len(self._workers)) if not trouble else 0):
                self._workers.append(Worker(self._environment))
        except OSError as error:
            trouble = f"no worker process can be started: {error}"
        if not trouble or self._workers:
            return []
        self._failed_starts = 0
        return [(task, WorkerDied(f"{task.name} was not run: {trouble}", exitcode=None)) for task in self._give_up_waiting()]

    def _watch_workers(self) -> None:
        late, now = None, time.monotonic()
        for worker in self._leaving:
            self._watch(worker, 0)
        for worker in self._workers:
            if len(worker.given) > 1:
                late = _LATE
                if now - worker.since > _LATE:
                    self._take_back(worker)
                    worker.slow = True
                    late = 0.0
            self._watch(worker, selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.congested else 0))
        self._timeout = late

    def _watch(self, worker: Worker, mask: int) -> None:
        if mask == worker.watched:
            return
        if not worker.watched:
            self._selector.register(worker.channel, mask, worker)
            if worker.pidfd is not None:
                self._selector.register(worker.pidfd, selectors.EVENT_READ, worker)
        elif mask:
            self._selector.modify(worker.channel, mask, worker)
        else:
            self._selector.unregister(worker.channel)
            if worker.pidfd is not None:
                self._selector.unregister(worker.pidfd)
        worker.watched = mask

    def _shut_down(self) -> None:
        for worker in self._workers:
            if worker.ready:
                worker.release()
            else:
                worker.signal(signal.SIGKILL)
        end = time.monotonic() + _SHUTDOWN
        for worker in self._workers:
            worker.wait(max(0.0, end - time.monotonic()))
            worker.reap()
        for worker in [*self._workers, *self._retired]:
            worker.close()
        self._workers, self._retired = [], []
        self._selector.close()
        self._wake_writer.close()
        self._wake_reader.close()


def _attend(worker: Worker, key: selectors.SelectorKey, mask: int) -> tuple[list[tuple[Task, Frame]], bool]:
    """Return the answers of a worker, and whether it has ended."""
    if key.fileobj is not worker.channel:
        return [], True
    if mask & selectors.EVENT_WRITE:
        worker.flush()
    if not mask & selectors.EVENT_READ:
        return [], False
    try:
        return worker.receive(), False
    except EOFError:
        return [], True


def _deliver(outcomes: list[tuple[Task, Frame | BaseException]]) -> None:
    for task, outcome in outcomes:
        if isinstance(outcome, BaseException):
            task.finish(None, outcome)
        else:
            task.finish(*answer(outcome.kind == RESULT, outcome.parts))


def _died(task: Task, worker: Worker, exitcode: int) -> WorkerDied:
    hint = "; if nobody did that on purpose, the system most likely ran out of memory" if exitcode == -signal.SIGKILL else ""
    return WorkerDied(f"worker process {worker.process.pid} {how_ended(exitcode)} while it ran {task.name}{hint}", exitcode=exitcode)


def _abandon_all() -> None:
    for pool in list(_POOLS):
        pool.abandon()


def _forget_all() -> None:
    for pool in list(_POOLS):
        pool.forget()


atexit.register(_abandon_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
