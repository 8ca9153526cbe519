"""The driver's side of `RemoteExecutor`: a queue, the jobs in flight, and one thread between the engine and the futures."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from uuid import uuid4

from persistable.errors import WorkerDied
from persistable.executors import notes
from persistable.executors.base import portable
from persistable.executors.calls import answer as unpacked
from persistable.executors.outcomes import how_ended, stopped_error
from persistable.executors.remote.engine import Engine, Job, Report
from persistable.executors.remote.request import NOTE, REFUSED, Answer, Request, written
from persistable.executors.remote.tasks import Call, Group, Task
from persistable.executors.resources import Resources

_LOGGER = logging.getLogger("persistable")
_LASTING = 30.0  # seconds that the report of a job's end may take after it was killed
_PATIENCE = 600.0  # seconds for which reading files is retried, as while a network is down
_LATE = 1.0  # seconds without an answer after which the calls that a job has not begun are given to others


class Driver:
    """Queue and thread. State shared with callers is guarded by the lock; all other state belongs to the thread."""

    def __init__(self, engine: Engine, settings: Request) -> None:
        self._engine = engine
        self._settings = settings
        self._lock = threading.Lock()
        self._events: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        engine.open(self.wake)
        self._groups: dict[tuple[Resources | None, object], Group] = {}
        self._tasks: dict[Job, dict[int, Task]] = {}
        self._moved: dict[Job, float] = {}
        self._adopted: dict[str, tuple[Job, int]] = {}
        self._closing = False
        self._troubled: float | None = None
        self._at_end: list[Callable[[], object]] = [engine.close]
        self._foreign: set[Job] = set()  # adopted, without a task for any of their calls
        for job in engine.adopt():
            self._tasks[job] = {}
            self._foreign.add(job)
            for index, identity in enumerate(job.identities):
                if identity is not None and index in job.open:
                    self._adopted[identity] = job, index
        self._thread = threading.Thread(target=self._run, name=f"persistable-{engine.name}", daemon=True)
        self._thread.start()

    # --- called by anyone

    def wake(self) -> None:
        """Wake the thread."""
        self._events.put(None)

    def submit(self, call: Call, identity: str | None, resources: Resources | None, place: object = None) -> Task:
        """Queue a call, or take over one with that identity that an earlier driver has launched."""
        with self._lock:
            if self._closing:
                raise RuntimeError("cannot schedule new futures after shutdown")
            group = self._groups.get((resources, place))
            if group is None:
                group = self._groups[resources, place] = Group(resources, self._engine, place)
            task = Task(self, group, call, identity)
            found = self._adopted.pop(identity, None) if identity is not None else None
            if found is not None:
                task.job, index = found
                self._tasks[task.job][index] = task
                self._foreign.discard(task.job)
            else:
                group.waiting.append(task)
        self.wake()
        return task

    def require(self, file: str, remove: Callable[[], object]) -> None:
        """Make workers refuse jobs unless they see `file`, which `remove` removes at the end."""
        self._settings = self._settings._replace(seen=[*self._settings.seen, file])
        self._at_end.append(remove)

    def withdraw(self, task: Task) -> bool:
        """Remove a task from the queue; False if it is or was at the engine."""
        with self._lock:
            if task.job is not None or task.done():
                return False
            with suppress(ValueError):
                task.group.waiting.remove(task)
                return True
            return False

    def stop(self, task: Task) -> bool:
        """End a task at the engine; False if it has ended before. Returns when its processes are gone."""
        ended = threading.Event()
        stopped: list[bool] = []

        def act() -> None:
            try:
                stopped.append(self._stop(task))
            finally:
                ended.set()

        self._events.put(act)
        while not ended.wait(1.0):
            if not self._thread.is_alive():
                return False
        return bool(stopped and stopped[0])

    def close(self, cancel: bool = False) -> None:
        """Accept no more tasks; the thread ends when it has settled the accepted ones, or with `cancel` those that have begun."""
        dropped: list[Task] = []
        with self._lock:
            self._closing = True
            if cancel:
                for group in self._groups.values():
                    dropped += group.waiting
                    group.waiting.clear()
        for task in dropped:
            task.discard()
        self.wake()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    # --- the thread

    def _run(self) -> None:
        try:
            while True:
                self._launch()
                if self._closing and not self._is_busy():
                    break
                self._attend(self._engine.interval if self._tasks else None)
                if self._tasks:
                    self._look()
        except BaseException as error:
            _LOGGER.exception("the thread of the %s executor ended", self._engine.name)
            self._abandon(error)
        finally:
            for act in reversed(self._at_end):
                with suppress(OSError):
                    act()

    def _is_busy(self) -> bool:
        with self._lock:
            return any(group.waiting for group in self._groups.values()) or not self._tasks.keys() <= self._foreign

    def _attend(self, seconds: float | None) -> None:
        """Wait for an event, and handle all pending ones."""
        try:
            act = self._events.get(timeout=seconds)
        except Empty:
            return
        while True:
            if act is not None:
                act()
            try:
                act = self._events.get_nowait()
            except Empty:
                return

    def _launch(self) -> None:
        for group in list(self._groups.values()):
            if not group.waiting:
                continue
            # checking a store needs no slot
            room = len(group.waiting) if group.place is not None else self._engine.room(group.resources, self._tasks)
            with self._lock:
                started = {self._job(group, tasks): tasks for tasks in group.take(room, self._engine.slots)}
            if started:
                self._start(started)

    def _job(self, group: Group, tasks: list[Task]) -> Job:
        request = written(self._settings._replace(calls=[task.parts for task in tasks]))
        modules = {task.module for task in tasks if task.module.startswith("persistable.")}
        job = Job(f"job-{uuid4().hex[:12]}", group.resources, request, [task.identity for task in tasks], modules, group.place)
        for task in tasks:
            task.job = job
        return job

    def _start(self, started: dict[Job, list[Task]]) -> None:
        try:
            self._engine.launch(list(started))
        except Exception as error:  # noqa: BLE001 - errors of the engine, which refuses jobs or is unavailable
            for tasks in started.values():
                self._settle((task, None, portable(error)) for task in tasks)
            return
        for job, tasks in started.items():
            self._tasks[job] = dict(enumerate(tasks))
            self._moved[job] = time.monotonic()

    def _look(self) -> None:
        for report in self._reports(list(self._tasks)):
            self._take(report)
        if any(group.waiting for group in self._groups.values()):
            return
        for job, tasks in self._tasks.items():
            if len(tasks) > 1 and time.monotonic() - self._moved.get(job, 0.0) > _LATE and self._engine.room(job.resources, self._tasks):
                self._moved[job] = time.monotonic()
                self._take_back(job)

    def _reports(self, jobs: Collection[Job]) -> Iterator[Report]:
        """Return the new reports of these jobs. If reading fails, it is retried at the next poll, for a while."""
        try:
            yield from self._engine.poll(jobs)
            self._troubled = None
        except OSError as error:
            if self._troubled is None:
                self._troubled = time.monotonic()
                _LOGGER.warning("jobs of the %s executor cannot be looked at, which is tried again: %s", self._engine.name, error)
            if time.monotonic() - self._troubled > _PATIENCE:
                raise

    def _take(self, report: Report) -> None:
        job, tasks = report.job, self._tasks.get(report.job)
        if tasks is None:
            return
        for answer in report.answers:
            if answer.number == NOTE:
                notes.deliver(answer.parts[0])
                continue
            self._moved[job] = time.monotonic()
            if answer.number == REFUSED:
                self._settle((task, *unpacked(False, answer.parts)) for task in self._all_of(job))
            else:
                self._answer(job, answer)
        if report.ended:
            self._end(report)
        elif report.began and tasks:
            next(iter(tasks.values())).begin()

    def _answer(self, job: Job, answer: Answer) -> None:
        with self._lock:
            job.open.discard(answer.number)
            task = self._tasks[job].pop(answer.number, None)
            self._adopted.pop(job.identities[answer.number] or "", None)
        if task is None:
            return
        task.group.observe(answer.seconds)
        if task.stopping:  # a call may return because its child processes were ended before it
            self._settle([(task, None, stopped_error(task.name))])
        else:
            self._settle([(task, *unpacked(answer.went_well, answer.parts))])

    def _end(self, report: Report) -> None:
        """Queue the calls again that an ended job had not begun, and fail those that it had begun and not answered."""
        job = report.job
        if self._tasks[job] and report.error is None:
            self._take_back(job)
        with self._lock:
            tasks = list(self._tasks.pop(job).values())
            self._foreign.discard(job)
            for number in job.open:
                self._adopted.pop(job.identities[number] or "", None)
        self._moved.pop(job, None)
        self._settle((task, None, stopped_error(task.name) if task.stopping else report.error or _died(task, report)) for task in tasks)
        if report.output:
            sys.stderr.write(report.output)
        self._engine.forget(job)

    def _all_of(self, job: Job) -> list[Task]:
        with self._lock:
            tasks = list(self._tasks[job].values())
            self._tasks[job].clear()
            job.open.clear()
        return tasks

    def _take_back(self, job: Job) -> None:
        """Put the tasks that a job has not begun back to the front of the queue."""
        back = self._engine.withdraw(job, list(self._tasks[job]))
        with self._lock:
            for index in sorted(back, reverse=True):
                task = self._tasks[job].pop(index)
                task.job = None
                task.group.waiting.appendleft(task)
        job.open.difference_update(back)
        if not job.open:
            self._engine.kill([job])  # it may wait in a queue without any calls left

    def _stop(self, task: Task) -> bool:
        job = task.job
        if task.done() or job is None:
            return self.withdraw(task) and task.discard()
        self._take_back(job)  # no other task may begin on a worker that will be killed
        if task.job is None:
            return self.withdraw(task) and task.discard()
        held = self._tasks[job]
        last = max(held) if held else -1
        if held.get(last) is not task:  # a later one has begun, so this one has ended, and its answer will arrive
            self._await_end(job, task)
            return task.is_stopped
        for report in self._reports([job]):  # a call answered by now has ended by itself
            self._take(report)
        if task.done():
            return task.is_stopped
        task.stopping = True
        self._engine.kill([job])
        self._await_end(job, task)
        if self.withdraw(task):  # its job ended before beginning it
            return task.discard()
        return task.is_stopped

    def _await_end(self, job: Job, task: Task) -> None:
        """Take the answers of `job` until `task` has its outcome: an engine may report it a while after the processes are gone."""
        end = time.monotonic() + _LASTING
        while not task.done() and time.monotonic() < end:
            for report in self._reports([job]):
                self._take(report)
            if not task.done():
                time.sleep(0.02)

    def _settle(self, outcomes: Iterable[tuple[Task, object, BaseException | None]]) -> None:
        for task, result, error in outcomes:
            task.job = None
            task.finish(result, error)

    def _abandon(self, error: BaseException) -> None:
        with self._lock:
            self._closing = True
            left = [task for tasks in self._tasks.values() for task in tasks.values()]
            for group in self._groups.values():
                left += group.waiting
                group.waiting.clear()
            self._tasks.clear()
        self._settle((task, None, portable(error)) for task in left)


def _died(task: Task, report: Report) -> WorkerDied:
    how = "ended without an answer" if report.exitcode is None else how_ended(report.exitcode)
    reason = f" ({report.reason})" if report.reason else ""
    output = f"; the end of its output:\n{report.output.rstrip()}" if report.output.strip() else ""
    return WorkerDied(f"{report.job.name} {how}{reason} while it ran {task.name}{output}", exitcode=report.exitcode)
