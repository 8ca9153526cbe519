"""Annotations as they were written, of one class or function, evaluated as far as their names are known."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import sys

TYPE_CHECKING = False  # importing `typing` would cost more than all of params
if TYPE_CHECKING:
    from collections.abc import Callable
    from inspect import Signature
    from typing import Any

_LAZY = sys.version_info >= (3, 14)
"""True if annotations are evaluated only when read, and may name classes that are defined later."""


def own_annotations(cls: type) -> dict[str, Any]:
    """The annotations in the body of `cls` itself, none inherited. Unknown names become forward references, or text."""
    own: Any = cls.__dict__.get("__annotations__")  # noqa: RUF063 - the class's own, not evaluated
    if isinstance(own, dict):
        return own
    if not _LAZY:
        return {}
    from importlib import import_module

    lib: Any = import_module("annotationlib")
    try:
        return dict(lib.get_annotations(cls, format=lib.Format.FORWARDREF))
    except Exception:  # noqa: BLE001 - evaluating a user's annotations may raise any error
        return dict(lib.get_annotations(cls, format=lib.Format.STRING))


def signature_of(function: Any) -> Signature:
    """The signature of a function; unknown names in its annotations do not raise."""
    import inspect

    if not _LAZY:
        return inspect.signature(function)
    from importlib import import_module

    signature: Any = inspect.signature
    found: Signature = signature(function, annotation_format=import_module("annotationlib").Format.FORWARDREF)
    return found


def aliased(annotation: Any) -> Any:
    """The type that a generic alias with arguments is equal to, like `Pair[int]` where `type Pair[T] = tuple[T, T]`; else `Any`.

    NumPy's `NDArray` is such an alias from 2.5 on.
    """
    import typing

    alias: Any = typing.get_origin(annotation)
    try:
        given = dict(zip(alias.__type_params__, typing.get_args(annotation), strict=True))
        value = alias.__value__
        asked = getattr(value, "__parameters__", ())
        return value[tuple(given[each] for each in asked)] if asked else value
    except Exception:  # noqa: BLE001 - parameters with defaults, or in any number, or a name that is not known
        return typing.Any


def tuple_items(kind: Any, bare: Callable[[Any], Any]) -> tuple[Any, ...]:
    """The types of the items of a tuple type, with unpacked tuples inserted; `...` follows a type that may occur any number of times.

    bare: a function that gives the type inside an annotation.
    """
    import typing

    arguments = typing.get_args(kind)
    if not arguments and not hasattr(kind, "__args__"):  # which `tuple[()]` has
        return typing.Any, ...
    items: list[Any] = []
    for each in arguments:
        if typing.get_origin(each) is typing.Unpack:
            inside = bare(typing.get_args(each)[0])
            items += tuple_items(inside, bare) if (typing.get_origin(inside) or inside) is tuple else (typing.Any, ...)
        elif getattr(each, "__unpacked__", False):
            items += tuple_items(each, bare)
        else:
            items.append(each)
    return tuple(items) if items.count(...) < 2 else (typing.Any, ...)


def required_keys(cls: Any) -> set[str]:
    """The keys that a typed dict has to have, also where its annotations are text, in which Python itself does not see `NotRequired`."""
    import typing

    required = set(cls.__required_keys__)
    qualifiers = (typing.Annotated, typing.Required, typing.NotRequired, getattr(typing, "ReadOnly", typing.Required))
    for name, kind in typing.get_type_hints(cls, include_extras=True).items():
        while (qualifier := typing.get_origin(kind)) in qualifiers:
            if qualifier is typing.Required:
                required.add(name)
            elif qualifier is typing.NotRequired:
                required.discard(name)
            kind = typing.get_args(kind)[0]  # noqa: PLW2901
    return required


def home_of(cls: type, attr: str) -> type:
    """The class in whose body `attr` is annotated: `cls` or one of its bases."""
    return next((base for base in cls.__mro__ if attr in own_annotations(base)), cls)


def names_for(cls: type) -> dict[str, Any]:
    """Names that a string annotation in the body of `cls` may refer to: its module, its own names and itself."""
    module: Any = sys.modules.get(cls.__module__)
    if cls.__module__ == "persistable":  # ours: the names in their annotations are those of the module of their methods
        return {**next((held.__globals__ for held in list(vars(cls).values()) if hasattr(held, "__globals__")), {}), **vars(cls)}
    around = cls.__dict__.get("_node_around")  # for a node class that was made inside a function
    return {**(vars(module) if module else {}), **(around or {}), **vars(cls), cls.__name__: cls}


def names_of(function: Any) -> dict[str, Any]:
    """Names that a string annotation of a function may refer to: those of its module, its closure and its type parameters."""
    names = dict(function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    names.update({each.__name__: each for each in getattr(function, "__type_params__", ())})
    return names


class _Known(dict[str, "Any"]):
    """Names for evaluating an annotation: an unknown one is `Any`, which accepts every value."""

    def __missing__(self, name: str) -> Any:
        import builtins
        import typing

        return getattr(builtins, name, typing.Any)


def evaluated(text: str, names: dict[str, Any]) -> Any:
    """The type of an annotation written as text; `Any` for each name in it that is not known, or for all of it."""
    import typing

    try:
        return eval(text, {}, _Known(names))
    except Exception:  # noqa: BLE001 - any error that an unknown name leads to
        return typing.Any
