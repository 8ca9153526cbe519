"""Params made from keywords, and made again from what a record holds."""

# Values of every type pass through here, so pyright may find what it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from persistable.errors import MissingParam, ParamsError, UnknownParam
from persistable.params import canonical
from persistable.params.fields import NO_PIN, Spec, spec_of
from persistable.params.forms import Refused
from persistable.params.references import dereference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def build(params_class: type, kwargs: Mapping[str, Any], place: str = "") -> Any:
    """A `params_class` made from keywords.

    Raises UnknownParam for a name it does not take, listing those it does, and MissingParam for required ones that are
    not given. `place` is how errors name the class. What the class itself raises (a validator) passes through.
    """
    spec = _spec(params_class)
    where = place or params_class.__qualname__
    accepted = accepts(params_class)
    for name in kwargs:
        if name not in accepted and not spec.extras:
            raise UnknownParam(_unknown(name, accepted, spec, where), name=name, accepted=accepted)
    missing = [field.alias for field in spec.fields if field.required and field.alias not in kwargs and field.attr not in kwargs]
    if missing:
        raise MissingParam(f"{where} needs {', '.join(map(str, missing))}; it takes {', '.join(accepted)}", names=missing)
    return params_class(**kwargs)


def accepts(params_class: type) -> list[str]:
    """The keywords that `params_class` takes, in order."""
    spec = _spec(params_class)
    return [field.alias for field in spec.fields if field.alias is not None] + list(spec.also_accepts)


def _spec(params_class: type) -> Spec:
    try:
        spec = spec_of(params_class)
    except Refused as refused:
        raise ParamsError(f"{refused.reason}; {refused.advice}") from None
    if spec is None:
        raise ParamsError(
            f"{params_class.__qualname__} has no fields to give params by name: make it a dataclass, attrs class or pydantic model"
        )
    return spec


def _unknown(name: str, accepted: list[str], spec: Spec, where: str) -> str:
    renamed = next((field.attr for field in spec.fields if field.markers.former == name), None)
    if renamed is not None:
        return f"{where} takes no {name!r}: it is called {renamed!r} now"
    near = nearest(name, accepted)
    hint = f"; did you mean {near!r}?" if near else ""
    return f"{where} takes no {name!r}{hint} (it takes {', '.join(accepted) or 'nothing'})"


def nearest(name: str, accepted: Iterable[str]) -> str | None:
    """The accepted name that `name` was most likely meant to be."""
    from difflib import get_close_matches

    found = get_close_matches(name, list(accepted), n=1)
    return found[0] if found else None


def replaced(params: Any, changes: Mapping[str, Any], place: str = "") -> Any:
    """A copy of `params` with `changes` to some of its fields. Raises what `build` raises."""
    cls = type(params)
    if cls is dict:
        return {**params, **changes}
    spec = _spec(cls)
    values = {field.alias: getattr(params, field.attr) for field in spec.fields if field.alias is not None}
    if spec.extras:
        values.update(params.__pydantic_extra__ or {})
    by_attr = {field.attr: field.alias for field in spec.fields if field.alias is not None and field.attr in spec.also_accepts}
    values.update({by_attr.get(name, name): value for name, value in changes.items()})
    return build(cls, values, place)


def restore(params_class: type, fields: Mapping[str, Any], untracked: Mapping[str, Any] | None = None) -> Any:
    """The params whose tree held `fields` (values, as `from_tree` gives them, under their names in identity).

    Fields left out while equal to their pinned value get it back; `untracked` ones get what is given for them here, else their
    default. The result has exactly the tracked values given, whatever `__post_init__` does.

    Raises ParamsError for a field the class does not have any more.
    """
    spec = _spec(params_class)
    values = {**fields}
    wanted: dict[str, Any] = {}
    for field in spec.fields:
        if field.markers.untracked:
            if untracked is not None and field.attr in untracked:
                wanted[field.attr] = untracked[field.attr]
        elif field.name in values:
            wanted[field.attr] = values.pop(field.name)
        elif field.markers.pin is not NO_PIN:
            wanted[field.attr] = field.markers.pin
    if values and not spec.extras:
        raise ParamsError(f"{params_class.__qualname__} has no {', '.join(map(repr, values))} any more; mark the new field formerly(...)")
    made = _made(params_class, spec, wanted, values)
    for attr, value in wanted.items():
        if not _holds(made, attr, value):
            object.__setattr__(made, attr, value)
    return made


def _made(params_class: type, spec: Spec, wanted: dict[str, Any], extras: dict[str, Any]) -> Any:
    alias = {field.attr: field.alias for field in spec.fields if field.alias is not None}
    try:
        return params_class(**{alias[attr]: value for attr, value in wanted.items() if attr in alias}, **extras)
    except TypeError as error:
        if spec.kind == "dataclass" and spec.also_accepts:
            return object.__new__(params_class)  # it wants arguments that it does not keep: only its fields are known
        raise ParamsError(f"{params_class.__qualname__} cannot be made from {', '.join(wanted)} any more: {error}") from error


def _holds(made: Any, attr: str, value: Any) -> bool:
    try:
        held = getattr(made, attr)
    except AttributeError:
        return False
    return held is value or canonical.encode(held, nodes=[]) == canonical.encode(value, nodes=[])


def rebuild_object(where: str, fields: Mapping[str, Any]) -> Any:
    """A nested params object from its class reference and its fields."""
    return restore(dereference(where), fields)
