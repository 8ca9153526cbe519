"""Packs: small items that were put together, some dozens of them in one row of SQLite.

A row for each would be found through an index of all paths, at another place of it each time, for digests are as good as random: that
costs more than the items. Here the index has one short entry for all that belongs together, a hash of the path up to the first dot of
its last part, and the pack where it is. Items that were put together are mostly asked for together, so one lookup finds dozens.

A path is in one place only, a pack or a row of its own. What is put over an item of a pack goes into a row, and the item is marked as gone.
A pack half of which is gone is dissolved into rows.

Everything here works inside a transaction of the caller's.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, cast
from zlib import crc32

from persistable.stores.base import Bytes, Stat, in_folder

ITEMS = "persistable_items"
_PACKS, _SLOTS, _GONE = "persistable_packs", "persistable_slots", "persistable_gone"
TABLES = (ITEMS, _PACKS, _SLOTS, _GONE)
# data comes last: what precedes it is read without it
_PACK_COLUMNS = (
    "id INTEGER PRIMARY KEY, folder TEXT NOT NULL, stamp INTEGER NOT NULL, paths TEXT NOT NULL, sizes BLOB NOT NULL, data BLOB NOT NULL"
)
SCHEMA = (
    f"CREATE TABLE IF NOT EXISTS {ITEMS} (path TEXT PRIMARY KEY NOT NULL, data BLOB NOT NULL, stamp INTEGER NOT NULL)",
    f"CREATE TABLE IF NOT EXISTS {_PACKS} ({_PACK_COLUMNS})",
    f"CREATE INDEX IF NOT EXISTS {_PACKS}_folder ON {_PACKS} (folder)",
    f"CREATE TABLE IF NOT EXISTS {_SLOTS} (hash INTEGER NOT NULL, pack INTEGER NOT NULL, PRIMARY KEY (hash, pack)) WITHOUT ROWID",
    f"CREATE TABLE IF NOT EXISTS {_GONE} (pack INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (pack, place)) WITHOUT ROWID",
)
IN_SLOTS = f"SELECT 1 FROM {_SLOTS} WHERE hash ="
"""Whether anything that belongs together with a path may be in a pack, completed by its `slot`."""

_WITHIN = "path = value OR (path >= value || '.' AND path < value || '/')"  # "/" follows "."
_HELD = f"SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 FROM {ITEMS} WHERE {_WITHIN})"
"""Those of these bases, a JSON list, of which something is in rows of its own."""

LARGEST = 4096
"""Bytes; what is larger has a row of its own."""
FEWEST = 8
"""So many items in one folder at least make a pack."""
SIZE = 1 << 16
"""Bytes of a full pack, paths included: what a single item that is asked for makes SQLite read."""
_FIRST, _MANY = 4, 500
"""How many paths are looked up at once: few as long as each of them finds a pack full of what is wanted, many where they do not."""


def slot(path: str) -> int:
    """The hash of what `path` has in common with what belongs together with it."""
    end = path.find(".", path.rfind("/") + 1)
    return crc32((path if end < 0 else path[:end]).encode())


def find(db: sqlite3.Connection, paths: Sequence[str], whole: bool) -> dict[str, Any]:
    """Those of `paths` that are in packs: their bytes, or else what `stat` gives."""
    found: dict[str, Any] = {}
    wanted = set(paths)

    def take(pack: _Pack) -> None:
        for path, size, end in pack.items:
            if path in wanted:
                wanted.remove(path)
                found[path] = pack.data[end - size : end] if whole else Stat(size, pack.stamp)

    _search(db, paths, wanted, whole, take)
    return found


def with_neighbours(db: sqlite3.Connection, paths: Sequence[str]) -> dict[str, bytes]:
    """Those of `paths` that are in packs, and all else that is there."""
    found: dict[str, bytes] = {}
    wanted = set(paths)

    def take(pack: _Pack) -> None:
        data = pack.data
        here = {path: data[end - size : end] for path, size, end in pack.items}
        found.update(here)
        wanted.difference_update(here)

    _search(db, paths, wanted, True, take)
    return found


class _Pack:
    """What a pack holds. items: path, size, and where its bytes end."""

    def __init__(self, db: sqlite3.Connection, number: int, whole: bool, marked: bool) -> None:
        columns = "paths, sizes, stamp, data" if whole else "paths, sizes, stamp"
        row = db.execute(f"SELECT {columns} FROM {_PACKS} WHERE id = ?", (number,)).fetchone()
        paths, sizes = _directory(row[0], row[1])
        self.stamp: int = row[2]
        self.data: bytes = row[3] if whole else b""
        self.items: Iterable[tuple[str, int, int]] = zip(paths, sizes, accumulate(sizes), strict=True)
        gone = _gone(db, number) if marked else None
        if gone:
            self.items = [item for place, item in enumerate(self.items) if place not in gone]


def _search(db: sqlite3.Connection, paths: Sequence[str], wanted: set[str], whole: bool, take: Callable[[_Pack], None]) -> None:
    """Give `take`, which removes what it finds from `wanted`, all packs that hold any of that."""
    read: set[int] = set()
    marked = db.execute(f"SELECT EXISTS (SELECT 1 FROM {_GONE})").fetchone()[0]
    start, many = 0, _FIRST
    while start < len(paths):
        some = [path for path in paths[start : start + many] if path in wanted]
        start += many
        if not some:
            continue
        before = len(wanted)
        for pack in _packs_of(db, some):
            if pack not in read:
                read.add(pack)
                take(_Pack(db, pack, whole, marked))
        many = _FIRST if before - len(wanted) > 2 * len(some) else min(2 * many, _MANY)
        wanted.difference_update(some)


Row = tuple[str, Bytes, int]
"""Path, bytes, stamp."""


def add(db: sqlite3.Connection, rows: Iterable[Row]) -> list[Row]:
    """Pack those of `rows` that are new, small, and many in one folder; the rest is returned."""
    folders: dict[str, dict[str, list[Row]]] = {}
    left: list[Row] = []
    for row in rows:
        if len(row[1]) > LARGEST:
            left.append(row)
            continue
        path = row[0]
        start = path.rfind("/") + 1
        end = path.find(".", start)
        folders.setdefault(path[:start], {}).setdefault(path if end < 0 else path[:end], []).append(row)
    for folder, some in folders.items():
        if len(some) < FEWEST:
            left += [row for rows in some.values() for row in rows]
            continue
        slots = {base: crc32(base.encode()) for base in some}
        new = _bare(db, slots)
        if len(new) < len(some):
            for base in some.keys() - new:
                left += some.pop(base)
        _fill(db, folder[:-1], some, slots)
    return left


def _fill(db: sqlite3.Connection, folder: str, items: Mapping[str, list[Row]], hashes: Mapping[str, int]) -> None:
    """Make packs of what belongs together, by base."""
    slots: set[int] = set()
    rows: list[Row] = []
    size = 0
    for base, some in items.items():
        slots.add(hashes[base])
        rows += some
        for row in some:
            size += len(row[0]) + len(row[1])
        if size >= SIZE:
            _write(db, folder, slots, rows)
            slots, rows, size = set[int](), [], 0
    if rows:
        _write(db, folder, slots, rows)


def bare(db: sqlite3.Connection, paths: Sequence[str]) -> list[str]:
    """Those of `paths` with which nothing that is there belongs together."""
    bases = {path: path[:end] for path in paths if (end := path.find(".", path.rfind("/") + 1)) > 0}
    found = _bare(db, {base: crc32(base.encode()) for base in bases.values()})
    return [path for path, base in bases.items() if base in found]


def _bare(db: sqlite3.Connection, slots: Mapping[str, int]) -> set[str]:
    """Those of these bases of which nothing is there."""
    held = {base for (base,) in db.execute(_HELD, (json.dumps([*slots]),))}
    packed = {number for (number,) in among(db, f"SELECT hash FROM {_SLOTS} WHERE hash IN", [*slots.values()])}
    if not packed:
        return slots.keys() - held
    return {base for base, number in slots.items() if number not in packed and base not in held}


def _write(db: sqlite3.Connection, folder: str, slots: Iterable[int], rows: list[Row]) -> None:
    sizes = struct.pack(f"<{len(rows)}H", *[len(data) for _, data, _ in rows])
    packed = (folder, rows[0][2], "\n".join([path for path, _, _ in rows]), sizes, b"".join([data for _, data, _ in rows]))
    pack = db.execute(f"INSERT INTO {_PACKS} (folder, stamp, paths, sizes, data) VALUES (?, ?, ?, ?, ?)", packed).lastrowid
    db.executemany(f"INSERT INTO {_SLOTS} VALUES (?, {pack})", [(number,) for number in slots])


def remove(db: sqlite3.Connection, paths: Sequence[str]) -> int:
    """Remove what packs hold of `paths`; how many that are."""
    wanted = set(paths)
    removed = 0
    for start in range(0, len(paths), _MANY):
        for pack in _packs_of(db, paths[start : start + _MANY]):
            held, packed = db.execute(f"SELECT paths, sizes FROM {_PACKS} WHERE id = ?", (pack,)).fetchone()
            gone = _gone(db, pack)
            names = _directory(held, packed)[0]
            places = [(pack, place) for place, path in enumerate(names) if path in wanted and place not in gone]
            db.executemany(f"INSERT INTO {_GONE} VALUES (?, ?)", places)
            removed += len(places)
            if 2 * (len(gone) + len(places)) >= len(names):
                _dissolve(db, pack, names)
    return removed


def _dissolve(db: sqlite3.Connection, pack: int, names: Sequence[str]) -> None:
    """Give what is left of a pack rows of its own."""
    left = _Pack(db, pack, True, True)
    rows = [(path, left.data[end - size : end], left.stamp) for path, size, end in left.items]
    db.executemany(f"INSERT INTO {ITEMS} (path, data, stamp) VALUES (?, ?, ?)", rows)
    db.execute(f"DELETE FROM {_PACKS} WHERE id = ?", (pack,))
    db.execute(f"DELETE FROM {_GONE} WHERE pack = ?", (pack,))
    db.executemany(f"DELETE FROM {_SLOTS} WHERE hash = ? AND pack = {pack}", [(number,) for number in set(map(slot, names))])


def in_prefix(db: sqlite3.Connection, prefix: str) -> list[int]:
    """The packs with items in the folder `prefix` and below."""
    if not prefix:
        return [pack for (pack,) in db.execute(f"SELECT id FROM {_PACKS}")]
    below = f"SELECT id FROM {_PACKS} WHERE folder = ? OR (folder > ? AND folder < ?)"  # "0" follows "/"
    return [pack for (pack,) in db.execute(below, (prefix, prefix + "/", prefix + "0"))]


def listed(db: sqlite3.Connection, pack: int, prefix: str) -> list[str]:
    """What a listing of the folder `prefix` shows of a pack; nothing where it has been dissolved."""
    row = db.execute(f"SELECT paths FROM {_PACKS} WHERE id = ?", (pack,)).fetchone()
    if row is None:
        return []
    gone = _gone(db, pack)
    return [path for place, path in enumerate(row[0].split("\n")) if place not in gone and in_folder(path, prefix)]


def _directory(held: str, packed: bytes) -> tuple[list[str], tuple[int, ...]]:
    """Paths and sizes of the items of a pack."""
    return held.split("\n"), struct.unpack(f"<{len(packed) // 2}H", packed)


def _gone(db: sqlite3.Connection, pack: int) -> set[int]:
    return {place for (place,) in db.execute(f"SELECT place FROM {_GONE} WHERE pack = ?", (pack,))}


def _packs_of(db: sqlite3.Connection, paths: Sequence[str]) -> list[int]:
    """The packs in which these paths may be."""
    hashes = list(set(map(slot, paths)))
    return [pack for (pack,) in among(db, f"SELECT DISTINCT pack FROM {_SLOTS} WHERE hash IN", hashes)]


def among(db: sqlite3.Connection, query: str, values: Sequence[Any]) -> Iterator[Any]:
    """The rows of `query`, which ends in IN, completed by `values`."""
    for start in range(0, len(values), _MANY):
        some = values[start : start + _MANY]
        yield from cast("Iterator[Any]", db.execute(f"{query} ({'?,' * (len(some) - 1)}?)", some))
