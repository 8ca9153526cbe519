"""The protocol of formats, which convert a payload to bytes and these to an equal payload."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import functools
import io
import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Generic, NoReturn, Protocol, Self, TypeVar

from persistable.errors import FormatError, MalformedFile, PayloadNotRepresentable, PersistableError, check_installed
from persistable.params.streams import SeekableReader

if TYPE_CHECKING:
    from pathlib import Path

    from persistable.fileio.journal import Appending
    from persistable.fileio.location import Place

P = TypeVar("P")
Buffer = bytes | bytearray | memoryview

MAP_FROM = 1 << 20
"""Files smaller than this are read, larger ones mapped: a map costs a descriptor and some page faults."""

_UNREADABLE = (ValueError, EOFError, LookupError, OverflowError, struct.error)
"""Errors that parsers raise for truncated or foreign bytes. Other errors have other causes, and are no sign of a malformed file."""


class FileIO(ABC, Generic[P]):
    """A format. A new one needs a `suffix`, `dump` and `load`.

    `load` is implemented for an open binary file and may be called with a path or URL as well: the base class opens it.
    Options are constructor keywords kept under the same attribute names, so that a record can name and rebuild the format (`spec`).
    Options are never part of a payload's identity, and are not changed after construction.
    """

    name: ClassVar[str]
    """The name by which records call a format of this package; another is called by its module and class."""
    suffix: str
    """The end of the names of its files, such as ``.json``."""
    maps: ClassVar[bool] = False
    """True if `loads` keeps views into its buffer instead of copying: a mapped file is then loaded without reading it.
    The payload's arrays are writable exactly when that buffer is."""
    mmap: bool = True
    """False: files of this format are read, never mapped, even if `maps`."""

    @abstractmethod
    def dump(self, payload: P, file: BinaryIO) -> None:
        """Write `payload`, front to back, without seeking and without a second copy in memory. The caller has called `check`."""

    @abstractmethod
    def load(self, file: Any) -> P:
        """Load the payload from an open binary file (or a path or URL). Raises MalformedFile for truncated bytes or another format."""

    def load_part(self, file: Any, rows: slice | None, columns: Sequence[str] | None) -> P:
        """Load some rows and columns of the payload from an open, seekable file, reading little else; None: all of them.

        Raises FormatError for formats that cannot, and for missing columns; MalformedFile as `load` does.
        """
        raise FormatError(
            f"{type(self).__name__} cannot be read in part; NumpyFileIO, ArrowFileIO and ParquetFileIO can", format=type(self).__name__
        )

    needs: ClassVar[tuple[tuple[str, str, str], ...]] = ()
    """Modules that it needs to write and read: each with its package, and the extra that installs it."""

    def require(self) -> None:
        """Raise MissingExtra where a package is not installed; nothing is imported. Called before any work is done."""
        for module, package, extra in self.needs:
            check_installed(module, package, extra, type(self).__name__)

    def check(self, payload: P) -> None:
        """Raise PayloadNotRepresentable unless `load` would return exactly `payload`. `save`, `dumps` call it; callers of `dump` do."""

    def schema(self, payload: P) -> dict[str, Any] | None:
        """JSON facts about `payload` that the bytes cannot hold but `load` needs (dtypes of a CSV); None for most formats."""
        return None

    def with_schema(self, schema: dict[str, Any]) -> FileIO[P]:
        """This format, set to load by `schema`. Only for formats whose `schema` returns one."""
        return self

    def allocation(self, path: str) -> Allocation | None:
        """A new file at the local `path` to be filled in place, for formats that support it; None otherwise."""
        return None

    def appending(self, folder: Path) -> Appending | None:
        """A writer of a payload block by block, in files of its own in the local `folder`, for formats that support it; else None."""
        return None

    def dumps(self, payload: P) -> bytes:
        """`payload` as bytes. Raises PayloadNotRepresentable."""
        self.check(payload)
        file = io.BytesIO()
        self.dump(payload, file)
        return file.getvalue()

    def loads(self, data: Buffer) -> P:
        """The payload in `data`. Raises MalformedFile."""
        return self.load(open_buffer(data))

    def save(self, payload: P, target: object) -> None:
        """Write `payload` to a path, UPath or fsspec URL, completely or not at all; parent folders are created.

        Facts that the bytes cannot hold (`schema`) go into ``<target>.schema.json``. Raises PayloadNotRepresentable, OSError.
        """
        from persistable.fileio.location import place, without_passwords

        self.check(payload)
        schema = self.schema(payload)
        with without_passwords():
            at = place(target)
            self._dump_at(at, payload)
            if self._keeps_schema():
                at.write_schema(schema)

    def spec(self) -> dict[str, Any]:
        """``{"io": name, "options": {...}}``, from which `fileio_from_spec` rebuilds it. JSON-like and cached: do not change it."""
        spec: dict[str, Any] | None = self.__dict__.get("_spec")
        if spec is None:
            spec = {"io": _class_name(type(self)), "options": dict(_options(self))}
            object.__setattr__(self, "_spec", spec)  # also where a dataclass is frozen
        return spec

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileIO) and type(self) is type(other) and bool(self.spec() == other.spec())

    def __hash__(self) -> int:
        return hash((type(self), repr(self.spec())))

    def __repr__(self) -> str:
        options = self.spec()["options"]
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in options)})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_spec"}

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        load = cls.__dict__.get("load")
        if load is not None:
            cls.load = _opening(load)  # type: ignore[assignment,method-assign]
        for name in ("check", "schema", "dump", "dump_parts"):
            own = cls.__dict__.get(name)
            if own is not None and own not in _careful:
                setattr(cls, name, _writing(own))
        for name in ("load_part", "load_parts"):
            own = cls.__dict__.get(name)
            if own is not None:
                setattr(cls, name, _parsing(own))

    def _keeps_schema(self) -> bool:
        """Tell whether this format uses a schema file beside the payload's: a file called ``*.schema.json`` may be unrelated."""
        return type(self).with_schema is not FileIO.with_schema

    def _load_at(self, target: object) -> P:
        """Load the payload at a path or URL."""
        from persistable.fileio.location import place

        at = place(target)
        schema = at.read_schema() if self._keeps_schema() else None
        return (self if schema is None else self.with_schema(schema))._load_from(at)

    def _dump_at(self, at: Place, payload: P) -> None:
        with at.replacing() as file:
            self.dump(payload, file)

    def _load_from(self, at: Place) -> P:
        if self.maps:
            return self.loads(at.buffer(map_from=MAP_FROM if self.mmap else None))
        with at.open() as file:
            return self.load(file)

    def _refuse(self, reason: str, cause: BaseException | None = None) -> NoReturn:
        """Raise PayloadNotRepresentable; `reason` states the loss and its remedy."""
        name = type(self).__name__
        raise PayloadNotRepresentable(f"{name} would not give back exactly this payload: {reason}", format=name, reason=reason) from cause

    def _malformed(self, reason: str) -> MalformedFile:
        """The error for bytes that are truncated, damaged or of another format."""
        name = type(self).__name__
        return MalformedFile(f"not a whole file of {name}: {reason}", format=name)


def _opening(load: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Wrap a `load` for an open file to accept a path or URL too."""
    parse = _parsing(load)

    @functools.wraps(load)
    def load_anything(self: FileIO[Any], file: Any) -> Any:
        if not hasattr(file, "read") or isinstance(file, os.PathLike):
            from persistable.fileio.location import without_passwords

            with without_passwords():
                return self._load_at(file)  # pyright: ignore[reportPrivateUsage]
        return parse(self, file)

    return load_anything


def _parsing(load: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `load` to raise MalformedFile for the errors of parsers, and FormatError for other exceptions of libraries."""

    @functools.wraps(load)
    def parse(self: FileIO[Any], source: Any, *more: Any) -> Any:
        try:
            return load(self, source, *more)
        except (PersistableError, MemoryError):  # some of these are ValueErrors or LookupErrors as well
            raise
        except OSError as error:
            if error.errno is not None:  # an error of the system; those of parsers have no number
                raise
            raise self._malformed(f"{type(error).__name__}: {error}") from error  # pyright: ignore[reportPrivateUsage]
        except _UNREADABLE as error:
            raise self._malformed(f"{type(error).__name__}: {error}") from error  # pyright: ignore[reportPrivateUsage]
        except Exception as error:
            name = type(self).__name__
            raise FormatError(f"{name} cannot read this file: {type(error).__name__}: {error}", format=name) from error

    return parse


_careful: set[Callable[..., Any]] = set()


def careful(dump: Callable[..., None]) -> Callable[..., None]:
    """Mark a `dump` that raises PayloadNotRepresentable itself for all errors of libraries, and so is not wrapped."""
    _careful.add(dump)
    return dump


def _writing(dump: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `dump` or another method that writes to raise PayloadNotRepresentable for the errors of libraries."""

    @functools.wraps(dump)
    def write(self: FileIO[Any], payload: Any, *more: Any) -> Any:
        try:
            return dump(self, payload, *more)
        except (PersistableError, MemoryError):
            raise
        except OSError as error:
            if error.errno is not None:
                raise
            _cannot_write(self, payload, error)
        except Exception as error:  # noqa: BLE001 - any error here is about this payload
            _cannot_write(self, payload, error)

    return write


def _cannot_write(io_: FileIO[Any], payload: Any, error: Exception) -> NoReturn:
    name = type(io_).__name__
    kind = f"{type(payload).__module__}.{type(payload).__qualname__}".removeprefix("builtins.")
    raise PayloadNotRepresentable(
        f"{name} cannot write this {kind}: {type(error).__name__}: {error}", format=name, reason=f"{type(error).__name__}: {error}"
    ) from error


def _class_name(cls: type) -> str:
    """The name of a format in specs, thus in records and some keys: ours have short names, so that a moved module changes neither."""
    ours = cls.__module__.startswith("persistable.") and cls.__dict__.get("name")
    return ours or f"{cls.__module__}:{cls.__qualname__}"


def _options(io_: FileIO[Any]) -> Iterator[tuple[str, Any]]:
    """The constructor's keywords with non-default attributes, as JSON. Without `inspect`, whose import every process would pay for."""
    init: Any = type(io_).__init__
    code = getattr(init, "__code__", None)
    if code is None:
        return
    count = code.co_argcount
    names = code.co_varnames[1 : count + code.co_kwonlyargcount]
    defaults = dict(zip(code.co_varnames[count - len(init.__defaults__ or ()) : count], init.__defaults__ or (), strict=True))
    defaults.update(init.__kwdefaults__ or {})
    for name in names:
        if not hasattr(io_, name):
            kind = type(io_).__name__
            raise FormatError(f"{kind} does not keep its option {name!r}: set self.{name} in __init__", format=kind)
        value = getattr(io_, name)
        if name not in defaults or type(value) is not type(defaults[name]) or value != defaults[name]:
            yield name, _as_json(value, f"{type(io_).__name__}.{name}")


def _as_json(value: Any, path: str) -> Any:
    if isinstance(value, FileIO):
        return value.spec()
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (list, tuple)):
        return [_as_json(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping) and all(type(name) is str for name in value):
        return {name: _as_json(item, f"{path}.{name}") for name, item in value.items()}
    found = type(value).__name__
    raise FormatError(f"the option {path} is a {found}, which no record can hold; use JSON-like values or a FileIO", format=path)


class Allocation(Protocol):
    """An uncommitted file whose arrays are filled in place."""

    def array(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A new zeroed array mapped in the file (a shared mapping: its pages belong to the page cache, not to private memory).
        Raises OSError (ENOSPC) at once if the disk cannot hold it."""
        ...

    def seal(self, payload: Any) -> bool:
        """Complete the file for `payload`, whose large buffers may be in arrays from `array`; False if the payload uses none of them.
        After True, writes to the arrays change memory only, never the file."""
        ...

    def close(self) -> None:
        """Release the file. Arrays stay usable."""
        ...


class BufferFileIO(FileIO[P]):
    """A format that is read from one buffer, into which its payload may be a view. A new one needs a `suffix`, `dump` and `loads`."""

    maps = True

    def __init__(self, mmap: bool = True) -> None:
        self.mmap = mmap

    def load(self, file: Any) -> P:
        return self.loads(read_all(file))

    @abstractmethod
    def loads(self, data: Buffer) -> P:
        """The payload in `data`. Raises MalformedFile."""


class PartsFileIO(FileIO[P]):
    """A format whose payload is several files under one folder. A new one needs a `suffix`, `dump_parts` and `load_parts`.

    In a store each part is a file; `save` and `load` take a folder's path or URL. `save` replaces a folder there: a local one in one
    step; elsewhere all parts are made first, then copied one by one. As one stream (`dump`, `dumps`) the parts become an uncompressed zip
    with fixed dates.
    """

    @abstractmethod
    def dump_parts(self, payload: P, create: Callable[[str], AbstractContextManager[BinaryIO]]) -> None:
        """Write every part, one by one, each into the file that `create(name)` opens. Names are relative and ``/``-separated."""

    @abstractmethod
    def load_parts(self, parts: Parts) -> P:
        """Load the payload from `parts`. Raises MalformedFile."""

    def dump(self, payload: P, file: BinaryIO) -> None:
        from persistable.fileio.parts import ZipWriter

        with ZipWriter(file) as archive:
            self.dump_parts(payload, archive.create)

    def load(self, file: Any) -> P:
        from persistable.fileio.parts import ZipParts

        return self.load_parts(ZipParts(file, type(self).__name__))

    def _dump_at(self, at: Place, payload: P) -> None:
        from persistable.fileio.parts import replacing_folder

        with replacing_folder(at) as create:
            self.dump_parts(payload, create)

    def _load_from(self, at: Place) -> P:
        from persistable.fileio.parts import folder_parts

        # a file may be a zip from `dump`
        return self.load_parts(folder_parts(at)) if at.is_folder() else super()._load_from(at)


class Parts(Protocol):
    """The committed files of one payload."""

    def names(self) -> list[str]:
        """Their names, relative to the folder and ``/``-separated."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open one for reading. Raises PayloadCorrupted, FileNotFoundError."""
        ...

    def folder(self) -> Path:
        """A local folder with all of them; read-only: the files belong to the store."""
        ...


def open_buffer(data: Buffer) -> BinaryIO:
    """`data` as a readable, seekable file, without a copy."""
    return io.BytesIO(data) if type(data) is bytes else io.BufferedReader(_BufferReader(data))


def read_all(file: Any) -> bytearray:
    """Read the rest of an open binary file into one writable buffer, filled in place where the size is known."""
    try:
        start = file.tell()
        size = file.seek(0, io.SEEK_END) - start
        file.seek(start)
    except (OSError, AttributeError):
        data = bytearray()
        while piece := file.read(1 << 20):
            data += piece
        return data
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        count = file.readinto(view[at:]) if hasattr(file, "readinto") else _read_into(file, view[at:])
        if not count:
            break
        at += count
    view.release()
    del data[at:]
    return data


def _read_into(file: Any, view: memoryview) -> int:
    piece = file.read(min(len(view), 1 << 24))
    view[: len(piece)] = piece
    return len(piece)


class _BufferReader(SeekableReader):
    def __init__(self, data: Buffer) -> None:
        self._view = memoryview(data).cast("B")
        super().__init__(len(self._view))

    def readinto(self, into: Any) -> int:
        target = memoryview(into).cast("B")
        piece = self._view[self._at : self._at + len(target)]
        target[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def readall(self) -> bytes:
        piece = self._view[self._at :]
        self._at += len(piece)
        return bytes(piece)


class Sink(io.RawIOBase):
    """A complete writable file, as zip, Arrow and zstd expect it, over any object with `write`. Closing it leaves that open."""

    def __init__(self, file: Any) -> None:
        self._write = file.write
        self._at = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        self._write(data)
        self._at += size
        return size

    def __enter__(self) -> Self:
        return self
