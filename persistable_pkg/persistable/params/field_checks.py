"""Check params, and other values with fields, by the types that their class declares."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import copy
import enum
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from persistable.params.annotations import home_of, names_for, own_annotations
from persistable.params.building import nearest
from persistable.params.class_tables import ClassTable
from persistable.params.fields import NO_PIN, Spec, spec_of
from persistable.params.mismatch import Mismatch, as_python, is_placeholder, mismatch_unless_placeholder
from persistable.params.numpy_scalars import SCALARS as _SCALARS
from persistable.params.numpy_scalars import is_scalar, python_value, rebuilt
from persistable.params.reduced_values import Refused
from persistable.params.unset import UNSET

if TYPE_CHECKING:
    from persistable.params.checks import Check


class FieldChecks(NamedTuple):
    """The fields of a params class, each with the types that need no check and the check of all others.

    init_only_checks: checks of constructor arguments that become no field (InitVar). hidden: the names that instances may
    hold, where the constructor takes an argument that no field keeps; None where all its arguments become fields.
    """

    fields: tuple[tuple[str, frozenset[type], Callable[[Any], Any]], ...]
    init_only_checks: dict[str, Check]
    hidden: tuple[frozenset[str], str] | None
    plain: bool = False
    """True for a dataclass that keeps its arguments as its fields, without any code of the user's that sees them."""
    has_user_code: bool = False
    """True if code of the user's receives the values while an object is made."""
    keywords: Mapping[str, str] = {}
    """Keyword to the field that it fills, where their names differ."""
    converted: frozenset[str] = frozenset()
    """Fields with a converter of the user's own."""


_FOUND = ClassTable()


def field_checks_of(cls: Any, arguments: tuple[Any, ...] = (), around: Mapping[Any, Any] | None = None) -> FieldChecks | None:
    """The checks of a params class, `arguments` being those of ``cls[...]``; None for classes without anything to check."""
    if arguments:
        return _field_checks(cls, arguments, around or {})
    found: Any = _FOUND.found.get(id(cls))
    if found is None:
        found = _field_checks(cls, (), {}) or False
        _FOUND.set(cls, found)
    return found or None


def _field_checks(cls: Any, arguments: tuple[Any, ...], around: Mapping[Any, Any]) -> FieldChecks | None:
    if issubclass(cls, enum.Enum):
        return None
    try:
        spec = spec_of(cls)
    except Refused:
        return None  # encoding reports the fault in it
    if spec is None:
        return None
    hidden = spec.hidden
    if spec.kind == "pydantic" or "__pydantic_validator__" in cls.__dict__:  # pydantic has checked, by its own rules
        return _judged(cls, spec)
    from persistable.params.checks import check_of, check_pin

    bound = _bindings(cls, arguments, around)
    checks: list[tuple[str, frozenset[type], Callable[[Any], Any]]] = []
    for field in spec.fields:
        home = home_of(cls, field.attr)
        check = check_of(own_annotations(home).get(field.attr, _declared(cls, field.attr)), names_for(home), bound)
        exact = check.exact
        if _default_of(cls, field.attr) is None:  # ``x: int = None`` means ``int | None``, by the old convention
            exact = exact | {type(None)}
        if field.markers.pin is not NO_PIN:
            check_pin(field.markers.pin, check._replace(exact=exact), f"{spec.name}.{field.attr}")
        checks.append((field.attr, exact, check.convert))
    init_only_checks = {}
    for name in spec.also_accepts:
        home = home_of(cls, name)
        check = check_of(own_annotations(home).get(name, Any), names_for(home), bound)
        init_only_checks[name] = check._replace(exact=check.exact | {type(None)}) if _default_of(cls, name) is None else check
    attributes = getattr(cls, "__attrs_attrs__", ())
    generated = getattr(cls.__init__, "__code__", field_checks_of.__code__).co_filename == "<string>"
    hooked = bool(attributes) or hasattr(cls, "__post_init__") or not generated
    return FieldChecks(
        tuple(checks),
        init_only_checks,
        hidden,
        plain=not hooked and hidden is None and "__dataclass_fields__" in cls.__dict__,
        has_user_code=hooked,
        keywords={name: field.attr for field in spec.fields for name in field.names if name != field.attr},
        converted=frozenset(each.name for each in attributes if each.converter is not None),
    )


def _judged(cls: Any, spec: Spec) -> FieldChecks:
    """The checks of a pydantic model: values that pydantic made stay, except numpy scalars in them."""
    checks = []
    for field in spec.fields:
        annotation = getattr(cls, "model_fields", {}).get(field.attr)
        declared = getattr(annotation, "annotation", None)
        if not (isinstance(declared, type) and is_scalar(declared)):
            checks.append((field.attr, _SCALARS, anything))
    if spec.extras:
        checks.append(("__pydantic_extra__", _SCALARS, anything))
    return FieldChecks(tuple(checks), {}, spec.hidden)


def _declared(cls: Any, attr: str) -> Any:
    """The declared type of a field without an annotation, as with ``attrs.field(type=int)`` and make_dataclass."""
    declared = getattr(cls, "__dataclass_fields__", {}).get(attr)
    if declared is not None:
        return declared.type
    return next((each.type for each in getattr(cls, "__attrs_attrs__", ()) if each.name == attr and each.type is not None), Any)


def _default_of(cls: Any, name: str) -> Any:
    """The default that a dataclass or attrs class declares for a field; a value other than None where there is none."""
    declared = getattr(cls, "__dataclass_fields__", {}).get(name)
    if declared is None:
        declared = next((each for each in getattr(cls, "__attrs_attrs__", ()) if each.name == name), None)
    return getattr(declared, "default", UNSET)


def _bindings(cls: Any, arguments: tuple[Any, ...], around: Mapping[Any, Any]) -> dict[Any, Any]:
    """The values of the type variables of `cls` and of its generic bases."""
    own = [around.get(each, each) if isinstance(each, typing.TypeVar) else each for each in arguments]
    bound: dict[Any, Any] = dict(zip(getattr(cls, "__parameters__", ()), own, strict=False))
    for base in _generic_bases(cls):
        for variable, given in zip(getattr(typing.get_origin(base), "__parameters__", ()), typing.get_args(base), strict=False):
            bound.setdefault(variable, bound.get(given, given) if isinstance(given, typing.TypeVar) else given)
    return {variable: given for variable, given in bound.items() if variable is not given}


def _generic_bases(cls: Any) -> Iterator[Any]:
    for owner in cls.__mro__:
        for base in owner.__dict__.get("__orig_bases__", ()):
            if typing.get_origin(base) not in (None, typing.Generic, typing.Protocol):
                yield base


# ------------------------------------------------------------------ values


def anything(value: Any) -> Any:
    """Convert `value`, which has no declared type: numpy scalars in it become Python values, params in it are checked by their class."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if is_scalar(kind):
        return python_value(value)
    return checked(value) if field_checks_of(kind) is not None else rebuilt(value, anything)


def checked(value: Any, checks: FieldChecks | None = None, own: bool = False) -> Any:
    """Check a params object against its declared types: return `value` itself, or a copy if something had to be converted.

    own: no other code has the object yet, so it is changed in place. Raises Mismatch.
    """
    checks = checks or field_checks_of(type(value))
    if checks is None:
        return rebuilt(value, anything)
    changes: list[tuple[str, Any]] = []
    for attr, exact, convert in checks.fields:
        item = getattr(value, attr, UNSET)
        if type(item) in exact or item is UNSET:
            continue
        try:
            made = convert(item)
        except Mismatch as mismatch:
            raise mismatch.under(attr) from None
        if made is not item:
            changes.append((attr, made))
    if checks.hidden is not None:
        _check_hidden(value, *checks.hidden)
    if not changes:
        return value
    if not own:
        value = copy.copy(value)
    for attr, made in changes:
        object.__setattr__(value, attr, made)
    return value


def _check_hidden(value: Any, known: frozenset[str], taken: str) -> None:
    """Raise Mismatch if `value` was made from an argument that no field keeps, and holds data outside its fields."""
    held = [name for name in getattr(value, "__dict__", ()) if name not in known]
    private = getattr(value, "__pydantic_private__", None) or {}
    held += [name for name, each in private.items() if not _is_default(value, name, each)]
    for base in type(value).__mro__:
        slots = base.__dict__.get("__slots__", ())
        held += [name for name in ([slots] if isinstance(slots, str) else slots) if name not in known and hasattr(value, name)]
    if held:
        raise Mismatch(
            value,
            "only what its fields keep",
            f"{type(value).__name__} is made from {taken} as well and holds {', '.join(dict.fromkeys(held))} beside its fields, "
            f"which would be no part of its identity: make {taken} a field",
        )


def _is_default(value: Any, name: str, held: Any) -> bool:
    declared = type(value).__private_attributes__.get(name)
    return declared is not None and bool(held == declared.get_default())


# ------------------------------------------------------------------ classes


def of_class(cls: Any, arguments: tuple[Any, ...], words: str, around: Mapping[Any, Any]) -> Callable[[Any], Any]:
    """A check for instances of `cls`, and for their fields if they are params."""
    target = ref(cls)  # a strong reference would keep a class alive that mentions itself
    given = dict(around)
    members = list(cls.__members__) if issubclass(cls, enum.Enum) else []
    known: list[FieldChecks | None] = []

    def convert(value: Any) -> Any:
        kind: Any = target()
        if kind is None or type(value) is kind or isinstance(value, kind):
            found = value
        else:
            found = _as_current_definition(value, kind)
            if found is None:
                near = nearest(value, members) if members and isinstance(value, str) else None
                return mismatch_unless_placeholder(value, words, f"did you mean {words}.{near}?" if near is not None else "")
        if arguments and type(found) is kind:
            if not known:
                known.append(field_checks_of(kind, arguments, given))
            return checked(found, known[0], own=found is not value)
        return checked(found, own=found is not value)

    return convert


def _as_current_definition(value: Any, cls: Any) -> Any:
    """`value` as an instance of `cls` if its own class is an earlier definition of it, with the same fields; else None."""
    made = as_python(value)
    if made is not value and isinstance(made, cls):
        return made
    kind: Any = type(value)
    if not is_redefined_as(kind, cls):
        return None
    if issubclass(cls, enum.Enum):
        return cls.__members__.get(value.name) if cls.__members__.keys() == kind.__members__.keys() else None
    return convert_to_redefinition(value, cls)


def is_redefined_as(kind: Any, cls: Any) -> bool:
    """Tell whether `kind` is another definition of the class `cls`: of the same name in the same module."""
    return kind is not cls and kind.__qualname__ == cls.__qualname__ and kind.__module__ == cls.__module__ and not is_placeholder(kind)


def convert_to_redefinition(value: Any, cls: Any) -> Any:
    """Convert `value` of an earlier definition of the params class `cls` to one of `cls`; None where their fields differ."""
    try:
        old, new = spec_of(type(value)), spec_of(cls)
    except Refused:
        return None
    if old is None and new is None:
        return value  # a class without known fields is compared by its name alone
    if old is None or new is None or [each.name for each in old.fields] != [each.name for each in new.fields]:
        return None
    if new.kind == "pydantic":
        return cls.model_construct(**{field.attr: getattr(value, field.attr) for field in new.fields})
    made = object.__new__(cls)
    for name, item in getattr(value, "__dict__", {}).items():
        object.__setattr__(made, name, item)
    for field in new.fields:
        if hasattr(value, field.attr):
            object.__setattr__(made, field.attr, getattr(value, field.attr))
    return made
