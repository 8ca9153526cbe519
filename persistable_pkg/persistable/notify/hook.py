"""The base of notifying hooks: the choice of events, a queue for each receiver, and the text that shows a receiver."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit

from persistable.events import Event, RunFinished
from persistable.executors.resources import Retry
from persistable.notify.delivery import DeliveryQueue
from persistable.notify.message import Message, failed, message_of
from persistable.params.secret import Secret

On = Literal["failure", "always"] | Callable[[Event], object]
"""``"failure"``: a run in which something failed; ``"always"``: any run; or a predicate on events, which must be quick."""
RETRY = Retry(attempts=4, delay=0.5, backoff=2.0, jitter=0.5)
"""Waits of about 0.5, 1 and 2 seconds."""


class QueueingHook:
    """Base of hooks that send messages through queues, which `_make_queues` makes."""

    def __init__(self) -> None:
        self._queues = self._make_queues()

    def _make_queues(self) -> list[DeliveryQueue[Any]]:
        raise NotImplementedError(f"{type(self).__name__} must implement _make_queues")

    def _queue(self, report: object) -> None:
        for queue in self._queues:
            queue.enqueue(report)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until no message is left, up to `timeout` seconds, by default as at the end of the process; return whether that is so."""
        began = time.monotonic()
        done = [queue.flush((queue.patience if timeout is None else timeout) - (time.monotonic() - began)) for queue in self._queues]
        return all(done)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_queues"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._queues = self._make_queues()


class Notifier(QueueingHook):
    """Base of hooks that send messages. Subclasses implement `_send`."""

    def __init__(self, receivers: tuple[str | Secret, ...], on: On, retry: Retry) -> None:
        if not callable(on) and on not in ("failure", "always"):  # pyright: ignore[reportUnnecessaryContains]
            raise ValueError(f"on={on!r} is unknown; give 'failure', 'always' or a predicate on events")
        self._receivers = receivers
        self._on = on
        self._retry = retry
        super().__init__()

    def _make_queues(self) -> list[DeliveryQueue[Any]]:
        kind = type(self).__name__
        return [DeliveryQueue(f"{kind}({shown(receiver)})", self._retry, partial(self._tell, receiver)) for receiver in self._receivers]

    def _tell(self, receiver: str | Secret, report: tuple[Event, datetime]) -> None:
        self._send(receiver, message_of(*report))

    def _send(self, receiver: str | Secret, message: Message) -> None:
        raise NotImplementedError(f"{type(self).__name__} must implement _send")

    def __call__(self, event: Event) -> None:
        """Queue a message about `event`, if `on` selects it."""
        if self._on(event) if callable(self._on) else self._ends_a_run(event):
            self._queue((event, datetime.now(UTC)))

    def _ends_a_run(self, event: Event) -> bool:
        return failed(event) or (self._on == "always" and isinstance(event, RunFinished))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(shown, self._receivers))})"


def shown(receiver: str | Secret) -> str:
    """Return the receiver without credentials: of a URL only scheme and host, since any other part may be one."""
    if isinstance(receiver, Secret):
        return repr(receiver)
    try:
        parts = urlsplit(receiver)
        return f"{parts.scheme}://{parts.hostname}" if parts.scheme in ("http", "https") and parts.hostname else f"{parts.scheme}://…"
    except ValueError:
        return "a URL that cannot be read"
