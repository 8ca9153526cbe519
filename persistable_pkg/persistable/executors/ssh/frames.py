"""Messages between a driver and its job server: a length, and a pickle."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

_LENGTH = Struct("<Q")


class Call(NamedTuple):
    """Call of a method of the server."""

    number: int
    method: str
    arguments: tuple[object, ...]


class Reply(NamedTuple):
    """Result of a call, or its error. State updates, which the server sends unasked, have number 0."""

    number: int
    result: object
    error: OSError | None = None


def encoded(message: Call | Reply) -> bytes:
    """Encode a message."""
    data = pickle.dumps((type(message) is Reply, *message), 5)
    return _LENGTH.pack(len(data)) + data


class Decoder:
    """Decoder of received bytes to messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Call | Reply]:
        """Add bytes, and return the complete messages."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            is_reply, *fields = pickle.loads(memoryview(self._buffer)[_LENGTH.size : end])
            del self._buffer[:end]
            yield Reply(*fields) if is_reply else Call(*fields)
