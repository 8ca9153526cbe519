"""Many tiny tasks on Ray."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from harness import HERE, LIMIT, MORE, OURS, PEER, Goal, Job, Line, Skip

SIZES = (50, 500, 5_000)
FULL: Any = {"sizes": SIZES[-1:], "why_not": "at the largest size only"}
FUTURES = "batches and Futures"
LINE = Line(
    name="tasks-ray",
    title="5,000 tiny tasks on Ray, per task",
    loop="all tasks handed over and all results taken, divided by their number; a local instance with two CPUs, started and warm",
    sizes=SIZES,
    sizes_quick=SIZES[::2],
    size_label=lambda size: f"{size:,} tasks",
    rounds=5,
    per_item=True,
    private=True,
    goals=(Goal("<= 1.2 x the best batches", 1.2, "limit"), Goal("<= 1.2 x those with a Future for each task", 1.2, FUTURES)),
    slope_of="tasks",
)


def _ray() -> Any:
    """Ray, started where nobody else can reach it."""
    if os.readlink("/proc/self/ns/net") == os.readlink(f"/proc/{os.getppid()}/ns/net"):
        raise Skip("Ray listens on every address, and no network namespace can be made here")
    os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", RAY_ENABLE_UV_RUN_RUNTIME_ENV="0", PYTHONPATH=str(HERE))
    import ray

    ray.init(
        address="local", num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, logging_level="ERROR", log_to_driver=False
    )
    return ray


def _warm(operation: Callable[[], object]) -> Callable[[], object]:
    for _ in range(2):
        operation()
    return operation


@LINE.add("best batches", "ray.get([batch.remote(numbers), ...]): of 1, 2, 4, ... 32 batches the fastest number, tried before", LIMIT)
def batches(job: Job) -> Any:
    return _best(job.size, lambda ray, batch, lots: ray.get([batch.remote(lot) for lot in lots]))


@LINE.add(FUTURES, "the same, made by hand, with a Future for each task that is set when its batch is there", MORE, **FULL)
def batches_and_futures(job: Job) -> Any:
    from concurrent.futures import Future

    def operation(ray: Any, batch: Any, lots: list[range]) -> None:
        sent = [(batch.remote(lot), [Future() for _ in lot]) for lot in lots]
        for reference, futures in sent:
            for future, result in zip(futures, ray.get(reference), strict=True):
                future.set_result(result)
        for _, futures in sent:
            for future in futures:
                future.result()

    return _best(job.size, operation)


def _best(size: int, operation: Callable[[Any, Any, list[range]], object]) -> Any:
    """The operation with the number of batches that suits it best."""
    from lines.tiny import plain

    ray = _ray()
    batch = ray.remote(lambda numbers: [plain(n) for n in numbers])

    def of(count: int) -> Callable[[], object]:
        lots = [range(size)[start::count] for start in range(count)]
        return lambda: operation(ray, batch, lots)

    def took(count: int) -> float:
        once = _warm(of(count))
        times = []
        for _ in range(5):
            start = time.perf_counter()
            once()
            times.append(time.perf_counter() - start)
        return sorted(times)[2]

    return of(min((1, 2, 4, 8, 16, 32), key=took)), lambda: None


@LINE.add("ray, one by one", "ray.get([f.remote(n) for n in numbers])", PEER, rounds=2, **FULL)
def one_by_one(job: Job) -> Any:
    from lines.tiny import plain

    ray = _ray()
    remote = ray.remote(plain)
    ray.get([remote.remote(n) for n in range(50)])
    return lambda: ray.get([remote.remote(n) for n in range(job.size)]), lambda: None


@LINE.add("persistable", "RayExecutor.submit(f, n), one by one: it makes the batches", OURS)
def ours_submit(job: Job) -> Any:
    from lines.tiny import plain
    from persistable.executors import RayExecutor

    _ray()
    executor = RayExecutor()

    def operation() -> None:
        for future in [executor.submit(plain, n) for n in range(job.size)]:
            future.result()

    return _warm(operation), lambda: None


@LINE.add("persistable, run", "run(nodes, executor=RayExecutor()), unpersisted nodes, made outside", MORE)
def ours_run(job: Job) -> Any:
    from lines.steps import tiny
    from persistable import run
    from persistable.executors import RayExecutor

    _ray()
    executor = RayExecutor()
    nodes = [tiny.step(n) for n in range(job.size)]
    return _warm(lambda: run(nodes, executor=executor, store=job.folder)), lambda: None
