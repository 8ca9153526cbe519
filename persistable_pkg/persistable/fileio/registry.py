"""The choice of a format for a type or suffix, and formats from their specs in records."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import importlib
import os
import typing
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from persistable.errors import UnknownFormat
from persistable.fileio import HOMES
from persistable.fileio.base import FileIO
from persistable.params import extensions

Factory = Callable[[], FileIO[Any]]

_MODULES = {name: module for module, names in HOMES.items() for name in names if name.endswith("FileIO")}
"""The module of each format."""
_FORMER = {"persistable.workspace.scalars:ScalarFileIO": "ScalarFileIO"}
"""Current names of formats by those in records of earlier versions."""

_types: dict[str, str | Factory] = {
    "numpy:ndarray": "NumpyFileIO",
    "pandas:DataFrame": "ParquetFileIO",
    "pandas:Series": "ParquetFileIO",
    "polars:DataFrame": "ParquetFileIO",
    "polars:Series": "ParquetFileIO",
    "pyarrow:RecordBatch": "ArrowFileIO",
    "pyarrow:Table": "ArrowFileIO",
    "xarray:DataArray": "ZarrFileIO",
    "xarray:Dataset": "ZarrFileIO",
    "torch:Tensor": "SafetensorsFileIO",
    "builtins:str": "TextFileIO",
    "builtins:bytes": "BytesFileIO",
    "matplotlib:Figure": "FigureFileIO",
    "persistable:SavedFigure": "FigureFileIO",
    "pathlib:Path": "FolderFileIO",
    "pathlib:PosixPath": "FolderFileIO",
    "pathlib:WindowsPath": "FolderFileIO",
}
"""Formats by top package and class name: by name, so that nothing is imported for a lookup."""

_suffixes: dict[str, str | Factory] = {
    ".pickle": "PickleFileIO",
    ".pkl": "PickleFileIO",
    ".npy": "NumpyFileIO",
    ".parquet": "ParquetFileIO",
    ".arrow": "ArrowFileIO",
    ".feather": "ArrowFileIO",
    ".csv": "CsvFileIO",
    ".json": "JsonFileIO",
    ".yaml": "YamlFileIO",
    ".yml": "YamlFileIO",
    ".txt": "TextFileIO",
    ".md": "TextFileIO",
    ".bin": "BytesFileIO",
    ".safetensors": "SafetensorsFileIO",
    ".zarr": "ZarrFileIO",
    ".folder": "FolderFileIO",
    ".pdf": "FigureFileIO",
    ".svg": "FigureFileIO",
    ".png": "FigureFileIO",
}
_CODECS = {".zst": "zstd", ".gz": "gzip"}
_SCALARS = (int, float, bool, type(None))
_registered: dict[Any, Factory] = {}


def fileio_for(type_or_suffix: Any) -> FileIO[Any]:
    """The format for a declared payload type, or for a suffix (``".csv"``, ``".csv.zst"``, or a file name or path that ends in one).

    An unregistered type, `Any` and unions get PickleFileIO. Raises UnknownFormat, which lists the known ones, for an unknown suffix.
    """
    if isinstance(type_or_suffix, (str, os.PathLike)):
        return _by_suffix(os.fspath(type_or_suffix))
    return _by_type(type_or_suffix)


def register_fileio(factory: Factory, *, types: Iterable[type | str] = (), suffixes: Iterable[str] = (), replace: bool = False) -> None:
    """Make `fileio_for` return `factory()` for these types (classes, or ``"module:Qualname"`` to import nothing) and suffixes.

    It takes precedence over the built-in choice. A class does not include its subclasses. Worker processes of this one get it too. An
    installed package can register by entry points of the group ``persistable.formats``, whose names are suffixes or types.

    Raises RegistrationError where another factory is registered, unless `replace`.
    """
    for kind in types:
        extensions.register("formats", kind, factory, replace)
        _registered[kind] = factory
    for suffix in suffixes:
        if not suffix.startswith(".") or "/" in suffix:
            raise ValueError(f"a suffix starts with a dot and has no '/', unlike {suffix!r}")
        extensions.register("formats", suffix.lower(), factory, replace)
        _suffixes[suffix.lower()] = factory


def fileio_from_spec(spec: dict[str, Any]) -> FileIO[Any]:
    """The format of a spec from `FileIO.spec`. Raises UnknownFormat if its class cannot be found."""
    name, options = spec["io"], spec.get("options", {})
    made = format_class(name)(**{option: _option(value) for option, value in options.items()})
    if not isinstance(made, FileIO):
        raise UnknownFormat(f"{name} is not a FileIO", format=name)
    return made


def plain_name(name: str) -> str:
    """The current name of a format."""
    return _FORMER.get(name, name)


def format_class(name: str) -> Any:
    """The class of a name such as ``CsvFileIO`` or ``module:Qualname``. Raises UnknownFormat."""
    name = plain_name(name)
    module, _, qualname = name.rpartition(":")
    if not module:
        if name not in _MODULES:
            raise UnknownFormat(
                f"there is no format {name!r}; known are {', '.join(sorted(_MODULES))}, and 'module:Class' of others", format=name
            )
        module, qualname = f"persistable.fileio.{_MODULES[name]}", name
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UnknownFormat(
            f"the format {name!r} cannot be found: {error}; import or install the package that defines it", format=name
        ) from error
    return found


def _option(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"io", "options"} and isinstance(value["io"], str):
            return fileio_from_spec(value)
        return {name: _option(item) for name, item in value.items()}
    return [_option(item) for item in value] if isinstance(value, list) else value


def _by_suffix(name: str) -> FileIO[Any]:
    base = name.replace("\\", "/").rpartition("/")[2].lower()
    found = _ending(base, _suffixes.get) or _ending(base, partial(extensions.load, "formats"))
    if found is not None:
        return found
    known = ", ".join(sorted({*_suffixes, *[name for name in extensions.entries("formats") if name.startswith(".")]}))
    raise UnknownFormat(f"no format is known for {name!r}; known are {known}, each also with .zst or .gz", format=name)


def _ending(base: str, known: Callable[[str], Any]) -> FileIO[Any] | None:
    """The format of the longest `known` suffix of a file name, ".csv.zst" before ".zst"; None where there is none."""
    for start in (index for index, character in enumerate(base) if character == "."):
        suffix = base[start:]
        if (choice := known(suffix)) is not None:
            return _made(choice, suffix)
        inner, dot, last = suffix.rpartition(".")
        if dot + last in _CODECS and (choice := known(inner)) is not None:
            from persistable.fileio.compressed import CompressedFileIO

            return CompressedFileIO(_made(choice, inner), "zstd" if last == "zst" else "gzip")
    return None


def _made(choice: str | Factory, suffix: str = "") -> FileIO[Any]:
    if not isinstance(choice, str):
        return choice()
    cls = format_class(choice)
    made: FileIO[Any] = cls(suffix[1:]) if choice == "FigureFileIO" and suffix else cls()
    return made


def _by_type(kind: Any) -> FileIO[Any]:
    kind = plain(kind)
    origin = typing.get_origin(kind) or kind
    for asked in (kind, origin):
        try:
            if asked in _registered:
                return _registered[asked]()
        except TypeError:  # unhashable, so never registered
            pass
    if isinstance(origin, type):
        name = f"{origin.__module__}:{origin.__qualname__}"
        if name in _registered:
            return _registered[name]()
        known = _types.get(f"{origin.__module__.partition('.')[0]}:{origin.__qualname__}")
        if known == "NumpyFileIO" and _of_objects(kind):
            known = None
        if known is not None:
            return _made(known)
    if _json_like(kind):
        return _made("JsonFileIO")
    if _named_arrays(kind):
        return _made("SafetensorsFileIO")
    return _format_from_package(origin) or _made("PickleFileIO")


def _named_arrays(kind: Any) -> bool:
    """Tell whether a type is a dict of text to tensors, or to arrays of numbers or of no given dtype."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is not dict or len(arguments) != 2 or plain(arguments[0]) is not str:
        return False
    array = plain(arguments[1])
    origin: Any = typing.get_origin(array) or array
    name = f"{getattr(origin, '__module__', '')}:{getattr(origin, '__qualname__', '')}"
    if name != "numpy:ndarray":
        return name == "torch:Tensor"
    inner = typing.get_args(array)
    scalar = typing.get_args(inner[1]) if len(inner) == 2 else ()
    return not (scalar and getattr(scalar[0], "__name__", "") in _NO_NUMBERS)


_NO_NUMBERS = ("object_", "str_", "bytes_", "datetime64", "timedelta64", "void", "longdouble", "clongdouble", "complex128")
"""Scalar types that safetensors does not support."""


def _format_from_package(kind: Any) -> FileIO[Any] | None:
    """The format that an installed package provides for a class; None without one."""
    if not isinstance(kind, type) or kind.__module__ == "builtins":
        return None
    for name in (f"{kind.__module__}:{kind.__qualname__}", f"{kind.__module__.partition('.')[0]}:{kind.__qualname__}"):
        factory = extensions.load("formats", name)
        if factory is not None:
            return _made(factory)
    return None


def plain(kind: Any) -> Any:
    """`kind` without Annotated, NewType and type aliases; NoneType for None."""
    while True:
        if typing.get_origin(kind) is typing.Annotated:
            kind = typing.get_args(kind)[0]
        elif isinstance(kind, typing.NewType):
            kind = kind.__supertype__
        elif type(kind).__name__ == "TypeAliasType":
            kind = kind.__value__
        elif type(typing.get_origin(kind)).__name__ == "TypeAliasType":  # NDArray[float64], of newer numpy
            kind = typing.get_origin(kind).__value__[typing.get_args(kind)]
        else:
            return type(None) if kind is None else kind


def _of_objects(kind: Any) -> bool:
    """Tell whether an array type is known to hold Python objects: ``ndarray[shape, dtype[object_]]``."""
    arguments = typing.get_args(kind)
    scalar = typing.get_args(arguments[1]) if len(arguments) == 2 else ()
    return bool(scalar) and getattr(scalar[0], "__name__", "") in ("object_", "object")


def _json_like(kind: Any) -> bool:
    """Tell whether JSON keeps every value of this type: scalars, and lists and dicts of such."""
    kind = plain(kind)
    if any(kind is known for known in (*_SCALARS, str, list, dict)):
        return True
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return _json_like(arguments[0])
    return origin is dict and arguments[0] is str and _json_like(arguments[1])
