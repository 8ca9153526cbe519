"""Notes: what a task has to tell while it runs, from its worker to the process that submitted it.

An executor whose workers can send gives them a `Sender` for as long as they perform tasks, and hands what arrives to `deliver`. Where there
is none, what there is to tell waits for the outcome of the task. Notes may be lost with their worker, and come after the outcome.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeAlias

Sender: TypeAlias = Callable[[bytes], bool]
"""Sends a packed note; False where it cannot, or not from this process."""

_sender: Sender | None = None
_receivers: dict[str, Callable[[Any], object]] = {}


@contextmanager
def sent_by(sender: Sender) -> Generator[None]:
    """Inside the block, `send` sends by this."""
    global _sender
    outer, _sender = _sender, sender
    try:
        yield
    finally:
        _sender = outer


def can_send() -> bool:
    """Tell whether there is a way to whoever submitted the task."""
    return _sender is not None


def send(address: str, note: Any) -> bool:
    """Send `note` to whoever receives at `address`; False where there is no way."""
    sender = _sender
    return sender is not None and sender(pickle.dumps((address, note), 5))


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
