"""Several new processes that run the same function at the same moment, and paths for tests."""

from __future__ import annotations

import base64
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from persistable.stores.base import Store

_PROGRAM = "from persistable.testing.processes import child_main; child_main()"


class Gate:
    """A barrier inside a process: `wait` returns when all the processes have called it."""

    def wait(self) -> None:
        sys.stdout.write("wait\n")
        sys.stdout.flush()
        sys.stdin.readline()


def in_processes(workers: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Return the results of ``function(number, gate, *arguments)`` in each of `workers` new processes.

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
                    process.wait(120)  # killed while it ends, it would leave incomplete files, such as coverage data
                return answers
            raise RuntimeError(f"a process failed: {answers}")


def release(processes: list[subprocess.Popen[str]]) -> None:
    """Release the waiting processes."""
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


def in_a_fork(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of the function in a process that is forked from this one."""
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    child = fork.Process(target=lambda: answers.put(function(*arguments)), daemon=True)
    child.start()
    child.join(240)
    assert child.exitcode == 0
    return answers.get()


def child_main() -> None:
    """Run a task from stdin and write its result to stdout: the program of each process."""
    number, task = sys.stdin.readline().split()
    try:
        function, arguments = pickle.loads(base64.b64decode(task))
        word, answer = "done", function(int(number), Gate(), *arguments)
    except BaseException as error:  # noqa: BLE001 - reported to the parent
        import traceback

        word, answer = "failed", "".join(traceback.format_exception(error))
    sys.stdout.write(f"{word} {base64.b64encode(pickle.dumps(answer)).decode()}\n")
    sys.stdout.flush()


BAD_PATHS = [
    "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "a/./b", "a\\b", "C:\\a", "a\0b", "a\nb", "a\x7fb", "a.", "a./b",
    "a ",     "a:b", "a*", "a?b", 'a"b', "a<b", "a|b", "x" * 300, "é" * 130, "\ud800", ".a.tmp", "b/.c.0.tmp", "con", "a/NUL.txt", "lpt1",
]  # fmt: skip
GOOD_PATHS = [
    "a", "f/b", "deep/b/c/d/e/f", "a.b", ".a", "..a", "a..b", "two words", "ünïcødé", "日本語/データ.pkl", "🙂", "A", "x" * 200,
    "a+b", "a=b", "a@b", "a&b",     "a%20b", "a%2Fb", "a#1", "a#b", "a[1]", "a{b}", "~", "-x", "a'b", "a;b", "a,b", "$HOME",
    "name/0123456789abcdef.record.json", "auxiliary",
]  # fmt: skip


def everything_below(folder: Path) -> list[str]:
    """Every file below a local folder, temporary ones too, as `leftovers` of a store on a disk should return them."""
    return sorted(str(place.relative_to(folder)) for place in folder.rglob("*") if place.is_file())


def values() -> list[bytes]:
    """Contents that differ in their bytes and their sizes."""
    return [bytes([65 + number]) * size for number, size in enumerate((10, 70_000, 300_000, 1))]


def contend(number: int, gate: Gate, store: Store, rounds: int) -> list[bool]:
    """Try to create a claim in each round, and return the outcomes."""
    store.exists("warm")  # connect before the race
    won: list[bool] = []
    for turn in range(rounds):
        gate.wait()
        won.append(store.create(f"claims/{turn}", b"owner %d" % number))
    return won


def replace_and_read(number: int, gate: Gate, store: Store, rounds: int) -> list[str]:
    """Replace and read a value, and return a text for each content read that no process wrote."""
    wholes = values()
    gate.wait()
    problems: list[str] = []
    for _ in range(rounds):
        store.put("x", wholes[number])
        found = store.get("x")
        if found not in wholes:
            problems.append(f"{len(found)} bytes, {found[:3]!r}...{found[-3:]!r}")
    return problems


def visit(_number: int, _gate: Gate | None, store: Store) -> tuple[bytes, list[str], bool]:
    """Read, list, write and create as another process does."""
    found, listed = store.get("a/x"), list(store.list("a"))
    store.put("a/y", b"there")
    return found, listed, not store.create("a/y", b"there")


def write_and_wait(_number: int, gate: Gate, store: Store, path: str) -> None:
    """Write a part, and wait to be killed."""
    with store.write(path) as file:
        file.write(b"n" * 3_000_000)
        file.flush()
        gate.wait()
