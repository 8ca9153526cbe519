"""What the projects of the tests make."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from persistable import Persistable, Pipeline, step, untracked
from persistable.families.workspaces import Workflow, Workspace, seed, stored

if TYPE_CHECKING:
    from decimal import Decimal as NeverImported

ONE = np.float32(1)
Mode = Enum("Mode", {"FAST": "f", "SLOW": "s"})


def note(what: str) -> None:
    """Write down, where every process finds it, that something was made."""
    with open(os.environ["MADE"], "a") as log:
        log.write(what + "\n")


@dataclass
class Optimizer:
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    steps: int = 5


@dataclass
class PointsParams:
    n: int = 3
    centred: bool = True
    since: date | None = None
    pause: timedelta = timedelta(0)
    mode: Mode = Mode.FAST
    folder: Path = Path("raw")
    scale: np.float32 = ONE
    kind: Literal["normal", "uniform", 3] = "normal"
    names: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    optimizer: Optimizer = field(default_factory=lambda: Optimizer(lr=1.0, steps=9))
    anything: Any = None
    unknown: NeverImported | None = None
    jobs: Annotated[int, untracked] = 1


class Points(Persistable[list[int], PointsParams]):
    def _generate_payload(self) -> list[int]:
        note("points")
        if self.params.n < 0:
            raise ValueError("n is negative")
        time.sleep(self.params.pause.total_seconds())
        return list(range(self.params.n))

    def _validate_payload(self, payload: list[int]) -> None:
        if not isinstance(payload, list):
            raise TypeError("points are a list")


@dataclass
class ModelParams:
    alpha: float


class Model(Persistable[float, ModelParams]):
    points: Points

    def _generate_payload(self) -> float:
        note("model")
        return sum(self.points.payload) * self.params.alpha


class Ensemble(Persistable[float, None]):
    models: list[Model]

    def _generate_payload(self) -> float:
        note("ensemble")
        return sum(model.payload for model in self.models)


class Located(Persistable[str, None]):
    """A class with an `__init__` of its own, as the released persistable has them."""

    def __init__(self, data_dir: Any = None, town: str = "Bonn", *, floor: int = 0) -> None:
        super().__init__(data_dir)
        self.town, self.floor = town, floor

    def _generate_payload(self) -> str:
        return f"{self.town} {self.floor}"


@step
def scaled(points: list[int], factor: float = 1.0, sizes: list[int] = [1], loud: bool = False) -> list[float]:  # noqa: B006
    note("scaled")
    return [point * factor for point in points]


@step
def total(many: list[list[float]]) -> float:
    note("total")
    return sum(map(sum, many))


@step
def length(text: str, weights: list[int]) -> int:
    note("length")
    return len(text)


class Counted(Persistable[int, None]):
    text: Persistable[str, Any]

    def _generate_payload(self) -> int:
        return len(self.text.payload)


@step
def failing(points: list[int]) -> None:
    note("failing")
    raise RuntimeError("it always fails")


@step
def open_ended(*, factor: float, **others: Any) -> Any:
    return factor, others


class Subject(Workflow):
    raw: list[int] = seed()
    doubled = scaled.step(raw, factor=2.0)


class Subjects(Workspace[Subject]):
    raw = stored("raw/{subject}.json")
    doubled = stored("doubled/{subject}.json")


ready = Points(n=4)
family = Points.over(n=[1, 2])
together = Pipeline(points=ready, total=total.step([scaled.step(ready)]))
unfinished = Model(alpha=1.0)
number = 5


def branch(depth: int, points: Points) -> Any:
    """Makes a target by a plain function."""
    return scaled.step(points, factor=float(depth))


def forgotten(points: Points) -> float:
    """A function whose @step was forgotten."""
    return 1.5
