"""The executor for a Slurm cluster."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from persistable.executors.remote.executor import RemoteExecutor
from persistable.executors.remote.request import Request
from persistable.executors.slurm.engine import SlurmEngine


class SlurmExecutor(RemoteExecutor):
    """Tasks as jobs of a Slurm cluster, submitted by its commands, which must be on the path here. Needs no accounting database there.

    folder: for the files of jobs, on a file system that all nodes share; only its owner can read it. max_jobs: maximum number in the queue;
    by default the number of CPUs of the partition. partition, and options of sbatch, such as ``account="physics"`` or
    ``options={"constraint": "haswell"}``. python: command that runs the interpreter there; by default the path of this one. path: folders
    from which modules are imported besides installed ones. environment: variables for the tasks, besides those of this process.

    `Resources` become those of a job: CPUs, memory, GPUs, and the time with a minute to spare, since the run stops overdue ones. Jobs that
    are preempted, or whose node fails, are put back into the queue and resume where they stopped.
    """

    name: ClassVar[str] = "slurm"

    def __init__(
        self,
        folder: str | os.PathLike[str] = ".persistable/slurm",
        *,
        max_jobs: int | None = None,
        partition: str | None = None,
        account: str | None = None,
        python: str | None = None,
        path: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> None:
        if max_jobs is not None and max_jobs < 1:
            raise ValueError(f"max_jobs is {max_jobs}; give 1 or more")
        self._folder = Path(folder).expanduser().absolute()
        given = {"account": account, **(options or {})}
        engine = SlurmEngine(self._folder, max_jobs, python or shlex.quote(sys.executable), path, partition, given)
        super().__init__(engine, Request((), path, dict(environment or {})))

    def __repr__(self) -> str:
        return f"SlurmExecutor({str(self._folder)!r})"
