"""One string as a text file."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar

from persistable.fileio.base import FileIO

_SLICE = 1 << 20


class TextFileIO(FileIO[str]):
    """A str in `encoding`, newlines as they are. Refuses subclasses of str, and characters the encoding has not."""

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
            self._refuse(f"the encoding {self.encoding} changes what stands at character {at}")

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
