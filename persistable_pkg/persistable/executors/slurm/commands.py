"""Slurm's commands, as far as they are needed: none that queries the accounting database, which is optional."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from persistable.errors import ExecutorUnavailable

_SECONDS = 60.0
ENDED = frozenset(
    {
        "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "REVOKED", "TIMEOUT",
    }
)  # fmt: skip
"""Final states of a job. A preempted one is put back into the queue, or ends as cancelled."""
WAITING = frozenset({"CONFIGURING", "PENDING", "PREEMPTED", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"})


class Element(NamedTuple):
    """An element of an array: the name of the array's job, its position, job number, state, and the reason of the state."""

    name: str
    position: int
    number: str
    state: str
    reason: str


class Node(NamedTuple):
    """CPUs, megabytes and GPUs of a node."""

    cpus: int
    memory: int
    gpus: int


class Slurm:
    """The cluster that the commands on the path submit to. Raises ExecutorUnavailable if a command fails."""

    def submit(self, script: str, options: Sequence[str]) -> str:
        """Submit a script, and return its job number."""
        return self._run("sbatch", "--parsable", *options, text=script).strip().partition(";")[0]

    def elements(self) -> Iterator[Element]:
        """Return the elements of this user's arrays, including those that ended a few minutes ago at most."""
        for line in self._run("squeue", "--me", "--noheader", "--array", "--states=all", "--format=%j|%K|%i|%T|%r").splitlines():
            name, position, number, state, reason = line.strip().split("|", 4)
            if position.isdecimal():
                yield Element(name, int(position), number, state, reason)

    def status(self, number: str) -> tuple[int | None, str]:
        """Return the exit status of a job that has ended, or minus the number of the signal that ended it; and its state."""
        try:
            shown = self._run("scontrol", "--oneliner", "show", "job", number)
        except ExecutorUnavailable:  # Slurm has forgotten it
            return None, ""
        state = re.search(r"JobState=(\S+)", shown)
        code = re.search(r" ExitCode=(\d+):(\d+)", shown)
        status = None if code is None else -int(code[2]) if int(code[2]) else int(code[1])
        return status, state[1] if state else ""

    def cancel(self, numbers: Sequence[str], *, kill: bool = False) -> None:
        """End jobs, by SIGTERM and after the cluster's KillWait by SIGKILL, or with `kill` immediately."""
        if numbers:
            self._run("scancel", *(["--signal=KILL", "--full"] if kill else []), *numbers)

    def nodes(self, partition: str | None) -> list[Node]:
        """Return the nodes of a partition, by default the cluster's default."""
        chosen = [f"--partition={partition}"] if partition else []
        found: list[Node] = []
        for line in self._run("sinfo", "--noheader", "--Node", "--format=%c|%m|%G|%P", *chosen).splitlines():
            cpus, memory, gres, name = line.strip().split("|")
            if partition or name.endswith("*"):
                found.append(Node(int(cpus), int(memory), sum(int(count) for count in re.findall(r"gpu(?::[^:,(]+)?:(\d+)", gres))))
        return found

    def array_size(self) -> int:
        """Return the number of elements that an array may have."""
        found = re.search(r"MaxArraySize\s*=\s*(\d+)", self._run("scontrol", "show", "config"))
        return int(found[1]) if found else 1001

    def _run(self, program: str, *words: str, text: str = "") -> str:
        if shutil.which(program) is None:
            raise _unavailable(f"there is no {program} on the path: run this where Slurm's commands are, such as a login node")
        try:
            done = subprocess.run([program, *words], input=text, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise _unavailable(f"{program} did not answer within {_SECONDS:g} s") from error
        if done.returncode:
            raise _unavailable(f"{program} says: {done.stderr.strip() or f'exit status {done.returncode}'}")
        return done.stdout


def options(given: Mapping[str, object]) -> list[str]:
    """Return keywords as options of sbatch: ``gpus_per_node=1`` is ``--gpus-per-node=1``, and True an option without a value."""
    found: list[str] = []
    for name, value in given.items():
        word = f"--{name.replace('_', '-')}"
        if value is True:
            found.append(word)
        elif value is not None and value is not False:
            found.append(f"{word}={value}")
    return found


def _unavailable(text: str) -> ExecutorUnavailable:
    return ExecutorUnavailable(f"no job can be sent to Slurm: {text}", key=None, executor="slurm", place="slurm")
