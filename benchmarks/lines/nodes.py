"""Many nodes that do nothing and are not persisted, planned and run in this process: what is left is our own work for each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness import MORE, OURS, PEER, Goal, Job, Line

LINE = Line(
    name="run-inline",
    title="plan and run 10,000 unpersisted no-op nodes inline, per node",
    loop="all nodes, planned and run in this process, divided by their number; made outside the loop",
    sizes=(1_000, 10_000, 100_000),
    sizes_quick=(1_000, 10_000),
    size_label=lambda size: f"{size:,} nodes",
    headline=1,
    rounds=5,
    per_item=True,
    goals=(Goal("<= 30 us", 30.0), Goal("layered <= 30 us", 30.0, "=persistable, layers")),
    slope_of="nodes",
)
FEW = {"sizes": (1_000,), "rounds": 3}


@LINE.add("Hamilton", "driver.execute(names): a function for each node; the driver, which plans, is built outside", PEER)
def hamilton(job: Job) -> Any:
    from hamilton import ad_hoc_utils, base, driver

    def function(number: int) -> Callable[[], int]:
        def noop() -> int:
            return number

        noop.__name__ = f"node{number}"
        return noop

    module = ad_hoc_utils.create_temporary_module(*map(function, range(job.size)), module_name="nodes")
    built = driver.Builder().with_modules(module).with_adapters(base.DictResult()).build()
    names = [f"node{number}" for number in range(job.size)]
    return lambda: built.execute(names), lambda: None


@LINE.add(
    "pipefunc",
    "pipeline.map({'n': numbers}, parallel=False, storage='dict'): one function, mapped",
    PEER,
    sizes=(1_000, 10_000),
    rounds=3,
    why_not="up to 10,000 only",
)
def pipefunc_map(job: Job) -> Any:
    from pipefunc import PipeFunc, Pipeline

    pipeline = Pipeline([PipeFunc(lambda n: n, "out", mapspec="n[i] -> out[i]")])
    numbers = list(range(job.size))
    return lambda: pipeline.map({"n": numbers}, parallel=False, storage="dict", show_progress=False), lambda: None


@LINE.add("dask", "dask.compute(*nodes, scheduler='synchronous'): delayed calls", PEER, why_not="0.01 s a node and more", **FEW)
def dask_delayed(job: Job) -> Any:
    import dask

    noop = dask.delayed(lambda n: n, pure=False)
    nodes = [noop(n) for n in range(job.size)]
    return lambda: dask.compute(*nodes, scheduler="synchronous"), lambda: None


@LINE.add("luigi", "luigi.build(tasks, local_scheduler=True, workers=1)", PEER, why_not="at the smallest size only", **FEW)
def luigi_build(job: Job) -> Any:
    import luigi

    from lines.luigi_tasks import Noop

    tasks: list[Any] = []
    turn = iter(range(1_000_000))

    def before() -> None:
        number = next(turn)
        tasks[:] = [Noop(n=n, turn=number) for n in range(job.size)]

    return lambda: luigi.build(tasks, local_scheduler=True, workers=1, log_level="ERROR"), before


def _step() -> Any:
    from persistable import step

    @step(persist=False)
    def noop(n: int, of: Any = None) -> int:
        return n

    return noop


def wide(size: int) -> list[Any]:
    """Nodes without any upstream."""
    noop = _step()
    return [noop.step(n) for n in range(size)]


def chain(size: int) -> list[Any]:
    """Each over the one before; the last of them."""
    noop = _step()
    last = noop.step(0)
    for n in range(1, size):
        last = noop.step(n, last)
    return [last]


def layers(size: int, width: int = 100) -> list[Any]:
    """Layers of `width` nodes, each over three of the layer before; the last layer."""
    noop = _step()
    last = [noop.step(n) for n in range(width)]
    for start in range(width, size, width):
        last = [noop.step(start + n, [last[n], last[n - 1], last[n - 2]]) for n in range(width)]
    return last


def _running(shape: Callable[[int], list[Any]]) -> Callable[[Job], Any]:
    def setup(job: Job) -> Any:
        from persistable import run

        nodes = shape(job.size)
        return lambda: run(nodes, store=job.folder), lambda: None

    return setup


LINE.add("persistable", "run(nodes), of noop.step(n): planning included", OURS)(_running(wide))
LINE.add("persistable, chain", "run(last), each node over the one before", MORE, rounds=2)(_running(chain))
LINE.add("persistable, layers", "run(nodes of the last layer), 100 nodes to a layer, each over three", MORE, rounds=2)(_running(layers))


@LINE.add("persistable, only plan", "plan(nodes)", MORE, rounds=2)
def ours_plan(job: Job) -> Any:
    from persistable import plan

    nodes = wide(job.size)
    return lambda: plan(nodes, store=job.folder), lambda: None


@LINE.add("persistable, only make", "[noop.step(n) for n in range(size)], with their keys", MORE, rounds=2)
def ours_make(job: Job) -> Any:
    return lambda: wide(job.size), lambda: None
