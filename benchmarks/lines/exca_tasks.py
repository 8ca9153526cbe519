"""Exca names a task by its module and class, so they are at the top level of a module; it reads annotations, so they are no strings."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import exca
import numpy as np
import pydantic


class Tiny(pydantic.BaseModel):
    n: int
    k: float = 1.0
    infra: exca.TaskInfra = exca.TaskInfra()

    @infra.apply
    def process(self) -> dict[str, int]:
        return {"a": 1}


make: list[Callable[[], Any]] = []


class Given(pydantic.BaseModel):
    infra: exca.MapInfra = exca.MapInfra()

    @infra.apply(item_uid=str)
    def process(self, items: Iterable[int]) -> Iterator[np.ndarray]:
        for _ in items:
            yield make[-1]()


class Items(pydantic.BaseModel):
    scale: float = 2.0
    infra: exca.MapInfra = exca.MapInfra()

    @infra.apply(item_uid=str)
    def process(self, items: Iterable[int]) -> Iterator[float]:
        for n in items:
            yield n * self.scale


class OfArray(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    array: np.ndarray
    infra: exca.TaskInfra = exca.TaskInfra()

    @infra.apply
    def process(self) -> int:
        return 1


class Node(pydantic.BaseModel):
    n: int = 0
    left: Any = None
    right: Any = None
    infra: exca.TaskInfra = exca.TaskInfra()

    @infra.apply
    def process(self) -> int:
        return 1
