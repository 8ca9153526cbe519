"""Labtech wants its tasks at the top level of a module."""

from __future__ import annotations

import logging
from typing import Any

import labtech

labtech.logger.setLevel(logging.WARNING)
given: list[Any] = []


@labtech.task
class Tiny:
    n: int
    k: float = 1.0

    def run(self) -> dict[str, int]:
        return {"a": 1}


@labtech.task
class Given:
    n: int

    def run(self) -> Any:
        return given[-1]


@labtech.task
class Base:
    n: int

    def run(self) -> int:
        return 1


@labtech.task
class Side:
    of: Any
    n: int

    def run(self) -> int:
        return 1


@labtech.task
class Join:
    left: Any
    right: Any

    def run(self) -> int:
        return 1


@labtech.task
class OfArray:
    array: Any

    def run(self) -> int:
        return 1


def runner(folder: str, task: Any) -> Any:
    """A function (n) -> result of ``task(n=n)``, by the backend with the least between it and the storage."""
    lab = labtech.Lab(storage=folder, runner_backend="serial", continue_on_failure=False)
    return lambda n: lab.run_task(task(n=n), disable_progress=True, disable_top=True)
