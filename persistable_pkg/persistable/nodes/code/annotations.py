"""Annotations as they stand, on every Python: made at once up to 3.13, lazily afterwards. Nothing here raises."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from persistable.nodes.code.constants import exact_dict

LAZY = sys.version_info >= (3, 14)
"""True if annotations are made by a function of their own when they are first asked for."""
MAKERS = ("__annotate_func__", "__annotate__")


def of_class(attributes: Mapping[str, Any], cls: type) -> Mapping[str, Any]:
    """The annotations in the body of a class, whose ``__dict__`` is `attributes`; names not defined yet stand as they are spelled."""
    made = exact_dict(attributes.get("__annotations__"))
    return made if made is not None else _evaluated(maker_of(attributes), cls)


def of_function(function: FunctionType) -> Mapping[str, Any]:
    """The annotations of a function."""
    maker = getattr(function, "__annotate__", None) if LAZY else None
    return _evaluated(maker, function) if maker is not None else exact_dict(function.__annotations__) or {}


def maker_of(attributes: Mapping[str, Any]) -> FunctionType | None:
    """The function that makes the annotations of a class, where there is one."""
    found = next((attributes[name] for name in MAKERS if name in attributes), None)
    return found if type(found) is FunctionType else None


def _evaluated(maker: Any, owner: Any) -> Mapping[str, Any]:
    if maker is None:
        return {}
    try:
        return exact_dict(maker(1)) or {}  # their values: what was done at the definition, before Python 3.14
    except Exception:  # noqa: BLE001  a name that is not defined yet, or whatever else stands in an annotation
        pass
    try:
        import annotationlib  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]

        evaluate: Callable[..., Any] = annotationlib.call_annotate_function  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
        found = exact_dict(evaluate(maker, annotationlib.Format.FORWARDREF, owner=owner))  # pyright: ignore[reportUnknownMemberType]
    except Exception:  # noqa: BLE001  whatever stands in an annotation
        return {}
    return found or {}
