"""The executor for Ray: a local instance or a cluster."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable
from concurrent import futures
from typing import Any, ClassVar, ParamSpec, TypeVar, cast

from persistable.executors.driven import DrivenExecutor
from persistable.executors.ray import cluster
from persistable.executors.ray.driver import Driver
from persistable.executors.ray.tasks import Group, Task
from persistable.executors.resources import Resources

P = ParamSpec("P")
T = TypeVar("T")

_drivers: weakref.WeakSet[Driver] = weakref.WeakSet()
_watching = False


class RayExecutor(DrivenExecutor[Driver]):
    """A `concurrent.futures.Executor` whose tasks run on Ray. Needs the extra ``ray``, here and on the nodes.

    address: of the cluster, as for ``ray.init``: ``"auto"``, ``"host:port"``, ``"ray://host:port"``, or ``"local"`` to start one on this
    machine. None: the cluster this process is already connected to, else ``$RAY_ADDRESS``, else a local one. num_cpus and `init`: passed to
    ``ray.init``. Nothing happens before the first task; `shutdown` ends the instance or connection that was made here.

    max_pending: the number of batches at Ray at a time; the others wait here, where they can be cancelled. Default: as many as the cluster
    can run at once, twice that for short tasks. Give more on a cluster that grows with its queue.

    `cpus`, `memory` and `gpus` of a task's `Resources` become Ray's ``num_cpus``, ``memory`` and ``num_gpus`` (1 CPU by default); more than
    one GPU is rounded up. A counter such as ``db=1`` becomes a resource of Ray only if a node declares one of that name: it then limits all
    users of the cluster; otherwise `run` counts it. `time` is enforced by the caller; tasks that have one are sent to Ray one by one and
    only when there is room, so that "running" means running.

    Short tasks are sent in batches, sized by the duration of the last ones. Functions and arguments are pickled when their task is sent to
    Ray, not when it is submitted: do not change them until then. Arrays and bytes of 1 MB and more are put into Ray's object store once;
    arrays arrive as read-only maps of it, as do those in results.

    A task whose process dies fails with WorkerDied. The tasks in its batch without an answer yet run again, in smaller batches, and so does
    it, until it is alone: each runs *at least* once, and more than once only if a worker or a node was lost. `run` generates no payload
    twice then, since committed payloads are found. A task that has a `time` shares no batch, and is not repeated. When a whole node is
    lost, its tasks without a result are performed again elsewhere, up to three times.

    `stop` kills the process of a task with its descendants that still have a parent; a task that was just sent to Ray, or waits there, is
    given up after about a second.
    """

    name: ClassVar[str] = "ray"
    task = Task

    def __init__(self, address: str | None = None, *, num_cpus: float | None = None, max_pending: int | None = None, **init: Any) -> None:
        if max_pending is not None and max_pending < 1:
            raise ValueError(f"max_pending is {max_pending}; give 1 or more, or nothing for what the cluster can run")
        super().__init__()
        self._address = address
        self._init = init if num_cpus is None else {"num_cpus": num_cpus, **init}
        self._max_pending = max_pending
        self._groups: dict[Resources | None, Group] = {}

    def check(self, resources: Resources) -> None:
        self._connected().cluster.options(resources)

    @property
    def workers(self) -> int:
        """Number of CPUs of the cluster, read every few seconds."""
        return max(1, int(self._connected().cluster.total("CPU")))

    def submit_for(self, resources: Resources | None, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[T]:
        driver = self._connected()
        group = self._groups.get(resources)
        if group is None:
            options = driver.cluster.options(resources)
            group = self._groups[resources] = driver.group(options, resources is not None and resources.time is not None)
        task = Task(group, fn, args, kwargs)
        driver.submit(task)
        return cast("futures.Future[T]", task)

    def _begin(self) -> Driver:
        driver = Driver(cluster.join(self._address, self._init), self._max_pending)
        _watch(driver)
        return driver

    def __repr__(self) -> str:
        return f"RayExecutor({self._address!r})" if self._address else "RayExecutor()"


def _watch(driver: Driver) -> None:
    """Make the program wait for its tasks at exit, as executors of the standard library do, before Ray's own shutdown."""
    global _watching
    _drivers.add(driver)
    if not _watching:
        _watching = True
        atexit.register(_finish)  # later than ray's own, hence called before it


def _finish() -> None:
    drivers = list(_drivers)
    for driver in drivers:
        driver.close()
    for driver in drivers:
        driver.join()
