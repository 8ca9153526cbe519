"""CSV: what pandas alone loses on the way comes back, or is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from persistable.errors import MalformedFile, PayloadNotRepresentable
from persistable.fileio import CompressedFileIO, CsvFileIO
from persistable.testing.fileio import FileIOContract, exactly_equal

_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=6)
_look_alikes = st.sampled_from(["NaN", "nan", "None", "NA", "null", "1", "1.0", "True", " x", 'a"b', "a,b", "a\nb", "-", "2020-01-01", "#"])
_words = st.one_of(_text, _look_alikes)
_filled = _words.filter(bool)
_NUMBERS = ("float64", "float32", "int8", "int64", "uint64", "uint8", "bool")


@st.composite
def _columns(draw: st.DrawFn, rows: int) -> Any:
    kind = draw(
        st.sampled_from(("number", "str", "object", "string", "category", "nullable", "time", "zoned", "duration", "boolean", "Float64"))
    )
    if kind == "number":
        return pd.Series(draw(hnp.arrays(draw(st.sampled_from(_NUMBERS)), rows)))
    if kind in ("time", "zoned", "duration"):
        counts = draw(hnp.arrays("i8", rows, elements=st.integers(-(10**16) * 5, 10**17)))
        times = pd.Series(counts.astype("m8[ns]" if kind == "duration" else draw(st.sampled_from(("M8[ns]", "M8[us]")))))
        if rows and draw(st.booleans()):
            times.iloc[0] = pd.NaT
        return times.dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin") if kind == "zoned" else times
    gaps = draw(st.booleans())
    missing = draw(st.sampled_from((None, float("nan")))) if kind == "object" else None
    some = {"nullable": st.integers(0, 100), "boolean": st.booleans(), "Float64": st.floats(allow_nan=False)}.get(
        kind, _filled if gaps else _words
    )
    values = draw(st.lists(st.one_of(some, st.just(missing)) if gaps else some, min_size=rows, max_size=rows))
    if kind == "category":
        categories = draw(st.permutations(sorted({*(value for value in values if value is not None), "unused"})))
        return pd.Series(pd.Categorical(values, categories=categories, ordered=draw(st.booleans())))
    return pd.Series(values, dtype={"nullable": "UInt16", "object": object}.get(kind, kind))


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, 4))
    names = draw(st.lists(_words, unique=True, min_size=1, max_size=4))
    frame = pd.DataFrame({name: draw(_columns(rows)) for name in names})
    frame.columns = pd.Index(names, dtype=draw(st.sampled_from((object, "str"))))
    return frame


@st.composite
def indexed_frames(draw: st.DrawFn) -> pd.DataFrame:
    frame = draw(frames())
    rows = len(frame)
    kind = draw(st.sampled_from(("default", "range", "dates", "any", "multi")))
    if kind == "range":
        frame.index = pd.RangeIndex(3, 3 + 2 * rows, 2, name="n")
    elif kind == "dates":
        frame.index = pd.date_range("2020-02-27", periods=rows, freq=draw(st.sampled_from(("D", "h"))), name=draw(st.none() | _words))
    elif kind == "any":
        frame.index = pd.Index(draw(_columns(rows)).array, name=draw(st.none() | _words))
    elif kind == "multi":
        frame.index = pd.MultiIndex.from_arrays([pd.Index(list("aabb")[:rows], dtype="str"), np.arange(rows)], names=["letter", None])
    return frame


class TestCsv(FileIOContract):
    extra_memory = 8 << 20  # of 16 MB of text

    def io(self) -> Any:
        return CsvFileIO()

    def payloads(self) -> st.SearchStrategy[Any]:
        return indexed_frames()

    def refused(self) -> list[Any]:
        noted = pd.DataFrame({"a": [1]})
        noted.attrs = {"unit": "m"}
        return [
            pd.DataFrame({"a": ["", None]}), pd.DataFrame({"a": [1, "x"]}), pd.DataFrame({"a": [[1]]}), pd.DataFrame({"a": ["x\0y"]}),
            pd.DataFrame({"a": ["x\ry"]}), pd.DataFrame({"a": [1j]}), pd.DataFrame({1: [1]}), pd.DataFrame([[1, 2]], columns=["a", "a"]),
            pd.DataFrame(), pd.DataFrame({"a": [1]}).rename_axis("c", axis=1), noted, pd.Series([1]), {"a": [1]}, None,
            pd.DataFrame({"a": pd.Series(["x", None, float("nan")], dtype=object)}), pd.DataFrame({"a": pd.period_range("2020", periods=2)}),  # noqa: E501
            pd.DataFrame({"a": pd.Categorical([1, 2])}), pd.DataFrame({"a\rb": [1]}), pd.DataFrame({"a": [1]}, index=["\0"]),
        ]  # fmt: skip

    def large(self) -> Any:
        return pd.DataFrame({"a": np.arange(20_000.0), "b": ["x" * 800] * 20_000})


class TestCsvWithoutIndex(TestCsv):
    def io(self) -> Any:
        return CsvFileIO(index=False)

    def payloads(self) -> st.SearchStrategy[Any]:
        return frames()

    def refused(self) -> list[Any]:
        named = pd.DataFrame({"a": [1]}).rename_axis("n")
        return [*super().refused(), pd.DataFrame({"a": [1]}, index=["x"]), pd.DataFrame({"a": [1]}, index=[1]), named]


class TestCsvCompressed(TestCsv):
    def io(self) -> Any:
        return CompressedFileIO(CsvFileIO())

    def large(self) -> Any:
        return None  # as TestCsv


def test_a_file_made_by_hand_reads_as_pandas_reads_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,x\n,\n")
    pd.testing.assert_frame_equal(CsvFileIO().load(tmp_path / "a.csv"), pd.read_csv(tmp_path / "a.csv"))


def test_the_schema_lies_beside_the_file_and_goes_with_it(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": pd.Series([1, 2], dtype="int8"), "b": ["1", "NaN"]})
    path = tmp_path / "a.csv"
    CsvFileIO(index=False).save(frame, path)
    assert path.read_text() == "a,b\n1,1\n2,NaN\n"
    assert json.loads((tmp_path / "a.csv.schema.json").read_text())["names"] == ["a", "b"]
    assert exactly_equal(CsvFileIO(index=False).load(path), frame)
    assert exactly_equal(CsvFileIO().load(path), frame), "the schema says whether an index was written"


def test_a_file_edited_by_hand_keeps_its_types(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": pd.Series([1, 2], dtype="float32"), "b": ["1", "2"]}, index=pd.Index(["r", "s"], dtype="str"))
    path = tmp_path / "a.csv"
    CsvFileIO().save(frame, path)
    path.write_bytes(b",a,b\r\nr,1.5,1\r\ns,2.5,007\r\nt,,x\r\n")
    loaded = CsvFileIO().load(path)
    assert loaded.dtypes.equals(frame.dtypes)
    assert loaded["b"].tolist() == ["1", "007", "x"]
    path.write_bytes(b",b,a\nr,1,1.5\n")
    with pytest.raises(MalformedFile, match="its columns are"):
        CsvFileIO().load(path)


def test_floats_are_exact_and_plain() -> None:
    frame = pd.DataFrame({"a": [0.1 + 0.2, 1e-320, 1.7976931348623157e308, -0.0, float("inf"), float("nan"), 5e-324]})
    data, schema = CsvFileIO(index=False).dumps(frame), CsvFileIO(index=False).schema(frame)
    assert data.startswith(b"a\n0.30000000000000004\n")
    assert CsvFileIO().with_schema(schema).loads(data)["a"].map(repr).tolist() == frame["a"].map(repr).tolist()


def test_pandas_reads_ours() -> None:
    frame = pd.DataFrame({"a": [1.5, 2.5], "b": ["x", "y, z"]})
    pd.testing.assert_frame_equal(pd.read_csv(io.BytesIO(CsvFileIO(index=False).dumps(frame))), frame)


def test_a_refusal_names_the_column() -> None:
    with pytest.raises(PayloadNotRepresentable, match="column 'b' holds both missing values and empty strings"):
        CsvFileIO().check(pd.DataFrame({"a": [1, 2], "b": ["", None]}))


def test_times_of_odd_offsets_are_exact() -> None:
    times = pd.Series(pd.to_datetime(["1893-03-31 23:06:31.999999", "2020-10-25 00:30", "2020-10-25 01:30", None], format="ISO8601"))
    frame = pd.DataFrame({"a": times.dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")})
    format_ = CsvFileIO()
    assert exactly_equal(format_.with_schema(format_.schema(frame)).loads(format_.dumps(frame)), frame)
