"""What generating code sees is what the key says: what shares a key arrives in one form, what arrives otherwise has another key."""

import collections
import datetime as dt
import functools
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from persistable import Persistable, step
from persistable.errors import UntrackableParam
from persistable.params.coercion import coerce_params, typed_params
from persistable.params.encoding import encode


@dataclass
class Holder:
    x: Any


Pair = collections.namedtuple("Pair", "a b")
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(-100, 100), st.floats(width=32), st.text(max_size=3))
NUMPY = {bool: np.bool_, int: np.int64, float: np.float64, str: np.str_}


def dressed(value: Any, draw: Any) -> Any:
    """`value` with some of what is in it as numpy scalars."""
    if isinstance(value, list):
        return [dressed(each, draw) for each in value]
    if isinstance(value, tuple):
        return tuple(dressed(each, draw) for each in value)
    if isinstance(value, dict):
        return {dressed(name, draw): dressed(each, draw) for name, each in value.items()}
    kind = NUMPY.get(type(value))
    return kind(value) if kind is not None and not (isinstance(value, str) and "\0" in value) and draw(st.booleans()) else value


def types_in(value: Any) -> Any:
    """The types of all that is in `value`, as deep as it goes."""
    if isinstance(value, list | tuple):
        return type(value), [types_in(each) for each in value]
    if isinstance(value, dict):
        return dict, [(types_in(name), types_in(each)) for name, each in value.items()]
    return type(value)


@given(
    st.recursive(
        PLAIN, lambda inner: st.one_of(st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(PLAIN, inner, max_size=3))
    ),
    st.data(),
)
def test_what_has_one_key_has_one_form(value: Any, data: Any) -> None:
    other = dressed(value, data.draw)
    seen, seen_other = coerce_params(Holder(value)).x, coerce_params(Holder(other)).x
    assert encode(seen) == encode(seen_other)
    assert types_in(seen) == types_in(seen_other)


f, g = np.float64(2), np.float32(0.5)


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (f, 2.0),
        ({f: [g]}, {2.0: [0.5]}),
        (frozenset([f]), frozenset([2.0])),
        (collections.OrderedDict(a=f), collections.OrderedDict(a=2.0)),
        (collections.defaultdict(list, a=f), collections.defaultdict(list, a=2.0)),
        (collections.Counter({"a": np.int64(2)}), collections.Counter({"a": 2})),
        (collections.deque([f], 3), collections.deque([2.0], 3)),
        (types.MappingProxyType({"a": f}), types.MappingProxyType({"a": 2.0})),
        (slice(np.int64(1), None), slice(1, None)),
        (functools.partial(int, f), functools.partial(int, 2.0)),
        (Pair(f, g), Pair(2.0, 0.5)),
        (Ridge(alpha=f), Ridge(alpha=2.0)),
        (make_pipeline(Ridge(alpha=f)), make_pipeline(Ridge(alpha=2.0))),
        ([Holder(f)], [Holder(2.0)]),
    ],
)
def test_numpy_scalars_are_python_values_wherever_they_are(given: Any, seen: Any) -> None:
    before = repr(given)
    found = coerce_params(Holder(given)).x
    assert repr(found) == repr(seen) != before
    assert type(found) is type(seen)
    assert encode(found) == encode(seen)
    assert repr(given) == before  # the user's own object stays as it was


def test_what_identity_has_by_dtype_stays_as_it_is() -> None:
    for value in (np.datetime64("2020-01-01"), np.timedelta64(1, "D"), np.longdouble(0.1), np.zeros(1, "i4,f4")[0]):
        assert coerce_params(Holder([value])).x[0] is value


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    anything: Any = None
    number: float = 1.0
    exact: np.float32 = np.float32(1)


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", frozen=True)
    inner: Any = None


@attrs.define
class Converted:
    x: float = attrs.field(converter=np.float64)
    y: Any = None


def test_models_of_pydantic_and_attrs_too() -> None:
    model = typed_params(Model, {"anything": [f], "number": f})
    assert types_in([model.anything, model.number]) == types_in([[2.0], 2.0])
    assert type(model.exact) is np.float32
    assert types_in(coerce_params(Model(anything=(f,))).anything) == types_in((2.0,))
    more = typed_params(Open, {"inner": [Model(anything=f)], "more": [f], "one": g})
    assert types_in([more.inner[0].anything, more.more, more.one]) == types_in([2.0, [2.0], 0.5])  # type: ignore[attr-defined]
    converted = typed_params(Converted, {"x": 1.0, "y": f})
    assert (type(converted.x), type(converted.y)) == (float, float)


@dataclass
class Typed:
    x: np.float32
    n: np.int64 = 3  # type: ignore[assignment]
    either: "float | np.float32" = 0.5
    maybe: "np.float32 | None" = None
    wide: "np.floating[Any]" = g


def test_a_declared_numpy_type_is_the_form_of_all_that_share_its_key() -> None:
    for value in (0.5, np.float32(0.5), np.float64(0.5)):
        seen = typed_params(Typed, {"x": value, "either": value, "maybe": value, "wide": value})
        assert [type(each) for each in vars(seen).values()] == [np.float32, np.int64, float, np.float32, float]
    for value in (0.1, np.float64(0.1)):  # no float32 is 0.1
        assert type(typed_params(Typed, {"x": value}).x) is float


@step
def doubled(x: Any) -> str:
    return type(x).__name__


def test_steps_and_families_hand_on_python_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert doubled.step(np.float64(2)).key == doubled.step(2.0).key
    assert doubled.step(np.float64(2)).payload == doubled.step(2.0).payload == "float"
    family = doubled.over(x=np.array([1.0, 2.0]))
    assert [node.payload for node in family.nodes] == ["float", "float"]
    assert family.nodes[1].key == doubled.step(2.0).key


def test_a_captured_scalar_keeps_its_type_and_says_so() -> None:
    def make(k: Any) -> Any:
        @step(name="scaled")
        def scaled() -> Any:
            return k

        return scaled.step()

    values = [2.0, np.float64(2), np.float32(2), [2.0], [np.float64(2)], {"a": (np.float64(2),)}, {"a": (2.0,)}]
    assert len({make(value).key for value in values}) == len(values)
    assert make(np.float64(2)).key == make(np.float64(2)).key


def test_scalars_in_arrays_and_columns_of_objects_keep_their_types_and_say_so() -> None:
    plain, other = np.array([1.0, "a"], dtype=object), np.array([np.float64(1), "a"], dtype=object)
    assert encode(plain) != encode(other)
    assert encode(pd.Series(plain)) != encode(pd.Series(other))
    assert encode(plain) == encode(np.array([1.0, "a"], dtype=object))


# ------------------------------------------------------------------ times


def test_a_zone_is_its_name_and_an_offset_its_number() -> None:
    moment = dt.datetime.fromisoformat("2020-01-31T12:00")
    berlin, lagos, offset = ZoneInfo("Europe/Berlin"), ZoneInfo("Africa/Lagos"), dt.timezone(dt.timedelta(hours=1))
    made = [moment.replace(tzinfo=zone) for zone in (None, berlin, lagos, offset, dt.UTC)]
    assert len({encode(each) for each in made}) == len(made)
    assert encode(made[1]) == encode(dt.datetime(2020, 1, 31, 12, tzinfo=ZoneInfo("Europe/Berlin")))
    assert encode(made[3]) == encode(moment.replace(tzinfo=dt.timezone(dt.timedelta(hours=1), "CET")))
    times = [dt.time(12, tzinfo=zone) for zone in (None, berlin, ZoneInfo("UTC"), offset)]
    assert len({encode(each) for each in times}) == len(times)


def test_the_second_of_two_equal_hours_is_another() -> None:
    hour = dt.datetime(2020, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert encode(hour) != encode(hour.replace(fold=1))


def test_a_zone_that_differs_between_machines_is_refused() -> None:
    tz = pytest.importorskip("dateutil.tz")
    assert encode(dt.datetime(2020, 1, 1, tzinfo=tz.tzutc())) == encode(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    for zone in (tz.tzlocal(), tz.gettz("Europe/Berlin")):
        for value in (dt.datetime(2020, 1, 1, tzinfo=zone), pd.Timestamp("2020-01-01", tz=zone)):
            with pytest.raises(UntrackableParam, match="ZoneInfo"):
                encode(value)


class Later(Persistable[str, Holder]):
    def _generate_payload(self, **untracked: Any) -> str:
        return (self.params.x + dt.timedelta(days=180)).isoformat()


def test_a_zone_comes_back_from_a_record(tmp_path: Any) -> None:
    from persistable.params.trees import from_tree, tree

    value = dt.datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    again = from_tree(tree(value))
    assert (again, again.fold, again.tzinfo.key) == (value, 1, "Europe/Berlin")
    results = {
        Later(tmp_path, x=dt.datetime(2020, 1, 31, tzinfo=zone)).payload
        for zone in (ZoneInfo("Europe/Berlin"), dt.timezone(dt.timedelta(hours=1)))
    }
    assert len(results) == 2


# ------------------------------------------------------------------ frames and dicts


def test_the_frequency_of_labels_and_attrs_are_identity() -> None:
    days = pd.date_range("2020", periods=4, freq="D")
    bare = pd.DatetimeIndex(list(days))
    months = pd.date_range("2020-01-31", periods=3, freq=pd.offsets.MonthEnd())
    assert bare.freq is None
    assert len({encode(each) for each in (days, bare, months, pd.DatetimeIndex(list(months)))}) == 4
    frame = pd.DataFrame({"a": [1, 2, 3, 4]}, index=days)
    other = frame.set_axis(bare)
    assert encode(frame) != encode(other)
    assert encode(frame) == encode(frame.copy())
    noted = frame.copy()
    noted.attrs["unit"] = "m"
    assert encode(noted) != encode(frame)
    named = frame["a"].copy()
    named.attrs["scale"] = np.float64(2)
    plain = frame["a"].copy()
    plain.attrs["scale"] = 2.0
    assert len({encode(each) for each in (named, plain, frame["a"])}) == 3
    odd = frame.copy()
    odd.attrs["handle"] = object()
    with pytest.raises(UntrackableParam, match=r"handle"):
        encode(odd)


@pytest.mark.parametrize("freq", ["D", "B", "W", "W-MON", "MS", "QS", "h", "min", "3h"])
def test_frequencies_by_text_are_those_of_their_offsets(freq: str) -> None:
    index = pd.date_range("2020", periods=3, freq=freq)
    assert encode(index) == encode(pd.date_range("2020", periods=3, freq=pd.tseries.frequencies.to_offset(freq)))


def test_date_offsets_are_params() -> None:
    offsets = pd.offsets
    made = [
        offsets.MonthEnd(),
        offsets.MonthEnd(2),
        offsets.MonthBegin(),
        offsets.Hour(24),
        offsets.DateOffset(months=1),
        offsets.DateOffset(months=2),
    ]
    made += [offsets.MonthEnd(normalize=True), offsets.BusinessHour(start="08:00"), offsets.BusinessHour(), offsets.Week(weekday=0)]
    assert len({encode(each) for each in made}) == len(made)
    from persistable.params.trees import from_tree, tree

    assert [from_tree(tree(each)) for each in made[:7]] == made[:7]


def test_the_order_of_a_dict_never_counts_and_that_of_an_ordered_dict_does() -> None:
    assert encode({"a": 1, "b": 2}) == encode({"b": 2, "a": 1})
    one, other = (collections.OrderedDict(pairs) for pairs in ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)]))
    assert len({encode(each) for each in (one, other, {"a": 1, "b": 2})}) == 3
