"""Partial reads: some rows and columns of a file, without reading the others."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import io
import json
import math
import struct
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from persistable.errors import FormatError, MalformedFile, need
from persistable.fileio.numpy import parse_header, raw_view
from persistable.fileio.tables import KEY, from_table

_HEAD = 1 << 16


def chosen(rows: slice | None, count: int) -> range:
    """The rows that a slice selects from `count`."""
    return range(count)[rows if rows is not None else slice(None)]


def _bounds(wanted: range) -> tuple[int, int]:
    """The first row to read, and the one after the last."""
    return (min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1]) + 1) if len(wanted) else (0, 0)


# arrays


def of_array(file: Any, rows: slice | None, columns: Sequence[str] | None) -> Any:
    """Read rows of an npy file; columns are the fields of a structured dtype. Raises MalformedFile, FormatError."""
    import numpy as np

    dtype, shape, fortran, start = parse_header(memoryview(file.read(_HEAD)))
    if dtype.hasobject or not shape:
        raise FormatError("an npy file of objects, or of a single number, has no parts; load it whole", format="NumpyFileIO")
    if fortran and len(shape) > 1:
        raise FormatError(
            "its rows are not stored together (it was stored in Fortran order); load it whole, or store it in C order", format="NumpyFileIO"
        )
    if columns is not None and dtype.names is None:
        raise FormatError("columns of an array are the fields of a structured dtype, which this one has not", format="NumpyFileIO")
    others = list(shape)
    wanted = chosen(rows, others.pop(0))
    first, stop = _bounds(wanted)
    size = math.prod(others) * dtype.itemsize
    found: Any = np.empty((stop - first, *others), dtype)
    file.seek(start + first * size)
    _fill(file, raw_view(found))
    found = found[:: wanted.step]
    return found if columns is None else found[list(columns)].copy()


def _fill(file: Any, view: memoryview) -> None:
    at = 0
    while at < view.nbytes:
        piece = file.read(min(view.nbytes - at, 1 << 24))
        if not piece:
            raise MalformedFile("not a whole file of NumpyFileIO: it is cut short", format="NumpyFileIO")
        view[at : at + len(piece)] = piece
        at += len(piece)


# tables


def of_arrow(file: Any, rows: slice | None, columns: Sequence[str] | None) -> Any:
    """Read rows and columns of an Arrow file, as the type that was stored. Raises MalformedFile, FormatError."""
    pa = need("pyarrow", "pyarrow", "arrow", "ArrowFileIO")
    ipc = need("pyarrow.ipc", "pyarrow", "arrow", "ArrowFileIO")
    counts = _rows_of_batches(file)
    source = pa.memory_map(file.name) if _is_local(file) else pa.PythonFile(file, "r")
    with source:
        schema = ipc.open_file(source).schema
        names = _with_index(schema, columns, "ArrowFileIO")
        options = ipc.IpcReadOptions(included_fields=sorted(schema.get_field_index(name) for name in names))
        reader = ipc.open_file(source, options=options)
        wanted = chosen(rows, sum(counts))
        first, stop = _bounds(wanted)
        batches = range(bisect_right(list(accumulate(counts)), first), len(counts))
        before = sum(counts[: batches.start])
        read: list[Any] = []
        at = before
        for number in batches:
            if at >= stop:
                break
            read.append(reader.get_batch(number))
            at += counts[number]
        table = pa.Table.from_batches(read, reader.schema).slice(first - before, stop - first)
        table.validate(full=True)
        return _as_written(table, schema, wanted, "ArrowFileIO")


def of_parquet(file: Any, rows: slice | None, columns: Sequence[str] | None) -> Any:
    """Read rows and columns of a Parquet file, as the type that was stored. Raises MalformedFile, FormatError."""
    parquet = need("pyarrow.parquet", "pyarrow", "arrow", "ParquetFileIO")
    stored = parquet.ParquetFile(file, page_checksum_verification=True)
    schema = stored.schema_arrow
    names = _with_index(schema, columns, "ParquetFileIO")
    counts = [stored.metadata.row_group(group).num_rows for group in range(stored.metadata.num_row_groups)]
    wanted = chosen(rows, sum(counts))
    first, stop = _bounds(wanted)
    ends = list(accumulate(counts))
    groups = [group for group, end in enumerate(ends) if end > first and end - counts[group] < stop]
    table = stored.read_row_groups(groups, columns=names, use_pandas_metadata=False)
    before = ends[groups[0]] - counts[groups[0]] if groups else 0
    return _as_written(table.slice(first - before, stop - first), schema, wanted, "ParquetFileIO")


def _with_index(schema: Any, columns: Sequence[str] | None, user: str) -> list[str]:
    """The columns to read, including those of the index of a pandas frame. Raises FormatError for a missing column."""
    if columns is None:
        return list(schema.names)
    absent = [name for name in columns if name not in schema.names]
    if absent:
        raise FormatError(f"there is no column {absent[0]!r}; there are {', '.join(schema.names)}", format=user)
    index = [name for name in _index(schema) if isinstance(name, str) and name in schema.names and name not in columns]
    return [name for name in schema.names if name in columns or name in index]


def _index(schema: Any) -> list[Any]:
    """The metadata of pandas about the index: names of columns, or the description of a RangeIndex."""
    found: list[Any] = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
    return found


def _as_written(table: Any, schema: Any, wanted: range, user: str) -> Any:
    """The payload of a part of a table; `schema` is that of the whole table."""
    if abs(wanted.step) != 1 or wanted.step < 0:
        table = table.take(need("pyarrow", "pyarrow", "arrow", user).array([place - _bounds(wanted)[0] for place in wanted], "int64"))
    metadata = dict(schema.metadata or {})
    facts = json.loads(metadata.get(KEY, b"{}"))
    if facts:
        packed = {name: facts["dictionaries"][place] for place in facts.get("dictionaries", {}) for name in [schema.names[int(place)]]}
        facts["dictionaries"] = {table.schema.get_field_index(name): text for name, text in packed.items() if name in table.schema.names}
        if wanted.step != 1:
            facts.pop("freq", None)
        metadata[KEY] = json.dumps(facts).encode()
    found = from_table(table.replace_schema_metadata(metadata or None), user)
    counting = next((each for each in _index(schema) if isinstance(each, dict)), None)
    if counting is not None and hasattr(found, "index"):
        import pandas as pd

        start, step = counting["start"], counting["step"]
        found.index = pd.RangeIndex(start + wanted.start * step, start + wanted.stop * step, step * wanted.step, name=counting["name"])
    return found


def _is_local(file: Any) -> bool:
    return isinstance(getattr(file, "raw", file), io.FileIO)


def _rows_of_batches(file: Any) -> list[int]:
    """Row counts of the record batches of an Arrow file, from their descriptions: pyarrow knows only those of a batch that it has read.

    An Arrow file ends in a footer with the positions of the batches; footer and descriptions are flatbuffers.
    """
    size = file.seek(0, io.SEEK_END)
    if size < 18:
        raise ValueError("it is cut short")
    file.seek(size - 10)
    length, magic = struct.unpack("<i6s", file.read(10))
    if magic != b"ARROW1" or not 0 < length < size:
        raise ValueError("it does not end as an Arrow file does")
    file.seek(size - 10 - length)
    footer = file.read(length)
    vector = _field(footer, struct.unpack_from("<I", footer)[0], 3)
    if not vector:
        return []
    vector += struct.unpack_from("<I", footer, vector)[0]
    blocks = [struct.unpack_from("<qi", footer, vector + 4 + 24 * number) for number in range(struct.unpack_from("<I", footer, vector)[0])]
    return [_rows_of(file, offset, described) for offset, described in blocks]


def _rows_of(file: Any, offset: int, described: int) -> int:
    file.seek(offset)
    message = file.read(described)
    start = 8 if message[:4] == b"\xff\xff\xff\xff" else 4
    table = start + struct.unpack_from("<I", message, start)[0]
    header = _field(message, table, 2)
    batch = header + struct.unpack_from("<I", message, header)[0]
    length = _field(message, batch, 0)
    return int(struct.unpack_from("<q", message, length)[0]) if length else 0


def _field(data: bytes, table: int, number: int) -> int:
    """The position of a field of a flatbuffers table; 0 where it is left out."""
    described = table - int(struct.unpack_from("<i", data, table)[0])
    size = int(struct.unpack_from("<H", data, described)[0])
    at = 4 + 2 * number
    offset = int(struct.unpack_from("<H", data, described + at)[0]) if at < size else 0
    return table + offset if offset else 0
