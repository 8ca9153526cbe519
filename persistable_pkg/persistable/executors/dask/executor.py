"""The executor for Dask: on processes of this machine, or on an existing cluster."""

# distributed is only partly typed, so pyright finds unknown types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import pickle
import shutil
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, TypeVar

from persistable.errors import RunError, WorkerDied, need
from persistable.executors import machine, notes
from persistable.executors.base import Executor, portable
from persistable.executors.calls import answer, pack, to_bytes
from persistable.executors.outcomes import failed, settle
from persistable.executors.resources import Resources, check_offers

P = ParamSpec("P")
T = TypeVar("T")

_BIG = 1_000_000
_FRESH = 1.0
_PATIENCE = 120.0


@dataclass(eq=False, slots=True)
class _Task:
    future: futures.Future[Any]
    name: str
    work: list[bytes]
    needs: dict[str, float]


class DaskExecutor(Executor):
    """Tasks on a Dask cluster. Needs the extra ``dask``.

    client_or_address: a `distributed.Client`, the address of a scheduler, or None for a cluster of its own: worker processes of one thread
    each on 127.0.0.1, started when first used. n_workers: the number of these, by default the number of CPUs; on an existing cluster, the
    minimum number of tasks in flight, even with fewer threads, so that an adaptive cluster grows. `shutdown` closes only objects made here.

    A running task cannot be stopped, so no timeout can be enforced. On its own cluster a task that crashes its process fails alone with
    WorkerDied, and no other is lost (`isolates`); one that had ended, and whose answer was not fetched when its process died, is performed
    again: `run` generates no payload twice then, since committed payloads are found. On an existing cluster Dask performs all tasks of a
    dead worker again, and gives up on one after ``distributed.scheduler.allowed-failures``.

    Resources are mapped to those that workers of an existing cluster declare: ``GPU``, ``MEMORY`` and ``CPU`` in any spelling, counters by
    their names. `cpus` and counters that no worker declares are ignored there; memory is compared to the workers' limits.
    """

    name: ClassVar[str] = "dask"
    schedules_resources: ClassVar[bool] = True

    def __init__(self, client_or_address: Any = None, *, n_workers: int | None = None) -> None:
        if n_workers is not None and n_workers < 1:
            raise ValueError(f"n_workers is {n_workers}; give 1 or more, or nothing for as many as there are CPUs")
        self._given = client_or_address
        self._n_workers = n_workers
        self.isolates = client_or_address is None
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._waiting: deque[_Task] = deque()
        self._running: dict[str, Any] = {}
        self._closing = False
        self._unattended = False
        self._cluster: Any = None
        self._client: Any = None
        self._folder: Path | None = None
        self._seen: dict[str, Mapping[str, Any]] = {}
        self._seen_at = -_FRESH

    def check(self, resources: Resources) -> None:
        self._connect()
        self._needs(resources)

    @property
    def workers(self) -> int:
        own = self._n_workers or machine.cpus()
        if self._given is None:
            return own
        threads = sum(int(worker["nthreads"]) for worker in self._look().values())
        return max(threads, self._n_workers or 1)

    def submit_for(self, resources: Resources | None, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[T]:
        needs = self._needs(resources)
        future: futures.Future[T] = futures.Future()
        try:
            work = to_bytes(pack((fn, args, kwargs)))
        except Exception as error:  # noqa: BLE001 - pickling an object may raise anything
            return failed(error)
        with self._lock:
            if self._closing:
                raise RuntimeError("this DaskExecutor is shut down; make another")
            self._connect()
            self._waiting.append(_Task(future, f"persistable-{uuid.uuid4().hex}", work, needs))
        self._fill()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            self._closing = True
            self._unattended = not wait
            dropped = list(self._waiting) if cancel_futures else []
            for task in dropped:
                self._waiting.remove(task)
        for task in dropped:
            task.future.cancel()
        if wait:
            with self._idle:
                self._idle.wait_for(lambda: not self._waiting and not self._running)
        self._close_when_idle()

    def __repr__(self) -> str:
        return f"DaskExecutor(n_workers={self.workers})" if self._given is None else f"DaskExecutor({self._given!r})"

    # --- the cluster

    def _connect(self) -> None:
        if self._client is not None:
            return
        distributed = need("distributed", "distributed", "dask", "DaskExecutor")
        connect: Any = distributed.Client
        if isinstance(self._given, connect):
            self._client = self._given
        elif self._given is not None:
            self._client = connect(self._given, set_as_default=False)
        else:
            from persistable.executors.dask.cluster import start

            self._folder = Path(tempfile.mkdtemp(prefix="persistable-dask-"))
            self._cluster = start(self.workers)
            self._client = connect(self._cluster, set_as_default=False)
            self._await_a_worker()
        self._hear_notes()

    def _hear_notes(self) -> None:
        from persistable.executors.dask.cluster import TOPIC

        def deliver(event: tuple[float, bytes]) -> None:
            notes.deliver(event[1])

        self._client.subscribe_topic(TOPIC, deliver)

    def _await_a_worker(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError:
            self._close()
            raise RunError(
                f"no Dask worker came up on this machine within {_PATIENCE:g} s; what their processes wrote to standard error says why",
                key=None,
            ) from None

    def _close_when_idle(self) -> None:
        with self._lock:
            if not self._closing or self._waiting or self._running:
                return
        self._close()

    def _close(self) -> None:
        with self._lock:
            client, cluster, folder = self._client, self._cluster, self._folder
            self._client = self._cluster = self._folder = None
        if client is not None and client is not self._given:
            client.close()
        if cluster is not None:
            cluster.close()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _look(self) -> dict[str, Mapping[str, Any]]:
        """Return the workers of an existing cluster, from a cache of at most one second."""
        with self._lock:
            if time.monotonic() - self._seen_at >= _FRESH and not self._closing:
                self._connect()
                self._seen = dict(self._client.scheduler_info(n_workers=-1)["workers"])
                self._seen_at = time.monotonic()
            return self._seen

    def _needs(self, resources: Resources | None) -> dict[str, float]:
        if self._given is None:
            machine.check(resources)
            return {}
        return needs_of(resources, list(self._look().values()))

    # --- the window: tasks at the cluster cannot be cancelled any more, the rest wait here

    def _fill(self) -> None:
        room = self.workers
        while True:
            with self._lock:
                if not self._waiting or len(self._running) >= room:
                    break
                task = self._waiting.popleft()
                if not task.future.set_running_or_notify_cancel():
                    continue
                self._running[task.name] = None
            try:
                self._launch(task)
            except Exception as error:  # noqa: BLE001 - the connection may be gone
                self._settle(task, None, portable(error))
        with self._idle:
            self._idle.notify_all()

    def _launch(self, task: _Task) -> None:
        from persistable.executors.dask.cluster import perform

        entry = str(self._folder / task.name) if self._folder is not None else None
        work: list[bytes] | str = task.work
        if entry is not None and sum(map(len, task.work)) > _BIG:
            work = f"{entry}.work"  # large arguments must not pass through the scheduler
            Path(work).write_bytes(pickle.dumps(task.work))
        task.work = []
        there = self._client.submit(perform, work, entry, key=task.name, pure=False, retries=0, resources=task.needs or None)
        with self._lock:
            self._running[task.name] = there  # Dask drops a task whose future is released

        def collect(done: Any) -> None:
            self._collect(task, done)

        there.add_done_callback(collect)

    def _collect(self, task: _Task, done: Any) -> None:
        from persistable.executors.dask.cluster import died, exit_status

        result: Any = None
        error: BaseException | None
        try:
            result, error = answer(*done.result())
        except BaseException as lost:  # noqa: BLE001 - errors of Dask: a dead worker, a lost connection, a cancelled future
            error = died() if type(lost).__name__ == "KilledWorker" else portable(lost)
        if isinstance(error, WorkerDied) and self._folder is not None:
            error = died(exit_status(str(self._folder / task.name)))
        self._settle(task, result, error)
        self._fill()
        if self._unattended:
            # not in this thread, which runs the callbacks of all clients: closing waits for it
            threading.Thread(target=self._close_when_idle, name="persistable-dask-close").start()

    def _settle(self, task: _Task, result: Any, error: BaseException | None) -> None:
        if self._folder is not None:
            for leftover in (task.name, f"{task.name}.work"):
                (self._folder / leftover).unlink(missing_ok=True)
        settle(task.future, result, error)
        with self._lock:
            self._running.pop(task.name, None)


# ------------------------------------------------------------------ resources

_SPELLINGS = {"cpus": ("cpu", "cpus"), "gpus": ("gpu", "gpus"), "memory": ("memory", "mem")}


def needs_of(resources: Resources | None, workers: list[Mapping[str, Any]]) -> dict[str, float]:
    """Return the request to Dask, in the names that `workers` (as `Client.scheduler_info` describes them) use.

    Raises Infeasible if no worker has enough. Without any worker only GPUs are requested, since GPU workers may still join.
    """
    if resources is None:
        return {}
    if not workers:
        return {"GPU": resources.gpus} if resources.gpus else {}
    offers = [_offer({**_SPELLINGS, **resources.counters}, worker) for worker in workers]
    declared = {name for offer in offers for name, (word, _) in offer.items() if word}
    wanted = {**resources.amounts, **resources.counters}
    binding = {name: amount for name, amount in wanted.items() if amount and (name in declared or name in ("gpus", "memory"))}
    amounts = [{name: amount for name, (_, amount) in offer.items()} for offer in offers]
    check_offers(binding, amounts, "worker of this Dask cluster", "start workers with more (dask worker --resources)")
    words = {name: word for offer in offers for name, (word, _) in offer.items() if word}
    return {words[name]: float(amount) for name, amount in binding.items() if name in words}


def _offer(wanted: Iterable[str], worker: Mapping[str, Any]) -> dict[str, tuple[str, float]]:
    """Map each wanted name that this worker offers to its own name for it, empty if it declares none, and the amount."""
    declared: Mapping[str, float] = worker.get("resources") or {}
    found: dict[str, tuple[str, float]] = {}
    for name in wanted:
        spellings = _SPELLINGS.get(name, (name,))
        word = next((word for word in declared if word == name or word.lower() in spellings), None)
        if word is not None:
            found[name] = (word, float(declared[word]))
        elif name == "memory":
            found[name] = ("", float(worker.get("memory_limit") or float("inf")))
    return found
