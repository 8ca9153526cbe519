"""The index of one store's records: a SQLite file that can be deleted at any time, and is rebuilt from the records.

It is in the user's cache folder, one file for each store. A file that is damaged, or no index of this store in this layout, is removed and
made anew. Where no file can be written, the index is kept in memory.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from persistable.errors import InvalidQuery
from persistable.stores.cache_folder import file_of
from persistable.stores.sqlite_connection import close_at_forks

try:
    import fcntl
except ImportError:  # Windows: two processes may then do the same work, one after the other
    fcntl = None  # type: ignore[assignment]

LAYOUT = 2
"""Version of the tables below; a file of another version is made anew."""
APPLICATION = int.from_bytes(b"pcat", "big")
WAIT = 10.0
"""Seconds to wait for another process in the middle of a write; whole refreshes wait for each other by a lock of their own."""
_CACHE_KIB = 128 * 1024

TABLES = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    # a description: the content of a key; there is one for each key, stored or not, and it never changes
    "CREATE TABLE nodes (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, class TEXT, version TEXT, params TEXT, leaves TEXT)",
    "CREATE TABLE edges (node INTEGER NOT NULL, role TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY (node, role)) WITHOUT ROWID",
    "CREATE TABLE paths (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE)",
    "CREATE TABLE params (path INTEGER NOT NULL, kind INTEGER NOT NULL, value, node INTEGER NOT NULL)",
    # the params, roles and classes under a name, to check queries against: see the kinds of columns
    "CREATE TABLE columns (name TEXT NOT NULL, kind INTEGER NOT NULL, path TEXT NOT NULL, PRIMARY KEY (name, kind, path)) WITHOUT ROWID",
    # one for files or rows of their own, one for those in packs
    (
        "CREATE TABLE folders (id INTEGER PRIMARY KEY, part INTEGER NOT NULL, path TEXT NOT NULL, packed INTEGER NOT NULL, stamp TEXT, "
        "UNIQUE (part, path, packed))"
    ),
    "CREATE TABLE packs (id INTEGER PRIMARY KEY, part INTEGER NOT NULL, number INTEGER NOT NULL, state TEXT, UNIQUE (part, number))",
    # a record or failure as it is in a store
    (
        "CREATE TABLE records (id INTEGER PRIMARY KEY, folder INTEGER NOT NULL, file TEXT NOT NULL, stamp TEXT NOT NULL, inode INTEGER, "
        "node INTEGER, name TEXT NOT NULL, at TEXT, status TEXT NOT NULL, size INTEGER, seconds REAL, created REAL, host TEXT, class TEXT, "
        "made TEXT, pack INTEGER, "
        "UNIQUE (folder, file))"
    ),
)
INDEXES = {
    "params_value": "CREATE INDEX params_value ON params (path, value, kind, node)",
    "edges_target": "CREATE INDEX edges_target ON edges (target)",
    "records_node": "CREATE INDEX records_node ON records (node)",
    "records_name": "CREATE INDEX records_name ON records (name, created)",
    "records_created": "CREATE INDEX records_created ON records (created)",
    "records_pack": "CREATE INDEX records_pack ON records (pack) WHERE pack IS NOT NULL",
}
PARAM, ROLE, CLASS, UPSTREAM = range(4)
"""Kinds of columns: a param by its path, a role, the class of a record, and a role, a space and the name of a node upstream there."""
Result = TypeVar("Result")


class Index:
    """The index of the store at `url`, in `file`; in memory where that is None or cannot be written.

    private: True for a file that no other process opens, which then needs neither a log nor a lock.
    """

    def __init__(self, url: str, file: Path | None, private: bool = False) -> None:
        self.url = url
        self.file = file
        self.refill: Callable[[Index], None] | None = None
        """Brings an index up to date; called before a query on one that is not open, as it may be empty or outdated."""
        self._private = private
        self._anew = False  # whether its file has been made anew once
        self._db: sqlite3.Connection | None = None
        self.lock = threading.RLock()
        # that of `replacement` is used under the lock of another, for which a fork waits: registering would wait for the fork
        if not private:
            close_at_forks(self)

    def use(self, act: Callable[[sqlite3.Connection], Result], filled: bool = False) -> Result:
        """Call `act` with the connection; if the index is unusable, again with that of a replacement.

        The replacement is a new file where this one is damaged, and in memory where that is damaged too, or where the disk is full. filled:
        bring an index that is not open up to date before.
        """
        with self.lock:
            while True:
                if filled and self._db is None and self.refill is not None:
                    self.refill(self)
                try:
                    return act(self._connection())
                except sqlite3.DatabaseError as error:
                    if not self._replaced(error):
                        raise

    def _replaced(self, error: sqlite3.DatabaseError) -> bool:
        """Replace an index whose file caused `error`: by a new file at the first damage, else in memory. Return whether it was replaced."""
        if self.file is None or (_code_of(error) in _OF_THE_QUERY and not _is_damage(error)):
            return False
        if _is_damage(error) and not self._anew:
            self._anew = True
            self.discard()
        else:
            self.close()
            if self._private:
                self._remove()
            self.file = None
        return True

    @contextmanager
    def refresh_lock(self) -> Generator[None]:
        """Keep other processes from bringing this index up to date inside the block."""
        with self.lock:
            if self.file is None or self._private or fcntl is None:
                yield
                return
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                held = os.open(f"{self.file}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            except OSError:
                yield
                return
            try:
                fcntl.flock(held, fcntl.LOCK_EX)
                yield
            finally:
                os.close(held)

    @contextmanager
    def replacement(self) -> Generator[Index]:
        """An empty index, to be filled in the block, which then replaces this one; after an error this one is as it was."""
        if self.file is None:
            with self.lock:  # others wait until it is whole
                self.discard()
                yield self
            return
        with self.refresh_lock():
            fresh = Index(self.url, Path(f"{self.file}.new"), private=True)
            fresh.discard()
            try:
                yield fresh
                fresh.close()
                self.discard()
                if fresh.is_there():  # else no file can be written there, and the next use makes it in memory
                    fresh.move_to(self.file)
            finally:
                fresh.discard()

    def move_to(self, file: Path) -> None:
        """Move its file, which is closed, to `file`, after it is flushed to the disk."""
        with open(str(self.file), "rb") as held:
            os.fsync(held)
        os.replace(str(self.file), file)

    def is_there(self) -> bool:
        """Tell whether its file exists."""
        return self.file is not None and self.file.exists()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows that `query` finds. Raises InvalidQuery for a query too large for SQLite, or with a text that SQLite cannot hold."""
        try:
            return self.use(lambda db: db.execute(query, values).fetchall(), filled=True)
        except sqlite3.OperationalError as error:
            if _code_of(error) not in _OF_THE_QUERY:
                raise
            raise InvalidQuery(f"this is too much to ask at once ({error}); ask for less", where="", part="") from error
        except UnicodeEncodeError as error:
            part = ascii(error.object)
            raise InvalidQuery(f"{part:.80} holds half a surrogate pair, so nothing is found by it", where="", part=part) from None

    def discard(self) -> None:
        """Remove the index; the next use makes it anew."""
        with self.lock:
            self.close()
            self._remove()

    def _remove(self) -> None:
        for ending in ("", "-wal", "-shm", "-journal"):
            if self.file is not None:
                with suppress(OSError):  # where there is no folder, or it is another user's
                    Path(f"{self.file}{ending}").unlink()

    def close(self) -> None:
        """Close the file; it is opened again when used."""
        with self.lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = self._opened()
        return self._db

    def _opened(self) -> sqlite3.Connection:
        if self.file is None:
            return self._ready(":memory:")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            if self.file.exists() and not self.file.stat().st_size:
                self._remove()  # beside a log that was left, SQLite would take an empty file for locked
            return self._ready(str(self.file))
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                return self._ready(":memory:")
            self._remove()
            return self._ready(str(self.file))
        except OSError:  # a cache folder of another user, or a read-only file system
            return self._ready(":memory:")

    def _ready(self, place: str) -> sqlite3.Connection:
        """The database at `place`, with the tables of this layout. Raises sqlite3.DatabaseError for anything else."""
        db = sqlite3.connect(place, timeout=WAIT, isolation_level=None, check_same_thread=False)
        try:
            db.execute(f"PRAGMA journal_mode = {'MEMORY' if self._private else 'WAL'}")
            db.execute(f"PRAGMA synchronous = {'OFF' if self._private or place == ':memory:' else 'NORMAL'}")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            db.execute("PRAGMA temp_store = MEMORY")
            db.execute("PRAGMA trusted_schema = OFF")
            with write_transaction(db):
                if not _is_ours(db, self.url):
                    if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                        raise sqlite3.DatabaseError("another's")
                    for statement in (*TABLES, *INDEXES.values()):
                        db.execute(statement)
                    db.execute("INSERT INTO about VALUES ('url', ?)", (self.url,))
                    db.execute(f"PRAGMA application_id = {APPLICATION}")
                    db.execute(f"PRAGMA user_version = {LAYOUT}")
        except BaseException:
            db.close()
            raise
        return db


def _is_ours(db: sqlite3.Connection, url: str) -> bool:
    """Tell whether it is an index of the store at `url`, of this layout; False if empty. Raises sqlite3.DatabaseError for any other."""
    layout = db.execute("PRAGMA application_id").fetchone()[0], db.execute("PRAGMA user_version").fetchone()[0]
    if layout == (0, 0):
        return False
    if layout != (APPLICATION, LAYOUT):
        raise sqlite3.DatabaseError("of another layout")
    found = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall())
    wanted = {statement.split()[2]: statement for statement in (*TABLES, *INDEXES.values())}
    if found != wanted or db.execute("SELECT value FROM about WHERE name = 'url'").fetchone() != (url,):
        raise sqlite3.DatabaseError("of another store")
    return True


_OF_THE_QUERY = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG)
_UNUSABLE = (
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
)  # fmt: skip


def _code_of(error: sqlite3.DatabaseError) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Tell an index that is damaged from one that is locked, or is on a full disk, and from a query that SQLite cannot answer."""
    if _code_of(error) in _OF_THE_QUERY:
        return any(text in str(error) for text in ("no such", "malformed"))
    return _code_of(error) not in _UNUSABLE


@contextmanager
def write_transaction(db: sqlite3.Connection) -> Generator[None]:
    """Run the block in a write transaction, alone among all processes."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def usual_file(url: str) -> Path:
    """The default file of the index of the store at `url`: in ``$PERSISTABLE_CACHE``, else in the user's cache folder."""
    return file_of("catalog", url)
