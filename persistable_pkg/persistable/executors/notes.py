"""Notes: messages of a running task, from its worker to the process that submitted it.

An executor whose workers can send gives them a `Sender` while they perform tasks, and passes received notes to `deliver`. Without a sender,
messages are sent with the outcome of the task. Notes may be lost with their worker, and may arrive after the outcome.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple


class Sender(NamedTuple):
    """Sends the notes of a task.

    send: sends a packed note; returns False if it cannot be sent, such as from a process that the task has forked. pause: minimum seconds
    between two notes. leaves_files: each note leaves a file, so that the pauses grow, see `pause_after`.
    """

    send: Callable[[bytes], bool]
    pause: float = 0.1
    leaves_files: bool = False

    def pause_after(self, seconds: float) -> float:
        """Seconds until the next note of a task that has run for `seconds`."""
        return max(self.pause, seconds / 500) if self.leaves_files else self.pause


_sender: ContextVar[Sender | None] = ContextVar("persistable_sender", default=None)
_receivers: dict[str, Callable[[Any], object]] = {}

sender = _sender.get
"""Return the sender of the task that the caller performs; None if there is none."""


@contextmanager
def use_sender(own: Sender) -> Generator[None]:
    """Inside the block, tasks send with this sender."""
    outer = _sender.set(own)
    try:
        yield
    finally:
        _sender.reset(outer)


def packed(address: str, note: Any) -> bytes:
    """Pack a note for the receiver at `address`."""
    return pickle.dumps((address, note), 5)


@contextmanager
def received_at(address: str, receiver: Callable[[Any], object]) -> Generator[None]:
    """Inside the block, `receiver` is called with each note sent to `address`, in any thread, so it must be quick."""
    _receivers[address] = receiver
    try:
        yield
    finally:
        _receivers.pop(address, None)


def deliver(data: bytes | memoryview) -> None:
    """Pass a packed note to its receiver, if there is one. Never raises: that would harm the executor."""
    try:
        address, note = pickle.loads(data)
        receiver = _receivers.get(address)
        if receiver is not None:
            receiver(note)
    except Exception:  # noqa: BLE001 - such as a class that cannot be imported
        return
