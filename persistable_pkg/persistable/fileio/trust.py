"""Formats that a record may name without a declaration: those whose files hold data only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn, cast

from persistable.errors import FormatError, PayloadCorrupted, PayloadUntrusted
from persistable.fileio.base import FileIO
from persistable.fileio.registry import fileio_from_spec, plain_name

SAFE = frozenset({
    "ArrowFileIO", "BundleFileIO", "BytesFileIO", "CompressedFileIO", "CsvFileIO", "FigureFileIO", "FolderFileIO", "JsonFileIO",
    "NumpyFileIO", "ParquetFileIO", "SafetensorsFileIO", "ScalarFileIO", "TextFileIO", "YamlFileIO", "ZarrFileIO",
})  # fmt: skip
"""Formats whose files are read without running code that a file names. Those that contain other formats are as safe as these."""
_DEEPEST = 20


def declared_format(spec: Any, declared: FileIO[Any] | None, key: Any, trusted: bool = False) -> FileIO[Any]:
    """The format of a `spec` in a record, if each format in it is in `declared` or safe, or the record is `trusted`.

    Raises PayloadUntrusted otherwise, PayloadCorrupted for an invalid spec.
    """
    try:
        names = list(_names(spec))
    except (TypeError, KeyError, ValueError) as error:
        _damaged(key, spec, error)
    known = SAFE | set(_names(declared.spec()) if declared is not None else ())
    for name in names:
        if name not in known and not trusted:
            raise PayloadUntrusted(
                f"{key} was stored by {name}, which the node does not declare, and a record may choose no format that can run code; "
                "nothing of the file was read. generate() makes it again by the format that is declared. If you trust its author, "
                f"declare that format, which is no part of identity: payload_io={name.rpartition(':')[2]}(...); or let them sign, and open "
                "the store with trust=",
                key=key,
                format=name,
            )
    try:
        return fileio_from_spec(spec)
    except (TypeError, ValueError, LookupError, AttributeError, FormatError) as error:
        _damaged(key, spec, error)


def is_safe(io: FileIO[Any]) -> bool:
    """Tell whether reading a file of `io` runs no code that the file names."""
    return SAFE.issuperset(_names(io.spec()))


def with_schema(io: FileIO[Any], schema: Any, key: Any) -> FileIO[Any]:
    """`io`, set to load by the schema in a record. Raises PayloadCorrupted for an invalid schema."""
    try:
        if not isinstance(schema, dict):
            raise TypeError(f"it is a {type(schema).__name__}")
        return io.with_schema(cast("dict[str, Any]", schema))
    except (TypeError, ValueError, LookupError, AttributeError, FormatError) as error:
        _damaged(key, schema, error)


def _names(spec: Any, depth: int = 0) -> Iterator[str]:
    """The names of the format of a spec and of those in its options."""
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    name, options = spec["io"], spec.get("options", {})
    if not isinstance(name, str) or not isinstance(options, dict):
        raise TypeError("it is no format")
    yield plain_name(name)
    yield from _inner(options, depth)


def _inner(value: Any, depth: int) -> Iterator[str]:
    container: Any = value.__class__
    if container is dict and value.keys() == {"io", "options"} and isinstance(value["io"], str):
        yield from _names(value, depth + 1)
    elif container is dict or container is list:
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        for item in value.values() if container is dict else value:
            yield from _inner(item, depth + 1)


def _damaged(key: Any, spec: Any, error: Exception) -> NoReturn:
    raise PayloadCorrupted(
        f"the record of {key} names a format that means nothing ({type(error).__name__}: {error}); generate it again to replace it",
        key=key,
        expected="a format",
        found=repr(spec)[:200],
    ) from error
