"""Find the record and the failure of one node in a store, and remove both with the files of the payload."""

from __future__ import annotations

from enum import Enum
from functools import partial
from typing import Any, Final

from persistable.errors import (
    PayloadCorrupted,
    PayloadUntrusted,
    StoreError,
    StoreTooNew,
)
from persistable.records import commit, items, store_format
from persistable.records.failure import FAILED_SUFFIX, Failure
from persistable.records.files import drop_damaged_copies
from persistable.records.items_in_progress import discard_partial, find_partial
from persistable.records.key import Key, Place, Placed
from persistable.records.record import SUFFIX, Record
from persistable.stores.base import Store, extended


class Unusable(Enum):
    """The reason why an existing record is not to be used; returned in its place."""

    DAMAGED = "damaged"
    UNTRUSTED = "untrusted"


DAMAGED: Final = Unusable.DAMAGED
UNTRUSTED: Final = Unusable.UNTRUSTED
Token = str | Unusable | None
"""The state of a payload: the token of the attempt that made it, the reason why its record is not used, or None without a record."""


def find_record(store: Store, place: Place) -> Record | None:
    """The committed record at `place`. Raises PayloadCorrupted for one that is damaged, PayloadUntrusted for one that the store does not
    trust, StoreTooNew for a store or record of a later format.

    At a path that several payloads share, None while the record is another's, or the file there is not the one that was written.
    """
    try:
        # no property call for a Key: each slows down a hit
        data = store.get(f"{place.name}/{place.digest}{SUFFIX}" if place.__class__ is Key else place.path + SUFFIX)
    except FileNotFoundError:
        if getattr(store, "format_seen", None) is None:
            store_format.before_reading(store)
        return None
    if isinstance(place, Key):
        try:
            return Record.parse(data, place, store)
        except (StoreTooNew, PayloadCorrupted):
            pass  # healed there, or raised again
    return parsed(store, place, data)


def parsed(store: Store, place: Place, data: bytes) -> Record | None:
    """The record in `data`, which was read at `place`, as `find_record` returns it."""
    record = named(store, place, data)
    if record is None or isinstance(place, Key):
        return record
    try:
        commit.complete(store, place, record)
    except StoreError:
        record = commit.as_written(store, place, record)
    return record if missing_file(store, record) is None else None


def named(store: Store, place: Place, data: bytes) -> Record | None:
    """The record in `data`, without a check of the files that it names, see `parsed`."""
    key = place.key
    own = key if place.__class__ is Key or data.startswith(b'{"record":1,"key":"%b"' % key.path.encode()) else None
    try:
        record = Record.parse(data, own, store)
    except StoreTooNew as error:
        error.url = store.url
        raise
    except PayloadCorrupted:
        own = key if place.__class__ is Key else None
        if not extended(store).heal(place.path + SUFFIX, partial(_is_record, own)):
            raise
        return find_record(store, place)  # it has a sound copy
    return record if own is not None or record.key == key else None


def _is_record(key: Key | None, file: Any) -> bool:
    try:
        Record.parse(file.read(), key)
    except (PayloadCorrupted, PayloadUntrusted):
        return False
    return True


def peek(store: Store, place: Place) -> Record | Unusable | None:
    """The record, or the reason why it is not to be used, or None. Fast for None, the usual case."""
    path = f"{place.name}/{place.digest}{SUFFIX}" if place.__class__ is Key else place.path + SUFFIX
    try:
        return find_record(store, place) if store.exists(path) else None
    except PayloadCorrupted:
        return DAMAGED
    except PayloadUntrusted:
        return UNTRUSTED


def find_failure(store: Store, place: Place) -> Failure | None:
    """The recorded failure at `place`, if its last attempt failed."""
    path = f"{place.name}/{place.digest}{FAILED_SUFFIX}" if place.__class__ is Key else place.path + FAILED_SUFFIX
    if not store.exists(path):
        return None
    try:
        return failure_in(store.get(path), place)
    except FileNotFoundError:
        return None


def failure_in(data: bytes, place: Place) -> Failure | None:
    """The failure in `data`, unless it is that of another payload at the same path."""
    return Failure.parse(data, place.key) if place.__class__ is Key or Failure.key_in(data) == str(place.key) else None


def is_there(store: Store, place: Place) -> bool:
    """Tell whether there is a record at `place`, sound or not."""
    return store.exists(place.path + SUFFIX) and (place.__class__ is Key or peek(store, place) is not None)


def missing_file(store: Store, record: Record) -> str | None:
    """The fault of the files that `record` names, by their sizes, in words; None if there is none."""
    for file in record.head["files"]:
        _, path, size, _ = file
        found = store.stat(path)
        if found is not None and found.size != size and drop_damaged_copies(store, [file]):
            found = store.stat(path)
        if found is None:
            return f"{path} is missing"
        if found.size != size:
            return f"{path} has {found.size} bytes, expected {size}"
    return None


def delete(store: Store, place: Place) -> bool:
    """Remove record, payload and failure; the record first, so that a reader sees all or nothing. Another payload's files there stay."""
    found = peek(store, place)
    begun = find_partial(store, place) is not None and discard_partial(store, place)
    if found is None and place.__class__ is Placed:
        return (find_failure(store, place) is not None and store.delete(place.path + FAILED_SUFFIX)) or begun
    existed = store.delete(place.path + SUFFIX)
    if found is not None:
        for path in files_of(store, place, found):
            store.delete(path)
    return store.delete(place.path + FAILED_SUFFIX) or existed or begun


def files_of(store: Store, place: Place, found: Record | Unusable) -> list[str]:
    """The payload files at `place`: those its record names, or, if that is damaged, those named after the key."""
    if isinstance(found, Record):
        folder = items.folder_of(found)
        files = [path for path in named_paths(found) if _is_of(place, path)]
        return [*files, *(store.list(folder) if folder is not None and _is_of(place, folder) else ())]
    if isinstance(place, Placed):
        return []  # the owner of the file there is unknown
    key = place
    mine = f"{key.path}."
    others = (SUFFIX, FAILED_SUFFIX, ".beat")
    return [path for path in store.list(key.name) if path.startswith(mine) and not path.endswith(others) and ".claim" not in path]


def named_paths(record: Record) -> list[str]:
    """The paths of the files that a record names: those of its payload, without items, and that of its output."""
    paths = [file.path for file in record.files]
    output = record.output_path
    return paths if output is None else [*paths, output]


def _is_of(place: Place, path: str) -> bool:
    """Tell whether `path` belongs to the payload at `place`; a record that names files of another payload is not trusted."""
    if isinstance(place, Placed):
        return path in (place.to, place.path) or path.startswith((f"{place.to}/", f"{place.path}."))
    return path.startswith(f"{place.path}.")
