"""The format of a store, declared in one small file of it, ``.persistable/store.json``: which versions may read there, and write.

It is looked for once by each process and store, when a record is not found or before a write, and made with the first
claim. A store without it has format 1. The format that a record itself declares is checked wherever it is read, see `record`.
"""

from __future__ import annotations

import json
import sys
from typing import Any, NamedTuple, cast
from zlib import crc32

from persistable.errors import StoreTooNew
from persistable.records.key import SCHEME
from persistable.stores.base import HIDDEN, extended

FORMAT = 1
"""The format that is written here, and the latest that can be read."""
PATH = f"{HIDDEN}/store.json"
_CHECK = b',"check":"'
_NUMBERS = ("format", "scheme", "min_reader", "min_writer")


class Format(NamedTuple):
    """The format that a store declares.

    scheme: of the keys. min_reader, min_writer: the least format that a version has to know to read or write there. made_by: the version
    that made the file.
    """

    format: int = FORMAT
    scheme: int = SCHEME
    min_reader: int = FORMAT
    min_writer: int = FORMAT
    made_by: str = ""


class _Seen(NamedTuple):
    """A store's format as it was read, None where it declares none, and whether it was found fit for writing."""

    format: Format | None
    damaged: bool = False
    ready: bool = False


def before_reading(store: Any) -> None:
    """Raise StoreTooNew unless this version can read the data in `store`."""
    if extended(store).format_seen is None:
        _look(store)


def before_writing(store: Any) -> None:
    """Raise StoreTooNew unless this version may write into `store`; declare the format in a store that has not declared one."""
    seen: _Seen | None = extended(store).format_seen
    if seen is not None and seen.ready:
        return
    seen = seen or _look(store)
    if seen is None:
        return
    if seen.format is None:
        seen = _mark(store, seen)
    if seen.format is not None and seen.format.min_writer > FORMAT:
        raise _too_new(store, seen.format, f"may only be written by versions that know format {seen.format.min_writer}", "min_writer")
    for layer in extended(store).layers:  # each is a store by itself; of those that may be unreachable only the primary is asked
        if not layer.readonly and extended(layer.store).definite:
            before_writing(layer.store)
    _remember(store, seen._replace(ready=True))


def format_of(store: Any) -> Format | None:
    """The format that `store` declares; None where it declares none. Raises StoreTooNew."""
    data = store.get_many([PATH]).get(PATH)
    return None if data is None else _parsed(store, data)


def to_bytes(declared: Format) -> bytes:
    """The content of the file: one JSON object, whose last member is the CRC-32 of all before it."""
    text = json.dumps(declared._asdict(), separators=(",", ":")).encode()[:-1]
    return b'%b%b%08x"}\n' % (text, _CHECK, crc32(text))


def _look(store: Any) -> _Seen | None:
    """Read the declared format of `store` and remember it; None where the store cannot be reached now: the next call raises the error."""
    try:
        data: bytes | None = store.get_many([PATH]).get(PATH)
    except StoreTooNew:
        raise
    except ConnectionError:
        return None
    except OSError:
        data = None
    declared = None if data is None else _parsed(store, data)
    return _remember(store, _Seen(declared, damaged=data is not None and declared is None))


def _mark(store: Any, seen: _Seen) -> _Seen:
    """Declare the format in `store`, unless it may not be written."""
    own = Format(made_by=f"persistable {sys.modules['persistable'].__version__}")
    try:
        if seen.damaged:
            store.put(PATH, to_bytes(own))
        elif not store.create(PATH, to_bytes(own)):
            return _look(store) or seen
    except StoreTooNew:
        raise
    except OSError:  # the next write reports it in detail
        return seen
    return _Seen(own)


def _remember(store: Any, seen: _Seen) -> _Seen:
    try:
        store.format_seen = seen
    except AttributeError:  # it has slots, so it is read each time
        pass
    return seen


def _parsed(store: Any, data: bytes) -> Format | None:
    """The format in the file; None where it is damaged. Raises StoreTooNew for one that this version cannot read."""
    text, has_check, check = data.rpartition(_CHECK)
    if has_check and check != b'%08x"}\n' % crc32(text):  # a file written by hand has none
        return None
    try:
        facts: Any = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(facts, dict):
        return None
    known = cast("dict[str, Any]", facts)
    numbers = [known.get(name, known.get("format")) for name in _NUMBERS]
    made_by = str(known.get("made_by", ""))
    if not all(type(number) is int for number in numbers):
        raise _too_new(store, Format(made_by=made_by), f"says its format in {PATH} in a way that is not known", "format")
    declared = Format(*cast("tuple[int, int, int, int]", tuple(numbers)), made_by)
    if declared.min_reader > FORMAT:
        raise _too_new(
            store, declared, f"has format {declared.format}, which only versions read that know format {declared.min_reader}", "min_reader"
        )
    if declared.scheme > SCHEME:
        raise _too_new(store, declared, f"has keys of the identity scheme {declared.scheme}", "scheme")
    return declared


def _too_new(store: Any, declared: Format, subject: str, member: str) -> StoreTooNew:
    by = f", made by {declared.made_by[:60]}," if declared.made_by else ""
    known = SCHEME if member == "scheme" else FORMAT
    return StoreTooNew.of(f"{store.url}{by} {subject}", getattr(declared, member), known, url=store.url, path=PATH)
