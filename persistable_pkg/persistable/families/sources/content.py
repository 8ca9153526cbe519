"""The content of files: its digest, cached while the stamp of the file stays the same, and payloads of exactly that content."""

from __future__ import annotations

import hashlib
import io as _io
import os
import tempfile
from typing import Any, BinaryIO

from blake3 import blake3

from persistable.fileio.base import FileIO, read_all
from persistable.params.hashing import max_threads
from persistable.params.streams import digest_rest

IN_MEMORY = 32 << 20
"""Bytes; a smaller file is read once, so that the hashed bytes are the parsed ones."""
_PIECE = 4 << 20
_MOST = 1_000_000
_known: dict[tuple[str, str], tuple[Any, str]] = {}
"""The stamp and the digest of the content that a file had, by store and path."""


def known(url: str, path: str, stamp: Any) -> str | None:
    """The cached digest of the content with this stamp; None if this process has not read it."""
    found = _known.get((url, path))
    return found[1] if found is not None and stamp is not None and found[0] == stamp else None


def remember(url: str, path: str, stamp: Any, digest: str) -> None:
    """Cache a digest for as long as the stamp stays the same; without a stamp, cache none."""
    if stamp is None:
        _known.pop((url, path), None)
        return
    if len(_known) >= _MOST:
        _known.clear()
    _known[url, path] = (stamp, digest)


def digest_of(file: BinaryIO) -> str:
    """The BLAKE3 digest, hexadecimal, of the rest of an open file."""
    return digest_rest(file)[0]


def digests_of(file: BinaryIO, md5: bool = False) -> tuple[str, str]:
    """The digest as of `digest_of`, and if `md5` the MD5 digest of the same bytes, by which buckets tag contents; else an empty text."""
    hasher = blake3(max_threads=max_threads())
    other = hashlib.md5(usedforsecurity=False) if md5 else None
    while piece := file.read(_PIECE):
        hasher.update(piece)
        if other is not None:
            other.update(piece)
    return hasher.hexdigest(), other.hexdigest() if other is not None else ""


class OtherContentError(Exception):
    """The content does not have the expected digest."""


def load(file: BinaryIO, content: str, io: FileIO[Any], *, local: bool) -> Any:
    """The payload that `io` reads from an open file whose content has the digest `content`; raises OtherContentError for any other.

    A small file, and one that its format would map, is read once and parsed in memory, so that the hashed bytes are the parsed ones even if
    the file changes. A large one is parsed in place, or in a local copy, and hashed after that.
    """
    if local and not io.maps and os.fstat(file.fileno()).st_size > IN_MEMORY:
        return _parsed_then_hashed(file, content, io)
    if local:
        return _parsed(read_all(file), content, io)
    data = bytearray()
    while piece := file.read(_PIECE):
        data += piece
        if len(data) > IN_MEMORY and not io.maps:
            return _by_copy(data, file, content, io)
    return _parsed(data, content, io)


def _parsed(data: bytearray, content: str, io: FileIO[Any]) -> Any:
    if blake3(data, max_threads=max_threads()).hexdigest() != content:
        raise OtherContentError
    return io.loads(data)


def _parsed_then_hashed(file: BinaryIO, content: str, io: FileIO[Any]) -> Any:
    start = file.tell()
    problem: Exception | None = None
    payload: Any = None
    try:
        payload = io.load(file)
    except Exception as error:  # noqa: BLE001 - a changed content may be the reason that it cannot be parsed
        problem = error
    file.seek(start, _io.SEEK_SET)
    if digest_of(file) != content:
        raise OtherContentError from problem
    if problem is not None:
        raise problem
    return payload


def _by_copy(beginning: bytearray, file: BinaryIO, content: str, io: FileIO[Any]) -> Any:
    hasher = blake3(beginning, max_threads=max_threads())
    with tempfile.TemporaryFile(prefix="persistable-") as copy:
        copy.write(beginning)
        while piece := file.read(_PIECE):
            hasher.update(piece)
            copy.write(piece)
        if hasher.hexdigest() != content:
            raise OtherContentError
        copy.seek(0)
        return io.load(copy)
