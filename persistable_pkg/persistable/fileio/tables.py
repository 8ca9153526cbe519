"""Exact conversion of frames and tables of pandas, polars and pyarrow to an Arrow table and back."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

from persistable.errors import PayloadNotRepresentable, need
from persistable.fileio.compare import difference

KEY = b"persistable"
KINDS = ("pandas.DataFrame", "pandas.Series", "polars.DataFrame", "polars.Series", "pyarrow.RecordBatch", "pyarrow.Table")
THREADS_FROM = 1 << 20
"""Bytes from which pyarrow's thread pool is worth its start: below, it costs more than it saves, and its threads may still be starting
when a short script ends."""
_COLUMN = "values"
_FLAWS = (ValueError, TypeError, NotImplementedError, AttributeError, KeyError, OverflowError)
"""Errors that pandas, polars and pyarrow raise for values without a type in Arrow (ArrowInvalid and ArrowTypeError are among them)."""


def kind_of(payload: Any) -> str | None:
    """The kind of a payload, one of `KINDS`; None for others, such as subclasses like frames of geopandas."""
    cls = type(payload)
    kind = f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"
    return kind if kind in KINDS else None


def to_table(payload: Any, user: str) -> Any:
    """`payload` as a pyarrow.Table whose metadata has its type and the facts to restore it."""
    pa = need("pyarrow", "pyarrow", "arrow", user)
    kind = kind_of(payload)
    facts: dict[str, Any] = {"kind": kind}
    if kind == "pyarrow.Table":
        table = payload
    elif kind == "pyarrow.RecordBatch":
        table = pa.Table.from_batches([payload])
    elif kind == "polars.DataFrame":
        table = payload.to_arrow()
    elif kind == "polars.Series":
        table = payload.to_frame().to_arrow()
    else:
        frame = payload
        if kind == "pandas.Series":
            named = type(payload.name) is str
            facts["name"] = None if named or type(payload.name) not in (int, float, bool) else payload.name
            facts["unnamed"] = not named
            frame = payload.to_frame() if named else payload.to_frame(_COLUMN)
        table = pa.Table.from_pandas(frame)
        facts.update(_pandas_facts(frame), dictionaries=_packed_dictionaries(pa, table))
    return table.replace_schema_metadata({**(table.schema.metadata or {}), KEY: json.dumps(facts).encode()})


def from_table(table: Any, user: str) -> Any:
    """The payload of a table from `to_table`; a pandas frame for a table made elsewhere."""
    metadata = dict(table.schema.metadata or {})
    facts = json.loads(metadata.pop(KEY, b'{"kind": "pandas.DataFrame"}'))
    kind = facts["kind"]
    table = table.replace_schema_metadata(metadata or None)
    if kind == "pyarrow.Table":
        return table
    if kind == "pyarrow.RecordBatch":
        pa = need("pyarrow", "pyarrow", "arrow", user)
        return pa.RecordBatch.from_arrays([_one(pa, column) for column in table.columns], schema=table.schema)
    if kind in ("polars.DataFrame", "polars.Series"):
        frame = _as_polars(need("polars", "polars", "polars", user), table)
        return frame.to_series() if kind == "polars.Series" else frame
    need("pandas", "pandas", "pandas", user)
    for place, packed in facts.get("dictionaries", {}).items():
        table = _with_dictionary(table, int(place), packed)
    frame = _restored(table.to_pandas(use_threads=table.nbytes > THREADS_FROM), facts)
    if kind == "pandas.Series":
        series = frame.iloc[:, 0]
        series.attrs = dict(frame.attrs)
        return series.rename(facts.get("name")) if facts["unnamed"] else series
    return frame


def _one(pa: Any, column: Any) -> Any:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _as_polars(pl: Any, table: Any) -> Any:
    try:
        return pl.from_arrow(table)
    except BaseException as error:  # a panic of Rust is no Exception
        if not isinstance(error, pl.exceptions.PolarsError) and type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"polars cannot take it: {error}") from error


def why_not(payload: Any, through: Any) -> str:
    """The reason why `payload` would not be kept exactly; empty if it would. through: writes a payload and loads it again.

    Types, names and index are tested on a payload without rows; columns of Python objects are tested completely.
    """
    kind = kind_of(payload)
    if kind is None:
        return f"it is a {type(payload).__module__}.{type(payload).__qualname__}; known are {', '.join(KINDS)}"
    try:
        if kind.startswith("pyarrow"):
            if payload.num_rows and not payload.num_columns:
                return "it has rows but no columns"
            empty = payload.slice(0, 0)
            back = through(empty)
            return "" if back.schema.equals(empty.schema, check_metadata=True) else f"its schema would come back as {back.schema}"
        if kind.startswith("polars"):
            empty = payload.slice(0, 0)
            back = through(empty)
            same = back.equals(empty) and (back.schema == empty.schema if kind == "polars.DataFrame" else _same_series(back, empty))
            return "" if same else f"its columns would come back as {back}"
        return _why_not_pandas(payload, through)
    except PayloadNotRepresentable as error:
        return f"{error.reason}; use PickleFileIO"
    except _FLAWS as error:
        return f"{type(error).__name__}: {error}; use PickleFileIO"


def _same_series(left: Any, right: Any) -> bool:
    return bool(left.name == right.name and left.dtype == right.dtype)


def _why_not_pandas(payload: Any, through: Any) -> str:
    import pandas as pd

    if not payload.flags.allows_duplicate_labels:
        return "its flag allows_duplicate_labels=False would be lost"
    frame = payload.to_frame() if isinstance(payload, pd.Series) else payload
    if frame.columns.has_duplicates:
        return f"its column names are not unique: {list(frame.columns[frame.columns.duplicated()])}"
    if not len(frame.columns) and len(frame):
        return "it has rows but no columns"
    if flaw := difference(payload.iloc[:0], through(payload.iloc[:0])):
        return flaw
    objects = frame.loc[:, [dtype.name == "object" for dtype in frame.dtypes]]
    levels = [frame.index.get_level_values(level) for level in range(frame.index.nlevels)]
    if objects.shape[1] or any(level.dtype == object for level in levels):
        return difference(objects, through(objects))
    return ""


def _packed_dictionaries(pa: Any, table: Any) -> dict[int, str]:
    """The categories of each categorical column: files keep neither unused ones, nor their order, nor any of a table without rows."""
    packed: dict[int, str] = {}
    for place, column in enumerate(table.columns):
        if pa.types.is_dictionary(column.type):
            values = column.chunk(0).dictionary if column.num_chunks else pa.array([], column.type.value_type)
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, pa.schema([("values", values.type)])) as writer:
                writer.write_table(pa.table([values], ["values"]))
            facts = {"ordered": column.type.ordered, "values": b64encode(sink.getvalue()).decode()}
            packed[place] = json.dumps(facts)
    return packed


def _with_dictionary(table: Any, place: int, packed: str) -> Any:
    """`table`, with the column at `place` rebuilt with the categories from `_packed_dictionaries`."""
    pa = need("pyarrow", "pyarrow", "arrow", "ParquetFileIO")
    pc = need("pyarrow.compute", "pyarrow", "arrow", "ParquetFileIO")
    facts = json.loads(packed)
    values = pa.ipc.open_stream(b64decode(facts["values"])).read_all().column(0).combine_chunks()
    column = table.column(place)
    plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    codes = pc.index_in(plain.cast(values.type), value_set=values) if len(values) else pa.chunked_array([pa.nulls(len(column), pa.int32())])
    codes = pa.concat_arrays(codes.chunks) if codes.num_chunks else pa.array([], pa.int32())
    made = pa.DictionaryArray.from_arrays(codes, values, ordered=facts["ordered"])
    return table.set_column(place, pa.field(table.field(place).name, made.type), pa.chunked_array([made]))


def _pandas_facts(frame: Any) -> dict[str, Any]:
    """Facts that are missing in the metadata of pandas in a table."""
    import pandas as pd

    facts: dict[str, Any] = {}
    objects = {str(name): _missing(frame[name]) for name in frame.columns if frame[name].dtype == object}
    seconds = {str(name): str(dtype) for name, dtype in frame.dtypes.items() if str(dtype).startswith(("datetime64[s", "timedelta64[s"))}
    if objects:
        facts["objects"] = objects
    if seconds:
        facts["seconds"] = seconds
    if frame.index.dtype == object and frame.index.nlevels == 1:
        facts["object_index"] = _missing(frame.index)
    if frame.columns.dtype == object and frame.columns.nlevels == 1:
        facts["object_columns"] = True
    if isinstance(frame.columns, pd.RangeIndex):
        facts["range_columns"] = [frame.columns.start, frame.columns.stop, frame.columns.step]
    if isinstance(frame.columns, (pd.DatetimeIndex, pd.TimedeltaIndex)) and frame.columns.freq is not None:
        facts["columns_freq"] = frame.columns.freqstr
    if isinstance(frame.index, (pd.DatetimeIndex, pd.TimedeltaIndex)) and frame.index.freq is not None:
        facts["freq"] = frame.index.freqstr
    return facts


def _missing(values: Any) -> str:
    return "NaN" if any(isinstance(value, float) for value in values[values.isna()]) else "None"


def _restored(frame: Any, facts: dict[str, Any]) -> Any:
    import pandas as pd

    for place, name in enumerate(list(frame.columns)):
        if str(name) in facts.get("objects", {}):
            values = _as_objects(frame.iloc[:, place], facts["objects"][str(name)])
            frame[name] = pd.Series(values, index=frame.index, dtype=object)
        elif str(name) in facts.get("seconds", {}):
            frame[name] = frame[name].astype(facts["seconds"][str(name)])
    if "object_index" in facts:
        frame.index = pd.Index(_as_objects(frame.index, facts["object_index"]), dtype=object, name=frame.index.name)
    if facts.get("object_columns"):
        frame.columns = pd.Index(frame.columns.to_numpy(dtype=object), dtype=object, name=frame.columns.name)
    if "range_columns" in facts:
        frame.columns = pd.RangeIndex(range(*facts["range_columns"]), name=frame.columns.name)
    if "columns_freq" in facts:
        columns: Any = frame.columns
        columns.freq = facts["columns_freq"]
    if "freq" in facts:
        index: Any = frame.index
        index.freq = facts["freq"]
    return frame


def _as_objects(values: Any, missing: str) -> Any:
    """A column of Python objects, with its kind of missing value, from one that newer pandas loads as its own string type."""
    if values.dtype == object and missing == "None":
        return values
    found = values.to_numpy(dtype=object, copy=True)
    found[values.isna()] = None if missing == "None" else float("nan")
    return found
