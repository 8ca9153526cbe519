"""Params classes of every kind, and what the markers on their fields do to identity."""

import dataclasses
import pickle
import re
import sys
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import attrs
import numpy as np
import pydantic
import pytest
from params import future_annotations

from persistable import Persistable, step
from persistable.errors import ParamsError, UntrackableParam
from persistable.params.encoding import encode
from persistable.params.fields import PersistableParams, formerly, markers_of, omit_when, untracked
from persistable.params.trees import tree

T = TypeVar("T")
FIELDS: list[tuple[str, Any, Any]] = [
    ("n", int, dataclasses.MISSING),
    ("jobs", Annotated[int, untracked], 1),
    ("noise", Annotated[float, omit_when(0.0)], 0.0),
    ("size", Annotated[int, formerly("rows")], 10),
]


def as_dataclass(name: str, fields: list[tuple[str, Any, Any]], **options: Any) -> Any:
    return make_dataclass(
        name, [(n, t) if d is dataclasses.MISSING else (n, t, field(default=d)) for n, t, d in fields], kw_only=True, **options
    )


def as_attrs(name: str, fields: list[tuple[str, Any, Any]], **options: Any) -> Any:
    made = {n: attrs.field(type=t) if d is dataclasses.MISSING else attrs.field(type=t, default=d) for n, t, d in fields}
    return attrs.make_class(name, made, kw_only=True, **options)


def as_model(name: str, fields: list[tuple[str, Any, Any]]) -> Any:
    return pydantic.create_model(name, **{n: (t, ... if d is dataclasses.MISSING else d) for n, t, d in fields})


KINDS: list[Any] = [
    pytest.param(as_dataclass, id="dataclass"),
    pytest.param(lambda name, fields: as_dataclass(name, fields, slots=True), id="dataclass slots"),
    pytest.param(lambda name, fields: as_dataclass(name, fields, frozen=True), id="dataclass frozen"),
    pytest.param(lambda name, fields: as_dataclass(name, fields, frozen=True, slots=True, bases=(PersistableParams,)), id="dataclass base"),
    pytest.param(as_attrs, id="attrs"),
    pytest.param(lambda name, fields: as_attrs(name, fields, frozen=True, slots=True), id="attrs frozen"),
    pytest.param(as_model, id="pydantic"),
]


@pytest.mark.parametrize("make", KINDS)
class TestEveryKind:
    def test_each_field_is_identity(self, make: Any) -> None:
        cls = make("P", FIELDS)
        raws = {encode(cls(n=1)), encode(cls(n=2)), encode(cls(n=1, noise=0.5)), encode(cls(n=1, size=11))}
        assert len(raws) == 4

    def test_all_kinds_of_class_give_the_same_bytes(self, make: Any) -> None:
        assert encode(make("P", FIELDS)(n=1, noise=0.5)) == encode(as_dataclass("P", FIELDS)(n=1, noise=0.5))

    def test_the_order_of_fields_does_not_matter(self, make: Any) -> None:
        assert encode(make("P", FIELDS)(n=1)) == encode(make("P", FIELDS[::-1])(n=1))

    def test_an_untracked_field_is_no_part_of_identity(self, make: Any) -> None:
        cls = make("P", FIELDS)
        assert encode(cls(n=1, jobs=8)) == encode(cls(n=1)) == encode(make("P", [f for f in FIELDS if f[0] != "jobs"])(n=1))

    def test_a_field_added_with_omit_when_keeps_old_identities(self, make: Any) -> None:
        before, after = make("P", [f for f in FIELDS if f[0] != "noise"]), make("P", FIELDS)
        assert encode(before(n=1)) == encode(after(n=1)) != encode(after(n=1, noise=1.0))

    def test_the_pinned_value_stays_when_the_default_changes(self, make: Any) -> None:
        changed = make("P", [("n", int, dataclasses.MISSING), ("noise", Annotated[float, omit_when(0.0)], 1.0)])
        original = make("P", [("n", int, dataclasses.MISSING)])
        assert encode(changed(n=1, noise=0.0)) == encode(original(n=1)) != encode(changed(n=1))

    def test_a_renamed_field_keeps_its_identity(self, make: Any) -> None:
        before = [("rows", int, 10) if f[0] == "size" else f for f in FIELDS]
        assert encode(make("P", before)(n=1, rows=7)) == encode(make("P", FIELDS)(n=1, size=7))
        assert tree(make("P", FIELDS)(n=1, size=7))["rows"] == 7

    def test_an_old_name_that_is_in_use_is_an_error(self, make: Any) -> None:
        cls = make("P", [*FIELDS, ("rows", int, 0)])
        with pytest.raises(ParamsError, match=r"'size' and 'rows' of P both stand for 'rows'|'rows' and 'size'"):
            encode(cls(n=1))

    def test_a_subclass_has_the_markers_of_its_base(self, make: Any) -> None:
        cls = type("Sub", (make("P", FIELDS),), {})
        assert encode(cls(n=1, jobs=8)) == encode(cls(n=1)) != encode(cls(n=2))

    def test_errors_name_the_field(self, make: Any) -> None:
        cls = make("P", [("grid", Any, None)])
        with pytest.raises(UntrackableParam) as raised:
            encode(cls(grid={"a": [object()]}))
        assert raised.value.path == "P.grid['a'][0]"
        assert str(raised.value).startswith("P.grid['a'][0] ")


def test_omit_when_compares_types_too() -> None:
    cls = as_dataclass("P", [("noise", Annotated[float, omit_when(0.0)], 0.0)])
    assert encode(cls(noise=0)) != encode(cls(noise=0.0))
    assert encode(cls(noise=-0.0)) != encode(cls(noise=0.0))


def test_any_value_may_be_pinned() -> None:
    for pin in (None, [1, 2], {"a": 1}, "x"):
        cls = as_dataclass("P", [("a", Annotated[Any, omit_when(pin)], 3)])
        assert encode(cls(a=pin)) == encode(as_dataclass("P", [])())
        assert encode(cls(a=3)) != encode(cls(a=pin))


def test_markers_may_be_nested_and_wrapped() -> None:
    inner = Annotated[Annotated[int, formerly("b")], omit_when(5), "a comment"]
    found = markers_of(inner)
    assert (found.former, found.pin, found.untracked) == ("b", 5, False)
    assert markers_of(Annotated[int, untracked]).untracked


@pytest.mark.parametrize(
    "annotation", [list[Annotated[int, untracked]], Annotated[int, untracked] | None, dict[str, list[Annotated[int, untracked]]]]
)
def test_a_marker_inside_a_type_is_an_error(annotation: Any) -> None:
    with pytest.raises(ParamsError, match="outermost"):
        encode(as_dataclass("P", [("a", annotation, 1)])())


def test_a_marker_without_its_argument_is_an_error() -> None:
    with pytest.raises(ParamsError, match="omit_when"):
        encode(as_dataclass("P", [("a", Annotated[int, omit_when], 1)])())


def test_untracked_together_with_another_marker_is_an_error() -> None:
    with pytest.raises(ParamsError, match=r"P\.a is untracked"):
        encode(as_dataclass("P", [("a", Annotated[int, untracked, formerly("b")], 1)])())


def test_markers_survive_pickling() -> None:
    assert pickle.loads(pickle.dumps(untracked)) is untracked
    assert pickle.loads(pickle.dumps(omit_when(3))).value == 3


# ------------------------------------------------------------------ annotations that are strings


def test_markers_are_read_from_string_annotations_even_beside_unknown_names() -> None:
    cls = future_annotations.Written
    assert set(tree(cls(1))) == {"n", "rows", "other"}
    assert encode(cls(1, jobs=5, logger=object())) == encode(cls(1))


def test_a_marker_that_cannot_be_resolved_is_an_error_and_not_a_tracked_field() -> None:
    with pytest.raises(ParamsError, match=r"Local\.a is annotated"):
        encode(future_annotations.local_spelled_out()())


# ------------------------------------------------------------------ dataclasses in all their forms


def test_defaults_from_a_factory_are_values_like_others() -> None:
    cls = make_dataclass("P", [("a", list, field(default_factory=list))])
    assert encode(cls()) == encode(cls([])) != encode(cls([1]))


def test_fields_that_init_does_not_take_are_identity() -> None:
    @dataclass
    class P:
        a: int
        double: int = field(init=False)

        def __post_init__(self) -> None:
            self.double = 2 * self.a

    assert tree(P(2)) == {"a": 2, "double": 4}


def test_class_variables_and_init_only_arguments_are_not() -> None:
    @dataclass
    class P:
        a: int
        scale: dataclasses.InitVar[int] = 1
        known: ClassVar[dict[str, int]] = {}

    assert tree(P(2, 3)) == {"a": 2}


def test_a_field_never_set_is_an_error() -> None:
    @dataclass(slots=True)
    class P:
        a: int = field(init=False)

    with pytest.raises(UntrackableParam, match=r"P\.a .* never given a value"):
        encode(P())


def test_generic_params() -> None:
    @dataclass
    class Box(Generic[T]):
        item: T

    @dataclass
    class IntBox(Box[int]):
        more: int = 0

    assert encode(Box[int](1)) == encode(Box(1)) != encode(Box(1.0))
    assert tree(IntBox(1)) == {"item": 1, "more": 0}


def test_slots_hide_nothing() -> None:
    """Fault of the original: with slots=True every params set had the tree {} and one hash."""

    @dataclass(slots=True)
    class P(PersistableParams):
        a: int

    assert not hasattr(P(1), "__dict__")
    assert tree(P(1)) == {"a": 1}
    assert encode(P(1)) != encode(P(2))


@pytest.mark.parametrize("decorate", [dataclass, attrs.define])
def test_a_forgotten_decorator_is_an_error_that_names_class_and_fix(decorate: Any) -> None:
    """Fault of the original: the fields of the subclass were not seen, and all its values shared one hash."""

    @decorate
    class Base:
        a: int = 1

    class Child(Base):
        b: int = 2

    with pytest.raises(UntrackableParam, match=r"Child declares b but has no @(dataclass|attrs\.define).*put @"):
        encode(Child())


def test_params_without_any_decorator_are_an_error() -> None:
    class Params(PersistableParams):
        a: int = 1

    with pytest.raises(UntrackableParam, match=r"put @dataclass above class .*Params"):
        encode(Params())


def test_a_params_class_that_is_a_container_too_is_an_error() -> None:
    @dataclass
    class P(dict):  # type: ignore[type-arg]
        a: int = 1

    with pytest.raises(UntrackableParam, match="as well as a params class"):
        encode(P())


# ------------------------------------------------------------------ pydantic and attrs


def test_pydantic_extras_are_identity_and_private_attributes_are_not() -> None:
    class Model(pydantic.BaseModel, extra="allow"):
        a: int = 1
        _cache: int = 0

    one = Model()
    one._cache = 5
    assert encode(one) == encode(Model()) != encode(Model(b=1))
    assert encode(Model(b=1, c=2)) == encode(Model(c=2, b=1))
    assert tree(Model(b=1)) == {"a": 1, "b": 1}


def test_pydantic_models_and_dataclasses_may_be_nested_in_each_other() -> None:
    class Model(pydantic.BaseModel):
        inner: Any

    inner = as_dataclass("P", FIELDS)
    assert encode(Model(inner=inner(n=1, jobs=2))) == encode(Model(inner=inner(n=1)))


def test_attrs_fields_with_a_leading_underscore_keep_it() -> None:
    @attrs.define
    class P:
        _a: int

    assert tree(P(a=1)) == {"_a": 1}


if sys.version_info >= (3, 12):  # the statement is new

    def test_a_named_alias_keeps_the_markers_in_it() -> None:
        names: dict[str, Any] = {"Annotated": Annotated, "untracked": untracked}
        exec("type Jobs = Annotated[int, untracked]", names)
        assert markers_of(names["Jobs"]).untracked


@pytest.mark.parametrize(
    ("declared", "pin", "instead"),
    [
        (float, 0, "takes float; write omit_when(0.0)"),
        (tuple[int, ...], [], "write omit_when(())"),
        (int, "x", "takes int"),
        (int, True, "takes int"),
        (str, None, "takes str"),
    ],
)
def test_a_pinned_value_that_the_field_never_has_is_refused(declared: Any, pin: Any, instead: str) -> None:
    """It left nothing out: 0 is 0.0 where a float is declared."""

    @dataclass
    class Pinned:
        n: Annotated[declared, omit_when(pin)]

    @step
    def pinned(n: Annotated[declared, omit_when(pin)]) -> int:
        return 1

    class Node(Persistable[int, Pinned]):
        pass

    for describe in (Node, pinned.step):
        with pytest.raises(
            ParamsError, match=rf"inned\.n: omit_when\({re.escape(repr(pin))}\) is never met, since .*{re.escape(instead)}$"
        ):
            describe(n=1)


def test_pinned_values_that_fit_in_another_form_are_left_out() -> None:
    @dataclass
    class Pinned:
        n: int
        rate: Annotated[float, omit_when(np.float64(0))] = 0.0
        names: Annotated[list[str] | None, omit_when(None)] = None
        late: Annotated[int, omit_when(None)] = None  # type: ignore[assignment]

    class Node(Persistable[int, Pinned]):
        pass

    assert Node(n=1).params_tree == {"n": 1}
