"""Bytes as they are."""

from __future__ import annotations

from typing import Any, BinaryIO, ClassVar

from persistable.fileio.base import Buffer, FileIO


class BytesFileIO(FileIO[bytes]):
    """Exactly bytes. Refuses bytearray, memoryview and subclasses: they would come back as bytes. Any file is one."""

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
