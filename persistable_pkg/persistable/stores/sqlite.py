"""Bytes at paths in one SQLite file: for very many small payloads, for which a file each would cost more than its content.

The file is in WAL mode: readers never wait for the writer, and commits survive a killed process. It must be on a local disk, because
WAL needs memory shared by all processes that have it open; on a network file system it is refused.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from operator import itemgetter
from tempfile import SpooledTemporaryFile, gettempdir
from typing import IO, Any, BinaryIO, TypeVar, cast

from persistable.errors import StoreError
from persistable.stores import sqlite_packs
from persistable.stores.base import HIDDEN, BaseStore, Bytes, Stat, byte_view, check_path, check_paths, check_prefix, is_path
from persistable.stores.changes import PackChanges
from persistable.stores.connections import PickledWithoutConnections
from persistable.stores.remote_errors import room_in
from persistable.stores.sqlite_connection import Database, Snapshot, Transaction
from persistable.stores.sqlite_packs import IN_SLOTS, ITEMS
from persistable.stores.sqlite_session import Connections

_T = TypeVar("_T")

_UPSERT = "ON CONFLICT (path) DO UPDATE SET data = excluded.data, stamp = excluded.stamp"
_PUT = f"INSERT INTO {ITEMS} (path, data, stamp) VALUES (?, ?, ?) {_UPSERT}"
_CREATE = f"INSERT OR IGNORE INTO {ITEMS} (path, data, stamp) VALUES (?, ?, ?)"
_CREATE_SAME = f"INSERT OR IGNORE INTO {ITEMS} (path, data, stamp) SELECT value, ?, ? FROM json_each(?)"
# one statement, as long as no item of the path's key is in a pack, from which it would have to be removed
_PUT_ALONE = f"INSERT INTO {ITEMS} (path, data, stamp) SELECT ?, ?, ? WHERE NOT EXISTS ({IN_SLOTS} ?) {_UPSERT}"
_CREATE_ALONE = f"INSERT OR IGNORE INTO {ITEMS} (path, data, stamp) SELECT ?, ?, ? WHERE NOT EXISTS ({IN_SLOTS} ?)"
_GET = f"SELECT data FROM {ITEMS} WHERE path = ?"
_STAT = f"SELECT length(data), stamp FROM {ITEMS} WHERE path = ?"
_DELETE = f"DELETE FROM {ITEMS} WHERE path = ?"
_PAGE = f"SELECT path, length(data), stamp FROM {ITEMS} WHERE path >= ? AND path < ? ORDER BY path LIMIT 1000"
_DOUBTFUL = 100_000_000  # bytes; from here on the limit of SQLite is checked
_SPOOL = 8 << 20  # bytes of a write kept in memory
_PIECE = 1 << 20
_LAST = "\U0010ffff" * 64  # after every name


class SQLiteStore(PickledWithoutConnections, BaseStore):
    """A store in one SQLite file. It and its folder are made at the first write; each thread has a connection of its own.

    ``timeout``: seconds to wait for another writer before StoreUnavailable. A payload is limited to about 1 GB. Raises StoreError on a
    network file system, since two machines would damage the file; where only one machine has it mounted, give ``network=True``.
    """

    batches = True
    in_memory = False
    definite = True
    not_pickled = ("_connections", "_do", "format_seen")

    def __init__(self, file: str | os.PathLike[str], *, timeout: float = 30.0, network: bool = False) -> None:
        place = os.fsdecode(file)
        if place.startswith("~"):
            place = os.path.expanduser(place)
        self.file = os.path.abspath(place)
        self.timeout = timeout
        self.network = network
        self._reset()

    @classmethod
    def from_url(cls, url: str, **options: Any) -> SQLiteStore:
        """The store of ``sqlite:///relative.db`` or ``sqlite:////absolute.db``."""
        place = url.partition("://")[2]
        if not place.startswith("/") or len(place) < 2:
            raise StoreError(f"{url}: write sqlite:///relative.db or sqlite:////absolute.db", url=url, path="")
        return cls(place[1:], **options)

    @property
    def url(self) -> str:
        return "sqlite:///" + self.file.replace(os.sep, "/")

    def _reset(self) -> None:
        self._connections = Connections(self.file, self.url, self.timeout, self.network)
        self._do = self._connections.do

    # --- reading

    def get(self, path: str) -> bytes:
        row = self._row(_GET, path, True)
        if row is None:
            raise FileNotFoundError(errno.ENOENT, "nothing is stored here", f"{self.url}/{path}")
        return row[0] if type(row[0]) is bytes else _as_bytes(row[0])

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        return self._rows_of("path, data", paths, partial(sqlite_packs.find, whole=True))

    def get_with_colocated(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The bytes at `paths` that are there, and small items in the same packs."""
        return self._rows_of("path, data", paths, sqlite_packs.with_colocated)

    def stat(self, path: str) -> Stat | None:
        row = self._row(_STAT, path, False)
        return None if row is None else Stat(*row)

    def stat_many(self, paths: Iterable[str]) -> dict[str, Stat]:
        found = self._rows_of("path, length(data), stamp", paths, partial(sqlite_packs.find, whole=False))
        return {path: Stat(*row) for path, row in found.items()}

    def exists(self, path: str) -> bool:
        return self._row(_STAT, path, False) is not None

    def _row(self, query: str, path: str, whole: bool) -> Any:
        """The row of `path` by `query`, or the same from a pack: its bytes, or size and stamp; None where there is no item."""
        check_path(path)

        def look(db: Database) -> Any:
            if not _may_be_packed(db, path):
                return db.execute(query, (path,)).fetchone()
            with Snapshot(db):
                found = sqlite_packs.find(db, [path], whole).get(path)
                row = db.execute(query, (path,)).fetchone() if found is None else None
            return row if found is None else (found,) if whole else found

        row = self._do(look, path)
        return None if row is None or row[0] is None else row  # only damage makes bytes None

    def _rows_of(self, columns: str, paths: Iterable[str], find: Callable[[Database, Sequence[str]], dict[str, Any]]) -> dict[str, Any]:
        """The rows of `paths`, in one call for any number of paths; `find` looks in the packs, first."""
        wanted = check_paths(dict.fromkeys(paths))

        def look(db: Database) -> dict[str, Any]:
            with Snapshot(db):
                found = find(db, wanted)
                rest = [path for path in wanted if path not in found] if found else wanted
                rows = sqlite_packs.among(db, f"SELECT {columns} FROM {ITEMS} WHERE path IN", rest)
                if columns == "path, data":
                    found.update((path, data if type(data) is bytes else _as_bytes(data)) for path, data in rows)
                else:
                    found.update((row[0], row[1:]) for row in rows if row[1] is not None)
            return found

        return (self._do(look, wanted[0]) or {}) if wanted else {}

    def read(self, path: str) -> BinaryIO:
        return io.BytesIO(self.get(path))

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        return self._scanned(check_prefix(prefix))

    def _scanned(self, prefix: str) -> Iterator[tuple[str, Stat]]:
        yield from self._packed(prefix)
        for page in self._pages(prefix):
            found = [(path, Stat(size, stamp)) for path, size, stamp in page if size is not None]
            yield from found if _are_paths([path for path, _ in found]) else (each for each in found if is_path(each[0]))

    def pack_changes(self, known: Mapping[int, str], endings: Sequence[str]) -> PackChanges:
        """All packs, the content of those whose state is not as `known`, and the rows of these endings, in one snapshot."""
        such = " OR ".join([f"substr(path, {-len(ending)}) = ?" for ending in endings])

        def look(db: Database) -> PackChanges:
            with Snapshot(db):
                packs = sqlite_packs.states(db)
                changed = {pack: sqlite_packs.contents(db, pack) for pack, state in packs.items() if known.get(pack) != state}
                rows = db.execute(f"SELECT path, stamp FROM {ITEMS} WHERE {such}", endings).fetchall()
            if not _are_paths([path for path, _ in rows]):
                rows = [row for row in rows if is_path(row[0])]
            return PackChanges(packs, changed, rows)

        return self._do(look, "") or PackChanges({}, {}, ())

    def _packed(self, prefix: str) -> Iterator[tuple[str, Stat]]:
        """The items of packs in a listing of the folder `prefix`; to be listed before rows, since items move from packs to rows."""

        def look(db: Database, pack: int) -> Sequence[tuple[str, Stat]]:
            with Snapshot(db):  # else a pack that is dissolved meanwhile would seem to be damaged
                return sqlite_packs.scanned(db, pack, prefix)

        for pack in self._do(lambda db: sqlite_packs.in_prefix(db, prefix), prefix) or ():
            yield from self._do(partial(look, pack=pack), prefix) or ()

    def _pages(self, prefix: str) -> Iterator[Sequence[Any]]:
        # "0" follows "/", so that a folder is the range from one to the other; the hidden folder is cut out of the whole
        ranges = [("", HIDDEN), (HIDDEN + "\0", HIDDEN + "/"), (HIDDEN + "0", _LAST)]
        for first, last in [(prefix + "/", prefix + "0")] if prefix else ranges:
            start: str | None = first
            while start is not None:  # by pages: no query stays open while the caller works
                page = self._page(start, last)
                yield page
                reached = max([row[0] for row in page], default="")  # damaged, they may not be in order
                start = reached + "\0" if page and reached >= start else None

    def _page(self, first: str, last: str) -> Sequence[Any]:
        return self._do(lambda db: db.execute(_PAGE, (first, last)).fetchall(), first) or ()

    # --- writing

    def put(self, path: str, data: Bytes) -> None:
        row = self._rows({path: data})[0]

        def store(db: Database) -> None:
            if db.execute(_PUT_ALONE, (*row, sqlite_packs.slot(path))).rowcount != 1:
                with Transaction(db):
                    sqlite_packs.remove(db, [path])
                    db.execute(_PUT, row)

        self._do(store, path, make=True)

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        self.change_many(items)

    def change_many(self, *stages: Mapping[str, Bytes], delete: Iterable[str] = ()) -> None:
        """Make all changes in one transaction: all of them, or none."""
        gone = check_paths(delete)
        items: dict[str, Bytes] = {}
        for stage in stages:
            items.update(stage)
        rows = self._rows(items)
        first = rows[0][0] if rows else gone[0] if gone else ""
        apart = items.keys().isdisjoint(gone)

        def store(db: Database) -> None:
            with Transaction(db):
                if apart:  # deletions first: then there is less to search
                    _delete(db, gone)
                alone = sqlite_packs.add(db, rows)
                if alone:
                    sqlite_packs.remove(db, [row[0] for row in alone])
                    db.executemany(_PUT, alone)
                if not apart:
                    _delete(db, gone)

        if first:
            self._do(store, first, make=bool(rows))

    def create_many(self, items: Mapping[str, Bytes]) -> set[str]:
        return self._create_many(items)[0]

    def create_fresh(self, items: Mapping[str, Bytes]) -> tuple[set[str], set[str]]:
        return self._create_many(items, True)

    def _create_many(self, items: Mapping[str, Bytes], report_fresh: bool = False) -> tuple[set[str], set[str]]:
        rows = self._rows(items)
        paths = [row[0] for row in rows]

        def store(db: Database) -> tuple[set[str], set[str]]:
            with Transaction(db):
                fresh = set(sqlite_packs.fresh(db, paths)) if report_fresh else set[str]()
                doubtful = [path for path in paths if path not in fresh]
                there = (
                    sqlite_packs.find(db, doubtful, False).keys() | {path for (path,) in _there(db, doubtful)} if doubtful else set[str]()
                )
                new = [row for row in rows if row[0] not in there] if there else rows
                if len(new) >= sqlite_packs.FEWEST and all(row[1] is new[0][1] for row in new):
                    db.execute(_CREATE_SAME, (*new[0][1:], json.dumps([row[0] for row in new])))
                else:
                    db.executemany(_CREATE, new)
            return {row[0] for row in new}, fresh

        return (self._do(store, paths[0], make=True) if rows else None) or (set(), set())

    def _rows(self, items: Mapping[str, Bytes]) -> Sequence[sqlite_packs.Row]:
        stamp = _stamp()
        check_paths(items)
        rows: list[sqlite_packs.Row] = [(path, data if type(data) is bytes else byte_view(data), stamp) for path, data in items.items()]
        if max(map(len, map(itemgetter(1), rows)), default=0) > _DOUBTFUL:
            for path, data, _ in rows:
                self._check_size(path, len(data))
        return rows

    def create(self, path: str, data: Bytes) -> bool:
        row = self._rows({path: data})[0]

        def store(db: Database) -> bool:
            if db.execute(_CREATE_ALONE, (*row, sqlite_packs.slot(path))).rowcount == 1:
                return True
            with Transaction(db):
                return not sqlite_packs.find(db, [path], False) and db.execute(_CREATE, row).rowcount == 1

        return bool(self._do(store, path, make=True))

    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        return self._write(check_path(path))

    @contextmanager
    def _write(self, path: str) -> Generator[BinaryIO]:
        """Write to memory, or an unnamed temporary file once it grows, and insert it when the block ends without an exception."""
        file = _Spool(_SPOOL)
        try:
            with room_in(self.url, f"among temporary files in {gettempdir()} ($TMPDIR) for {path} on its way into {self.file}", path):
                yield cast(BinaryIO, file)
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if size <= _SPOOL:
                self.put(path, file.read())
            else:
                self.put_file(path, file, size)
        finally:
            file.really_close()

    def put_file(self, path: str, file: IO[bytes], size: int) -> None:
        """Put the content of `file` without a second copy in memory."""
        self._check_size(path, size)

        def store(db: Database) -> None:
            with Transaction(db):
                sqlite_packs.remove(db, [path])
                db.execute(_PUT.replace("(?, ?, ?)", "(?, zeroblob(?), ?)"), (path, size, _stamp()))
                row = db.execute(f"SELECT rowid FROM {ITEMS} WHERE path = ?", (path,)).fetchone()
                if row is None:
                    raise sqlite3.DatabaseError("a row that was just inserted is not found")
                file.seek(0)
                with db.blobopen(ITEMS, "data", row[0]) as blob:
                    while piece := file.read(_PIECE):
                        blob.write(piece)

        self._do(store, path, make=True)

    def delete(self, path: str) -> bool:
        check_path(path)

        def remove(db: Database) -> bool:
            if not _may_be_packed(db, path):
                return db.execute(_DELETE, (path,)).rowcount > 0
            with Transaction(db):
                return _delete(db, [path])

        return bool(self._do(remove, path))

    def close(self) -> None:
        self._connections.close()

    def _check_size(self, path: str, size: int) -> None:
        if size > _DOUBTFUL:
            limit = (self._do(lambda db: db.getlimit(sqlite3.SQLITE_LIMIT_LENGTH), path, make=True) or 0) - 4096
            if size > limit:
                message = f"{path} has {size} bytes, {self.url} takes {limit} at most; keep large payloads in a folder or a bucket"
                raise StoreError(message, url=self.url, path=path)


class _Spool(SpooledTemporaryFile[bytes]):
    """A temporary file that keeps the written bytes after the writer closed it."""

    def close(self) -> None:
        self.flush()

    def really_close(self) -> None:
        super().close()


def _may_be_packed(db: sqlite3.Connection, path: str) -> bool:
    """Tell whether `path` may be in a pack. Asked first: a stored item that is in none now never will be, and needs one more statement."""
    return db.execute(f"{IN_SLOTS} ?", (sqlite_packs.slot(path),)).fetchone() is not None


def _there(db: sqlite3.Connection, paths: Sequence[str]) -> Iterator[tuple[str]]:
    return sqlite_packs.among(db, f"SELECT path FROM {ITEMS} WHERE path IN", paths)


def _delete(db: sqlite3.Connection, paths: Sequence[str]) -> bool:
    """Delete these paths from rows and packs; True if there was an item at any."""
    rows = db.executemany(_DELETE, [(path,) for path in paths]).rowcount
    return rows == len(paths) or sqlite_packs.remove(db, paths) + rows > 0


def _as_bytes(damaged: Any) -> bytes:
    """The bytes of a value that is no blob any more, due to damage."""
    return str(damaged).encode("utf-8", "surrogateescape")


def _are_paths(names: Sequence[str]) -> bool:
    try:
        check_paths(names)
    except ValueError:
        return False
    return True


def _stamp() -> int:
    return int.from_bytes(os.urandom(8), "big") >> 1
