"""Workers that begin in no time: a process that has imported the library forks itself for each, as if the image had it in memory.

python forks.py    reads one JSON object a line: command, environment, log, folder; writes ``NUMBER PID`` and ``NUMBER ended STATUS``
"""

from __future__ import annotations

import itertools
import json
import os
import runpy
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

MODULE = "persistable.executors.kubernetes.pod"


class Forks:
    """The process that forks, and those that it has begun."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._numbers = itertools.count()
        self._begun: dict[str, Forked] = {}
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, bufsize=1
        )
        threading.Thread(target=self._listen, name="stand-in-forks", daemon=True).start()

    def begin(self, command: list[str], environment: dict[str, str], log: Path, folder: Path) -> Forked:
        with self._lock:
            number = str(next(self._numbers))
            begun = self._begun[number] = Forked()
            order = {"number": number, "command": command, "environment": environment, "log": str(log), "folder": str(folder)}
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order) + "\n")
        assert begun.has_begun.wait(60)
        return begun

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            number, *rest = line.split()
            begun = self._begun[number]
            if rest[0] == "ended":
                begun.status = int(rest[1])
                begun.has_ended.set()
            else:
                begun.pid = int(rest[0])
                begun.has_begun.set()


class Forked:
    """A process that was forked, with what is needed of `subprocess.Popen`."""

    pid = 0
    status: int | None = None

    def __init__(self) -> None:
        self.has_begun, self.has_ended = threading.Event(), threading.Event()

    def poll(self) -> int | None:
        return self.status

    def wait(self, seconds: float) -> int:
        if not self.has_ended.wait(seconds):
            raise subprocess.TimeoutExpired("", seconds)
        assert self.status is not None
        return self.status

    def send_signal(self, number: int) -> None:
        if self.status is None:
            os.kill(self.pid, number)


def main() -> None:
    import persistable.runs.worker
    import persistable.testing.executor_tasks  # noqa: F401
    from persistable.executors.kubernetes import pod  # noqa: F401

    for line in iter(sys.stdin.buffer.readline, b""):
        order: dict[str, Any] = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
        _tell(order["number"], str(pid))
        threading.Thread(target=_wait, args=(pid, order["number"]), daemon=True).start()


def _wait(pid: int, number: str) -> None:
    _, status = os.waitpid(pid, 0)
    _tell(number, f"ended {os.waitstatus_to_exitcode(status)}")


def _tell(number: str, what: str) -> None:
    os.write(1, f"{number} {what}\n".encode())  # in one piece, whoever else writes


def _become(order: dict[str, Any]) -> None:
    os.setsid()
    null, log = os.open(os.devnull, os.O_RDONLY), os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = order["command"][2:]
    code = 1
    try:
        sys.modules.pop(MODULE, None)
        runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
