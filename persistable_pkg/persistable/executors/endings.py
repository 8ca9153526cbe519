"""Ends of tasks: futures that get their outcome, and words for the end of a process."""

from __future__ import annotations

import signal
from concurrent import futures
from contextlib import suppress
from typing import Any

from persistable.executors.base import portable


def settle(future: futures.Future[Any], result: object, error: BaseException | None) -> None:
    """Set the outcome of a future: the error, if there is one."""
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def failed(error: Exception) -> futures.Future[Any]:
    """Return the future of a call that cannot be sent, which fails by itself, as in the standard library."""
    future: futures.Future[Any] = futures.Future()
    future.set_running_or_notify_cancel()
    future.set_exception(portable(error))
    return future


def how_ended(exitcode: int) -> str:
    """Tell an exit status, or minus the number of a signal."""
    if exitcode >= 0:
        return f"ended with exit status {exitcode}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-exitcode).name}"
    return f"was killed by signal {-exitcode}"
