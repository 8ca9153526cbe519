"""Frames: equal ones have equal digests, however their blocks and chunks lie; what differs in names, dtypes or cells differs."""

import datetime as dt
import io
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pandas.testing import assert_frame_equal

from persistable.errors import UntrackableParam
from persistable.params.encoding import encode
from persistable.params.trees import tree


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "a": [1, 2, 3],
            "b": [1.0, np.nan, 3],
            "c": ["x", None, "z"],
            "d": pd.Categorical(["u", "v", "u"]),
            "e": pd.date_range("2020", periods=3),
            "f": pd.date_range("2020", periods=3, tz="Europe/Berlin"),
            "g": pd.array([1, None, 3], dtype="Int64"),
            "h": pd.period_range("2020", periods=3, freq="M"),
            "i": pd.interval_range(0, 3),
            "j": pd.arrays.SparseArray([0, 0, 1]),
            "k": pd.array([1, 2, None], dtype="int64[pyarrow]"),
            "l": pd.array(["a", "b", None], dtype="string"),
            "m": pd.array([True, None, False], dtype="boolean"),
            "n": pd.to_timedelta([1, 2, 3], unit="s"),
            "o": np.array([1, "a", None], dtype=object),
            "p": np.array([1 + 2j, np.nan, 0]),
        }
    )


COLUMNS = st.lists(hnp.arrays(st.sampled_from(["i8", "f8", "f4", "?", "M8[ns]"]), 4), min_size=1, max_size=4)


@given(COLUMNS, COLUMNS)
def test_frames_have_equal_bytes_exactly_if_they_are_equal(left: list[Any], right: list[Any]) -> None:
    a, b = (pd.DataFrame({f"c{i}": column for i, column in enumerate(columns)}) for columns in (left, right))
    try:
        assert_frame_equal(a, b, check_exact=True)
    except AssertionError:
        equal = False
    else:
        equal = all((np.signbit(a[c]) == np.signbit(b[c])).all() for c in a if a[c].dtype.kind == "f" and not a[c].isna().any())
    if equal or not any(column.dtype.kind == "f" for column in left):
        assert (encode(a) == encode(b)) == equal


@given(COLUMNS)
def test_block_layout_does_not_matter(columns: list[Any]) -> None:
    names = [f"c{i}" for i in range(len(columns))]
    whole = pd.DataFrame(dict(zip(names, columns, strict=True)))
    grown = pd.DataFrame(index=range(4))
    for name, column in zip(names, columns, strict=True):
        grown[name] = column
    longer = pd.concat([whole, whole])
    for other in (grown, whole.copy(), longer.iloc[:4], whole.iloc[::-1].iloc[::-1], whole[names[::-1]][names]):
        assert encode(other) == encode(whole)


def test_frames_of_every_dtype_are_their_copies() -> None:
    expected = encode(frame())
    assert encode(frame().copy()) == expected
    assert encode(pd.concat([frame()[["a", "b"]], frame().iloc[:, 2:]], axis=1)) == expected
    assert encode(pd.concat([frame(), frame()]).iloc[:3]) == expected


@pytest.mark.parametrize("column", list(frame().columns))
def test_a_change_in_one_cell_is_another_frame(column: str) -> None:
    changed = frame()
    changed[column] = changed[column].iloc[[2, 0, 1]].array
    assert encode(changed) != encode(frame())


def test_a_range_index_is_the_index_of_its_numbers() -> None:
    one, other = frame(), frame()
    other.index = pd.Index([0, 1, 2], dtype="int64")
    assert encode(one) == encode(other)


def test_names_labels_and_dtypes_are_identity() -> None:
    base = pd.DataFrame({"a": [1, 2]})
    others = [
        base,
        base.rename(columns={"a": "b"}),
        base.set_axis([1, 2]),
        base.rename_axis("i"),
        base.rename_axis("i", axis=1),
        *(base.astype(dtype) for dtype in ("int32", "float64", "Int64", "object", "category", "int64[pyarrow]", "string")),
        base.set_axis(pd.MultiIndex.from_tuples([(1, 2), (3, 4)])),
        base.set_axis(pd.date_range("2020", periods=2)),
        base.set_axis(pd.date_range("2020", periods=2, tz="UTC")),
        *(
            base["a"],
            base["a"].rename("b"),
            base["a"].array,
            base.index,
            base["a"].to_numpy(),
            base.to_dict(),
            pl.from_pandas(base),
            pa.table({"a": [1, 2]}),
        ),
        pd.DataFrame({"a": []}),
        pd.DataFrame(),
    ]
    assert len({encode(value) for value in others}) == len(others)


def test_categories_and_their_order_are_identity() -> None:
    made = [pd.Categorical(["a"], categories=c, ordered=o) for c in (["a"], ["a", "b"], ["b", "a"]) for o in (True, False)]
    assert len({encode(value) for value in made}) == 6


def test_every_nan_of_a_float_column_is_one() -> None:
    strange = np.array([0x7FF8000000000001], dtype="u8").view("f8")
    assert encode(pd.Series(strange)) == encode(pd.Series([np.nan]))
    assert encode(pl.Series(strange)) == encode(pl.Series([float("nan")])) != encode(pl.Series([None], dtype=pl.Float64))


def test_what_lies_under_a_missing_value_does_not_matter() -> None:
    one = pd.array([1, 2], dtype="Int64")
    one._data[1] = 99  # type: ignore[attr-defined]
    one[1] = pd.NA
    assert encode(one) == encode(pd.array([1, None], dtype="Int64"))


def test_where_text_is_kept_does_not_matter() -> None:
    python, arrow = pd.Series(["a", None], dtype="string[python]"), pd.Series(["a", None], dtype="string[pyarrow]")
    assert encode(python) == encode(arrow)


def test_duplicate_column_names_and_odd_labels() -> None:
    df = pd.DataFrame([[1, 2]], columns=["a", "a"])
    assert encode(df) != encode(pd.DataFrame([[2, 1]], columns=["a", "a"]))
    assert encode(pd.DataFrame({1: [1]})) != encode(pd.DataFrame({"1": [1]}))


def test_scalars_of_pandas() -> None:
    values: list[Any] = [
        pd.Timestamp("2020"),
        pd.Timestamp("2020", tz="UTC"),
        pd.Timestamp("2020", tz="Europe/Berlin"),
        pd.Timedelta(1, "s"),
    ]
    values += [
        pd.NaT,
        pd.NA,
        None,
        pd.Period("2020", "Y"),
        pd.Period("2020-01", "M"),
        pd.Interval(0, 1),
        pd.Interval(0, 1, closed="both"),
        "2020",
    ]
    values += [
        pd.CategoricalDtype(["a"]),
        pd.CategoricalDtype(["b"]),
        pd.Int64Dtype(),
        pd.Int32Dtype(),
        pd.Timestamp("2020").to_pydatetime(),
    ]
    assert len({encode(value) for value in values}) == len(values)
    assert encode(pd.Timestamp("2020").as_unit("s")) == encode(pd.Timestamp("2020").as_unit("ns"))


def test_subclasses_and_unknown_cells_are_refused() -> None:
    class Mine(pd.DataFrame):
        pass

    with pytest.raises(UntrackableParam, match="plain DataFrame"):
        encode(Mine({"a": [1]}))
    with pytest.raises(UntrackableParam, match="nothing is known"):
        encode(pd.DataFrame({"a": [object()]}))


def test_a_long_frame_has_a_short_tree() -> None:
    assert len(str(tree(pd.DataFrame({"a": np.arange(10_000), "b": list(map(str, range(10_000)))})))) < 2000


# ------------------------------------------------------------------ polars and pyarrow


def table() -> pl.DataFrame:
    moment = np.array(["2020-01-01", "2021-01-01", "NaT"], dtype="M8[ns]")
    return pl.DataFrame(
        {
            "int": [1, None, 3],
            "float": [1.0, float("nan"), None],
            "bool": [True, None, False],
            "text": ["x", None, ""],
            "bytes": [b"x", None, b""],
            "list": [[1], [], None],
            "lists": [[[1], None], [], None],
            "struct": [{"a": 1, "b": "x"}, {"a": None, "b": "y"}, None],
            "ns": moment,
            "null": [None, None, None],
        }
    ).with_columns(
        category=pl.col("text").cast(pl.Categorical),
        enum=pl.Series(["a", "b", None], dtype=pl.Enum(["a", "b"])),
        array=pl.Series([[1, 2], [3, 4], None], dtype=pl.Array(pl.Int64, 2)),
        decimal=pl.Series(["1.1", None, "2.2"]).cast(pl.Decimal(10, 2)),
        date=pl.col("ns").cast(pl.Date),
        zoned=pl.col("ns").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        moments=pl.concat_list("ns"),
    )


def test_chunks_of_polars_do_not_matter() -> None:
    whole = table()
    pieces = pl.concat([whole[:1], whole[1:]], rechunk=False)
    assert pieces.n_chunks() == 2
    assert encode(pieces) == encode(whole) == encode(whole.clone()) == encode(whole[::-1][::-1])


@pytest.mark.parametrize("column", [name for name in table().columns if name != "null"])
def test_a_change_in_one_cell_is_another_table(column: str) -> None:
    changed = table().with_columns(table()[column].gather([1, 0, 2]).alias(column))
    assert encode(changed) != encode(table())


def test_names_and_dtypes_of_polars_are_identity() -> None:
    base = pl.DataFrame({"a": [1, 2]})
    others: list[Any] = [base, base.rename({"a": "b"}), base["a"], base["a"].alias("b"), pl.DataFrame({"a": []}), pl.DataFrame()]
    others += [
        base.cast(dtype) for dtype in (pl.Int32, pl.Float64, pl.String, pl.Datetime("us"), pl.Datetime("ns"), pl.Datetime("us", "UTC"))
    ]
    others += [pl.Int64(), pl.Datetime("us"), pl.Datetime("us", "UTC"), pl.List(pl.Int64), pl.Enum(["a"]), pl.Enum(["b"])]
    assert len({encode(value) for value in others}) == len(others)


@pytest.mark.parametrize(("make", "message"), [(lambda: table().lazy(), r"collect\(\)"), (lambda: pl.col("a") + 1, "expression")])
def test_queries_are_refused(make: Any, message: str) -> None:
    with pytest.raises(UntrackableParam, match=message):
        encode(make())


def arrow() -> pa.Table:
    kinds = {"ts": pa.timestamp("ns"), "date": pa.date32(), "time": pa.time64("us"), "float": pa.float64(), "int": pa.uint8()}
    columns: dict[str, Any] = {name: pa.array([1, None, 3], kind) for name, kind in kinds.items()}
    columns |= {
        "text": ["a", None, ""],
        "list": [[1], None, []],
        "bool": [True, None, False],
        "dict": pa.array(["a", "b", "a"]).dictionary_encode(),
    }
    return pa.table(columns)


def test_chunks_of_arrow_do_not_matter() -> None:
    whole = arrow()
    assert encode(pa.concat_tables([whole[:1], whole[1:]])) == encode(whole) == encode(whole.combine_chunks())
    assert encode(whole.replace_schema_metadata({"a": "b"})) == encode(whole)


@pytest.mark.parametrize("column", arrow().column_names)
def test_a_change_in_one_cell_of_arrow_is_another_table(column: str) -> None:
    i = arrow().column_names.index(column)
    changed = arrow().set_column(i, column, arrow()[column].take([1, 0, 2]))
    assert encode(changed) != encode(arrow())


TEXT = "who,n\na,1\n,2\n"


def test_text_is_text_however_pandas_keeps_it() -> None:
    kept = [pd.Series(["a", np.nan], dtype=dtype) for dtype in ("str", "object", pd.StringDtype("python", na_value=np.nan))]
    kept += [pd.Series(["a", None], dtype=object), pd.read_csv(io.StringIO(TEXT))["who"].rename(None)]
    assert len({encode(each) for each in kept}) == 1
    assert len({encode(pd.Index(["a", "b"], dtype=dtype)) for dtype in ("str", "object")}) == 1
    assert len({encode(pd.Series(["a", "b"], dtype=dtype).astype("category")) for dtype in ("str", "object")}) == 1
    others = [
        kept[0],
        *(pd.Series(values, dtype=object) for values in (["a", 1], ["a", "nan"], [None, None], [np.nan, np.nan], ["a", ""], ["a", pd.NA])),
    ]
    others += [pd.Series(["a", None], dtype=dtype) for dtype in ("string", pd.ArrowDtype(pa.string()))]
    assert len({encode(each) for each in others}) == len(others)
    assert encode(pd.Series(["a", None], dtype="string[pyarrow]")) == encode(pd.Series(["a", None], dtype="string[python]"))


@given(
    st.lists(
        st.one_of(st.none(), st.datetimes(dt.datetime.fromisoformat("1800-01-01"), dt.datetime.fromisoformat("2200-01-01"))),
        min_size=1,
        max_size=4,
    )
)
def test_moments_are_moments_in_whichever_unit_they_are_counted(moments: list[Any]) -> None:
    moments = [moment and moment.replace(microsecond=0) for moment in moments]
    made = [pd.Series(np.array(moments, f"M8[{unit}]")) for unit in ("s", "ms", "us", "ns")]
    assert len({encode(each) for each in made}) == 1
    zoned = [each.dt.tz_localize("UTC") for each in made]
    assert len({encode(each) for each in zoned}) == 1
    assert encode(zoned[0]) != encode(made[0])
    assert len({encode(pd.Series(each - pd.Timestamp(2000, 1, 1))) for each in made}) == 1


def test_moments_beyond_nanoseconds_are_moments_too() -> None:
    far = [pd.Series(np.array(["9999-01-01", "NaT"], f"M8[{unit}]")) for unit in ("s", "ms", "us")]
    assert len({encode(each) for each in far}) == 1
    assert encode(far[0]) != encode(pd.Series(np.array(["9998-01-01", "NaT"], "M8[s]")))
    assert encode(pd.Series(np.array(["9999-01-01T00:00:00.000001"], "M8[us]"))) != encode(pd.Series(np.array(["9999-01-01"], "M8[us]")))


def test_the_names_of_items_in_arrow_lists_are_no_part_of_a_column() -> None:
    one, other = (pa.array([[1], None], pa.list_(pa.field(name, pa.int64()))) for name in ("item", "element"))
    assert encode(one) == encode(other)
    assert encode(one) != encode(pa.array([[1], None], pa.list_(pa.field("item", pa.int32()))))


ARROW_TYPES = st.recursive(
    st.sampled_from(
        [
            pa.int8(),
            pa.int64(),
            pa.float32(),
            pa.string(),
            pa.large_string(),
            pa.binary(),
            pa.bool_(),
            pa.date32(),
            pa.timestamp("us"),
            pa.timestamp("us", "UTC"),
            pa.duration("s"),
        ]
    ),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        st.tuples(inner, inner).map(lambda pair: pa.struct([("a", pair[0]), pa.field("b", pair[1], nullable=False)])),
        inner.map(lambda kind: pa.map_(pa.string(), kind)),
        inner.map(lambda kind: pa.list_(kind, 2)),
    ),
    max_leaves=4,
)


@given(ARROW_TYPES, ARROW_TYPES)
def test_arrow_types_are_told_apart(one: Any, other: Any) -> None:
    assert (encode(one) == encode(other)) == (one == other)
    assert encode(pa.array([None], one)) == encode(pa.chunked_array([pa.array([None], one)]))
