"""A Slurm cluster as an engine: jobs are elements of arrays, and their files are in a folder that all nodes share."""

from __future__ import annotations

import logging
import math
import re
import shlex
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, NamedTuple
from uuid import uuid4

from persistable.errors import ExecutorUnavailable
from persistable.executors.remote.engine import Engine, Job, Report
from persistable.executors.remote.folders import JobFolders, Owner, tail
from persistable.executors.remote.request import NOTE, REFUSED, Answer
from persistable.executors.resources import Resources, check_offers
from persistable.executors.slurm.commands import ENDED, WAITING, Element, Node, Slurm, options

_LOGGER = logging.getLogger("persistable")
_PLACE = "place"
_OUTPUT = "out"
_LOOKED = "looked"
_GRACE = 2.0  # seconds between SIGTERM and SIGKILL
_PATIENCE = 60.0  # seconds for a killed job to be gone
_SPARE = 60.0  # seconds that Slurm gives a job beyond its time, which the run enforces
_NEXT, _MOST = 0.5, 15.0  # seconds until the queue is polled again: more, the longer nothing is new
_SETTLED = 1.0  # seconds after which an ended state counts as final
_UNKNOWN = 10.0  # seconds after which a job missing from the queue counts as gone
_STUCK = re.compile("held|Partition(Down|Inactive|TimeLimit|NodeLimit)|BadConstraints|Invalid|NotAllowed|NeverSatisfied", re.IGNORECASE)
"""Slurm's reasons for which a job waits until a user intervenes."""
_NAMED = 5  # maximum number of jobs that a warning names
_SCRIPT = """#!/bin/sh
set -- {jobs}
shift "$SLURM_ARRAY_TASK_ID"
exec {python} -m persistable.executors.remote {folder}/"$1"
"""


class Place(NamedTuple):
    """The array of a job, and its position there."""

    name: str
    position: int


class SlurmEngine(Engine):
    """Jobs of the cluster that Slurm's commands here submit to. folder: shared by all nodes. limit: of jobs in flight; None for the number
    of CPUs of the partition. given: options of sbatch.
    """

    name: ClassVar[str] = "slurm"
    overhead: ClassVar[float] = 1.0
    interval: ClassVar[float] = 0.2

    def __init__(
        self, folder: Path, limit: int | None, python: str, path: Sequence[str], partition: str | None, given: Mapping[str, object]
    ) -> None:
        self._root = folder
        self._limit = limit
        self._python = python
        self._path = path
        self._partition = partition
        self._options = options({"requeue": True, **given, "partition": partition})
        self._slurm = Slurm()
        self._nodes: list[Node] = []
        self._array = 1001
        self._folders: JobFolders | None = None
        self._queue: dict[Place, Element] = {}
        self._gone: dict[Job, float] = {}
        self._stuck: set[str] = set()
        self._asked = self._seen = -math.inf
        self._moved = time.monotonic()

    def open(self, wake: Callable[[], None]) -> None:
        self._nodes = self._slurm.nodes(self._partition)
        if not self._nodes:
            raise ExecutorUnavailable("Slurm has no node in this partition", key=None, executor=self.name, place=self._partition or "slurm")
        self._array = self._slurm.array_size()
        try:
            self._folders = JobFolders(self._root, f"driver-{uuid4().hex[:12]}", Owner.here())
        except OSError as error:
            text = f"no job can be put into {self._root}: {error}"
            raise ExecutorUnavailable(text, key=None, executor=self.name, place=str(self._root)) from error

    @property
    def slots(self) -> int:
        return self._limit or sum(node.cpus for node in self._nodes)

    def check(self, resources: Resources) -> None:
        wanted = {name: math.ceil(amount) for name, amount in resources.amounts.items()}
        offers = [{"cpus": node.cpus, "memory": node.memory << 20, "gpus": node.gpus} for node in self._nodes]
        check_offers(wanted, offers, "node of the partition", "name another partition")

    def launch(self, jobs: Sequence[Job]) -> None:
        for start in range(0, len(jobs), self._array):
            self._submit(jobs[start : start + self._array])

    def _submit(self, jobs: Sequence[Job]) -> None:
        array = f"persistable-{uuid4().hex[:12]}"
        try:
            for position, job in enumerate(jobs):
                job.place = Place(array, position)
                self._jobs.make(job.name, job.request, job.identities)
                (self._jobs.folder(job.name) / _PLACE).write_text(f"{array} {position}")
            self._slurm.submit(self._script(jobs), self._submission(array, jobs))
        except (OSError, ExecutorUnavailable):
            for job in jobs:
                self._jobs.remove(job.name)
            raise
        self._moved, self._asked = time.monotonic(), -math.inf

    def _script(self, jobs: Sequence[Job]) -> str:
        python = f"env PYTHONPATH={shlex.quote(':'.join(self._path))} {self._python}" if self._path else self._python
        folder = f"{self._root}/jobs"
        return _SCRIPT.format(jobs=" ".join(job.name for job in jobs), python=python, folder=shlex.quote(folder))

    def _submission(self, array: str, jobs: Sequence[Job]) -> list[str]:
        resources = jobs[0].resources or Resources()
        memory = None if resources.memory is None else f"{math.ceil(resources.memory / (1 << 20))}M"
        minutes = None if resources.time is None else math.ceil((resources.time + _SPARE) / 60)
        gpus = math.ceil(resources.gpus) or None
        asked = {"cpus_per_task": math.ceil(resources.cpus) or 1, "mem": memory, "time": minutes, "gpus_per_node": gpus}
        output = f"{str(self._root).replace('%', '%%')}/{array}.%a.{_OUTPUT}"  # see `_output`
        own = {"job_name": array, "array": f"0-{len(jobs) - 1}", "open_mode": "append", "output": output}
        return [*self._options, *options({**asked, **own, "nodes": 1, "ntasks": 1})]

    # --- following

    def poll(self, jobs: Collection[Job]) -> Iterable[Report]:
        if self._ask():
            self._warn_of_stuck(jobs)
        for job in jobs:
            answers, began = self._jobs.answers(job.name)
            if any(answer.number != NOTE for answer in answers):
                self._moved = time.monotonic()
            if job.open <= {answer.number for answer in answers} or any(answer.number == REFUSED for answer in answers):
                yield Report(job, answers, True, True, output=self._printed(job))
                continue
            element = self._queue.get(_place(job))
            if self._is_gone(job, element):
                yield self._end(job, element, answers)
            else:
                yield Report(job, answers, began and (element is None or element.state not in WAITING))

    def _ask(self, pause: float | None = None) -> bool:
        """Read the queue, unless it was read a moment ago. Tell whether it was read now."""
        now = time.monotonic()
        if now - self._asked < (min(_MOST, max(_NEXT, (now - self._moved) / 10)) if pause is None else pause):
            return False
        self._asked = now
        with suppress(ExecutorUnavailable):  # the controller is restarting, or busy: the last queue is used
            self._queue = {Place(element.name, element.position): element for element in self._slurm.elements()}
            self._seen = now
        return self._seen == now

    def _warn_of_stuck(self, jobs: Collection[Job]) -> None:
        """Warn, once for each, of jobs that Slurm does not begin unless a user intervenes."""
        found = [self._queue.get(_place(job)) for job in jobs]
        stuck = {each.number: each.reason for each in found if each is not None and each.state in WAITING and _STUCK.search(each.reason)}
        new = [number for number in stuck if number not in self._stuck]
        self._stuck = set(stuck)
        if new:
            _LOGGER.warning(
                "Slurm does not begin %s, and will not by itself: `scontrol release NUMBER` has it begin a job that is held, and "
                "`scancel NUMBER` gives one up",
                ", ".join(f"job {number} ({stuck[number]})" for number in new[:_NAMED]) + (", ..." if len(new) > _NAMED else ""),
            )

    def _is_gone(self, job: Job, element: Element | None) -> bool:
        """Tell whether a job has ended. Its last answers may arrive somewhat later.

        A job counts as missing only after several reads of the queue: the last one may be from before it was submitted.
        """
        if element is not None and element.state not in ENDED:
            self._gone.pop(job, None)
            return False
        since = self._gone.setdefault(job, time.monotonic())
        return self._seen - since > _UNKNOWN if element is None else time.monotonic() - since > _SETTLED

    def _end(self, job: Job, element: Element | None, answers: list[Answer]) -> Report:
        folder = self._jobs.folder(job.name)
        (folder / _LOOKED).touch()  # a change makes network file systems refresh the folder
        more, _ = self._jobs.answers(job.name)
        code, state = self._slurm.status(element.number) if element is not None else (None, "")
        reason = f"Slurm job {element.number}: {state or element.state}" if element is not None else "Slurm does not know its job any more"
        return Report(job, [*answers, *more], True, True, code, reason, self._printed(job))

    def withdraw(self, job: Job, numbers: Sequence[int]) -> Collection[int]:
        return self._jobs.withdraw(job.name, numbers)

    def kill(self, jobs: Sequence[Job]) -> None:
        begun, steps = time.monotonic(), [False, True]  # first SIGTERM, then SIGKILL
        left: list[str] = []
        while not self._ask(0.0) or (left := self._numbers(jobs)):
            passed = time.monotonic() - begun
            if passed > _PATIENCE:
                _LOGGER.warning("Slurm has not ended %s within %g s; what else there is goes on", ", ".join(left) or "jobs", _PATIENCE)
                break
            if left and steps and passed >= (_GRACE if steps[0] else 0):
                with suppress(ExecutorUnavailable):  # they are being ended; or the controller is restarting, then it is retried
                    self._slurm.cancel(left, kill=steps[0])
                    steps.pop(0)
            time.sleep(0.1)
        self._gone.update(dict.fromkeys(jobs, -math.inf))

    def _numbers(self, jobs: Sequence[Job]) -> list[str]:
        """Return the job numbers of those that had not ended when the queue was read."""
        found = [self._queue.get(_place(job)) for job in jobs]
        return [element.number for element in found if element is not None and element.state not in ENDED]

    def forget(self, job: Job) -> None:
        self._jobs.remove(job.name)
        self._gone.pop(job, None)
        Path(self._output(*_place(job))).unlink(missing_ok=True)

    def adopt(self) -> Iterable[Job]:
        gone = [orphan.name for orphan in self._jobs.orphans() if orphan.is_gone()]
        if not self._ask(0.0):
            return  # it is not known which of them run
        places: dict[str, Place] = {}

        def has_ended(folder: Path) -> bool:
            try:
                name, position = (folder / _PLACE).read_text().split()
            except (OSError, ValueError):
                return True
            places[folder.name] = Place(name, int(position))
            element = self._queue.get(places[folder.name])
            return element is None or element.state in ENDED

        for name, identities, answered in self._jobs.adopt(gone, has_ended):
            job = Job(name, None, b"", identities, place=places[name])
            job.open.difference_update(answered)
            yield job

    def close(self) -> None:
        if self._folders is not None:
            self._folders.close()

    def _output(self, array: str, position: int) -> str:
        """Return the file of an element's output, and of Slurm's messages about it."""
        return f"{self._root}/{array}.{position}.{_OUTPUT}"

    def _printed(self, job: Job) -> str:
        text = tail(Path(self._output(*_place(job))))
        was_killed = self._gone.get(job) == -math.inf
        return "".join(line for line in text.splitlines(True) if not (was_killed and line.startswith("slurmstepd")))

    @property
    def _jobs(self) -> JobFolders:
        assert self._folders is not None
        return self._folders


def _place(job: Job) -> Place:
    assert isinstance(job.place, Place)
    return job.place
