"""Digests of the chunks of a large file, so that a part of it is verified without reading the rest.

A chunk is a megabyte. Where there would be more than `MOST` chunks, their size is doubled until there are not: the digest of a chunk is
then that of the digests of its two halves.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple, cast

from blake3 import blake3

from persistable.params.streams import SeekableReader

LEAF = 1 << 20
MOST = 2048


class Chunks(NamedTuple):
    """size: of a chunk, in bytes. digests: of each chunk, the last of which may be shorter."""

    size: int
    digests: list[str]

    def are_of(self, size: int) -> bool:
        """Tell whether there are as many chunks as a file of `size` bytes has."""
        return len(self.digests) == -(-size // self.size)

    def to_json(self) -> dict[str, Any]:
        return {"size": self.size, "digests": self.digests}

    @classmethod
    def from_json(cls, found: Any) -> Chunks | None:
        """The chunk digests in a record; None where they are malformed."""
        if not isinstance(found, dict):
            return None
        facts = cast("dict[str, Any]", found)
        size, digests = facts.get("size"), facts.get("digests")
        sound = type(size) is int and size >= LEAF and size % LEAF == 0 and isinstance(digests, list)
        return cls(cast(int, size), cast("list[str]", digests)) if sound else None


class Chunker:
    """Digests the chunks of a file, whose bytes it receives in order."""

    def __init__(self) -> None:
        self._leaf: Any = blake3()
        self._remaining = LEAF
        self._digests: list[str] = []

    def update(self, data: memoryview) -> None:
        """Digest the next bytes of the file."""
        while data.nbytes:
            piece = data[: self._remaining]
            self._leaf.update(piece)
            self._remaining -= piece.nbytes
            data = data[piece.nbytes :]
            if not self._remaining:
                self._end()

    def _end(self) -> None:
        self._digests.append(self._leaf.hexdigest(length=16))
        self._leaf, self._remaining = blake3(), LEAF

    def chunks(self) -> Chunks:
        """The digests of all bytes received."""
        if self._remaining < LEAF:
            self._end()
        size, digests = LEAF, self._digests
        while len(digests) > MOST:
            size, digests = 2 * size, _halved(digests)
        return Chunks(size, digests)


def _halved(digests: list[str]) -> list[str]:
    """The digests of pairs; a last one without a pair stays as it is."""
    return [
        blake3(bytes.fromhex(digests[at] + digests[at + 1])).hexdigest(length=16) if at + 1 < len(digests) else digests[at]
        for at in range(0, len(digests), 2)
    ]


def digest_of(chunk: bytes) -> str:
    """The digest of one chunk."""
    view = memoryview(chunk)
    digests = [blake3(view[at : at + LEAF]).hexdigest(length=16) for at in range(0, len(chunk), LEAF)]
    while len(digests) > 1:
        digests = _halved(digests)
    return digests[0] if digests else ""


def checked(file: BinaryIO, chunks: Chunks, size: int, damaged: Callable[[int, str, str], Exception]) -> BinaryIO:
    """A reader of `file`, of `size` bytes, that compares each chunk before it returns a byte of it, or raises the error of `damaged`."""
    return cast(BinaryIO, io.BufferedReader(_Checked(file, chunks, size, damaged), 1 << 16))


class _Checked(SeekableReader):
    def __init__(self, file: BinaryIO, chunks: Chunks, size: int, damaged: Callable[[int, str, str], Exception]) -> None:
        super().__init__(size)
        self._file, self._chunks, self._damaged = file, chunks, damaged
        self._held = -1
        self._chunk = b""

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        if self._at >= self._size or not target.nbytes:
            return 0
        number, start = divmod(self._at, self._chunks.size)
        piece = memoryview(self._read(number))[start : start + target.nbytes]
        target[: piece.nbytes] = piece
        self._at += piece.nbytes
        return piece.nbytes

    def _read(self, number: int) -> bytes:
        """A chunk, compared; the last one is kept, since callers read in small pieces."""
        if number != self._held:
            begin = number * self._chunks.size
            self._file.seek(begin)
            left = min(self._chunks.size, self._size - begin)
            pieces: list[bytes] = []
            while left and (piece := self._file.read(left)):
                pieces.append(piece)
                left -= len(piece)
            chunk = b"".join(pieces)
            expected, found = self._chunks.digests[number], digest_of(chunk)
            if found != expected:
                raise self._damaged(begin, expected, found)
            self._held, self._chunk = number, chunk
        return self._chunk
