"""One script with all processes that it starts: run to its end, stopped as a whole, and stopped too if this process dies."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL for a script."""
# Starts only on a line from the pipe: if this process dies before the watcher runs, the pipe closes and the script never starts.
_GATE = 'read -r go || exit 125; exec "$@" </dev/null'
# Runs in a session of its own, so that a signal to the group of this process misses it. It notices the death by the end of the pipe.
_WATCH = 'read -r said; [ "$said" = done ] && exit 0; kill -s TERM -- "-$1"; sleep 1; kill -s KILL -- "-$1"'

_ends: set[int] = set()
"""The writing ends of pipes that show that this process is alive; forked children close them, since an open copy would keep showing it."""


def _after_fork() -> None:
    for end in _ends:
        os.close(end)
    _ends.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str], stdout: Path, stderr: Path) -> int:
    """Run `command` in `folder`, and return its exit status, or minus the number of the signal that ended it.

    It leads a process group of its own, which is gone when this returns or raises; if this process is killed meanwhile, within a
    second or two. Raises OSError if `folder` or a file cannot be used.
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
    """Kill the rest of the process's group, then reap it: its number is not reused before it is reaped."""
    if process.returncode is None:
        _signal(process, signal.SIGKILL)
    return process.wait()


class _Pipe:
    """A pipe whose writing end is closed in forked children."""

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
    except (ProcessLookupError, PermissionError):  # macOS raises the latter for a group of zombies
        pass


def _wait(process: subprocess.Popen[Any], seconds: float | None) -> None:
    """Wait until the process has ended, without reaping it, or until `seconds` have passed."""
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
