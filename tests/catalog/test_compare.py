"""Payloads compared by what they are."""

from __future__ import annotations

import collections
import copy
import datetime as dt
import enum
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import attrs
import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest
import scipy.sparse as sp
import xarray as xr
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from persistable.catalog.reproduce.compare import MOST, compare
from persistable.testing.strategies import typed, values

mpl.use("agg")


@dataclass
class Fit:
    coefficients: np.ndarray
    name: str = "x"
    parts: list[Any] = field(default_factory=list)


@attrs.define
class Slotted:
    a: int
    b: Any = None


class Model(pydantic.BaseModel):
    a: float = 1.0


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Metres(np.ndarray):
    def __new__(cls, values: Any, unit: str) -> Metres:
        made = np.asarray(values).view(cls)
        made.unit = unit  # type: ignore[attr-defined]
        return made


class Named(dict[str, int]):
    def __init__(self, values: Any, label: str) -> None:
        super().__init__(values)
        self.label = label


class Tagged(int):
    tag = "x"


def tagged(number: int) -> Tagged:
    made = Tagged(number)
    made.tag = "y"  # as all that its dict has
    return made


class Broken(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("no")


def twice(factor: int) -> Any:
    """A function that is another object each time, as what was pickled by value is."""
    made: dict[str, Any] = {}
    exec(f"def twice(x, factor={factor}):\n    return factor * x", made)
    return made["twice"]


def figure(height: float = 1.0) -> Any:
    from matplotlib.figure import Figure

    made = Figure()
    made.subplots().plot([0, height])
    return made


X, Y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
FRAME = pd.DataFrame({"a": [1, 2, 3], "b": [1.0, np.nan, 3.0], "c": ["x", None, "z"], "d": pd.Categorical(["u", "v", "u"])})
TIMES = pd.DataFrame({"t": pd.to_datetime(["2020-01-01", None]), "z": pd.to_datetime(["2020-01-01", None]).tz_localize("UTC")})


def changed(value: Any, change: Any) -> Any:
    made = copy.deepcopy(value)
    change(made)
    return made


SAME: list[Any] = [
    *(1, 1.5, math.nan, "x", b"x", None, True, 1j, [1, [2]], {"a": {1, 2}}, (1, "b"), range(3), Colour.RED, dt.date(2020, 1, 1), ...),
    *(X, np.array(["a", None], dtype=object), np.array(["2020", "NaT"], "M8[D]"), np.array([np.nan, 1]), np.zeros((0, 2)), np.array(3)),
    *(np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]), np.ma.array([1, 2], mask=[0, 1]), np.float32(0.5), np.array("abc")),
    *(FRAME, TIMES, FRAME["c"], FRAME.set_index(["a", "c"]), FRAME.index, pd.Series(pd.array([1, None], dtype="Int64"), name="n")),
    *(pl.DataFrame({"a": [1, None], "b": ["x", "y"], "c": [[1], [2, 3]]}), pl.Series("s", [1.5, math.nan])),
    *(pa.table({"a": [1, None], "b": ["x", "y"]}), pa.array([1.5, 2.5]), pa.array([{"k": 1}, None])),
    *(sp.csr_matrix(np.eye(3)), sp.coo_array(np.eye(2)), xr.DataArray(X, dims=("a", "b"), coords={"a": range(10)}, attrs={"u": "m"})),
    *(xr.Dataset({"v": ("a", [1, 2])}), Fit(X), Slotted(1, [X]), Model(), collections.OrderedDict(a=1), collections.deque([1])),
    *(LinearRegression().fit(X, Y), RandomForestClassifier(3, random_state=0).fit(X, Y)),
    make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y),
    *(figure(), len, np.mean, {math.nan: 1}, {math.nan}, [Decimal("nan")], Fit, collections.Counter("aab"), np.random.default_rng(0)),
]  # fmt: skip


@pytest.mark.parametrize("value", SAME, ids=[f"{type(value).__name__} {i}" for i, value in enumerate(SAME)])
def test_copies_are_identical(value: Any) -> None:
    found = compare(value, copy.deepcopy(value))
    assert (found.outcome, found.differences) == ("identical", [])
    assert str(found) == "identical"


def set_item(key: Any, value: Any) -> Any:
    return lambda made: made.__setitem__(key, value)


def set_cell(row: Any, column: str, value: Any) -> Any:
    def change(frame: Any) -> None:
        frame.loc[row, column] = value

    return change


OTHERS: list[tuple[Any, Any, str, str]] = [
    (1, 2, "", "1, 2"),
    ("a", "b", "", "'a', 'b' (from character 0 on)"),
    ([1, {"k": [1, 2]}], [1, {"k": [1, 3]}], "[1]['k'][1]", "2, 3"),
    ([1], [1, 2], "", "1 and 2 items"),
    ([1], (1,), "", "a list, a tuple: [1], (1,)"),
    ({"a": 1}, {"b": 1}, "['a']", "is gone: 1"),
    ({1, 2}, {1, 3}, "", "2 is gone; 3 is new"),
    (True, 1, "", "True, 1"),
    (None, 0, "", "a NoneType, a int: None, 0"),
    ("a\nb\nc\n", "a\nx\nc\n", "", "line 2: 'b\\n', 'x\\n'"),
    ("a\nb\n", "a\nb\nc\n", "", "line 3 is new: 'c\\n'"),
    (b"abc", b"abd", "", "3 bytes, from byte 2 on other ones"),
    (Colour.RED, Colour.BLUE, "", "<Colour.RED: 1>, <Colour.BLUE: 2>"),
    (dt.date(2020, 1, 1), dt.date(2020, 1, 2), "", "datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)"),
    (X, changed(X, set_item((3, 1), 9.0)), "", "1 of 20 values differ, by up to 2 (relatively 0.286); first at [3, 1]: 7.0, 9.0"),
    (X, X[:5], "", "shapes (10, 2) and (5, 2)"),
    (np.array(["a", "b"]), np.array(["a", "c"]), "", "1 of 2 values differ; first at [1]: 'b', 'c'"),
    (np.array([1, None], object), np.array([1, "x"], object), "[1]", "a NoneType, a str: None, 'x'"),
    (np.array([1.0, np.nan]), np.array([1.0, 2.0]), "", "1 of 2 values differ; first at [1]: nan, 2.0"),
    (np.array(["2020", "2021"], "M8[Y]"), np.array(["2020", "NaT"], "M8[Y]"), "", "1 of 2 values differ; first at [1]: "),
    (np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]), np.array([(1, 3.0)], dtype=[("a", "i4"), ("b", "f8")]), "['b']", "1 of 1"),
    (np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[0, 0]), ".mask", "1 of 2 values differ"),
    (FRAME, changed(FRAME, set_cell(1, "b", 5.0)), "['b']", "1 of 3 values differ; first at [1]: nan, 5.0"),
    (FRAME, changed(FRAME, set_cell(2, "c", "y")), "['c'][2]", "'z', 'y' (from character 0 on)"),
    (FRAME, changed(FRAME, set_cell(2, "d", "v")), "['d'][2]", "'u', 'v' (from character 0 on)"),
    (FRAME, FRAME.drop(columns="a"), "['a']", "is gone: "),
    (FRAME, FRAME.iloc[:2], "", "3 rows, 2 rows"),
    (pd.DataFrame([[1, 2]], columns=["a", "a"]), pd.DataFrame([[1, 3]], columns=["a", "a"]), "['a']", "1 of 1 values differ"),
    (FRAME, FRAME.rename_axis(columns="k"), ".names[0]", "a NoneType, a str: None, 'k'"),
    (FRAME, FRAME.set_axis([0, 1, 5]), ".index", "1 of 3 values differ"),
    (FRAME["a"], FRAME["a"].rename("k"), ".name", "'a', 'k' (from character 0 on)"),
    (TIMES, changed(TIMES, set_cell(0, "t", pd.Timestamp("2021-01-01"))), "['t']", "1 of 2 values differ"),
    (pl.DataFrame({"a": [1, None]}), pl.DataFrame({"a": [1, 2]}), "['a'][1]", "a NoneType, a int: None, 2"),
    (pl.DataFrame({"a": [1.0, 2.0]}), pl.DataFrame({"a": [1.0, 2.5]}), "['a']", "1 of 2 values differ, by up to 0.5"),
    (pa.table({"a": [1, 2]}), pa.table({"a": [1, 3]}), "['a']", "1 of 2 values differ, by up to 1"),
    (pa.table({"a": [1, 2]}), pa.table({"b": [1, 2]}), "['a']", "is gone: "),
    (pa.table([[1], [2]], names=["a", "a"]), pa.table([[1], [3]], names=["a", "a"]), "['a']", "1 of 1 values differ"),
    (sp.csr_matrix(np.eye(3)), sp.csr_matrix(2 * np.eye(3)), ".data", "3 of 3 values differ"),
    (sp.coo_matrix(([1, 2], ([0, 0], [0, 0]))), sp.coo_matrix(([3, 2], ([0, 0], [0, 0]))), ".data", "first at [0]: 3, 5"),
    (sp.csr_matrix(np.eye(3)), sp.csc_matrix(np.eye(3)), "", "scipy.csr_matrix"),
    (xr.DataArray(X, dims=("a", "b")), xr.DataArray(X + 1, dims=("a", "b")), "", "20 of 20 values differ"),
    (xr.DataArray([1], coords={"a": [1]}), xr.DataArray([1], coords={"a": [2]}), ".coords['a']", "1 of 1"),
    (xr.DataArray([1], name="a"), xr.DataArray([1], name="b"), ".name", "'a', 'b'"),
    (Metres([1], "m"), Metres([1], "km"), ".unit", "'m', 'km'"),
    (Named({"a": 1}, "x"), Named({"a": 1}, "y"), ".label", "'x', 'y'"),
    (collections.deque([1], 2), collections.deque([1], 3), ".maxlen", "2, 3"),
    (collections.defaultdict(int), collections.defaultdict(list), ".default_factory", "<class 'int'>, <class 'list'>"),
    (tagged(1), tagged(2), ".arguments[1]", "1, 2"),
    (Broken(a=1), Broken(a=2), "", "it cannot be compared: RuntimeError: no"),
    (twice(2), twice(3), ".__defaults__[0]", "2, 3"),
    (b"a" * 50_000_000, b"a" * 50_000_000 + b"b", "", "50,000,000 and 50,000,001 bytes, from byte 50,000,000 on other ones"),
    (Fit(X), Fit(X + 1), ".coefficients", "20 of 20 values differ, by up to 1"),
    (Slotted(1), Slotted(2), ".a", "1, 2"),
    (Model(a=1.0), Model(a=2.0), ".a", "1.0, 2.0"),
    (LinearRegression().fit(X, Y), LinearRegression().fit(X, Y + 1), ".intercept_", ""),
    (LinearRegression(), LinearRegression(fit_intercept=False), ".fit_intercept", "True, False"),
    (figure(), figure(2.0), ".svg", "on other ones"),
    (len, max, "", "<built-in function len>, <built-in function max>"),
]


@pytest.mark.parametrize(("a", "b", "path", "text"), OTHERS, ids=[f"{type(row[0]).__name__} {i}" for i, row in enumerate(OTHERS)])
def test_the_first_difference_is_told_with_its_place(a: Any, b: Any, path: str, text: str) -> None:
    found = compare(a, b)
    assert found.outcome == "different"
    first = next(each for each in found.differences if each.outcome == "different")
    assert first.path.startswith(path) and first.path == path, first
    assert text in first.text, first


EQUAL: list[tuple[Any, Any, float, float]] = [
    (1.0, 1.0 + 1e-9, 1e-6, 0.0),
    (0.0, 1e-9, 0.0, 1e-6),
    (1, 1.0, 0.0, 0.0),
    (0.0, -0.0, 0.0, 0.0),
    (np.float32(1), np.float64(1), 0.0, 0.0),
    (X, X.astype("f4"), 0.0, 0.0),
    (X, X + 1e-9, 1e-6, 1e-6),
    (np.array([0.0]), np.array([-0.0]), 0.0, 0.0),
    ([1, {"a": X}], [1, {"a": X + 1e-9}], 0.0, 1e-6),
    (FRAME, FRAME.assign(b=FRAME["b"] + 1e-9), 1e-6, 0.0),
    (dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2020, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), 0.0, 0.0),
    (np.array(["a"]), np.array(["a"], dtype=object), 0.0, 0.0),
    (pd.Series(["a", None]), pd.Series(["a", None], dtype=object), 0.0, 0.0),
    (FRAME, FRAME.set_axis(pd.Index([0, 1, 2])), 0.0, 0.0),
    (FRAME, FRAME[["b", "a", "c", "d"]], 0.0, 0.0),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}, 0.0, 0.0),
    (pl.DataFrame({"a": [1.0]}), pl.DataFrame({"a": [1.0 + 1e-9]}), 1e-6, 0.0),
    (pl.Series("s", [1], dtype=pl.Int32), pl.Series("s", [1], dtype=pl.Int64), 0.0, 0.0),
    (pa.table({"a": [1.0]}), pa.table({"a": [1.0 + 1e-9]}), 1e-6, 0.0),
    (sp.csr_matrix(np.eye(3)), sp.csr_matrix(np.eye(3) * (1 + 1e-9)), 1e-6, 0.0),
    (LinearRegression().fit(X, Y), LinearRegression().fit(X, Y + 1e-9), 1e-3, 1e-6),
]


@pytest.mark.parametrize(("a", "b", "rtol", "atol"), EQUAL, ids=[f"{type(row[0]).__name__} {i}" for i, row in enumerate(EQUAL)])
def test_equal_within_the_tolerance_and_not_without(a: Any, b: Any, rtol: float, atol: float) -> None:
    found = compare(a, b, rtol, atol)
    assert found.outcome == "equal", found
    if rtol or atol:
        assert compare(a, b).outcome == "different"


def test_slices_are_compared_by_their_bounds() -> None:
    assert compare([slice(0, 1)], [slice(0, 1)]).outcome == "identical"
    assert compare([slice(0, 1)], [slice(False, 1)]).outcome == "different"


@example({(0.0, math.nan): 0.0}, {(0.0, float("nan")): 0.0})
@example([range(0)], [range(0, 0, 2)])
@given(values, values)
def test_identical_exactly_where_values_and_types_are_the_same(a: Any, b: Any) -> None:
    def ordered(value: Any) -> Any:
        return typed(value)

    assert (compare(a, b).outcome != "different") or ordered(a) != ordered(b)
    assert compare(a, a).outcome == "identical"
    assert compare(a, copy.deepcopy(a)).outcome == "identical"
    if compare(a, b).outcome == "identical":
        assert typed(a) == typed(b)


@example([math.nan], [-math.nan], 0.0, 0.0)
@given(st.lists(st.floats(), min_size=1), st.lists(st.floats(), min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_arrays_are_judged_as_their_items_are(one: list[float], two: list[float], rtol: float, atol: float) -> None:
    number = min(len(one), len(two))
    one, two = one[:number], two[:number]
    assert compare(np.array(one), np.array(two), rtol, atol).outcome == compare(one, two, rtol, atol).outcome


def test_what_contains_itself_and_what_is_deep() -> None:
    one: list[Any] = [1]
    one.append(one)
    two: list[Any] = [1]
    two.append(two)
    assert compare(one, two).outcome == "identical"
    deep_one: Any = 1
    deep_two: Any = 2
    for _ in range(300):
        deep_one, deep_two = [deep_one], [deep_two]
    assert "nested too deeply" in str(compare(deep_one, deep_two))


def test_differences_are_counted_and_the_first_are_kept() -> None:
    found = compare(list(range(1000)), list(range(1, 1001)))
    assert (found.number, len(found.differences)) == (1000, MOST)
    assert str(found).splitlines()[0] == "different"
    assert str(found).endswith("and 900 more")
    assert "and 900 more" in found._repr_html_()
    assert repr(found) == "<Comparison: different, 1000 differences>"


def test_large_arrays_are_compared_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from persistable.catalog.reproduce import compare as module

    monkeypatch.setattr(module, "_CHUNK", 7)
    a = np.arange(100.0)
    b = a.copy()
    b[[50, 99]] += [1, 3]
    (only,) = compare(a, b).differences
    assert only.text == "2 of 100 values differ, by up to 3 (relatively 0.0303); first at [50]: 50.0, 51.0"


def test_nothing_is_changed_and_a_negative_tolerance_is_refused() -> None:
    frame = FRAME.copy()
    compare(frame, changed(frame, set_cell(0, "a", 9)))
    pd.testing.assert_frame_equal(frame, FRAME)
    with pytest.raises(ValueError, match="0 or more"):
        compare(1, 1, rtol=-1)
    with pytest.raises(ValueError, match="0 or more"):
        compare(1, 1, atol=math.nan)


def test_functions_pickled_by_value_are_the_same_code() -> None:
    assert compare(twice(2), twice(2)).outcome == "identical"
