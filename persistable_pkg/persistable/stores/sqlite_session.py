"""The connections of one process to one SQLite file: work on them with retries, repair of damaged packs, and error messages."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from typing import NoReturn, TypeVar

from persistable.errors import CorruptPayloadWarning, StoreError, StoreFull, StoreReadOnly, StoreTooNew, StoreUnavailable
from persistable.params.mounts import network_of
from persistable.stores import sqlite_packs
from persistable.stores.base import FULL
from persistable.stores.sqlite_connection import Connection, Database, Foreign, TooNew, Transaction, place_of, size_of

_T = TypeVar("_T")
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_UNCHANGING = "ro&immutable=1"
_OFTEN = 64  # writes of a connection between two checks of the log's length


class Connections:
    """The connections to `file`, one per thread. url: that of the store, for errors. timeout, network: as in `SQLiteStore`."""

    def __init__(self, file: str, url: str, timeout: float, network: bool) -> None:
        self.file = file
        self.url = url
        self.timeout = timeout
        self.network = network
        self.open: list[Connection] = []
        self._mine = threading.local()
        self._is_local = False

    def do(self, work: Callable[[Database], _T], path: str, make: bool = False) -> _T | None:
        """Do `work` on this thread's connection, again while another writer holds the lock; None where there is no file to read."""
        deadline = 0.0
        mended = False
        while True:
            try:
                held = self._connection(make)
                if held is None:
                    return None
                with held.lock:
                    db = held.db
                    if db is None:
                        continue  # closed by another thread just now
                    db.looks = 0
                    result = _whole(work, db)
                    if held.mode == _UNCHANGING and not self._is_unchanged(held):
                        held.close()  # the result may mix two states of the file
                        continue
                    if db.damaged:
                        self._mend(db)
                    if make:
                        held.writes += 1
                        if held.writes % _OFTEN == 0:
                            held.shorten()
                return result
            except sqlite3.Error as error:
                code = getattr(error, "sqlite_errorcode", 0)
                if code == sqlite3.SQLITE_CORRUPT_INDEX and not mended:
                    mended = True
                    self._index_again(path)
                    continue
                if code & 0xFF == sqlite3.SQLITE_ERROR and not make and "no such table: persistable_" in str(error):
                    return None  # a database without tables of ours yet
                if code & 0xFF not in _BUSY:
                    self._fail(error, path, make)
                # the busy handler has waited already, except where SQLite never calls it: switching to WAL, and recovery
                deadline = deadline or time.monotonic() + self.timeout
                if time.monotonic() > deadline:
                    self._fail(error, path, make)
                time.sleep(0.005)

    def close(self) -> None:
        for held in self.open[:]:
            with held.lock:
                held.close()
            with suppress(ValueError):
                self.open.remove(held)

    def _mend(self, db: Database) -> None:
        """Drop the packs that were found damaged, moving their sound items into rows. Where the file is read-only, they stay."""
        numbers, db.damaged = db.damaged, set()
        dropped: list[tuple[str, int]] = []
        try:
            with Transaction(db):
                for number in numbers:
                    found = sqlite_packs.mend(db, number)
                    if found is not None:
                        dropped.append(found)
        except sqlite3.Error:
            db.given_up |= numbers
            dropped = []
        db.damaged.clear()
        for folder, left in dropped:
            warnings.warn(
                f"a pack of small items of {folder or 'a folder'} in {self.file} was damaged; {left} of them could be kept, "
                "others are absent now and are generated again when they are asked for. See whether the disk is sound",
                CorruptPayloadWarning,
                stacklevel=4,
            )

    def _index_again(self, path: str) -> None:
        """Rebuild the indexes, since one does not match its table."""
        with suppress(sqlite3.Error):
            held = self._connection(make=True)
            if held is not None:
                with held.lock:
                    if held.db is not None:
                        for table in sqlite_packs.TABLES:
                            held.db.execute(f"REINDEX {table}")

    def _connection(self, make: bool) -> Connection | None:
        held: Connection | None = getattr(self._mine, "held", None)
        try:
            found = os.stat(self.file)
        except FileNotFoundError:
            if not make:
                return None
        except OSError as error:
            self._unreachable(error, make)
        else:
            if held is not None and held.db is not None:
                if held.place == place_of(found, held.mode) and (held.mode == "rwc" or not make):
                    return held
                with held.lock:  # the file was replaced, or was opened for reading only
                    held.close()
        self._sweep()
        held = self._mine.held = self._connect(make)
        self.open.append(held)
        return held

    def _connect(self, make: bool) -> Connection:
        if not self.network and not self._is_local:
            self._check_local()
        if make:
            try:
                os.makedirs(os.path.dirname(self.file), exist_ok=True)
            except OSError as error:
                self._unreachable(error, make)
        modes = ["rwc"] if make else self._modes_to_read()
        for mode in modes:
            try:
                return Connection(self.file, mode, self.timeout)
            except sqlite3.Error as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                if mode == modes[-1] or code not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                    raise
            except OSError as error:
                self._unreachable(error, make)
        raise AssertionError("no mode left")

    def _check_local(self) -> None:
        """Raise StoreError where the file is on a network file system; checked once."""
        kind = network_of(os.path.dirname(self.file))
        if kind is not None:
            raise StoreError(
                f"{self.file} is on a network file system ({kind}), where SQLite's log is not safe: it needs memory that all who have the "
                "file open share. Use a folder there, or a file on a local disk; if no other machine ever opens it, give network=True",
                url=self.url,
                path="",
                filesystem=kind,
            )
        self._is_local = True

    def _modes_to_read(self) -> Sequence[str]:
        # a user without write access to the file must not leave a log or an index of it that others cannot write: none is made.
        # On a read-only medium or in such a folder, SQLite reads WAL files only as immutable ones
        logged = os.path.exists(self.file + "-wal")
        if os.access(self.file, os.W_OK):
            return ["rw", "ro"] if logged else ["rw", "ro", _UNCHANGING]
        return ["ro&readonly_shm=1", "ro"] if logged else [_UNCHANGING]

    def _is_unchanged(self, held: Connection) -> bool:
        try:
            return held.place == place_of(os.stat(self.file), held.mode) and not os.path.exists(self.file + "-wal")
        except OSError:
            return False

    def _sweep(self) -> None:
        """Close the connections of threads that have ended."""
        for held in self.open[:]:
            if held.db is None or not held.thread.is_alive():
                with held.lock:
                    held.close()
                with suppress(ValueError):  # another thread sweeps as well
                    self.open.remove(held)

    def _unreachable(self, error: OSError, make: bool) -> NoReturn:
        about = {"url": self.url, "path": ""}
        if error.errno in FULL:
            raise StoreFull(f"no room for {self.file} ({error.strerror}); free some space, then try again", **about) from error
        if make and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            message = f"{self.file} cannot be made by this user ({error.strerror}); ask for write permission, or use another store"
            raise StoreReadOnly(message, **about) from error
        raise StoreError(f"{self.file} cannot be reached: {error.strerror}; check the folder and its permissions", **about) from error

    def _fail(self, error: sqlite3.Error, path: str, make: bool) -> NoReturn:
        about = {"url": self.url, "path": path}
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if isinstance(error, TooNew):
            raise StoreTooNew.of(f"{self.file} has layout {error.layout}", error.layout, sqlite_packs.LAYOUT, **about) from error
        if isinstance(error, Foreign):
            raise StoreError(
                f"{self.file} is damaged, or was not made by this library: {error}. Restore a copy, or move the file away: "
                "its payloads are then generated again",
                **about,
            ) from error
        if code == sqlite3.SQLITE_INTERRUPT:
            message = f"{self.file} is damaged, or was made so that reading it never ends; restore a copy, or move the file away"
            raise StoreError(message, **about) from error
        if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and self._is_full()):
            raise StoreFull(f"no room in {self.file} for {path} ({error}); free some space, then try again", **about) from error
        if code in _BUSY:
            message = f"{self.file} stayed locked for {self.timeout:g} s ({error}); see who holds it, or raise timeout="
            raise StoreUnavailable(message, **about) from error
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH) or (
            make and code == sqlite3.SQLITE_CANTOPEN and not os.path.isdir(self.file)
        ):
            message = f"{self.file} may not be written by this user ({error}); ask for write permission, or use another store"
            raise StoreReadOnly(message, **about) from error
        if os.path.isdir(self.file):
            raise StoreError(f"{self.file} is a folder, not an SQLite database; name a file, in it or elsewhere", **about) from error
        if code == sqlite3.SQLITE_NOTADB:
            raise StoreError(f"{self.file} is not an SQLite database ({error}); choose another file", **about) from error
        if code == sqlite3.SQLITE_CORRUPT:
            message = (
                f"{self.file} is damaged ({error}); restore a copy, save what can be read with `persistable cp` or "
                "`sqlite3 FILE .recover`, or move the file away: its payloads are then generated again"
            )
            raise StoreError(message, **about) from error
        raise StoreError(f"{self.file} failed at {path}: {error}", **about) from error

    def _is_full(self) -> bool:
        """Tell whether the disk failed for lack of space: SQLite does not report quotas and limits as such."""
        folder = os.path.dirname(self.file)
        found = os.statvfs(folder) if hasattr(os, "statvfs") else None
        if found is not None and found.f_bavail * found.f_frsize < 65536:
            return True
        try:
            import resource

            limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
            if limit != resource.RLIM_INFINITY and max(map(size_of, (self.file, self.file + "-wal"))) + (1 << 20) > limit:
                return True
        except ImportError:
            pass
        try:
            with TemporaryFile(dir=folder) as probe:
                probe.write(bytes(1 << 18))
        except OSError as error:
            return error.errno in FULL
        return False


def _whole(work: Callable[[Database], _T], db: Database) -> _T:
    """Do `work` on `db` and leave no transaction open: an interrupt may come between BEGIN and the block that ends it."""
    if db.in_transaction:
        db.rollback()
    try:
        return work(db)
    finally:
        if db.in_transaction:
            db.rollback()
