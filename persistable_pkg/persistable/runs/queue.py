"""The nodes that are ready, and the choice of those that may begin: those whose resources are free, in the order of the plan."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from typing import Any

from persistable.errors import Infeasible, PersistableWarning
from persistable.executors.base import Executor
from persistable.executors.machine import memory
from persistable.executors.resources import Resources
from persistable.nodes.loading import depth_of_user
from persistable.records.key import Key
from persistable.runs.planner import Unit


class ReadyQueue:
    """Queue of the nodes that are ready; each leaves it when the resources that it asks for are free.

    Executors that place tasks themselves manage processors and memory; then only the limits named by the caller are counted here.
    """

    def __init__(self, executor: Executor, limits: Mapping[str, float]) -> None:
        self._executor = executor
        self._workers = executor.workers
        self._places = executor.schedules_resources
        self._limits = limits
        self._there: dict[str, float] = {"cpus": float(self._workers), "memory": float(memory() or "inf"), "gpus": 0.0, **limits}
        if self._places:
            self._there = dict(limits)
        self._used = dict.fromkeys(self._there, 0.0)
        self._queues: dict[Resources | None, list[tuple[int, Unit]]] = {}
        self.waiting = 0

    def check(self, key: Key, resources: Resources) -> None:
        """Raise Infeasible if `resources` are more than there will ever be."""
        if self._places:
            self._executor.check(resources)
        self._notice(key, resources)
        wanted = self._wanted(resources)
        over = {name: amount for name, amount in wanted.items() if amount > self._there[name]}
        if over:
            there = {name: self._there[name] for name in over}
            asked = ", ".join(f"{name}={amount:g} (there is {there[name]:g})" for name, amount in over.items())
            raise Infeasible(
                f"{key} asks for {asked}; ask for less, or say limits={{...}} if there is more", key=key, wanted=over, available=there
            )

    def _notice(self, key: Key, resources: Resources) -> None:
        """Warn of a counter that is not among the limits, though some are given: it is easily misspelt."""
        for name in resources.counters:
            if self._limits and name not in self._limits:
                warnings.warn(
                    f"{key} asks for {name}, which limits={dict(self._limits)} does not name, so it is not limited",
                    PersistableWarning,
                    stacklevel=depth_of_user(),
                )

    def push(self, unit: Unit) -> None:
        """Add a unit that is ready."""
        queue = self._queues.get(unit.node.resources)
        if queue is None:
            queue = self._queues[unit.node.resources] = []
        heappush(queue, (unit.order, unit))
        self.waiting += 1

    def pop(self, running: int, window: int = 1) -> Unit | None:
        """Remove and return the first unit in the order of the plan that may begin now; its resources are in use until `release`."""
        best: list[tuple[int, Unit]] | None = None
        for resources, queue in self._queues.items():
            if queue and (best is None or queue[0][0] < best[0][0]) and self._fits(resources, running, window):
                best = queue
        if best is None:
            return None
        unit = heappop(best)[1]
        self.waiting -= 1
        self._count(unit, 1.0)
        return unit

    def pop_more(self, most: int, suits: Callable[[Unit], bool]) -> list[Unit]:
        """Remove and return the next units that ask for no resources, while they suit, at most `most`."""
        queue, taken = self._queues.get(None, []), list[Unit]()
        while queue and len(taken) < most and suits(queue[0][1]):
            taken.append(heappop(queue)[1])
        self.waiting -= len(taken)
        return taken

    def release(self, unit: Unit) -> None:
        """Free the resources of a unit that has ended."""
        self._count(unit, -1.0)

    def _fits(self, resources: Resources | None, running: int, window: int) -> bool:
        if running >= window:
            return False
        if resources is None:
            return True
        if resources.time is not None and running >= self._workers:
            return False  # its time would run while it waits for a worker
        return all(self._used[name] + amount <= self._there[name] for name, amount in self._wanted(resources).items())

    def _count(self, unit: Unit, sign: float) -> None:
        resources = unit.node.resources
        if resources is not None:
            for name, amount in self._wanted(resources).items():
                self._used[name] += sign * amount

    def _wanted(self, resources: Resources) -> dict[str, float]:
        """The amounts that are counted here: a request for more processors than there are workers counts as all of them."""
        amounts: dict[str, Any] = {"memory": resources.memory or 0, "gpus": resources.gpus, **resources.counters}
        amounts["cpus"] = min(resources.cpus, self._there.get("cpus", resources.cpus))
        return {name: float(amount) for name, amount in amounts.items() if name in self._there}
