"""Make params from values that users give, and check params that users made, by the types that their class declares."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from persistable.errors import PersistableError
from persistable.params.building import build, replaced
from persistable.params.checks import Check
from persistable.params.field_checks import FieldChecks, anything, checked, field_checks_of
from persistable.params.mismatch import Mismatch


def typed_params(cls: Any, fields: Mapping[str, Any], place: str = "", arguments: tuple[Any, ...] = ()) -> Any:
    """Make a params object of `cls` (of ``cls[arguments]``) from keywords, each of its declared type or converted to it without loss.

    Raises MistypedParam, UnknownParam and MissingParam; errors of the class itself pass through.
    """
    checks = field_checks_of(cls, arguments)
    if checks is None:
        return _called(cls, fields, place)
    if checks.plain:
        try:
            value = cls(**fields)
        except TypeError:
            value = build(cls, fields, place)  # raises the error that names the fault
        for attr, exact, _ in checks.fields:
            if type(getattr(value, attr, None)) not in exact:
                return _coerce_own_object(value, checks)
        return value
    return _make_coerced(lambda given: _called(cls, given, place), cls, checks, fields)


def replace_params(params: Any, changes: Mapping[str, Any], place: str = "", arguments: tuple[Any, ...] = ()) -> Any:
    """Copy `params` with other values in some of its fields. Raises the errors of `typed_params`."""
    cls = type(params)
    checks = field_checks_of(cls, arguments)
    if checks is None:
        return coerce_params(replaced(params, changes, place))
    return _make_coerced(lambda given: replaced(params, given, place), cls, checks, changes)


def coerce_params(params: Any, arguments: tuple[Any, ...] = ()) -> Any:
    """Check params that a user made by their declared types; return them, or a copy with converted values. Raises MistypedParam."""
    checks = field_checks_of(type(params), arguments)
    return _convert_or_raise(partial(checked, checks=checks) if checks is not None else anything, params, type(params).__name__)


def coerce_value(check: Check, value: Any, place: str) -> Any:
    """Check `value` and return it, converted if need be. Raises MistypedParam, naming `place`."""
    return value if type(value) in check.exact else _convert_or_raise(check.convert, value, place)


def _convert_or_raise(convert: Callable[[Any], Any], value: Any, place: str) -> Any:
    """Return `convert(value)`, or `value` itself if it contains itself, which encoding reports. Raises MistypedParam."""
    try:
        return convert(value)
    except RecursionError:
        return value
    except Mismatch as mismatch:
        raise mismatch.error(place) from None


def column(check: Check, values: Any, place: str) -> Any:
    """Check the values of an axis: the same sequence is returned if nothing had to be converted. Raises MistypedParam."""
    exact, convert = check.exact, check.convert
    if int in exact if isinstance(values, range) else {*map(type, values)} <= exact:
        return values
    out = [value if type(value) in exact else _convert_or_raise(convert, value, place) for value in values]
    return values if all(a is b for a, b in zip(values, out, strict=True)) else out


def field_check(cls: Any, name: str, arguments: tuple[Any, ...] = ()) -> Check | None:
    """The check of the field that takes the keyword `name`; None where it has none of its own."""
    checks = field_checks_of(cls, arguments)
    if checks is None:
        return None
    attr = checks.keywords.get(name, name)
    if attr in checks.converted:
        return None  # the class itself converts it
    found = next((each for each in checks.fields if each[0] == attr), None)
    return Check(found[1], found[2], "") if found is not None else checks.init_only_checks.get(name)


def _called(cls: Any, fields: Mapping[str, Any], place: str) -> Any:
    if "__dataclass_fields__" in cls.__dict__:
        try:
            return cls(**fields)  # the call itself checks names; `build` below raises the error that names the fault
        except TypeError:
            pass
    return build(cls, fields, place)


def _make_coerced(make: Callable[[Mapping[str, Any]], Any], cls: Any, checks: FieldChecks, fields: Mapping[str, Any]) -> Any:
    """Make an object of the fields by `make`, each of its declared type."""
    early, trouble = _coerce_arguments(cls, checks, fields)
    try:
        value = make(early)
    except PersistableError:
        raise
    except Exception as error:
        if trouble is not None:  # most likely the cause of the error
            raise trouble.error(cls.__name__) from error
        raise
    return _coerce_own_object(value, checks)


def _coerce_own_object(value: Any, checks: FieldChecks) -> Any:
    return _convert_or_raise(partial(checked, checks=checks, own=True), value, type(value).__name__)


def _coerce_arguments(cls: Any, checks: FieldChecks, fields: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mismatch | None]:
    """Convert the fields before the class's own code receives them; also return the first mismatch.

    A mismatch alone is no error, as that code may convert the value: the object is checked when made. Keywords without a field fail here.
    """
    if not checks.init_only_checks and not checks.has_user_code:
        return fields, None
    trouble: Mismatch | None = None
    out = dict(fields)
    known = {attr: (exact, convert) for attr, exact, convert in checks.fields}
    for name, value in fields.items():
        attr = checks.keywords.get(name, name)
        entrance = checks.init_only_checks.get(name)
        if entrance is not None:
            out[name] = coerce_value(entrance, value, f"{cls.__name__}.{name}")
        elif checks.has_user_code and attr in known and attr not in checks.converted and type(value) not in known[attr][0]:
            try:
                out[name] = known[attr][1](value)
            except Mismatch as mismatch:
                trouble = trouble or mismatch.under(attr)
            except RecursionError:
                pass  # it contains itself, which encoding reports
    return out, trouble
