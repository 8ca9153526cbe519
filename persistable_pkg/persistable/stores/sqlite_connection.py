"""Connections to one SQLite file: opened with the checks and settings that `SQLiteStore` needs, closed around a fork.

SQLite keeps the locks of a process in its memory, which a forked child inherits without having the locks: a child would wait for locks
that are never released, or believe to hold some that it does not, and lose its writes. So no connection is open while a process forks:
the fork waits for running work in other threads, and parent and child open their own connections when they next need one.

A database is untrusted data. Only tables exactly as they are made here are read and written: never a view, nor a table with a trigger, a
computed column or a foreign index.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import quote
from weakref import WeakSet

from persistable.stores import sqlite_packs

PAGE = 8192  # bytes; a pack takes half as many pages as of the usual size
_WAL = 4000  # pages that gather in the log before a checkpoint, which waits for the disk
WAL_LIMIT = 2 * _WAL * PAGE
"""Bytes; a log larger than this, because of readers, large payloads or killed processes, is checkpointed and truncated."""
_STEPS = 100_000_000  # steps of SQLite's virtual machine between two checks of their number
_MOST = 20  # checks in one call; no sound file needs as many, a crafted one may run forever

_opening = threading.RLock()  # held while a connection is opened, and while the process forks
_connections: WeakSet[Connection] = WeakSet()
_registering = threading.RLock()  # held during registration, and while the process forks
_registered: WeakSet[Closable] = WeakSet()
_forking: list[Closable] = []


class Foreign(sqlite3.DatabaseError):
    """Raised for tables of our names that are not as they are made here."""


class TooNew(sqlite3.DatabaseError):
    """Raised for tables of a later layout, of the number `layout`."""

    def __init__(self, layout: int) -> None:
        super().__init__(f"layout {layout}")
        self.layout = layout


class Database(sqlite3.Connection):
    """An SQLite connection that knows which packs were found damaged."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.damaged: set[int] = set()
        self.given_up: set[int] = set()
        """Damaged packs that cannot be repaired here."""
        self.looks = 0
        self.text_factory = _text
        self.set_progress_handler(self._is_endless, _STEPS)

    def _is_endless(self) -> bool:
        self.looks += 1
        return self.looks > _MOST


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")  # damage gives invalid paths, not an error of the whole query


class Connection:
    """A connection of one thread. Its user holds the lock: other threads may close it, and a fork does."""

    def __init__(self, file: str, mode: str, timeout: float) -> None:
        self.mode = mode
        self.file = file
        self.thread = threading.current_thread()
        self.lock = threading.RLock()
        self.db: Database | None = None
        self.writes = 0
        with _opening:
            self.db = _opened(file, mode, timeout)
            self.place = place_of(os.stat(file), mode)
            _connections.add(self)
        self.shorten()

    def shorten(self) -> None:
        """Truncate the log where it has become long, unless it is in use by another connection."""
        db = self.db
        if db is not None and self.mode[:2] == "rw" and size_of(self.file + "-wal") > WAL_LIMIT:
            with suppress(sqlite3.Error):
                waits = db.execute("PRAGMA busy_timeout").fetchone()[0]
                try:
                    db.execute("PRAGMA busy_timeout = 50")
                    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                finally:
                    db.execute(f"PRAGMA busy_timeout = {waits}")

    def close(self) -> None:
        self.shorten()
        db, self.db = self.db, None
        if db is not None:
            db.close()


def place_of(found: os.stat_result, mode: str) -> tuple[int, ...]:
    """The identity of a file among others of the same name; of a file opened as immutable, also among its own states."""
    if "immutable" in mode:
        return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
    return (found.st_dev, found.st_ino)


def _opened(file: str, mode: str, timeout: float) -> Database:
    if mode == "rwc":
        _make(file)
    uri = f"file:{quote(file.replace(os.sep, '/'))}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False, factory=Database)
    try:
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA cell_size_check = ON")
        application, layout = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version"))
        if application == sqlite_packs.APPLICATION and layout > sqlite_packs.LAYOUT:
            raise TooNew(layout)
        found = _tables(db)
        if mode[:2] == "rw":
            db.execute(f"PRAGMA page_size = {PAGE}")  # of a new file; others keep theirs
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA wal_autocheckpoint = {_WAL}")
            db.execute(f"PRAGMA journal_size_limit = {_WAL * PAGE}")
            if mode == "rwc" and not found:
                db.execute("BEGIN IMMEDIATE")  # other connections see all tables or none
                for statement in sqlite_packs.SCHEMA:
                    db.execute(statement)
                _say_layout(db, application, layout)
                db.execute("COMMIT")
            elif found:
                _say_layout(db, application, layout)
            db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
            _share(file)
    except BaseException:
        db.close()
        raise
    return db


def _say_layout(db: Database, application: int, layout: int) -> None:
    """Write the layout into the file, unless the file has one, or an id or version of another program."""
    if not application and not layout:
        db.execute(f"PRAGMA application_id = {sqlite_packs.APPLICATION}")
        db.execute(f"PRAGMA user_version = {sqlite_packs.LAYOUT}")


def _tables(db: Database) -> set[str]:
    """The names of our tables and indexes that are there. Raises Foreign where one is not as made here, or some are missing."""
    wanted = sqlite_packs.OBJECTS
    found: set[str] = set()
    for kind, name, table, sql in db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"):
        if name in wanted:
            if (kind, table, sql) != wanted[name]:
                raise Foreign(f"{name} is a {kind} that is not as this library makes it")
            found.add(name)
        elif table in sqlite_packs.TABLES and not (kind == "index" and sql is None):
            raise Foreign(f"{table} has the {kind} {name}, which is not of this library")
    if found and found != wanted.keys():
        raise Foreign(f"{', '.join(sorted(wanted.keys() - found))} is missing")
    return found


def _make(file: str) -> None:
    """Create the file with the default permissions of its folder; SQLite gives its log and index the same."""
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))


def _share(file: str) -> None:
    """Give the log and its index the group of the file: a user with write access to the file needs it for these too."""
    if not hasattr(os, "chown"):
        return
    group = os.stat(file).st_gid
    for name in (file + "-wal", file + "-shm"):
        with suppress(OSError):
            found = os.stat(name)
            if found.st_gid != group and found.st_uid == os.geteuid():
                os.chown(name, -1, group)


def size_of(file: str) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return os.stat(file).st_size
    except OSError:
        return 0


class Snapshot:
    """A read transaction: several queries see the same state."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN")

    def __exit__(self, *_: object) -> None:
        if self._db.in_transaction:  # an error may have ended it
            self._db.execute("COMMIT")


class Transaction:
    """A write transaction that takes the write lock first: a reader that turns writer would fail instead of waiting."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            try:
                self._db.execute("COMMIT")
                return
            except sqlite3.Error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")


class Closable(Protocol):
    """An SQLite file in use. Its user holds the lock."""

    lock: threading.RLock

    def close(self) -> None:
        """Close the file; it is opened again when used."""
        ...


def close_at_forks(each: Closable) -> None:
    """Register `each` to be closed whenever the process forks; its users may open connections of stores while they hold its lock."""
    with _registering:
        _registered.add(each)


def _before_fork() -> None:
    _registering.acquire()
    _close(list(_registered))  # first: their users may wait for the lock taken next
    _opening.acquire()
    _close(list(_connections))


def _close(some: Iterable[Closable]) -> None:
    for each in some:
        each.lock.acquire()
        _forking.append(each)
        with suppress(sqlite3.Error):
            each.close()


def _after_fork() -> None:
    while _forking:
        _forking.pop().lock.release()
    _opening.release()
    _registering.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
