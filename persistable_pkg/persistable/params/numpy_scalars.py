"""Convert numpy scalars to the Python values that they are in identity, at any depth of values without a declared type."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import collections
import copy
import functools
import sys
import types
from collections.abc import Callable
from typing import Any

from persistable.params.class_tables import ClassTable
from persistable.params.mismatch import Mismatch

Convert = Callable[[Any], Any]
SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes})


def python_value(scalar: Any) -> Any:
    """The Python value of a numpy scalar; the scalar itself where identity has its dtype (times, long doubles, structures)."""
    numpy = sys.modules["numpy"]
    if isinstance(scalar, numpy.datetime64 | numpy.timedelta64 | numpy.longdouble | numpy.clongdouble | numpy.void):
        return scalar
    value = scalar.item()
    return scalar if isinstance(value, numpy.generic) or type(scalar).__module__.partition(".")[0] != "numpy" else value


def is_scalar(cls: type) -> bool:
    """Tell whether values of `cls` are numpy scalars."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and issubclass(cls, numpy.generic)


def is_concrete(cls: type) -> bool:
    """Tell whether numpy makes scalars of `cls` itself, and not only of classes derived from it."""
    return cls in sys.modules["numpy"].sctypeDict.values()


def rebuilt(value: Any, convert: Convert) -> Any:
    """`value` with its items converted: itself where nothing changes, else a copy.

    Raises Mismatch with the place if `convert` does, RecursionError for a value that contains itself. Only types that are easy to rebuild
    are searched: containers of Python, partials, and parameters of scikit-learn's estimators. Other types that may hold numpy scalars have
    the dtypes of these in identity.
    """
    kind = type(value)
    found: Any = _REBUILD.found.get(id(kind))
    if found is None:
        found = _rebuild_of(kind)
        _REBUILD.set(kind, found)
    return found(value, convert) if found else value


_REBUILD = ClassTable()


def _inside(value: Any, step: Any, convert: Convert) -> Any:
    try:
        return convert(value)
    except Mismatch as mismatch:
        raise mismatch.under(step) from None


def items(value: Any, convert: Convert) -> list[Any] | None:
    """The items of a sequence or set, converted; None where none changes."""
    if {*map(type, value)} <= SCALARS:
        return None
    found = list(value)
    changed = [_inside(each, place, convert) for place, each in enumerate(found)]
    return changed if any(new is not old for new, old in zip(changed, found, strict=True)) else None


def pairs(value: Any, convert: Convert) -> dict[Any, Any] | None:
    """The keys and values of a mapping, converted; None where none changes."""
    if {*map(type, value)} | {*map(type, value.values())} <= SCALARS:
        return None
    changed = {_inside(name, (name,), convert): _inside(each, (name,), convert) for name, each in value.items()}
    same = all(new is old for new, old in zip(changed, value, strict=False)) and all(
        new is old for new, old in zip(changed.values(), value.values(), strict=False)
    )
    return None if same else changed


def _rebuild_of(kind: type) -> Callable[[Any, Convert], Any] | bool:
    found = _EXACT.get(kind)
    if found is not None:
        return found
    if issubclass(kind, tuple) and hasattr(kind, "_make"):
        return _named_tuple
    # it is imported if there is an instance of one of its classes
    if "sklearn" in sys.modules and any(base.__module__.startswith("sklearn.") and base.__name__ in _ESTIMATORS for base in kind.__mro__):
        return _estimator
    return False


_ESTIMATORS = ("BaseEstimator", "Kernel")


def _of_items(make: Callable[[Any, list[Any]], Any]) -> Callable[[Any, Convert], Any]:
    """Return a function that converts the items of a value; `make` makes another value of the same kind from them."""

    def rebuild(value: Any, convert: Convert) -> Any:
        changed = items(value, convert)
        return value if changed is None else make(value, changed)

    return rebuild


_named_tuple = _of_items(lambda value, changed: type(value)._make(changed))


def _dict(value: Any, convert: Convert) -> Any:
    changed = pairs(value, convert)
    if changed is None:
        return value
    made = value.copy()
    made.clear()
    made.update(changed)
    return made


def _proxy(value: Any, convert: Convert) -> Any:
    changed = pairs(value, convert)
    return value if changed is None else types.MappingProxyType(changed)


def _slice(value: slice[Any, Any, Any], convert: Convert) -> Any:
    changed = items((value.start, value.stop, value.step), convert)
    return value if changed is None else slice(*changed)


def _partial(value: functools.partial[Any], convert: Convert) -> Any:
    arguments, keywords = items(value.args, convert), pairs(value.keywords, convert)
    if (arguments is None and keywords is None) or value.__dict__:
        return value
    arguments, keywords = list(value.args) if arguments is None else arguments, value.keywords if keywords is None else keywords
    return functools.partial(value.func, *arguments, **keywords)


def _estimator(value: Any, convert: Convert) -> Any:
    try:
        held = value.get_params(deep=False)
    except Exception:  # noqa: BLE001 - encoding reports the fault in it
        return value
    changed = pairs(held, convert)
    if changed is None or any(getattr(value, name, self) is not self for name, self in held.items()):
        return value
    made = copy.copy(value)
    for name, new in changed.items():
        if new is not held[name]:
            setattr(made, name, new)
    return made


_EXACT: dict[Any, Callable[[Any, Convert], Any]] = {
    **dict.fromkeys((list, tuple, set, frozenset), _of_items(lambda value, changed: type(value)(changed))),
    **dict.fromkeys((dict, collections.OrderedDict, collections.defaultdict, collections.Counter), _dict),
    collections.deque: _of_items(lambda value, changed: collections.deque(changed, value.maxlen)),
    types.MappingProxyType: _proxy,
    slice: _slice,
    functools.partial: _partial,
}
