"""Sizes, durations and ages as people write them: ``"10 GB"``, ``"30d"``; and the resource usage of a generation, in words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from datetime import time as clock
from typing import Any

_SPAN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*((?i:s|min|h|d|w|y)|m)\s*")  # no M, which could mean months
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgtp]?)(i?)b?\s*", re.IGNORECASE)
_SECONDS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0, "y": 365 * 86400.0}


def size_in_words(size: float) -> str:
    """``12 B``, ``3.4 kB``, ``1.2 GB``; powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:  # which would be rounded up
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def duration_in_words(seconds: float) -> str:
    """``12 ms``, ``3.4 s``, ``5 min``, ``2 h``, ``3 d``."""
    # each limit is the value from which rounding would give the next unit
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    for limit, divisor, unit in ((59.95, 1, "s"), (59.95 * 60, 60, "min"), (23.95 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.1f} {unit}"
    return f"{seconds / 86400:.1f} d"


def usage_in_words(usage: Mapping[str, Any]) -> str:
    """``2.9 s of CPU (its thread alone), at most 210 MB of memory in use by the process (12 MB more than before)``."""
    text = f"{duration_in_words(usage['cpu_seconds'])} of CPU" + (" (its thread alone)" if usage["of"] == "thread" else "")
    if "peak_memory" in usage:
        text += f", at most {size_in_words(usage['peak_memory'])} of memory in use by the process"
        rise = usage.get("memory_rise")
        text += f" ({size_in_words(rise)} more than before)" if rise else ""
    return text


def moment_before(age: timedelta | date | str | float, now: float) -> float:
    """The moment, seconds since 1970, that is `age` before `now`: a timedelta, ``"30d"``, ``"12h"``, seconds; or a date or time itself.

    Dates without a zone are of this machine's zone. Raises ValueError, TypeError.
    """
    if isinstance(age, timedelta):
        age = age.total_seconds()
    if isinstance(age, datetime):
        return age.timestamp()
    if isinstance(age, date):
        return datetime.combine(age, clock.min).timestamp()  # of this machine's zone
    if not isinstance(age, str):
        if isinstance(age, bool) or not age >= 0:
            raise ValueError(f"older_than={age!r}: give an age of 0 or more")
        return now - age
    span = _SPAN.fullmatch(age)
    if span is not None:
        return now - float(span[1]) * _SECONDS[span[2].lower()]
    try:
        return datetime.fromisoformat(age).timestamp()
    except ValueError:
        raise ValueError(
            f"older_than={age!r:.60}: give a number and s, min, h, d, w or y, such as '30d', or a date such as '2026-01-31'"
        ) from None


def bytes_in(size: int | float | str) -> int:
    """The number of bytes of `size`: itself, or ``"500 MB"``, ``"10GB"`` (powers of 1000), ``"2 GiB"`` (of 1024). Raises ValueError."""
    if isinstance(size, str):
        found = _SIZE.fullmatch(size)
        if found is None:
            raise ValueError(f"max_size={size!r:.60}: give bytes, or text such as '500 MB' or '2 GiB'")
        return int(float(found[1]) * (1024 if found[3] else 1000) ** " kmgtp".index(found[2].lower() or " "))
    if isinstance(size, bool) or not 0 <= size < math.inf:
        raise ValueError(f"max_size={size!r:.60}: give a number of bytes, 0 or more")
    return int(size)
