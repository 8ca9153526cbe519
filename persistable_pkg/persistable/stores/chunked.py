"""Large items in a database: their chunks are sent before the item that names them, and read some at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future

from persistable.stores.filesystem import Parts, Ranges

Start = Callable[[int, bytes], "Future[None]"]
"""Function that sends the chunk of that number in the background."""


class ChunkedUpload(Parts):
    """An upload to `place`, sent in chunks of `chunk` bytes, one after the other.

    count: chunks that were sent. is_committing: whether the item that names them may be there already, so that they have to stay.
    """

    def __init__(self, place: str, chunk: int, start: Start) -> None:
        super().__init__(place, chunk)
        self.count = 0
        self.is_committing = False
        self._start = start
        self._sending: Future[None] | None = None

    @property
    def is_small(self) -> bool:
        """Tell whether its bytes fit one chunk."""
        return not self.count

    def send(self, part: bytes) -> None:
        self.settle()
        self._sending = self._start(self.count, part)
        self.count += 1

    def settle(self) -> None:
        """Wait for the chunk that is being sent. Raises its error."""
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.result()

    def flush_all(self) -> None:
        """Send all bytes that are left, and wait for that."""
        if self._buffer:
            self.send(self.rest())
            self._buffer.clear()
        self.settle()


class Blocks(Ranges):
    """A stream of the chunks of one item, read block by block, with one block prefetched."""

    block = 8 << 20
    ahead = span = 1
    ahead_from = 0


def random_number() -> int:
    """A random number of 63 bits."""
    return int.from_bytes(os.urandom(8), "big") >> 1
