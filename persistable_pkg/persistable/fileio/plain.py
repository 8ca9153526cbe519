"""Formats for text, bytes and single values."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar

from persistable.fileio.base import Buffer, FileIO

_SLICE = 1 << 20


class TextFileIO(FileIO[str]):
    """A str in `encoding`, with newlines unchanged. Refuses subclasses of str, and characters that the encoding lacks."""

    name: ClassVar[str] = "TextFileIO"
    suffix = ".txt"

    def __init__(self, encoding: str = "utf-8") -> None:
        codecs.lookup(encoding)
        self.encoding = encoding

    def check(self, payload: Any) -> None:
        if type(payload) is not str:
            self._refuse(f"it is a {type(payload).__name__}, not a str; use JsonFileIO for numbers, PickleFileIO for the rest")
        decoder, at = codecs.getincrementaldecoder(self.encoding)(), 0
        try:
            for piece in self._encoded(payload):
                text = decoder.decode(piece)
                if payload[at : at + len(text)] != text:
                    break
                at += len(text)
        except UnicodeError as error:
            self._refuse(str(error))
        if at != len(payload):
            self._refuse(f"the encoding {self.encoding} changes the text at character {at}")

    def dump(self, payload: str, file: BinaryIO) -> None:
        for piece in self._encoded(payload):
            file.write(piece)

    def load(self, file: Any) -> str:
        text: str = bytes(file.read()).decode(self.encoding)
        return text

    def _encoded(self, text: str) -> Iterator[bytes]:
        encoder = codecs.getincrementalencoder(self.encoding)()
        for first in range(0, len(text), _SLICE):
            yield encoder.encode(text[first : first + _SLICE])
        yield encoder.encode("", final=True)


class BytesFileIO(FileIO[bytes]):
    """Exactly bytes. Refuses bytearray, memoryview and subclasses, which would be loaded as bytes. Any file can be loaded."""

    name: ClassVar[str] = "BytesFileIO"
    suffix = ".bin"

    def check(self, payload: Any) -> None:
        if type(payload) is not bytes:
            self._refuse(f"it is a {type(payload).__name__} and would come back as bytes; give bytes(payload), or use PickleFileIO")

    def dump(self, payload: bytes, file: BinaryIO) -> None:
        file.write(payload)

    def load(self, file: Any) -> bytes:
        data: bytes = file.read()
        return data

    def loads(self, data: Buffer) -> bytes:
        return bytes(data)


_TRUTH = {"true": True, "false": False}


class ScalarFileIO(FileIO[Any]):
    """One ``int``, ``float``, ``bool`` or ``str`` as text, with a newline at the end, as ``echo 3 > factor`` writes it.

    `kind` is the name of the type. Numbers are read as Python reads them, with spaces around them; truth values are ``true`` and ``false``
    in upper or lower case. The last newline is not part of a str. Exact; refuses any other type.
    """

    name: ClassVar[str] = "ScalarFileIO"
    suffix = ".txt"

    def __init__(self, kind: str) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; it is one of {', '.join(KINDS)}")
        self.kind = kind

    def check(self, payload: Any) -> None:
        if type(payload) is not KINDS[self.kind]:
            self._refuse(f"it is a {type(payload).__name__}, not a plain {self.kind}; convert it: {self.kind}(value)")

    def dump(self, payload: Any, file: BinaryIO) -> None:
        text = payload if self.kind == "str" else str(payload).lower() if self.kind == "bool" else repr(payload)
        file.write(f"{text}\n".encode())

    def load(self, file: Any) -> Any:
        text: str = bytes(file.read()).decode()
        if self.kind == "str":
            return text.removesuffix("\n")
        word = text.strip()
        try:
            return _TRUTH[word.lower()] if self.kind == "bool" else KINDS[self.kind](word)
        except (ValueError, KeyError):
            raise self._malformed(f"{word[:60]!r} is no {self.kind}") from None


KINDS: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}
