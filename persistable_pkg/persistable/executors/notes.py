"""Notes: what a task has to tell while it runs, from its worker to the process that submitted it.

An executor whose workers can send gives them a `Sender` for as long as they perform tasks, and hands what arrives to `deliver`. Where there
is none, what there is to tell waits for the outcome of the task. Notes may be lost with their worker, and come after the outcome.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple


class Sender(NamedTuple):
    """Sends the notes of a task.

    send: sends a packed note; returns False where it cannot be sent, such as from a process that the task has forked. pause: least seconds
    between two notes. leaves_files: each note leaves a file, so that the pauses grow, see `pause_after`.
    """

    send: Callable[[bytes], bool]
    pause: float = 0.1
    leaves_files: bool = False

    def pause_after(self, seconds: float) -> float:
        """Seconds until the next note of a task that has run for so long."""
        return max(self.pause, seconds / 500) if self.leaves_files else self.pause


_sender: ContextVar[Sender | None] = ContextVar("persistable_sender", default=None)
_receivers: dict[str, Callable[[Any], object]] = {}

sender = _sender.get
"""Return the way to send of the task that the caller performs; None where there is none."""


@contextmanager
def sent_by(way: Sender) -> Generator[None]:
    """Inside the block, tasks send by this."""
    outer = _sender.set(way)
    try:
        yield
    finally:
        _sender.reset(outer)


def packed(address: str, note: Any) -> bytes:
    """A note to whoever receives at `address`, to be sent."""
    return pickle.dumps((address, note), 5)


@contextmanager
def received_at(address: str, receiver: Callable[[Any], object]) -> Generator[None]:
    """Inside the block, `receiver` is called with each note that is sent to `address`: in some thread, so it must be quick."""
    _receivers[address] = receiver
    try:
        yield
    finally:
        _receivers.pop(address, None)


def deliver(data: bytes | memoryview) -> None:
    """Give a packed note to its receiver, if there is one. Never raises: it may not harm the executor."""
    try:
        address, note = pickle.loads(data)
        receiver = _receivers.get(address)
        if receiver is not None:
            receiver(note)
    except Exception:  # noqa: BLE001 - such as a class that is not there
        return
