"""A Dask cluster on this machine, and the begin-once rule that makes the death of one of its processes harm one task only."""

# distributed is only partly typed, so pyright may find what it does not know.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
from distributed.deploy.spec import ProcessInterface, SpecCluster

from persistable.errors import WorkerDied
from persistable.executors.base import portable, remote

_NEVER = 1_000_000


def start(workers: int) -> Any:
    """A scheduler in this process and `workers` processes of one thread each, all on 127.0.0.1 and on ports of their own.

    Workers are started as programs, not as copies of this one: a script needs no ``if __name__ == "__main__"``. They are in sessions of
    their own, so that Ctrl-C reaches only us; they leave by themselves when this process is gone.
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
    """One worker and the nanny that starts another when it dies; `close` kills both and whatever tasks have started."""

    def __init__(self, scheduler: str, name: object) -> None:
        super().__init__(scheduler=scheduler, name=name)  # type: ignore[no-untyped-call]
        options = {"name": name, "host": "127.0.0.1", "nthreads": 1, "memory_limit": 0, "death_timeout": 60, "dashboard": False}
        spec = json.dumps({"cls": "distributed.Nanny", "opts": options})
        self._command = [sys.executable, "-m", "dask", "spec", scheduler, "--spec", spec]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        path = os.pathsep.join(part for part in sys.path if part)
        environment = {**os.environ, "PYTHONPATH": path, "DASK_LOGGING__DISTRIBUTED": "critical"}
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.DEVNULL, env=environment, start_new_session=True
        )
        await super().start()  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            import psutil  # type: ignore[import-untyped]

            try:
                parent = psutil.Process(self._process.pid)
                doomed = [parent, *parent.children(recursive=True)]
            except psutil.NoSuchProcess:
                doomed = []
            for process in doomed:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    pass
            await self._process.wait()
        self._process = None
        await super().close()  # type: ignore[no-untyped-call]


# ------------------------------------------------------------------ what runs in a worker


def perform(work: bytes | str, entry: str | None) -> bytes:
    """Call what was pickled into `work` (or into the file of that name); the outcome comes back pickled, errors included.

    Dask runs a task again when its worker is gone before the outcome was fetched. With `entry`, a path on this machine, it is begun only
    once: the second time the outcome of the first is returned, or WorkerDied where there is none.
    """
    if entry is None:
        return _carry_out(work)
    try:
        os.close(os.open(entry, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return _earlier(entry)
    outcome = _carry_out(work)
    half = Path(f"{entry}.half")
    half.write_bytes(outcome)
    half.replace(f"{entry}.done")
    return outcome


def _earlier(entry: str) -> bytes:
    try:
        return Path(f"{entry}.done").read_bytes()
    except FileNotFoundError:
        return pickle.dumps((False, died()))


def died() -> WorkerDied:
    """What stands for a task that took its process down."""
    return WorkerDied(
        "the Dask worker process that did the work is gone: the task ended it, or it was killed, for want of memory for example; Dask does "
        "not tell its exit status, the end of the worker's own output may",
        exitcode=None,
    )


def _carry_out(work: bytes | str) -> bytes:
    try:
        fn, args, kwargs = pickle.loads(Path(work).read_bytes() if isinstance(work, str) else work)
        return bytes(cloudpickle.dumps((True, fn(*args, **kwargs))))
    except BaseException as error:  # noqa: BLE001 - SystemExit would end the worker, and with it the tasks that wait there
        return _failed(error)


def _failed(error: BaseException) -> bytes:
    try:
        return bytes(cloudpickle.dumps((False, portable(error))))
    except Exception:  # noqa: BLE001 - an error may change its mind about being pickled
        return pickle.dumps((False, remote(error)))


def outcome_of(raw: bytes) -> tuple[bool, Any]:
    """Whether the task gave a value, and that value or the error."""
    try:
        good, found = pickle.loads(raw)
    except Exception as error:  # noqa: BLE001 - whatever somebody's result does when it is unpickled
        return False, portable(error)
    return bool(good), found
