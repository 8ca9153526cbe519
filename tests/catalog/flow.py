"""Classes and steps of every kind that a record can name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import attrs
import pydantic

from persistable import Item, Persistable, PersistableParams, Workflow, Workspace, formerly, omit_when, seed, step, stored, untracked


@dataclass
class Optimizer:
    lr: float = 0.1
    jobs: Annotated[int, untracked] = 1


@dataclass
class PointsParams(PersistableParams):
    n: int
    optimizer: Optimizer = field(default_factory=Optimizer)
    noise: Annotated[float, omit_when(0.0)] = 0.0
    size: Annotated[int, formerly("rows")] = 10
    threads: Annotated[int, untracked] = 1
    log: Annotated[Any, untracked] = None


@dataclass
class MoreParams(PointsParams):
    extra: str = "x"


class Points(Persistable[list[int], PointsParams]):
    def _generate_payload(self, **_: Any) -> list[int]:
        return list(range(self.params.n))


@attrs.define
class AttrsParams:
    k: int
    values: Any = None


class ByAttrs(Persistable[int, AttrsParams]):
    def _generate_payload(self, **_: Any) -> int:
        return self.params.k


class ModelParams(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    k: int = pydantic.Field(alias="kay")
    url: pydantic.HttpUrl | None = None


class ByPydantic(Persistable[int, ModelParams]):
    def _generate_payload(self, **_: Any) -> int:
        return self.params.k


class ByDict(Persistable[int, dict]):  # type: ignore[type-arg]
    points: Points
    many: list[Points]
    maybe: Points | None

    def _generate_payload(self, **_: Any) -> int:
        return len(self.many)


class Named(Persistable[int, None]):
    best: dict[str, Points]

    def _generate_payload(self, **_: Any) -> int:
        return len(self.best)


class Anything(Persistable[int, Any]):
    def _generate_payload(self, **_: Any) -> int:
        return 1


class Own(Persistable[int, PointsParams]):
    def __init__(self, data_dir: Any, n: int, dep: Points, *, scale: int = 2, logger: Any = None) -> None:
        super().__init__(data_dir, PointsParams(n), tracked_persistable_dependencies=(dep,), logger=logger)
        self.scale = scale

    def _generate_payload(self, **_: Any) -> int:
        return self.params.n * self.scale


class TakesParams(Persistable[int, PointsParams]):
    def __init__(self, params: PointsParams, data_dir: Any = None) -> None:
        super().__init__(data_dir, params)

    def _generate_payload(self, **_: Any) -> int:
        return self.params.threads


@step
def fit(points: Any, k: int = 2, *more: Any, scale: Annotated[float, formerly("factor")] = 1.0, **others: Any) -> int:
    return k


@step(persist=False)
def aside(points: Any) -> int:
    return len(points)


@step
def total(values: Any, jobs: Annotated[int, untracked] = 1) -> Any:
    return values


@step(version=2, name="renamed")
def versioned(a: Any = None, b: Annotated[int, omit_when(3)] = 4) -> Any:
    return a


@step
def yields(n: int) -> Any:
    for number in range(n):
        yield str(number), "x" * number


@step
def length(text: str) -> int:
    return len(text)


class Lengths(Workflow):
    raw = seed(str)
    start = seed(int, default=3)
    counted = length.step(raw)
    summed = total.step([counted, start])


class Texts(Workspace[Lengths]):
    raw = stored("raw/{workflow_id}.txt")
    counted = stored("counted/{workflow_id}.json")
    summed = stored("summed/{workflow_id}.json")


def around(k: int) -> Any:
    @step
    def inner() -> int:
        return k

    return inner


def item(node: Any, key: Any) -> Item:
    return Item.of(node, key)
