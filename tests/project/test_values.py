"""Values read by the type of their field, from a file and from text."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import attrs
import numpy as np
import pydantic
import pytest
from numpy.typing import NDArray
from tests.project.flows import Optimizer

from persistable import omit_when
from persistable.errors import ConfigError
from persistable.project.coerce import literal, read
from persistable.project.scalars import UntypedText

Colour = Enum("Colour", {"RED": 1, "BLUE": 2})
Word = Enum("Word", {"YES": "y", "NO": "n"})


class Level(IntEnum):
    LOW = 1


class Point(NamedTuple):
    x: float
    y: int = 0


class Options(TypedDict, total=False):
    a: int
    b: str


@attrs.define
class Attrs:
    a: int = 1
    b: list[float] = attrs.Factory(list)


class Model(pydantic.BaseModel):
    a: int = 1
    day: date = date(2000, 1, 1)


@dataclass
class Outer:
    inner: Optimizer
    more: list[Optimizer] = field(default_factory=list)
    start: InitVar[int] = 0


UserId = NewType("UserId", int)
T = TypeVar("T", bound=float)


def text(value: str) -> UntypedText:
    return UntypedText(value, "--set it")


# annotation, what was written as text, what it means
AS_TEXT: list[tuple[Any, str, Any]] = [
    (bool, "False", False),
    (bool, "false", False),
    (bool, "no", False),
    (bool, "0", False),
    (bool, "OFF", False),
    (bool, "True", True),
    (bool, "on", True),
    (int, "500", 500),
    (int, "-1_000", -1000),
    (int, "0x1f", 31),
    (float, "1", 1.0),
    (float, "1e-3", 0.001),
    (float, "-inf", float("-inf")),
    (complex, "1+2j", 1 + 2j),
    (str, "500", "500"),
    (str, "None", "None"),
    (str, '"quoted"', '"quoted"'),
    (str, "", ""),
    (bytes, "ab", b"ab"),
    (date, "2024-01-31", date(2024, 1, 31)),
    (datetime, "2024-01-31T12:00:00", datetime(2024, 1, 31, 12)),  # noqa: DTZ001
    (time, "12:30", time(12, 30)),
    (timedelta, "90", timedelta(seconds=90)),
    (timedelta, "1:30:00", timedelta(hours=1.5)),
    (timedelta, "2 days, 1:00:00", timedelta(days=2, hours=1)),
    (timedelta, str(timedelta(days=-1, seconds=3.5)), timedelta(days=-1, seconds=3.5)),
    (Decimal, "0.10", Decimal("0.10")),
    (Fraction, "1/3", Fraction(1, 3)),
    (uuid.UUID, "12345678123456781234567812345678", uuid.UUID("12345678123456781234567812345678")),
    (re.Pattern, "a+", re.compile("a+")),
    (ZoneInfo, "Europe/Berlin", ZoneInfo("Europe/Berlin")),
    (Path, "a/b", Path("a/b")),
    (PurePosixPath, "a/b", PurePosixPath("a/b")),
    (Colour, "RED", Colour.RED),
    (Colour, "2", Colour.BLUE),
    (Word, "n", Word.NO),
    (Level, "LOW", Level.LOW),
    (Optional[int], "none", None),  # noqa: UP045
    (int | None, "null", None),
    (int | None, "5", 5),
    (str | None, "null", None),
    (str | None, '"null"', "null"),
    (str | None, "x", "x"),
    (int | str, "5", 5),
    (str | int, "5", 5),
    (int | str, '"5"', "5"),
    (int | float | None, "2.5", 2.5),
    (bool | list[int], "[1, 2]", [1, 2]),
    (date | str, "soon", "soon"),
    (Literal["a", 2, None, True], "2", 2),
    (Literal["a", 2, None, True], "none", None),
    (Literal["a", 2, None, True], "true", True),
    (list[int], "[1, 2]", [1, 2]),
    (list[int], "1, 2", [1, 2]),
    (list[str], '["a", "1"]', ["a", "1"]),
    (list[Path], '["a"]', [Path("a")]),
    (list, '[1, "a"]', [1, "a"]),
    (Sequence[float], "[1]", [1.0]),
    (tuple[int, str], '[1, "a"]', (1, "a")),
    (tuple[int, ...], "[1, 2, 3]", (1, 2, 3)),
    (tuple[int, ...], "(1, 2)", (1, 2)),
    (tuple[()], "[]", ()),
    (tuple[str, *tuple[float, ...], Path], '["a", 1, 2, "b"]', ("a", 1.0, 2.0, Path("b"))),
    (tuple[()], "[]", ()),
    (set[int], "[1, 1]", {1}),
    (frozenset[int], "[1]", frozenset({1})),
    (dict[str, int], "{a = 1}", {"a": 1}),
    (dict[str, int], '{"a": 1}', {"a": 1}),
    (dict[int, float], '{"1": 2}', {1: 2.0}),
    (Mapping[str, Any], "{a = [1, {b = 2}]}", {"a": [1, {"b": 2}]}),
    (Optimizer, "{lr = 2, betas = [0, 1]}", Optimizer(lr=2.0, betas=(0.0, 1.0))),
    (Outer, "{inner = {steps = 1}, more = [{lr = 3}], start = 4}", Outer(Optimizer(steps=1), [Optimizer(lr=3.0)])),
    (Attrs, "{b = [1]}", Attrs(b=[1.0])),
    (Model, '{a = "3", day = 2024-01-31}', Model(a=3, day=date(2024, 1, 31))),
    (Point, "{x = 1}", Point(1.0)),
    (Point, "[1, 2]", Point(1.0, 2)),
    (Options, '{a = 1, b = "x"}', {"a": 1, "b": "x"}),
    (np.float32, "0.5", np.float32(0.5)),
    (np.int8, "-3", np.int8(-3)),
    (np.bool_, "false", np.bool_(False)),
    (np.datetime64, "2024-01-31", np.datetime64("2024-01-31")),
    (np.str_, "x", np.str_("x")),
    (type, "collections:Counter", __import__("collections").Counter),
    (type[Exception], "builtins:ValueError", ValueError),
    (Callable[[float], float], "math:sqrt", __import__("math").sqrt),
    (Optimizer, "tests.project.test_values:OPTIMIZER", Optimizer(steps=77)),
    (Annotated[float, omit_when(0.0)], "1", 1.0),
    (Final[int], "1", 1),
    (UserId, "1", 1),
    (T, "1", 1.0),
    (Any, "1", 1),
    (Any, "False", False),
    (Any, "None", None),
    (Any, "null", None),
    (Any, "2024-01-31", date(2024, 1, 31)),
    (Any, "just text", "just text"),
    (object, "[1, 'a']", [1, "a"]),
]
OPTIMIZER = Optimizer(steps=77)


@pytest.mark.parametrize(("kind", "written", "value"), AS_TEXT, ids=[f"{kind}-{written}" for kind, written, _ in AS_TEXT])
def test_text_is_read_by_the_type_of_the_field(kind: Any, written: str, value: Any) -> None:
    found = read(kind, text(written), "here")
    assert found == value and type(found) is type(value)
    assert not isinstance(found, UntypedText)


AS_TOML: list[tuple[Any, Any, Any]] = [
    (float, 1, 1.0),
    (int, 1, 1),
    (bool, False, False),
    (bool, "False", False),
    (complex, 1, 1 + 0j),
    (str, "null", "null"),
    (str | None, "null", "null"),
    (int | str, "5", "5"),
    (int | None, "null", None),
    (float | int, 1, 1),
    (int | float, 1.5, 1.5),
    (float | None, 1, 1.0),
    (date, date(2024, 1, 31), date(2024, 1, 31)),
    (timedelta, 1.5, timedelta(seconds=1.5)),
    (Decimal, 0.1, Decimal("0.1")),
    (Fraction, "0.5", Fraction(1, 2)),
    (Colour, 1, Colour.RED),
    (Path, Path("a"), Path("a")),
    (set[str], ["a"], {"a"}),
    (NDArray[np.float32], [1, 2], np.array([1, 2], "f4")),
    (np.ndarray, [1, 2], np.array([1, 2])),
    (np.float64, 1, np.float64(1)),
    (Optimizer, {"lr": 1}, Optimizer(lr=1.0)),
    (Optimizer, OPTIMIZER, OPTIMIZER),
    (Any, "5", "5"),
    (list[list[float]], [[1], []], [[1.0], []]),
]


@pytest.mark.parametrize(("kind", "given", "value"), AS_TOML, ids=[f"{kind}-{given}" for kind, given, _ in AS_TOML])
def test_values_of_a_file_become_what_the_field_declares(kind: Any, given: Any, value: Any) -> None:
    found = read(kind, given, "here")
    assert type(found) is type(value)
    if isinstance(value, np.ndarray):
        assert found.dtype == value.dtype and found.tolist() == value.tolist()
    else:
        assert found == value


WRONG: list[tuple[Any, Any, str]] = [
    (bool, 1, "here is 1; give true or false"),
    (bool, "maybe", "here is 'maybe'; give true or false"),
    (int, 1.0, "here is 1.0; give a whole number"),
    (int, True, "here is True; give a whole number"),
    (int, "1.5", "here is '1.5'; give a whole number"),
    (float, "x", "here is 'x'; give a number"),
    (float, False, "here is False; give a number"),
    (str, 5, "here is 5; give text"),
    (date, "yesterday", "here is 'yesterday'; give a date, such as 2024-01-31"),
    (date, datetime(2024, 1, 1), "give a date"),  # noqa: DTZ001
    (timedelta, "long", "give seconds, or a time"),
    (timedelta, "", "give seconds, or a time"),
    (Decimal, "x", "give a decimal number"),
    (uuid.UUID, "x", "give a UUID"),
    (re.Pattern, "(", "which is no pattern"),
    (ZoneInfo, "Nowhere/At_all", "which is no ZoneInfo"),
    (Colour, "GREEN", "here is 'GREEN'; give one of RED, BLUE"),
    (Literal["a", "b"], "c", "here is 'c'; give one of 'a', 'b'"),
    (int | None, "x", "here is 'x'; give a whole number"),
    (int | date, "x", "here is 'x'; give int | datetime.date"),
    (list[int], "1 2", r"here is '1 2'; give a list, such as \[1, 2\]"),
    (list[int], ["1", "x"], r"here\[1\] is 'x'; give a whole number"),
    (tuple[int, int], [1], r"here is \[1\]; give a list of 2 values"),
    (dict[str, int], [1], "give a table"),
    (dict[str, int], {"a": "x"}, "here.a is 'x'"),
    (Optimizer, {"lr": "x"}, "here.lr is 'x'"),
    (Optimizer, {"lrr": 1}, "here.lrr is unknown; did you mean 'lr'"),
    (Optimizer, 5, "here is 5; give a table of lr, betas, steps"),
    (Outer, {}, "here: Outer needs inner"),
    (Point, {"z": 1}, "here.z is unknown"),
    (Point, {"y": 1}, "give a value for x too"),
    (Options, {"c": 1}, "here.c is unknown"),
    (np.int8, "300", "which is no int8"),
    (np.float32, "x", "give a number"),
    (type, "no.such:thing", "here: no.such:thing cannot be imported"),
    (type, "text", "as module:name"),
    (Flag, "x", "one of"),
    (ZeroDivisionError, "x", "here is 'x'; give ZeroDivisionError, as module:name"),
    (ZeroDivisionError, "math:pi", "here is 3.14.*; give ZeroDivisionError"),
]


@pytest.mark.parametrize(("kind", "given", "message"), WRONG, ids=[f"{kind}-{given}" for kind, given, _ in WRONG])
def test_what_does_not_fit_is_refused_with_the_place_and_what_would_fit(kind: Any, given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(kind, given, "here")
    assert caught.value.where.startswith("here")


def test_errors_name_where_text_was_written() -> None:
    with pytest.raises(ConfigError, match="--set it is 'x'; give a whole number"):
        read(int, text("x"), "here")


def test_a_literal_is_what_toml_json_or_python_say_and_else_text() -> None:
    assert [literal(each) for each in ("1", "1.5", "true", "True", "null", "'x'", "[1,]", "{'a': (1,)}", "a b", "1\nx = 2", "")] == [
        1, 1.5, True, True, None, "x", [1], {"a": (1,)}, "a b", "1\nx = 2", "",
    ]  # fmt: skip


def test_what_a_params_class_itself_raises_passes_with_a_note() -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        read(Strict, {"n": 3}, "here")
    assert "while reading here" in caught.value.__notes__


class Strict(pydantic.BaseModel):
    n: Annotated[int, pydantic.Field(gt=5)]
