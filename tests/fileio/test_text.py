"""Strings and bytes as they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from persistable.fileio import BytesFileIO, TextFileIO
from persistable.testing.fileio import FileIOContract


class Word(str):
    __slots__ = ()


class Chunk(bytes):
    __slots__ = ()


class TestText(FileIOContract):
    def io(self) -> TextFileIO:
        return TextFileIO()

    def payloads(self) -> st.SearchStrategy[Any]:
        return st.text(st.characters(exclude_categories=["Cs"])) | st.just("a\r\nb\rc\n\x00\ufeff")

    def refused(self) -> list[Any]:
        return [1, None, b"x", Word("x"), "half \ud800"]

    def large(self) -> Any:
        return "x" * (64 << 20)


class TestTextLatin(TestText):
    def io(self) -> TextFileIO:
        return TextFileIO(encoding="latin-1")

    def payloads(self) -> st.SearchStrategy[Any]:
        return st.text(st.characters(max_codepoint=255))

    def refused(self) -> list[Any]:
        return [*super().refused(), "€"]


class TestTextUtf16(TestText):
    def io(self) -> TextFileIO:
        return TextFileIO("utf-16")


class TestBytes(FileIOContract):
    def io(self) -> BytesFileIO:
        return BytesFileIO()

    def payloads(self) -> st.SearchStrategy[Any]:
        return st.binary()

    def refused(self) -> list[Any]:
        return [bytearray(b"x"), memoryview(b"x"), "x", None, Chunk(b"x")]

    def large(self) -> Any:
        return b"x" * (64 << 20)


def test_an_unknown_encoding_is_an_error_at_once() -> None:
    with pytest.raises(LookupError):
        TextFileIO("utf-999")
