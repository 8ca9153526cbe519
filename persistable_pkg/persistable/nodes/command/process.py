"""One script with all the processes it starts: run to its end, stopped whole, and never left behind by the process that ran it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

GRACE = 5.0
"""Seconds between asking a script to end and killing it."""
# Begins only when told to: should its starter die before the watcher stands, it finds the pipe closed and ends.
_GATE = 'read -r go || exit 125; exec "$@" </dev/null'
# Lives in a session of its own, so that what kills its starter misses it. The end of the pipe is how it notices.
_WATCH = 'read -r said; [ "$said" = done ] && exit 0; kill -s TERM -- "-$1"; sleep 1; kill -s KILL -- "-$1"'

_ends: set[int] = set()
"""The ends of pipes by which scripts know that this process lives: a forked child that kept one would pass for it."""


def _after_fork() -> None:
    for end in _ends:
        os.close(end)
    _ends.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str], stdout: Path, stderr: Path) -> int:
    """Run `command` in `folder`; its exit status, or minus the number of the signal that ended it.

    It leads a process group of its own, which is gone when this returns or raises; where this process is killed in between, within a
    second or two. Raises OSError where `folder` or a file cannot be used.
    """
    with _Pipe() as gate, _Pipe() as life, stdout.open("wb") as out, stderr.open("wb") as err:
        process: subprocess.Popen[bytes] | None = None
        watcher: subprocess.Popen[bytes] | None = None
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _GATE, "sh", *command],
                stdin=gate.reading,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
            )
            watcher = subprocess.Popen(
                ["/bin/sh", "-c", _WATCH, "sh", str(process.pid)],
                stdin=life.reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
            os.write(gate.writing, b"go\n")
            _wait(process, None)
            return _ended(process)
        except BaseException:
            if process is not None:
                _signal(process, signal.SIGTERM)
                _wait(process, GRACE)
            raise
        finally:
            if process is not None:
                _ended(process)
            if watcher is not None:
                os.write(life.writing, b"done\n")
                watcher.wait()


def _ended(process: subprocess.Popen[Any]) -> int:
    """Reap it, after killing what it left running: as long as it is not reaped, its number is its own."""
    if process.returncode is None:
        _signal(process, signal.SIGKILL)
    return process.wait()


class _Pipe:
    """A pipe whose writing end no forked child keeps."""

    def __enter__(self) -> _Pipe:
        self.reading, self.writing = os.pipe()
        _ends.add(self.writing)
        return self

    def __exit__(self, *_: object) -> None:
        _ends.discard(self.writing)
        os.close(self.reading)
        os.close(self.writing)


def _signal(process: subprocess.Popen[Any], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        pass


def _wait(process: subprocess.Popen[Any], seconds: float | None) -> None:
    """Wait until it has ended, without reaping it, or until `seconds` have passed."""
    if not hasattr(os, "waitid"):
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        return
    if seconds is None:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return
    deadline, pause = time.monotonic() + seconds, 0.001
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
