"""Worker processes of a host: started so that they outlive the connection, ended with their child processes, their exit status recorded.

A supervisor waits for each worker and records its exit status, since the process that started it may be gone by then. It leads a session,
in which the worker leads a process group of its own.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from persistable.executors.machine import await_group
from persistable.params.process_identity import started

PROCESS = "process"
ENDED = "ended"
OUTPUT = "output"
_GRACE = 0.5  # seconds between SIGTERM and SIGKILL
_PATIENCE = 20.0  # seconds for a process that was killed to be gone


class BecomeWorker(BaseException):
    """Raised in a new worker process, to unwind the stack of its parent. `folder`: of its job."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder


class Supervised(NamedTuple):
    """A worker and its supervisor; its process id is only valid if that process began at `start`."""

    supervisor: int
    start: str
    worker: int

    @property
    def lives(self) -> bool:
        """Tell whether the supervisor has not ended."""
        return started(self.supervisor) == self.start


def start(folder: Path) -> None:
    """Start the worker of the job in `folder`, and return when its processes are recorded there. Raises OSError if none can be started.

    Only for a process without threads, since it is forked twice. Raises BecomeWorker in the worker.
    """
    reader, writer = os.pipe()
    supervisor = os.fork()
    if supervisor == 0:
        _supervise(folder, writer)
    os.close(writer)
    try:
        ready = os.read(reader, 1)
    finally:
        os.close(reader)
    if not ready:
        os.waitpid(supervisor, 0)
        raise OSError(f"no worker process could be started for {folder}")


def of(folder: Path) -> Supervised | None:
    """Read the processes of the job in `folder`; None if it has not been started."""
    try:
        supervisor, begun, worker = (folder / PROCESS).read_text("ascii").split()
    except (FileNotFoundError, ValueError):
        return None
    return Supervised(int(supervisor), begun, int(worker))


def exit_status(folder: Path) -> int | None:
    """Read the exit status of the worker of the job in `folder`, or minus a signal's number; None while it runs, or if unknown."""
    try:
        return int((folder / ENDED).read_text("ascii"))
    except (FileNotFoundError, ValueError):
        return None


def has_ended(folder: Path) -> bool:
    """Tell whether the worker of the job in `folder` has ended."""
    process = of(folder)
    return process is None or exit_status(folder) is not None or not process.lives


def kill(folder: Path) -> None:
    """End the worker of the job in `folder` with its process group: by SIGTERM, after a grace by SIGKILL. Returns when it is gone."""
    process = of(folder)
    if process is None:
        return
    if not has_ended(folder):
        _signal(process.worker, signal.SIGTERM)
        _signal(process.worker, signal.SIGCONT)
        _await(process, _GRACE)
    if not has_ended(folder):
        _signal(process.worker, signal.SIGKILL)
        _await(process, _PATIENCE)


def _await(process: Supervised, seconds: float) -> None:
    """Wait until the supervisor has ended, but no longer than `seconds`."""
    try:
        descriptor = os.pidfd_open(process.supervisor)
    except OSError:
        return
    try:
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        end = time.monotonic() + seconds
        while process.lives and time.monotonic() < end:
            waiting.poll(max(0.0, end - time.monotonic()) * 1000)
            with suppress(ChildProcessError):
                os.waitpid(process.supervisor, os.WNOHANG)
    finally:
        os.close(descriptor)


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _supervise(folder: Path, writer: int) -> None:
    """Run the supervisor. Never returns; in the worker it raises BecomeWorker."""
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        _redirect(folder, writer)
        worker = os.fork()
    except BaseException:  # noqa: BLE001 - after any error, this copy of the process must end
        os._exit(1)
    if worker == 0:
        os.close(writer)
        os.setpgid(0, 0)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise BecomeWorker(folder)
    try:
        with suppress(OSError):  # the worker may have done so itself
            os.setpgid(worker, worker)
        me = os.getpid()
        _write(folder / PROCESS, f"{me} {started(me)} {worker}")
        os.write(writer, b"x")
        os.close(writer)
        status = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        _signal(worker, signal.SIGKILL)  # its remaining child processes
        await_group(worker, _PATIENCE / 2)
        with suppress(FileNotFoundError):  # the job was removed
            _write(folder / ENDED, str(status))
    finally:
        os._exit(0)


def _redirect(folder: Path, writer: int) -> None:
    """Redirect output to the file of the job, and close all descriptors but `writer`, so that the connection can close."""
    output = os.open(folder / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, writer)
    os.closerange(writer + 1, 1 << 16)


def _write(file: Path, text: str) -> None:
    half = file.with_name(f".{file.name}.{os.getpid()}")
    with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as stream:
        stream.write(text)
    half.replace(file)
