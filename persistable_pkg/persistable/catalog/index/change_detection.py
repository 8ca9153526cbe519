"""Changes of a store since the last refresh of an index, found as cheaply as each kind of store permits.

Folders of this machine show changes in their modification times, a SQLite file in its own size and times and in the stamps of its packs, an
archive in its own stamp, PostgreSQL reports them, and any other store is listed. Layers are compared one by one.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from persistable.catalog.index.rows import ENDINGS
from persistable.stores.base import HIDDEN, Store, extended
from persistable.stores.changes import ReportsChanges, ReportsPacks
from persistable.stores.custom_path import PLACED
from persistable.stores.local import LocalStore
from persistable.stores.readonly import ReadOnlyStore, Unwritable
from persistable.stores.signed import SignedStore

SETTLED = 2.0
"""Seconds after which a change shows in the modification time of a folder, with any clock and file system."""
LARGE = 20_000
"""Records in one folder from which on replaced files are recognized by their inode alone."""


class FolderState(NamedTuple):
    """A folder of a store as it is now, empty where it is gone.

    files: name and stamp, or inode, of each record and failure in it. stamp: equal for an equal state; None where the state may still
    change under the same stamp. pack: the number of the pack if it is one of a SQLite file, else None. gone: names of files that are gone,
    where `files` has only those that have changed; None where it has all.
    """

    folder: str
    files: Mapping[str, str | int]
    stamp: str | None
    by_inode: bool = False
    pack: int | None = None
    gone: Sequence[str] | None = None


class RefreshState:
    """The state of a part at its last refresh, as an index has noted it.

    folders: each folder with files or rows, and its stamp.
    """

    def __init__(self, db: sqlite3.Connection, part: int) -> None:
        self._db = db
        self._part = part
        self.folders: Mapping[str, str | None] = dict(
            db.execute("SELECT path, stamp FROM folders WHERE part = ? AND NOT packed", (part,)).fetchall()
        )

    def packs(self) -> dict[int, str]:
        """The state of each pack, by number."""
        return dict(self._db.execute("SELECT number, state FROM packs WHERE part = ?", (self._part,)).fetchall())


class IndexedStore(Protocol):
    """One of the stores that an index covers."""

    store: Store
    root: str | None
    """The folder of the store on this machine; None for a store without one."""

    def changed(self, known: RefreshState) -> Iterable[FolderState]:
        """The folders and packs that may have changed; removed ones are listed as empty."""
        ...


def stores_of(store: Store, readonly: bool = False) -> list[tuple[Store, bool]]:
    """The stores that `store` consists of, with True for read-only ones; where several have a record at one path, the first counts."""
    layers = extended(store).layers
    if layers:
        deciding = extended(store).deciding_store
        ordered = sorted((layer.store for layer in layers), key=lambda each: extended(each).deciding_store is not deciding)
        return [found for each in ordered for found in stores_of(each, readonly)]
    if isinstance(store, ReadOnlyStore):
        return stores_of(store.store, readonly=True)
    return [(store, readonly or isinstance(bare(store), Unwritable))]


def parts_of(store: Store) -> list[IndexedStore]:
    """The parts of `store`, in the order of `stores_of`."""
    return [_part_of(each) for each, _ in stores_of(store)]


def bare(store: Store) -> Store:
    """The store to query for changes of `store`, though not for its content: `store` without signatures."""
    return store.store if isinstance(store, SignedStore) else store


def _part_of(store: Store) -> IndexedStore:
    inner = bare(store)
    if isinstance(inner, LocalStore):
        return _Folders(inner, store)
    if isinstance(inner, ReportsChanges):
        return _ReportingStore(inner, store)
    return _Database(inner, store) if isinstance(inner, ReportsPacks) else _Listed(store)


class _Folders:
    """A store in a folder of this machine: the folders of names, and those of payloads at custom paths."""

    def __init__(self, folder: LocalStore, store: Store) -> None:
        self.store = store
        self.root: str | None = folder.root
        self._root = folder.root

    def changed(self, known: RefreshState) -> Iterator[FolderState]:
        now = time.time()
        there: set[str] = set()
        for folder in self._folders():
            there.add(folder)
            stamp = _folder_stamp(self._place(folder), now)
            if stamp is None or known.folders.get(folder) != stamp:
                yield self._listing(folder, stamp)
        for folder in known.folders.keys() - there:
            yield FolderState(folder, {}, None)

    def _folders(self) -> Iterator[str]:
        """Yield the folders that may hold records."""
        yield from [entry.name for entry in _entries(self._root) if entry.name[:1] != "." and entry.is_dir()]
        pending = [PLACED]
        while pending:
            folder = pending.pop()
            if os.path.isdir(self._place(folder)):
                yield folder
                pending.extend(f"{folder}/{entry.name}" for entry in _entries(self._place(folder)) if entry.is_dir())

    def _place(self, folder: str) -> str:
        return os.path.join(self._root, folder)

    def _listing(self, folder: str, stamp: str | None) -> FolderState:
        found = [entry for entry in _entries(self._place(folder)) if entry.name.endswith(ENDINGS)]
        if len(found) > LARGE:
            return FolderState(folder, {entry.name: entry.inode() for entry in found}, stamp, by_inode=True)
        return FolderState(folder, {entry.name: known for entry in found if (known := _file_stamp(entry))}, stamp)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """The entries of a folder; none where it is gone."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _folder_stamp(place: str, now: float) -> str | None:
    """A stamp that is equal while a folder has the same names; None where they may still change within one modification time."""
    try:
        found = os.stat(place)
    except OSError:
        return None
    return f"{found.st_dev}:{found.st_ino}:{found.st_mtime_ns}" if now - found.st_mtime > SETTLED else None


def _file_stamp(entry: os.DirEntry[str]) -> str:
    """A stamp that begins with the inode, which a listing of names has as well; empty for a file that is gone."""
    try:
        found = entry.stat()
    except OSError:
        return ""
    return f"{entry.inode()}:{found.st_size}:{found.st_mtime_ns}"


class _Database:
    """A store in a SQLite file: unchanged while file and log have the same stamp; a pack of it while its state is the same."""

    root: str | None = None

    def __init__(self, database: ReportsPacks, store: Store) -> None:
        self.store = store
        self._database = database

    def changed(self, known: RefreshState) -> Iterator[FolderState]:
        stamp = self._stamp()
        if stamp is not None and known.folders and set(known.folders.values()) == {stamp}:
            return
        packs = known.packs()
        now = self._database.pack_changes(packs, ENDINGS)
        for number in packs.keys() - now.packs.keys():
            yield FolderState("", {}, None, pack=number)
        for number, paths in now.changed.items():
            state = now.packs[number]
            found = [path.rpartition("/") for path in paths if path.endswith(ENDINGS)]
            folder = found[0][0] if found else ""  # of all of them
            stamp_of_all = state.partition(" ")[0]
            yield FolderState(folder, {} if _is_hidden(folder) else {name: stamp_of_all for _, _, name in found}, state, pack=number)
        folders: dict[str, dict[str, int]] = {"": {}, **{folder: {} for folder in known.folders}}
        for path, row in now.rows:
            folder, _, name = path.rpartition("/")
            inner = folders.get(folder)
            if inner is None:
                inner = folders[folder] = {}
            inner[name] = row
        for folder, files in folders.items():
            yield FolderState(folder, {} if _is_hidden(folder) else files, stamp, by_inode=True)

    def _stamp(self) -> str | None:
        now, stamps = time.time(), list[str]()
        for ending in ("", "-wal"):
            try:
                found = os.stat(self._database.file + ending)
            except OSError:
                stamps.append("-")
                continue
            if now - found.st_mtime <= SETTLED:
                return None
            stamps.append(f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}")
        return " ".join(stamps)


class _Listed:
    """Any other store: changes are found by listing it."""

    root: str | None = None

    def __init__(self, store: Store) -> None:
        self.store = store

    def changed(self, known: RefreshState) -> Iterator[FolderState]:
        stamp = extended(self.store).listing_stamp()
        if stamp is not None and known.folders and set(known.folders.values()) == {stamp}:
            return
        folders: dict[str, dict[str, str]] = {folder: {} for folder in known.folders}
        for prefix in ("", PLACED):
            for path, found in extended(self.store).scan(prefix):
                if path.endswith(ENDINGS):
                    folder, _, name = path.rpartition("/")
                    folders.setdefault(folder, {})[name] = f"{found.size}:{found.stamp}"
        for folder, files in folders.items():
            yield FolderState(folder, files, stamp)


class _ReportingStore(_Listed):
    """A store that reports its changes since an earlier state."""

    def __init__(self, teller: ReportsChanges, store: Store) -> None:
        super().__init__(store)
        self._teller = teller

    def changed(self, known: RefreshState) -> Iterator[FolderState]:
        now = self._teller.record_changes(set(known.folders.values()))
        if now is None:
            yield from super().changed(known)
            return
        there = [(path, stat) for path, stat in now.there if path.endswith(ENDINGS) and not _is_hidden(path.rpartition("/")[0])]
        if not (now.is_whole or there or now.gone):
            return
        files: dict[str, dict[str, str]] = {folder: {} for folder in known.folders}
        for path, stat in there:
            folder, _, name = path.rpartition("/")
            files.setdefault(folder, {})[name] = f"{stat.size}:{stat.stamp}"
        gone: dict[str, list[str]] = {}
        for path in now.gone:
            folder, _, name = path.rpartition("/")
            gone.setdefault(folder, []).append(name)
        for folder, changed in files.items():
            yield FolderState(folder, changed, None, gone=None if now.is_whole else gone.get(folder, ()))
        for folder in files:  # last, and in one: after a kill before, no part counts as the whole
            yield FolderState(folder, {}, now.token, gone=())


def _is_hidden(folder: str) -> bool:
    """Tell whether an index leaves out the files in `folder`: of the hidden folder it has only payloads at custom paths."""
    return (folder + "/").startswith(HIDDEN + "/") and not (folder + "/").startswith(PLACED + "/")
