"""Checks of numbers, texts, paths and other values without parts: they return a value of the declared type, converted without loss."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from persistable.params.mismatch import Mismatch, as_python, is_placeholder, mismatch_unless_placeholder, retype_hint
from persistable.params.numpy_scalars import is_scalar, python_value


def to_int(value: Any) -> Any:
    """Convert to an int, also from numpy; never from a bool or a float."""
    value, given = as_python(value), value
    if isinstance(value, int) and not isinstance(value, bool):
        return value  # also a member of an IntEnum, which keeps its name
    if isinstance(value, bool):
        return mismatch_unless_placeholder(given, "int", f"write {int(value)}, or declare it bool")
    if isinstance(value, float):
        return mismatch_unless_placeholder(given, "int", f"did you mean {int(value)}?" if value.is_integer() else "")
    return mismatch_unless_placeholder(given, "int", retype_hint(value, int))


def to_float(value: Any) -> Any:
    """Convert to a float, also from an int or a numpy number of the same value; never from a bool."""
    value, given = as_python(value), value
    kind = type(value)
    if kind is int:
        try:
            made = float(value)
        except OverflowError:
            made = float("inf")
        return made if made == value else mismatch_unless_placeholder(given, "float", "no float has exactly this value")
    if isinstance(value, float):
        return value
    if kind is bool:
        return mismatch_unless_placeholder(given, "float", f"write {float(value)}, or declare it bool")
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return mismatch_unless_placeholder(given, "float", retype_hint(value, float))


def to_complex(value: Any) -> Any:
    """Convert to a complex number, also from an int or float of the same value; never from a bool."""
    value, given = as_python(value), value
    if isinstance(value, complex):
        return value
    if type(value) is int or type(value) is float:
        made = complex(to_float(value))
        return made if made == value or value != value else mismatch_unless_placeholder(given, "complex")
    return mismatch_unless_placeholder(given, "complex", retype_hint(value, complex))


def _is_truth(value: Any) -> str:
    return f"write {bool(value)}" if isinstance(value, int | float) and value in (0, 1) else ""


def path_of(cls: type) -> Callable[[Any], Any]:
    """A check for paths of `cls`: also from text; other objects that are paths stay as they are."""

    def check(value: Any) -> Any:
        if isinstance(value, PurePath):
            return value
        made = as_python(value)
        if type(made) is str:
            return cls(made)
        return value if hasattr(value, "__fspath__") or hasattr(value, "protocol") else mismatch_unless_placeholder(value, cls.__name__)

    return check


def instance_of(cls: type, hint: Callable[[Any], str] | None = None) -> Callable[[Any], Any]:
    """A check for instances of a class that has no parts; also from a numpy scalar that holds one."""
    name = cls.__qualname__ if "<locals>" not in cls.__qualname__ else cls.__name__

    def check(value: Any) -> Any:
        made = as_python(value)
        return made if isinstance(made, cls) else mismatch_unless_placeholder(value, name, hint(made) if hint is not None else "")

    return check


def number_of(cls: Any) -> Callable[[Any], Any]:
    """A check for one of the abstract classes of `numbers`, for which a bool is no number."""

    def check(value: Any) -> Any:
        made = as_python(value)
        return (
            made if isinstance(made, cls) and not isinstance(made, bool) else mismatch_unless_placeholder(value, f"numbers.{cls.__name__}")
        )

    return check


def scalar_of(cls: Any) -> Callable[[Any], Any]:
    """A check for one of numpy's scalar types: exactly equal values are converted to it, as the key is the same; other fractions stay."""
    bases = {base.__name__ for base in cls.__mro__}
    like = next((check for name, check in _LIKE.items() if name in bases), None)

    def check(value: Any) -> Any:
        if type(value) is cls:
            return value
        try:
            plain = like(value) if like is not None else value
        except Mismatch as mismatch:
            raise Mismatch(value, f"numpy.{cls.__name__}", mismatch.hint) from None
        if not isinstance(plain, str | bytes | bool | int | float | complex):
            return python_value(plain) if is_scalar(type(plain)) else plain
        try:
            made = cls(plain)
            again = python_value(made)
        except (TypeError, ValueError, OverflowError):
            made = again = None
        if type(again) is type(plain) and (again == plain or again != again):
            return made
        return plain if type(plain) is float or type(plain) is complex else mismatch_unless_placeholder(value, f"numpy.{cls.__name__}")

    return check


def is_of(cls: Any, value: Any) -> bool:
    """Tell whether `value` is exactly a scalar of numpy's type `cls`."""
    try:
        return type(scalar_of(cls)(value)) is cls
    except Mismatch:
        return False


EXACT: dict[Any, Callable[[Any], Any]] = {
    int: to_int,
    float: to_float,
    complex: to_complex,
    bool: instance_of(bool, _is_truth),
    str: instance_of(str),
    bytes: instance_of(bytes),
    type(None): lambda value: value if value is None or is_placeholder(type(value)) else mismatch_unless_placeholder(value, "None"),
}
"""The converter of each type: it returns the equal value of that type, or raises Mismatch."""

_LIKE: dict[str, Callable[[Any], Any]] = {
    "datetime64": lambda value: value,
    "timedelta64": lambda value: value,  # before the integers, as numpy counts it among them
    "integer": to_int,
    "floating": to_float,
    "complexfloating": to_complex,
    "bool": EXACT[bool],
    "bool_": EXACT[bool],
    "str_": EXACT[str],
    "bytes_": EXACT[bytes],
}
"""The check of the equivalent Python type, by the name of a base class of numpy's scalar types."""
