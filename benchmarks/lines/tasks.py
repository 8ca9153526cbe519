"""Many tiny tasks on two processes of this machine: by hand, and as nodes of a run."""

from __future__ import annotations

from typing import Any

from harness import LIMIT, MORE, OURS, PEER, Goal, Job, Line

WORKERS = 2
SIZES = (50, 500, 5_000)
LOOP = "all tasks handed over one by one and all results taken, divided by their number; two workers, started outside"


def _line(name: str, title: str, loop: str, goal: float) -> Line:
    return Line(
        name=name,
        title=title,
        loop=loop,
        sizes=SIZES,
        sizes_quick=SIZES[:2],
        size_label=lambda size: f"{size:,} tasks",
        rounds=7,
        per_item=True,
        goals=(Goal(f"<= {goal:g} x the bare pool", goal, "limit"),),
        slope_of="tasks",
    )


SUBMIT = _line("submit-processes", "5,000 tiny tasks on processes, per task", LOOP, 1.3)
RUN = _line("run-processes", "5,000 tiny unpersisted nodes on processes, per node", f"{LOOP}; nodes are made outside", 1.3)
LINES = [SUBMIT, RUN]


def _all(pool: Any, size: int) -> Any:
    """The operation, for anything that has the `submit` of the standard library."""
    from lines.tiny import plain

    submit = pool.submit

    def operation() -> None:
        for future in [submit(plain, n) for n in range(size)]:
            future.result()

    operation()
    return operation, lambda: None


@SUBMIT.add("ProcessPoolExecutor", "submit(f, n) of the standard library, one by one", LIMIT)
@RUN.add("ProcessPoolExecutor", "submit(f, n) of the standard library, one by one", LIMIT)
def bare(job: Job) -> Any:
    from concurrent.futures import ProcessPoolExecutor

    return _all(ProcessPoolExecutor(WORKERS), job.size)


@SUBMIT.add("loky", "get_reusable_executor().submit(f, n), one by one", PEER)
def loky_submit(job: Job) -> Any:
    import loky

    return _all(loky.get_reusable_executor(WORKERS, timeout=600), job.size)


@SUBMIT.add(
    "dask", "Client(LocalCluster).submit(f, n, pure=False), one by one", PEER, sizes=SIZES[1:2], rounds=3, why_not="at 500 tasks only"
)
def dask_submit(job: Job) -> Any:
    return _all(_Uncached(_dask_client()), job.size)


class _Uncached:
    def __init__(self, client: Any) -> None:
        self.submit = lambda fn, n: client.submit(fn, n, pure=False)


def _dask_client() -> Any:
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1")
    return Client(cluster)


@SUBMIT.add("persistable", "ProcessExecutor.submit(f, n), one by one", OURS)
def ours_submit(job: Job) -> Any:
    from persistable.executors import ProcessExecutor

    return _all(ProcessExecutor(WORKERS), job.size)


@RUN.add("dask", "dask.compute(*delayed) on a LocalCluster of processes", PEER, sizes=SIZES[1:2], rounds=3, why_not="at 500 tasks only")
def dask_compute(job: Job) -> Any:
    import dask

    from lines.tiny import plain

    client = _dask_client()
    make = dask.delayed(plain, pure=False)
    nodes = [make(n) for n in range(job.size)]
    return lambda: client.gather(client.compute(nodes)), lambda: None


@RUN.add("persistable", "run(nodes, executor=ProcessExecutor(2)), targets whose payloads come back", OURS)
def ours_run(job: Job) -> Any:
    from lines.steps import tiny
    from persistable import run
    from persistable.executors import ProcessExecutor

    executor = ProcessExecutor(WORKERS)
    nodes: list[Any] = []

    def before() -> None:
        nodes[:] = [tiny.step(n) for n in range(job.size)]

    return lambda: run(nodes, executor=executor, store=job.folder), before


@RUN.add("persistable, submit", "ProcessExecutor.submit(f, n), one by one, to compare with", MORE)
def ours_submit_again(job: Job) -> Any:
    return ours_submit(job)
