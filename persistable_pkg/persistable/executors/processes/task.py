"""The future of a call, with the call and the worker that has it."""

from __future__ import annotations

import logging
from concurrent import futures
from typing import TYPE_CHECKING, Any

from persistable.executors.calls import Parts
from persistable.executors.endings import settle

if TYPE_CHECKING:
    from persistable.executors.processes.pool import Pool
    from persistable.executors.processes.worker import Worker

_SMALL = 1 << 16  # bytes
_LOGGER = logging.getLogger("persistable")


class Task(futures.Future[Any]):
    """The future that a pool's `submit` returns. The pool's lock guards all but its outcome."""

    def __init__(self, pool: Pool, number: int, name: str, parts: Parts) -> None:
        super().__init__()
        self._pool = pool
        self.begun = False
        self.number = number
        self.name = name
        self.parts = parts
        self.worker: Worker | None = None
        """The worker that has it; None while it waits, and after it was answered."""
        self.withdrawn = False
        """Not to be given to a worker any more."""
        self.settled = False
        """Its outcome has arrived, if not yet been delivered."""

    @property
    def small(self) -> bool:
        """Tell whether it may be sent ahead of its time."""
        return len(self.parts) == 1 and len(self.parts[0]) < _SMALL

    def begin(self) -> None:
        """Mark it as running, so that `cancel` comes too late."""
        if not self.begun:
            self.begun = True
            self.set_running_or_notify_cancel()

    def cancel(self) -> bool:
        if self.done() or not self._pool.withdraw(self):
            return super().cancel()
        self.discard()
        return self.cancelled()

    def discard(self) -> None:
        """Cancel it after it was withdrawn; if it was announced to be running, it fails with CancelledError."""
        if super().cancel():
            self.set_running_or_notify_cancel()
        else:
            self.finish(None, futures.CancelledError(f"{self.name} was stopped before it began"))

    def finish(self, result: Any, error: BaseException | None) -> None:
        """Set its outcome. Never raises, whatever the callbacks do."""
        try:
            settle(self, result, error)
        except BaseException:
            _LOGGER.exception("while the outcome of %s was delivered", self.name)
