"""Notes: small JSON objects whose last member is a checksum of all before it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast
from zlib import crc32

_CHECK = b',"check":"'


def checked(facts: Mapping[str, Any]) -> bytes:
    """The content of a note of `facts`, with a checksum at its end."""
    text = json.dumps(facts, separators=(",", ":")).encode()[:-1]
    return b'%b%b%08x"}\n' % (text, _CHECK, crc32(text))


def parsed(data: bytes) -> dict[str, Any]:
    """The facts of a note. Raises ValueError, TypeError, RecursionError for a damaged one."""
    text, _, check = data.rpartition(_CHECK)
    if check != b'%08x"}\n' % crc32(text):
        raise ValueError("the note is damaged")
    return cast("dict[str, Any]", json.loads(data))
