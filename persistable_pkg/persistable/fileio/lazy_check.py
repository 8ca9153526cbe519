"""Checks for payloads that only refer to their content: iterators, open files, and arrays and tables that are not computed yet.

Stored as they are, they would be empty at the second read, or refer to files that may change or be removed. They are recognized by
protocol and name, so that nothing is imported for the check.
"""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from types import FunctionType
from typing import Any

from persistable.errors import PayloadNotRepresentable

PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray})
"""Types whose values hold exactly their content."""
_HOLDERS = frozenset({dict, list, tuple, set, frozenset})
_SHALLOW = 2
SOME = 200
"""Number of items of a container that are checked, two levels deep; a pickler checks all objects at any depth."""
_NAMED = {
    "polars.LazyFrame": "call .collect()",
    "zarr.Array": "read it: array[...]",
    "zarr.AsyncArray": "read it: array[...]",
    "zarr.Group": "read its arrays: {name: group[name][...] for name in group}, with io=ZarrFileIO()",
    "h5py.Dataset": "read it: dataset[()]",
    "h5py.Group": "read its datasets: {name: group[name][()] for name in group}",
    "h5py.File": "read its datasets: {name: file[name][()] for name in file}",
    "netCDF4.Dataset": "read its variables: variable[...]",
    "pyarrow.RecordBatchReader": "call .read_all()",
    "pyarrow.Dataset": "call .to_table()",
    "pyarrow.FileSystemDataset": "call .to_table()",
    "pyarrow.InMemoryDataset": "call .to_table()",
    "pyarrow.UnionDataset": "call .to_table()",
    "pyarrow.Scanner": "call .to_table()",
    "pyarrow.ParquetFile": "call .read()",
    "pyarrow.ParquetDataset": "call .read()",
    "duckdb.DuckDBPyRelation": "call .df() or .arrow()",
    "_duckdb.DuckDBPyRelation": "call .df() or .arrow()",
    "xarray.LazilyIndexedArray": "call .load() of the object that holds it",
    "xarray.LazilyVectorizedIndexedArray": "call .load() of the object that holds it",
    "distributed.Future": "call .result()",
    "asyncio.Future": "await it",
    "asyncio.Task": "await it",
    "concurrent.Future": "call .result()",
    "builtins.coroutine": "await it, for example with asyncio.run(...)",
    "builtins.async_generator": "collect what it gives: [item async for item in it]",
    "socket.socket": "return what was received",
}
_CLASSES = (
    ("polars.lazyframe.frame", "LazyFrame"),
    ("zarr.core.array", "Array"),
    ("zarr.core.group", "Group"),
    ("dask.array.core", "Array"),
    ("dask.bag.core", "Bag"),
    ("dask.delayed", "Delayed"),
    ("dask.delayed", "DelayedLeaf"),
    ("dask.dataframe.core", "DataFrame"),
    ("dask.dataframe.core", "Series"),
    ("dask.dataframe.dask_expr._collection", "DataFrame"),
    ("dask.dataframe.dask_expr._collection", "Series"),
    ("dask.dataframe.dask_expr._collection", "Index"),
    ("dask_expr._collection", "DataFrame"),
    ("dask_expr._collection", "Series"),
    ("pyarrow.dataset", "Dataset"),
    ("pyarrow.dataset", "FileSystemDataset"),
    ("pyarrow.dataset", "UnionDataset"),
    ("pyarrow.dataset", "InMemoryDataset"),
    ("xarray.core.indexing", "LazilyIndexedArray"),
    ("xarray.core.indexing", "LazilyVectorizedIndexedArray"),
)
"""Module and name of such classes that pickle accepts."""


def check_content(payload: Any, format_: str) -> None:
    """Raise PayloadNotRepresentable if `payload`, or an item up to two levels below, only refers to its content."""
    if payload.__class__ not in PLAIN:
        _look(payload, "it", 0, format_)


def _look(value: Any, place: str, depth: int, format_: str) -> None:
    kind = value.__class__
    if kind in PLAIN:
        return
    reason = "" if kind in _HOLDERS else why_lazy(value)
    if reason:
        raise refusal(value, reason, format_, place)
    if depth >= _SHALLOW:
        return
    if kind is dict:
        for name, item in islice(value.items(), SOME):
            _look(item, f"its item {name!r:.40}", depth + 1, format_)
    elif kind is list or kind is tuple:
        for number, item in enumerate(islice(value, SOME)):
            _look(item, f"its item {number}", depth + 1, format_)


def refusal(value: Any, reason: str, format_: str, place: str = "something in it") -> PayloadNotRepresentable:
    """The error for a value that only refers to its content."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return PayloadNotRepresentable(f"{place} is a {kind}, {reason}", format=format_, reason=reason)


def why_lazy(value: Any) -> str:
    """The reason why `value` cannot be kept, with advice; empty where it can be."""
    cls = type(value)
    for base in cls.__mro__:
        known = _NAMED.get(f"{base.__module__.partition('.')[0]}.{base.__name__}")
        if known is not None:
            return f"which only refers to content elsewhere: {known}"
    if hasattr(cls, "__dask_graph__") and value.__dask_graph__() is not None:
        return "which is not computed yet: call .compute()"
    if cls.__module__.partition(".")[0] == "xarray" and _is_unread(value):
        return "which refers to a file and has not read it: call .load()"
    if hasattr(cls, "fetchall") and hasattr(cls, "execute"):
        return "which is empty once it was read: return .fetchall()"
    if isinstance(value, Iterator):
        return _why_iterator(value)
    return ""


def _why_iterator(value: Any) -> str:
    if hasattr(value, "fileno"):
        try:
            value.fileno()
        except (OSError, ValueError, AttributeError):
            return ""  # in memory: its content is kept
        return "which is an open file: return its content, such as .read()"
    cls = type(value)
    own = any(
        type(base.__dict__.get(name)) is FunctionType for base in cls.__mro__ for name in ("__reduce__", "__reduce_ex__", "__getstate__")
    )
    if own:  # its class defines its pickle
        return ""
    if cls.__module__.partition(".")[0] == "io" or cls.__module__ == "_io":
        return ""
    return "which is empty once it was read: return list(...) of it, or yield (key, payload) for each item"


def _is_unread(value: Any) -> bool:
    from persistable.params.scientific import is_unread

    variables: Any = getattr(value, "variables", None)  # of a Dataset
    inner = [getattr(value, "variable", value)] if variables is None else list(dict(variables).values())
    return any(map(is_unread, inner))


def refusing_reducers(format_: str) -> dict[type, Any]:
    """The reducers of a pickler that raise for iterators and uncomputed values anywhere in a payload."""

    def refuse(value: Any) -> Any:
        reason = why_lazy(value)
        if not reason:
            return value.__reduce_ex__(5)
        raise refusal(value, reason, format_)

    import itertools

    kinds: list[type] = [map, zip, filter, enumerate, reversed]
    empty: list[Any] = [[], (), "", b"", {}, set(), range(0), bytearray(), {}.values(), {}.items()]
    kinds += [type(iter(some)) for some in empty]
    kinds += [type(iter(int, 0)), type(reversed([])), type(iter("é"))]
    kinds += [kind for kind in vars(itertools).values() if isinstance(kind, type)]
    for module, name in _CLASSES:
        found = getattr(sys.modules.get(module), name, None)
        if isinstance(found, type):
            kinds.append(found)
    return dict.fromkeys(kinds, refuse)
