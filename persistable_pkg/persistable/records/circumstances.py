"""Circumstances in which a payload was made, in words: what it needed of the machine, and the state of the code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from persistable.records.amounts import duration_in_words, size_in_words


def used(usage: Mapping[str, Any]) -> str:
    """``2.9 s of CPU (its thread alone), at most 210 MB of memory in use by the process (12 MB more than before)``."""
    text = f"{duration_in_words(usage['cpu_seconds'])} of CPU" + (" (its thread alone)" if usage["of"] == "thread" else "")
    if "peak_memory" in usage:
        text += f", at most {size_in_words(usage['peak_memory'])} of memory in use by the process"
        rise = usage.get("memory_rise")
        text += f" ({size_in_words(rise)} more than before)" if rise else ""
    return text


def commit(name: str, diff: str | None) -> str:
    """``1a2b…``, and whether there were changes that it has not."""
    return f"{name}, dirty: uncommitted changes of digest {diff}" if diff else name
