"""Changes of a store since an index last looked, told as cheaply as each kind of store can.

A folder of this machine tells by the modification times of its folders, a SQLite file by its own size and times and by the stamps of
its packs, an archive by its own stamp, PostgreSQL by what it says itself, and everything else by a listing. Layers are told one by one.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from persistable.catalog.index.rows import ENDINGS
from persistable.stores.base import HIDDEN, Store, extended
from persistable.stores.changes import TellsChanges, TellsPacks
from persistable.stores.custom_path import PLACED
from persistable.stores.local import LocalStore
from persistable.stores.readonly import ReadOnlyStore, Unwritable
from persistable.stores.signed import SignedStore

SETTLED = 2.0
"""Seconds after which a change shows in the modification time of a folder, whatever clock and file system tell it."""
LARGE = 20_000
"""Records in one folder from which on a listing tells replaced files by their inode alone."""


class Listing(NamedTuple):
    """A folder of a store as it is now, empty where it is gone.

    files: name and stamp, or inode, of each record and failure in it. stamp: by which the same state is known again; None where it may
    still change without another stamp. pack: the number of the pack of a SQLite file that it is; None for what has files or rows. gone:
    names of files that are gone, where `files` has only those that have changed; None where it has all.
    """

    folder: str
    files: Mapping[str, str | int]
    stamp: str | None
    by_inode: bool = False
    pack: int | None = None
    gone: Sequence[str] | None = None


class Known:
    """The state of a part at its last refresh, as an index has noted it.

    folders: each folder in which files or rows are, and its stamp.
    """

    def __init__(self, db: sqlite3.Connection, part: int) -> None:
        self._db = db
        self._part = part
        self.folders: Mapping[str, str | None] = dict(
            db.execute("SELECT path, stamp FROM folders WHERE part = ? AND NOT packed", (part,)).fetchall()
        )

    def packs(self) -> dict[int, str]:
        """Each pack, and its state."""
        return dict(self._db.execute("SELECT number, state FROM packs WHERE part = ?", (self._part,)).fetchall())


class Part(Protocol):
    """One store of those that an index is of."""

    store: Store
    root: str | None
    """The folder of this machine that it is; None for what is none."""

    def changed(self, known: Known) -> Iterable[Listing]:
        """The folders and packs that may have changed; what is gone is listed as empty."""
        ...


def stores_of(store: Store, readonly: bool = False) -> list[tuple[Store, bool]]:
    """The stores that `store` is made of, those first that count where several have a record of one path; True for what is only read."""
    layers = extended(store).layers
    if layers:
        deciding = extended(store).deciding_store
        ordered = sorted((layer.store for layer in layers), key=lambda each: extended(each).deciding_store is not deciding)
        return [found for each in ordered for found in stores_of(each, readonly)]
    if isinstance(store, ReadOnlyStore):
        return stores_of(store.store, readonly=True)
    return [(store, readonly or isinstance(bare(store), Unwritable))]


def parts_of(store: Store) -> list[Part]:
    """The stores that `store` is made of, in the order of `stores_of`."""
    return [_part_of(each) for each, _ in stores_of(store)]


def bare(store: Store) -> Store:
    """The store that tells what has changed in `store`, and not what is in it: `store`, without signatures."""
    return store.store if isinstance(store, SignedStore) else store


def _part_of(store: Store) -> Part:
    inner = bare(store)
    if isinstance(inner, LocalStore):
        return _Folders(inner, store)
    if isinstance(inner, TellsChanges):
        return _Told(inner, store)
    return _Database(inner, store) if isinstance(inner, TellsPacks) else _Listed(store)


class _Folders:
    """A folder of this machine: that of each name, and those of payloads at custom paths."""

    def __init__(self, folder: LocalStore, store: Store) -> None:
        self.store = store
        self.root: str | None = folder.root
        self._root = folder.root

    def changed(self, known: Known) -> Iterator[Listing]:
        now = time.time()
        there: set[str] = set()
        for folder in self._folders():
            there.add(folder)
            stamp = _folder_stamp(self._place(folder), now)
            if stamp is None or known.folders.get(folder) != stamp:
                yield self._listing(folder, stamp)
        for folder in known.folders.keys() - there:
            yield Listing(folder, {}, None)

    def _folders(self) -> Iterator[str]:
        """The folders that may hold records."""
        yield from [entry.name for entry in _entries(self._root) if entry.name[:1] != "." and entry.is_dir()]
        pending = [PLACED]
        while pending:
            folder = pending.pop()
            if os.path.isdir(self._place(folder)):
                yield folder
                pending.extend(f"{folder}/{entry.name}" for entry in _entries(self._place(folder)) if entry.is_dir())

    def _place(self, folder: str) -> str:
        return os.path.join(self._root, folder)

    def _listing(self, folder: str, stamp: str | None) -> Listing:
        found = [entry for entry in _entries(self._place(folder)) if entry.name.endswith(ENDINGS)]
        if len(found) > LARGE:
            return Listing(folder, {entry.name: entry.inode() for entry in found}, stamp, by_inode=True)
        return Listing(folder, {entry.name: known for entry in found if (known := _file_stamp(entry))}, stamp)


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
    """Begins with the inode, which a listing of names tells as well; empty for a file that is gone."""
    try:
        found = entry.stat()
    except OSError:
        return ""
    return f"{entry.inode()}:{found.st_size}:{found.st_mtime_ns}"


class _Database:
    """A SQLite file, which is as it was while neither it nor its log is another; a pack of it while its state is the same."""

    root: str | None = None

    def __init__(self, database: TellsPacks, store: Store) -> None:
        self.store = store
        self._database = database

    def changed(self, known: Known) -> Iterator[Listing]:
        stamp = self._stamp()
        if stamp is not None and known.folders and set(known.folders.values()) == {stamp}:
            return
        packs = known.packs()
        now = self._database.pack_changes(packs, ENDINGS)
        for number in packs.keys() - now.packs.keys():
            yield Listing("", {}, None, pack=number)
        for number, paths in now.changed.items():
            state = now.packs[number]
            found = [path.rpartition("/") for path in paths if path.endswith(ENDINGS)]
            folder = found[0][0] if found else ""  # of all of them
            stamp_of_all = state.partition(" ")[0]
            yield Listing(folder, {} if _is_hidden(folder) else {name: stamp_of_all for _, _, name in found}, state, pack=number)
        folders: dict[str, dict[str, int]] = {"": {}, **{folder: {} for folder in known.folders}}
        for path, row in now.rows:
            folder, _, name = path.rpartition("/")
            inner = folders.get(folder)
            if inner is None:
                inner = folders[folder] = {}
            inner[name] = row
        for folder, files in folders.items():
            yield Listing(folder, {} if _is_hidden(folder) else files, stamp, by_inode=True)

    def _stamp(self) -> str | None:
        now, told = time.time(), list[str]()
        for ending in ("", "-wal"):
            try:
                found = os.stat(self._database.file + ending)
            except OSError:
                told.append("-")
                continue
            if now - found.st_mtime <= SETTLED:
                return None
            told.append(f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}")
        return " ".join(told)


class _Listed:
    """Any store: what has changed, its listing tells."""

    root: str | None = None

    def __init__(self, store: Store) -> None:
        self.store = store

    def changed(self, known: Known) -> Iterator[Listing]:
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
            yield Listing(folder, files, stamp)


class _Told(_Listed):
    """A store that tells what has changed since it was last asked."""

    def __init__(self, teller: TellsChanges, store: Store) -> None:
        super().__init__(store)
        self._teller = teller

    def changed(self, known: Known) -> Iterator[Listing]:
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
            yield Listing(folder, changed, None, gone=None if now.is_whole else gone.get(folder, ()))
        for folder in files:  # last, and in one: killed before, nobody takes a part of it for the whole
            yield Listing(folder, {}, now.token, gone=())


def _is_hidden(folder: str) -> bool:
    """Tell whether files in `folder` are none that an index has: in the hidden folder, only payloads at custom paths are."""
    return (folder + "/").startswith(HIDDEN + "/") and not (folder + "/").startswith(PLACED + "/")
