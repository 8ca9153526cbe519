"""A project of its own for each test, and the command as its users call it: a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "persistable_pkg"

TOML = """
store = "data"

[targets.points]
use = "flows:points"
params = { n = 4 }

[targets.total]
use = "flows:total"
upstream = { points = "points" }

[targets.report]
use = "flows:report"
upstream = { total = "total" }

[targets.grid]
use = "flows:grid"

[targets.cross]
use = "flows:cross"

[targets.broken]
use = "flows:broken"

[targets.after]
use = "flows:after"
upstream = { number = "broken" }

[stages]
prepare = ["points"]
finish = ["total", "report"]
"""

FLOWS = """
from persistable import step
from persistable.fileio import TextFileIO

print("flows is imported")


@step
def points(n: int) -> list:
    return list(range(n))


@step
def total(points: list, scale: float = 1.0) -> float:
    return sum(points) * scale


@step(io=TextFileIO())
def report(total: float, title: str = "sum") -> str:
    return f"{title}: {total}\\n"


@step
def square(x: int, word: str = "a") -> int:
    if x < 0:
        raise ValueError(f"{x} is below zero")
    return x * x


@step
def broken(why: str = "no reason") -> int:
    raise RuntimeError(why)


@step
def after(number: int) -> int:
    return number + 1


grid = square.over(x=[1, 2, 3])
cross = square.over(x=[1, 2], word=["a", "b,c"])
sour = square.over(x=[1, -1])
lone = points.step(n=7)
many = square.over(x=list(range(400)))
"""


class Done:
    """What a command left: its exit status and what it said."""

    def __init__(self, words: Sequence[str], status: int, out: bytes, err: str) -> None:
        self.words = list(words)
        self.status = status
        self.bytes = out
        self.err = err

    @property
    def out(self) -> str:
        return self.bytes.decode(errors="replace")

    @property
    def json(self) -> Any:
        return json.loads(self.bytes)

    def __repr__(self) -> str:
        return f"persistable {' '.join(self.words)} -> {self.status}\n{self.out}\n{self.err}"


class Shell:
    """A folder in which commands are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("PERSISTABLE", "NO_COLOR"))}
        self.environment["PYTHONPATH"] = str(PACKAGE)
        self.environment["PERSISTABLE_CACHE"] = str(folder.parent / f"{folder.name}-cache")
        self.environment["PYTHONDONTWRITEBYTECODE"] = "1"  # tests edit a file within a second, and may leave its length as it was

    def __call__(self, *words: str, expect: int | None = 0, folder: Path | None = None, **environment: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "persistable", *words],
            cwd=folder or self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=200,
        )
        found = Done(words, done.returncode, done.stdout, done.stderr.decode())
        assert "Traceback" not in found.err or "--debug" in words, found
        assert expect is None or found.status == expect, found
        return found

    def keys(self, name: str) -> list[str]:
        return [row["key"] for row in self("ls", name, "--json").json]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder with nothing in it."""
    return Shell(tmp_path)


@pytest.fixture
def project(shell: Shell) -> Shell:
    """A folder with a project in it."""
    (shell.folder / "persistable.toml").write_text(TOML)
    (shell.folder / "flows.py").write_text(FLOWS)
    return shell
