"""Frames and tables as Parquet and Arrow: the kind that was written comes back, exactly, or is refused."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from persistable.errors import PayloadNotRepresentable
from persistable.fileio import ArrowFileIO, CompressedFileIO, ParquetFileIO
from persistable.testing.fileio import FileIOContract, exactly_equal

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_ERA = dt.datetime.fromisoformat("1900-01-01"), dt.datetime.fromisoformat("2100-01-01")
_DTYPES = (
    "float64",
    "float32",
    "int8",
    "uint64",
    "bool",
    "datetime64[ns]",
    "datetime64[us]",
    "datetime64[s]",
    "timedelta64[ns]",
    "float16",
)


@st.composite
def _columns(draw: st.DrawFn, rows: int) -> Any:
    kind = draw(st.sampled_from(("numpy", "str", "object", "category", "nullable", "bytes", "zoned")))
    if kind == "numpy":
        dtype = draw(st.sampled_from(_DTYPES))
        if dtype.startswith(("datetime", "timedelta")):
            counts = draw(hnp.arrays("i8", rows, elements=st.integers(-(10**9), 10**9)))
            return pd.Series(counts.astype(dtype.replace("datetime64", "M8").replace("timedelta64", "m8")))
        return pd.Series(draw(hnp.arrays(dtype, rows)))
    if kind == "zoned":
        counts = draw(hnp.arrays("i8", rows, elements=st.integers(0, 10**9)))
        return pd.Series(counts.astype("M8[s]").astype("M8[ns]")).dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")
    missing = draw(st.sampled_from((None, float("nan")))) if kind == "object" else None
    elements = {"bytes": st.binary(max_size=4), "nullable": st.integers(0, 100)}.get(kind, _text)
    values = draw(st.lists(st.one_of(elements, st.just(missing)), min_size=rows, max_size=rows))
    if kind == "category":
        categories = draw(st.permutations(sorted({*(value for value in values if value is not None), "unused"})))
        return pd.Series(pd.Categorical(values, categories=categories, ordered=draw(st.booleans())))
    return pd.Series(values, dtype={"str": "str", "nullable": "Int16"}.get(kind, object))


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, 4))
    names = draw(st.lists(_text, unique=True, max_size=4))
    frame = pd.DataFrame({name: draw(_columns(rows)) for name in names})
    rows = rows if names else 0
    kind = draw(st.sampled_from(("default", "range", "dates", "names", "objects", "multi", "ints")))
    if kind == "range":
        frame.index = pd.RangeIndex(3, 3 + 2 * rows, 2, name="n")
    elif kind == "dates":
        frame.index = pd.date_range("2020-02-27", periods=rows, freq=draw(st.sampled_from(("D", "h", "W-SUN"))))
    elif kind in ("names", "objects"):
        frame.index = pd.Index([f"r{row}" for row in range(rows)], dtype="str" if kind == "names" else object, name=draw(st.none() | _text))
    elif kind == "multi":
        frame.index = pd.MultiIndex.from_arrays([list("aabb")[:rows], np.arange(rows)], names=["letter", None])
    elif kind == "ints":
        frame.index = pd.Index(draw(hnp.arrays("i4", rows)))
    if draw(st.booleans()):
        frame.attrs = {"unit": "m", "scale": [1, 2.5]}
    return frame


@st.composite
def polars_frames(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.integers(0, 4))

    def column(elements: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(st.none() | elements, min_size=rows, max_size=rows))

    return pl.DataFrame(
        {
            "i": pl.Series(column(st.integers(-100, 100)), dtype=pl.Int8),
            "f": pl.Series(column(st.floats(width=32)), dtype=pl.Float32),
            "s": pl.Series(column(_text), dtype=pl.String),
            "b": pl.Series(column(st.binary(max_size=3)), dtype=pl.Binary),
            "l": pl.Series(column(st.lists(st.integers(0, 9), max_size=2)), dtype=pl.List(pl.Int16)),
            "e": pl.Series(column(st.sampled_from("ab")), dtype=pl.Enum(["b", "a", "z"])),
            "c": pl.Series(column(st.sampled_from("ab")), dtype=pl.Categorical),
            "d": pl.Series(column(st.dates()), dtype=pl.Date),
            "t": pl.Series(column(st.datetimes(*_ERA)), dtype=pl.Datetime("us")),
            "n": pl.Series([None] * rows, dtype=pl.Null),
            "st": pl.Series(column(st.fixed_dictionaries({"x": st.integers(0, 9)})), dtype=pl.Struct({"x": pl.Int64})),
        }
    )


_tables = st.lists(st.integers(), max_size=5).map(
    lambda numbers: pa.table(
        {"n": pa.array([n % 100 for n in numbers], pa.uint8()), "s": pa.array([str(n) for n in numbers], pa.large_string())},
        metadata={"made": "by hand"},
    )
)


class _Frame(pd.DataFrame):
    pass


def refused() -> list[Any]:
    duplicates = pd.DataFrame([[1, 2]], columns=["a", "a"])
    unique = pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False)
    strange = pd.DataFrame({"a": [1]})
    strange.attrs = {"t": (1, 2)}
    return [
        pd.DataFrame({"a": [1, "x"]}), pd.DataFrame({"a": pd.Series([1, 2.5], dtype=object)}), pd.DataFrame({"a": [[1], [2]]}),
        pd.DataFrame({"a": pd.Series(["x", None, float("nan")], dtype=object)}), pd.DataFrame({"a": [1j]}), pd.DataFrame({"a": [{"k": 1}]}),
        pd.DataFrame({"a": pd.Series([True, 1], dtype=object)}), duplicates, unique, strange, _Frame({"a": [1]}), {"a": [1]}, None, [1],
        pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}), pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}),
        pl.DataFrame({"a": [1]}).lazy(), pd.DataFrame(index=[0, 1]), np.zeros(3),
    ]  # fmt: skip


class TestParquet(FileIOContract):
    def io(self) -> ParquetFileIO:
        return ParquetFileIO()

    def payloads(self) -> st.SearchStrategy[Any]:
        return st.one_of(frames(), polars_frames(), _tables, _series)

    def refused(self) -> list[Any]:
        return [*refused(), pa.table({"a": pa.array(["x"]).dictionary_encode()}), pa.table({"a": pa.array([1], pa.timestamp("s"))})]


class TestArrow(FileIOContract):
    def io(self) -> ArrowFileIO:
        return ArrowFileIO()

    def payloads(self) -> st.SearchStrategy[Any]:
        dictionary = pa.table({"a": pa.array(["x", "y", "x"]).dictionary_encode(), "t": pa.array([1, 2, None], pa.timestamp("s"))})
        return st.one_of(frames(), polars_frames(), _tables, _series, st.just(dictionary))

    def refused(self) -> list[Any]:
        return refused()


class TestParquetUncompressed(TestParquet):
    def io(self) -> Any:
        return CompressedFileIO(ParquetFileIO(compression="none"), "gzip", 1)


_series = st.one_of(
    st.integers(0, 4).flatmap(_columns).map(lambda series: series.rename("values")),
    st.integers(0, 4).flatmap(_columns),
    st.just(pd.Series([1.5], index=["x"], name="s")),
    st.just(pl.Series("s", [1, None], dtype=pl.Int16)),
)


@pytest.mark.parametrize("format_", [ParquetFileIO(), ArrowFileIO()])
@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [decimal.Decimal("1.20"), None]}),
        pd.DataFrame({"a": [dt.date(2020, 1, 1)]}),
        pd.DataFrame({"a": pd.period_range("2020", periods=3, freq="M")}),
        pd.DataFrame({"a": pd.interval_range(0, 3)}),
        pd.DataFrame(np.zeros((2, 2))),
        pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", "y"])),
        pd.DataFrame([[1, 2]], columns=pd.Index(["a", "b"], name="letter")),
        pd.DataFrame([[1, 2]], columns=pd.Index(["a", "b"], dtype=object)),
        pd.DataFrame({"a": pd.array([1.5, None], dtype="Float64"), "b": pd.array(["x", None], dtype="string")}),
        pd.DataFrame({"a": pd.Series([1, None], dtype=pd.ArrowDtype(pa.int8()))}),
        pd.DataFrame({"a": pd.Categorical([3, 1], categories=[3, 2, 1])}),
    ],
    ids=range(11),
)
def test_less_common_frames_are_exact_or_refused(format_: Any, frame: pd.DataFrame) -> None:
    try:
        data = format_.dumps(frame)
    except PayloadNotRepresentable:
        pytest.fail("refused")
    assert exactly_equal(format_.loads(data), frame)


def test_many_categories_keep_their_order() -> None:
    """More than a Parquet page of dictionary, in an order that is not that of appearance."""
    categories = [f"category number {number}" for number in range(120_000)][::-1]
    values = categories[::3] + categories[1::3]
    frame = pd.DataFrame({"a": pd.Categorical(values, categories=categories)})
    for format_ in (ParquetFileIO(), ArrowFileIO()):
        assert exactly_equal(format_.loads(format_.dumps(frame)), frame)


def test_arrow_tables_use_the_file_in_place(tmp_path: Path) -> None:
    ArrowFileIO().save(pa.table({"a": np.arange(1 << 18)}), tmp_path / "t.arrow")
    before = pa.total_allocated_bytes()
    table = ArrowFileIO().load(tmp_path / "t.arrow")
    assert table["a"][-1].as_py() == (1 << 18) - 1
    assert pa.total_allocated_bytes() - before < 1 << 16


def test_loaded_pandas_frames_can_be_changed(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(3.0)})
    for format_ in (ParquetFileIO(), ArrowFileIO()):
        loaded = format_.loads(format_.dumps(frame))
        loaded.iloc[0, 0] = 9.0
        loaded.loc[1, "a"] = 8.0
        assert loaded["a"].tolist() == [9.0, 8.0, 2.0]


def test_files_made_elsewhere_load_as_pandas(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    frame.to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(ParquetFileIO().load(tmp_path / "a.parquet"), frame)
    frame.to_feather(tmp_path / "a.arrow", compression="lz4")
    pd.testing.assert_frame_equal(ArrowFileIO().load(tmp_path / "a.arrow"), frame)


def test_ours_are_read_elsewhere(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=pd.Index(["r", "s"], name="row"))
    ParquetFileIO().save(frame, tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), frame)
    assert pl.read_parquet(tmp_path / "a.parquet")["a"].to_list() == [1, 2]


def test_what_polars_cannot_take_is_malformed_however_it_says_so() -> None:
    import polars as pl
    import pyarrow as pa

    from persistable.fileio.tables import _as_polars

    with pytest.raises(ValueError, match="polars cannot take it"):
        _as_polars(pl, pa.table({"a": pa.array([b"", b""], pa.binary(0))}))


@pytest.mark.parametrize("format_", [ArrowFileIO(), ParquetFileIO()])
def test_half_a_surrogate_pair_is_refused_once_with_what_takes_it(format_: Any) -> None:
    half = pd.Series(["a\ud800"], dtype=object)
    for frame in (half.to_frame("x"), half, pd.DataFrame({"x": [1]}, index=pd.Index(half)), pd.DataFrame({"x": pd.Categorical(half)})):
        with pytest.raises(PayloadNotRepresentable, match="surrogates not allowed; use PickleFileIO") as raised:
            format_.dumps(frame)
        assert "cannot write" not in str(raised.value)
