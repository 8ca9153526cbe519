"""Check, before any work is done, that the format of a node can store its declared payload."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Generator, Iterable, Iterator
from typing import Any

from persistable.errors import FormatError, MissingExtra, PayloadNotRepresentable
from persistable.fileio.base import FileIO
from persistable.nodes.declared_type import written
from persistable.nodes.types import Node
from persistable.params.class_tables import ClassTable

_JSON = ("builtins.dict", "builtins.list", "builtins.str", "builtins.int", "builtins.float", "builtins.bool", "builtins.NoneType")
_FRAMES = ("pandas.DataFrame", "pandas.Series", "polars.DataFrame", "polars.Series", "pyarrow.RecordBatch", "pyarrow.Table")
_TAKEN = {
    "ArrowFileIO": _FRAMES,
    "BundleFileIO": ("builtins.dict",),
    "BytesFileIO": ("builtins.bytes",),
    "CsvFileIO": ("pandas.DataFrame",),
    "JsonFileIO": _JSON,
    "NumpyFileIO": ("numpy.ndarray",),
    "ParquetFileIO": _FRAMES,
    "SafetensorsFileIO": ("builtins.dict", "torch.Tensor"),
    "TextFileIO": ("builtins.str",),
    "YamlFileIO": _JSON,
}
"""Types that formats of this library restore exactly; other formats are not checked."""
_known = {True: ClassTable(), False: ClassTable()}
"""The format of each class that passed the check: by whether the packages that it needs were checked as well."""
accepted_io: dict[int, Any] = _known[True].found
"""The `io` that `check` has accepted, by ``id`` of the class."""


def check(node: Node) -> None:
    """Raise MissingExtra or PayloadNotRepresentable if the payload of `node` surely cannot be stored in its format."""
    error = refusal(node)
    if error is not None:
        raise error


def refusal(node: Node, packages: bool = True) -> FormatError | None:
    """The error of `check`, None if there is none. packages: whether the packages that the format needs must be installed."""
    kind: type = node.__class__
    known = _known[packages]
    if known.found.get(id(kind), known) is node.io:
        return None
    io: FileIO[Any] = node._node_format()
    if packages:
        try:
            io.require()
        except MissingExtra as error:
            return error
    misfit = _misfit(node, io, "declare another format (io=) or another type; nothing was computed")
    if misfit is None:
        known.set(kind, node.io)
    return misfit


def check_file(node: Node, io: FileIO[Any], file: str) -> None:
    """Raise PayloadNotRepresentable if `io` surely cannot read a payload of the type that `node` declares from `file`."""
    misfit = _misfit(node, io, f"{file} cannot be a payload of it")
    if misfit is not None:
        raise misfit


def _misfit(node: Node, io: FileIO[Any], what_then: str) -> PayloadNotRepresentable | None:
    for declared in node._node_declared_payloads():
        reason = why_not(io, declared)
        if reason:
            name = type(io).__name__
            text = f"the payload of {node.key} is declared to be {written(declared)}, which {name} cannot give back: {reason}; {what_then}"
            return PayloadNotRepresentable(text, format=name, reason=reason)
    return None


def why_not(io: Any, declared: Any) -> str:
    """The reason why no payload of a declared type can be stored; empty if one might."""
    name = type(io).__name__
    if name == "CompressedFileIO" and hasattr(io, "inner"):
        return why_not(io.inner, declared)
    if not type(io).__module__.startswith("persistable."):
        return ""
    taken = (f"builtins.{io.kind}",) if name == "ScalarFileIO" else _TAKEN.get(name)
    return "" if taken is None else _refused(_of_items(declared), taken, taken is _JSON)


def _of_items(declared: Any) -> Any:
    """The type of a stored payload: that of the items, if they are yielded."""
    declared = _plain(declared)
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if origin in (Iterator, Iterable, Generator):
        pair = arguments[0] if arguments else Any
        inner = typing.get_args(pair) if typing.get_origin(pair) is tuple else ()
        return inner[1] if len(inner) == 2 else Any
    if getattr(origin, "__name__", "") == "Collected":
        return arguments[0] if arguments else Any
    return declared


def _plain(kind: Any) -> Any:
    from persistable.fileio.registry import plain  # asked once for a class, and not needed to import it

    return plain(kind)


def _refused(kind: Any, taken: tuple[str, ...], deep: bool) -> str:
    kind = _plain(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Union or origin is types.UnionType:
        reasons = [_refused(each, taken, deep) for each in arguments if each is not type(None)]
        return reasons[0] if reasons and all(reasons) else ""
    cls: Any = origin or kind
    if not isinstance(cls, type) or typing.is_typeddict(cls) or cls is type(None) or _stands_for_another(cls):
        return ""
    if not any(_may_be(cls, name) for name in taken):
        return f"it takes {', '.join(name.removeprefix('builtins.') for name in taken)}"
    if deep and cls is dict and len(arguments) == 2:
        key = _plain(arguments[0])
        if isinstance(key, type) and not (issubclass(str, key) or issubclass(key, str)):
            return f"its keys are of type {key.__qualname__}, and JSON's keys are strings"
        return _refused(arguments[1], taken, deep)
    return _refused(arguments[0], taken, deep) if deep and cls is list and arguments else ""


def _stands_for_another(cls: type) -> bool:
    """Tell whether a returned `cls` is not the payload itself, but a file, a number of rows or an iterator of items."""
    return cls.__module__.partition(".")[0] == "persistable" or cls in (Iterator, Iterable, Generator)


def _may_be(cls: type, name: str) -> bool:
    """Tell whether a value declared as `cls` may be of the class `name`; modules that are not loaded are not imported."""
    top, _, qualname = name.partition(".")
    if any(base.__qualname__ == qualname and base.__module__.partition(".")[0] == top for base in cls.__mro__):
        return True
    if cls is object or cls.__module__ in ("typing", "typing_extensions", "collections.abc", "abc") or getattr(cls, "_is_protocol", False):
        return True
    other = type(None) if name == "builtins.NoneType" else getattr(sys.modules.get(top), qualname, None)
    try:
        return isinstance(other, type) and issubclass(other, cls)
    except TypeError:
        return True
