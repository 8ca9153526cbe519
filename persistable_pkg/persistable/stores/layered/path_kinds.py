"""Facts read from the path of a file, or from a record, that layers need to keep valid copies."""

from __future__ import annotations

import json
import re
from typing import Any

from persistable.stores.base import HIDDEN, Bytes
from persistable.stores.custom_path import PLACED, PLACING

_NOW = re.compile(r".*\.(?:claim(?:\.(?:[0-9]+|waits))?|beat|failed\.json)", re.DOTALL)
_CLAIM = re.compile(r"(.*)\.claim(?:\.[0-9]+)?", re.DOTALL)
_LASTING = re.compile(r"[^/]+/[0-9a-f]{32}\.(?:record\.json|[0-9a-f]{8}.*)", re.DOTALL)
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_\-=+,@()]{0,80}"
_PLAIN = re.compile(rf"{_NAME}/[0-9a-f]{{32}}\.(?:record\.json|[0-9a-f]{{8}}(?:\.(?!claim|beat|failed)[a-z0-9_]++)*+)", re.ASCII)
is_plain = _PLAIN.fullmatch
"""Matches, in one step, paths that are neither `primary_only` nor `is_mutable`, as nearly all that are read."""
KEY = re.compile(r"[^/]+/[0-9a-f]{32}")


def primary_only(path: str) -> bool:
    """Tell whether a path is about running work, such as a claim, so that only the primary has it."""
    hidden = path.startswith(HIDDEN + "/") and not (path + "/").startswith((f"{PLACED}/", f"{PLACING}/"))
    return hidden or _NOW.fullmatch(path) is not None


def is_mutable(path: str) -> bool:
    """Tell whether the bytes at a path may change: at all paths but those of attempts, and of records that are named after their key."""
    return _LASTING.fullmatch(path) is None and not path.startswith(f"{PLACING}/")


def claimed(path: str) -> str | None:
    """The path without suffix of the key that the claim at `path` is for; None where it is no claim."""
    found = _CLAIM.fullmatch(path)
    return None if found is None else found[1]


def files_of(record: Bytes) -> list[tuple[str, int]] | None:
    """Path and size of the files that a record names, all in its first line; None where it is no record."""
    try:
        head: Any = json.loads(bytes(record).partition(b"\n")[0].rstrip(b",") + b"}")
        return [(str(path), int(size)) for _, path, size, _ in head["files"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def token_of(record: Bytes) -> str:
    """The token of the attempt that made a record; "" where it is no record."""
    try:
        return str(json.loads(bytes(record).partition(b"\n")[0].rstrip(b",") + b"}")["token"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
