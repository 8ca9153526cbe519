"""Annotations without their markers, and those of all fields of a class or parameters of a function."""

# Values of every type pass through here, so pyright finds unknown types.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

from persistable.params import checks
from persistable.params.annotations import evaluated, names_for, names_of, own_annotations
from persistable.params.fields import default_of, spec_of


class Fields(NamedTuple):
    """The accepted names: the type of each, the defaults of some. open: whether any other name is accepted too."""

    kinds: dict[str, Any]
    defaults: dict[str, Any]
    open: bool = False


def bare(kind: Any) -> Any:
    """The type of an annotation, without `Annotated` and similar wrappers; `Any` if it is not known."""
    return checks.bare(kind.__bound__ or Any if isinstance(kind, typing.TypeVar) else kind, _NOTHING_KNOWN)


_NOTHING_KNOWN = checks.Scope({}, {})


def in_words(kind: Any) -> str:
    """A type as text, as in source code."""
    kind = bare(kind)
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind).replace("typing.", "")


def fields_of(cls: Any) -> Fields:
    """The fields of a params class, named tuple or typed dict."""
    hints = hints_of(cls)
    spec = spec_of(cls) if isinstance(cls, type) and not typing.is_typeddict(cls) and not hasattr(cls, "_fields") else None
    if spec is None:
        return Fields(hints, {})
    kinds = {field.alias: hints.get(field.attr, Any) for field in spec.fields if field.alias is not None}
    kinds.update({name: hints.get(name, Any) for name in spec.also_accepts})
    for field in spec.fields:
        for name in field.names:
            kinds.setdefault(name, hints.get(field.attr, Any))
    defaults = {
        name: default_of(cls, field.attr)
        for field in spec.fields
        if not field.required
        for name in dict.fromkeys((field.alias, *field.names))
        if name
    }
    return Fields(kinds, defaults, spec.extras)


def parameters_of(function: Callable[..., Any], skip: int = 0) -> Fields:
    """The parameters of a function or of a class's `__init__`, without the first `skip` of them."""
    called: Any = cast("Any", function).__init__ if isinstance(function, type) else function
    if called is object.__init__:  # whose signature shows parameters that it refuses
        return Fields({}, {}, False)
    hints = hints_of(called)
    kinds: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    more = False
    for parameter in list(inspect.signature(called).parameters.values())[skip:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            more = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            kinds[parameter.name] = hints.get(parameter.name, Any)
            if parameter.default is not parameter.empty:
                defaults[parameter.name] = parameter.default
    return Fields(kinds, defaults, more)


def hints_of(thing: Any) -> dict[str, Any]:
    """The annotations of a class or function, evaluated; `Any` for each that cannot be."""
    try:
        return typing.get_type_hints(thing, include_extras=True)
    except Exception:  # noqa: BLE001 - one name that only a type checker knows fails all of them
        owners = reversed(thing.__mro__) if isinstance(thing, type) else [thing]
        return {name: kind for owner in owners for name, kind in _evaluated(owner)}


def _evaluated(owner: Any) -> Iterator[tuple[str, Any]]:
    """The annotations of a class by itself, or of a function, one by one."""
    written, names = (own_annotations(owner), names_for) if isinstance(owner, type) else (getattr(owner, "__annotations__", {}), names_of)
    for name, annotation in written.items():
        yield name, evaluated(annotation, names(owner)) if isinstance(annotation, str) else annotation
