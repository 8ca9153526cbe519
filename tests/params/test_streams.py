"""Streams are written whole and digested as they pass; readers that keep a position can be sought like files."""

import io
from typing import Any

import pytest
from blake3 import blake3

from persistable.params import streams
from persistable.params.hashing import digest_of_file
from persistable.params.streams import SeekableReader, digest_rest, write_all


class Slow:
    """Takes three bytes at a time, or says nothing of how many it took."""

    def __init__(self, says: bool = True) -> None:
        self.content = b""
        self._says = says

    def write(self, data: memoryview) -> int | None:
        taken = bytes(data[:3]) if self._says else bytes(data)
        self.content += taken
        return len(taken) if self._says else None


@pytest.mark.parametrize("says", [True, False])
def test_all_is_written_however_little_is_taken(says: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_WRITTEN_AT_ONCE", 7)
    file = Slow(says)
    write_all(file, b"0123456789" * 3)
    write_all(file, b"")
    assert file.content == b"0123456789" * 3


def test_the_rest_is_digested_and_copied() -> None:
    data = bytes(range(256)) * 100
    file, copy = io.BytesIO(b"begin" + data), Slow()
    file.seek(5)
    assert digest_rest(file, copy, piece=1000) == (blake3(data).hexdigest(), len(data))
    assert copy.content == data
    assert digest_rest(file) == (blake3(b"").hexdigest(), 0)


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Any) -> None:
    for data in (b"", b"x" * 200_000):
        (tmp_path / "x").write_bytes(data)
        assert digest_of_file(tmp_path / "x") == blake3(data).hexdigest()


class Letters(SeekableReader):
    def readinto(self, buffer: Any) -> int:
        piece = b"abcdefgh"[self._at : min(self._at + len(buffer), self._size)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def test_a_reader_is_sought_like_a_file() -> None:
    file, like = io.BufferedReader(Letters(8), 4), io.BytesIO(b"abcdefgh")
    for offset, whence in ((3, 0), (2, 1), (-2, 2), (-100, 2), (0, 2), (20, 0), (0, 0)):
        assert file.seek(offset, whence) == like.seek(offset, whence)
        assert file.tell() == like.tell()
        assert file.read(3) == like.read(3)
