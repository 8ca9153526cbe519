"""The future of a call, with the call and its worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persistable.executors.calls import Parts
from persistable.executors.outcomes import OwnFuture

if TYPE_CHECKING:
    from persistable.executors.processes.pool import Pool
    from persistable.executors.processes.worker import Worker

_SMALL = 1 << 16  # bytes


class Task(OwnFuture):
    """The future that a pool's `submit` returns. The pool's lock guards all but its outcome."""

    def __init__(self, pool: Pool, number: int, name: str, parts: Parts) -> None:
        super().__init__(name)
        self._pool = pool
        self.number = number
        self.parts = parts
        self.worker: Worker | None = None
        """The worker that it was sent to; None while it waits, and after it was answered."""
        self.withdrawn = False
        """True if it must not be given to a worker any more."""
        self.settled = False
        """True once its outcome has arrived, even if it is not delivered yet."""

    @property
    def small(self) -> bool:
        """Tell whether it may be sent to a worker that is still busy."""
        return len(self.parts) == 1 and len(self.parts[0]) < _SMALL

    def cancel(self) -> bool:
        if self.done() or not self._pool.withdraw(self):
            return super().cancel()
        self.discard()
        return self.cancelled()
