"""Functions that run on Ray's workers, one call for a batch of tasks; and the messages between them and the driver."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from persistable.errors import need
from persistable.executors import calls, notes

LARGE = 1 << 20
"""Bytes from which a buffer is put into Ray's object store once and passed by reference."""
OVERDUE = 0.5
"""Seconds after which a batch publishes its progress, and releases the tasks that it has not begun."""
NAMESPACE = "persistable"
"""Namespace in Ray's key-value store for the `Progress` of batches, by their names."""

LOOK = 0.25
"""Seconds between two checks for slow batches and for notes."""
NOTES = "notes-"
"""Prefix of the names of notes, before the name of their batch."""

_BUDGET = 0.15  # seconds after which a batch begins no further task
_SENT = 1 << 20  # bytes of outcomes after which a batch begins no further task
_PATIENCE = 10.0  # seconds for killed processes to be gone

Packed = tuple[bytes | int, tuple[int, ...]]
"""A pickle, or the position of a buffer with it, and the positions of the buffers that it refers to."""
Ended = tuple[bool, bytes]
"""True and the pickled result of a task, or False and its pickled error."""


class BatchRequest(NamedTuple):
    """Tasks to perform. `calls` are pairs of the position of a function and its packed arguments."""

    name: str
    functions: list[Packed]
    calls: list[tuple[int, Packed]]


class BatchResult(NamedTuple):
    """Result of a batch: its seconds, the outcomes of the tasks that it performed, the buffers of the last one's result, and the number of
    notes that it has sent."""

    seconds: float
    outcomes: list[Ended]
    buffers: Sequence[Any]
    notes: int = 0


class Progress(NamedTuple):
    """Progress of a slow batch: outcomes so far, and the process that performs the next task, its last."""

    outcomes: list[Ended]
    node: str
    pid: int


def run_batch(request: bytes, *buffers: Any) -> BatchResult:
    """Perform the tasks of a pickled `BatchRequest` one after the other."""
    batch: BatchRequest = pickle.loads(request)
    performed = _Performed(batch.name)
    functions: dict[int, Any] = {}

    def function(place: int) -> Any:
        if place not in functions:
            functions[place] = calls.unpack(_opened(batch.functions[place], buffers))
        return functions[place]

    apart: Sequence[Any] = ()
    size = 0
    start = time.perf_counter()
    posted = _Posted(batch.name)
    try:
        for place, packed in batch.calls:
            with notes.use_sender(notes.Sender(posted.note, LOOK)):
                went_well, parts = calls.perform(_opened(packed, buffers), partial(function, place))
            apart = [pickle.PickleBuffer(part) for part in parts[1:]]
            size += len(parts[0])
            if not performed.add((went_well, bytes(parts[0]))) or apart or size > _SENT or time.perf_counter() - start > _BUDGET:
                break
    finally:
        performed.over()
    return BatchResult(time.perf_counter() - start, performed.outcomes, apart, posted.count)


class _Posted:
    """Notes of a batch, which are stored in the key-value store until the driver reads them."""

    def __init__(self, name: str) -> None:
        self.count = 0
        self._name = name
        self._process = os.getpid()
        self._lock = threading.Lock()

    def note(self, data: bytes) -> bool:
        """Send a note, from any thread, but not from a process that a task has forked."""
        if os.getpid() != self._process:
            return False
        with self._lock:
            self.count += 1
            kv_put(f"{NOTES}{self._name}{self.count:09d}", data)
        return True


class _Performed:
    """Outcomes of a batch, which a thread publishes as `Progress` when a task takes long."""

    def __init__(self, name: str) -> None:
        self.outcomes: list[Ended] = []
        self._name = name
        self._lock = threading.Lock()
        self._closed = False
        self._timer = threading.Timer(OVERDUE, self._publish)
        self._timer.daemon = True
        self._timer.start()

    def add(self, outcome: Ended) -> bool:
        """Add an outcome; return whether the next task may begin."""
        with self._lock:
            self.outcomes.append(outcome)
            return not self._closed

    def over(self) -> None:
        self._timer.cancel()
        with self._lock:
            published, self._closed = self._closed, True
        if published:
            kv_remove(self._name)  # before this process begins another task: see `kill`

    def _publish(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            kv_put(self._name, pickle.dumps(tuple(Progress(self.outcomes, node_id(), os.getpid())), 5))


def _opened(packed: Packed, buffers: Sequence[Any]) -> calls.Parts:
    data, places = packed
    return [buffers[data] if isinstance(data, int) else data, *[buffers[place] for place in places]]


def node_id() -> str:
    """Return the name of the node that this process is on."""
    found: str = need("ray", "ray", "ray", "RayExecutor").get_runtime_context().get_node_id()
    return found


def kill(batch: str, pid: int) -> None:
    """End the process of this node that performs the batch, and its child processes; return when they are gone."""
    psutil: Any = need("psutil", "psutil", "ray", "RayExecutor")
    try:
        worker = psutil.Process(pid)
        worker.suspend()
        if kv_get(batch) is None:  # it has ended meanwhile
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
    """Tell whether it still runs: a zombie does not, and may remain if its parent does not wait for it."""
    try:
        return process.is_running() and process.status() not in ("zombie", "dead")
    except Exception:  # noqa: BLE001 - psutil's errors, which all mean that it is gone
        return False


# ------------------------------------------------------------------ Ray's key-value store


def kv_put(name: str, data: bytes) -> None:
    """Store `data`, readable by all processes connected to the cluster."""
    _values()._internal_kv_put(name, data, namespace=NAMESPACE)


def kv_get(name: str) -> bytes | None:
    """Return the data stored under this name; None if there is none."""
    found: bytes | None = _values()._internal_kv_get(name, namespace=NAMESPACE)
    return found


def kv_names(prefix: str) -> set[str]:
    """Return the stored names that begin with `prefix`."""
    return {name.decode() for name in _values()._internal_kv_list(prefix, namespace=NAMESPACE)}


def kv_remove(prefix: str) -> None:
    """Remove all data whose names begin with `prefix`."""
    _values()._internal_kv_del(prefix, del_by_prefix=True, namespace=NAMESPACE)


def _values() -> Any:
    return need("ray.experimental.internal_kv", "ray", "ray", "RayExecutor")
