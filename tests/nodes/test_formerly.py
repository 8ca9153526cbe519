"""Renames that keep keys: fields, params classes, classes of nodes, steps, and a step that became a class."""

from dataclasses import dataclass
from typing import Annotated, Any

from persistable import Persistable, formerly, omit_when, step


@step
def points(n: int) -> list[int]:
    return list(range(n))


@step
def fit(points: list[int], k: float = 1.0) -> float:
    return len(points) * k


@formerly("fit")
@dataclass
class FitParams:
    k: float = 1.0


@formerly("fit")
class Fit(Persistable[float, FitParams]):
    points: Any

    def _generate_payload(self) -> float:
        return len(self.points.payload) * self.params.k


def test_a_step_that_became_a_class() -> None:
    old = fit.step(points.step(3), k=2.0)
    assert Fit(params=FitParams(2.0), points=points.step(3)).key == old.key
    assert Fit(params=FitParams(3.0), points=points.step(3)).key != old.key


def test_a_renamed_step_with_a_renamed_and_a_new_argument() -> None:
    @formerly("fit")
    @step
    def fitted(points: list[int], scale: Annotated[float, formerly("k")] = 1.0, whiten: Annotated[bool, omit_when(False)] = False) -> float:
        return len(points) * scale

    assert fitted.step(points.step(3), scale=2.0).key == fit.step(points.step(3), k=2.0).key
    assert fitted.step(points.step(3), scale=2.0, whiten=True).key != fit.step(points.step(3), k=2.0).key
