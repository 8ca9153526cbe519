"""Functions that run on Ray's workers, one call for a batch of tasks; and how tasks and outcomes travel."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from persistable.executors import calls
from persistable.fileio.base import need

LARGE = 1 << 20
"""Bytes from which a buffer is put into Ray's object store once and passed by reference."""
OVERDUE = 0.5
"""Seconds after which a batch says how far it is, and gives back the tasks that it has not begun."""
NAMESPACE = "persistable"
"""Part of Ray's key-value store that holds the `Progress` of batches, under their names."""

_BUDGET = 0.15  # seconds after which a batch begins no further task
_SENT = 1 << 20  # bytes of outcomes after which a batch begins no further task
_PATIENCE = 10.0  # seconds for killed processes to go

Parcel = tuple[bytes | int, tuple[int, ...]]
"""A pickle, or the position of a buffer that holds it; and the positions of the buffers that it refers to."""
Ended = tuple[bool, bytes]
"""Whether a task went well, and its pickled result or error."""


class Order(NamedTuple):
    """A batch. `calls` are pairs of the position of a function and the parcel of its arguments."""

    name: str
    functions: list[Parcel]
    calls: list[tuple[int, Parcel]]


class Report(NamedTuple):
    """How a batch ended: its seconds, the tasks that it performed, and the buffers of the last one's result."""

    seconds: float
    outcomes: list[Ended]
    buffers: Sequence[Any]


class Progress(NamedTuple):
    """How far a batch is that takes long: the tasks it has performed, and the process that performs the next one, its last."""

    outcomes: list[Ended]
    node: str
    pid: int


def run_batch(order: bytes, *buffers: Any) -> Report:
    """Perform tasks one after the other."""
    batch: Order = pickle.loads(order)
    performed = _Performed(batch.name)
    functions: dict[int, Any] = {}

    def function(place: int) -> Any:
        if place not in functions:
            functions[place] = calls.unpack(_opened(batch.functions[place], buffers))
        return functions[place]

    apart: Sequence[Any] = ()
    size = 0
    start = time.perf_counter()
    try:
        for place, parcel in batch.calls:
            went_well, parts = calls.perform(_opened(parcel, buffers), partial(function, place))
            apart = [pickle.PickleBuffer(part) for part in parts[1:]]
            size += len(parts[0])
            if not performed.goes_on((went_well, bytes(parts[0]))) or apart or size > _SENT or time.perf_counter() - start > _BUDGET:
                break
    finally:
        performed.over()
    return Report(time.perf_counter() - start, performed.outcomes, apart)


class _Performed:
    """The outcomes of a batch, which a thread makes known while a task takes long."""

    def __init__(self, name: str) -> None:
        self.outcomes: list[Ended] = []
        self._name = name
        self._lock = threading.Lock()
        self._known = False
        self._timer = threading.Timer(OVERDUE, self._make_known)
        self._timer.daemon = True
        self._timer.start()

    def goes_on(self, outcome: Ended) -> bool:
        """Tell whether the next task may begin."""
        with self._lock:
            self.outcomes.append(outcome)
            return not self._known

    def over(self) -> None:
        self._timer.cancel()
        with self._lock:
            known, self._known = self._known, True
        if known:
            remove(self._name)  # before this process begins anything else: see `kill`

    def _make_known(self) -> None:
        with self._lock:
            if self._known:
                return
            self._known = True
            progress = Progress(self.outcomes.copy(), node_id(), os.getpid())
        keep(self._name, pickle.dumps(tuple(progress), 5))


def _opened(parcel: Parcel, buffers: Sequence[Any]) -> calls.Parts:
    data, places = parcel
    return [buffers[data] if isinstance(data, int) else data, *[buffers[place] for place in places]]


def node_id() -> str:
    """Return the name of the node that this process is on."""
    found: str = need("ray", "ray", "ray", "RayExecutor").get_runtime_context().get_node_id()
    return found


def kill(batch: str, pid: int) -> None:
    """End the process of this node that performs the batch, and all that it started; return when they are gone."""
    psutil: Any = need("psutil", "psutil", "ray", "RayExecutor")
    try:
        worker = psutil.Process(pid)
        worker.suspend()
        if kept(batch) is None:  # it has ended meanwhile
            worker.resume()
            return
        doomed = [worker, *worker.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in doomed:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            pass
    deadline = time.monotonic() + _PATIENCE
    while any(map(_runs, doomed)) and time.monotonic() < deadline:
        time.sleep(0.002)


def _runs(process: Any) -> bool:
    """Tell whether it still does anything: a zombie does not, and may stay where nobody waits for it."""
    try:
        return process.is_running() and process.status() not in ("zombie", "dead")
    except Exception:  # noqa: BLE001 - psutil's errors, which all say that it is gone
        return False


# ------------------------------------------------------------------ Ray's key-value store


def keep(name: str, data: bytes) -> None:
    """Put `data` there, for whoever is connected to the cluster."""
    _values()._internal_kv_put(name, data, namespace=NAMESPACE)


def kept(name: str) -> bytes | None:
    """Return what is there under this name."""
    found: bytes | None = _values()._internal_kv_get(name, namespace=NAMESPACE)
    return found


def names_kept(prefix: str) -> set[str]:
    """Return the names there that begin with `prefix`."""
    return {name.decode() for name in _values()._internal_kv_list(prefix, namespace=NAMESPACE)}


def remove(prefix: str) -> None:
    """Remove all whose names begin with `prefix`."""
    _values()._internal_kv_del(prefix, del_by_prefix=True, namespace=NAMESPACE)


def _values() -> Any:
    return need("ray.experimental.internal_kv", "ray", "ray", "RayExecutor")
