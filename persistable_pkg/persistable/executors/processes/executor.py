"""The executor for worker processes: a dying one only fails its own task, and any task can be stopped."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from functools import partial
from itertools import chain, islice
from typing import Any, ClassVar, ParamSpec, TypeVar

from persistable.errors import NotEnforceable
from persistable.executors import machine, thread_limits
from persistable.executors.base import Executor
from persistable.executors.processes.pool import Pool
from persistable.executors.processes.task import Task
from persistable.executors.resources import Resources

P = ParamSpec("P")
T = TypeVar("T")


class ProcessExecutor(Executor):
    """Tasks in fresh processes of this machine, started on demand and reused.

    max_workers: the maximum number of processes; by default the CPUs that this process may use. environment: variables of the workers
    besides those of this process, such as ``{"OMP_NUM_THREADS": "1"}``; without that, numerical libraries use cores / workers threads in
    each. grace: seconds between SIGTERM and SIGKILL when a task is stopped.

    Nothing of this process is copied, and ``__main__`` is not run again: scripts need no guard, and notebooks work. Functions, arguments
    and results are pickled, those of ``__main__`` and local ones by value. Arrays in the arguments must not be changed until the task is
    done. Processes that a task starts end with its worker, unless they have a session of their own. When this process ends, for whatever
    reason, so do the workers and their tasks; `shutdown` or a ``with`` block waits for them. Raises NotEnforceable on Windows.
    """

    name: ClassVar[str] = "processes"
    can_stop: ClassVar[bool] = True
    isolates: bool = True
    local: bool = True

    def __init__(self, max_workers: int | None = None, *, environment: Mapping[str, str] | None = None, grace: float = 0.5) -> None:
        if os.name != "posix":
            raise NotEnforceable(
                "ProcessExecutor needs process groups, which Windows has not; use FuturesExecutor(ProcessPoolExecutor())",
                executor=self.name,
                wanted="process groups",
            )
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers is {max_workers}; give 1 or more")
        workers = max_workers or machine.cpus()
        given = dict(environment or {})
        self._pool = Pool(workers, {**thread_limits.shared(max(1, machine.cpus() // workers), given), **given}, grace)
        # not at exit, where the pool is abandoned
        weakref.finalize(self, self._pool.drop).atexit = False

    @property
    def workers(self) -> int:
        return self._pool.size

    def submit_for(self, resources: Resources | None, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[T]:
        if resources is not None:
            machine.check(resources)
        return self._pool.submit(fn, args, kwargs)

    def stop(self, future: futures.Future[Any]) -> bool:
        return self._pool.stop(future) if isinstance(future, Task) else future.cancel()

    def map(self, fn: Callable[..., T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1) -> Iterator[T]:
        """Call `fn` as the standard library does: `chunksize` calls make one task. Raises ValueError if it is less than 1."""
        if chunksize < 1:
            raise ValueError(f"chunksize is {chunksize}; give 1 or more")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout)
        lots = _lots(iterables, chunksize)
        return chain.from_iterable(super().map(partial(_each, fn), lots, timeout=timeout))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait, cancel_futures)

    def __repr__(self) -> str:
        return f"ProcessExecutor({self.workers})"


def _lots(iterables: tuple[Iterable[Any], ...], size: int) -> Iterator[list[tuple[Any, ...]]]:
    calls = zip(*iterables, strict=False)
    while lot := list(islice(calls, size)):
        yield lot


def _each(fn: Callable[..., T], lot: list[tuple[Any, ...]]) -> list[T]:
    return [fn(*args) for args in lot]
