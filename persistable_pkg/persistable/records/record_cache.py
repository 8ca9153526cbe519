"""Records that this machine has read or written, cached in a SQLite file of the user's cache folder by path and stamp.

A request for thousands of records of a bucket lists them first, a thousand in one request, and then reads only those whose stamps in the
listing are not in the cache. The file can be deleted at any time; damaged rows are read again from the store.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from zlib import crc32

from persistable.records.record import SUFFIX
from persistable.stores.base import BaseStore, Listed, Stat, Store, Written, extended, set_write_observer, stat_many, stem_of
from persistable.stores.cache_folder import file_of
from persistable.stores.record_file import SEAL_BYTES

LARGEST = 1 << 29
"""Largest size of the file in bytes; a larger one is started anew."""
_TABLE = "CREATE TABLE IF NOT EXISTS records (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, data BLOB NOT NULL) WITHOUT ROWID"
_FIND = "SELECT path, stamp, data FROM records WHERE path IN (SELECT value FROM json_each(?))"
_KEEP = "INSERT OR REPLACE INTO records VALUES (?, ?, ?)"
_WAIT = 5.0


class Read:
    """Records read together. data: the bytes by path, and, if `colocated`, those of files that were returned with them."""

    def __init__(self, store: Store, paths: Iterable[str], colocated: bool = False) -> None:
        self._store = store
        wanted = list(paths)
        listed = extended(store).list_around(wanted)
        self._listed = listed
        if len(listed.unknown) == len(wanted):
            self._stems: set[str] = set()
            self.data = extended(store).get_with_colocated(wanted) if colocated else store.get_many(wanted)
            return
        self._stems = {stem_of(path) for path in set(wanted).difference(listed.unknown)}
        self.data = _read(store, {path: listed.found[path] for path in wanted if path in listed.found}, listed)

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The bytes of files beside these records; the store is not asked for files that the listing showed to be missing."""
        wanted = [path for path in paths if path in self._listed.found or stem_of(path) not in self._stems]
        return self._store.get_many(wanted) if wanted else {}

    def stat_many(self, paths: Iterable[str]) -> dict[str, Stat]:
        """The sizes of files beside these records; the store is asked only for those of records that were not listed."""
        found: dict[str, Stat] = {}
        rest: list[str] = []
        for path in paths:
            if stem_of(path) not in self._stems:
                rest.append(path)
            elif path in self._listed.found:
                found[path] = self._listed.found[path]
        return {**found, **stat_many(self._store, rest)} if rest else found


def records_at(store: Store, paths: Sequence[str]) -> dict[str, bytes]:
    """The records at `paths`, in as few requests as the store can: of many in a bucket, only those that are not cached."""
    return Read(store, paths).data if extended(store).batches else store.get_many(paths)


def _read(store: Store, there: Mapping[str, Stat], listed: Listed) -> dict[str, bytes]:
    """The records that are `there`, and those that were not listed; all that are not cached by their stamp are read in one call."""
    file = file_of("records", store.url) if extended(store).trust is None else None  # signatures are verified on reading
    data = _known(file, there) if file is not None else {}
    read = extended(store).get_stamped([*[path for path in there if path not in data], *listed.unknown])
    if file is not None:
        new = [(path, stamp, bytes(each)) for path, (each, stamp) in read.items() if isinstance(stamp, str) and is_sound(each)]
        if new:
            _keep(file, new)
    return {**data, **{path: each for path, (each, _) in read.items()}}


def _known(file: Path, there: Mapping[str, Stat]) -> dict[str, bytes]:
    if not file.exists():
        return {}
    try:
        with closing(sqlite3.connect(file, timeout=_WAIT)) as db:
            rows = db.execute(_FIND, (json.dumps(list(there)),)).fetchall()
    except sqlite3.OperationalError:  # another process writes to it for long
        return {}
    except sqlite3.Error:
        with suppress(OSError):
            _discard(file)
        return {}
    return {path: data for path, stamp, data in rows if stamp == there[path].stamp and is_sound(data)}


def _note(store: BaseStore, items: Written) -> None:
    records = [(path, stamp, bytes(data)) for path, (data, stamp) in items.items() if path.endswith(SUFFIX)]
    if records:
        _keep(file_of("records", store.url), [each for each in records if is_sound(each[2])])


set_write_observer(_note)


def _keep(file: Path, new: Iterable[tuple[str, str, bytes]]) -> None:
    """Cache these; where that fails, they are read again the next time."""
    with suppress(OSError, sqlite3.Error):
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists() and file.stat().st_size > LARGEST:
            _discard(file)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        with closing(sqlite3.connect(file, timeout=_WAIT)) as db, db:
            db.execute("PRAGMA synchronous = OFF")
            db.execute(_TABLE)
            db.executemany(_KEEP, new)


def _discard(file: Path) -> None:
    for ending in ("", "-journal"):
        Path(f"{file}{ending}").unlink(missing_ok=True)


def is_sound(record: bytes) -> bool:
    """Tell whether a record agrees with the checksum at its end."""
    return record[-11:-3] == b"%08x" % crc32(record[:-SEAL_BYTES])
