"""Annotations as written, on every Python: evaluated at the definition up to 3.13, lazily from 3.14. Nothing here raises."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType, GenericAlias, ModuleType, UnionType
from typing import Any

from persistable.nodes.code.constants import exact_dict, exact_tuple, kind_of

LAZY = sys.version_info >= (3, 14)
"""True if annotations are evaluated by a separate function on first access."""
MAKERS = ("__annotate_func__", "__annotate__")


def of_class(attributes: Mapping[str, Any], cls: type) -> Mapping[str, Any]:
    """The annotations in the body of a class whose ``__dict__`` is `attributes`; names not defined yet stay as spelled."""
    made = exact_dict(attributes.get("__annotations__"))
    return made if made is not None else _evaluated(maker_of(attributes), cls)


def of_function(function: FunctionType) -> Mapping[str, Any]:
    """The annotations of a function."""
    maker = getattr(function, "__annotate__", None) if LAZY else None
    return _evaluated(maker, function) if maker is not None else exact_dict(function.__annotations__) or {}


def maker_of(attributes: Mapping[str, Any]) -> FunctionType | None:
    """The function that evaluates the annotations of a class; None if there is none."""
    found = next((attributes[name] for name in MAKERS if name in attributes), None)
    return found if type(found) is FunctionType else None


def _evaluated(maker: Any, owner: Any) -> Mapping[str, Any]:
    if maker is None:
        return {}
    try:
        return exact_dict(maker(1)) or {}  # format 1, VALUE: evaluated as at the definition before Python 3.14
    except Exception:  # noqa: BLE001  a name that is not defined yet, or anything else in an annotation
        pass
    try:
        import annotationlib  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]

        evaluate: Callable[..., Any] = annotationlib.call_annotate_function  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
        found = exact_dict(evaluate(maker, annotationlib.Format.FORWARDREF, owner=owner))  # pyright: ignore[reportUnknownMemberType]
    except Exception:  # noqa: BLE001  an annotation may be any expression
        return {}
    return found or {}


_NAME = re.compile(r"[^\W\d]\w*(?:\.\w+)*")
_MOST = 500


def classes_in(annotations: Iterable[Any], namespace: Mapping[str, Any]) -> Iterator[type]:
    """The classes that annotations name, also within lists, unions, other aliases, and text, whose names are looked up in `namespace`."""
    waiting, seen = list(annotations), dict[int, Any]()
    while waiting and len(seen) < _MOST:
        annotation = waiting.pop()
        if id(annotation) in seen:
            continue
        seen[id(annotation)] = annotation
        kind = kind_of(annotation)
        text = getattr(annotation, "__forward_arg__", None) if kind.__name__ == "ForwardRef" else annotation
        if issubclass(kind, type):
            yield annotation
        elif type(text) is str:
            waiting += [named(name, namespace) for name in _NAME.findall(text)]
        else:
            waiting += members_of(annotation) or ()


def named(dotted: str, namespace: Mapping[str, Any]) -> Any:
    """The object that a dotted name resolves to, through modules and classes; None if it resolves to nothing."""
    first, *rest = dotted.split(".")
    value: Any = namespace.get(first)
    for name in rest:
        kind = kind_of(value)
        if not issubclass(kind, (type, ModuleType)):
            return None
        value = (type if issubclass(kind, type) else ModuleType).__getattribute__(value, "__dict__").get(name)
    return value


def members_of(alias: Any) -> list[Any] | None:
    """The parts of a type alias: its origin, its arguments, and its metadata; None if `alias` is not an alias."""
    kind = kind_of(alias)
    if kind in (GenericAlias, UnionType):
        return [getattr(alias, "__origin__", None), *exact_tuple(alias.__args__)]
    if kind.__name__ == "TypeAliasType":
        return _evaluated_alias(alias)
    if type.__getattribute__(kind, "__module__") != "typing" or not hasattr(alias, "__args__"):
        return None
    return [getattr(alias, "__origin__", None), *exact_tuple(alias.__args__), *getattr(alias, "__metadata__", ())]


def _evaluated_alias(alias: Any) -> list[Any]:
    """The value of ``type NAME = ...`` in a list; empty if evaluation fails. It runs on first access, and may use undefined names."""
    try:
        return [alias.__value__]
    except Exception:  # noqa: BLE001  it may be any expression
        return []
