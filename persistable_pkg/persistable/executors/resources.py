"""Requests of a node to its run: `Retry` and `Resources`, plain values; and the check of requests against offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from persistable.errors import Infeasible


def check_number(place: str, amount: Any, unit: str = "") -> None:
    """Raise TypeError, naming the place, unless `amount` is a number."""
    if not hasattr(amount, "__float__"):
        raise TypeError(f"{place} is {amount!r}; give a number{unit}")


@dataclass(frozen=True, slots=True)
class Retry:
    """Retry policy for failed generations: number of attempts, and delays."""

    attempts: int = 1
    """Tries in all, the first included."""
    delay: float = 0.0
    """Seconds before the second try."""
    backoff: float = 2.0
    """Factor from each delay to the next."""
    jitter: float = 0.1
    """Fraction of the delay that is random, 0 to 1."""
    on: type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool] = Exception
    """The exception types to retry, or a predicate of the error."""

    def __post_init__(self) -> None:
        if type(self.attempts) is not int:
            raise TypeError(f"Retry.attempts is {self.attempts!r}; give a whole number")
        for name in ("delay", "backoff", "jitter"):
            check_number(f"Retry.{name}", getattr(self, name))
        kinds: Any = self.on if type(self.on) is tuple else (self.on,)
        are_types = all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds)
        if not are_types and (not callable(self.on) or isinstance(self.on, type)):
            raise TypeError(f"Retry.on is {self.on!r}; give exception types, or a function that is given the error")
        if self.attempts < 1:
            raise ValueError(f"Retry.attempts is {self.attempts}; at least one try is needed, so give 1 or more")
        if not (self.delay >= 0 and self.backoff > 0 and 0 <= self.jitter <= 1):  # written so that NaN is refused
            raise ValueError(f"{self} asks for impossible waits: delay >= 0, backoff > 0 and 0 <= jitter <= 1")

    def delay_after(self, attempt: int) -> float:
        """Return the seconds to wait after that attempt (from 1): ``delay * backoff ** (attempt - 1)``, less up to `jitter` of that."""
        from random import random

        if not self.delay:  # avoids the power, which overflows from the 1025th attempt on
            return 0.0
        delay: float = self.delay * self.backoff ** (attempt - 1)
        return delay * (1 - self.jitter * random())


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Resources:
    """Resources of one generation, hashable. Any other keyword is a counter, such as ``db=1``, which `run` limits by its `limits`."""

    cpus: float
    """CPUs, fractions allowed; 1 by default."""
    memory: int | None
    """Bytes; None for no requirement."""
    gpus: float
    """GPUs, fractions allowed if the executor shares them; 0 by default."""
    time: float | None
    """Seconds after which the generation is stopped, the only timeout; None for no limit."""
    _counters: tuple[tuple[str, float], ...]

    def __init__(self, cpus: float = 1, memory: int | None = None, gpus: float = 0, time: float | None = None, **counters: float) -> None:
        fields: dict[str, Any] = {"cpus": cpus, "memory": memory, "gpus": gpus, "time": time}
        for name, amount in {**fields, **counters}.items():
            if amount is not None:
                check_number(f"Resources.{name}", amount, {"memory": " of bytes", "time": " of seconds"}.get(name, ""))
                if not amount >= 0:
                    raise ValueError(f"Resources.{name} is {amount}; give zero or more")
        for name, amount in fields.items():
            object.__setattr__(self, name, amount)
        object.__setattr__(self, "_counters", tuple(sorted(counters.items())))

    @property
    def counters(self) -> dict[str, float]:
        """The amounts of the counters, by name."""
        return dict(self._counters)

    @property
    def amounts(self) -> dict[str, float]:
        """CPUs, bytes of memory and GPUs, by name, without zeros."""
        amounts = {"cpus": self.cpus, "memory": self.memory or 0, "gpus": self.gpus}
        return {name: float(amount) for name, amount in amounts.items() if amount}

    def __repr__(self) -> str:
        amounts = {"cpus": self.cpus, "memory": self.memory, "gpus": self.gpus, "time": self.time, **self.counters}
        return f"Resources({', '.join(f'{name}={amount!r}' for name, amount in amounts.items() if amount is not None)})"


def check_offers(wanted: Mapping[str, float], offers: Sequence[Mapping[str, float]], place: str, advice: str) -> None:
    """Raise Infeasible unless one of `offers`, the amounts of each `place`, has all `wanted` amounts."""
    if any(all(offer.get(name, 0) >= amount for name, amount in wanted.items()) for offer in offers):
        return
    available = {name: max((offer.get(name, 0.0) for offer in offers), default=0.0) for name in wanted}
    asked, most = (", ".join(f"{name}={amount:g}" for name, amount in amounts.items()) for amounts in (wanted, available))
    raise Infeasible(
        f"a task asks for {asked}, and no {place} has that (the most that any one has: {most}); lower its Resources, or {advice}",
        wanted=dict(wanted),
        available=available,
    )
