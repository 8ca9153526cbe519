"""Locations of files that a user names: a local path, or any URL that fsspec knows. Local paths never import fsspec."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, BinaryIO

from persistable.errors import MalformedFile, PersistableError, StoreError
from persistable.fileio.base import Buffer, read_all
from persistable.fileio.memory_maps import is_on_network, private_map
from persistable.params.masking import check_user, masked, unmasked
from persistable.params.url import check_exact, check_slashes

_LOCAL = ("file://", "local://")


def place(where: Any) -> Place:
    """The place of a str, path, UPath or fsspec URL. Raises TypeError for anything else."""
    if isinstance(where, bytes) or not (isinstance(where, (str, os.PathLike)) or hasattr(where, "fs")):
        raise TypeError(f"expected a path, a URL or an open binary file, found {type(where).__name__}")
    if not isinstance(where, str):
        try:
            return _local(os.fspath(where))
        except TypeError:  # a UPath that is not local
            return RemotePlace(where.fs, where.path)  # pyright: ignore[reportAttributeAccessIssue]
    for scheme in _LOCAL:
        if where.startswith(scheme):
            return LocalPlace(where[len(scheme) :])
    if "://" not in where and "::" not in where:
        return _local(where)
    import fsspec  # type: ignore[import-untyped]

    check_user(where)
    fs, path = fsspec.core.url_to_fs(where)
    check_exact(where, str(path))
    return RemotePlace(fs, path, is_folder=where.endswith("/"))


def _local(path: str) -> LocalPlace:
    check_slashes(path)
    return LocalPlace(path)


@contextmanager
def without_passwords() -> Generator[None, None, None]:
    """Remove the passwords of URLs, which file systems repeat, from the errors that the block raises."""
    try:
        yield
    except Exception as error:
        if not (unmasked(str(error)) or unmasked(repr(error))):
            raise
        shown = masked(str(error))
        if isinstance(error, PersistableError):
            error.args = (shown, *error.args[1:])
            error.__cause__, error.__suppress_context__ = None, True
            raise
        if isinstance(error, FileNotFoundError):
            raise FileNotFoundError(shown) from None
        raise StoreError(f"{type(error).__name__}: {shown}", url="", path="") from None


class Place(ABC):
    """A path whose content is read, or replaced as a whole."""

    path: str

    @abstractmethod
    def open(self) -> BinaryIO: ...

    @abstractmethod
    def buffer(self, map_from: int | None) -> Buffer:
        """All bytes, writable; a private map if the file is local and at least `map_from` bytes long."""

    @abstractmethod
    def replacing(self, suffix: str = "") -> Any:
        """Write a file within the block; it appears at its end, unless the block raises."""

    @abstractmethod
    def is_folder(self) -> bool: ...

    @abstractmethod
    def _read_beside(self, suffix: str) -> bytes | None: ...

    @abstractmethod
    def _delete_beside(self, suffix: str) -> None: ...

    def read_schema(self) -> dict[str, Any] | None:
        data = self._read_beside(_SCHEMA)
        if data is None:
            return None
        try:
            schema = json.loads(data)
        except ValueError:
            schema = None
        if not isinstance(schema, dict):
            raise MalformedFile(f"{self.path}{_SCHEMA} is not a JSON object; save the payload again, or delete that file", format="schema")
        return schema

    def write_schema(self, schema: dict[str, Any] | None) -> None:
        """Write `schema` to a file beside this one; None removes that of an earlier payload."""
        if schema is None:
            self._delete_beside(_SCHEMA)
            return
        with self.replacing(_SCHEMA) as file:
            file.write(json.dumps(schema, indent=1).encode())


_SCHEMA = ".schema.json"


class LocalPlace(Place):
    """A path on this machine."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    def open(self) -> BinaryIO:
        return open(self.path, "rb")

    def buffer(self, map_from: int | None) -> Buffer:
        with open(self.path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if map_from is None or size < map_from:
                return read_all(file)
            mapped = None if is_on_network(file.fileno()) else private_map(file.fileno(), size)
            return read_all(file) if mapped is None else memoryview(mapped)

    @contextmanager
    def replacing(self, suffix: str = "") -> Generator[BinaryIO, None, None]:
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        temporary = temporary_beside(self.path)
        try:
            with open(temporary, "xb") as file:
                yield file
            os.replace(temporary, self.path + suffix)
        except BaseException:
            remove_quietly(temporary)
            raise

    def is_folder(self) -> bool:
        return os.path.isdir(self.path)

    def _read_beside(self, suffix: str) -> bytes | None:
        try:
            with open(self.path + suffix, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def _delete_beside(self, suffix: str) -> None:
        remove_quietly(self.path + suffix)


class RemotePlace(Place):
    """A path in an fsspec filesystem."""

    def __init__(self, fs: Any, path: str, is_folder: bool = False) -> None:
        self.fs = fs
        self._names_folder = is_folder
        self.path = str(path).rstrip("/")

    def open(self) -> BinaryIO:
        file: BinaryIO = self.fs.open(self.path, "rb")
        return file

    def buffer(self, map_from: int | None) -> Buffer:
        return bytearray(self.fs.cat_file(self.path))

    @contextmanager
    def replacing(self, suffix: str = "") -> Generator[BinaryIO, None, None]:
        # fsspec's own write stream commits a partial file when the block raises: make the file here, then copy it
        import tempfile

        if self._names_folder and not suffix:
            shown = masked(self.path)
            raise StoreError(f"{shown}/ ends in a slash, so it names a folder and no file; leave it out", url=shown, path="")
        with tempfile.NamedTemporaryFile(prefix="persistable-") as file:
            yield file  # type: ignore[misc]
            file.flush()
            self.fs.put_file(file.name, self.path + suffix)

    def is_folder(self) -> bool:
        return bool(self.fs.isdir(self.path))

    def _read_beside(self, suffix: str) -> bytes | None:
        try:
            data: bytes = self.fs.cat_file(self.path + suffix)
        except FileNotFoundError:
            return None
        return data

    def _delete_beside(self, suffix: str) -> None:
        try:
            self.fs.rm_file(self.path + suffix)
        except FileNotFoundError:
            pass


def temporary_beside(path: str) -> str:
    """An unused path in the same folder; its name is short, since that of `path` may have all 255 bytes of a name."""
    return os.path.join(os.path.dirname(path), f".{os.urandom(8).hex()}.tmp")


def remove_quietly(path: str) -> None:
    """Delete the file at `path` if there is one."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
