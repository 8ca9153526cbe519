"""What of very many payloads is there: a call or two of the store for thousands, and next to nothing parsed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
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
    quick: bytes
    path: str
    size: int
    digest: str
    data: bytes | None
    """What is at `path`, where it came with the record."""


def heads(store: Store, bases: Sequence[str]) -> dict[str, Head]:
    """Of those of `bases` (paths of keys) that have a sound record which is like nearly all, what it says first."""
    found: dict[str, Head] = {}
    for base, (_, io, quick, file, size, digest), beside in _read(store, bases):
        path = file.decode()
        found[base] = Head(io, quick, path, int(size), digest.decode(), beside.get(path))
    return found


def present(store: Store, bases: Sequence[str]) -> dict[str, bytes]:
    """Those of `bases` with a sound record and a file of the size that it names, and the fingerprint of their code.

    One that is left out may be there all the same: it takes a closer look.
    """
    found: dict[str, bytes] = {}
    apart: dict[str, tuple[str, int, bytes]] = {}
    for base, (_, _, quick, file, size, _), beside in _read(store, bases):
        path = file.decode()
        data = beside.get(path)
        if data is None:
            apart[base] = path, int(size), quick
        elif len(data) == int(size):
            found[base] = quick
    if apart:
        files = stat_many(store, [path for path, _, _ in apart.values()])
        found.update({base: quick for base, (path, size, quick) in apart.items() if path in files and files[path].size == size})
    return found


def _read(store: Any, bases: Sequence[str]) -> Iterator[tuple[str, tuple[bytes, ...], dict[str, bytes]]]:
    """The first line of each sound record, in parts, and what lies together with it."""
    together: dict[str, dict[str, bytes]] = store.get_together(bases) if hasattr(store, "get_together") else {}
    for base, items in together.items():
        data = items.get(base + SUFFIX)
        head = _parsed(base, data) if data is not None else None
        if head is not None:
            yield base, head, items
    rest = [base for base in bases if base not in together] if together else bases
    for path, data in store.get_many([base + SUFFIX for base in rest]).items() if rest else ():
        base = path[: -len(SUFFIX)]
        head = _parsed(base, data)
        if head is not None:
            yield base, head, {}


def _parsed(base: str, data: bytes) -> tuple[bytes, ...] | None:
    head = _HEAD.match(data)
    if head is None or head[1] != base.encode() or data[-11:-3] != b"%08x" % crc32(data[:-SEAL_BYTES]):
        return None
    return head.groups()
