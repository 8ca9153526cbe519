"""Ends of tasks: futures that get their outcome, and words for the end of a process."""

from __future__ import annotations

import logging
import signal
from concurrent import futures
from contextlib import suppress
from typing import Any

from persistable.executors.base import portable

_LOGGER = logging.getLogger("persistable")


class OwnFuture(futures.Future[Any]):
    """The future of a call that waits in a queue of ours, with the name of its function in messages."""

    begun = False

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def begin(self) -> None:
        """Mark it as running, so that `cancel` comes too late."""
        if not self.begun and not self.done():
            self.begun = True
            self.set_running_or_notify_cancel()

    def discard(self) -> bool:
        """Cancel it after it was taken out of the queue; if it was announced to be running, it fails with CancelledError."""
        if super().cancel():
            self.set_running_or_notify_cancel()
        else:
            self.finish(None, stopped_error(self.name))
        return True

    def finish(self, result: object, error: BaseException | None) -> None:
        """Set its outcome. Never raises, whatever the callbacks do."""
        try:
            self.begin()
            settle(self, result, error)
        except BaseException:
            _LOGGER.exception("while the outcome of %s was delivered", self.name)


def stopped_error(name: str) -> futures.CancelledError:
    """Return the error of a call that was stopped."""
    return futures.CancelledError(f"{name} was stopped")


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
