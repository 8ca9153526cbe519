"""Tiny tasks on hosts behind SSH and on Slurm: what a task costs besides its work."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from harness import HERE, LIMIT, OURS, PEER, Goal, Job, Line, Skip

SSH = Line(
    name="tasks-ssh",
    title="tiny tasks over SSH, per task",
    loop="all tasks handed over and all results taken, divided by their number; one host on loopback, two at a time, connected before",
    sizes=(1, 20, 200),
    sizes_quick=(1, 20),
    size_label=lambda size: f"{size:,} tasks",
    rounds=5,
    per_item=True,
    goals=(Goal("one task: <= 1 x a command of its own", 1.0, "limit"),),
    slope_of="tasks",
)
SLURM = Line(
    name="tasks-slurm",
    title="tiny tasks on Slurm, per task",
    loop="all tasks handed over and all results taken, divided by their number; a cluster of one node with two CPUs",
    sizes=(1, 8, 32),
    sizes_quick=(1, 8),
    size_label=lambda size: f"{size:,} tasks",
    rounds=3,
    per_item=True,
    goals=(Goal("<= 1 x submitit", 1.0, "submitit"),),
    slope_of="tasks",
)
LINES = [SSH, SLURM]


def _entered(server: AbstractContextManager[Any]) -> Any:
    """A server that ends with this process."""
    found = server.__enter__()
    atexit.register(server.__exit__, None, None, None)
    return found


def _tests() -> None:
    """Have the servers of the tests on the path, and what a server cannot be started without."""
    if os.geteuid() != 0:
        raise Skip("the servers are started by root only")
    sys.path.insert(0, str(HERE.parent / "tests"))


def _sshd(folder: str) -> Any:
    _tests()
    from servers.fixtures import running_sshd

    if not os.path.exists("/usr/sbin/sshd"):
        raise Skip("no sshd is installed")
    home = Path(folder, "sshd")
    home.mkdir()
    return _entered(running_sshd(home))


def _cluster() -> Path:
    _tests()
    from servers.slurm import running_slurm

    if not os.path.exists("/usr/sbin/slurmctld"):
        raise Skip("no Slurm is installed")
    return Path(_entered(running_slurm()))


def _all(submit: Callable[..., Any], size: int) -> Callable[[], object]:
    from lines.tiny import plain

    def operation() -> None:
        for future in [submit(plain, n) for n in range(size)]:
            future.result()

    operation()
    return operation


@SSH.add("asyncssh", "connection.run('python -c pass'), two at a time on one connection", LIMIT, rounds=2)
def bare_ssh(job: Job) -> Any:
    import asyncio

    import asyncssh

    server = _sshd(job.folder)
    loop = asyncio.new_event_loop()
    connecting = asyncssh.connect(
        "127.0.0.1", server.port, username=server.user, client_keys=[str(server.key)], known_hosts=str(server.known_hosts)
    )

    async def connected() -> Any:
        return await connecting

    connection = loop.run_until_complete(connected())

    async def operation() -> None:
        places = asyncio.Semaphore(2)

        async def one() -> None:
            async with places:
                await connection.run(f"{sys.executable} -c pass", check=True)

        await asyncio.gather(*(one() for _ in range(job.size)))

    return lambda: loop.run_until_complete(operation()), lambda: None


@SSH.add("persistable", "SSHExecutor.submit(f, n), one by one", OURS)
def ours_ssh(job: Job) -> Any:
    from persistable.executors import SSHExecutor

    server = _sshd(job.folder)
    executor = SSHExecutor(server.place, path=[str(HERE)], **server.options)
    return _all(executor.submit, job.size), lambda: None


@SLURM.add("submitit", "AutoExecutor.submit(f, n) in one batch, which is an array, and result() of each", PEER)
def submitit_array(job: Job) -> Any:
    import warnings

    import submitit

    from lines.tiny import plain

    os.environ["PYTHONPATH"] = str(HERE)
    warnings.simplefilter("ignore")  # no sacct, at each look
    executor = submitit.AutoExecutor(folder=_cluster() / "submitit", cluster="slurm")
    executor.update_parameters(timeout_min=5, cpus_per_task=1)

    def operation() -> None:
        with executor.batch():
            pending = [executor.submit(plain, n) for n in range(job.size)]
        for each in pending:
            each.result()

    return operation, lambda: None


@SLURM.add("persistable", "SlurmExecutor.submit(f, n), one by one", OURS)
def ours_slurm(job: Job) -> Any:
    from persistable.executors import SlurmExecutor

    executor = SlurmExecutor(_cluster() / "jobs", path=[str(HERE)])
    return _all(executor.submit, job.size), lambda: None
