"""What a line of the benchmark is, and how its contenders are measured.

Every contender of a line works in a process of its own that imports what it alone needs. The processes of a line live side by side
and are asked for one round after another: A B C, B C A, C A B, so that a busy moment of the machine hits all of them.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
RELEASED = VENV / "released"
PYTHON = VENV / "bin" / "python"
LONET = HERE.parent / "tests" / "lonet"

LIMIT, PEER, RELEASED_ROLE, OURS, MORE = "limit", "peer", "released", "ours", "more"
"""Roles. `MORE` is a variant that is shown, and counts neither as our figure nor as a peer's."""


@dataclass(frozen=True)
class Job:
    """What a contender is given: a folder of its own and the size of the work."""

    folder: str
    size: int


class Skip(Exception):
    """Raised by a contender that cannot do this job; the text says why and stands in the report."""


Setup = Callable[[Job], Any]
"""Prepares, and gives back the operation to time; or (operation, untimed preparation of each single call)."""


@dataclass(frozen=True)
class Contender:
    """One way to do the job. `call`: what exactly runs inside the timed loop."""

    name: str
    role: str
    call: str
    setup: Setup
    sizes: tuple[int, ...] | None = None
    """At these sizes only; None for all."""
    why_not: str = ""
    """What the report says at the other sizes."""
    rounds: int | None = None
    """Fewer rounds than the line has, for calls that take very long."""


@dataclass(frozen=True)
class Goal:
    """`at_most`: times `against` (a contender's name, "limit" or "best peer"); in the line's unit where `against` is empty, which is
    then about our own figure, or starts with ``=`` and names another contender of ours."""

    text: str
    at_most: float
    against: str = ""


@dataclass
class Line:
    """One line of the table."""

    name: str
    title: str
    loop: str
    """What is inside the timed loop and what is not."""
    unit: str = "us"
    sizes: tuple[int, ...] = (1,)
    sizes_quick: tuple[int, ...] | None = None
    size_label: Callable[[int], str] = str
    headline: int = -1
    """Index into `sizes` of the size that the goals are about."""
    rounds: int = 15
    rounds_quick: int = 3
    seconds: float = 0.05
    """How long a round of one contender should take; a call with an untimed preparation is timed one by one, `calls` to a round."""
    calls: int = 1
    each: bool = False
    """Time `calls` calls to a round one by one, so that the median leaves out the stalls of a disk that others use as well."""
    many_files: bool = False
    """It makes very many: they stay until the end of the whole run, see `settle`."""
    values: bool = False
    """The operation's result is the measure, not the time it takes."""
    per_item: bool = False
    """Figures are the time of a call divided by the size."""
    private: bool = False
    """Its contenders open ports on every address: each has a network namespace of its own, where only loopback is."""
    over_limit: bool = False
    """Figures are what comes on top of the limit."""
    goals: tuple[Goal, ...] = ()
    slope_of: str = ""
    """What the size counts; empty where cost does not grow with anything."""
    contenders: list[Contender] = field(default_factory=list)

    def add(self, name: str, call: str, role: str = PEER, **options: Any) -> Callable[[Setup], Setup]:
        """Decorates the setup of a contender."""

        def register(setup: Setup) -> Setup:
            self.contenders.append(Contender(name, role, call, setup, **options))
            return setup

        return register

    def sizes_for(self, quick: bool) -> tuple[int, ...]:
        return self.sizes_quick if quick and self.sizes_quick else self.sizes


SCALE = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}


# --- in the worker


def serve() -> None:
    """Answer the parent: set one contender up, then do rounds until told to stop."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints goes elsewhere
    sys.path.insert(0, str(HERE))
    from lines import find_line

    asked = json.loads(sys.stdin.readline())
    line = find_line(asked["line"])
    contender = next(one for one in line.contenders if one.name == asked["contender"])
    try:
        prepared = contender.setup(Job(asked["folder"], asked["size"]))
        operation, before = prepared if isinstance(prepared, tuple) else (prepared, None)
        measure = _values(operation) if line.values else _times(operation, before, line, asked["seconds"])
        replies.write(json.dumps({"ready": True}) + "\n")
        for _ in sys.stdin:
            replies.write(json.dumps({"figures": measure()}) + "\n")
    except Skip as reason:
        replies.write(json.dumps({"skip": str(reason)}) + "\n")
    except Exception as error:
        replies.write(json.dumps({"failed": f"{type(error).__name__}: {error}"[:300]}) + "\n")
        raise


def _values(operation: Callable[[], float]) -> Callable[[], list[float]]:
    return lambda: [float(operation())]


def _times(operation: Callable[[], object], before: Callable[[], object] | None, line: Line, seconds: float) -> Callable[[], list[float]]:
    clock = time.perf_counter_ns
    if before is not None or line.each:
        prepare = before or (lambda: None)

        def one_by_one() -> list[float]:
            figures = []
            for _ in range(line.calls):
                prepare()
                start = clock()
                result = operation()
                figures.append(float(clock() - start))
                del result
            return figures

        one_by_one()  # warm
        return one_by_one

    def loop(count: int) -> float:
        rounds = range(count)
        start = clock()
        for _ in rounds:
            operation()
        return (clock() - start) / count

    loop(3)  # warm
    count = max(1, int(seconds * 1e9 / max(loop(3), 1.0)))
    return lambda: [loop(count)]


# --- in the parent


class Worker:
    """A process that measures one contender."""

    def __init__(self, line: Line, contender: Contender, size: int, folder: Path, seconds: float) -> None:
        self.contender = contender
        self.figures: list[list[float]] = []
        self.trouble = ""
        self._keep = line.many_files
        self.folder = folder / f"{line.name}-{contender.name}-{size}".replace(" ", "-")
        if line.each:
            self.folder = _settled_folder(self.folder)
        else:
            self.folder.mkdir(parents=True)
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPATH": str(RELEASED) if contender.role == RELEASED_ROLE else ""}
        environment = {name: value for name, value in environment.items() if not name.startswith("PERSISTABLE_")}
        self._log = open(f"{self.folder}.log", "w+")  # noqa: SIM115 - closed with the worker
        self._process = subprocess.Popen(
            [
                *([LONET] if line.private else []),
                *(PYTHON, "-c", f"import sys; sys.path.insert(0, {str(HERE)!r}); from harness import serve; serve()"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=self.folder,
            env=environment,
            text=True,
            bufsize=1,
        )
        self._send(
            json.dumps({"line": line.name, "contender": contender.name, "size": size, "folder": str(self.folder), "seconds": seconds})
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ready(self) -> bool:
        """Wait until it is set up."""
        return "ready" in self._answer()

    def round(self) -> None:
        if self.trouble:
            return
        self._send("go")
        answer = self._answer()
        if "figures" in answer:
            self.figures.append(answer["figures"])

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        self._process.wait()
        self._process.stdout.close()
        self._log.close()
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _send(self, text: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text + "\n")
        except BrokenPipeError:
            pass

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(text) if text else {"failed": f"the process ended ({self._process.wait()})"}
        self.trouble = answer.get("skip") or ("failed: " + answer["failed"] if "failed" in answer else "")
        if "failed" in answer:
            self._log.seek(0)
            sys.stderr.write(self._log.read())
        return answer


@dataclass
class Result:
    """What came of one contender at one size; figures are in the line's unit, a list for each round."""

    contender: Contender
    size: int
    rounds: list[list[float]]
    trouble: str = ""

    @property
    def flat(self) -> list[float]:
        return [figure for figures in self.rounds for figure in figures]

    @property
    def median(self) -> float:
        return statistics.median(self.flat)

    @property
    def least(self) -> float:
        return min(self.flat)


def measure(line: Line, folder: Path, quick: bool, say: Callable[[str], None]) -> Iterator[Result]:
    """Run all contenders of a line at all its sizes."""
    for size in line.sizes_for(quick):
        wanted = [one for one in line.contenders if one.sizes is None or size in one.sizes]
        if line.values:
            results = [_alone(line, one, size, folder) for one in wanted]
        else:
            results = _side_by_side(line, wanted, size, folder, quick)
        scale = 1.0 if line.values else SCALE[line.unit] * (size if line.per_item else 1)
        for worker in results:
            figures = [[figure / scale for figure in figures] for figures in worker.figures]
            result = Result(worker.contender, size, figures, worker.trouble)
            say(f"  {line.size_label(size):>9}  {worker.contender.name:<34} {worker.trouble or show(result.median)}")
            yield result


_evenly = [float("inf")]
"""The least time that creating a file has taken so far in this run."""


def settle(folder: Path, at_most: int = 10_000) -> bool:
    """Create files below `folder` until that takes an even, short time; False if it never does.

    For five minutes after files were deleted ext4 steps over their inodes, one by one, whenever it looks for a free one nearby: creating
    a file then takes twenty times as long as otherwise, until it has found its way to another part of the disk.
    """
    place = Path(tempfile.mkdtemp(prefix=".settle-", dir=folder))
    good = 0
    for batch in range(at_most // 100):
        times = []
        for number in range(100):
            start = time.perf_counter_ns()
            os.close(os.open(f"{place}/{batch}-{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            times.append(time.perf_counter_ns() - start)
        median = statistics.median(times)
        _evenly[0] = min(_evenly[0], median)
        good = good + 1 if median <= 1.8 * _evenly[0] else 0
        if good >= 8:
            return True
    return False


def _settled_folder(folder: Path) -> Path:
    """`folder`, or one of almost its name: each new folder may lie in another part of the disk."""
    for attempt in range(6):
        place = folder if attempt == 0 else folder.with_name(f"{folder.name}-{attempt}")
        place.mkdir(parents=True)
        if settle(place):
            return place
    return place


def _alone(line: Line, contender: Contender, size: int, folder: Path) -> Worker:
    worker = Worker(line, contender, size, folder, line.seconds)
    if worker.ready():
        worker.round()
    worker.close()
    return worker


def _side_by_side(line: Line, wanted: list[Contender], size: int, folder: Path, quick: bool) -> list[Worker]:
    seconds = line.seconds / 5 if quick else line.seconds
    workers = []
    try:
        for contender in wanted:
            workers.append(Worker(line, contender, size, folder, seconds))
            workers[-1].ready()
        active = [worker for worker in workers if not worker.trouble]
        os.sync()  # what the preparations wrote is not to be written out during the rounds
        for turn in range(line.rounds_quick if quick else line.rounds):
            first = turn % max(1, len(active))
            for worker in active[first:] + active[:first]:
                if turn < (worker.contender.rounds or line.rounds):
                    worker.round()
    finally:
        for worker in workers:
            worker.close()
    return workers


def show(figure: float) -> str:
    """Three significant digits, without an exponent."""
    if figure == 0:
        return "0"
    digits = 2 if abs(figure) < 10 else 1 if abs(figure) < 100 else 0
    return f"{figure:.{3 if abs(figure) < 0.1 else digits}f}"
