"""Variables that a function captured, as identity has them: values as they are, functions, classes and modules by name."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

from persistable.nodes.code import closure_values, mark_of
from persistable.nodes.code.bytecode import codes_in
from persistable.nodes.code.constants import kind_of
from persistable.nodes.code.normal import shape
from persistable.params.numpy_scalars import SCALARS, is_scalar, rebuilt
from persistable.params.reduce import MAINS, reference
from persistable.params.reduced import Refused

_WAY_OUT = (
    "pass it to the step as an argument of its own, define it with `def` or `class` at the top level of a module, or capture the values it "
    "is made from"
)


@dataclass(frozen=True)
class Named:
    """Something captured that is identity by its name: ``module:qualname``, numbered where a function defines several of one name."""

    name: str


class Unnamed(Exception):
    """Something captured has no name that tells it from others. ``place`` says where, dotted."""

    def __init__(self, place: str, reason: str, found: Any) -> None:
        super().__init__(f"{reason}. To go on, {_WAY_OUT}")
        self.place = place
        self.found = f"{type(found).__module__}.{type(found).__qualname__}"


def captured(function: FunctionType, judged: bool = True) -> dict[str, Any]:
    """The variables that `function` captured, and what the functions and classes among them captured in turn, under dotted names.

    Raises Unnamed for functions and classes that no name tells apart; not where they are not `judged`, as in a process that was sent them.
    """
    found: dict[str, Any] = {}
    _collect(closure_values(function), "", found, {id(function)}, judged)
    return found


def definition(function: FunctionType) -> str:
    """The number of a function among those of its name in the function around it, such as under ``if`` and ``else``; "" for the first."""
    qualname = function.__code__.co_qualname
    if "<locals>" not in qualname:
        return ""
    try:
        return _local(function.__code__, function.__module__, qualname).partition("#")[2]
    except Refused:
        return ""


def _collect(values: dict[str, Any], place: str, found: dict[str, Any], seen: set[int], judged: bool) -> None:
    for name, value in values.items():
        where = f"{place}{name}"
        held = unwrapped(value)
        if isinstance(held, ModuleType):
            found[where] = Named(held.__name__)
        elif isinstance(held, (FunctionType, type)):
            try:
                found[where] = _named(held, judged)
            except Refused as refused:
                raise Unnamed(where, refused.reason, held) from None
            if id(held) not in seen:
                seen.add(id(held))
                _collect(_inside(cast("FunctionType", held)), f"{where}.", found, seen, judged)
        else:
            with suppress(RecursionError):  # what contains itself is refused where it is encoded
                held = _typed(held)
            found[where] = held


def _typed(value: Any) -> Any:
    """`value` with numpy scalars as arrays of no dimensions: the function goes on with the scalars, so their dtypes are identity."""
    kind = kind_of(value)
    if kind in SCALARS:
        return value
    return sys.modules["numpy"].asarray(value) if is_scalar(kind) else rebuilt(value, _typed)


def unwrapped(value: Any) -> Any:
    """The function of a step, and anything else as it is."""
    return value.__wrapped__ if getattr(kind_of(value), "_is_step", False) else value


def _inside(held: FunctionType | type[Any]) -> dict[str, Any]:
    """The values that a captured function, or class defined in a function, holds besides its code."""
    if not isinstance(held, type):
        values = closure_values(held)
        if "<locals>" in held.__code__.co_qualname:  # at module level they are part of the source
            values |= _defaults(held)
        return values
    if "<locals>" not in held.__qualname__:
        return {}
    found: dict[str, Any] = {f"base{number}": base for number, base in enumerate(held.__bases__) if base is not object}
    members: dict[str, Any] = dict(vars(held))
    for name, value in members.items():
        inner: Any = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
        if isinstance(inner, FunctionType):
            if not inner.__code__.co_filename.startswith("<"):  # made by dataclasses and their like, from what stands in the class
                found |= {f"{name}.{variable}": content for variable, content in {**closure_values(inner), **_defaults(inner)}.items()}
        elif not (name.startswith("__") and name.endswith("__")) and not hasattr(value, "__get__"):
            found[name] = value
    return found


def _defaults(function: FunctionType) -> dict[str, Any]:
    code = function.__code__
    given = function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    found = dict(zip(names[len(names) - len(given) :], given, strict=True))
    return {**found, **(function.__kwdefaults__ or {})}


# names


def _named(held: Any, judged: bool) -> Any:
    """A function or class by name: itself where it can be imported, else a `Named`."""
    module, qualname = str(held.__module__), str(held.__qualname__)
    if not judged:
        return Named(f"{module}:{qualname}")
    try:
        reference(held)
    except Refused:
        pass
    else:
        if module not in MAINS or _leads_to(module, qualname, held) is not False:
            return held
    module = "__main__" if module in MAINS else module
    code = held.__code__ if isinstance(held, FunctionType) else None
    place = code.co_qualname if code is not None else qualname
    if "<locals>" in place:
        return _named_as(f"{module}:{_local(code, module, place, held)}", held)
    if "<lambda>" in qualname:
        raise Refused("it is a lambda, which has no name that tells it from others", "")
    if _leads_to(module, qualname, held) is False:
        raise Refused(f"{qualname} of {module} has been defined anew since it was captured, so its name does not tell which is meant", "")
    return _named_as(f"{module}:{qualname}", held)


def _named_as(name: str, held: Any) -> Named:
    """`held` by its name; where that is of the main script, which others have too, with its source."""
    return Named(f"{name}#{mark_of(held)}" if name.startswith("__main__:") else name)


def _leads_to(module: str, qualname: str, held: Any) -> bool | None:
    """Tell whether the name stands for `held`, plainly or behind decorators; None where nothing has that name, as in a worker process."""
    found = _lookup(module, qualname)
    if found is None:
        return None if module in MAINS else False
    if found is held:
        return True
    if not isinstance(held, FunctionType):
        return isinstance(found, type) and module in MAINS
    return any(inner is held or _same(inner, held) for inner in _behind(found))


def _same(one: FunctionType, other: FunctionType) -> bool:
    return shape(one.__code__) == shape(other.__code__) and _defaults(one) == _defaults(other)


def _lookup(module: str, qualname: str) -> Any:
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = vars(found).get(name) if isinstance(found, type | ModuleType) else getattr(found, name, None)
        if found is None:
            return None
    return found


def _behind(thing: Any) -> Iterator[FunctionType]:
    """The functions that a name leads to: through steps, `functools.wraps`, closures of decorators, methods and partials."""
    waiting, seen = [thing], set[int]()
    while waiting and len(seen) < 50:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, FunctionType):
            yield each
            waiting += closure_values(each).values()
        names = ("__wrapped__", "__func__", "func", "fget") if isinstance(each, _HOLDERS) else ("__wrapped__",)
        waiting += [inner for name in names if (inner := getattr(each, name, None)) is not None]
        if not isinstance(each, FunctionType | type | ModuleType):
            waiting += [inner for inner in getattr(each, "__dict__", {}).values() if isinstance(inner, FunctionType)]


_HOLDERS: tuple[type[Any], ...] = (FunctionType, functools.partial, classmethod, staticmethod, property)


def _local(code: CodeType | None, module: str, place: str, held: Any = None) -> str:
    """The name of what a function defines, with its number where that function defines several of one name. Raises Refused."""
    around, _, _ = place.partition(".<locals>.")
    if "<lambda>" in around or (maker := _lookup(module, around)) is None:
        if module in MAINS and "<lambda>" not in place:
            return place  # in a process that was sent it, or at a prompt
        raise Refused(f"the function that defines {place} cannot be found by name", "")
    for function in _behind(maker):
        defined = [inner for inner in codes_in(function.__code__) if inner is not function.__code__ and inner.co_qualname == place]
        number = _number_of_class(defined, held) if code is None else _number(defined, code)
        if len(defined) > 1 and number and "<lambda>" in place:
            raise Refused(f"it is one of several lambdas in {around}, which have no name that tells them apart", "")
        if number:
            return place if number == 1 else f"{place}#{number}"
    raise Refused(f"nothing tells which {place} of {module} it is: there are several, or it has been defined anew since", "")


def _number(defined: list[CodeType], code: CodeType) -> int:
    wanted = shape(code)
    same = [number for number, other in enumerate(defined, 1) if other is code]
    alike = [number for number, other in enumerate(defined, 1) if shape(other) == wanted]
    return next(iter([*same, *alike]), 0)


def _number_of_class(defined: list[CodeType], held: type) -> int:
    """The same for a class, which does not know its code: by that of its methods."""
    if len(defined) == 1:
        return 1
    own = {shape(value.__code__) for value in vars(held).values() if isinstance(value, FunctionType)}
    fitting = [number for number, body in enumerate(defined, 1) if own <= {shape(inner) for inner in codes_in(body)}]
    return fitting[0] if own and len(fitting) == 1 else 0
