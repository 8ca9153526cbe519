"""What of very many payloads is there: two calls of the store for thousands, and next to nothing parsed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from zlib import crc32

from persistable.record import SEAL_BYTES, SUFFIX
from persistable.stores.base import Store, stat_many

_HEAD = re.compile(
    rb'\{"record":1,"key":"([^"]+)",.*?"code":\{"python":"[^"]*","quick":"([^"]*)"\},"files":\[\["","([^"]+)",([0-9]+),"[0-9a-f]+"\]\],\n'
)
"""The first line of nearly every record: of a payload that is one file, and nothing more."""


def present(store: Store, bases: Sequence[str]) -> dict[str, str]:
    """Those of `bases` (paths of keys) with a sound record and a file of the size that it names, and the fingerprint of their code.

    One that is left out may be there all the same: it takes a closer look.
    """
    sizes: dict[str, int] = {}
    files: dict[str, tuple[str, str]] = {}
    for path, data in store.get_many([base + SUFFIX for base in bases]).items():
        head = _HEAD.match(data)
        base = path[: -len(SUFFIX)]
        if head is None or head[1] != base.encode() or data[-11:-3] != b"%08x" % crc32(data[:-SEAL_BYTES]):
            continue
        file = head[3].decode()
        files[file] = (base, head[2].decode())
        sizes[file] = int(head[4])
    found = stat_many(store, sizes)
    return dict([files[file] for file, stat in found.items() if stat.size == sizes[file]])
