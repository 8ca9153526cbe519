"""Params made from keywords, and made again from what a record holds."""

# Values of every type pass through here, so pyright may find what it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from persistable.errors import MissingParam, ParamsError, UnknownParam
from persistable.params import canonical
from persistable.params.annotations import signature_of
from persistable.params.fields import NO_PIN, Field, Spec, spec_of
from persistable.params.forms import Refused
from persistable.params.references import dereference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def build(params_class: type, kwargs: Mapping[str, Any], place: str = "") -> Any:
    """A `params_class` made from keywords.

    A value may come under the name of its field and under any of its aliases. Raises UnknownParam for a name it does not take, listing
    those it does, and MissingParam for required ones that are not given. `place` is how errors name the class. What the class itself
    raises (a validator) passes through.
    """
    spec = _spec(params_class)
    where = place or params_class.__qualname__
    given, others = _by_field(spec, kwargs, params_class, where)
    missing = [field.alias for field in spec.fields if field.required and field.attr not in given and not _reached(field, others)]
    if missing:
        raise MissingParam(f"{where} needs {', '.join(map(str, missing))}; it takes {', '.join(accepts(params_class))}", names=missing)
    return _constructed(params_class, spec, given, others)


def _by_field(spec: Spec, kwargs: Mapping[str, Any], cls: type, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values by field, under whichever of its names they came, and those that no field takes by itself."""
    by_name = {name: field for field in spec.fields for name in reversed(field.names)}
    by_name.update({field.alias: field for field in spec.fields if field.alias is not None})
    roots = {field.path[0] for field in spec.fields if field.path}
    given: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in kwargs.items():
        field = by_name.get(name)
        if field is not None:
            if field.attr in given:
                raise UnknownParam(f"{where} was given {field.attr} twice, under two of its names", name=name, accepted=accepts(cls))
            given[field.attr] = value
        elif name in spec.also_accepts or name in roots or spec.extras:
            others[name] = value
        else:
            accepted = accepts(cls)
            raise UnknownParam(_unknown(name, accepted, spec, where), name=name, accepted=accepted)
    return given, others


def _reached(field: Field, others: Mapping[str, Any]) -> bool:
    return bool(field.path) and field.path[0] in others


def _constructed(params_class: type, spec: Spec, given: Mapping[str, Any], others: Mapping[str, Any]) -> Any:
    """The object of these values, which are by field."""
    keywords = dict(others)
    keywords.update({field.alias: given[field.attr] for field in spec.fields if field.alias is not None and field.attr in given})
    far = [field for field in spec.fields if field.path and field.attr in given]
    if not far:
        return params_class(**keywords)
    cls: Any = params_class
    if cls.__init__.__module__.startswith("pydantic") and "by_name" in signature_of(cls.model_validate).parameters:
        return cls.model_validate(keywords, by_name=True, by_alias=True)
    for field in far:  # where there is no taking it by name, it is put where it is looked for
        del keywords[field.attr]
        _put(keywords, field.path, given[field.attr])
    return params_class(**keywords)


def _put(data: dict[str, Any], path: tuple[str | int, ...], value: Any) -> None:
    """Put `value` where pydantic's AliasPath looks for it."""
    here: Any = data
    for step, after in zip(path, (*path[1:], None), strict=True):
        if isinstance(step, int):
            here.extend([None] * (step + 1 - len(here)))
        last = after is None
        held = value if last else (here[step] if isinstance(step, int) else here.get(step))
        if not last:
            held = dict(held or {}) if isinstance(after, str) else list(held or [])
        here[step] = held
        here = held


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
    changed, others = _by_field(spec, changes, cls, place or cls.__qualname__)
    values = {
        field.attr: getattr(params, field.attr)
        for field in spec.fields
        if field.alias is not None and hasattr(params, field.attr) and not _reached(field, others)
    }
    extras = (params.__pydantic_extra__ or {}) if spec.extras else {}
    return _constructed(cls, spec, {**values, **changed}, {**extras, **others})


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
    try:
        return _constructed(params_class, spec, wanted, extras)
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
