"""The pieces: comparing, naming classes, captured variables, plain values, objects that misbehave, and the cost of a look."""

from __future__ import annotations

import functools
import gc
import math
import sys
import timeit
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistable.nodes.code import Fingerprint, class_reference, closure_values, code_of, compare, is_same_code
from persistable.nodes.code.constants import plain_bytes

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.just(...)
)
PLAIN = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


def spelled(value: Any) -> Any:
    """A value with its types, for comparing without ``1 == 1.0 == True``."""
    if isinstance(value, (list, tuple)):
        return type(value), [spelled(item) for item in value]
    if isinstance(value, dict):
        return dict, [(key, spelled(item)) for key, item in value.items()]
    if isinstance(value, float):
        return float, value.hex() if not math.isnan(value) else "nan"
    if isinstance(value, complex):
        return complex, spelled(value.real), spelled(value.imag)
    return type(value), value


@given(PLAIN, PLAIN)
def test_plain_values_have_bytes_of_their_own(first: Any, second: Any) -> None:
    """Equal bytes exactly where type and value are equal; a copy has the bytes of the original."""
    one, two = plain_bytes(first, mutable=True), plain_bytes(second, mutable=True)
    assert one is not None
    assert (one == two) == (spelled(first) == spelled(second)) or "nan" in repr((first, second))
    assert plain_bytes(list(first) if isinstance(first, list) else first, mutable=True) == one


def test_what_is_not_plain_has_no_bytes() -> None:
    """Subclasses, containers that may change (unless asked for), cycles and huge values are not plain."""

    class Text(str):
        __slots__ = ()

    cycle: list[Any] = []
    cycle.append(cycle)
    for value in (Text("a"), [1], {1: 2}, object(), 10**10**6, "x" * 10**6, tuple(range(10**5))):
        assert plain_bytes(value) is None
    assert plain_bytes(cycle, mutable=True) is None
    assert plain_bytes(list(range(10**6)), mutable=True) is None


def fingerprint(parts: dict[str, str], quick: str = "", python: str = "cpython-311") -> Fingerprint:
    return Fingerprint(python, quick, parts)


def test_comparing_names_what_changed_what_came_and_what_went() -> None:
    """Parts are compared by name, by source where both have it."""
    old = fingerprint({"a": "s:1 b:1", "b": "s:1 b:1", "gone": "s:1"})
    new = fingerprint({"a": "s:1 b:2", "b": "s:2 b:1", "came": "s:1"})
    found = compare(old, new)
    assert found == (False, True, ["b"], ["came"], ["gone"])
    assert found.describe() == "changed: b; newly used: came; no longer used: gone"


def test_bytecode_decides_where_a_source_is_missing() -> None:
    """One side without source: bytecode is compared, under one flavour of Python only."""
    assert compare(fingerprint({"a": "s:1 b:1"}), fingerprint({"a": "b:1"})).same
    assert compare(fingerprint({"a": "s:1 b:1"}), fingerprint({"a": "b:2"})).changed == ["a"]
    assert compare(fingerprint({"a": "b:1"}), fingerprint({"a": "b:2"}, python="cpython-312")).same
    assert not is_same_code(fingerprint({"a": "b:1"}), fingerprint({"a": "b:1"}, python="cpython-312"))
    assert is_same_code(fingerprint({"a": "s:1 b:1"}), fingerprint({"a": "s:1 b:2"}, python="cpython-312"))


def test_captured_values_always_count() -> None:
    """The same source around another captured value is other code."""
    assert compare(fingerprint({"a": "s:1 v:1"}), fingerprint({"a": "s:1 v:2"})).changed == ["a"]


def test_equal_quick_digests_need_no_parts() -> None:
    """The parts of the live code are not read when the quick digests agree."""

    class Unreadable:
        python, quick = "cpython-311", "q"

        @property
        def parts(self) -> dict[str, str]:
            raise AssertionError("parts were read")

    assert compare(fingerprint({"a": "s:1"}, "q"), Unreadable()).same


def test_empty_fingerprints_prove_nothing() -> None:
    """Two classes without code of the user's own are not shown to be the same."""
    assert not is_same_code(fingerprint({}, "q"), fingerprint({}, "q"))
    assert compare(fingerprint({}, "q"), fingerprint({}, "q")).same


def test_json_round_trip() -> None:
    """A fingerprint survives its JSON form; later additions are ignored."""
    value = fingerprint({"a": "s:1"}, "q")
    assert Fingerprint.from_json({**value.to_json(), "later": 1}) == value


def test_class_references(project: Any) -> None:
    """``module:Qualname``; the script's file name, never its path, for what runs as ``__main__``."""
    assert class_reference(Fingerprint) == "persistable.nodes.code.fingerprint:Fingerprint"
    assert class_reference(test_class_references) == f"{__name__}:test_class_references"
    script = "import json\nfrom persistable.nodes.code import class_reference\n"
    script += "class A:\n    class B: pass\nprint(json.dumps(class_reference(A.B)))\n"
    project.write({"pk/__init__.py": "", "pk/train.py": script})
    assert project.last("pk/train.py") == "train.py:A.B"
    assert project.last(str(project.folder / "pk" / "train.py")) == "train.py:A.B"
    assert project.last("-m", "pk.train") == "pk.train:A.B"
    assert project.last("-c", script) == "__main__:A.B"


def test_closure_values() -> None:
    """Captured variables by name; not ``__class__``, not what is unassigned."""
    n, later = 3, None

    class Points:
        def method(self) -> Any:
            return n, unassigned, later, __class__  # type: ignore[name-defined]

    if later:
        unassigned = 1
    assert closure_values(Points.method) == {"n": 3, "later": None}
    assert closure_values(Points().method) == {"n": 3, "later": None}
    assert closure_values(len) == {}
    assert closure_values(test_closure_values) == {}


class Hostile:
    """Every question is an error."""

    def _no(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("user code was called")

    __getattribute__ = __getattr__ = __eq__ = __hash__ = __repr__ = __bool__ = __len__ = __iter__ = __call__ = __get__ = _no  # type: ignore[assignment]
    __set_name__ = None


class HostileMeta(type):
    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError("user code was called")


class HostileClass(metaclass=HostileMeta):
    def work(self) -> int:
        return 1


class Mocklike:
    """Answers everything with itself, so `__wrapped__` never ends."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *args: Any) -> Any:
        return self


hostile = object.__new__(Hostile)
mocklike = Mocklike()
circular = functools.partial(print)
circular.__setstate__((circular, (circular,), {}, {}))
nested: list[Any] = []
nested.append(nested)
huge = list(range(10**6))
table = {hostile.__class__ if False else 1: hostile, 2: nested}


class Strange:
    attribute = mocklike

    def _generate_payload(self) -> Any:
        return hostile, HostileClass, HostileClass().work(), mocklike.x.y, circular, nested, huge, table, self.attribute, missing  # type: ignore[name-defined]  # noqa: F821


def test_objects_that_misbehave_are_only_looked_at() -> None:
    """Proxies, mocks, cycles, hostile metaclasses and huge values: no error, no call, and the code around them is still read."""
    code = code_of(Strange, ("_generate_payload",))
    assert "Strange._generate_payload" in code.parts
    assert "HostileClass.work" in code.parts
    assert "hostile" in code.parts
    assert compare(code.fingerprint(), code).same
    for odd in (hostile, mocklike, circular, len, functools.partial(len), 3, None):
        assert isinstance(code_of(odd).parts, dict)


def test_a_step_reached_through_a_wrapper_is_read() -> None:
    """Functions behind `partial` and `functools.wraps` are fingerprinted as themselves."""

    def inner(x: int) -> int:
        return x + 1

    @functools.wraps(inner)
    def outer(x: int) -> int:
        return inner(x)

    assert {"outer", "inner"} <= set(code_of(outer).parts)
    assert "inner" in code_of(functools.partial(inner, 1)).parts


def test_dead_classes_are_not_kept() -> None:
    """Looking at a class, and at what its methods captured, does not keep either alive."""

    class Big:
        pass

    def make() -> tuple[weakref.ref[Any], weakref.ref[Any]]:
        captured = Big()

        class Points:
            def _generate_payload(self) -> Any:
                return captured, self.helper(), __class__  # type: ignore[name-defined]

            def helper(self) -> int:
                return 1

            @property
            def shown(self) -> Any:
                return captured

        code = code_of(Points, ("_generate_payload", "shown"))
        assert code.parts
        return weakref.ref(Points), weakref.ref(captured)

    points, captured = make()
    gc.collect()
    assert points() is None
    assert captured() is None


def test_a_redefined_function_is_a_new_look() -> None:
    """The same object while nothing changed; another after a helper was rebound or its code replaced."""
    namespace: dict[str, Any] = {"__name__": "redefined"}
    exec("def helper(x):\n    return x + 1\ndef entry(x):\n    return helper(x)\n", namespace)
    entry = namespace["entry"]
    first = code_of(entry)
    assert code_of(entry) is first
    exec("def helper(x):\n    return x + 2\n", namespace)
    second = code_of(entry)
    assert compare(first.fingerprint(), second).changed == ["helper"] or first.quick != second.quick
    namespace["helper"].__code__ = (lambda x: x + 3).__code__
    assert code_of(entry) is not second


@pytest.mark.parametrize("tracing", [False, True])
def test_tracing_does_not_change_code(tracing: bool) -> None:
    """A tracer (a debugger, coverage) leaves the quick digest as it is."""

    def traced(x: int) -> int:
        return sum(range(x))

    before = code_of(traced).quick
    old = sys.gettrace()
    if tracing:
        sys.settrace(lambda *args: None)
    try:
        for _ in range(100):
            traced(3)
        from persistable.nodes.code import live

        live._kept.clear()
        assert code_of(traced).quick == before
    finally:
        sys.settrace(old)


def test_looking_again_is_nearly_free() -> None:
    """Checking that nothing was redefined costs a small part of looking for the first time."""
    from persistable.nodes.code import live

    def once() -> Any:
        live._kept.clear()
        return code_of(Strange, ("_generate_payload",))

    first = min(timeit.repeat(once, number=5, repeat=5)) / 5
    again = min(timeit.repeat(lambda: code_of(Strange, ("_generate_payload",)), number=100, repeat=5)) / 100
    assert again < first / 5
