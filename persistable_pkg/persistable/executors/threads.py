"""Threads of this process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from typing import ClassVar, ParamSpec, TypeVar

from persistable.executors import machine
from persistable.executors.base import Executor
from persistable.executors.inline import contained
from persistable.executors.resources import Resources

P = ParamSpec("P")
T = TypeVar("T")


class ThreadExecutor(Executor):
    """Tasks in threads: good for work that waits, or that computes in libraries which release the interpreter's lock.

    max_workers: number of threads; by default the same as of a `concurrent.futures.ThreadPoolExecutor`. A running task cannot be stopped.
    """

    name: ClassVar[str] = "threads"
    shares_memory: ClassVar[bool] = True
    local: bool = True

    def __init__(self, max_workers: int | None = None) -> None:
        self._workers = max_workers if max_workers is not None else min(32, machine.cpus() + 4)
        self._pool = futures.ThreadPoolExecutor(self._workers, thread_name_prefix="persistable")

    @property
    def workers(self) -> int:
        return self._workers

    def submit_for(self, resources: Resources | None, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[T]:
        machine.check(resources)
        return self._pool.submit(contained, fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait=wait, cancel_futures=cancel_futures)

    def __repr__(self) -> str:
        return f"ThreadExecutor({self._workers})"
