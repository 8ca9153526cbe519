"""Executors with a driver, which has a queue and a thread of its own, and starts with the first task."""

from __future__ import annotations

import threading
import weakref
from abc import abstractmethod
from concurrent import futures
from typing import Any, ClassVar, Generic, NoReturn, ParamSpec, Protocol, TypeVar

from persistable.executors.base import Executor

P = ParamSpec("P")
T = TypeVar("T")


class Driver(Protocol):
    """The queue and the thread of an executor."""

    def stop(self, task: Any, /) -> bool:
        """End a task; True if it is cancelled when this returns, False if it ended by itself."""
        ...

    def close(self, cancel: bool = False) -> None:
        """Accept no more tasks; end when all accepted ones have ended, or have been cancelled if `cancel`."""
        ...

    def join(self) -> None:
        """Wait until it has ended."""
        ...


SomeDriver = TypeVar("SomeDriver", bound=Driver)


class DrivenExecutor(Executor, Generic[SomeDriver]):
    """The base of executors with a driver."""

    schedules_resources: ClassVar[bool] = True
    can_stop: ClassVar[bool] = True
    isolates: bool = True
    task: ClassVar[type[futures.Future[Any]]]
    """The futures that its driver makes or takes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._driver: SomeDriver | None = None

    @abstractmethod
    def _begin(self) -> SomeDriver:
        """Make the driver."""

    def _connected(self) -> SomeDriver:
        with self._lock:
            if self._closed:
                raise RuntimeError(f"this {type(self).__name__} was shut down, and cannot schedule new futures; make another")
            if self._driver is None:
                self._driver = driver = self._begin()
                weakref.finalize(self, driver.close).atexit = False
            return self._driver

    def stop(self, future: futures.Future[Any]) -> bool:
        if future.done():
            return False
        if future.cancel():
            return True
        return isinstance(future, self.task) and self._driver is not None and self._driver.stop(future)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            self._closed = True
            driver = self._driver
        if driver is not None:
            driver.close(cancel_futures)
            if wait:
                driver.join()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} belongs to its process and cannot be pickled; make one where it is needed")
