"""Executors of other libraries, by the interface of `concurrent.futures`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any, ClassVar, ParamSpec, TypeVar

from persistable.errors import WorkerDied
from persistable.executors.base import Executor
from persistable.executors.calls import Parts, answer, name_of, pack, perform_to_bytes, to_bytes
from persistable.executors.inline import contained
from persistable.executors.outcomes import failed, settle
from persistable.executors.resources import Resources

P = ParamSpec("P")
T = TypeVar("T")


class FuturesExecutor(Executor):
    """Adapts `inner` to the protocol of this package: a ProcessPoolExecutor, loky's, a ThreadPoolExecutor, mpi4py's, or any other of that
    interface.

    Guarantees are those of `inner`: running tasks are not stopped, and a process that dies may fail other tasks, each with `WorkerDied`.
    Resources are ignored. Functions, arguments and results are sent as bytes, by cloudpickle if pickle is not enough, unless `inner` is a
    ThreadPoolExecutor, which shares memory.

    `shutdown` waits for, or cancels, the tasks submitted here, and does not shut `inner` down: that is up to its owner.
    """

    name: ClassVar[str] = "futures"

    def __init__(self, inner: futures.Executor) -> None:
        self.inner = inner
        self._here = isinstance(inner, futures.ThreadPoolExecutor)
        self.local = self._here or isinstance(inner, futures.ProcessPoolExecutor) or type(inner).__module__.startswith("loky.")
        self._lock = threading.Lock()
        self._open = True
        self._pending: set[futures.Future[Any]] = set()

    @property
    def shares_memory(self) -> bool:  # type: ignore[override]
        """True for threads."""
        return self._here

    @property
    def workers(self) -> int:
        most = getattr(self.inner, "_max_workers", None)
        return most if isinstance(most, int) and most > 0 else os.cpu_count() or 1

    def submit_for(self, resources: Resources | None, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[T]:
        if not self._open:
            raise RuntimeError("this FuturesExecutor was shut down; submit to it before that, or make another of the same inner executor")
        if self._here:
            return self._followed(self.inner.submit(contained, fn, *args, **kwargs))
        name = name_of(fn)
        try:
            parts = to_bytes(pack((fn, args, kwargs)))
        except Exception as error:  # noqa: BLE001 - pickling an object may raise anything
            error.add_note(f"{name} or one of its arguments cannot be pickled, and so cannot go to another process")
            return failed(error)
        try:
            return self._followed(_Outer(self.inner.submit(perform_to_bytes, parts), name))
        except futures.BrokenExecutor as error:
            return failed(_died(error, name))

    def _followed(self, future: futures.Future[Any]) -> futures.Future[Any]:
        with self._lock:
            self._pending.add(future)
        future.add_done_callback(self._forget)
        return future

    def _forget(self, future: futures.Future[Any]) -> None:
        with self._lock:
            self._pending.discard(future)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            self._open = False
            pending = list(self._pending)
        running = [future for future in pending if not (cancel_futures and future.cancel())]
        if wait:
            futures.wait(running)

    def __repr__(self) -> str:
        return f"FuturesExecutor({self.inner!r})"


class _Outer(futures.Future[Any]):
    """The future that `submit` returns: its outcome is that of the inner one, unpacked."""

    def __init__(self, inner: futures.Future[tuple[bool, Parts]], name: str) -> None:
        super().__init__()
        self._inner = inner
        self._name = name
        inner.add_done_callback(self._follow)

    def cancel(self) -> bool:
        return self._inner.cancel() and super().cancel()

    def running(self) -> bool:
        return not self.done() and self._inner.running()

    def _follow(self, inner: futures.Future[tuple[bool, Parts]]) -> None:
        if inner.cancelled():
            super().cancel()
            self.set_running_or_notify_cancel()
            return
        self.set_running_or_notify_cancel()
        broken = inner.exception()
        if broken is None:
            result, error = answer(*inner.result())
        else:
            result, error = None, _died(broken, self._name) if isinstance(broken, futures.BrokenExecutor) else broken
        settle(self, result, error)


def _died(error: BaseException, name: str) -> WorkerDied:
    died = WorkerDied(
        f"the pool broke while it had {name}: {error} This kind of pool gives up every task it holds when one worker dies, and takes no "
        "more; ProcessExecutor loses only the one",
        exitcode=None,
    )
    died.__cause__ = error
    return died
