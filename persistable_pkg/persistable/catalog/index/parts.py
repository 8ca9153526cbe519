"""Changes of a store since an index last looked, told as cheaply as each kind of store can.

A folder of this machine tells by the modification times of its folders, a SQLite file by its own size and times, an archive by its own
stamp, and everything else by a listing. Layers are told one by one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from persistable.catalog.index.rows import ENDINGS
from persistable.stores.base import Store, extended
from persistable.stores.custom_path import PLACED
from persistable.stores.local import LocalStore
from persistable.stores.readonly import ReadOnlyStore, Unwritable
from persistable.stores.signed import SignedStore
from persistable.stores.sqlite import SQLiteStore

SETTLED = 2.0
"""Seconds after which a change shows in the modification time of a folder, whatever clock and file system tell it."""
LARGE = 20_000
"""Records in one folder from which on a listing tells replaced files by their inode alone."""


class Listing(NamedTuple):
    """A folder of a store as it is now, empty where it is gone.

    files: name and stamp, or inode, of each record and failure in it. stamp: by which the same state is known again; None where it may
    still change without another stamp.
    """

    folder: str
    files: Mapping[str, str | int]
    stamp: str | None
    by_inode: bool = False


class Part(Protocol):
    """One store of those that an index is of."""

    store: Store
    root: str | None
    """The folder of this machine that it is; None for what is none."""

    def changed(self, known: Mapping[str, str | None], size: Callable[[str], int]) -> Iterable[Listing]:
        """The folders that may have changed; `known` has the stamp of each folder that the index knows, and `size` gives its records.

        A folder that is gone is listed as empty.
        """
        ...


def stores_of(store: Store, readonly: bool = False) -> list[tuple[Store, bool]]:
    """The stores that `store` is made of, those first that count where several have a record of one path; True for what is only read."""
    layers = extended(store).layers
    if layers:
        deciding = extended(store).deciding_store
        ordered = sorted((layer.store for layer in layers), key=lambda each: extended(each).deciding_store is not deciding)
        return [found for each in ordered for found in stores_of(each, readonly)]
    if isinstance(store, ReadOnlyStore):
        return stores_of(store.inner, readonly=True)
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
    return _Database(inner, store) if isinstance(inner, SQLiteStore) else _Listed(store)


class _Folders:
    """A folder of this machine: that of each name, and those of payloads at paths of somebody's choice."""

    def __init__(self, folder: LocalStore, store: Store) -> None:
        self.store = store
        self.root: str | None = folder.root
        self._root = folder.root

    def changed(self, known: Mapping[str, str | None], size: Callable[[str], int]) -> Iterator[Listing]:
        now = time.time()
        there: set[str] = set()
        for folder in self._folders(known):
            there.add(folder)
            stamp = _folder_stamp(self._place(folder), now)
            if stamp is None or known.get(folder) != stamp:
                by_inode = size(folder) > LARGE
                yield Listing(folder, self._inodes(folder) if by_inode else self._stamps(folder), stamp, by_inode)
        for folder in known.keys() - there:
            yield Listing(folder, {}, None)

    def _folders(self, known: Mapping[str, str | None]) -> Iterator[str]:
        """The folders that may hold records."""
        with _entries(self._root) as entries:
            names = [entry.name for entry in entries if entry.name[:1] != "." and entry.is_dir()]
        yield from names
        pending = [PLACED]
        while pending:
            folder = pending.pop()
            try:
                with os.scandir(self._place(folder)) as entries:
                    inner = [entry.name for entry in entries if entry.is_dir()]
            except OSError:
                continue
            yield folder
            pending.extend(f"{folder}/{name}" for name in inner)

    def _place(self, folder: str) -> str:
        return os.path.join(self._root, folder)

    def _stamps(self, folder: str) -> dict[str, str]:
        found: dict[str, str] = {}
        with _entries(self._place(folder)) as entries:
            for entry in entries:
                if entry.name.endswith(ENDINGS):
                    stamp = _file_stamp(entry)
                    if stamp:
                        found[entry.name] = stamp
        return found

    def _inodes(self, folder: str) -> dict[str, int]:
        with _entries(self._place(folder)) as entries:
            return {name: entry.inode() for entry in entries if (name := entry.name).endswith(ENDINGS)}


class _Nothing:
    """Stands for the entries of a folder that is not there."""

    def __enter__(self) -> Iterator[os.DirEntry[str]]:
        return iter(())

    def __exit__(self, *_: object) -> None:
        return None


def _entries(folder: str) -> os._ScandirIterator[str] | _Nothing:  # pyright: ignore[reportPrivateUsage] - typeshed's own name for it
    try:
        return os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return _Nothing()


def _folder_stamp(place: str, now: float) -> str | None:
    """By which the same names are known again; None for a folder in which they may still change within one modification time."""
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
    """A SQLite file, which is as it was while neither it nor its log is another."""

    root: str | None = None

    def __init__(self, database: SQLiteStore, store: Store) -> None:
        self.store = store
        self._file = database.file

    def changed(self, known: Mapping[str, str | None], size: Callable[[str], int]) -> Iterator[Listing]:
        stamp = self._stamp()
        if stamp is not None and known and set(known.values()) == {stamp}:
            return
        yield from _listings(self.store, known, stamp)

    def _stamp(self) -> str | None:
        now, told = time.time(), list[str]()
        for ending in ("", "-wal"):
            try:
                found = os.stat(self._file + ending)
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

    def changed(self, known: Mapping[str, str | None], size: Callable[[str], int]) -> Iterator[Listing]:
        stamp = extended(self.store).listing_stamp()
        if stamp is not None and known and set(known.values()) == {stamp}:
            return
        yield from _listings(self.store, known, stamp)


def _listings(store: Store, known: Mapping[str, str | None], stamp: str | None) -> Iterator[Listing]:
    folders: dict[str, dict[str, str]] = {folder: {} for folder in known}
    for prefix in ("", PLACED):
        for path, found in extended(store).scan(prefix):
            if path.endswith(ENDINGS):
                folder, _, name = path.rpartition("/")
                inner = folders.get(folder)
                if inner is None:
                    inner = folders[folder] = {}
                inner[name] = f"{found.size}:{found.stamp}"
    for folder, files in folders.items():
        yield Listing(folder, files, stamp)
