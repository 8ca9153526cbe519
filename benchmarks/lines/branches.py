"""Two branches that keep a processor busy each: how much of the second processor a run gets."""

from __future__ import annotations

from typing import Any

from harness import LIMIT, MORE, OURS, PEER, Goal, Job, Line

LINE = Line(
    name="branches",
    title="two CPU-bound branches on two cores",
    loop="two branches of two nodes each, plain Python, and a node that joins them; workers started and nodes made outside",
    unit="ms",
    sizes=(10, 100, 1_000),
    sizes_quick=(10, 100),
    size_label=lambda size: f"{size:,} thousand turns",
    rounds=5,
    goals=(Goal("<= 0.65 x one core", 0.65, "persistable, one core"),),
    slope_of="turns of the loop",
)


@LINE.add("ProcessPoolExecutor", "submit(branch) twice, of the standard library", LIMIT)
def bare(job: Job) -> Any:
    from concurrent.futures import ProcessPoolExecutor

    return _both(ProcessPoolExecutor(2), job.size)


@LINE.add("loky", "get_reusable_executor().submit(branch), twice", PEER)
def loky_both(job: Job) -> Any:
    import loky

    return _both(loky.get_reusable_executor(2, timeout=600), job.size)


def _both(pool: Any, size: int) -> Any:
    from lines.steps import turn

    def operation() -> int:
        return sum(future.result() for future in [pool.submit(turn, n, 1000 * size) for n in (1, 2)])

    return operation, lambda: None


@LINE.add("persistable", "run(node, executor=ProcessExecutor(2))", OURS)
def two_cores(job: Job) -> Any:
    from lines.steps import branches
    from persistable import run
    from persistable.executors import ProcessExecutor

    executor, node = ProcessExecutor(2), branches(1000 * job.size)
    return lambda: run(node, executor=executor, store=job.folder), lambda: None


@LINE.add("persistable, one core", "run(node), inline", MORE)
def one_core(job: Job) -> Any:
    from lines.steps import branches
    from persistable import run

    node = branches(1000 * job.size)
    return lambda: run(node, store=job.folder), lambda: None
