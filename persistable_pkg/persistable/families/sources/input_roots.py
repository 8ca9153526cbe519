"""The files of a source, in a local folder or in any store: listed with stamps, and read.

A stamp changes whenever the content may have changed; it is None if that cannot be detected. As in a shell, names that begin with a dot are
skipped unless their part of the template does too, and so are unfinished writes.
"""

from __future__ import annotations

import base64
import errno
import io
import os
import re
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO, cast

from persistable.errors import InvalidName, StoreError
from persistable.records.template import Template
from persistable.stores.base import Store, extended, is_temporary
from persistable.stores.filesystem import BLOCK, Files, Ranges, time_in
from persistable.stores.local import LocalStore
from persistable.stores.readonly import ReadOnlyStore


class InputRoot(ABC):
    """A location of files. url: shown to people, and the identity of the location. at_once: number of reads to make concurrently."""

    url: str
    at_once = 1

    @abstractmethod
    def found(self, template: Template) -> Iterator[tuple[str, Any]]:
        """Path and stamp of every file that may match `template`; for a template of folders, of every file in those."""

    @abstractmethod
    def files_in(self, folder: str) -> Iterator[tuple[str, Any]]:
        """Path and stamp of every file in `folder` and below."""

    @abstractmethod
    def stamp(self, path: str) -> Any:
        """The stamp of one file. Raises FileNotFoundError."""

    @abstractmethod
    def reading(self, path: str, stamp: Any = None) -> AbstractContextManager[BinaryIO]:
        """The file, open. `stamp`: its stamp in a listing, which may save a request. Raises FileNotFoundError, StoreError."""

    def md5_in(self, stamp: Any) -> str | None:
        """The MD5 digest, hexadecimal, of the content that has this stamp, if the stamp may contain it."""
        return None

    @abstractmethod
    def local(self, path: str) -> str | None:
        """The path of the file or folder on this machine."""

    def shown(self, path: str) -> str:
        """`path` as text for people."""
        return f"{self.url}/{path}"


def input_root_of(store: Store) -> InputRoot:
    """The root of the files in `store`."""
    from persistable.stores.object import ObjectStore

    if isinstance(store, ReadOnlyStore):
        store = store.store
    if isinstance(store, LocalStore):
        return LocalRoot(store.root)
    return BucketRoot(store) if isinstance(store, ObjectStore) else StoreRoot(store)


def segments_of(template: Template) -> list[Template]:
    """The parts of the path of `template`, each as a template."""
    return [Template(part) for part in template.text.rstrip("/").split("/")]


def _is_meant(name: str, segment: Template) -> bool:
    return (not name.startswith(".") or segment.text.startswith(".")) and not is_temporary(name)


# ------------------------------------------------------------------ local

_pack = struct.Struct("<4Q").pack
_FINE, _COARSE = 100_000_000, 2_000_000_000
"""Nanoseconds within which two writes may leave the same time, on clocks of fine and of coarse ticks."""


class LocalRoot(InputRoot):
    """A folder on this machine. Only folders that the template can reach are listed; symbolic links are followed."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.url = "file://" + root

    def found(self, template: Template) -> Iterator[tuple[str, Any]]:
        *above, last = segments_of(template)
        folders = self._folders(above)
        if template.is_folder:
            for folder in self._matching(folders, last):
                yield from self.files_in(folder)
            return
        now = time.time_ns()
        for folder in folders:
            if not last.fields:
                path = folder + last.format()
                if os.path.isfile(self._name(path)):
                    yield path, _local_stamp(os.stat(self._name(path)), now)
                continue
            for entry in self._scan(folder):
                if _is_meant(entry.name, last) and last.match(entry.name) is not None and self._is(entry.is_file, entry):
                    for found in _found(entry):
                        yield folder + entry.name, _local_stamp(found, now)

    def _folders(self, segments: list[Template]) -> Iterator[str]:
        """Every folder that matches these parts of a path, each with a separator at its end."""
        folders: Iterator[str] = iter([""])
        for segment in segments:
            folders = (f"{folder}/" for folder in self._matching(folders, segment))
        return folders

    def _matching(self, folders: Iterator[str], segment: Template) -> Iterator[str]:
        for folder in folders:
            if not segment.fields:
                yield folder + segment.format()
                continue
            for entry in self._scan(folder):
                if _is_meant(entry.name, segment) and segment.match(entry.name) is not None and self._is(entry.is_dir, entry):
                    yield folder + entry.name

    def files_in(self, folder: str) -> Iterator[tuple[str, Any]]:
        now = time.time_ns()
        pending = [folder]
        seen: set[tuple[int, int]] = set()  # folders reached through links, so that a loop ends
        while pending:
            here = pending.pop()
            for entry in self._scan(here):
                path = f"{here}/{entry.name}"
                if self._is(entry.is_dir, entry):
                    if not entry.is_symlink() or _first_visit(self._name(path), seen):
                        pending.append(path)
                elif not is_temporary(entry.name) and self._is(entry.is_file, entry):
                    for found in _found(entry):
                        yield path, _local_stamp(found, now)

    def _scan(self, folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self._name(folder)) as entries:
                yield from entries
        except (FileNotFoundError, NotADirectoryError):
            return  # an empty source, or a folder removed during the listing
        except OSError as error:
            raise self._unreadable(folder, error) from error

    def _is(self, ask: Callable[[], bool], entry: os.DirEntry[str]) -> bool:
        """Test the type of an entry with `ask`; a link in a loop, like a broken one, is neither file nor folder."""
        try:
            return ask()
        except OSError as error:
            if error.errno == errno.ELOOP:
                return False
            raise self._unreadable(entry.path, error) from error

    def _name(self, path: str) -> str:
        return os.path.join(self.root, path)

    def stamp(self, path: str) -> Any:
        return _local_stamp(os.stat(self._name(path)), time.time_ns())

    @contextmanager
    def reading(self, path: str, stamp: Any = None) -> Generator[BinaryIO]:
        try:
            file = open(self._name(path), "rb", buffering=0)  # noqa: SIM115 - entered below, so that only its opening is in this block
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise FileNotFoundError(self._name(path)) from None
        except OSError as error:
            raise self._unreadable(path, error) from error
        with file:
            yield cast(BinaryIO, file)

    def local(self, path: str) -> str:
        return self._name(path)

    def shown(self, path: str) -> str:
        return self._name(path)

    def _unreadable(self, path: str, error: OSError) -> StoreError:
        reason = f"{type(error).__name__}: {error.strerror or error}"
        text = f"{self._name(path)} cannot be read ({reason}); check its permissions, or leave it out of the template"
        return StoreError(text, url=self.url, path=path)


def _found(entry: os.DirEntry[str]) -> list[os.stat_result]:
    """The stat result of a file; empty for one removed since it was listed."""
    try:
        return [entry.stat()]
    except FileNotFoundError:
        return []


def _local_stamp(found: os.stat_result, now: int) -> bytes | None:
    """The stamp of a file; None if it was written so recently that another write in the same clock tick would not show."""
    changed = found.st_ctime_ns if os.name == "posix" else found.st_mtime_ns  # programs can set mtime, but not ctime
    if now - changed < (_FINE if changed % 1_000_000 else _COARSE):
        return None
    mask = (1 << 64) - 1
    return _pack(found.st_ino & mask, found.st_size & mask, found.st_mtime_ns & mask, changed & mask)


def _first_visit(name: str, seen: set[tuple[int, int]]) -> bool:
    found = os.stat(name)
    if (found.st_dev, found.st_ino) in seen:
        return False
    seen.add((found.st_dev, found.st_ino))
    return True


# ------------------------------------------------------------------ elsewhere


class _Remote(InputRoot):
    """Inputs that can only be listed from a folder downwards."""

    at_once = 16
    """Number of contents read concurrently: each waits for a response, and holds up to one block in memory."""

    def found(self, template: Template) -> Iterator[tuple[str, Any]]:
        segments = segments_of(template)
        for path, stamp in self._entries(template.prefix, len(segments) if not template.is_folder else None):
            names = path.split("/")
            long_enough = len(names) > len(segments) if template.is_folder else len(names) == len(segments)
            if long_enough and all(map(_is_meant, names[: len(segments)], segments)):
                yield path, stamp

    def files_in(self, folder: str) -> Iterator[tuple[str, Any]]:
        return self._entries(folder, None)

    def local(self, path: str) -> None:
        return None

    @abstractmethod
    def _entries(self, prefix: str, deepest: int | None) -> Iterator[tuple[str, Any]]:
        """Path and stamp of every file in the folder `prefix` and below; none needs more parts than `deepest`."""


class StoreRoot(_Remote):
    """Any store, through the protocol that every store implements."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.url = store.url
        if self.url.startswith(("memory:", "sqlite:")):
            self.at_once = 1

    def _entries(self, prefix: str, deepest: int | None) -> Iterator[tuple[str, Any]]:
        for path, found in extended(self.store).scan(prefix):
            yield path, None if found.stamp is None else (found.size, found.stamp)

    def stamp(self, path: str) -> Any:
        found = self.store.stat(path)
        if found is None:
            raise FileNotFoundError(path)
        return None if found.stamp is None else (found.size, found.stamp)

    @contextmanager
    def reading(self, path: str, stamp: Any = None) -> Generator[BinaryIO]:
        with self.store.read(path) as file:
            yield file


class BucketRoot(_Remote):
    """A file system of fsspec: one listing returns names and stamps, and any name of the remote side is accepted."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.url = store.url

    def _entries(self, prefix: str, deepest: int | None) -> Iterator[tuple[str, Any]]:
        start = self._place("")
        try:
            with self.store.errors(prefix, writing=False):
                found = self._find(self._place(prefix), deepest, prefix)
        except FileNotFoundError:
            return
        now = time.time()
        for name, entry in found.items():
            path = str(name)[len(start) :].lstrip("/")
            if entry.get("type") != "directory" and path and not path.endswith("/") and not is_temporary(path.rpartition("/")[2]):
                yield path, _remote_stamp(entry, now)

    def _find(self, folder: str, deepest: int | None, prefix: str) -> dict[str, Any]:
        remote = self.store.remote
        remote.fs.invalidate_cache()
        # on a disk each folder is a request of its own; a bucket lists all levels in pages
        limits = {"maxdepth": deepest - len(prefix.split("/")) * bool(prefix)} if isinstance(remote, Files) and deepest else {}
        found: dict[str, Any] = remote.fs.find(folder, detail=True, withdirs=False, **limits)
        return found

    def stamp(self, path: str) -> Any:
        with self.store.errors(path, writing=False):
            remote = self.store.remote
            remote.fs.invalidate_cache()
            return _remote_stamp(remote.fs.info(self._place(path)), time.time())

    def md5_in(self, stamp: Any) -> str | None:
        return None if stamp is None else _md5_in(stamp[1])

    @contextmanager
    def reading(self, path: str, stamp: Any = None) -> Generator[BinaryIO]:
        with self.store.errors(path, writing=False):
            remote, place = self.store.remote, self._place(path)
            small = stamp is not None and stamp[0] is not None and stamp[0] <= BLOCK
            file = io.BytesIO(remote.get(place)) if small else remote.reader(place)  # a known size saves a stat request
        raw = getattr(file, "raw", None)
        if isinstance(raw, Ranges):
            raw.guard = lambda: self.store.errors(path, writing=False)
        with file:
            yield file

    def _place(self, path: str) -> str:
        root = str(self.store._root)
        if any(part in ("", ".", "..") for part in path.split("/")) and path:
            raise InvalidName(f"{path!r} cannot be a path in {self.url}: a part of it is empty, or names a folder above", name=path)
        return f"{root}/{path}" if root and path else root or path


_TAGS = ("md5Hash", "ETag", "etag", "generation", "version_id", "content_md5", "checksum")
_HEX_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_BASE64_MD5 = re.compile(r"[A-Za-z0-9+/]{22}==")


def _remote_stamp(entry: dict[str, Any], now: float) -> Any:
    """A stamp made of the tag of the content if it has one, else of size and time unless that is too recent."""
    size = entry.get("size")
    tag = next((str(entry[name]) for name in _TAGS if entry.get(name)), None)
    if tag is not None:
        return size, tag
    when = time_in(entry)
    return (size, when) if when is not None and now - when > _COARSE / 1e9 else None


def _md5_in(tag: Any) -> str | None:
    """The MD5 in a tag: S3 has it for an upload in one part without a customer's encryption key, and GCS has it."""
    text = tag if isinstance(tag, str) else ""
    found = _HEX_MD5.fullmatch(text)
    if found is not None:
        return found[1]
    return base64.b64decode(text).hex() if _BASE64_MD5.fullmatch(text) else None
