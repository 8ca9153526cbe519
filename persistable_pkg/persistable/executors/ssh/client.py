"""The driver's side of a job server: calls of its methods, and state updates of its jobs, over a connection that may be lost."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent import futures
from contextlib import suppress
from typing import Any

from persistable.executors.ssh.connection import SSHConnection
from persistable.executors.ssh.frames import Call, Decoder, Reply, encoded
from persistable.executors.ssh.server import SILENCE
from persistable.executors.ssh.spool import State

_PATIENCE = 120.0  # seconds for the answer to a call


class Lost(ConnectionError):
    """The connection was lost."""


class Client:
    """Calls of one job server, from one thread. `wake` is called, by another thread, when there are updates or the connection was lost."""

    def __init__(self, connection: SSHConnection, wake: Callable[[], None]) -> None:
        """Connect. Raises the errors of starting the connection."""
        self._connection = connection
        self._wake = wake
        self._lock = threading.Lock()
        self._decoder = Decoder()
        self._pending: dict[int, futures.Future[Any]] = {}
        self._count = 0
        self._news: deque[State] = deque()
        self._last_call_at = time.monotonic()
        self.lost: str | None = None
        """The reason why the connection was lost; None while it is open."""
        connection.start(self._received, self._lose)

    def call(self, method: str, *arguments: object) -> Any:
        """Call a method of the server. Raises Lost, and the OSErrors that the method raises there."""
        future: futures.Future[Any] = futures.Future()
        with self._lock:
            if self.lost is not None:
                raise Lost(self.lost)
            self._count += 1
            number = self._count
            self._pending[number] = future
        self._last_call_at = time.monotonic()
        self._connection.send(encoded(Call(number, method, arguments)))
        try:
            return future.result(_PATIENCE)
        except TimeoutError:
            self._lose(f"no answer within {_PATIENCE:g} s")
            self._connection.close()
            raise Lost(self.lost) from None

    def news(self) -> list[State]:
        """Return the new states of jobs; pings the server now and then, so that it knows that this process is alive."""
        if self.lost is None and time.monotonic() - self._last_call_at > SILENCE / 4:
            with suppress(Lost):
                self.call("ping")
        found: list[State] = []
        while self._news:
            found.append(self._news.popleft())
        return found

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _received(self, data: bytes) -> None:
        for message in self._decoder.feed(data):
            if not isinstance(message, Reply):
                continue
            if message.number == 0:
                self._news.extend(message.result)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
                self._wake()
                continue
            with self._lock:
                future = self._pending.pop(message.number, None)
            if future is None:
                continue
            if message.error is None:
                future.set_result(message.result)
            else:
                future.set_exception(message.error)

    def _lose(self, reason: str) -> None:
        with self._lock:
            if self.lost is not None:
                return
            self.lost = reason
            pending = list(self._pending.values())
            self._pending.clear()
        for future in pending:
            future.set_exception(Lost(reason))
        self._wake()
