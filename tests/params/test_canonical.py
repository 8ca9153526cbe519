"""The bytes: equal for equal values, different for different ones, and readable by anyone who has the specification."""

from __future__ import annotations

import collections
import copy
import datetime as dt
import enum
import math
import struct
import subprocess
import sys
from dataclasses import make_dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from persistable.params.encoding import encode
from persistable.testing.strategies import hashable, plain, scalars, typed, values

GOLDEN = Path(__file__).parents[1] / "golden" / "check.py"


class Colour(enum.Enum):
    RED = 1


class Number(enum.IntEnum):
    ONE = 1


class Word(enum.StrEnum):
    A = "a"


class Pair(NamedTuple):
    a: int
    b: int


class Twin(NamedTuple):
    a: int
    b: int


# ------------------------------------------------------------------ the specification, read by someone else


def decode(raw: bytes) -> Any:
    """A reader of the plain part of docs/design/identity.md that shares no code with the writer."""
    value, end = _read(raw, 0)
    assert end == len(raw)
    return value


def _read(raw: bytes, at: int) -> tuple[Any, int]:
    tag, at = raw[at : at + 1], at + 1
    if tag in b"NTF":
        return {b"N": None, b"T": True, b"F": False}[tag], at
    if tag == b"i":
        end = raw.index(b";", at)
        return int(raw[at:end], 16), end + 1
    if tag == b"f":
        return struct.unpack(">d", raw[at : at + 8])[0], at + 8
    if tag in b"sb":
        colon = raw.index(b":", at)
        end = colon + 1 + int(raw[at:colon])
        content = raw[colon + 1 : end]
        return content.decode("utf-8", "surrogatepass") if tag == b"s" else content, end
    if tag == b"@":
        name, at = _read(raw, at)
        assert name == "frozenset"
        value, at = _read(raw, at)
        return frozenset(value), at
    closing, items = {b"[": b"]", b"(": b")", b"{": b"}", b"<": b">"}[tag], []
    while raw[at : at + 1] != closing:
        item, at = _read(raw, at)
        items.append(item)
    if tag == b"{":
        return dict(zip(items[::2], items[1::2], strict=True)), at + 1
    return {b"[": list, b"(": tuple, b"<": set}[tag](items), at + 1


@given(plain)
def test_bytes_hold_the_whole_value_with_its_types(value: Any) -> None:
    assert typed(decode(encode(value))) == typed(value)


# ------------------------------------------------------------------ equal values, equal bytes


@given(values)
def test_a_copy_that_shares_nothing_has_the_same_bytes(value: Any) -> None:
    assert encode(copy.deepcopy(value)) == encode(value)


@given(plain, st.randoms())
def test_the_order_of_dicts_and_sets_does_not_matter(value: Any, random: Any) -> None:
    assert encode(_shuffled(value, random)) == encode(value)


def _shuffled(value: Any, random: Any) -> Any:
    if isinstance(value, dict):
        items = list(value.items())
        random.shuffle(items)
        return {key: _shuffled(item, random) for key, item in items}
    if isinstance(value, list | tuple):
        return type(value)(_shuffled(item, random) for item in value)
    if isinstance(value, set | frozenset):
        items = list(value)
        random.shuffle(items)
        return type(value)(items)
    return value


@given(plain)
def test_a_value_met_twice_counts_as_two_equal_ones(value: Any) -> None:
    assert encode([value, value]) == encode([value, copy.deepcopy(value)])


def test_every_nan_is_one_nan() -> None:
    strange = struct.unpack(">d", bytes.fromhex("fff8000000000123"))[0]
    assert encode(strange) == encode(math.nan) == encode(-math.nan) == encode(float("inf") - float("inf"))


def test_windows_and_posix_paths_with_the_same_parts_are_one_path() -> None:
    assert encode(PureWindowsPath("a\\b")) == encode(PurePosixPath("a/b")) == encode(Path("a/b"))


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_digests_are_the_golden_ones_for_any_hash_seed(seed: str) -> None:
    done = subprocess.run([sys.executable, str(GOLDEN)], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 wrong" in done.stdout


# ------------------------------------------------------------------ different values, different bytes


@given(values, values)
def test_bytes_are_equal_only_for_one_value_of_one_type(a: Any, b: Any) -> None:
    assert (encode(a) == encode(b)) == (typed(a) == typed(b))


@given(scalars, scalars)
def test_scalars_differ_by_type_as_well_as_by_value(a: Any, b: Any) -> None:
    assert (encode(a) == encode(b)) == (typed(a) == typed(b))


@given(values, values)
def test_no_encoding_is_the_beginning_of_another(a: Any, b: Any) -> None:
    assume(typed(a) != typed(b))
    assert not encode(a).startswith(encode(b))


@given(st.lists(hashable, max_size=4, unique_by=typed))
def test_containers_of_the_same_items_differ_by_kind(items: list[Any]) -> None:
    made: list[Any] = [items, tuple(items), collections.deque(items)]
    made += [set(items), frozenset(items), dict.fromkeys(items), collections.OrderedDict.fromkeys(items)]
    assert len({encode(value) for value in made}) == len(made)


LOOK_ALIKES: list[Any] = [
    *(0, 0.0, -0.0, False, None, "", b"", [], (), {}, set(), frozenset(), "0", b"0", [0], (0,), {0: 0}, {0}, "None", [None], (None,), "[]"),
    *(
        1,
        1.0,
        True,
        "1",
        b"1",
        1 + 0j,
        Colour.RED,
        Number.ONE,
        Colour,
        Number,
        int,
        bool,
        "int",
        bytearray(b"1"),
        range(1),
        slice(1),
        ...,
        "...",
    ),
    *("a", b"a", Path("a"), Word.A, ["a"], "Colour.RED", ("a",), {"a"}, {"a": None}, frozenset("a"), 1 << 70, float(1 << 70)),
    *(
        Pair(1, 2),
        Twin(1, 2),
        (1, 2),
        [1, 2],
        {"a": 1, "b": 2},
        {1: 2},
        [[1], 2],
        [1, [2]],
        [[1, 2]],
        ((1, 2),),
        [(1, 2)],
        {1, 2},
        frozenset({1, 2}),
    ),
    *(
        {"a.b": 1},
        {"a": {"b": 1}},
        {"a": {"b": "1"}},
        {("a", "b"): 1},
        {"a": 1.0},
        {"a": "1"},
        {"1": 1},
        {1: 1},
        {True: 1, "x": 1},
        {"x": 1},
    ),
    *(["a-b", "c"], ["a", "b-c"], ["a-b-c"], "a-b,c", ["a,b", "c"], ["a", "b,c"], [["a"], "b"], ["a", ["b"]], "ab", ["ab"]),
    dt.datetime(2020, 1, 1),  # noqa: DTZ001
    dt.datetime(2020, 1, 1, fold=1),  # noqa: DTZ001
    dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))),
    *(
        dt.date(2020, 1, 1),
        dt.time(0),
        dt.time(0, tzinfo=dt.UTC),
        "2020-01-01",
        dt.timedelta(0),
        dt.timedelta(1),
    ),
    *(list[int], list[str], tuple[int], dict[int, str], int | None, int | str, len, sorted, type(None)),
]


def test_values_that_look_alike_all_differ() -> None:
    found: dict[bytes, Any] = {}
    for value in LOOK_ALIKES:
        raw = encode(value)
        assert raw not in found, f"{value!r} and {found[raw]!r} have the same bytes"
        found[raw] = value


def test_params_classes_of_different_names_differ() -> None:
    one, other = make_dataclass("One", ["a"]), make_dataclass("Other", ["a"])
    assert encode(one(1)) != encode(other(1)) != encode({"a": 1})


def test_the_module_of_a_params_class_is_not_identity() -> None:
    here, there = (
        make_dataclass("Same", ["a"], namespace={"__module__": "here"}),
        make_dataclass("Same", ["a"], namespace={"__module__": "there"}),
    )
    assert encode(here(1)) == encode(there(1))


def test_a_class_defined_again_is_looked_at_again() -> None:
    """A notebook cell runs twice: the second class of one name has other fields."""
    first = encode(make_dataclass("Cell", ["a"])(1))
    assert encode(make_dataclass("Cell", ["a", "b"])(1, 2)) != first
    assert encode(make_dataclass("Cell", ["a"])(1)) == first


def test_classes_that_are_gone_are_forgotten() -> None:
    import gc

    from persistable.params import encoding

    before = len(encoding._WRITERS.found)
    for i in range(50):
        encode(make_dataclass(f"Cell{i}", ["a"])(1))
    gc.collect()
    assert len(encoding._WRITERS.found) <= before + 2
