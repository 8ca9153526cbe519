"""Running the same function in several fresh processes at the same moment, for tests of what they share."""

from __future__ import annotations

import base64
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

_PROGRAM = "from persistable.testing.races import child_main; child_main()"


class Gate:
    """Inside a process: `wait` returns when all the processes have called it."""

    def wait(self) -> None:
        sys.stdout.write("wait\n")
        sys.stdout.flush()
        sys.stdin.readline()


def in_processes(workers: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """The results of ``function(number, gate, *arguments)`` in each of so many fresh processes.

    Each must call ``gate.wait()`` equally often. An error in one is raised here as RuntimeError with its text.
    """
    with started(workers, function, *arguments) as processes:
        while True:
            lines = [(process.stdout.readline() if process.stdout else "").split() for process in processes]
            if all(line == ["wait"] for line in lines):
                release(processes)
                continue
            answers = [pickle.loads(base64.b64decode(line[1])) if line[:1] in (["done"], ["failed"]) else line for line in lines]
            if all(line[:1] == ["done"] for line in lines):
                for process in processes:
                    process.wait(120)  # killed while it ends, it would leave behind halves of what it writes then, such as coverage
                return answers
            raise RuntimeError(f"a process failed: {answers}")


def release(processes: list[subprocess.Popen[str]]) -> None:
    """Let the processes that wait go on."""
    for process in processes:
        if process.stdin is not None:
            process.stdin.write("\n")
            process.stdin.flush()


@contextmanager
def started(workers: int, function: Callable[..., Any], *arguments: Any) -> Generator[list[subprocess.Popen[str]], None, None]:
    """The processes, running until they wait at their gate for the first time; killed at the end."""
    task = base64.b64encode(pickle.dumps((function, arguments))).decode()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(workers)
    ]
    try:
        for number, process in enumerate(processes):
            if process.stdin is not None:
                process.stdin.write(f"{number} {task}\n")
                process.stdin.flush()
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def child_main() -> None:
    """The loop of each process: take a task from stdin, do it, and tell the answer."""
    number, task = sys.stdin.readline().split()
    try:
        function, arguments = pickle.loads(base64.b64decode(task))
        word, answer = "done", function(int(number), Gate(), *arguments)
    except BaseException as error:  # noqa: BLE001 - told to the parent
        import traceback

        word, answer = "failed", "".join(traceback.format_exception(error))
    sys.stdout.write(f"{word} {base64.b64encode(pickle.dumps(answer)).decode()}\n")
    sys.stdout.flush()
