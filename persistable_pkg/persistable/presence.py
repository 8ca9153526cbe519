"""What of very many payloads is there: two calls of the store for thousands, and next to nothing parsed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

from persistable.record import SEAL_BYTES, SUFFIX
from persistable.stores.base import Store, stat_many

_HEAD = re.compile(
    rb'\{"record":1,"key":"([^"]+)","token":"[^"]*","io":(\{.*?\}),"class":"[^"]*","code":\{"python":"[^"]*","quick":"([^"]*)"\},'
    rb'"files":\[\["","([^"]+)",([0-9]+),"([0-9a-f]+)"\]\],\n'
)
"""The first line of nearly every record: of a payload that is one file, and nothing more."""


class Head(NamedTuple):
    """What the record of one payload says first. io: how its format is named there. quick: the fingerprint of the code that made it."""

    io: bytes
    quick: str
    path: str
    size: int
    digest: str


def heads(store: Store, bases: Sequence[str]) -> dict[str, Head]:
    """Of those of `bases` (paths of keys) that have a sound record which is like nearly all, what it says first."""
    found: dict[str, Head] = {}
    for path, data in store.get_many([base + SUFFIX for base in bases]).items():
        head = _HEAD.match(data)
        base = path[: -len(SUFFIX)]
        if head is not None and head[1] == base.encode() and data[-11:-3] == b"%08x" % crc32(data[:-SEAL_BYTES]):
            _, io, quick, file, size, digest = head.groups()
            found[base] = Head(io, quick.decode(), file.decode(), int(size), digest.decode())
    return found


def present(store: Store, bases: Sequence[str]) -> dict[str, str]:
    """Those of `bases` with a sound record and a file of the size that it names, and the fingerprint of their code.

    One that is left out may be there all the same: it takes a closer look.
    """
    there = heads(store, bases)
    files = stat_many(store, [head.path for head in there.values()])
    return {base: head.quick for base, head in there.items() if (stat := files.get(head.path)) is not None and stat.size == head.size}
