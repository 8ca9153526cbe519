"""Any format, compressed: streamed, checked to its end."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import strategies as st

from persistable.errors import MalformedFile
from persistable.fileio import BytesFileIO, CompressedFileIO, NumpyFileIO, TextFileIO
from persistable.testing.fileio import FileIOContract


class TestZstd(FileIOContract):
    def io(self) -> Any:
        return CompressedFileIO(TextFileIO())

    def payloads(self) -> st.SearchStrategy[Any]:
        return st.text(st.characters(exclude_categories=["Cs"]))

    def refused(self) -> list[Any]:
        return [1, b"x"]

    def large(self) -> Any:
        return "some text " * (6 << 20)


class TestGzip(TestZstd):
    def io(self) -> Any:
        return CompressedFileIO(TextFileIO(), "gzip", 1)


class TestZstdArrays(FileIOContract):
    def io(self) -> Any:
        return CompressedFileIO(NumpyFileIO(), level=1)

    def payloads(self) -> st.SearchStrategy[Any]:
        return st.integers(0, 100_000).map(np.arange)

    def large(self) -> Any:
        return np.zeros((1 << 12, 1 << 12))[:, ::2]


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
def test_no_cut_goes_unnoticed(codec: Any) -> None:
    format_ = CompressedFileIO(BytesFileIO(), codec)
    data = format_.dumps(bytes(range(256)) * 10)
    for size in range(len(data)):
        with pytest.raises(MalformedFile):
            format_.loads(data[:size])
    with pytest.raises(MalformedFile, match="follows"):
        format_.loads(data + b"more")


def test_suffixes_compose_and_files_are_those_of_the_codec() -> None:
    assert CompressedFileIO(TextFileIO()).suffix == ".txt.zst"
    assert CompressedFileIO(TextFileIO(), "gzip").suffix == ".txt.gz"
    assert gzip.decompress(CompressedFileIO(TextFileIO(), "gzip").dumps("x")) == b"x"
    assert zstandard.ZstdDecompressor().stream_reader(CompressedFileIO(TextFileIO()).dumps("x")).read() == b"x"
    with pytest.raises(ValueError, match="codec"):
        CompressedFileIO(TextFileIO(), "rar")  # type: ignore[arg-type]
