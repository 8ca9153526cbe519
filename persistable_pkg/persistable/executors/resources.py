"""Requests of a node to its run: `Retry` and `Resources`, plain values without behaviour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a failed generation is tried again.

    attempts: tries in all, the first included. delay: seconds before the second try. backoff: factor from each delay to the next.
    jitter: fraction of the delay that is random, 0 to 1. on: the exception types, or a predicate, that deserve another try.
    """

    attempts: int = 1
    delay: float = 0.0
    backoff: float = 2.0
    jitter: float = 0.1
    on: type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool] = Exception

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"Retry.attempts is {self.attempts}; at least one try is needed, so give 1 or more")
        if self.delay < 0 or self.backoff <= 0 or not 0 <= self.jitter <= 1:
            raise ValueError(f"{self} asks for impossible waits: delay >= 0, backoff > 0 and 0 <= jitter <= 1")

    def delay_after(self, attempt: int) -> float:
        """Seconds to wait after that attempt (from 1) failed: ``delay * backoff ** (attempt - 1)``, less up to `jitter` of that."""
        from random import random

        delay: float = self.delay * self.backoff ** (attempt - 1)
        return delay * (1 - self.jitter * random())


class Resources:
    """Resources of one generation: `cpus`, `memory` (bytes), `gpus`, `time` (seconds, the only timeout), and counters such as ``db=1``."""

    __slots__ = ("counters", "cpus", "gpus", "memory", "time")

    def __init__(self, cpus: float = 1, memory: int | None = None, gpus: float = 0, time: float | None = None, **counters: float) -> None:
        amounts: dict[str, Any] = {"cpus": cpus, "memory": memory, "gpus": gpus, "time": time, **counters}
        for name, amount in amounts.items():
            if amount is not None and amount < 0:
                raise ValueError(f"Resources.{name} is {amount}; give zero or more")
        self.cpus = cpus
        self.memory = memory
        self.gpus = gpus
        self.time = time
        self.counters = counters

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resources) and self._amounts() == other._amounts()

    def __hash__(self) -> int:
        return hash(tuple(sorted((name, amount) for name, amount in self._amounts().items() if amount is not None)))

    def __repr__(self) -> str:
        return f"Resources({', '.join(f'{name}={amount!r}' for name, amount in self._amounts().items() if amount is not None)})"

    def _amounts(self) -> dict[str, Any]:
        return {"cpus": self.cpus, "memory": self.memory, "gpus": self.gpus, "time": self.time, **self.counters}
