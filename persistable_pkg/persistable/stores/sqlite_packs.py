"""Packs: small items that were put in one call, some dozens of them in one row of SQLite.

Rows of their own would be found through an index of all paths, each at another place of it, since digests are as good as random: that
costs more than the items. Here the index has one short entry for all items of a key: a hash of the path up to the first dot of its last
part, the *base*, and the number of the pack. Items put together are mostly read together, so one lookup finds dozens.

A path is in one place only, a pack or a row of its own. An item put over one in a pack goes into a row, and that in the pack is marked as
gone. A pack half of which is gone is dissolved into rows.

The directory of a pack, that is folder, paths and sizes, ends in a checksum, by which one flipped bit is corrected. Of a pack that is
damaged otherwise, or whose row is gone, only items with a slot are read, and only if sizes and bytes agree; all others read as absent.
Such packs are noted in ``damaged`` of the connection, for `mend` to move the remaining items into rows.

Everything here works inside a transaction of the caller.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, cast
from zlib import crc32

from persistable.stores.base import Bytes, Stat, in_folder, is_path

ITEMS = "persistable_items"
_PACKS, _SLOTS, _GONE = "persistable_packs", "persistable_slots", "persistable_gone"
TABLES = (ITEMS, _PACKS, _SLOTS, _GONE)
# data comes last: the columns before it are read without it
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
LAYOUT = 1
"""Version of these tables and their content; the ``user_version`` of the file."""
APPLICATION = int.from_bytes(b"pers", "big")
"""The ``application_id`` of a file that was made here, so that its version is that of the layout."""
OBJECTS = {
    name: (kind, table, statement.replace("IF NOT EXISTS ", ""))
    for kind, name, table, statement in (
        ("table", ITEMS, ITEMS, SCHEMA[0]),
        ("table", _PACKS, _PACKS, SCHEMA[1]),
        ("index", f"{_PACKS}_folder", _PACKS, SCHEMA[2]),
        ("table", _SLOTS, _SLOTS, SCHEMA[3]),
        ("table", _GONE, _GONE, SCHEMA[4]),
    )
}
"""The description of tables and indexes in SQLite's own table: kind, table and statement, by name."""
IN_SLOTS = f"SELECT 1 FROM {_SLOTS} WHERE hash ="
"""Query, completed by the `slot` of a path: true if an item of the same base may be in a pack."""

_WITHIN = "path = value OR (path >= value || '.' AND path < value || '/')"  # "/" follows "."
_HELD = f"SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 FROM {ITEMS} WHERE {_WITHIN})"
"""Query for the bases, of a JSON list, with items in rows of their own."""

LARGEST = 4096
"""Bytes; a larger item has a row of its own."""
FEWEST = 4
"""Smallest number of keys of one folder that make a pack: as many as a run has in its first batch."""
SIZE = 1 << 16
"""Bytes of a full pack, paths included: SQLite reads as many for a single item."""
_FIRST, _MANY = 4, 500
"""Numbers of paths looked up at once: few as long as each finds a pack full of wanted items, many otherwise."""


def slot(path: str) -> int:
    """The hash of the base of `path`, which all paths of its key have in common."""
    end = path.find(".", path.rfind("/") + 1)
    return crc32((path if end < 0 else path[:end]).encode())


def find(db: sqlite3.Connection, paths: Sequence[str], whole: bool) -> dict[str, Any]:
    """The `paths` that are in packs: their bytes if `whole`, else their stats."""
    found: dict[str, Any] = {}
    wanted = set(paths)

    def take(pack: _Pack) -> None:
        for path, size, end in pack.items:
            if path in wanted:
                wanted.remove(path)
                found[path] = pack.data[end - size : end] if whole else Stat(size, pack.stamp)

    _search(db, paths, wanted, whole, take)
    return found


def with_colocated(db: sqlite3.Connection, paths: Sequence[str]) -> dict[str, bytes]:
    """The bytes of the `paths` that are in packs, and of all other items in these packs."""
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
    """The content of a pack. items: path, size, and the end of its bytes."""

    def __init__(self, db: Any, number: int, whole: bool, marked: bool) -> None:
        columns = "folder, paths, sizes, stamp, data" if whole else "folder, paths, sizes, stamp"
        row: Any = db.execute(f"SELECT {columns} FROM {_PACKS} WHERE id = ?", (number,)).fetchone()
        known = None if row is None else _directory(row[0], row[1], row[2])
        if row is None or known is None or (whole and not _holds(row[4], known)):
            self.sound = False
            row, known = _salvaged(db, number)
        else:
            self.sound = known.intact
        if not self.sound and number not in db.given_up:
            db.damaged.add(number)
        paths, sizes, _ = known
        self.stamp: int = row[3]
        self.data: bytes = row[4] if whole else b""
        self.items: Iterable[tuple[str, int, int]] = zip(paths, sizes, accumulate(sizes), strict=True)
        gone = _gone(db, number) if marked else None
        if gone:
            self.items = [item for place, item in enumerate(self.items) if place not in gone]
        if not self.sound:
            slots = _slots_of(db, number)
            self.items = [item for item in self.items if is_path(item[0]) and slot(item[0]) in slots]


def _search(db: sqlite3.Connection, paths: Sequence[str], wanted: set[str], whole: bool, take: Callable[[_Pack], None]) -> None:
    """Pass all packs that hold `wanted` paths to `take`, which removes from `wanted` the paths it finds."""
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
    """Pack those of `rows` that are new, small, and of many keys in one folder; the rest is returned."""
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
    """Make packs of `items`, rows by base; rows of one base are in the same pack."""
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


def fresh(db: sqlite3.Connection, paths: Sequence[str]) -> list[str]:
    """The `paths` with a dot in their name for whose base no item is stored."""
    bases = {path: path[:end] for path in paths if (end := path.find(".", path.rfind("/") + 1)) > 0}
    found = _bare(db, {base: crc32(base.encode()) for base in bases.values()})
    return [path for path, base in bases.items() if base in found]


def _bare(db: sqlite3.Connection, slots: Mapping[str, int]) -> set[str]:
    """The bases in `slots` for which no item is stored."""
    held = {base for (base,) in db.execute(_HELD, (json.dumps([*slots]),))}
    packed = {number for (number,) in among(db, f"SELECT hash FROM {_SLOTS} WHERE hash IN", [*slots.values()])}
    if not packed:
        return slots.keys() - held
    return {base for base, number in slots.items() if number not in packed and base not in held}


def _write(db: sqlite3.Connection, folder: str, slots: Iterable[int], rows: list[Row]) -> None:
    paths = "\n".join([path for path, _, _ in rows])
    sizes = struct.pack(f"<{len(rows)}H", *[len(data) for _, data, _ in rows])
    sizes += _CHECKED + _check(f"{folder}\n{paths}".encode() + sizes).to_bytes(4, "little")
    packed = (folder, rows[0][2], paths, sizes, b"".join([data for _, data, _ in rows]))
    pack = db.execute(f"INSERT INTO {_PACKS} (folder, stamp, paths, sizes, data) VALUES (?, ?, ?, ?, ?)", packed).lastrowid
    db.execute(f"DELETE FROM {_GONE} WHERE pack = ?", (pack,))  # marks of a former pack of this number whose row was lost
    db.executemany(f"INSERT OR IGNORE INTO {_SLOTS} VALUES (?, {pack})", [(number,) for number in slots])


def remove(db: sqlite3.Connection, paths: Sequence[str]) -> int:
    """Remove the items at `paths` from packs; their number."""
    wanted = set(paths)
    removed = 0
    for start in range(0, len(paths), _MANY):
        for number in _packs_of(db, paths[start : start + _MANY]):
            pack = _Pack(db, number, False, False)
            names = [path for path, _, _ in pack.items]
            if not pack.sound:
                removed += sum(path in wanted for path in names)
                _dissolve(db, number, names, wanted)
                continue
            gone = _gone(db, number)
            places = [(number, place) for place, path in enumerate(names) if path in wanted and place not in gone]
            db.executemany(f"INSERT INTO {_GONE} VALUES (?, ?)", places)
            removed += len(places)
            if 2 * (len(gone) + len(places)) >= len(names):
                _dissolve(db, number, names, wanted)
    return removed


def mend(db: Any, number: int) -> tuple[str, int] | None:
    """Move the remaining items of a damaged pack into rows, and drop it. Its folder and the number of items; None where it is sound."""
    found = db.execute(f"SELECT folder FROM {_PACKS} WHERE id = ?", (number,)).fetchone()
    if found is None and _renumber(db, number):
        return None
    pack = _Pack(db, number, True, True)
    names = [path for path, _, _ in pack.items]
    if pack.sound and not _is_lost(db, number, names):
        return None
    return str(found[0]) if found else "", _dissolve(db, number, names)


def _is_lost(db: sqlite3.Connection, number: int, names: Sequence[str]) -> bool:
    """Tell whether slots that lead to these items of a pack are missing."""
    return _leading(db, number, names) < set(map(slot, names))


def _leading(db: sqlite3.Connection, number: int, names: Sequence[str]) -> set[int]:
    """The slots that lead from these names to a pack."""
    slots = set(map(slot, names))
    return {each for (each,) in among(db, f"SELECT hash FROM {_SLOTS} WHERE pack = {number} AND hash IN", [*slots])}


def _renumber(db: sqlite3.Connection, number: int) -> bool:
    """Restore the number of a pack that slots lead to, and that has another number by damage; True if there was one."""
    slots = _slots_of(db, number)
    for other, held in db.execute(f"SELECT id, paths FROM {_PACKS}"):
        first = str(held).partition("\n")[0]
        if is_path(first) and slot(first) in slots and _is_lost(db, other, [first]):
            db.execute(f"UPDATE {_PACKS} SET id = ? WHERE id = ?", (number, other))
            return True
    return False


def _dissolve(db: sqlite3.Connection, number: int, names: Iterable[str], without: Container[str] = ()) -> int:
    """Move the remaining items of a pack into rows, except those in `without`, and drop it; their number."""
    left = _Pack(db, number, True, True)
    left.items = list(left.items)
    slots = _leading(db, number, [path for path, _, _ in left.items]) if left.sound else None
    rows = [
        (path, left.data[end - size : end], left.stamp)
        for path, size, end in left.items
        if path not in without and (slots is None or slot(path) in slots)  # an item without a slot, by damage, has read as absent
    ]
    # an item that has a row already is newer there
    db.executemany(f"INSERT OR IGNORE INTO {ITEMS} (path, data, stamp) VALUES (?, ?, ?)", rows)
    db.execute(f"DELETE FROM {_PACKS} WHERE id = ?", (number,))
    db.execute(f"DELETE FROM {_GONE} WHERE pack = ?", (number,))
    if left.sound:
        db.executemany(f"DELETE FROM {_SLOTS} WHERE hash = ? AND pack = {number}", [(each,) for each in set(map(slot, names))])
    else:
        db.execute(f"DELETE FROM {_SLOTS} WHERE pack = ?", (number,))
    return len(rows)


def in_prefix(db: sqlite3.Connection, prefix: str) -> list[int]:
    """The packs with items in the folder `prefix` and below."""
    if not prefix:
        return [pack for (pack,) in db.execute(f"SELECT id FROM {_PACKS}")]
    below = f"SELECT id FROM {_PACKS} WHERE folder = ? OR (folder > ? AND folder < ?)"  # "0" follows "/"
    return [pack for (pack,) in db.execute(below, (prefix, prefix + "/", prefix + "0"))]


def scanned(db: Any, number: int, prefix: str) -> list[tuple[str, Stat]]:
    """The items of a pack in a listing of the folder `prefix`; none where it has been dissolved."""
    pack = _listable(db, number)
    return [] if pack is None else [(path, Stat(size, pack.stamp)) for path, size, _ in pack.items if in_folder(path, prefix)]


def states(db: sqlite3.Connection) -> dict[int, str]:
    """The state of each pack, as text that differs from that of its other states."""
    gone = dict(db.execute(f"SELECT pack, count(*) FROM {_GONE} GROUP BY pack").fetchall())
    stamps = db.execute(f"SELECT id, stamp FROM {_PACKS}").fetchall()
    return {number: f"{stamp} {gone[number]}" if number in gone else str(stamp) for number, stamp in stamps}


def contents(db: Any, number: int) -> list[str]:
    """The paths of a pack; none where it has been dissolved."""
    pack = _listable(db, number)
    return [] if pack is None else [path for path, _, _ in pack.items]


def _listable(db: Any, number: int) -> _Pack | None:
    if db.execute(f"SELECT 1 FROM {_PACKS} WHERE id = ?", (number,)).fetchone() is None:
        return None
    pack = _Pack(db, number, False, True)
    pack.items = list(pack.items)
    names = [path for path, _, _ in pack.items]
    if pack.sound and _is_lost(db, number, names[:1]):  # its number is damaged, or was lost with its row
        db.damaged.update({*_packs_of(db, names), number} - db.given_up)
    return pack


_CHECKED = b"\1"
"""The byte between the sizes, which have two bytes each, and the checksum."""
_CHECK = 5
_SOON = 1 << 14  # bytes of a directory up to which trying every bit is fast
_check = crc32


class _Directory(NamedTuple):
    paths: list[str]
    sizes: tuple[int, ...]
    intact: bool


def _directory(folder: Any, held: Any, packed: Any) -> _Directory | None:
    """Paths and sizes of the items of a pack; None where it is damaged beyond one flipped bit."""
    if type(held) is not str or type(folder) is not str or type(packed) is not bytes or len(packed) % 2 == 0:
        return None
    sizes, check = packed[:-_CHECK], int.from_bytes(packed[-4:], "little")
    content = f"{folder}\n{held}".encode("utf-8", "surrogateescape") + sizes
    found = _check(content)
    intact = found == check
    if not intact and (found ^ check).bit_count() > 1:
        mended = _with_one_bit(content, check)
        if mended is None:
            return None
        names, sizes = mended[: len(content) - len(sizes)], mended[len(content) - len(sizes) :]
        held = names.decode("utf-8", "surrogateescape")[len(folder) + 1 :]
    paths = held.split("\n")
    return _Directory(paths, struct.unpack(f"<{len(sizes) // 2}H", sizes), intact) if 2 * len(paths) == len(sizes) else None


def _holds(data: Any, known: _Directory) -> bool:
    return type(data) is bytes and len(data) == sum(known.sizes)


def _with_one_bit(content: bytes, check: int) -> bytes | None:
    """`content` with the one bit flipped that makes its checksum `check`; None where there is none, or it is too long to try."""
    trial = bytearray(content if len(content) <= _SOON else b"")
    for place in range(len(trial)):
        for bit in range(8):
            trial[place] ^= 1 << bit
            if _check(trial) == check:
                return bytes(trial)
            trial[place] ^= 1 << bit
    return None


def _salvaged(db: sqlite3.Connection, number: int) -> tuple[Any, _Directory]:
    """The row of a damaged pack, and its paths and sizes; all empty where they are inconsistent."""
    nothing = ("", "", b"", 0, b"")
    row: Any = db.execute(f"SELECT folder, paths, sizes, stamp, data FROM {_PACKS} WHERE id = ?", (number,)).fetchone() or nothing
    if type(row[1]) is str and type(row[2]) is bytes and len(row[2]) % 2:
        packed = row[2][:-_CHECK]
        known = _Directory(row[1].split("\n"), struct.unpack(f"<{len(packed) // 2}H", packed), False)
        if len(known.paths) == len(known.sizes) and _holds(row[4], known):
            return row, known
    return nothing, _Directory([], (), False)


def _slots_of(db: sqlite3.Connection, number: int) -> set[int]:
    return {each for (each,) in db.execute(f"SELECT hash FROM {_SLOTS} WHERE pack = ?", (number,))}


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
