"""Messages on a stream socket between a pool and its workers: a header, a pickle, and the buffers that belong to it.

One `recv` may return many small messages, and a large one is received into its final buffer: an array is not copied again.
"""

from __future__ import annotations

import mmap
import select
import socket
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from persistable.executors.calls import Buffer, Parts

HELLO, CALL, RESULT, ERROR, NOTE = range(5)
TOKEN = Struct("<Q")
"""The number of a task, as encoded in the pipe of tokens."""
_HEADER = Struct("<QQQBI")  # number, nanoseconds, length of the body, kind, number of buffers
_LENGTH = Struct("<Q")
_ALIGNED = 64  # bytes, as numpy likes it
_SCRATCH = 1 << 18


class Frame(NamedTuple):
    """One message. `number` is the task's, `elapsed` the nanoseconds it took."""

    number: int
    elapsed: int
    kind: int
    parts: Parts


def encoded(frame: Frame) -> list[Buffer]:
    """Encode a message, in pieces; a small one is one piece."""
    data, *buffers = frame.parts
    if not buffers:
        header = _HEADER.pack(frame.number, frame.elapsed, len(data), frame.kind, 0)
        return [header + data] if len(data) < _SCRATCH else [header, data]
    table = _LENGTH.pack(len(data)) + b"".join(_LENGTH.pack(_size(buffer)) for buffer in buffers)
    pieces: list[Buffer] = [table, data]
    length = len(table) + len(data)
    for buffer in buffers:
        padding = -length % _ALIGNED
        pieces += [bytes(padding), buffer]
        length += padding + _size(buffer)
    return [_HEADER.pack(frame.number, frame.elapsed, length, frame.kind, len(buffers)), *pieces]


def readable(descriptor: int, seconds: float | None) -> bool:
    """Tell whether there is data to read, or the end of the stream, within `seconds`; None waits without limit."""
    waiting = select.poll()  # not `select.select`, which ends at 1,024 descriptors
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(None if seconds is None else seconds * 1000))


class Inbox:
    """Receive buffer of a socket, which returns complete frames."""

    def __init__(self) -> None:
        self._scratch = bytearray(_SCRATCH)
        self._view = memoryview(self._scratch)
        self._filled = 0
        self._large: tuple[tuple[int, int, int, int, int], memoryview] | None = None
        self._large_filled = 0

    def receive(self, channel: socket.socket) -> list[Frame]:
        """Return the frames completed by one `recv`. Raises EOFError at the end, BlockingIOError without data."""
        if self._large is not None:
            return self._receive_large(channel, *self._large)
        received = channel.recv_into(self._view[self._filled :])
        if not received:
            raise EOFError
        self._filled += received
        return list(self._complete())

    def _complete(self) -> Iterator[Frame]:
        start = 0
        while self._filled - start >= _HEADER.size:
            header = _HEADER.unpack_from(self._scratch, start)
            body = start + _HEADER.size
            length = header[2]
            if body + length > self._filled:
                if _HEADER.size + length > _SCRATCH:
                    self._grow(header, self._view[body : self._filled])
                    start = self._filled
                break
            yield _frame(header, memoryview(bytes(self._view[body : body + length])))
            start = body + length
        rest = self._filled - start
        if start and rest:
            self._scratch[:rest] = self._scratch[start : self._filled]
        self._filled = rest

    def _grow(self, header: tuple[int, int, int, int, int], begun: memoryview) -> None:
        room = memoryview(mmap.mmap(-1, header[2], flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        room[: len(begun)] = begun
        self._large, self._large_filled = (header, room), len(begun)

    def _receive_large(self, channel: socket.socket, header: tuple[int, int, int, int, int], room: memoryview) -> list[Frame]:
        received = channel.recv_into(room[self._large_filled :])
        if not received:
            raise EOFError
        self._large_filled += received
        if self._large_filled < len(room):
            return []
        self._large = None
        return [_frame(header, room)]


def _frame(header: tuple[int, int, int, int, int], body: memoryview) -> Frame:
    number, elapsed, _, kind, count = header
    if not count:
        return Frame(number, elapsed, kind, [body])
    sizes = [_LENGTH.unpack_from(body, _LENGTH.size * place)[0] for place in range(count + 1)]
    start = _LENGTH.size * (count + 1)
    parts = [body[start : start + sizes[0]]]
    start += sizes[0]
    for size in sizes[1:]:
        start += -start % _ALIGNED
        parts.append(body[start : start + size])
        start += size
    return Frame(number, elapsed, kind, parts)


def _size(buffer: Buffer) -> int:
    return buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
