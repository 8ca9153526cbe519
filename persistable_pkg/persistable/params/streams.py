"""Streams of bytes: complete writes, digests, and readers with a position."""

from __future__ import annotations

import io
from typing import Protocol

from blake3 import blake3

from persistable.params.hashing import max_threads

PIECE = 1 << 22
"""Bytes read at a time."""
_WRITTEN_AT_ONCE = 1 << 30


class Readable(Protocol):
    """A source of bytes."""

    def read(self, size: int, /) -> bytes: ...


class Writable(Protocol):
    """A sink of bytes, which may take only a part and returns its length; None means all."""

    def write(self, data: memoryview, /) -> int | None: ...


def write_all(file: Writable, data: bytes | memoryview) -> None:
    """Write all of `data`, a flat run of bytes, in as many calls as `file` needs."""
    view = memoryview(data)
    while view.nbytes:
        written = file.write(view[:_WRITTEN_AT_ONCE])
        view = view[min(_WRITTEN_AT_ONCE, view.nbytes) if written is None else written :]


def digest_rest(file: Readable, into: Writable | None = None, piece: int = PIECE) -> tuple[str, int]:
    """Return the BLAKE3 digest, hexadecimal, and the size of the rest of `file`, read `piece` bytes at a time and copied into `into`."""
    hasher, size = blake3(max_threads=max_threads()), 0
    while data := file.read(piece):
        hasher.update(data)
        size += len(data)
        if into is not None:
            write_all(into, data)
    return hasher.hexdigest(), size


class SeekableReader(io.RawIOBase):
    """The base of readers that keep their own position: a subclass has `readinto`, which moves `_at`."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, (0, self._at, self._size)[whence] + offset)
        return self._at
