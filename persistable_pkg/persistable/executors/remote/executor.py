"""Executor whose calls are performed by jobs that an engine runs on other machines."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from typing import Any, ClassVar, ParamSpec, TypeVar

from persistable.executors.calls import name_of, pack, to_bytes
from persistable.executors.driven import DrivenExecutor
from persistable.executors.outcomes import failed
from persistable.executors.remote import reach
from persistable.executors.remote.driver import Driver
from persistable.executors.remote.engine import CALL_OVERHEADS, Engine
from persistable.executors.remote.request import Request
from persistable.executors.remote.tasks import Call, Task
from persistable.executors.resources import Resources
from persistable.stores.base import Store

P = ParamSpec("P")
T = TypeVar("T")


class RemoteExecutor(DrivenExecutor[Driver]):
    """Base of executors for engines that keep jobs and their state in files on other machines.

    Short calls share a job, more of them the shorter they are. A call that crashes its process fails with WorkerDied; calls of its job that
    had not begun run in another. If this process ends, jobs continue: calls of a run whose jobs still wait or run are taken over by the
    next run that needs them. A job that its engine restarts, since its machine was needed or lost, resumes where it stopped.
    """

    reattaches: ClassVar[bool] = True
    task = Task

    def __init__(self, engine: Engine, settings: Request) -> None:
        """engine: runs the jobs. settings: the common part of their requests."""
        super().__init__()
        self._engine = engine
        self.min_call_seconds = CALL_OVERHEADS * engine.overhead
        self._settings = settings
        self._reached: set[str] = set()

    def check(self, resources: Resources) -> None:
        self._connected()
        self._engine.check(resources)

    @property
    def workers(self) -> int:
        """Number of jobs that run at a time."""
        self._connected()
        return max(1, self._engine.slots)

    def submit_for(self, resources: Resources | None, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[T]:
        return self._submit(None, resources, fn, args, kwargs)

    def submit_as(self, identity: str, resources: Resources | None, fn: Callable[[Any], T], argument: Any) -> futures.Future[T]:
        return self._submit(identity, resources, fn, (argument,), {})

    def _submit(self, identity: str | None, resources: Resources | None, fn: Any, args: Any, kwargs: Any) -> futures.Future[Any]:
        driver = self._connected()
        if resources is not None:
            self._engine.check(resources)
        try:
            parts = to_bytes(pack((fn, args, kwargs)))
        except Exception as error:  # noqa: BLE001 - pickling an object may raise anything
            return failed(error)
        return driver.submit(Call(name_of(fn), getattr(fn, "__module__", None) or "", parts), identity, resources)

    def check_store(self, store: Store) -> None:
        driver = self._connected()
        if store.url in self._reached or (mark := reach.new_mark(store)) is None:
            return
        local = store.local_path(mark)
        if not self._engine.places:
            if local is not None:
                driver.require(str(local), lambda: store.delete(mark))
            else:
                store.delete(mark)
            self._reached.add(store.url)
            return
        try:
            call = Call("the look into a store", "", to_bytes(pack((reach.sees, (store, mark), {}))))
            asked = [(name, driver.submit(call, None, None, place)) for name, place in self._engine.places]
            for name, future in asked:
                error = future.exception()
                if error is not None or not future.result():
                    raise reach.store_not_shared(
                        store.url, self.name, name, "" if error is None else f"{type(error).__name__}: {error}"
                    ) from error
        finally:
            store.delete(mark)
        self._reached.add(store.url)

    def _begin(self) -> Driver:
        return Driver(self._engine, self._settings)
