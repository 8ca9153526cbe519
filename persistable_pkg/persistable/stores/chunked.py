"""Large items in a database: sent in chunks before what names them is written, and read in blocks of some chunks."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from persistable.params.streams import SeekableReader
from persistable.stores.filesystem import Upload

BLOCK = 8 << 20
"""Bytes of an item that are read at a time."""

Start = Callable[[int, bytes], "Future[None]"]
"""Sends the chunk of that number while the caller goes on."""


class ChunkedUpload(Upload):
    """Bytes on their way to `place`, sent in chunks of `chunk` bytes, one after the other. What fits one chunk is not sent, but kept.

    count: chunks that were sent. is_committing: whether what names them may be there, so that they stay.
    """

    def __init__(self, place: str, chunk: int, start: Start) -> None:
        super().__init__(place)
        self.count = 0
        self.is_committing = False
        self._chunk = chunk
        self._start = start
        self._buffer = bytearray()
        self._sending: Future[None] | None = None

    @property
    def is_small(self) -> bool:
        """Tell whether its bytes fit one chunk."""
        return not self.count

    def accept(self, data: memoryview) -> None:
        for start in range(0, len(data), self._chunk):
            self._buffer += data[start : start + self._chunk]
            if len(self._buffer) > self._chunk:  # one that is just full may be the last
                self._send(bytes(memoryview(self._buffer)[: self._chunk]))
                del self._buffer[: self._chunk]

    def _send(self, data: bytes) -> None:
        self.settle()
        self._sending = self._start(self.count, data)
        self.count += 1

    def settle(self) -> None:
        """Wait for what is on its way. Raises what it met."""
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.result()

    def rest(self) -> bytes:
        """The bytes not sent yet."""
        return bytes(self._buffer)

    def flush_all(self) -> None:
        """Send all of it."""
        if self._buffer:
            self._send(self.rest())
            self._buffer.clear()
        self.settle()


class BlockReader(SeekableReader):
    """One item, read block by block; reading on, the next one is asked for while the caller works on this one.

    start: gives a future of the bytes from one place up to another, which fails once the item was replaced.
    """

    def __init__(self, size: int, start: Callable[[int, int], Future[bytes]]) -> None:
        super().__init__(size)
        self._start = start
        self._blocks: dict[int, Future[bytes]] = {}
        self._last = -1

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._size:
            return 0
        number, skip = divmod(self._at, BLOCK)
        self._plan(number)
        view = memoryview(buffer).cast("B")
        piece = memoryview(self._blocks[number].result())[skip : skip + len(view)]
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _plan(self, number: int) -> None:
        """Ask for a block, and for the next where the one before it was read."""
        ahead = 1 if number in (0, self._last, self._last + 1) else 0
        self._last = number
        for known in [known for known in self._blocks if not number <= known <= number + 1]:
            self._blocks.pop(known).cancel()
        for block in range(number, number + ahead + 1):
            if block not in self._blocks and block * BLOCK < self._size:
                self._blocks[block] = self._start(block * BLOCK, min((block + 1) * BLOCK, self._size))

    def close(self) -> None:
        for pending in self._blocks.values():
            pending.cancel()
        self._blocks.clear()
        super().close()


def random_number() -> int:
    """A number of 63 bits that no other call gives."""
    return int.from_bytes(os.urandom(8), "big") >> 1
