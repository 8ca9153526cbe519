"""What the tests of families vary."""

from dataclasses import dataclass
from typing import Any

from persistable import Persistable, step


@dataclass
class PointsParams:
    n: int
    seed: int = 0


class Points(Persistable[list[int], PointsParams]):
    def _generate_payload(self) -> list[int]:
        return list(range(self.params.n))


@dataclass
class OutliersParams:
    k: float = 3.0
    n: int = 0


class Outliers(Persistable[float, OutliersParams]):
    points: Points
    others: Points | None = None

    def _generate_payload(self) -> float:
        if self.params.k < 0:
            raise ValueError(f"k is {self.params.k}")
        return len(self.points.payload) * self.params.k


class Counted(Persistable[int, None]):
    """Says how many of it were ever made."""

    made = 0

    def __init__(self, *args: Any, number: int, **kwargs: Any) -> None:
        type(self).made += 1
        super().__init__(*args, payload_name=f"counted-{number}", **kwargs)


@step
def scaled(raw: Any, factor: Any = 1) -> dict[str, float]:
    return {"total": float(sum(raw) * factor), "factor": factor}


@step
def made_of(text: Any, size: Any = 1) -> tuple[str, Any]:
    return text, size


@step
def total(parts: list[float]) -> float:
    return sum(parts)


@step
def joined(*parts: float, **named: float) -> list[float]:
    return [*parts, *named.values()]


@step
def number(n: Any, fail_at: int = -1) -> Any:
    if n == fail_at:
        raise ValueError(f"it is {n}")
    return n


@step
def add(a: Any, b: Any, c: Any = 0) -> int:
    return a + b + c
