"""Refresh of an index: list the changes, read the changed records, and write their rows."""

from __future__ import annotations

import gc
import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import chain
from operator import itemgetter
from typing import Any

from persistable.catalog.index.change_detection import FolderState, RefreshState, parts_of
from persistable.catalog.index.index import CLASS, INDEXES, PARAM, ROLE, UPSTREAM, Index, write_transaction
from persistable.catalog.index.rows import NodeRow, Row, node_row, row_of
from persistable.errors import PayloadCorrupted, PayloadUntrusted
from persistable.records import store_format
from persistable.records.record import Record
from persistable.stores.base import Store

BATCH = 2000
"""Records that are read at once."""
AT_ONCE = 50_000
"""Records that are written at once: a page of the index is written once for all of its rows among them."""
MANY = 20_000
"""New records from which on it is faster to rebuild the secondary indexes."""
TOGETHER = 50
"""Rows that one statement writes."""
PART = 4
"""One in this many of all records, or more, in one folder: then the whole table is read for that folder."""
COLUMNS = 5000
"""Params of one name that queries are checked against at most."""
OTHER = "other"
"""Status of a file that only has the name of a record; no query finds it."""
Progress = Callable[[int, int], None]
_path: Callable[[Sequence[Any]], str] = itemgetter(0)
Pending = tuple[str, int, str, str | int, int | None]
"""A file to be read: its path, the id of its folder, its name and stamp, and the id of its pack."""


def refresh(index: Index, store: Store, progress: Progress | None = None) -> None:
    """Bring `index` up to date with `store`. Raises StoreTooNew, and the errors of the store.

    progress: called with the numbers of records read so far and, as far as known, in all.
    """
    store_format.before_reading(store)
    with index.refresh_lock():
        index.use(lambda db: _Refresh(db, progress).all_of(store))


def is_current(index: Index, store: Store) -> bool:
    """Tell whether `index` is up to date with `store`, without a refresh."""

    def look(db: sqlite3.Connection) -> bool:
        for number, part in enumerate(parts_of(store)):
            known = RefreshState(db, number)
            if any(listing.files or listing.pack is not None or listing.folder in known.folders for listing in part.changed(known)):
                return False
        return True

    with index.refresh_lock():
        return index.use(look)


class _PathIds(dict[str, int]):
    """Ids of the paths of params; a new path gets the next id."""

    def __init__(self, db: sqlite3.Connection) -> None:
        super().__init__(db.execute("SELECT path, id FROM paths").fetchall())
        self._db = db

    def __missing__(self, path: str) -> int:
        self[path] = number = len(self) + 1
        self._db.execute("INSERT INTO paths (id, path) VALUES (?, ?)", (number, path))
        return number


class _Refresh:
    """One refresh of an index."""

    def __init__(self, db: sqlite3.Connection, progress: Progress | None) -> None:
        self._db = db
        self._progress = progress
        self._done = self._wanted = 0
        self._folders: dict[tuple[int, str, int], int] = {}
        self._new_packs: list[tuple[Any, ...]] = []
        self._pending: list[Pending] = []
        self._after: list[tuple[str, tuple[Any, ...]]] = []
        """Statements to be executed once all pending rows are written."""
        self._dropped: list[str] = []
        """Secondary indexes that are rebuilt at the end."""
        self._paths = _PathIds(db)
        self._shapes: set[tuple[Any, ...]] = set()
        """Name, class and params of descriptions whose columns are noted."""
        self._unknown: dict[str, str] = {}
        """Upstream keys that may have no description in the index, each with the path of a record downstream of it."""

    def all_of(self, store: Store) -> None:
        """Bring every part of the index up to date."""
        enabled = gc.isenabled()
        gc.disable()  # hundreds of thousands of texts that all stay: searching them for cycles takes longer than making them
        try:
            for number, part in enumerate(parts_of(store)):
                known = RefreshState(self._db, number)
                for listing in part.changed(known):
                    if listing.pack is not None:
                        self._apply_pack(number, listing)
                    elif listing.files or listing.stamp is not None or listing.folder in known.folders:
                        self._apply_folder(number, listing)
                    if len(self._pending) > AT_ONCE:
                        self._flush(part.store)
                self._flush(part.store)
            self._describe_upstream(store)
        finally:
            if enabled:
                gc.enable()
            if self._dropped:
                with write_transaction(self._db):
                    for name in self._dropped:
                        self._db.execute(INDEXES[name])

    def _insert(self, table: str, columns: str, rows: Iterable[tuple[Any, ...]], unique: str = "") -> None:
        """Write `rows`, `TOGETHER` of them by one statement, which takes half the time of a statement for each.

        unique: the columns that identify an existing row, which is updated and keeps its id.
        """
        values = list(chain.from_iterable(rows))
        names = columns.split(", ")
        width = len(names)
        changed = ", ".join(f"{name} = excluded.{name}" for name in names)
        known = f" ON CONFLICT ({unique}) DO UPDATE SET {changed}" if unique else ""
        one = f"({', '.join('?' * width)})"
        whole = len(values) - len(values) % (TOGETHER * width)
        for many, first, last in ((TOGETHER, 0, whole), (1, whole, len(values))):
            step = many * width
            query = f"INSERT INTO {table} ({columns}) VALUES {', '.join([one] * many)}{known}"
            self._db.executemany(query, (values[at : at + step] for at in range(first, last, step)))

    @cached_property
    def _columns(self) -> dict[str, set[tuple[int, str]]]:
        """Columns that are noted, by payload name."""
        found: dict[str, set[tuple[int, str]]] = {}
        for name, kind, path in self._db.execute("SELECT name, kind, path FROM columns"):
            found.setdefault(name, set()).add((kind, path))
        return found

    @cached_property
    def _packs(self) -> dict[tuple[Any, ...], int]:
        """Ids of packs, by part and number."""
        return {(part, number): id_ for id_, part, number in self._db.execute("SELECT id, part, number FROM packs").fetchall()}

    @cached_property
    def _last_pack(self) -> int:
        return max(self._packs.values(), default=0)

    def _folder_id(self, part: int, path: str, packed: bool) -> int:
        place = (part, path, int(packed))
        known = self._folders.get(place)
        if known is None:
            self._db.execute("INSERT OR IGNORE INTO folders (part, path, packed) VALUES (?, ?, ?)", place)
            found = self._db.execute("SELECT id FROM folders WHERE part = ? AND path = ? AND packed = ?", place).fetchone()
            known = self._folders[place] = int(found[0])
        return known

    def _apply_folder(self, part: int, listing: FolderState) -> None:
        """Bring the rows of one folder up to date."""
        folder = self._folder_id(part, listing.folder, False)
        stamp_of = "inode" if listing.by_inode else "stamp"
        # of a folder that is a large part of the table, rows are read in half the time in the order of the table
        last = self._db.execute("SELECT max(id) FROM records").fetchone()[0] or 0
        within = "+folder" if PART * len(listing.files) > last else "folder"
        query = f"SELECT file, {stamp_of} FROM records WHERE {within} = ?"
        values: tuple[Any, ...] = (folder,)
        if listing.gone is not None:
            names = json.dumps([*listing.files, *listing.gone])
            query, values = f"{query} AND file IN (SELECT value FROM json_each(?))", (folder, names)
        have: dict[str, Any] = dict(self._db.execute(query, values).fetchall())
        self._compare(folder, None, listing, have)
        self._after.append(("UPDATE folders SET stamp = ? WHERE id = ?", (listing.stamp, folder)))

    def _apply_pack(self, part: int, listing: FolderState) -> None:
        """Bring the rows of one pack up to date."""
        db, place = self._db, (part, listing.pack)
        found = self._packs.get(place)
        if listing.stamp is None:  # it is gone
            with write_transaction(db):
                db.execute("DELETE FROM records WHERE pack = ?", (found,))
                db.execute("DELETE FROM packs WHERE id = ?", (found,))
            return
        have: dict[str, Any] = {}
        if found is not None:
            have = dict(db.execute("SELECT file, stamp FROM records WHERE pack = ?", (found,)).fetchall())
        else:
            self._last_pack += 1
            found = self._packs[place] = self._last_pack
            self._new_packs.append((found, *place))
        self._compare(self._folder_id(part, listing.folder, True), found, listing, have)
        self._after.append(("UPDATE packs SET state = ? WHERE id = ?", (listing.stamp, found)))

    def _compare(self, folder: int, pack: int | None, listing: FolderState, have: dict[str, Any]) -> None:
        """Delete the rows of files that are gone; note new and changed files as pending."""
        prefix = f"{listing.folder}/" if listing.folder else ""
        new: list[Pending] = [
            (prefix + file, folder, file, stamp, pack) for file, stamp in listing.files.items() if have.pop(file, None) != stamp
        ]
        # a pack without records no longer has the folder of its former records
        within, number = ("folder", folder) if pack is None else ("pack", pack)
        if have:
            with write_transaction(self._db):
                self._db.executemany(f"DELETE FROM records WHERE {within} = ? AND file = ?", [(number, file) for file in have])
        if pack is None:
            new.sort(key=_path)  # in the order in which they are read; of packs, one after the other
        self._pending += new
        self._wanted += len(new)

    def _flush(self, store: Store) -> None:
        """Read pending files from `store` and write their rows; then the stamps of their folders and packs."""
        pending, self._pending = self._pending, []
        after, self._after = self._after, []
        if self._new_packs:
            with write_transaction(self._db):
                self._db.executemany("INSERT INTO packs (id, part, number) VALUES (?, ?, ?)", self._new_packs)
            self._new_packs = []
        if self._wanted > MANY and not self._dropped:
            is_empty = self._db.execute("SELECT 1 FROM records LIMIT 1").fetchone() is None
            self._dropped = [name for name in INDEXES if is_empty or name != "records_pack"]  # by which packs are compared
            with write_transaction(self._db):
                for name in self._dropped:
                    self._db.execute(f"DROP INDEX {name}")
        rows: list[tuple[Pending, Row | None]] = []
        for first in range(0, len(pending), BATCH):
            some = pending[first : first + BATCH]
            data = store.get_many([place[0] for place in some])
            rows += [(place, row_of(path, data[path])) for place in some if (path := place[0]) in data]
            if len(rows) >= AT_ONCE or first + BATCH >= len(pending):
                rows.sort(key=_path_of_row)  # so by their keys: writing in that order touches few pages of the index
                with write_transaction(self._db):
                    self._write(rows)
                rows.clear()
            self._done += len(some)
            if self._progress is not None:
                self._progress(self._done, self._wanted)
        with write_transaction(self._db):
            for statement, values in after:
                self._db.execute(statement, values)

    def _write(self, rows: Sequence[tuple[Pending, Row | None]]) -> None:
        nodes = self._nodes([(row.node, place[0]) for place, row in rows if row and row.node])
        self._insert(
            "records",
            "folder, file, pack, stamp, inode, node, status, name, at, size, seconds, created, host, class, made",
            (_record(place, row, nodes) for place, row in rows),
            unique="folder, file",
        )

    def _nodes(self, reported: Sequence[tuple[NodeRow, str]]) -> dict[str, int]:
        """The ids of these descriptions, each with the path of a record that has it; those that the index lacks are written."""
        by_key: dict[str, NodeRow] = {}
        paths = {node.key: path for node, path in reported}
        for node, _ in reported:
            if node.class_reference is not None or node.key not in by_key:
                by_key[node.key] = node
        query = "SELECT key, id, class IS NULL, params <> '{}' FROM nodes WHERE key IN (SELECT value FROM json_each(?))"
        known = self._db.execute(query, (json.dumps(list(by_key)),)).fetchall()
        ids: dict[str, int] = {key: number for key, number, _, _ in known}
        partial = {key for key, _, unknown, _ in known if unknown}
        valued = {key for key, _, _, has_params in known if has_params}  # a damaged record has no params, a failure does
        new = [node for key, node in by_key.items() if key not in ids or (key in partial and node.class_reference is not None)]
        number = self._db.execute("SELECT coalesce(max(id), 0) FROM nodes").fetchone()[0]
        for node in new:
            if node.key not in ids:
                number += 1
                ids[node.key] = number
        self._insert(
            "nodes",
            "id, key, class, version, params, leaves",
            ((ids[node.key], *node[:5]) for node in new),
            unique="id",
        )
        self._edges(new, ids, paths)
        self._params([node for node in new if node.key not in valued], ids)
        self._note_columns(new)
        return ids

    def _edges(self, nodes: Iterable[NodeRow], ids: dict[str, int], paths: dict[str, str]) -> None:
        edges = [
            (ids[node.key], role, target, paths[node.key]) for node in nodes if node.upstream for role, target in node.upstream.items()
        ]
        if not edges:
            return
        self._db.executemany("INSERT OR REPLACE INTO edges (node, role, target) VALUES (?, ?, ?)", [edge[:3] for edge in edges])
        for _, _, target, path in edges:
            self._unknown.setdefault(target, path)

    def _params(self, nodes: Iterable[NodeRow], ids: dict[str, int]) -> None:
        paths = self._paths
        rows = ((paths[path], kind, value, ids[node.key]) for node in nodes for path, kind, value in node.values)
        self._insert("params", "path, kind, value, node", rows)

    def _note_columns(self, nodes: Iterable[NodeRow]) -> None:
        """Note the columns that queries over payloads of their names may use."""
        for node in nodes:
            name = node.key.rpartition("/")[0]
            if node.leaves is None and not node.upstream:
                shape = (name, node.class_reference, *[path for path, _, _ in node.values])
                if shape in self._shapes:
                    continue  # thousands have the same shape
                self._shapes.add(shape)
            known = self._columns.setdefault(name, set())
            found = {(PARAM, path) for path, _, _ in node.values} if len(known) <= COLUMNS else set[tuple[int, str]]()
            found.add((CLASS, node.class_reference or ""))
            for role, target in node.upstream.items():
                found |= {(ROLE, role), (UPSTREAM, f"{role} {target.rpartition('/')[0]}")}
            if not found <= known:
                new = [(name, *each) for each in found - known]
                self._db.executemany("INSERT OR IGNORE INTO columns (name, kind, path) VALUES (?, ?, ?)", new)
                known |= found

    def _describe_upstream(self, store: Store) -> None:
        """Describe nodes upstream of the records that were read that have no record of their own, by the lineages in those records."""
        while self._unknown:
            known = self._described(list(self._unknown))
            left = list(dict.fromkeys(path for target, path in self._unknown.items() if target not in known))
            self._unknown = {}
            for first in range(0, len(left), BATCH):
                rows: dict[str, tuple[NodeRow, str]] = {}
                for path, data in store.get_many(left[first : first + BATCH]).items():
                    rows.update((node.key, (node, path)) for node in _lineage(data))
                known = self._described(list(rows))
                with write_transaction(self._db):
                    self._nodes([row for key, row in rows.items() if key not in known])

    def _described(self, keys: list[str]) -> set[str]:
        query = "SELECT key FROM nodes WHERE class IS NOT NULL AND key IN (SELECT value FROM json_each(?))"
        return {key for (key,) in self._db.execute(query, (json.dumps(keys),))}


def _path_of_row(row: tuple[Pending, Row | None]) -> str:
    return row[0][0]


def _record(place: Pending, row: Row | None, nodes: dict[str, int]) -> tuple[Any, ...]:
    """The row of table ``records`` for a file at `place`. Of a large folder the inode alone was listed, and no stamp."""
    _, folder, file, stamp, pack = place
    if stamp.__class__ is int:
        inode, stamp = stamp, ""
    else:
        begin = str(stamp).partition(":")[0]
        inode = int(begin) if begin.isdigit() else 0
    if row is None:
        return folder, file, pack, stamp, inode, None, OTHER, "", None, None, None, None, None, None, None
    node = None if row.node is None else nodes[row.node.key]
    return folder, file, pack, stamp, inode, node, row.status, row.name, row.at, *row[4:]


def _lineage(data: bytes) -> list[NodeRow]:
    try:
        rows = Record.parse(data).lineage
        return [node_row(key, row["class"], row["version"], row["params"], row["upstream"]) for key, row in rows.items()]
    except (PayloadCorrupted, PayloadUntrusted, KeyError, TypeError, ValueError):
        return []
