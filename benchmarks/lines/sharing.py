"""Several runs of one pipeline, each in a process of its own, that begin at the same moment and divide the work."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from harness import HERE, LIMIT, MORE, OURS, Goal, Job, Line

JOBS, SECONDS = 40, 0.05
LINE = Line(
    name="sharing",
    title="four runs that share 40 nodes of 50 ms",
    loop="from the signal to begin until all runs have ended, in a new store each time; interpreters, imports and workers started outside",
    unit="ms",
    sizes=(1, 2, 4),
    size_label=lambda size: f"{size} run{'s' if size > 1 else ''}",
    rounds=7,
    calls=1,
    goals=(Goal("<= 1.2 x the work divided evenly", 1.2, "limit"),),
    slope_of="runs",
)
_START = f"import sys; sys.path.insert(0, {str(HERE)!r}); from lines.sharing import serve; serve(*sys.argv[1:])"


@LINE.add("divided evenly", "time.sleep(0.05) for each of 40 / n jobs, in n processes", LIMIT)
def evenly(job: Job) -> Any:
    return _together(job, "evenly", str(job.size))


@LINE.add("persistable", "run(nodes, store=folder)", OURS)
def inline(job: Job) -> Any:
    return _together(job, "inline")


@LINE.add("persistable, SQLite", "run(nodes, store='sqlite:///...')", MORE)
def sqlite(job: Job) -> Any:
    return _together(job, "sqlite")


@LINE.add("persistable, processes", "run(nodes, store=folder, executor=ProcessExecutor(1))", MORE)
def processes(job: Job) -> Any:
    return _together(job, "processes")


def _together(job: Job, kind: str, *words: str) -> Any:
    runners = [
        subprocess.Popen([sys.executable, "-c", _START, kind, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        for _ in range(job.size)
    ]
    numbers = count()

    def tell(word: str) -> None:
        for runner in runners:
            assert runner.stdin is not None
            runner.stdin.write(f"{word}\n")

    def hear() -> None:
        for runner in runners:
            assert runner.stdout is not None
            assert runner.stdout.readline() == "ok\n"

    def before() -> None:
        tell(f"{job.folder}/{next(numbers)}")
        hear()

    def together() -> None:
        tell("go")
        hear()

    return together, before


def serve(kind: str, *words: str) -> None:
    """Perform the work in a new store as often as a folder is named, then told to go."""
    work = _sleeping(int(words[0])) if kind == "evenly" else _running(kind)
    for folder in sys.stdin:
        begin = work(folder.rstrip("\n"))
        print("ok", flush=True)
        sys.stdin.readline()
        begin()
        print("ok", flush=True)


def _sleeping(runners: int) -> Callable[[str], Callable[[], object]]:
    def sleep() -> None:
        for _ in range(JOBS // runners):
            time.sleep(SECONDS)

    return lambda _: sleep


def _running(kind: str) -> Callable[[str], Callable[[], object]]:
    from lines.steps import sleeping
    from persistable import open_store, run
    from persistable.executors import ProcessExecutor

    executor: Any = "inline"
    if kind == "processes":
        executor = ProcessExecutor(1)
        executor.submit(time.sleep, 0).result()

    def prepared(folder: str) -> Callable[[], object]:
        store = open_store(f"sqlite:///{folder}.db" if kind == "sqlite" else folder)
        nodes = [sleeping.step(n, SECONDS) for n in range(JOBS)]
        return lambda: run(nodes, store=store, executor=executor)

    run(sleeping.step(0, 0.0), store="memory://warm")
    return prepared
