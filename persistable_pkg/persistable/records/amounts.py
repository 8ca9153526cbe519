"""Sizes and durations as people write them, and what a generation used of the machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def size_in_words(size: float) -> str:
    """``12 B``, ``3.4 kB``, ``1.2 GB``; powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def duration_in_words(seconds: float) -> str:
    """``12 ms``, ``3.4 s``, ``5 min``, ``2 h``, ``3 d``."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for limit, divisor, unit in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h")):
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
