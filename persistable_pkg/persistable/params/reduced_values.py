"""Forms that a value is reduced to before it becomes bytes or a tree.

An adapter turns a value of its type into another value that can be encoded, usually a `Tagged` one. Nothing here is public.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Reduce = Callable[[Any], Any]

INLINE_BYTES = 4096
"""Largest size of raw bytes that a tree keeps, so that the value can be rebuilt from it; of longer ones it has only the digest."""
INLINE_ITEMS = 256
"""The same limit for items of an array or column that is encoded item by item."""


class Refused(Exception):
    """A value that cannot be encoded. The walk that met it knows the place and turns this into UntrackableParam."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


class Tagged:
    """A value of a type other than the plain ones: the name of the type as a tag, and the content.

    `cls` is the class of a value whose type is the user's. Only its name is identity, and that is in the content; trees also name the place
    where it can be found.
    """

    __slots__ = ("cls", "content", "tag")

    def __init__(self, tag: str, content: Any, cls: type | None = None) -> None:
        self.tag = tag
        self.content = content
        self.cls = cls


class Parts(dict[str, "Any"]):
    """Named parts of one value. Encoded like a dict; paths in errors show them as attributes."""

    __slots__ = ()


class Bulk(list["Any"]):
    """Items of an array or column. Encoded like a list; if they are many, a tree keeps only their digest."""

    __slots__ = ()


class Blob:
    """A raw buffer, of which the digest is identity. `raw` is the buffer itself if it is short."""

    __slots__ = ("digest", "raw", "size")

    def __init__(self, digest: bytes, size: int, raw: bytes | None) -> None:
        self.digest = digest
        self.size = size
        self.raw = raw


def blob(chunks: Any, size: int) -> Blob:
    """The Blob of the buffers in `chunks`, one after the other, `size` bytes in all."""
    from blake3 import blake3

    raw = b"".join(chunks) if size <= INLINE_BYTES else None
    if raw is not None:
        return Blob(blake3(raw).digest(), size, raw)
    from persistable.params.hashing import max_threads

    # threads cost more than they save below about a megabyte
    hasher = blake3(max_threads=max_threads() if size > 1_000_000 else 1)
    for chunk in chunks:
        hasher.update(chunk)
    return Blob(hasher.digest(), size, None)
