"""Families as a user writes them. Never run: mypy and pyright check it, both strict (`make types`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_type

from matplotlib.axes import Axes

from persistable import Family, Persistable, Plan, RunResult, Source, Status, plan, run, step
from persistable.families import Gathered, Matrix
from persistable.fileio import TextFileIO
from persistable.nodes.step import StepNode


@dataclass
class Params:
    n: int = 0


class Points(Persistable[list[float], Params]):
    def _generate_payload(self) -> list[float]:
        return [0.0] * self.params.n


class Total(Persistable[float, None]):
    points: Points

    def _generate_payload(self) -> float:
        return sum(self.points.payload)


@step
def scaled(points: list[float], factor: float = 1.0) -> dict[str, float]:
    return {"total": sum(points) * factor}


points = Points.over(n=[1, 2])
assert_type(points, Family[list[float]])
assert_type(points[1], Persistable[list[float], Any])
assert_type(points[1].payload, list[float])
assert_type(points[0:1], Family[list[float]])
assert_type(points.nodes[0].payload, list[float])
assert_type(points.nodes[0:1], Sequence[Persistable[list[float], Any]])
assert_type(Points.among([{"n": 1}, {"n": 2}]), Family[list[float]])
assert_type(points.bind("data").rename(n="m"), Family[list[float]])

tables = scaled.over(points, factor=[1.0, 2.0])
assert_type(tables, Family[dict[str, float]])
assert_type(scaled.among([{"factor": 1.0}], points), Family[dict[str, float]])
assert_type(tables[1, 2.0].payload, dict[str, float])
assert_type(tables.best(by="total").payload, dict[str, float])
assert_type(tables.best(max=False, by=lambda table: table["total"]), Persistable[dict[str, float], Any])
assert_type([node.payload for node in tables.values()], list[dict[str, float]])
assert_type(tables.status()[Status.DONE], int)
assert_type(tables.matrix("n", "factor", by="total"), Matrix)
assert_type(tables.plot("n", "total", by="factor"), Axes)
assert_type(points.gather("n"), Gathered[list[float]])
assert_type(points.gather("n")[()][0].payload, list[float])
assert_type(scaled.over(points.gather("n")), Family[dict[str, float]])
assert_type(tables.run(), RunResult)
assert_type(run(tables, points), RunResult)
assert_type(plan(tables), Plan)
assert_type(Family.of({"a": Total(points=Points(n=1))}), Family[float])

result = run(tables)
assert_type(result[tables], Family[dict[str, float]])
assert_type(result[tables][1, 2.0].payload, dict[str, float])
assert_type(points >> scaled.step(factor=2.0), StepNode[dict[str, float]])

assert_type(Source({"a": 1, "b": 2}), Source[int])
assert_type(Source("data/{name}.txt", io=TextFileIO()), Source[str])
assert_type(Source("data/{name}.csv"), Source[Any])
texts: Source[str] = Source("data/{name}.txt", io=".txt")
assert_type(texts["a"].payload, str)
assert_type(texts.where(str.islower), Source[str])

mapping: Mapping[Any, Persistable[list[float], Any]] = points
nodes: Sequence[Persistable[list[float], Any]] = points.nodes


async def awaited() -> None:
    assert_type(await points.aload(), dict[Any, list[float]])
    assert_type(await points[1].aload(), list[float])
