"""The tag of a path, and the path of a tag.

A tag has 128 characters at most, letters, digits and ``_.-``, and begins with none of the last two. So ``/`` is written ``__``, and any
other byte that a tag cannot have ``_xx``, in hexadecimal. The record of a key has the tag of the key itself, without the suffix. Instead
of a longer tag there is a SHA-256, and only the manifest has the path.
"""

from __future__ import annotations

import re
from hashlib import sha256
from urllib.parse import unquote_to_bytes

from persistable.stores.base import is_path
from persistable.stores.record_file import RECORD

LONGEST = 128
DELETES_REFUSED = "_-deletes-refused"
"""A tag of no path, which marks that there are manifests of deleted files, because the registry does not delete."""
_BARE = "_."  # ends the tag of a path without a suffix, and begins that of a long one; no other tag has it
_ESCAPED = re.compile(rb"[^A-Za-z0-9.\-/]")
_ESCAPE = re.compile(r"__|_[0-9a-f]{2}|[^_%]")


def tag_of(path: str) -> str:
    """The tag of a checked path, unique to it."""
    stem, name = path.removesuffix(RECORD), path.rpartition("/")[2]
    of_key = name.removesuffix(RECORD)
    is_record = of_key != name and of_key and "." not in of_key
    tag = _escaped(stem) if is_record else _escaped(path) + ("" if "." in name else _BARE)
    return tag if len(tag) <= LONGEST else _BARE + sha256(path.encode()).hexdigest()


def path_of(tag: str) -> str | None:
    """The path of a tag; None for a SHA-256, whose path is in the manifest only, and for a tag of no path."""
    stem = tag.removesuffix(_BARE)
    if tag.startswith(_BARE) or _ESCAPE.sub("", stem):
        return None
    try:
        path = unquote_to_bytes(_ESCAPE.sub(_unescaped, stem)).decode()
    except UnicodeDecodeError:
        return None
    if stem == tag and "." not in path.rpartition("/")[2]:
        path += RECORD
    return path if is_path(path) and tag_of(path) == tag else None


def is_long(tag: str) -> bool:
    """Tell whether a tag has the form of a long path, which is in the manifest only."""
    return tag.startswith(_BARE)


def _escaped(path: str) -> str:
    text = _ESCAPED.sub(lambda found: b"_%02x" % found[0][0], path.encode()).decode().replace("/", "__")
    return f"_{ord(text[0]):02x}{text[1:]}" if text[0] in ".-" else text


def _unescaped(found: re.Match[str]) -> str:
    text = found[0]
    return text if len(text) == 1 else "/" if text == "__" else f"%{text[1:]}"
