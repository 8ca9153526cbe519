"""Bytes at paths in a local or mounted folder.

Every call is a handful of system calls on file descriptors: a hit of a tiny payload costs microseconds, and `pathlib` or `io` would
cost more than the disk does. An unfinished write is beside its target as ``.<name>.<token>.tmp`` and takes its place by a rename,
unless nothing refers to that target yet.

On a file system that folds case or unicode forms (macOS, Windows) two paths that differ only so are one file; a store cannot tell them
apart, so the reader compares the record with the key wanted.
"""

from __future__ import annotations

import atexit
import errno
import io
import os
import stat as _stat
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeVar, cast

from persistable.errors import StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from persistable.stores.base import (
    FULL,
    HIDDEN,
    SAFE_PATH,
    BaseStore,
    Bytes,
    Stat,
    byte_view,
    check_path,
    check_prefix,
    is_path,
    is_temporary,
)

_BINARY = getattr(os, "O_BINARY", 0)
_READ = os.O_RDONLY | _BINARY
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY
_CHUNK = 65536
_KEPT_SOURCE_LIMIT = 65536
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_LINKS = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK, errno.EINVAL})
_GONE = frozenset({errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT})

_WINDOWS = os.name == "nt"
_PAUSES = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2)
_is_safe = SAFE_PATH.fullmatch  # called directly for hits and misses, whose time each saved Python call reduces

Result = TypeVar("Result")

_kept: dict[str, str] = {}  # source files of exclusive creates, and the process they belong to

_OPEN_FOR = 1.0
_counter = count()
_process = os.urandom(6).hex()


def _after_fork() -> None:
    global _process
    _process = os.urandom(6).hex()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class LocalStore(BaseStore):
    """A folder of this machine, or one mounted on it.

    ``root`` is made absolute at once and created only when something is written. With ``fsync=True`` every write waits until the disk
    has it (milliseconds instead of microseconds), so that it survives a power failure; to survive a killed process it is not needed.
    Deleting leaves empty folders in place: another process may be about to write there.
    """

    in_memory = False
    definite = True
    adopts = True
    url: str

    def __init__(self, root: str | os.PathLike[str], *, fsync: bool = False) -> None:
        place = os.fsdecode(root)
        if place.startswith("~"):
            place = os.path.expanduser(place)
        place = os.path.abspath(place)
        self.root = place
        self.fsync = fsync
        self._prefix = place if place.endswith(os.sep) else place + "/"
        self._source = _Source(self._prefix)
        self._open = ("", 0.0)
        """A folder in which a file has just been created, and the time until which it counts as accessible to this process."""
        path = place.replace(os.sep, "/")
        self.url = "file://" + (path if path.startswith("/") else "/" + path)  # pyright: ignore[reportIncompatibleMethodOverride]
        """The URL of the folder, without a slash at its end."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> LocalStore:
        """The store of ``file:///absolute/folder``; a plain path serves as well."""
        scheme, found, rest = url.partition("://")
        place = rest if found else scheme
        if os.name == "nt" and len(place) > 2 and place[0] == "/" and place[2] == ":":
            place = place[1:]
        return cls(place or ".", **options)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), self.root, self.fsync), self.pickled_options()

    # --- reading

    def get(self, path: str) -> bytes:
        place = self._prefix + (path if _is_safe(path) else check_path(path))
        try:
            return _read_all(place)
        except FileNotFoundError:
            raise
        except OSError as error:
            return self._once_more(_read_all, place, error, path)

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for path in paths:
            place = self._prefix + (path if _is_safe(path) else check_path(path))
            try:
                found[path] = _read_all(place)
            except FileNotFoundError:
                pass
            except OSError:
                with suppress(FileNotFoundError):
                    found[path] = self.get(path)
        return found

    def read(self, path: str) -> BinaryIO:
        place = self._prefix + check_path(path)
        try:
            return _opened(place)
        except OSError as error:
            return self._once_more(_opened, place, error, path)

    def _once_more(self, act: Callable[[str], Result], place: str, error: OSError, path: str) -> Result:
        """Retry `act` with `place`, after an error, as long as that is transient. Raises as `_no_read` does."""
        for pause in _PAUSES:
            if not _passes(error):
                break
            time.sleep(pause)
            try:
                return act(place)
            except OSError as another:
                error = another
        return self._no_read(error, path)

    def exists(self, path: str) -> bool:
        # mostly called for absent files: access(2) reports these without an exception, but also files in an inaccessible folder
        place = self._prefix + (path if _is_safe(path) else check_path(path))
        if not os.access(place, os.F_OK):
            folder = place.rpartition("/")[0]
            if (folder == self._open[0] and time.monotonic() < self._open[1]) or os.access(folder, os.X_OK):
                return False
        return self._lookup(path) is not None

    def stat(self, path: str) -> Stat | None:
        found = self._lookup(path)
        return None if found is None else _stat_of(found)

    def modified(self, path: str) -> float | None:
        found = self._lookup(path)
        return None if found is None else found.st_mtime

    def local_path(self, path: str) -> Path:
        return Path(self._prefix + check_path(path))

    def list(self, prefix: str = "") -> Iterator[str]:
        return (path for path, _ in self._walk(check_prefix(prefix)))

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        return self._scanned(check_prefix(prefix))

    def _scanned(self, prefix: str) -> Iterator[tuple[str, Stat]]:
        for path, entry in self._walk(prefix):
            try:
                found = os.stat(entry.path) if _WINDOWS else entry.stat()  # there an entry has no inode
            except FileNotFoundError:
                continue
            except OSError as error:
                self._no_read(error, path)
            yield path, _stat_of(found)

    def _walk(self, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        pending = [prefix + "/" if prefix else ""]
        seen: set[tuple[int, int]] = set()  # folders reached through links, so that a loop ends
        while pending:
            folder = pending.pop()
            try:
                entries = os.scandir(self._prefix + folder)
            except FileNotFoundError:
                continue  # the root of an empty store, or a folder deleted during the listing
            except NotADirectoryError as error:
                if folder:
                    continue
                message = f"{self.root} is no folder: it, or what should be a folder above it, is a file; correct the path"
                raise StoreError(message, url=self.url, path="") from error
            except OSError as error:
                self._no_read(error, folder.rstrip("/"))
            with entries:
                for entry in entries:
                    name = entry.name
                    if is_temporary(name) or (not folder and name == HIDDEN) or not is_path(name):
                        continue
                    try:
                        is_folder = entry.is_dir()
                        is_file = not is_folder and entry.is_file()
                    except OSError as error:
                        if error.errno == errno.ELOOP:
                            continue  # a link to itself, which leads nowhere
                        self._no_read(error, folder + name)
                    if is_file:
                        yield folder + name, entry
                    elif is_folder and (not entry.is_symlink() or _first_visit(entry, seen)):
                        pending.append(folder + name + "/")

    def _lookup(self, path: str) -> os.stat_result | None:
        place = self._prefix + (path if _is_safe(path) else check_path(path))
        try:
            found = os.stat(place)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            try:
                found = self._once_more(os.stat, place, error, path)
            except FileNotFoundError:
                return None
        return found if _stat.S_ISREG(found.st_mode) else None

    # --- writing

    def put(self, path: str, data: Bytes) -> None:
        target = self._prefix + (path if _is_safe(path) else check_path(path))
        temporary = _temporary_path_for(target)
        try:
            self._fill(temporary, data)
            if _WINDOWS:
                _replace(temporary, target)
            else:
                os.replace(temporary, target)
        except OSError as error:
            _discard(temporary)
            self._no_write(error, path)
        except BaseException:
            _discard(temporary)
            raise
        if self.fsync:
            _sync_folder(target)

    def put_unreferenced(self, path: str, data: Bytes) -> None:
        target = self._prefix + (path if _is_safe(path) else check_path(path))
        try:
            self._fill(target, data)  # under its own name at once: a rename would take as long as all else here
        except FileExistsError:
            self.put(path, data)
            return
        except OSError as error:
            _discard(target)
            self._no_write(error, path)
        except BaseException:
            _discard(target)
            raise
        if self.fsync:
            _sync_folder(target)

    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        return self._write(path, self._prefix + check_path(path))

    @contextmanager
    def _write(self, path: str, target: str) -> Generator[BinaryIO]:
        """Write to a real file that takes its place when the block ends without an exception, and is removed otherwise."""
        temporary = _temporary_path_for(target)
        try:
            fd = _open_new(temporary)
        except OSError as error:
            self._no_write(error, path)
        file, is_written = _File(fd), False
        try:
            yield cast(BinaryIO, file)
            is_written = True
            if not file.closed:
                file.flush()
                if self.fsync:
                    os.fsync(file.fileno())
                file.close()
            elif self.fsync:
                _sync_file(temporary)
            _replace(temporary, target)
        except BaseException as error:
            file.drop()
            _discard(temporary)
            if isinstance(error, OSError) and (is_written or error.errno in FULL):
                self._no_write(error, path)
            raise
        if self.fsync:
            _sync_folder(target)

    def create(self, path: str, data: Bytes) -> bool:
        target = self._prefix + (path if _is_safe(path) else check_path(path))
        made = self._source.made
        if made is not None and made[1] == data and made[0] == _process and not self.fsync:
            try:
                os.link(made[2], target)
                self._open = target.rpartition("/")[0], time.monotonic() + _OPEN_FOR
                return True
            except FileExistsError:
                return False
            except (OSError, AttributeError):
                # no parent folder yet, too many links, another file system, or a deleted source: `_create` copes with each
                if os.path.isdir(os.path.dirname(target)):
                    self._source.forget()
        try:
            return self._create(target, data)
        except OSError as error:
            self._no_write(error, path)
        finally:
            if self.fsync:
                _sync_folder(target)

    def _create(self, target: str, data: Bytes) -> bool:
        if not self.fsync:
            self._source.saw(data)
        temporary = _temporary_path_for(target)
        try:
            self._fill(temporary, data)
            try:
                _link(temporary, target)
                return True
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return self._create_without_links(target, data)
        finally:
            _discard(temporary)

    def _create_without_links(self, target: str, data: Bytes) -> bool:
        # FAT and some network file systems: still exclusive, but a kill in here leaves a truncated file
        try:
            fd = os.open(target, _NEW, 0o666)
        except FileExistsError:
            return False
        try:
            _write_all(fd, data)
            if self.fsync:
                os.fsync(fd)
        except BaseException:
            os.close(fd)
            _discard(target)
            raise
        os.close(fd)
        return True

    def delete(self, path: str) -> bool:
        target = self._prefix + (path if _is_safe(path) else check_path(path))
        try:
            os.unlink(target)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            if os.path.isdir(target):
                return False
            self._no_write(error, path)
        return True

    def new_file(self, path: str) -> Path:
        """Create an empty file beside that of `path`, to be filled in place and then passed to `adopt`, or deleted."""
        temporary = _temporary_path_for(self._prefix + check_path(path))
        try:
            os.close(_open_new(temporary))
        except OSError as error:
            self._no_write(error, path)
        return Path(temporary)

    def adopt(self, source: str | os.PathLike[str], path: str) -> None:
        """Move a complete file to `path`, replacing a file there; no byte is copied.

        ``source`` must be on the same file system (one from `new_file` is); after an error it is still where it was.
        """
        target = self._prefix + check_path(path)
        try:
            if self.fsync:
                _sync_file(source)
            try:
                _replace(source, target)
            except FileNotFoundError:
                os.stat(source)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                _replace(source, target)
        except OSError as error:
            self._no_write(error, path)
        if self.fsync:
            _sync_folder(target)

    def unfinished(self) -> Iterator[tuple[Path, os.stat_result]]:
        """The files of unfinished writes: leftovers of killed processes, which may be deleted, and files of running writes."""
        for folder, _, names in os.walk(self.root):
            for name in filter(is_temporary, names):
                place = Path(folder, name)
                with suppress(FileNotFoundError):
                    yield place, place.stat()

    def clear_temporary(self, path: str) -> None:
        """Remove leftovers of killed writes of files whose names begin as `path`; the caller has to know that no process writes there."""
        folder, _, beginning = (self._prefix + check_path(path)).rpartition("/")
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            return
        for name in names:
            if is_temporary(name) and name.startswith(f".{beginning[:50]}"):
                _discard(f"{folder}/{name}")

    def clear_sources(self, is_unused: Callable[[bytes], bool]) -> None:
        """Remove small files that exclusive creates of other processes link to, if `is_unused` of their bytes."""
        folder = f"{self._prefix}{HIDDEN}"
        try:
            names = os.listdir(folder)
        except OSError:
            return
        for name in names:
            place = f"{folder}/{name}"
            if place not in _kept and name.startswith(".create.") and is_temporary(name):
                with suppress(OSError), open(place, "rb") as file:
                    if is_unused(file.read(_KEPT_SOURCE_LIMIT)):
                        _discard(place)

    def close(self) -> None:
        self._source.forget()

    def _fill(self, temporary: str, data: Bytes) -> None:
        try:
            fd = os.open(temporary, _NEW, 0o666)
        except FileNotFoundError:
            fd = _open_new(temporary)
        try:
            if data.__class__ is not bytes or len(data) > _CHUNK or os.write(fd, data) < len(data):
                os.lseek(fd, 0, os.SEEK_SET)
                _write_all(fd, data)
            if self.fsync:
                os.fsync(fd)
        finally:
            os.close(fd)

    # --- errors

    def _no_read(self, error: OSError, path: str) -> NoReturn:
        code = error.errno
        place = self._prefix + path
        if code == errno.ENOENT:
            raise error
        if code == errno.ENOTDIR:
            raise FileNotFoundError(errno.ENOENT, "nothing is stored here", place) from None
        if code == errno.EISDIR or (code == errno.EACCES and os.name == "nt" and os.path.isdir(place)):
            raise FileNotFoundError(errno.ENOENT, "nothing is stored here, it is a folder", place) from None
        if code in _DENIED:
            message = f"{place} may not be read by this user ({error.strerror}); ask for read permission, or use another store"
            raise StoreError(message, url=self.url, path=path) from error
        kind = StoreUnavailable if code in _GONE else StoreError
        raise kind(f"{place} could not be read: {error.strerror or error}", url=self.url, path=path) from error

    def _no_write(self, error: OSError, path: str) -> NoReturn:
        if isinstance(error, StoreError):
            raise error
        code = error.errno
        place = self._prefix + path
        about: dict[str, Any] = {"url": self.url, "path": path}
        reason = error.strerror or str(error)
        if code in FULL:
            raise StoreFull(f"no room for {place} ({reason}); free some space or raise the quota, then try again", **about) from error
        if code in _DENIED:
            message = f"{place} may not be written by this user ({reason}); ask for write permission, or use another store"
            raise StoreReadOnly(message, **about) from error
        if code in (errno.ENOTDIR, errno.EEXIST):
            raise StoreError(f"{place} needs a folder where there is a file ({reason}); move that file away", **about) from error
        if code in (errno.EISDIR, errno.ENOTEMPTY):
            raise StoreError(f"{place} is a folder ({reason}); move it away or choose another name", **about) from error
        if code == errno.EXDEV:
            message = f"{error.filename} cannot become {place}: they are on different file systems; use the file that new_file gave"
            raise StoreError(message, **about) from error
        kind = StoreUnavailable if code in _GONE else StoreError
        raise kind(f"{place} could not be written: {reason}", **about) from error


class _File(io.BufferedWriter):
    """A real file with a descriptor; `drop` closes it without flushing, after an aborted write."""

    def __init__(self, fd: int) -> None:
        super().__init__(io.FileIO(fd, "wb"), _CHUNK)

    def drop(self) -> None:
        try:
            self.raw.close()
            self.close()
        except (OSError, ValueError):
            pass


class _Source:
    """A small file that exclusive creates link to, for callers that create the same bytes again and again (claims do).

    A link is one system call where temp file, link and unlink are five. The file is made at the second create of the same bytes,
    belongs to one process, and is removed when the process ends.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._last: tuple[str, bytes] | None = None
        self.made: tuple[str, bytes, str] | None = None
        """The process it belongs to, its bytes, and its path."""

    def saw(self, data: Bytes) -> None:
        """Note a create, and make the file at the second one of the same bytes: the next create links to it."""
        if len(data) > _KEPT_SOURCE_LIMIT or type(data) is not bytes:
            return
        if self._last != (_process, data):
            self._last = (_process, data)
        elif self.made is None or self.made[:2] != (_process, data):
            self._make(data)

    def forget(self) -> None:
        """Remove the file; the next create makes another."""
        made, self.made, self._last = self.made, None, None
        if made is not None and made[0] == _process and _kept.pop(made[2], ""):
            _discard(made[2])

    def _make(self, data: bytes) -> None:
        self.forget()
        temporary = _temporary_path_for(f"{self._prefix}{HIDDEN}/create")
        try:
            fd = _open_new(temporary)
            try:
                _write_all(fd, data)
            finally:
                os.close(fd)
        except OSError:
            _discard(temporary)
            return  # the usual create reports the error
        if _process not in _kept.values():
            _clean_at_exit()
        _kept[temporary] = _process
        self.made = (_process, data, temporary)

    def __del__(self) -> None:
        self.forget()


def _clean_at_exit() -> None:
    atexit.register(_drop_kept)
    multiprocessing = sys.modules.get("multiprocessing.util")
    if multiprocessing is not None:  # its workers leave without running atexit
        multiprocessing.Finalize(None, _drop_kept, exitpriority=0)


def _drop_kept() -> None:
    for place, process in list(_kept.items()):
        if process == _process and _kept.pop(place, ""):
            _discard(place)


def _reopen(kind: type[LocalStore], root: str, fsync: bool) -> LocalStore:
    return kind(root, fsync=fsync)


def _read_all(place: str) -> bytes:
    fd = os.open(place, _READ)
    try:
        data = os.read(fd, _CHUNK)
        # a short read is the end on every local file system, but not on every mounted one: ask
        if data and os.read(fd, 1):
            os.lseek(fd, 0, os.SEEK_SET)
            with io.FileIO(fd, "rb", closefd=False) as file:
                data = file.readall()  # sized by fstat: one allocation for any length
        return data
    finally:
        os.close(fd)


def _opened(place: str) -> BinaryIO:
    return open(place, "rb", buffering=_CHUNK)


def _replace(source: str | os.PathLike[str], target: str) -> None:
    """Move a file to `target`. Windows refuses that as long as any process, such as a virus scanner, reads the file there."""
    for pause in _PAUSES if _WINDOWS else ():
        try:
            os.replace(source, target)
            return
        except PermissionError:
            time.sleep(pause)
    os.replace(source, target)


def _link(source: str, target: str) -> None:
    if not hasattr(os, "link"):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), target)
    os.link(source, target)


def _passes(error: OSError) -> bool:
    """Tell whether an error is transient: the file was replaced on another host (NFS), or is in use (Windows)."""
    return error.errno == errno.ESTALE or (_WINDOWS and isinstance(error, PermissionError))


def _temporary_path_for(target: str) -> str:
    """A path for an unfinished write of `target`: same folder, so that a rename is atomic; unique among threads, processes and hosts."""
    folder, _, name = target.rpartition("/")
    if len(name) > 50:
        name = name[:50]  # at most 200 bytes of UTF-8
    return f"{folder}/.{name}.{_process}{next(_counter):x}.tmp"


def _open_new(temporary: str) -> int:
    try:
        return os.open(temporary, _NEW, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(temporary), exist_ok=True)
        return os.open(temporary, _NEW, 0o666)


def _write_all(fd: int, data: Bytes) -> None:
    if type(data) is not bytes:
        data = byte_view(data)
    written = os.write(fd, data)
    if written < len(data):  # Linux takes 2 GiB at a time, a full disk only the bytes that still fit
        rest = memoryview(data)[written:]
        while rest:
            rest = rest[os.write(fd, rest) :]


def _discard(temporary: str) -> None:
    try:
        os.unlink(temporary)
    except OSError:
        pass  # gone already, or not removable: it is never listed, and `unfinished` finds it


def _sync_file(place: str | os.PathLike[str]) -> None:
    fd = os.open(place, os.O_RDWR | _BINARY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_folder(target: str) -> None:
    if os.name == "nt":
        return  # folders cannot be opened there
    try:
        fd = os.open(os.path.dirname(target), os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _stat_of(found: os.stat_result) -> Stat:
    return Stat(found.st_size, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


def _first_visit(entry: os.DirEntry[str], seen: set[tuple[int, int]]) -> bool:
    found = entry.stat()
    place = (found.st_dev, found.st_ino)
    if place in seen:
        return False
    seen.add(place)
    return True
