"""Payloads of several files: written into a folder or a zip; read from a local or remote folder, or a zip."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, BinaryIO

from persistable.errors import MalformedFile
from persistable.fileio.base import Parts, Sink
from persistable.fileio.location import LocalPlace, Place, RemotePlace, temporary_beside

_DAMAGED = (zipfile.BadZipFile, ValueError, NotImplementedError, LookupError, EOFError, RuntimeError, OverflowError, struct.error)
"""Errors that zipfile raises for a damaged zip."""

Create = Callable[[str], AbstractContextManager[BinaryIO]]


class ZipWriter:
    """A writer of parts, one by one, into an uncompressed zip with fixed dates, front to back."""

    def __init__(self, file: Any) -> None:
        self._zip = zipfile.ZipFile(_Unseekable(file), "w", zipfile.ZIP_STORED)

    @contextmanager
    def create(self, name: str) -> Generator[BinaryIO, None, None]:
        entry = zipfile.ZipInfo(name)  # dated 1980-01-01: equal payloads give equal bytes
        entry.external_attr = 0o644 << 16
        with self._zip.open(entry, "w", force_zip64=True) as part:
            yield part  # type: ignore[misc]

    def __enter__(self) -> ZipWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self._zip.close()


class _Unseekable(Sink):
    """A sink without `tell`, so that zipfile writes sizes after each part instead of seeking back to fill them in."""

    def tell(self) -> int:
        raise OSError("not seekable")


class ZipParts:
    """The parts in a zip from `ZipWriter`. Each is checked against its CRC when read."""

    def __init__(self, file: Any, user: str) -> None:
        self._format = user
        try:
            self._zip = zipfile.ZipFile(file if file.seekable() else _whole(file))
            self._names = sorted(map(checked_name, self._zip.namelist()))
            for entry in self._zip.infolist():
                if stat.S_ISLNK(entry.external_attr >> 16):
                    raise ValueError(f"{entry.filename!r} is a symlink")
                if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.compress_size != entry.file_size:
                    raise ValueError(f"{entry.filename!r} is compressed or encrypted")
        except _DAMAGED as error:
            raise self._malformed(error) from error

    def names(self) -> list[str]:
        return list(self._names)

    def open(self, name: str) -> BinaryIO:
        from io import BytesIO

        try:
            return BytesIO(self._zip.read(name))  # read completely: the CRC is checked before parsing
        except _DAMAGED as error:
            raise self._malformed(error) from error

    def folder(self) -> Path:
        return _copied(self)

    def _malformed(self, error: Exception) -> MalformedFile:
        return MalformedFile(f"not a whole file of {self._format}: {type(error).__name__}: {error}", format=self._format)


def _whole(file: Any) -> Any:
    from io import BytesIO

    return BytesIO(file.read())


def folder_parts(at: Place) -> Parts:
    """The files under the folder at `at`."""
    return _RemoteParts(at) if isinstance(at, RemotePlace) else FolderParts(Path(at.path))


class FolderParts:
    """The files under a local folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> list[str]:
        return sorted(_files(self._root))

    def open(self, name: str) -> BinaryIO:
        return (self._root / name).open("rb")

    def folder(self) -> Path:
        return self._root


class _RemoteParts:
    def __init__(self, at: RemotePlace) -> None:
        self._at = at

    def names(self) -> list[str]:
        start = len(self._at.path) + 1
        return sorted(checked_name(str(path)[start:]) for path in self._at.fs.find(self._at.path))

    def open(self, name: str) -> BinaryIO:
        file: BinaryIO = self._at.fs.open(f"{self._at.path}/{name}", "rb")
        return file

    def folder(self) -> Path:
        return _copied(self)


@contextmanager
def replacing_folder(at: Place) -> Generator[Create, None, None]:
    """Create parts within the block; at its end they are the only content of the folder, unless the block raises."""
    import tempfile

    if isinstance(at, LocalPlace):
        os.makedirs(os.path.dirname(at.path), exist_ok=True)
        made = temporary_beside(at.path)
        os.mkdir(made)
        try:
            yield _creator(Path(made))
            _swap(made, at.path)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        return
    assert isinstance(at, RemotePlace)
    with tempfile.TemporaryDirectory(prefix="persistable-") as folder:
        yield _creator(Path(folder))
        names = sorted(_files(Path(folder)))
        for name in names:
            at.fs.put_file(os.path.join(folder, name), f"{at.path}/{name}")
    stale = set(_RemoteParts(at).names()) - set(names)
    for name in stale:
        at.fs.rm_file(f"{at.path}/{name}")


def _swap(made: str, path: str) -> None:
    """Move the folder `made` to `path`. No system call replaces a full folder: an old one is moved aside, and back on failure."""
    if not os.path.lexists(path):
        os.rename(made, path)
        return
    aside = temporary_beside(path)
    os.rename(path, aside)
    try:
        os.rename(made, path)
    except BaseException:
        os.rename(aside, path)
        raise
    if os.path.isdir(aside) and not os.path.islink(aside):
        shutil.rmtree(aside)
    else:
        os.unlink(aside)


def _creator(root: Path) -> Create:
    @contextmanager
    def create(name: str) -> Generator[BinaryIO, None, None]:
        path = root / checked_name(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            yield file

    return create


def checked_name(name: str) -> str:
    """`name` itself, if it stays inside its folder. Raises ValueError otherwise."""
    parts = PurePosixPath(name).parts
    drive = os.name == "nt" and ":" in name
    if not parts or drive or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or "/".join(parts) != name:
        raise ValueError(f"{name!r} cannot name a part: use a relative path with single slashes, without '..'")
    return name


def _files(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            if os.path.islink(os.path.join(folder, name)):
                raise MalformedFile(f"{name} in {folder} is a symlink, which no format follows; replace it by its target", format="")
        for name in files:
            yield (Path(folder) / name).relative_to(root).as_posix()


def _copied(parts: Parts) -> Path:
    """Copy `parts` to a local folder, which is removed at the end of this process."""
    import tempfile

    root = Path(tempfile.mkdtemp(prefix="persistable-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    create = _creator(root)
    for name in parts.names():
        with parts.open(name) as source, create(name) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        (root / name).chmod(0o444)
    return root


class SubParts:
    """The parts within a folder of other parts."""

    def __init__(self, parts: Parts, folder: str) -> None:
        self._parts = parts
        self._folder = folder

    def names(self) -> list[str]:
        start = len(self._folder) + 1
        return [name[start:] for name in self._parts.names() if name.startswith(f"{self._folder}/")]

    def open(self, name: str) -> BinaryIO:
        return self._parts.open(f"{self._folder}/{name}")

    def folder(self) -> Path:
        return self._parts.folder() / self._folder
