"""CPU time and memory of one generation: of its whole process where it has that to itself, else of its thread."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from typing import Any

try:
    _getrusage: Any = import_module("resource").getrusage
except ImportError:  # on Windows
    _getrusage = None
SHORTEST = 0.001
"""Seconds. What took less is not measured: that would cost more than it tells."""
_SELF, _CHILDREN = 0, -1
_UNIT = 1 if sys.platform == "darwin" else 1024
_begun = 0

Counters = tuple[int, bool, Any, Any, float]
"""Number of the generation, whether it is alone, usage of the process and of its ended children, and CPU seconds of the thread."""


def begin(alone: bool) -> Counters:
    """The counters now. alone: whether nothing else is being generated in this process."""
    global _begun
    _begun += 1
    if _getrusage is None:
        return _begun, alone, None, None, time.thread_time()
    return _begun, alone, _getrusage(_SELF), _getrusage(_CHILDREN), time.thread_time()


def of_thread(seconds: float) -> Counters:
    """The counters when this thread had used so many, as far as it alone is looked at."""
    return 0, False, None, None, seconds


def since(begun: Counters) -> dict[str, Any]:
    """The usage since then, as records have it; to be called in the same thread."""
    number, alone, own, children, thread = begun
    if _getrusage is None:
        return {"of": "thread", "cpu_seconds": round(time.thread_time() - thread, 6)}
    own_now, children_now = _getrusage(_SELF), _getrusage(_CHILDREN)
    peak = max(own_now.ru_maxrss, children_now.ru_maxrss) * _UNIT
    usage = {"of": "thread", "cpu_seconds": round(time.thread_time() - thread, 6), "peak_memory": peak}
    if own is not None:
        usage["memory_rise"] = peak - max(own.ru_maxrss, children.ru_maxrss) * _UNIT
        if alone and number == _begun:
            seconds = _seconds(own_now) + _seconds(children_now) - _seconds(own) - _seconds(children)
            usage.update(of="process", cpu_seconds=round(seconds, 6))
    return usage


def _seconds(counted: Any) -> float:
    seconds: float = counted.ru_utime + counted.ru_stime
    return seconds
