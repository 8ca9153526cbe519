"""The bytes of files, as blobs of a registry: uploaded once, pulled by their digest."""

from __future__ import annotations

import io
from collections.abc import Callable
from random import randrange
from typing import BinaryIO

from persistable.stores.oci.manifest import EMBEDDED, Blob, Entry, digest_of
from persistable.stores.oci.registry import Registry


class Source:
    """Bytes to be uploaded: `data` in memory, or those of a file."""

    def __init__(self, digest: str, size: int, data: bytes | None, file: BinaryIO | None = None) -> None:
        self.digest = digest
        self.size = size
        self.data = data
        self._file = file

    @classmethod
    def of(cls, data: bytes) -> Source:
        """The source of bytes in memory."""
        return cls(digest_of(data), len(data), data)

    def open(self) -> BinaryIO:
        """The bytes from their beginning; the file stays open."""
        if self._file is None:
            return io.BytesIO(self.data or b"")
        self._file.seek(0)
        return self._file


def push(registry: Registry, source: Source) -> tuple[Blob, ...]:
    """Upload the bytes, unless the registry has them; the blobs that hold them."""
    if source.size <= EMBEDDED and source.data is not None:  # asking costs as much as sending
        registry.push(source.digest, source.size, source.open)
        return (Blob(source.digest, source.size, source.data),)
    whole = Blob(source.digest, source.size)
    there = registry.blob_size(whole.digest)
    if there is None:
        registry.push(whole.digest, whole.size, source.open)
        return (whole,)
    if there == whole.size and registry.blob_into(whole.digest, lambda: _ignore):
        return (whole,)
    # a registry keeps its damaged blob even if another is uploaded under that digest: so the bytes are split into other blobs
    cut = randrange(1, whole.size)
    return tuple(_push_part(registry, source, first, last) for first, last in ((0, cut), (cut, whole.size)))


def _push_part(registry: Registry, source: Source, first: int, last: int) -> Blob:
    file = source.open()
    file.seek(first)
    part = Source.of(file.read(last - first))
    registry.push(part.digest, part.size, part.open)
    return Blob(part.digest, part.size)


def pull(registry: Registry, entry: Entry, file: BinaryIO) -> bool:
    """Append the bytes of a file. False where the registry does not have all of them any more."""
    if entry.content is not None:
        file.write(entry.content)
        return True
    return all(pull_blob(registry, blob, file) for blob in entry.blobs)


def pull_blob(registry: Registry, blob: Blob, file: BinaryIO) -> bool:
    """Append a blob. False where there is none.

    Bytes that do not match the digest are requested once more, then taken as they are: a check against the record finds the damage and
    lets the payload be healed; an error here would not.
    """
    if blob.data is not None:
        file.write(blob.data)
        return True
    start = file.tell()

    def begin() -> Callable[[bytes], object]:
        file.seek(start)
        file.truncate()
        return file.write

    found = registry.blob_into(blob.digest, begin)
    if found is False:
        found = registry.blob_into(blob.digest, begin)
    return found is not None


def _ignore(_: bytes) -> None:
    return None
