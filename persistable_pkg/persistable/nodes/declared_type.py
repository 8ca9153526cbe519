"""Payloads that differ from their declared type: None, after a forgotten `return`, and numbers of another type."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from persistable.errors import NothingReturned
from persistable.nodes.types import Node
from persistable.params.class_tables import ClassTable

UNKNOWN = typing.Any
"""A type that is not declared, or cannot be determined."""

_refused: WeakKeyDictionary[type, str] = WeakKeyDictionary()


def check_none_returned(node: Node) -> None:
    """Raise NothingReturned if the generating code of `node`, which has returned None, declares that it returns something else."""
    refused = type_without_none(node)
    if refused:
        function = node._node_generating_function()
        name = f"{function.__module__}:{function.__qualname__}"
        raise NothingReturned(
            f"{name} returned None, and the payload of {node.key} is declared to be {refused}: did you forget `return`? "
            f"If None is meant, declare it: `{refused} | None`",
            key=node.key,
            function=name,
            declared=refused,
        )


def convert_put(node: Node, payload: Any) -> Any:
    """`payload`, which is put in by hand, as the generating code of `node` would have returned it. Raises NothingReturned."""
    if payload is None:
        refused = type_without_none(node)
        if refused:
            raise NothingReturned(
                f"put(None) for {node.key}, whose payload is declared to be {refused}; if None is meant, declare it: `{refused} | None`",
                key=node.key,
                function="put",
                declared=refused,
            )
    return convert_returned(node, payload) if payload.__class__ is int or payload.__class__ is float else payload


def type_without_none(node: Node) -> str:
    """The declared type of the payload of `node`, as it is written, if that does not admit None; else empty."""
    cls: Any = node.__class__
    refused = _refused.get(cls)
    if refused is None:
        refused = _refused[cls] = next((written(kind) for kind in node._node_declared_payloads() if not admits_none(kind)), "")
    return refused


def convert_returned(node: Node, result: Any) -> Any:
    """`result`, an int or float that the generating code of `node` returned, as the declared number: ``8.0`` for ``8`` for a float.

    As for params: converted if that is exact, else left as it is.
    """
    cls: Any = node.__class__
    number = _numbers.found.get(id(cls))
    if number is None:
        number = _number(node._node_declared_payloads())
        _numbers.set(cls, number)
    return result if result.__class__ in number.kept else number.of(result)


_numbers = ClassTable()


class _Number(NamedTuple):
    """The declared kind of number: ints and floats of the types `kept` stay as they are, `of` converts the others."""

    kept: frozenset[type]
    of: Callable[[Any], Any]


_AS_IT_IS = _Number(frozenset({int, float}), float)  # all numbers asked about are of these two types


def _number(kinds: Iterable[Any]) -> _Number:
    """The kind of number of the first of `kinds` that is a declared type."""
    from persistable.params.checks import check_of
    from persistable.params.mismatch import Mismatch

    declared = next((kind for kind in kinds if kind is not UNKNOWN and kind is not None and not isinstance(kind, str)), None)
    check = check_of(declared, {}) if declared is not None else None
    if check is None or not check.exact & {float, complex}:
        return _AS_IT_IS

    def convert(result: Any) -> Any:
        try:
            made = check.convert(result)
        except Mismatch:
            return result
        return made if type(made) is float or type(made) is complex else result

    return _Number(check.exact, convert)


def written(kind: Any) -> str:
    """The text of a declared type."""
    return kind.__qualname__ if isinstance(kind, type) and not typing.get_args(kind) else repr(kind).replace("typing.", "")


def admits_none(kind: Any) -> bool:
    """Tell whether None is a payload of the declared type `kind`; True also if that is unknown."""
    if kind is UNKNOWN or kind is None or isinstance(kind, str | typing.ForwardRef):
        return True
    if isinstance(kind, typing.TypeVar):
        bounds = kind.__constraints__ or ((kind.__bound__,) if kind.__bound__ is not None else ())
        return not bounds or any(admits_none(bound) for bound in bounds)
    if isinstance(kind, typing.NewType):
        return admits_none(kind.__supertype__)
    if type(kind).__name__ == "TypeAliasType":
        return admits_none(kind.__value__)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Union or origin is types.UnionType:
        return any(argument is type(None) or admits_none(argument) for argument in arguments)
    if origin is typing.Literal:
        return None in arguments
    if origin is typing.Annotated:
        return admits_none(arguments[0])
    if type(origin).__name__ == "TypeAliasType":
        return admits_none(origin.__value__)
    return _is_instance(origin or kind)


def _is_instance(kind: Any) -> bool:
    if not isinstance(kind, type) or kind is type(None):
        return True
    if typing.is_typeddict(kind):
        return False
    try:
        return isinstance(None, kind)
    except TypeError:  # a protocol that is not runtime-checkable
        return True


def return_type(function: Callable[..., Any]) -> Any:
    """The declared result of a function; UNKNOWN if there is none, or its names are not defined in its module."""
    try:
        found: Any = inspect.unwrap(function).__annotations__.get("return", UNKNOWN)
    except (NameError, AttributeError, TypeError):  # annotations are evaluated on access, on Python 3.14 and later
        return UNKNOWN
    return evaluated(found, getattr(inspect.unwrap(function), "__globals__", {}))


def evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    """`annotation`, evaluated if it is text; UNKNOWN if that fails, as for names not among `names`."""
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if not isinstance(annotation, str):
        return annotation
    try:
        return evaluated(eval(annotation, {**names}), names)
    except Exception:  # noqa: BLE001 - a user's annotation may raise any error
        return UNKNOWN
