"""Each format gives back the same type, dtype and value, or refuses and writes nothing: one table of payloads for all of them."""

# ruff: noqa: DTZ001 - times without a zone are payloads too
from __future__ import annotations

import datetime as dt
import enum
import struct
from collections import Counter, OrderedDict, defaultdict, namedtuple
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from persistable.errors import PayloadNotRepresentable
from persistable.fileio import (
    ArrowFileIO,
    BytesFileIO,
    CsvFileIO,
    JsonFileIO,
    NumpyFileIO,
    ParquetFileIO,
    PickleFileIO,
    SafetensorsFileIO,
    TextFileIO,
    YamlFileIO,
    ZarrFileIO,
)

Point = namedtuple("Point", "x y")


class Text(str):
    __slots__ = ()


class Colour(enum.IntEnum):
    RED = 1


class Named(str, enum.Enum):  # noqa: UP042 - what users still write
    A = "a"


def same(left: Any, right: Any) -> bool:
    """Whether nobody can tell the two apart, by type, dtype or value."""
    if type(left) is not type(right):
        return False
    if left is pd.NA or left is pd.NaT:
        return left is right
    if isinstance(left, float):
        return struct.pack("d", left) == struct.pack("d", right) or (left != left and right != right)
    if isinstance(left, Decimal):
        return str(left) == str(right)
    if isinstance(left, dict):
        return list(map(repr, left)) == list(map(repr, right)) and all(
            same(a, b) and same(left[a], right[b]) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, np.ndarray):
        return _same_array(left, right)
    if isinstance(left, pd.DataFrame):
        return (
            left.shape == right.shape
            and same(left.columns, right.columns)
            and same(left.index, right.index)
            and same(left.attrs, right.attrs)
            and left.flags == right.flags
            and all(_same_values(left.iloc[:, at], right.iloc[:, at]) for at in range(left.shape[1]))
        )
    if isinstance(left, pd.Series):
        return same(left.name, right.name) and same(left.index, right.index) and same(left.attrs, right.attrs) and _same_values(left, right)
    if isinstance(left, pd.MultiIndex):
        return (
            same(list(left.names), list(right.names))
            and all(_same_values(left.get_level_values(at), right.get_level_values(at)) for at in range(left.nlevels))
            and left.nlevels == right.nlevels
        )
    if isinstance(left, pd.Index):
        freq = getattr(left, "freq", None) == getattr(right, "freq", None)
        ranged = not isinstance(left, pd.RangeIndex) or (left.start, left.stop, left.step) == (right.start, right.stop, right.step)
        return freq and ranged and same(left.name, right.name) and _same_values(left, right)
    if isinstance(left, (pl.DataFrame, pl.Series)):
        mine, other = (left, right) if isinstance(left, pl.DataFrame) else (left.to_frame(), right.to_frame())
        return bool(mine.schema == other.schema) and repr(mine.rows()) == repr(other.rows())
    if isinstance(left, pa.Table):
        return bool(left.schema.equals(right.schema, check_metadata=True)) and repr(left.to_pylist()) == repr(right.to_pylist())
    return bool(left == right or left != left) and repr(left) == repr(right)


def _same_array(left: Any, right: Any) -> bool:
    if left.dtype != right.dtype or left.dtype.str != right.dtype.str or left.shape != right.shape:
        return False
    if left.dtype.hasobject:
        return all(map(same, left.ravel().tolist(), right.ravel().tolist()))
    return bool(left.tobytes() == right.tobytes())


def _same_values(left: Any, right: Any) -> bool:
    if left.dtype != right.dtype or str(left.dtype) != str(right.dtype) or len(left) != len(right):
        return False
    if isinstance(left.dtype, pd.CategoricalDtype):
        ordered = left.dtype.ordered == right.dtype.ordered
        codes = left.array.codes.tolist() == right.array.codes.tolist()
        return ordered and codes and same(left.dtype.categories, right.dtype.categories)
    return all(map(same, list(left.array), list(right.array)))


def column(*values: Any, dtype: Any = object) -> pd.DataFrame:
    return pd.DataFrame({"c": pd.Series(list(values), dtype=dtype)})


def _indexed(index: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": [float(number) for number in range(len(index))]}, index=index)


def _headed(columns: Any) -> pd.DataFrame:
    return pd.DataFrame([list(range(len(columns)))], columns=columns)


def _frames() -> dict[str, Any]:
    berlin = pd.Timestamp("2020-01-01", tz="Europe/Berlin")
    objects: dict[str, tuple[Any, ...]] = {
        "decimals of two scales": (Decimal("2"), Decimal("1.10")),
        "decimals with exponents": (Decimal("1E+3"), Decimal("1")),
        "a decimal NaN": (Decimal("NaN"), Decimal("1")),
        "decimals of one scale": (Decimal("2.00"), Decimal("1.10"), None),
        "a negative zero": (-0.0, 0.0),
        "int and str": (1, "a"),
        "int and float": (1, 1.0),
        "int and bool": (1, True),
        "bool and None": (True, None),
        "bools": (True, False),
        "int and None": (1, None),
        "ints": (1, 2),
        "huge ints": (2**70, 1),
        "wide ints": (2**63, 1),
        "None and NaN": (None, float("nan"), "x"),
        "NaN and text": (float("nan"), "x"),
        "only None": (None, None),
        "only NaN": (float("nan"), float("nan")),
        "NaT": (pd.NaT, None),
        "pd.NA": (pd.NA, "a"),
        "NA and None": (pd.NA, None, "a"),
        "empty and None": ("", None, "NA"),
        "text and NaN words": ("nan", "None", "", "NULL"),
        "line ends": ("a\r\nb", "c\rd", "e\nf"),
        "spaces": (" a ", "\t", '"', ","),
        "NUL": ("a\0b",),
        "surrogate": ("a\ud800",),
        "bytes": (b"a", b"\xff"),
        "bytes and text": (b"a", "a"),
        "bytearrays": (bytearray(b"a"),),
        "dates": (dt.date(2020, 1, 1), None),
        "dates and times": (dt.date(2020, 1, 1), dt.datetime(2020, 1, 1)),
        "datetimes": (dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 2, 3)),
        "times": (dt.time(1, 2, 3), dt.time(4)),
        "zoned times of two zones": (berlin, berlin.tz_convert("UTC")),
        "zoned datetimes": (dt.datetime(2020, 1, 1, tzinfo=dt.UTC),),
        "fixed offsets": (dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))),),
        "timestamps": (pd.Timestamp("2020-01-01 00:00:00.123456789"),),
        "timedeltas": (dt.timedelta(1), dt.timedelta(0, 1)),
        "Timedeltas": (pd.Timedelta(1),),
        "fractions": (Fraction(1, 3),),
        "lists": ([1, 2], [3]),
        "tuples": ((1, 2), (3,)),
        "dicts": ({"a": 1}, {"b": 2}),
        "sets": ({1},),
        "arrays": (np.arange(2), np.arange(3)),
        "str subclass": (Text("a"),),
        "IntEnum": (Colour.RED,),
        "str enum": (Named.A,),
        "np ints": (np.int64(1), np.int64(2)),
        "np floats": (np.float32(1.5), np.float64(1)),
        "np bools": (np.bool_(True), True),
        "np str": (np.str_("a"),),
        "complex": (1 + 2j,),
        "uuids": (UUID(int=1),),
        "paths": (PurePosixPath("a"),),
        "periods": (pd.Period("2020", "M"),),
        "intervals": (pd.Interval(0, 1),),
        "None": (None,),
        "frozensets": (frozenset({1}),),
        "namedtuples": (Point(1, 2),),
        "ellipsis": (...,),
    }
    frames: dict[str, Any] = {f"objects: {name}": column(*values) for name, values in objects.items()}
    frames |= {
        f"index of objects: {name}": _indexed(pd.Index(list(values), dtype=object))
        for name, values in objects.items()
        if name not in ("lists", "dicts", "sets", "arrays", "bytearrays")
    }
    typed: dict[str, Any] = {
        "zone": pd.Series([berlin]),
        "zone, with a fold": pd.Series(pd.to_datetime(["2020-10-25 00:30", "2020-10-25 01:30"], utc=True).tz_convert("Europe/Berlin")),
        "offset": pd.Series(pd.to_datetime(["2020-01-01 00:00+05:30"])),
        "UTC of datetime": pd.Series([pd.Timestamp(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))]),
        **{f"M8[{unit}]": pd.Series(np.array([1, -1, "NaT"], f"M8[{unit}]")) for unit in ("s", "ms", "us", "ns")},
        **{f"m8[{unit}]": pd.Series(np.array([1, -1, "NaT"], f"m8[{unit}]")) for unit in ("s", "ms", "us", "ns")},
        **{f"zoned {unit}": pd.Series(np.array([1], f"M8[{unit}]")).dt.tz_localize("UTC") for unit in ("s", "ms", "us", "ns")},
        "far years": pd.Series(np.array(["0001-01-01", "9999-12-31"], "M8[s]")),
        "farther years": pd.Series(np.array(["-2000-01-01", "20000-12-31"], "M8[s]")),
        "period": pd.Series(pd.period_range("2020", periods=2, freq="M")),
        "interval": pd.Series(pd.interval_range(0, 2)),
        "interval, closed left": pd.Series(pd.interval_range(0.5, 2.5, closed="left")),
        "category": pd.Series(pd.Categorical(["a", None], categories=["b", "a"], ordered=True)),
        "category of ints": pd.Series(pd.Categorical([2, 1], categories=[2, 1, 3])),
        "category of floats": pd.Series(pd.Categorical([2.5, None])),
        "category of bools": pd.Series(pd.Categorical([True, False])),
        "category of times": pd.Series(pd.Categorical(pd.to_datetime(["2020-01-01"]))),
        "category of zoned times": pd.Series(pd.Categorical([berlin])),
        "category of mixed": pd.Series(pd.Categorical([1, "a"])),
        "category of int and bool": pd.Series(pd.Categorical([1, 2.5, "x"])),
        "category of decimals": pd.Series(pd.Categorical([Decimal("2"), Decimal("1.10")])),
        "category of tuples": pd.Series(pd.Categorical.from_codes([0], categories=pd.Index([(1, 2)], tupleize_cols=False))),
        "category of dates": pd.Series(pd.Categorical([dt.date(2020, 1, 1)])),
        "category of intervals": pd.Series(pd.cut([1, 2], 2)),
        "category of periods": pd.Series(pd.Categorical(pd.period_range("2020", periods=2, freq="M"))),
        "category of object text": pd.Series(pd.Categorical(["a"], categories=pd.Index(["a"], dtype=object))),
        "category of string text": pd.Series(pd.Categorical(["a"], categories=pd.Index(["a"], dtype="string"))),
        "empty category": pd.Series(pd.Categorical([])),
        "category of int8": pd.Series(pd.Categorical.from_codes([0], categories=pd.Index([1], dtype="i1"))),
        "float16": pd.Series([1.5], dtype="f2"),
        "float32": pd.Series([0.1], dtype="f4"),
        "longdouble": pd.Series(np.array([1.5], np.longdouble)),
        "complex": pd.Series([1 + 2j]),
        "negative zero": pd.Series([-0.0, float("nan"), float("inf")]),
        "big-endian": pd.Series(np.arange(2, dtype=">i4")),
        "uint64": pd.Series([2**64 - 1], dtype="u8"),
        **{f"nullable {kind}": pd.Series([1, None], dtype=kind) for kind in ("Int8", "UInt64", "Float32", "Float64", "boolean")},
        "nullable NaN": pd.Series(pd.array([0.0, 1.0], "Float64") / pd.array([0.0, 1.0], "Float64")),
        "string": pd.Series(["a", None, ""], dtype="string"),
        "string, python": pd.Series(["a", None], dtype="string[python]"),
        "str": pd.Series(["a", None], dtype="str"),
        "sparse": pd.Series(pd.arrays.SparseArray([0, 0, 1])),
        "arrow int": pd.Series([1, None], dtype="int64[pyarrow]"),
        "arrow text": pd.Series(["a"], dtype=pd.ArrowDtype(pa.string())),
        "arrow list": pd.Series([[1]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
        "arrow decimal": pd.Series([Decimal("1.10")], dtype=pd.ArrowDtype(pa.decimal128(5, 2))),
    }
    frames |= {f"column: {name}": values.to_frame("c") for name, values in typed.items()}
    frames |= {f"no rows: {name}": values.to_frame("c").iloc[:0] for name, values in typed.items()}
    frames |= _where_pandas_can("index", typed, lambda values: pd.Index(values, name="i"))
    frames |= _where_pandas_can("level", typed, lambda values: pd.MultiIndex.from_arrays([values, range(len(values))], names=["a", None]))
    frames |= {
        "columns: duplicate": _headed(["a", "a"]),
        "columns: ints": _headed([1, 2]),
        "columns: range": pd.DataFrame([[1, 2]]),
        "columns: floats": _headed([0.5, 2.0]),
        "columns: bools": _headed([True, False]),
        "columns: int and str of one spelling": _headed([1, "1"]),
        "columns: mixed": _headed([1, "a"]),
        "columns: None": _headed([None, "a"]),
        "columns: NaN": _headed([float("nan"), "a"]),
        "columns: bytes": _headed([b"a"]),
        "columns: dates": _headed([dt.date(2020, 1, 1)]),
        "columns: times": _headed(pd.date_range("2020", periods=2, freq="D")),
        "columns: zoned": _headed(pd.date_range("2020", periods=2, freq="D", tz="Europe/Berlin")),
        "columns: timedeltas": _headed(pd.timedelta_range("1D", periods=2)),
        "columns: periods": _headed(pd.period_range("2020", periods=2, freq="M")),
        "columns: intervals": _headed(pd.interval_range(0, 2)),
        "columns: categories": _headed(pd.CategoricalIndex(["a", "b"])),
        "columns: categories, ordered": _headed(pd.CategoricalIndex(["a", "b"], ["b", "a"], ordered=True)),
        "columns: tuples": _headed(pd.Index([("a", 1), ("b", 2)], tupleize_cols=False)),
        "columns: levels": _headed(pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
        "columns: levels with names": _headed(pd.MultiIndex.from_tuples([("a", "x"), ("b", "y")], names=["one", None])),
        "columns: levels of times": _headed(pd.MultiIndex.from_product([["a"], pd.date_range("2020", periods=2)])),
        "columns: named": _headed(pd.Index(["a"], name="cc")),
        "columns: named by an int": _headed(pd.Index(["a"], name=3)),
        "columns: string": _headed(pd.Index(["a"], dtype="string")),
        "columns: objects": _headed(pd.Index(["a"], dtype=object)),
        "columns: enum": _headed([Named.A]),
        "columns: str subclass": _headed([Text("a")]),
        "columns: int8": _headed(pd.Index([1, 2], dtype="i1")),
        "columns: decimals": _headed([Decimal("1.10")]),
        "columns: empty name": _headed(["", " "]),
        "columns: like an index": _headed(["index", "level_0", "__index_level_0__", "Unnamed: 0"]),
        "columns: commas": _headed(["a,b", 'c"d', "e\nf"]),
        "index: step": _indexed(pd.RangeIndex(3, 9, 2)),
        "index: backwards": _indexed(pd.RangeIndex(3, 0, -1)),
        "index: named range": _indexed(pd.RangeIndex(3, name="n")),
        "index: range named by an int": _indexed(pd.RangeIndex(3, name=0)),
        "index: named as a column": pd.DataFrame({"a": [1]}, index=pd.Index([5], name="a")),
        "index: named by a tuple": _indexed(pd.Index([5], name=("a", 1))),
        "index: freq": _indexed(pd.date_range("2020", periods=3, freq="MS")),
        "index: freq of two": _indexed(pd.date_range("2020", periods=3, freq="2h", tz="Europe/Berlin")),
        "index: freq by an offset": _indexed(pd.date_range("2020", periods=3, freq=pd.offsets.CustomBusinessDay(holidays=["2020-01-02"]))),
        "index: timedelta freq": _indexed(pd.timedelta_range("1D", periods=3, freq="D")),
        "index: no freq": _indexed(pd.DatetimeIndex(["2020-01-01", "2020-01-02", "2020-01-03"])),
        "index: duplicates": _indexed(pd.Index(["a", "a"])),
        "index: int of a range": _indexed(pd.Index([0, 1, 2])),
        "index: empty": pd.DataFrame({"a": []}, index=pd.Index([], name="i", dtype="i4")),
        "index: levels with NaN": _indexed(pd.MultiIndex.from_tuples([("a", 1.0), (None, float("nan"))])),
        "index: levels of one": _indexed(pd.MultiIndex.from_arrays([[1, 2]])),
        "index: levels of one name": _indexed(pd.MultiIndex.from_arrays([[1], [2]], names=["a", "a"])),
        "attrs": _attrs({"unit": "m", "scale": [1, 2.5]}),
        "attrs: tuple": _attrs({"a": (1, 2)}),
        "attrs: int key": _attrs({1: 2}),
        "attrs: numpy": _attrs({"a": np.float64(1)}),
        "attrs: nan": _attrs({"a": float("nan"), "b": -0.0, "c": 2**70}),
        "attrs: str subclass": _attrs({"a": Text("a")}),
        "attrs: bool key": _attrs({True: 1}),
        "attrs: enum": _attrs({"a": Colour.RED}),
        "flags": pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
        "nothing": pd.DataFrame(),
        "no columns": pd.DataFrame(index=range(3)),
        "no columns, index": pd.DataFrame(index=["a"]),
        "no rows": pd.DataFrame({"a": []}),
        "no rows of objects": pd.DataFrame({"a": pd.Series([], dtype=object)}),
        "series": pd.Series([1, 2], name="s"),
        "series without a name": pd.Series([1, 2]),
        "series named by an int": pd.Series([1, 2], name=3),
        "series named by a tuple": pd.Series([1, 2], name=("a", 1)),
        "series named by a date": pd.Series([1, 2], name=dt.date(2020, 1, 1)),
        "series of objects named by an int": pd.Series(["a", None], name=3, dtype=object),
        "series, empty": pd.Series([], dtype="f4"),
        "series, attrs": _attrs({"a": 1}, pd.Series([1.0])),
        "series of objects named values": pd.Series(["a", None], name="values", dtype=object),
    }
    return frames


def _where_pandas_can(where: str, columns: dict[str, Any], index: Any) -> dict[str, Any]:
    """Frames with such an index; pandas makes none of a few dtypes."""
    found: dict[str, Any] = {}
    for name, values in columns.items():
        try:
            found[f"{where}: {name}"] = _indexed(index(values))
        except (ValueError, TypeError, NotImplementedError):
            continue
    return found


def _attrs(attrs: Any, holder: Any = None) -> Any:
    holder = pd.DataFrame({"a": [1.0]}) if holder is None else holder
    holder.attrs = attrs
    return holder


def _polars() -> dict[str, Any]:
    series = {
        "decimal": pl.Series("c", [Decimal("2"), Decimal("1.10")]),
        "decimal of a scale": pl.Series("c", [Decimal("2")], pl.Decimal(20, 5)),
        "category": pl.Series("c", ["a", None, "b"], pl.Categorical),
        "enum": pl.Series("c", ["a", None], pl.Enum(["b", "a"])),
        **{f"duration {unit}": pl.Series("c", [dt.timedelta(1), None], pl.Duration(unit)) for unit in ("ms", "us", "ns")},
        **{
            f"datetime {unit}": pl.Series("c", [dt.datetime(2020, 1, 1)], pl.Datetime(unit, "Europe/Berlin")) for unit in ("ms", "us", "ns")
        },
        "time": pl.Series("c", [dt.time(1)]),
        "date": pl.Series("c", [dt.date(2020, 1, 1)]),
        "binary": pl.Series("c", [b"a", None]),
        "list": pl.Series("c", [[1], None, []]),
        "list of lists": pl.Series("c", [[[1.5]], []]),
        "array": pl.Series("c", [[1, 2]], pl.Array(pl.Int8, 2)),
        "array 2": pl.Series("c", [[[1, 2]]], pl.Array(pl.Int8, (1, 2))),
        "struct": pl.Series("c", [{"a": 1, "b": "x"}, None]),
        "struct of categories": pl.Series("c", [{"a": "x"}], pl.Struct({"a": pl.Categorical})),
        "list of categories": pl.Series("c", [["x"]], pl.List(pl.Categorical)),
        "list of enums": pl.Series("c", [["a"]], pl.List(pl.Enum(["b", "a"]))),
        "list of decimals": pl.Series("c", [[Decimal("1.1")]], pl.List(pl.Decimal(10, 3))),
        "Int128": pl.Series("c", [2**100], pl.Int128),
        "Object": pl.Series("c", [object()], pl.Object),
        "Null": pl.Series("c", [None, None], pl.Null),
        "floats": pl.Series("c", [-0.0, float("nan"), None]),
        "Float32": pl.Series("c", [0.1], pl.Float32),
        "UInt64": pl.Series("c", [2**64 - 1], pl.UInt64),
        "bool": pl.Series("c", [True, None]),
        "text": pl.Series("c", ["", None, "a\0"]),
        "no name": pl.Series([1]),
        "empty struct": pl.Series("c", [{}], pl.Struct({})),
        "no rows": pl.Series("c", [], pl.Enum(["x"])),
        "no rows of lists": pl.Series("c", [], pl.List(pl.Duration("ms"))),
    }
    return {
        **{f"polars series: {name}": values for name, values in series.items()},
        **{f"polars frame: {name}": values.to_frame() for name, values in series.items()},
        "polars: nothing": pl.DataFrame(),
        "polars: rows cut": pl.DataFrame({"a": ["x", "y", "z"]}, schema={"a": pl.Categorical})[1:],
        "polars: chunks": pl.concat([pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]})], rechunk=False),
    }


def _tables() -> dict[str, Any]:
    arrays = {
        "dictionary": pa.array(["a", None]).dictionary_encode(),
        "dictionary, ordered": pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), pa.array(["b", "a"]), ordered=True),
        "dictionary of ints": pa.DictionaryArray.from_arrays(pa.array([1], pa.int64()), pa.array([7, 8])),
        "list of dictionary": pa.ListArray.from_arrays([0, 1], pa.array(["a"]).dictionary_encode()),
        "extension": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16], pa.binary(16)))
        if hasattr(pa, "uuid")
        else pa.array([1]),
        "fixed tensor": pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.int32(), [2]), pa.array([[1, 2]], pa.list_(pa.int32(), 2))),
        "decimal": pa.array([Decimal("1.10")], pa.decimal256(40, 3)),
        "float16": pa.array([np.float16(1.5)], pa.float16()),
        "time32": pa.array([1], pa.time32("s")),
        "time64": pa.array([1], pa.time64("ns")),
        "date64": pa.array([86400000], pa.date64()),
        "duration": pa.array([1], pa.duration("s")),
        "timestamp s": pa.array([1], pa.timestamp("s", "Europe/Berlin")),
        "timestamp ns": pa.array([1], pa.timestamp("ns")),
        "large text": pa.array(["a"], pa.large_string()),
        "text view": pa.array(["a"], pa.string_view()),
        "fixed binary": pa.array([b"ab"], pa.binary(2)),
        "struct": pa.array([{"a": 1, "b": None}, None]),
        "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
        "fixed list": pa.array([[1, 2]], pa.list_(pa.int8(), 2)),
        "large list": pa.array([[1]], pa.large_list(pa.int8())),
        "list view": pa.array([[1]], pa.list_view(pa.int8())),
        "null": pa.nulls(2),
        "interval": pa.array([pa.MonthDayNano([1, 2, 3])]),
        "union": pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]),
        "run end": pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array([1])),
        "floats": pa.array([-0.0, None]),
    }
    return {
        **{f"arrow: {name}": pa.table({"c": array}) for name, array in arrays.items()},
        "arrow: metadata": pa.table({"c": [1]}).replace_schema_metadata({"a": "b", "pandas": "{}"}),
        "arrow: field metadata": pa.table({"c": [1]}, schema=pa.schema([pa.field("c", pa.int8(), metadata={"u": "m"})])),
        "arrow: not null": pa.table({"c": [1]}, schema=pa.schema([pa.field("c", pa.int8(), nullable=False)])),
        "arrow: our own key": pa.table({"c": [1]}).replace_schema_metadata({"persistable": '{"kind": "pandas.DataFrame"}'}),
        "arrow: duplicates": pa.table([pa.array([1]), pa.array([2])], ["a", "a"]),
        "arrow: nothing": pa.table({}),
        "arrow: rows only": pa.table({"a": [1, 2]}).select([]),
        "arrow: chunks": pa.chunked_array([pa.array(["a"]).dictionary_encode(), pa.array(["b"]).dictionary_encode()]).type
        and pa.table({"c": pa.chunked_array([pa.array(["a"]).dictionary_encode(), pa.array(["b"]).dictionary_encode()])}),
        "arrow: slice": pa.table({"c": ["a", "b", "c"]}).slice(1, 1),
    }


def _arrays() -> dict[str, Any]:
    payload_nan = np.array([0x7FF8000000000123], "u8").view("f8")
    arrays: dict[str, Any] = {
        **{
            f"dtype {kind}": np.arange(3).astype(kind)
            for kind in ("?", "i1", "u2", ">i4", "<i8", ">f8", "f2", ">f2", "f4", "c8", ">c16", "u8")
        },
        "longdouble": np.array([1.5], np.longdouble),
        "clongdouble": np.array([1.5], np.clongdouble),
        "NaN bits": payload_nan,
        "negative zero": np.array([-0.0]),
        "0-d": np.array(3.0),
        "0-d big-endian": np.array(3, ">i2"),
        "empty": np.zeros((0, 3)),
        "empty, big-endian": np.zeros((2, 0), ">i4"),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "transposed": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
        "strided": np.arange(10)[::3],
        "backwards": np.arange(5)[::-1],
        "broadcast": np.broadcast_to(np.float32(2), (3, 2)),
        "fill value": np.zeros(4),
        "datetime": np.array(["2020-01-01", "NaT"], "M8[s]"),
        "datetime of 25 s": np.array([1], "M8[25s]"),
        "timedelta": np.array([1], "m8[ns]"),
        "big-endian datetime": np.array([1], ">M8[us]"),
        "text": np.array(["a", "bb", ""]),
        "big-endian text": np.array(["a"], ">U2"),
        "bytes": np.array([b"a", b"a\0b"], "S4"),
        "new strings": np.array(["a", "bb"], np.dtypes.StringDType())
        if hasattr(np, "dtypes") and hasattr(np.dtypes, "StringDType")
        else np.array("a"),
        "void": np.zeros(2, "V3"),
        "records": np.array([(1, 2.0)], [("a", "i4"), ("b", ">f8")]),
        "aligned records": np.zeros(1, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
        "titled records": np.zeros(1, np.dtype([(("title", "a"), "i1")])),
        "nested records": np.zeros(1, np.dtype([("a", [("b", "i2", (2,))])])),
        "objects": np.array([1, "a", None], object),
        "masked": np.ma.masked_array([1, 2], [0, 1]),
        "recarray": np.rec.array([(1, 2.0)], names="a,b"),
        "dtype metadata": np.zeros(1, np.dtype("i4", metadata={"a": 1})),
        "scalar float64": np.float64(3),
        "scalar bool": np.bool_(True),
        "scalar str": np.str_("a"),
        "scalar datetime": np.datetime64("2020-01-01"),
    }
    return {f"array: {name}": array for name, array in arrays.items()} | {
        f"in a dict: {name}": {"x": array} for name, array in arrays.items()
    }


def _values() -> dict[str, Any]:
    values = {
        "None": None,
        "True": True,
        "int": 1,
        "over 2**53": 2**53 + 1,
        "over 64 bits": 2**70 + 1,
        "negative huge": -(10**100),
        "too long": 10**5000,
        "float": 0.1,
        "whole float": 1.0,
        "large float": 1e300,
        "exponent": 1e22,
        "tiny": 5e-324,
        "-0.0": -0.0,
        "nan": float("nan"),
        "inf": float("inf"),
        "-inf": float("-inf"),
        "complex": 1j,
        "str": "a",
        "empty": "",
        "CR LF": "a\r\nb",
        "CR": "a\rb",
        "LF": "a\n",
        "only LF": "\n",
        "BOM": "\ufeffa",
        "surrogate": "\ud800",
        "pair": "\U0001f600",
        "NUL": "a\0b",
        "NEL": "a\x85b\u2028c",
        "control": "\x1b\x07\x7f",
        "spaces": "  a  ",
        "tab": "\ta",
        "yes": "yes",
        "no": "no",
        "null": "null",
        "tilde": "~",
        "date word": "2020-01-01",
        "number word": "1e3",
        "octal word": "0o17",
        "leading zero": "012",
        "sexagesimal": "1:30",
        "hash": "# a",
        "colon": "a: b",
        "dash": "- a",
        "quotes": "'\"",
        "percent": "%YAML",
        "dots": "...",
        "dashes": "---",
        "merge": "<<",
        "equals": "=",
        "str subclass": Text("a"),
        "bytes": b"a\r\n\xff",
        "bytearray": bytearray(b"a"),
        "memoryview": memoryview(b"a"),
        "no bytes": b"",
        "list": [1, "a", None, True, 1.0],
        "empty list": [],
        "empty dict": {},
        "tuple": (1, 2),
        "nested tuple": {"a": (1, 2)},
        "set": {1},
        "frozenset": frozenset({1}),
        "int keys": {1: "a"},
        "bool keys": {True: "a"},
        "None keys": {None: 1},
        "float keys": {1.0: 1},
        "tuple keys": {(1, 2): 3},
        "mixed keys": {1: "a", "1": "b"},
        "bytes keys": {b"a": 1},
        "word keys": {"no": "yes", "x": "1e3", "<<": {"a": 1}, "": 1, "1": 2, "null": 3},
        "str subclass keys": {Text("a"): 1},
        "enum keys": {Named.A: 1},
        "key order": {"b": 1, "a": 2},
        "surrogate keys": {"\ud800": 1},
        "Decimal": Decimal("1.10"),
        "Fraction": Fraction(1, 3),
        "date": dt.date(2020, 1, 1),
        "datetime": dt.datetime(2020, 1, 1),
        "time": dt.time(1),
        "timedelta": dt.timedelta(1),
        "UUID": UUID(int=1),
        "path": PurePosixPath("a"),
        "IntEnum": Colour.RED,
        "str enum": Named.A,
        "OrderedDict": OrderedDict(a=1),
        "defaultdict": defaultdict(list, a=[1]),
        "Counter": Counter("a"),
        "namedtuple": Point(1, 2),
        "range": range(3),
        "ellipsis": ...,
        "np.float64": np.float64(1),
        "np.int64": np.int64(1),
        "np.bool": np.bool_(True),
        "np.str": np.str_("a"),
        "list of np": [np.float64(1)],
        "array in dict": {"a": np.arange(2)},
        "shared": [[1]] * 2,
        "deep": _deep(300),
        "too deep": _deep(2000),
    }
    return {f"value: {name}": value for name, value in values.items()}


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


CASES: dict[str, Any] = {**_frames(), **_polars(), **_tables(), **_arrays(), **_values()}
_TABULAR = [name for name in CASES if not name.startswith(("array:", "in a dict:", "value:"))]
_OF_PANDAS = [name for name in _TABULAR if not name.startswith(("polars", "arrow:"))]
_OF_ARRAYS = [name for name in CASES if name.startswith(("array:", "in a dict:"))]
_OF_VALUES = [name for name in CASES if name.startswith("value:")]
_NO_VALUES = ["value: too deep"]


def _exact_or_refused(format_: Any, name: str) -> str:
    payload = CASES[name]
    try:
        data = format_.dumps(payload)
    except PayloadNotRepresentable:
        return "refused"
    schema = format_.schema(payload)
    back = (format_ if schema is None else format_.with_schema(schema)).loads(bytearray(data))
    assert same(payload, back), f"{payload!r} came back as {back!r}"
    return "exact"


@pytest.mark.parametrize(
    ("format_", "names", "least"),
    [
        (ParquetFileIO(), _TABULAR, 200),
        (ArrowFileIO(), _TABULAR, 200),
        (CsvFileIO(), _OF_PANDAS, 60),
        (CsvFileIO(index=False), _OF_PANDAS, 20),
        (NumpyFileIO(), _OF_ARRAYS, 25),
        (ZarrFileIO(), _OF_ARRAYS, 25),
        (SafetensorsFileIO(), _OF_ARRAYS, 14),
        (JsonFileIO(), _OF_VALUES, 40),
        (YamlFileIO(), _OF_VALUES, 40),
        (TextFileIO(), _OF_VALUES, 25),
        (BytesFileIO(), _OF_VALUES, 2),
        (PickleFileIO(), [*_OF_ARRAYS, *_OF_PANDAS], 250),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "suffix") else "",
)
def test_what_comes_back_is_what_was_given_or_it_was_refused(format_: Any, names: list[str], least: int) -> None:
    outcomes: Counter[str] = Counter()
    bent: list[str] = []
    for name in names:
        try:
            outcomes[_exact_or_refused(format_, name)] += 1
        except Exception as error:  # noqa: BLE001 - all of them are told at once
            bent.append(" ".join(f"{name}: {type(error).__name__}: {error}".split())[:200])
    print(outcomes)
    assert not bent, "\n".join([f"{len(bent)} of {len(names)}", *bent])
    assert outcomes["exact"] >= least  # refusing everything would be no help
