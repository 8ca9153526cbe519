"""Retries of requests over HTTP: after which answers, and when."""

from __future__ import annotations

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""The statuses after which the next answer may be another."""


def retry_after(text: str) -> float | None:
    """The seconds that a ``Retry-After`` header asks to wait, given as seconds or as a date; None for neither."""
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    if text.strip().isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds()) if moment.tzinfo else None
