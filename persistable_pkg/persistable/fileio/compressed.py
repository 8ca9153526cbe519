"""A format that compresses another."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, ClassVar, Literal, TypeVar

from persistable.errors import MalformedFile, check_installed, need
from persistable.fileio.base import FileIO, Sink

P = TypeVar("P")
_SUFFIXES = {"zstd": ".zst", "gzip": ".gz"}
_CHUNK = 1 << 18


class CompressedFileIO(FileIO[P]):
    """The format `inner`, streamed through `codec` at `level` (None: the codec's default); the suffix has both, such as ``.csv.zst``.

    zstd needs the extra zstd; gzip needs nothing. Equal payloads give equal bytes: no dates or names are written.
    """

    name: ClassVar[str] = "CompressedFileIO"

    def __init__(self, inner: FileIO[P], codec: Literal["zstd", "gzip"] = "zstd", level: int | None = None) -> None:
        if codec not in _SUFFIXES:
            raise ValueError(f"codec is one of {', '.join(_SUFFIXES)}, not {codec!r}")
        self.inner = inner
        self.codec: Literal["zstd", "gzip"] = codec
        self.level = level
        self.suffix = inner.suffix + _SUFFIXES[codec]

    def require(self) -> None:
        if self.codec == "zstd":
            check_installed("zstandard", "zstandard", "zstd", type(self).__name__)
        self.inner.require()

    def check(self, payload: P) -> None:
        self.inner.check(payload)

    def schema(self, payload: P) -> dict[str, Any] | None:
        return self.inner.schema(payload)

    def with_schema(self, schema: dict[str, Any]) -> FileIO[P]:
        return CompressedFileIO(self.inner.with_schema(schema), self.codec, self.level)

    def dump(self, payload: P, file: BinaryIO) -> None:
        with self._writer(file) as packed:
            self.inner.dump(payload, packed)

    def load(self, file: Any) -> P:
        with io.BufferedReader(self._reader(file), _CHUNK) as unpacked:
            payload = self.inner.load(unpacked)
            while unpacked.read(_CHUNK):  # to the end, where the checksum is compared
                pass
        return payload

    def _writer(self, file: Any) -> Any:
        if self.codec == "gzip":
            import gzip

            return gzip.GzipFile("", "wb", 6 if self.level is None else self.level, Sink(file), mtime=0)
        zstd = need("zstandard", "zstandard", "zstd", type(self).__name__)
        compressor = zstd.ZstdCompressor(level=3 if self.level is None else self.level, write_checksum=True)
        return compressor.stream_writer(Sink(file), closefd=False)

    def _reader(self, file: Any) -> io.RawIOBase:
        if self.codec == "gzip":
            import zlib

            return _Unpacked(file, zlib.decompressobj(wbits=31), zlib.error, self)
        zstd = need("zstandard", "zstandard", "zstd", type(self).__name__)
        return _Unpacked(file, zstd.ZstdDecompressor().decompressobj(), zstd.ZstdError, self)


class _Unpacked(io.RawIOBase):
    """A stream of the decompressed bytes of a file. Raises MalformedFile where it is truncated, damaged, or followed by more bytes."""

    def __init__(self, file: Any, unpacker: Any, damaged: type[Exception], owner: FileIO[Any]) -> None:
        self._file = file
        self._unpacker = unpacker
        self._damaged = damaged
        self._owner = owner
        self._held = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        while not self._held and not self._unpacker.eof:
            self._held = memoryview(self._next())
        if not self._held and (self._unpacker.unused_data or self._file.read(1)):
            raise self._malformed("something follows its end")
        target = memoryview(into).cast("B")
        piece = self._held[: len(target)]
        target[: len(piece)] = piece
        self._held = self._held[len(piece) :]
        return len(piece)

    def _next(self) -> bytes:
        packed = self._file.read(_CHUNK)
        if not packed:
            raise self._malformed("it is cut short")
        try:
            data: bytes = self._unpacker.decompress(packed)
        except self._damaged as error:
            raise self._malformed(str(error)) from error
        return data

    def _malformed(self, reason: str) -> MalformedFile:
        name = type(self._owner).__name__
        return MalformedFile(f"not a whole file of {name}: {reason}", format=name)
