"""Outcomes of tasks: setting those of futures, and the end of a process as text."""

from __future__ import annotations

import logging
import signal
from concurrent import futures
from contextlib import suppress
from typing import Any

from persistable.executors.base import portable

_LOGGER = logging.getLogger("persistable")


class OwnFuture(futures.Future[Any]):
    """The future of a call in a queue of this package, with the name of its function in messages."""

    begun = False

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def begin(self) -> None:
        """Mark it as running, after which `cancel` has no effect."""
        if not self.begun and not self.done():
            self.begun = True
            self.set_running_or_notify_cancel()

    def discard(self) -> bool:
        """Cancel it after its removal from the queue; if it was marked as running, it fails with CancelledError."""
        if super().cancel():
            self.set_running_or_notify_cancel()
        else:
            self.finish(None, stopped_error(self.name))
        return True

    def finish(self, result: object, error: BaseException | None) -> None:
        """Set its outcome. Never raises, even if callbacks do."""
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
    """Return the failed future of a call that cannot be sent, as the standard library does."""
    future: futures.Future[Any] = futures.Future()
    future.set_running_or_notify_cancel()
    future.set_exception(portable(error))
    return future


def how_ended(exitcode: int) -> str:
    """Describe an exit status, or minus the number of a signal, as text."""
    if exitcode >= 0:
        return f"ended with exit status {exitcode}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-exitcode).name}"
    return f"was killed by signal {-exitcode}"
