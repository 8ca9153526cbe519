"""Retries of requests over HTTP: the statuses that allow them, and their delays."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

ResultT = TypeVar("ResultT")
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""The statuses of transient errors, after which a retry may succeed."""


def retry_after(text: str) -> float | None:
    """The delay in seconds of a ``Retry-After`` header, given as seconds or as a date; None for neither."""
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    if text.strip().isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds()) if moment.tzinfo else None


def retried(
    call: Callable[[], ResultT], again: Callable[[Exception], bool | float], *, attempts: int, first: float, jitter: float, longest: float
) -> ResultT:
    """Return the result of `call`, which is called up to `attempts` times.

    again: for an error, False to raise it, the seconds to wait before the next try, or True for the usual delay: `first`, doubled each
    time, and up to `jitter` more, but at most `longest`.
    """
    from random import uniform
    from time import sleep

    for tries in range(1, attempts):
        try:
            return call()
        except Exception as error:
            wait = again(error)
            if wait is False:
                raise
        sleep(min(longest, first * 2 ** (tries - 1) + uniform(0, jitter)) if wait is True else wait)
    return call()
