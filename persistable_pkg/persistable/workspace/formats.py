"""Which format a stored seed or node has: by what `stored` says, else by suffix and declared type together."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

from persistable.errors import UnknownFormat
from persistable.fileio import BytesFileIO, fileio_for
from persistable.fileio.base import FileIO, PartsFileIO
from persistable.fileio.scalar import KINDS, ScalarFileIO
from persistable.template import Template

_GIVES: dict[str, tuple[str, ...]] = {
    "BytesFileIO": ("builtins.bytes",),
    "CsvFileIO": ("pandas.DataFrame",),
    "JsonFileIO": ("builtins.int", "builtins.float", "builtins.bool", "builtins.str", "builtins.dict", "builtins.list"),
    "NumpyFileIO": ("numpy.ndarray",),
    "TextFileIO": ("builtins.str",),
    "YamlFileIO": ("builtins.int", "builtins.float", "builtins.bool", "builtins.str", "builtins.dict", "builtins.list"),
}
"""The results of formats that give one kind of thing."""


def format_of_seed(template: Template, kind: Any) -> FileIO[Any]:
    """The format of files that people put there. Tables have no index of their own."""
    if _plain(kind) is Path and not template.is_folder:
        return BytesFileIO()  # of which the path is taken, and not the content
    found = _chosen(template, kind, None)
    if type(found).__name__ == "CsvFileIO":
        from persistable.fileio import CsvFileIO

        return CsvFileIO(index=False)
    return found


def format_of_node(template: Template, kind: Any, own: Any) -> FileIO[Any]:
    """The format of a computed node; `own` is the ``io`` of its step or class."""
    return _chosen(template, kind, own)


def _chosen(template: Template, kind: Any, own: Any) -> FileIO[Any]:
    name = template.text.rstrip("/").rpartition("/")[2]
    origin = _plain(kind)
    if template.is_folder:
        return own if isinstance(own, PartsFileIO) else fileio_for(Path)  # pyright: ignore[reportUnknownVariableType]
    found = _by_suffix(name)
    if isinstance(own, FileIO) and (found is None or type(found) is type(own)):  # pyright: ignore[reportUnknownArgumentType]
        return own  # pyright: ignore[reportUnknownVariableType]
    scalar = getattr(origin, "__name__", "") if origin in KINDS.values() else ""
    if found is None:
        if scalar:
            return ScalarFileIO(scalar)
        if origin is None:
            raise UnknownFormat(
                f"neither the suffix of {name!r} nor a declared type says what its format is; "
                "give io=, for example io=JsonFileIO(), or declare the type",
                format=name,
            )
        return fileio_for(kind)
    if origin is Path and not isinstance(found, PartsFileIO):
        raise UnknownFormat(
            f"{name!r} would be one file, and a Path that is computed is a folder; end the template in '/'", format=type(found).__name__
        )
    if type(found).__name__ == "TextFileIO" and scalar not in ("", "str"):
        return ScalarFileIO(scalar)
    _agree(found, origin, name)
    return found


def _by_suffix(name: str) -> FileIO[Any] | None:
    suffix = name[name.rfind("}") + 1 :]  # dots in front of a field, or in it, begin no suffix
    if "." not in suffix:
        return None
    try:
        return fileio_for(suffix)
    except UnknownFormat:
        return None


def _agree(found: FileIO[Any], origin: Any, name: str) -> None:
    gives = _GIVES.get(type(found).__name__)
    known = {each for several in _GIVES.values() for each in several}
    wanted = f"{origin.__module__.partition('.')[0]}.{origin.__qualname__}" if isinstance(origin, type) else ""
    if gives is not None and wanted in known and wanted not in gives:
        raise UnknownFormat(
            f"by its suffix {name!r} would be of {type(found).__name__}, which gives no {origin.__name__}; "
            "choose another suffix, or give io=",
            format=type(found).__name__,
        )


def _plain(kind: Any) -> Any:
    """The class behind an annotation; None for one that says nothing."""
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    origin = typing.get_origin(kind) or kind
    return origin if isinstance(origin, type) and origin is not object else None
