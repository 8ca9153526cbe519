"""Workflows that the tests use. What runs writes a line into the file that ``$WORKSPACE_CALLS`` names, in whatever process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from persistable import Persistable, Workflow, Workspace, seed, step, stored
from persistable.fileio import CsvFileIO, JsonFileIO

CALLS = "WORKSPACE_CALLS"


def called(what: str) -> None:
    """Note that a function ran."""
    path = os.environ.get(CALLS)
    if path:
        with open(path, "a") as file:
            file.write(what + "\n")


def calls() -> list[str]:
    """What ran since the last time, sorted."""
    path = Path(os.environ[CALLS])
    found = sorted(path.read_text().split()) if path.exists() else []
    path.unlink(missing_ok=True)
    return found


@step
def multiply(frame: pd.DataFrame, factor: int) -> pd.DataFrame:
    called("multiply")
    return frame * factor


@step
def first_cell(frame: pd.DataFrame) -> int:
    called("first_cell")
    return int(frame.iloc[0, 0])


class Scaling(Workflow):
    raw = seed(pd.DataFrame)
    factor = seed(int)
    scaled = multiply.step(raw, factor=factor)
    top = first_cell.step(scaled)


class Files(Workspace[Scaling]):
    raw = stored("raw/data-{workflow_id}.csv")
    factor = stored("params/factor")
    scaled = stored("computed/scaled-{workflow_id}.csv", io=CsvFileIO(index=False))


@step(io=JsonFileIO())
def plus(a: int, b: Any = 1) -> int:
    called(f"plus-{a}-{b}")
    return a + b


@step(io=JsonFileIO())
def total(numbers: list[int]) -> int:
    called("total")
    return sum(numbers)


@dataclass
class TimesParams:
    by: int = 2


class Times(Persistable[int, TimesParams]):
    number: Persistable[int, Any]
    io = JsonFileIO()

    def _generate_payload(self) -> int:
        called(f"times-{self.params.by}")
        return self.number.payload * self.params.by


class Numbers(Workflow):
    """A diamond, one function twice, literals, a class node, a list of nodes, a node within a node."""

    start: int = seed()
    step_size = seed(int, default=10)
    low = plus.step(start)
    high = plus.step(start, b=step_size)
    doubled = Times(number=high)
    sum = total.step([low, high, doubled, plus.step(low, 100)])


class NumberFiles(Workspace[Numbers]):
    start = stored("start/{name}")
    step_size = stored("step_size")
    low = stored("low/{name}.json")
    doubled = stored("doubled/{name}.json")
    sum = stored("sum/{name}.json")
