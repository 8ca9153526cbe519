"""What cannot be an identity is an error at once: it names the place, says what was found, and what to do."""

import collections
import enum
import functools
import itertools
import threading
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.utils import Bunch

from persistable.errors import ParamsError, UntrackableParam
from persistable.params.encoding import encode, register_params
from persistable.params.trees import tree


class Text(str):
    __slots__ = ()


class Count(int):
    pass


class Rows(list[Any]):
    pass


class Table(dict[str, Any]):
    pass


class Folder(type(Path())):  # type: ignore[misc]
    pass


class Plain:
    def method(self) -> None: ...

    @classmethod
    def made(cls) -> None: ...


class Strange(collections.namedtuple("Strange", "a")):  # noqa: SLOT002
    pass


@dataclass
class Holder:
    value: Any


def _closure() -> Any:
    def inner() -> None: ...

    return inner


def _strange() -> Any:
    found = Strange(1)
    found.more = 1
    return found


def _fake() -> Any:
    """A class that says it is datetime.datetime."""
    return type("datetime", (), {"__module__": "datetime"})()


def original() -> None: ...


@functools.wraps(original)
def _wrapper() -> None: ...


REFUSED: list[tuple[str, Any, str]] = [
    ("generator", lambda: (i for i in [1]), "used up.*list or a tuple"),
    ("iterator", lambda: iter([1]), "used up"),
    ("map", lambda: map(int, []), "used up"),
    ("zip", lambda: zip("a", "b", strict=True), "used up"),
    ("count", itertools.count, "used up"),
    ("keys", {1: 2}.keys, "nothing is known.*register_params"),
    ("lambda", lambda: lambda: 1, "lambda.*top level of a module"),
    ("closure", _closure, "inside a function.*top level of a module"),
    ("bound method", lambda: Plain().method, "bound to an instance of Plain"),
    ("bound builtin", lambda: [].append, "bound to an instance of list"),
    ("random method", lambda: np.random.rand, "bound to an instance of RandomState"),
    ("object", object, "nothing is known"),
    ("instance", Plain, "nothing is known about the type .*Plain.*register_params"),
    ("namespace", lambda: SimpleNamespace(a=1), "nothing is known"),
    ("lock", threading.Lock, "nothing is known"),
    ("str subclass", lambda: Text("a"), r"derived from str.*str\(…\)"),
    ("int subclass", lambda: Count(1), "derived from int"),
    ("list subclass", lambda: Rows([1]), "derived from list"),
    ("dict subclass", lambda: Table(a=1), "derived from dict"),
    ("Bunch", lambda: Bunch(a=1), "derived from dict"),
    ("OrderedDict subclass", type("O", (collections.OrderedDict,), {}), "derived from dict"),
    ("path subclass", lambda: Folder("a"), "nothing is known"),
    ("named tuple with attributes", _strange, "attributes beside its fields"),
    ("exception", lambda: ValueError("x"), "derived from"),
    ("impostor", _fake, "nothing is known"),
    ("shadowed function", lambda: _wrapper, "gives another object"),
    ("generator of numpy", lambda: np.random.default_rng(1), "changes whenever it is used.*seed"),
    ("RandomState", lambda: np.random.RandomState(1), "changes whenever it is used.*seed"),
    ("memoryview", lambda: memoryview(b"a"), "nothing is known"),
]


@pytest.mark.parametrize(("make", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
@pytest.mark.parametrize("use", [encode, tree])
def test_refused_with_place_reason_and_advice(use: Any, make: Any, message: str) -> None:
    with pytest.raises(UntrackableParam, match=message) as raised:
        use(Holder({"a": [0, (1, make())]}))
    assert raised.value.path == "Holder.value['a'][1][1]"
    assert isinstance(raised.value, TypeError)
    assert isinstance(raised.value, ParamsError)


def test_a_generator_is_not_consumed_by_refusing_it() -> None:
    items = (i for i in range(3))
    with pytest.raises(UntrackableParam):
        encode([items])
    assert list(items) == [0, 1, 2]


@pytest.mark.parametrize("use", [encode, tree])
def test_values_that_contain_themselves_are_an_error_and_no_recursion(use: Any) -> None:
    a: list[Any] = []
    a.append(a)
    b: dict[str, Any] = {}
    b["b"] = [b]
    c = Holder(None)
    c.value = (c,)
    for value in (a, b, c):
        with pytest.raises(UntrackableParam, match="contains itself"):
            use(value)


@pytest.mark.parametrize("use", [encode, tree])
def test_too_deep_is_an_error_whatever_it_is_made_of(use: Any) -> None:
    for wrap in (lambda x: [x], lambda x: (x,), lambda x: {"a": x}, Holder, lambda x: functools.partial(int, x), lambda x: frozenset({x})):
        value: Any = ()
        for _ in range(5000):
            try:
                value = wrap(value)
            except RecursionError:  # hashing a nested frozenset is Python's own recursion
                break
        with pytest.raises(UntrackableParam, match="deep"):
            use(value)


def test_sixty_levels_are_not_too_deep() -> None:
    value: Any = 1
    for i in range(60):
        value = Holder(value) if i % 2 else {"a": value}
    assert encode(value) == encode(value)


def test_a_place_given_by_the_caller_is_where_the_message_starts() -> None:
    with pytest.raises(UntrackableParam, match=r"^Train\.models\[1\] "):
        encode([1, object()], place="Train.models")


def test_the_type_found_is_on_the_error() -> None:
    with pytest.raises(UntrackableParam) as raised:
        encode({"a": object()})
    assert raised.value.found == "builtins.object"


# ------------------------------------------------------------------ what users register


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


class Price(Money):
    pass


class Later:
    def __init__(self, parts: Any) -> None:
        self.parts = parts


def test_registering_a_type_makes_it_a_param_and_its_subclasses_others() -> None:
    register_params(Money, lambda money: money.cents)
    assert encode(Money(5)) == encode(Money(5))
    assert len({encode(v) for v in (Money(5), Money(6), Price(5), 5, ("Money", 5))}) == 5
    assert "Money" in str(tree(Money(5)))


def test_a_type_may_be_registered_by_name_and_after_it_was_refused() -> None:
    with pytest.raises(UntrackableParam):
        encode(Later(1))
    register_params(f"{__name__}:Later", lambda value: value.parts)
    assert encode(Later([1])) != encode(Later([2]))
    with pytest.raises(UntrackableParam) as raised:
        encode(Holder(Later([object()])))
    assert raised.value.path.startswith("Holder.value")


def test_what_a_registered_function_raises_is_said_with_the_place() -> None:
    class Broken:
        pass

    register_params(Broken, lambda value: value.missing)
    with pytest.raises(UntrackableParam, match=r"Holder\.value .*AttributeError"):
        encode(Holder(Broken()))


def test_a_name_without_a_colon_is_an_error() -> None:
    with pytest.raises(ValueError, match="module:Qualname"):
        register_params("package.Class", str)


# ------------------------------------------------------------------ enums and functions


class Odd(enum.Enum):
    A = object()
    B = 1
    C = staticmethod(original)


def test_enum_members_are_told_apart_whatever_they_hold() -> None:
    assert encode(Odd.A) != encode(Odd.B)


def test_functions_are_their_importable_name() -> None:
    assert encode(original) == encode(original) != encode(test_functions_are_their_importable_name)
    assert encode(Plain.made) != encode(Plain.method)
    assert encode(Plain) != encode(Holder)
