"""Functions that run on Ray's workers, one call for a batch of tasks; and how tasks and outcomes travel."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from persistable.executors.base import portable
from persistable.executors.ray.journal import COOKIE, Home, Log

_cloudpickle: Any = import_module("cloudpickle")  # it has no types

LARGE = 1 << 20
"""Bytes from which a buffer is put into Ray's object store once and passed by reference."""

_FREE = 1 << 16  # bytes from which a buffer of a result travels by itself, without a copy
_LOGGED = 1 << 20  # bytes up to which an outcome is written to the log; a larger one ends its batch


_PLAIN = frozenset({type(None), bool, int, float, str})  # what is never large and imports nothing

Parcel = tuple[bytes | int, tuple[int, ...]]
"""A pickle, or the position of a buffer that holds it; and the positions of the buffers that it refers to."""


class Order(NamedTuple):
    """A batch. `calls` are pairs of the position of a function and the parcel of its arguments; after `budget` seconds none begins."""

    home: Home
    name: str
    budget: float
    functions: list[Parcel]
    calls: list[tuple[int, Parcel]]


class Report(NamedTuple):
    """How far a batch got in how many seconds, and the pickles of ``(True, value)`` or ``(False, error)``.

    `buffers` are those of the last outcome. None of it began where `begun` is false.
    """

    begun: bool
    seconds: float
    outcomes: list[bytes]
    buffers: Sequence[Any]


def opened(parcel: Parcel, buffers: Sequence[Any]) -> Any:
    """The content of a parcel."""
    data, places = parcel
    return pickle.loads(buffers[data] if isinstance(data, int) else data, buffers=[buffers[place] for place in places])


def are_plain(values: Iterable[Any]) -> bool:
    """All of them are of the types whose pickles need no second look."""
    return _PLAIN.issuperset(map(type, values))


def dumps(value: Any, large: int) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """`value` pickled, without its buffers of `large` bytes and more; what another process cannot import goes by value."""
    apart: list[pickle.PickleBuffer] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes < large:
            return True
        apart.append(buffer)
        return False

    try:
        found = pickle.dumps(value, 5, buffer_callback=keep)
        if b"__main__" not in found and not _cloudpickle.list_registry_pickle_by_value():
            return found, apart
    except Exception:  # noqa: BLE001 - lambdas, closures, local classes: or it really cannot be pickled, and the next lines say so
        pass
    apart.clear()
    return _cloudpickle.dumps(value, 5, buffer_callback=keep), apart


def run_batch(order: bytes, *buffers: Any) -> Report:
    """Perform tasks one after the other, each outcome on record before the next begins."""
    batch: Order = pickle.loads(order)
    log = Log.begin(batch.home, batch.name, _node())
    if log is None:
        return Report(False, 0.0, [], ())
    os.environ[COOKIE] = batch.name
    outcomes: list[bytes] = []
    apart: Sequence[Any] = ()
    functions: dict[int, Any] = {}
    begun = time.perf_counter()
    try:
        for place, parcel in batch.calls:
            data, apart = _perform(batch.functions, functions, place, parcel, buffers)
            outcomes.append(data)
            large = apart or len(data) > _LOGGED
            log.append(b"" if large else data)
            if large or log.halted() or time.perf_counter() - begun > batch.budget:
                break
    finally:
        os.environ.pop(COOKIE, None)
        log.close()
    return Report(True, time.perf_counter() - begun, outcomes, apart)


def _perform(
    parcels: list[Parcel], functions: dict[int, Any], place: int, parcel: Parcel, buffers: Sequence[Any]
) -> tuple[bytes, Sequence[Any]]:
    try:
        if place not in functions:
            functions[place] = opened(parcels[place], buffers)
        args, kwargs = opened(parcel, buffers)
        value = functions[place](*args, **kwargs)
        if type(value) in _PLAIN:
            return pickle.dumps((True, value), 5), ()
        return dumps((True, value), _FREE)
    except BaseException as error:  # noqa: BLE001 - also SystemExit and KeyboardInterrupt fail their own task only
        return pickle.dumps((False, portable(error)), 5), ()


def _node() -> str:
    found: str = import_module("ray").get_runtime_context().get_node_id()
    return found
