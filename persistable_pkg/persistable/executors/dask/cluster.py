"""A Dask cluster on this machine, on which a process that dies fails only the task that it was performing.

Its workers are supervised here. `LocalCluster` starts them as copies of this program, which runs a script without a guard again, or under a
nanny process each, which gives up on a worker that dies while it registers, and does not report how a worker ended."""

# distributed is only partly typed, so pyright finds unknown types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from distributed import Worker, get_worker
from distributed.deploy.spec import ProcessInterface, SpecCluster

from persistable.errors import WorkerDied
from persistable.executors import calls, notes
from persistable.executors.calls import Parts
from persistable.executors.outcomes import how_ended

_NEVER = 1_000_000

Answer = tuple[bool, list[bytes]]
"""True and the packed result of a call, or False and its packed error."""


def start(workers: int) -> Any:
    """Start a scheduler in this process and `workers` processes of one thread each, all on 127.0.0.1 and on ports of their own.

    Workers are started as programs, not as copies of this one: a script needs no ``if __name__ == "__main__"``. They are in sessions of
    their own, so that Ctrl-C only reaches this process; they exit when this process is gone.
    """
    scheduler = {
        "cls": "distributed.Scheduler",
        # a dashboard address of None would mean port 8787, one without a host all interfaces
        "options": {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0", "allowed_failures": _NEVER},
    }
    spec = {number: {"cls": _Process, "options": {}} for number in range(workers)}
    cluster: Any = SpecCluster
    return cluster(workers=spec, scheduler=scheduler, name="persistable", silence_logs=logging.CRITICAL)


class _Process(ProcessInterface):
    """Supervisor of one worker process: when it dies, the next is started. `close` kills it and the processes of its tasks.

    Dask's own nanny gives up on a worker that dies while it registers, which a task waiting for it can cause.
    """

    def __init__(self, scheduler: str, name: object) -> None:
        super().__init__(scheduler=scheduler, name=name)  # type: ignore[no-untyped-call]
        # -P: a dask.py in the current folder must not be imported
        self._command = [sys.executable, "-P", "-m", "persistable.executors.dask.cluster", scheduler]
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep())
        await super().start()  # type: ignore[no-untyped-call]

    async def _keep(self) -> None:
        path = os.pathsep.join(part for part in sys.path if part)
        environment = {**os.environ, "PYTHONPATH": path, "DASK_LOGGING__DISTRIBUTED": "critical"}
        while True:
            process = self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.DEVNULL, env=environment, start_new_session=True
            )
            exits[process.pid] = await process.wait()
            _kill(process.pid)
            await asyncio.sleep(0.1)

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._process is not None:
            _kill(self._process.pid)
            await self._process.wait()
        await super().close()  # type: ignore[no-untyped-call]


exits: dict[int, int] = {}
"""Exit codes of worker processes that have ended, by process id."""


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def exit_status(entry: str) -> int | None:
    """Return the exit status of the worker that wrote this entry, see `perform`; None if it is not known."""
    try:
        pid = int(Path(entry).read_text())
    except (OSError, ValueError):
        return None
    deadline = time.monotonic() + 2  # the next worker may find the entry before the end of the last one has been noticed
    while pid not in exits and time.monotonic() < deadline:
        time.sleep(0.01)
    return exits.get(pid)


async def _serve(scheduler: str) -> None:
    worker: Any = Worker
    options = {"host": "127.0.0.1", "nthreads": 1, "memory_limit": 0, "death_timeout": 60, "dashboard": False}
    async with worker(scheduler, **options) as served:
        await served.finished()


# ------------------------------------------------------------------ the worker's side


def perform(work: Parts | str, entry: str | None) -> Answer:
    """Perform the packed call `work`, which may be the path of a pickle of it; see `calls.perform`.

    Dask runs a task again if its worker dies before the answer was fetched. `entry`, a path on this machine, exists while the task is
    performed: a task that finds it has crashed its process before, and fails with WorkerDied.
    """
    if entry is not None:
        try:
            with open(entry, "x", encoding="ascii") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            return False, calls.to_bytes(calls.pack((died(), None)))
    with notes.use_sender(notes.Sender(partial(_note, get_worker()))):
        found = calls.perform_to_bytes(pickle.loads(Path(work).read_bytes()) if isinstance(work, str) else work)
    if entry is not None:
        os.unlink(entry)
    return found


TOPIC = "persistable-notes"
"""The topic of Dask's events that notes are logged under."""


def _note(worker: Any, data: bytes) -> bool:
    worker.log_event(TOPIC, data)
    return True


def died(exitcode: int | None = None) -> WorkerDied:
    """Return the error for a task that crashed its process."""
    how = "is gone" if exitcode is None else how_ended(exitcode)
    return WorkerDied(f"the Dask worker process that did the work {how}; what it wrote to standard error may say why", exitcode=exitcode)


if __name__ == "__main__":
    try:
        asyncio.run(_serve(sys.argv[1]))
    finally:
        os._exit(0)  # not to wait for a task that is still running when the scheduler is gone
