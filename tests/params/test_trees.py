"""Trees: JSON that holds what the bytes hold, from which values can be made again and compared."""

import collections
import copy
import datetime as dt
import decimal
import enum
import fractions
import functools
import json
import math
import re
import types
import typing
import uuid
import zoneinfo
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from sklearn.linear_model import Ridge

from persistable.errors import ParamsError
from persistable.params.building import restore
from persistable.params.encoding import encode
from persistable.params.fields import formerly, omit_when, untracked
from persistable.params.snapshots import untracked_values
from persistable.params.trees import absent, differences, from_tree, tree
from persistable.testing.strategies import plain, typed, values


class Colour(enum.Enum):
    RED = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2


Point = collections.namedtuple("Point", "x y")


@dataclass
class Optimizer:
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    jobs: Annotated[int, untracked] = 1
    decay: Annotated[float, omit_when(0.0)] = 0.5


@dataclass
class Train:
    n: int
    optimizer: Optimizer = field(default_factory=Optimizer)
    size: Annotated[int, formerly("rows")] = 10
    logger: Annotated[Any, untracked] = None


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(tree(value), allow_nan=False))


@given(plain)
def test_plain_values_come_back_from_their_tree(value: Any) -> None:
    assert typed(from_tree(through_json(value))) == typed(value)


@given(values)
def test_library_values_come_back_from_their_tree(value: Any) -> None:
    assert encode(from_tree(through_json(value))) == encode(value)


@given(values, values)
def test_trees_are_equal_exactly_where_bytes_are(a: Any, b: Any) -> None:
    assert (json.dumps(tree(a), sort_keys=True) == json.dumps(tree(b), sort_keys=True)) == (encode(a) == encode(b))


@given(values, values)
def test_differences_are_empty_exactly_where_bytes_are_equal(a: Any, b: Any) -> None:
    assert (not differences(tree(a), tree(b))) == (encode(a) == encode(b))


REBUILT: list[Any] = [
    *(Colour.RED, Access.READ | Access.WRITE, Point(1, 2), [Optimizer(), {"a": Optimizer(decay=0.0)}]),
    *(1 << 80, -(1 << 63), 10**5000, math.inf, -math.inf, "\ud800", {"$tuple": 1}, {"": 1}, {"a\n": 1}, {"$": {"$$": []}}),
    *(bytearray(b"a"), complex(-0.0, 2), range(1, 9, 2), slice(None, 3), ..., NotImplemented, types.MappingProxyType({"a": 1})),
    *(collections.OrderedDict(b=1, a=2), collections.Counter("aab"), collections.defaultdict(list, {"a": [1]}), collections.deque([1], 3)),
    *(
        decimal.Decimal("1.50"),
        decimal.Decimal("-Infinity"),
        fractions.Fraction(1, 3),
        uuid.UUID(int=7),
        Path("a/b"),
        re.compile("a", re.I),
    ),
    *(dt.timezone.utc, zoneinfo.ZoneInfo("Europe/Berlin"), dt.time(1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))),  # noqa: UP017
    *(
        functools.partial(int, base=2),
        int,
        len,
        list[int],
        dict[str, list[int]],
        int | None,
        typing.Literal["a", 1],
        typing.Any,
        array("d", [1.0]),
        re,
    ),
    *(
        np.dtype([("a", "<f8", (2,)), ("b", "<U3")]),
        np.float64,
        np.sin,
        np.datetime64("2020-01-01", "ns"),
        np.timedelta64(3, "s"),
        np.longdouble(1) / 3,
    ),
    *(
        np.arange(6).reshape(2, 3),
        np.array(["a", "bc"]),
        np.array([1, "a", None], dtype=object),
        np.zeros((0, 2)),
        np.array(3.0),
        np.array([[1]]).view(np.matrix),
    ),
    *(np.array([(1, 2.0)], dtype=[("a", ">i4"), ("b", "f8")]), np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])),
    *(np.ma.array([1, 2], mask=[0, 1]), np.ma.masked, np.array(["2020", "NaT"], dtype="M8[D]")),
    *(pd.Timestamp("2020-01-01 12:00"), pd.Timestamp("2020-01-01", tz="Europe/Berlin"), pd.Timedelta(3, "s"), pd.NaT, pd.NA),
    *(pd.Period("2020-01", "M"), pd.Interval(1, 2, closed="left"), Ridge(alpha=2.0)),
]


@pytest.mark.parametrize("value", REBUILT, ids=[f"{type(v).__name__} {i}" for i, v in enumerate(REBUILT)])
def test_values_come_back_with_type_and_content(value: Any) -> None:
    found = from_tree(through_json(value))
    assert encode(found) == encode(value)
    assert type(found) is type(value) or isinstance(found, Path | types.UnionType)


def test_params_at_the_top_are_a_plain_dict_of_their_fields() -> None:
    shown = tree(Train(100))
    assert shown["n"] == 100
    assert shown["optimizer"] == {
        "$object": "Optimizer",
        "$class": f"{__name__}:Optimizer",
        "lr": 0.1,
        "betas": {"$tuple": [0.9, 0.99]},
        "decay": 0.5,
    }


def test_a_string_key_that_starts_like_a_tag_is_not_taken_for_one() -> None:
    assert tree({"$tuple": [1]}) != tree((1,))
    assert tree({"$tuple": [1], "a": 2}) == {"$dict": [["a", 2], ["$tuple", [1]]]}


def test_params_are_made_again_from_tree_and_class() -> None:
    params = Train(3, Optimizer(lr=1.0, decay=0.0), size=7)
    assert restore(Train, from_tree(through_json(params))) == params
    params.logger = "x"
    assert restore(Train, from_tree(through_json(params)), {"logger": "x"}) == params


def test_a_field_left_out_comes_back_as_its_pinned_value_and_not_as_the_default() -> None:
    assert "decay" not in tree(Optimizer(decay=0.0))
    assert restore(Optimizer, from_tree(tree(Optimizer(decay=0.0)))).decay == 0.0


def test_post_init_is_not_applied_twice() -> None:
    @dataclass
    class P:
        a: int

        def __post_init__(self) -> None:
            self.a *= 2

    made = P(3)
    assert restore(P, from_tree(tree(made))).a == made.a == 6


def test_a_field_that_is_gone_is_an_error() -> None:
    with pytest.raises(ParamsError, match="'gone'"):
        restore(Train, {"n": 1, "gone": 2})


def test_long_arrays_and_buffers_are_digests_and_say_so_when_asked_for_the_value() -> None:
    long = tree({"a": np.arange(100_000), "b": b"x" * 5000, "c": np.array(list("abc") * 1000, dtype=object)})
    assert len(json.dumps(long)) < 2000
    for name in long:
        with pytest.raises(ParamsError, match="digest"):
            from_tree(long[name])


def test_a_class_that_cannot_be_imported_is_a_clear_error() -> None:
    with pytest.raises(ParamsError, match="nowhere:Gone cannot be imported"):
        from_tree({"$object": "Gone", "$class": "nowhere:Gone"})


def test_differences_have_dotted_paths_and_both_values() -> None:
    a, b = Train(1), Train(2, Optimizer(betas=(0.9, 0.5)))
    assert differences(tree(a), tree(b)) == {"n": (1, 2), "optimizer.betas.1": (0.99, 0.5)}
    assert differences({"a": 1}, {"b": 2}) == {"a": (1, absent), "b": (absent, 2)}
    assert differences({"a": 1}, {"a": 1.0}) == {"a": (1, 1.0)}
    assert differences({"a": 0.0}, {"a": -0.0}) != {}
    assert copy.copy(absent) is absent


def test_untracked_values_are_told_by_their_place_whatever_they_are() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    params = Train(1, Optimizer(jobs=4), logger=Hostile())
    assert untracked_values(params) == {"optimizer.jobs": 4, "logger": {"$repr": f"<{Hostile.__qualname__}>"}}
    assert untracked_values({"a": [Optimizer(jobs=2)]}) == {"a.0.jobs": 2}
    assert untracked_values(object()) == {}
