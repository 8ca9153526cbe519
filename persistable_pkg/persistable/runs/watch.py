"""`watched`: the same run again and again, so that what comes to lie outside is worked on as it comes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

from persistable.errors import HttpFailed, InputError, PersistableWarning, StoreError
from persistable.runs.result import RunResult


def watched(loop: Callable[[], Any], failed: str, every: float, until: Callable[[RunResult], object] | None) -> RunResult:
    """Carry out ``loop()``, a new one each round, until Ctrl-C, or until `until` is true of a round's result; the last result.

    A round that cannot be planned, because an input went just then or a store is down, is reported by a warning and tried again; the
    first one raises unless it is an input's fault. What failed is left alone in later rounds, and stays among the failures of the result.
    """
    result: RunResult | None = None
    current: Any = None
    try:
        while True:
            try:
                current = loop()
                result = _with_failures(current.run(failed if result is None else "skip"), result)
            except (InputError, StoreError, HttpFailed) as error:
                if result is None and not isinstance(error, InputError):
                    raise
                warnings.warn(f"{error} (watching goes on)", PersistableWarning, stacklevel=3)
            if until is not None and result is not None and until(result):
                return result
            time.sleep(every)
    except KeyboardInterrupt:
        if current is not None and len(current.result):
            return _with_failures(current.result, result)
        if result is None:
            raise  # nothing had begun
        return result


def check_every(every: float) -> None:
    """Raise ValueError for what cannot be seconds between two rounds."""
    if not every > 0:
        raise ValueError(f"watch is the number of seconds between two looks, more than 0; it was {every!r}")


def _with_failures(result: RunResult, earlier: RunResult | None) -> RunResult:
    """`result`, in whose failures are also those of an earlier round that it left as they were."""
    if earlier is not None and earlier is not result:
        result.failures[:0] = filter(result.left, earlier.failures)
    return result
