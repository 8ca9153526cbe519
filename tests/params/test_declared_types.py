"""Declared types: what is refused, what is converted, and that both make one key."""

from __future__ import annotations

import enum
import numbers
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Required,
    SupportsFloat,
    TypedDict,
    TypeVar,
    TypeVarTuple,
    Unpack,
)

import attrs
import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from persistable import Persistable, step, untracked
from persistable.errors import MistypedParam, PersistableError, UntrackableParam
from persistable.params.checks import check_of
from persistable.params.coercion import coerce_value

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
UserId = NewType("UserId", int)


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Movie(TypedDict, total=False):
    title: str
    score: float


class Part(TypedDict):
    size: int
    weight: NotRequired[float]
    both: Annotated[NotRequired[int], "said"]


class Few(Part, total=False):
    name: Required[str]


class Pair(NamedTuple):
    x: float
    y: int = 0


@dataclass(frozen=True, slots=True)
class Adam:
    lr: float
    betas: tuple[float, ...] = (0.9, 0.99)


@dataclass
class Sgd:
    lr: float = 0.1


@dataclass
class TrainParams:
    optimizer: Adam | Sgd
    epochs: int = 1
    mode: Literal["fast", "exact"] = "fast"
    where: Path = Path("here")


class Train(Persistable[str, TrainParams]):
    def _generate_payload(self) -> str:
        return repr(self.params)


@dataclass(frozen=True)
class Box(Generic[T]):
    value: T


class Boxed(Persistable[str, Box[float]]):
    def _generate_payload(self) -> str:
        return repr(self.params.value)


SAME: list[tuple[Any, Any, Any]] = [
    (np.float64, 1, np.float64(1)),
    (np.float32, 0.5, np.float32(0.5)),
    (np.int8, np.int64(3), np.int8(3)),
    (float, 1, 1.0),
    (float, np.int64(3), 3.0),
    (float, np.float32(0.5), 0.5),
    (float, np.longdouble(0.5), 0.5),
    (int, np.uint8(3), 3),
    (bool, np.bool_(True), True),
    (str, np.str_("a"), "a"),
    (complex, 2, 2 + 0j),
    (date, np.datetime64("2024-01-31"), date(2024, 1, 31)),
    (tuple[int, ...], [1, 2], (1, 2)),
    (tuple[int, float], [1, 2], (1, 2.0)),
    (tuple, [1], (1,)),
    (tuple[()], [], ()),
    (tuple[int, *tuple[float, ...]], [1, 2, 3], (1, 2.0, 3.0)),
    (tuple[int, Unpack[tuple[float, ...]]], [1], (1,)),  # noqa: UP044
    (tuple[*tuple[float, ...], int], (1, 2), (1.0, 2)),
    (tuple[float, *tuple[float, ...], float], (1, 2, 3), (1.0, 2.0, 3.0)),
    (tuple[float, *tuple[float, int]], (1, 2, 3), (1.0, 2.0, 3)),
    ("tuple[int, *tuple[float, ...]]", [1, 2], (1, 2.0)),
    (tuple[float, *Ts], [1, 2, "a"], (1.0, 2, "a")),
    (list[float], (1,), [1.0]),
    (frozenset[float], {1}, frozenset({1.0})),
    (Path, "a/b", Path("a/b")),
    (list[float], [1, 2.5], [1.0, 2.5]),
    (dict[str, float], {"a": 1}, {"a": 1.0}),
    (Mapping[str, tuple[int, ...]], {"a": [1]}, {"a": (1,)}),
    (Sequence[float], (1, 2), (1.0, 2.0)),
    (set[float], {1}, {1.0}),
    (frozenset[float], frozenset({1}), frozenset({1.0})),
    (dict[str, list[float | None]], {"a": [None, 1]}, {"a": [None, 1.0]}),
    (Annotated[float, untracked], 1, 1.0),
    (UserId, np.int32(4), 4),
    (float | None, 1, 1.0),
    (float | str, np.float64(1), 1.0),
    (NDArray[Any] | float, 1, 1.0),
    (Literal[1, "a"], np.int64(1), 1),
    (Movie, {"score": 1}, {"score": 1.0}),
    (Part, {"size": 1, "weight": 1}, {"size": 1, "weight": 1.0}),
    (Pair, Pair(1, 2), Pair(1.0, 2)),
    (numbers.Real, np.float64(2), 2.0),
    ("list[float]", [1], [1.0]),
    ("Unknown | list[float]", [1], [1]),
]
KEPT: list[tuple[Any, Any]] = [
    (int | float, 1),
    (float | int, 1),
    (str | Path, "a"),
    (Path | str, "a"),
    (int | Literal["auto"], "auto"),
    (Sequence[float], [1.0]),
    (int, Level.LOW),
    (date, datetime(2024, 1, 1, tzinfo=UTC)),
    (Any, 1),
    (object, 1),
    (T, 1),
    (NDArray[np.float64], [1, 2]),
    (SupportsFloat, 1),
    (Callable[[int], int], abs),
    (numbers.Real, 1),
    (type[int], bool),
    ("NoSuchName", 1),
    (Color | None, Color.RED),
    (Part, {"size": 1}),
    (Few, {"size": 1, "name": "a"}),
    (Decimal, Decimal("1.0")),
]
WRONG: list[tuple[Any, Any]] = [
    (np.float32, "1.5"),
    (np.float32, True),
    (np.float32, None),
    (np.int8, 300),
    (np.int8, 1.5),
    (np.int8, np.int64(300)),
    (np.uint8, -1),
    (np.bool_, 1),
    (np.str_, 1),
    (np.datetime64, "2024"),
    (np.float32 | None, "a"),
    (int, True),
    (int, 1.0),
    (int, "3"),
    (int, [1, 2]),
    (int, None),
    (int, np.bool_(True)),
    (int, np.float64(1)),
    (float, True),
    (float, "1.5"),
    (float, 2**53 + 1),
    (float, 10**400),
    (float, Decimal(1)),
    (bool, 1),
    (bool, "true"),
    (str, 1),
    (str, b"a"),
    (str, Path("a")),
    (bytes, "a"),
    (Literal["a", "b"], "c"),
    (Literal[1], True),
    (Literal[1], 1.0),
    (list[int], [1, "2"]),
    (list[int], 1),
    (tuple[int, int], (1, 2, 3)),
    (tuple[int, ...], 1),
    (tuple[()], (1,)),
    (typing.Tuple[()], (1,)),  # noqa: UP006
    (tuple[int, *tuple[str, ...]], (1, "a", 2)),
    (tuple[int, *tuple[str, ...]], ()),
    (tuple[int, Unpack[tuple[str, ...]]], (1, 2)),  # noqa: UP044
    (typing.Tuple[int, Unpack[typing.Tuple[str, ...]]], (1, 2)),  # noqa: UP006, UP044
    (tuple[*tuple[str, ...], int], ("a", "b")),
    (tuple[str, *tuple[int, ...], str], ("a",)),
    (tuple[str, *tuple[int, str]], ("a", 1)),
    (tuple[int, *Ts], ("a", 1)),
    (dict[str, int], {"a": "b"}),
    (dict[str, int], {1: 1}),
    (dict[str, int], [("a", 1)]),
    (set[int], [1]),
    (Sequence[float], "abc"),
    (Sequence[int], 1),
    (int | None, "x"),
    (float | str, True),
    (Color, "RED"),
    (Color, 1),
    (date, "2024-01-31"),
    (Decimal, 1),
    (Path, 3),
    (Movie, {"titel": "x"}),
    (Part, {"weight": 1.0}),
    (Few, {"size": 1}),
    (Pair, (1.0, 2)),
    (Pair, Pair("x")),  # type: ignore[arg-type]
    (Adam, Sgd()),
    (Adam, {"lr": 0.1}),
    (numbers.Real, True),
    (UserId, "x"),
    (None, 0),
]


@pytest.mark.parametrize(("kind", "value", "same"), SAME)
def test_what_is_the_same_in_another_form_is_converted(kind: Any, value: Any, same: Any) -> None:
    made = coerce_value(check_of(kind, globals()), value, "x")
    assert made == same and type(made) is type(same) and repr(made) == repr(same)


@pytest.mark.parametrize(("kind", "value"), KEPT)
def test_what_is_of_the_type_or_cannot_be_judged_is_kept(kind: Any, value: Any) -> None:
    assert coerce_value(check_of(kind, globals()), value, "x") is value


@pytest.mark.parametrize(("kind", "value"), WRONG)
def test_what_is_not_of_the_type_is_refused(kind: Any, value: Any) -> None:
    with pytest.raises(TypeError) as caught:
        coerce_value(check_of(kind, globals()), value, "x")
    assert isinstance(caught.value, MistypedParam) and isinstance(caught.value, PersistableError)
    assert caught.value.path.startswith("x") and caught.value.wanted


@given(st.integers() | st.integers(-(2**54), 2**54))
def test_an_int_is_a_float_where_it_is_exact(number: int) -> None:
    try:
        assert coerce_value(check_of(float, {}), number, "x") == number
    except MistypedParam:
        assert abs(number) > 2**53


def test_one_key_however_it_is_written_and_the_code_sees_the_converted_value() -> None:
    node = Train(optimizer=Adam(lr=1, betas=[1, 2]), epochs=np.int64(3), where="here")  # type: ignore[arg-type]
    assert node.key == Train(optimizer=Adam(lr=1.0, betas=(1.0, 2.0)), epochs=3).key
    assert node.params == TrainParams(Adam(1.0, (1.0, 2.0)), 3) and repr(node.params.optimizer) == "Adam(lr=1.0, betas=(1.0, 2.0))"
    mine = TrainParams(Sgd(1))
    whole = Train(params=mine)
    assert whole.key == Train(params=TrainParams(Sgd(1.0))).key and mine.optimizer.lr == 1 and type(mine.optimizer.lr) is int
    assert type(whole.params.optimizer.lr) is float
    assert node.replace(optimizer=Sgd(2)).key == node.replace(optimizer=Sgd(2.0)).key
    assert Boxed(value=1).key == Boxed(params=Box(1)).key == Boxed(value=1.0).key  # type: ignore[arg-type]
    assert [each.params.value for each in Boxed.over(value=range(2)).nodes] == [0.0, 1.0]
    assert Boxed.over(value=[1, 2.0]).sel(value=1).key == Boxed(value=1.0).key


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: Train(optimizer=Adam(lr=0.1, betas=(0.9, "0.99"))), "TrainParams.optimizer.betas[1]"),  # type: ignore[arg-type]
        (lambda: Train(params=TrainParams(Adam(lr="1"))), "TrainParams.optimizer.lr"),  # type: ignore[arg-type]
        (lambda: Train(optimizer=Sgd(), epochs="3"), "TrainParams.epochs"),
        (lambda: Train(optimizer=Sgd(), epochs=[1, 2]), "TrainParams.epochs"),
        (lambda: Train(optimizer=Sgd()).replace(mode="fats"), "TrainParams.mode"),
        (lambda: Train.over(optimizer=[Sgd()], epochs=[1, 2.5]), "TrainParams.epochs"),
        (lambda: Boxed(value="x"), "Box.value"),
        (lambda: Boxed(params=Box("x")), "Box.value"),  # type: ignore[arg-type]
    ],
)
def test_the_error_says_where(make: Any, path: str) -> None:
    with pytest.raises(MistypedParam) as caught:
        make()
    assert caught.value.path == path and path in str(caught.value)


def test_the_nearest_is_named() -> None:
    with pytest.raises(MistypedParam, match="did you mean 'fast'"):
        Train(optimizer=Sgd(), mode="fats")
    with pytest.raises(MistypedParam, match="did you mean 3"):
        Train(optimizer=Sgd(), epochs="3")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the statement is new in Python 3.12")
def test_generic_aliases_are_what_they_stand_for() -> None:
    names: dict[str, Any] = {}
    exec("type Swapped[A, B] = dict[B, A]\ntype Same[T] = float\ntype Deep[T] = list[Swapped[T, str]]", names)
    assert coerce_value(check_of(names["Swapped"][float, str], names), {"a": 1}, "x")["a"].__class__ is float
    assert coerce_value(check_of(names["Same"][str], names), 1, "x").__class__ is float
    assert coerce_value(check_of(names["Deep"][float], names), [{"a": 1}], "x")[0]["a"].__class__ is float
    with pytest.raises(TypeError):
        coerce_value(check_of(names["Swapped"][float, str], names), {"a": "b"}, "x")


def test_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    @step
    def scaled(x: float, *more: float, k: tuple[int, ...] = (), n: int = None, **named: float) -> Any:  # type: ignore[assignment] # noqa: RUF013
        return x, more, k, n, named

    node = scaled.step(1, 2, k=[1], z=3)
    assert node.key == scaled.step(1.0, 2.0, k=(1,), z=3.0).key and repr(node.payload) == "(1.0, (2.0,), (1,), None, {'z': 3.0})"
    assert scaled(1, 2) == (1, (2,), (), None, {}) and type(scaled(1)[0]) is int  # a plain call is untouched
    for wrong in ({"x": "1"}, {"x": True}, {"x": 1, "k": 1}, {"x": 1, "n": 2.0}, {"x": 1, "z": "a"}):
        with pytest.raises(TypeError, match="takes"):
            scaled.step(**wrong)  # type: ignore[arg-type]
    with pytest.raises(MistypedParam, match=r"scaled.more\[1\]"):
        scaled.step(1, 2, "3")
    with pytest.raises(MistypedParam, match=r"scaled\.x"):
        scaled.over(x=[1, "2"])
    assert scaled.over(x=range(3)).sel(x=2).key == scaled.step(2.0).key
    assert scaled.step([scaled.step(1), scaled.step(2)]).upstream  # what becomes of their payloads cannot be judged
    with pytest.raises(TypeError, match=r"call scaled\.step\(\.\.\.\)"):
        scaled(node)  # type: ignore[arg-type]


@step
def many(*numbers: float, **options: Unpack[Movie]) -> float:
    return sum(numbers)


@step
def unlike(*numbers: *tuple[int, *tuple[float, ...]], **others: float) -> float:
    return sum(numbers)


def evaluated(*numbers: Any, **options: Any) -> float:
    return sum(numbers)


evaluated.__annotations__.update(numbers=next(iter(tuple[*tuple[int, *tuple[float, ...]]].__args__)), options=Unpack[Movie])
known = step(evaluated)


def test_arguments_of_any_number_are_checked_together() -> None:
    assert many.step(1, 2.0, score=1).key == many.step(1.0, 2.0, score=1.0).key
    assert unlike.step(1, 2, a=1).key == unlike.step(1, 2.0, a=1.0).key
    assert known.step(1, 2).key == known.step(1, 2.0).key
    for make, path in [
        (lambda: many.step("a"), r"many\.numbers\[0\]"),
        (lambda: many.step(score="a"), r"many\.score"),
        (lambda: many.step(titel="a"), r"many\.options .*did you mean 'title'"),
        (lambda: unlike.step(1.5), r"unlike\.numbers\[0\]"),
        (unlike.step, r"unlike\.numbers .*holds 0 items"),
        (lambda: unlike.step(1, a="b"), r"unlike\.a"),
        (lambda: known.step(1, "a"), r"evaluated\.numbers\[1\]"),
        (lambda: known.step(1, score="a"), r"evaluated\.score"),
    ]:
        with pytest.raises(MistypedParam, match=path):
            make()
    assert many.step(many.step(1), 2, score=many.step(2)).upstream.keys() == {"numbers.0", "options.score"}


def test_attrs() -> None:
    @attrs.define(frozen=True)
    class P:
        x: float
        _y: int = 1
        z: int = attrs.field(default=1, converter=int)

    class N(Persistable[str, P]):
        pass

    assert N(x=1, z="3").key == N(x=1.0, z=3).key and N(x=1, _y=2).key == N(x=1, y=2).key != N(x=1).key
    with pytest.raises(MistypedParam, match=r"P\.x"):
        N(x="1")
    with pytest.raises(MistypedParam, match=r"P\._y"):
        N(x=1, y=1.0)


def test_the_code_of_a_class_may_make_the_value_what_is_declared() -> None:
    @dataclass
    class P:
        n: int
        double: float = field(init=False)

        def __post_init__(self) -> None:
            self.n = int(self.n)
            self.double = self.n * 2

    class N(Persistable[str, P]):
        pass

    assert N(n="3").params == P(3) and type(N(n=3).params.double) is float


def test_pydantic_decides_for_its_models() -> None:
    class P(pydantic.BaseModel):
        n: int
        x: float = 1

    class N(Persistable[str, P]):
        pass

    assert N(n="3", x=2).key == N(n=3, x=2.0).key
    with pytest.raises(pydantic.ValidationError):
        N(n="x")


def test_what_a_constructor_takes_and_no_field_keeps_is_refused() -> None:
    @dataclass
    class Hidden:
        n: int
        scale: InitVar[float] = 1.0

        def __post_init__(self, scale: float) -> None:
            self._scale = scale

    @dataclass
    class Kept:
        n: float
        scale: InitVar[float] = 1.0

        def __post_init__(self, scale: float) -> None:
            self.n *= scale

    @attrs.define(slots=False, init=False)
    class Own:
        n: int

        def __init__(self, n: int, scale: float) -> None:
            self.__attrs_init__(n)  # type: ignore[attr-defined]
            self._scale = scale

    class Model(pydantic.BaseModel):
        n: int
        _scale: float = pydantic.PrivateAttr(1.0)

        def __init__(self, n: int, scale: float = 1.0) -> None:
            super().__init__(n=n)
            self._scale = scale

    @step
    def use(params: Any) -> None: ...

    assert use.step(Kept(1, 2)).key == use.step(Kept(2, 1)).key != use.step(Kept(2, 2)).key
    for params in (Hidden(1, 2.0), [Own(1, 2.0)], {"a": Model(1, 2.0)}):
        with pytest.raises(MistypedParam, match="scale"):
            use.step(params)

    class N(Persistable[str, Kept]):
        pass

    assert N(n=1, scale=2).params.n == 2.0
    with pytest.raises(MistypedParam, match=r"Kept\.scale"):
        N(n=1, scale="2")


@dataclass
class Linked:
    others: list[Linked] = field(default_factory=list)


class Links(Persistable[int, Linked]):
    def _generate_payload(self) -> int:
        return 1


@step
def first(items: Any) -> int:
    return 1


@pytest.mark.timeout(60)
def test_what_contains_itself_is_refused_at_once_however_often_it_does() -> None:
    params = Linked()
    params.others += [params, params]
    items: list[Any] = []
    items += [items, items]
    for make in (lambda: Links("d", params), lambda: Links("d", others=params.others), lambda: first.step(items)):
        with pytest.raises(UntrackableParam, match="contains itself"):
            make()
