"""Getting messages to one receiver without making anybody wait: a bounded queue, a thread while there is something in it, retries."""

from __future__ import annotations

import atexit
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from persistable.errors import PersistableError, UndeliveredWarning
from persistable.events import Event
from persistable.executors.resources import Retry
from persistable.params.secret import redact

LONGEST_WAIT = 60.0
"""Seconds between two tries at most; a receiver that asks for more gets none."""
LONGEST_QUEUE = 100
"""Messages that wait for one receiver at most; further ones are dropped, and that is reported."""
LAST_SECONDS = 5.0
"""How long the end of the process waits for what is still under way."""


class NotSent(Exception):
    """A message did not arrive: `reason` holds no secrets. `again` if another try may help, `wait` if the receiver said after how long."""

    def __init__(self, reason: str, *, again: bool = False, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again and (wait is None or wait <= LONGEST_WAIT)
        self.wait = wait


class Letter(NamedTuple):
    """An event to tell of, and when it happened."""

    event: Event
    when: datetime


class Courier:
    """Delivers letters to one receiver, in order, by calling `send`, which raises NotSent. `receiver` is how warnings call it."""

    def __init__(self, receiver: str, retry: Retry, send: Callable[[Letter], None]) -> None:
        self._receiver = receiver
        self._retry = retry
        self._send = send
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._waiting: deque[Letter] = deque()
        self._dropped = 0
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def post(self, event: Event) -> None:
        """Queue a message about `event`; never waits for the receiver."""
        if self._pid != os.getpid():
            self._begin()  # after a fork: what waited is the parent's to send, and its thread is not here
        with self._changed:
            if len(self._waiting) >= LONGEST_QUEUE:
                self._dropped += 1
                return
            self._waiting.append(Letter(event, datetime.now(UTC)))
            if self._thread is None:
                self._start()

    def flush(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until nothing is under way; whether that is so."""
        if self._pid != os.getpid():
            return True
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, max(0.0, timeout))

    def give_up(self) -> None:
        """Report what is still under way as undelivered."""
        with self._changed:
            count, self._dropped = len(self._waiting) + self._dropped, 0
        if count:
            _report(f"{count} notification{'s' if count > 1 else ''} to {self._receiver} did not arrive before the process ended")

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
        while (letter := self._next()) is not None:
            self._deliver(letter)
            with self._changed:
                self._waiting.popleft()  # only now: until then it counts as undelivered

    def _next(self) -> Letter | None:
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
            _report(f"{dropped} notifications to {self._receiver} were dropped, because {LONGEST_QUEUE} others were waiting to be sent")

    def _deliver(self, letter: Letter) -> None:
        trying = _trying(self._retry)
        try:
            trying(self._send, letter)
        except NotSent as error:
            tries = trying.statistics["attempt_number"]
            _report(f"a notification to {self._receiver} was not delivered: {error.reason}{f' ({tries} tries)' if tries > 1 else ''}")
        except PersistableError as error:  # such as a missing secret
            _report(f"a notification to {self._receiver} was not delivered: {error}")
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may quote URLs and headers
            _report(f"a notification to {self._receiver} was not delivered: {type(error).__name__}")


def _trying(retry: Retry) -> Any:
    import tenacity

    backoff = tenacity.wait_exponential(multiplier=retry.delay, exp_base=retry.backoff, max=LONGEST_WAIT)
    usual = backoff + tenacity.wait_random(0, retry.delay * retry.jitter)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        return error.wait if isinstance(error, NotSent) and error.wait is not None else usual(state)

    return tenacity.Retrying(
        stop=tenacity.stop_after_attempt(retry.attempts),
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, NotSent) and error.again),
        wait=wait,
        reraise=True,
    )


def _report(text: str) -> None:
    try:
        warnings.warn(redact(text), UndeliveredWarning, stacklevel=2)
    except Exception:  # noqa: BLE001 - where warnings are errors: there is nobody here to catch one
        import logging

        logging.getLogger("persistable.notify").error("%s", redact(text))


_active: set[Courier] = set()


def _last_chance() -> None:
    deadline = time.monotonic() + LAST_SECONDS
    for courier in list(_active):
        if not courier.flush(deadline - time.monotonic()):
            courier.give_up()


atexit.register(_last_chance)
