"""Job server: one process on a host, for one connection. It starts workers, watches them, and ends with the connection; they continue.

It has no threads, so that it can be forked: a worker begins with everything that this process has imported.
"""

from __future__ import annotations

import os
import pickle
import platform
import select
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from persistable.executors import machine, thread_limits
from persistable.executors.remote import worker
from persistable.executors.remote.folders import Owner
from persistable.executors.remote.request import Versions, versions
from persistable.executors.ssh.frames import Call, Decoder, Reply, encoded
from persistable.executors.ssh.spool import Spool
from persistable.executors.ssh.supervision import BecomeWorker

SILENCE = 120.0
"""Seconds without a message of the driver after which it counts as gone."""
_SHORT, _LONG = 0.005, 0.25  # seconds between two polls of the files of jobs: more, the longer nothing is new
_CHUNK = 1 << 20
_OF_JOBS = frozenset({"withdraw", "forget", "orphans", "adopt_running"})


class Hello(NamedTuple):
    """The facts of a host: versions, CPUs, memory."""

    host: str
    versions: Versions
    cpus: int
    memory: int | None


class Server:
    """Answers the calls of one driver: of its own public methods, and of the methods of `Spool` for jobs."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads = reads
        self._writes = writes
        self._decoder = Decoder()
        self._spool: Spool | None = None
        self._descriptors: dict[int, int] = {}
        self._told_at = time.monotonic()

    def serve(self) -> None:
        """Serve until the driver is gone."""
        os.set_blocking(self._reads, False)
        last_message = time.monotonic()
        while time.monotonic() - last_message < SILENCE:
            events = self._wait()
            if any(descriptor == self._reads for descriptor, _ in events):
                try:
                    data = os.read(self._reads, _CHUNK)
                except BlockingIOError:
                    continue
                if not data:
                    return
                last_message = time.monotonic()
                for message in self._decoder.feed(data):
                    if isinstance(message, Call):
                        self._answer(message)
            self._tell()

    # --- remote methods

    def hello(self) -> Hello:
        return Hello(platform.node(), versions(), machine.cpus(), machine.memory())

    def attend(self, folder: str, name: str, owner: Owner, slots: int) -> None:
        """Attend to the jobs of a driver under a folder, `~` being the home. slots: maximum number at a time, which share the CPUs."""
        os.environ.update(thread_limits.shared(max(1, machine.cpus() // slots), {}))
        self._spool = Spool(Path(folder).expanduser(), name, owner)

    def launch(self, jobs: Sequence[tuple[str, bytes, Sequence[str | None]]], modules: Sequence[str]) -> None:
        """Start the workers of jobs. modules: those that they need, imported here once for all."""
        for module in modules:
            with suppress(Exception):  # the worker reports the error
                import_module(module)
        self._attended().launch(jobs)
        self._told_at = time.monotonic()

    def kill(self, names: Sequence[str]) -> None:
        self._attended().kill(names)
        self._tell()

    def leave(self) -> None:
        """Stop attending to the jobs."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def ping(self) -> None:
        """Note that the driver is alive."""

    # ---

    def _attended(self) -> Spool:
        if self._spool is None:
            raise OSError("the job server attends to no driver yet")
        return self._spool

    def _answer(self, call: Call) -> None:
        if call.method.startswith("_") or call.method == "serve":
            raise ValueError(f"{call.method} cannot be called")
        try:
            result = getattr(self._attended() if call.method in _OF_JOBS else self, call.method)(*call.arguments)
        except OSError as error:
            self._send(Reply(call.number, None, error))
        else:
            self._send(Reply(call.number, result))

    def _tell(self) -> None:
        """Send the new states of the jobs."""
        news = list(self._spool.news()) if self._spool is not None else []
        if news:
            self._told_at = time.monotonic()
            self._send(Reply(0, news))

    def _send(self, reply: Reply) -> None:
        data = memoryview(encoded(reply))
        while data:
            data = data[os.write(self._writes, data[:_CHUNK]) :]

    def _wait(self) -> list[tuple[int, int]]:
        """Wait for the driver, for the end of a job, or until the next poll for answers."""
        waiting = select.poll()
        waiting.register(self._reads, select.POLLIN)
        supervisors = self._spool.supervisors() if self._spool is not None else []
        for gone in self._descriptors.keys() - set(supervisors):
            os.close(self._descriptors.pop(gone))
            with suppress(ChildProcessError):
                os.waitpid(gone, os.WNOHANG)
        for pid in supervisors:
            if pid not in self._descriptors:
                with suppress(OSError):  # it has ended, which the next poll finds
                    self._descriptors[pid] = os.pidfd_open(pid)
        for descriptor in self._descriptors.values():
            waiting.register(descriptor, select.POLLIN)
        pause = min(_LONG, max(_SHORT, (time.monotonic() - self._told_at) / 10))
        return waiting.poll((pause if supervisors else SILENCE / 4) * 1000)


def main() -> int:
    """Serve on standard input and output, and return the exit status."""
    server = Server(os.dup(0), os.dup(1))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)  # prints must not reach the connection
    try:
        server.serve()
        server.leave()
    except (BrokenPipeError, ConnectionResetError, pickle.UnpicklingError):
        server.leave()
    except BecomeWorker as become:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        return worker.main([str(become.folder)])
    return 0
