"""Deliver messages to one receiver in the background: a bounded queue, a thread while it is not empty, retries."""

from __future__ import annotations

import atexit
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from importlib import import_module
from itertools import count
from typing import Any, Generic, TypeVar

from persistable.errors import PersistableError, UndeliveredWarning
from persistable.executors.resources import Retry
from persistable.params.secret import redact

LONGEST_WAIT = 60.0
"""Seconds between two tries at most; a receiver that asks for more gets none."""
LONGEST_QUEUE = 100
"""Messages that wait for one receiver at most; further ones are dropped, and that is reported."""
LAST_SECONDS = 5.0
"""Seconds that the end of the process waits for undelivered messages."""

MessageT = TypeVar("MessageT")


class NotSent(Exception):
    """A message was not delivered.

    reason: in words, without secrets. again: whether another try may help. wait: seconds to wait for it, if the receiver asks for that.
    """

    def __init__(self, reason: str, *, again: bool = False, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again and (wait is None or wait <= LONGEST_WAIT)
        self.wait = wait


class DeliveryQueue(Generic[MessageT]):
    """Delivers messages to one receiver, in order, by calling `send`, which raises NotSent.

    receiver: its name in warnings. longest: messages waiting at most. patience: seconds that the end of the process waits for it, the last
    `LAST_SECONDS` of them when the threads and pools that libraries use have ended.
    """

    def __init__(
        self,
        receiver: str,
        retry: Retry,
        send: Callable[[MessageT], None],
        longest: int = LONGEST_QUEUE,
        patience: float = LAST_SECONDS,
    ) -> None:
        self.patience = patience
        self._receiver = receiver
        self._retry = retry
        self._send = send
        self._longest = longest
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._waiting: deque[MessageT] = deque()
        self._dropped = 0
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def enqueue(self, message: MessageT) -> None:
        """Queue `message`; never wait for the receiver."""
        if self._pid != os.getpid():
            self._begin()  # after a fork: the parent sends the waiting messages, and its thread does not exist here
        with self._changed:
            if len(self._waiting) >= self._longest:
                self._dropped += 1
                return
            self._waiting.append(message)
            if self._thread is None:
                self._start()

    def flush(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until no message is left; return whether that is so."""
        if self._pid != os.getpid():
            return True
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, max(0.0, timeout))

    def give_up(self) -> None:
        """Report the messages that are left as undelivered."""
        with self._changed:
            lost, self._dropped = len(self._waiting) + self._dropped, 0
        if lost:
            _report(f"{lost} notification{'s' if lost > 1 else ''} to {self._receiver} did not arrive before the process ended")

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._work, name="persistable-notify", daemon=True)
        _active.add(self)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is ending and starts no more threads
            self._thread = None
            self._waiting.clear()
            _active.discard(self)
            _report(f"a notification to {self._receiver} was not sent, because the process is ending")

    def _work(self) -> None:
        while (first := self._next()) is not None:
            problem = self._deliver(first)
            if problem:
                _report(f"a notification to {self._receiver} was not delivered: {problem}")
            with self._changed:
                self._waiting.popleft()  # only now: until then it counts as undelivered

    def _next(self) -> MessageT | None:
        while True:
            with self._changed:
                dropped, self._dropped = self._dropped, 0
                if not dropped and self._waiting:
                    return self._waiting[0]
                if not dropped:
                    self._thread = None
                    _active.discard(self)
                    self._changed.notify_all()
                    return None
            _report(f"{dropped} notifications to {self._receiver} were dropped, because {self._longest} others were waiting to be sent")

    def _deliver(self, message: MessageT) -> str:
        """Send the message, as often as `retry` allows; return the reason why it was not delivered, empty if it was."""
        for attempt in count(1):
            try:
                self._send(message)
                return ""
            except NotSent as error:
                if not error.again or attempt >= self._retry.attempts:
                    return f"{error.reason}{f' ({attempt} tries)' if attempt > 1 else ''}"
                time.sleep(min(LONGEST_WAIT, self._retry.delay_after(attempt)) if error.wait is None else error.wait)
            except PersistableError as error:  # such as a missing secret
                return str(error)
            except Exception as error:  # noqa: BLE001 - its text may quote URLs and headers
                return type(error).__name__
        raise AssertionError("the last try returns")


def _report(text: str) -> None:
    try:
        warnings.warn(redact(text), UndeliveredWarning, stacklevel=2)
    except Exception:  # noqa: BLE001 - where warnings are errors: no caller could catch one
        import logging

        logging.getLogger("persistable.notify").error("%s", redact(text))


_active: set[DeliveryQueue[Any]] = set()


def _before_threads_end() -> None:
    began = time.monotonic()
    for queue in list(_active):
        queue.flush(queue.patience - LAST_SECONDS - (time.monotonic() - began))


def _at_exit() -> None:
    deadline = time.monotonic() + LAST_SECONDS
    for queue in list(_active):
        if not queue.flush(deadline - time.monotonic()):
            queue.give_up()


def _register() -> None:
    for pools in ("thread", "process"):
        import_module(f"concurrent.futures.{pools}")  # the function registered last is called first
    getattr(threading, "_register_atexit", atexit.register)(_before_threads_end)
    atexit.register(_at_exit)


_register()
