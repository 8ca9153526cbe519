"""Params from the environment and from ``--set``, which override those of the file."""

# Tables hold values of every type, so pyright finds unknown types.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from persistable.errors import ConfigError
from persistable.project.coerce import literal
from persistable.project.scalars import UntypedText, config_error, unknown_name_error, wrong_value_error
from persistable.project.schema import Layout, Target

PREFIX = "PERSISTABLE_PARAMS__"
"""The prefix of variables that set a param, followed by the target, ``__``, and the field; more ``__`` lead into nested params."""


class ParamOverride(NamedTuple):
    """One param to set: the target and the path of fields, the value, and its source for errors."""

    path: tuple[str, ...]
    value: Any
    source: str


def of_environment(environ: Mapping[str, str], targets: Sequence[str]) -> Iterator[ParamOverride]:
    """The params in environment variables. A target is found regardless of case, and ``_`` matches ``-``."""
    for variable in sorted(environ):
        if variable.startswith(PREFIX):
            name, _, rest = variable.removeprefix(PREFIX).partition("__")
            if not rest:
                raise config_error(variable, f"names no field; write {PREFIX}target__field", targets)
            near = [target for target in targets if _plain(target) == _plain(name)]
            target = name if name in targets or len(near) != 1 else near[0]
            yield ParamOverride((target, *rest.split("__")), UntypedText(environ[variable], variable), variable)


def _plain(name: str) -> str:
    return name.replace("-", "_").lower()


def of_settings(given: Sequence[str] | Mapping[str, Any]) -> Iterator[ParamOverride]:
    """The params in ``["points.n=500"]``, ``{"points.n": 500}`` or ``{"points": {"n": 500}}``. Text is read by the field's type."""
    if isinstance(given, Mapping):
        yield from _of_mapping(given, ())
        return
    if isinstance(given, str):
        raise TypeError(f'set is the text {given!r}; give a list of such: set=["{given}"]')
    for setting in given:
        path, sign, text = setting.partition("=")
        source = f"--set {path.strip()}"
        if not sign:
            raise ConfigError(f"--set {setting} gives no value; write target.field=value", where=source, accepted=[])
        yield ParamOverride(tuple(path.strip().split(".")), UntypedText(text, source), source)


def _of_mapping(given: Mapping[str, Any], before: tuple[str, ...]) -> Iterator[ParamOverride]:
    for name, value in given.items():
        path = (*before, *str(name).split("."))
        if isinstance(value, Mapping) and not before:
            yield from _of_mapping(cast("Mapping[str, Any]", value), path)
        else:
            source = f"set {'.'.join(path)}"
            yield ParamOverride(path, UntypedText(value, source) if isinstance(value, str) else value, source)


def apply(layout: Layout, changes: Iterator[ParamOverride]) -> None:
    """Apply `changes` to the params of the targets. Raises ConfigError for targets that are unknown or were given as objects."""
    for (name, *fields), value, source in changes:
        if name not in layout.targets:
            raise (
                unknown_name_error(name, list(layout.targets), f"{source}: ")
                if name
                else config_error(f"{source}={value}", "names no target", layout.targets)
            )
        if not all(fields) or not fields:
            raise config_error(source, f"names no field; write {name}.field")
        target = layout.targets[name]
        if target.ready is not None:
            raise ConfigError(
                f"{source}: {name} was given ready made, so its params are fixed; give a table with `use` and `params` instead",
                where=source,
                accepted=[],
            )
        _change(target, fields, value, source)


def _change(target: Target, fields: Sequence[str], value: Any, source: str) -> None:
    if fields[0] in target.over and len(fields) == 1:
        axis = literal(value) if isinstance(value, UntypedText) else value
        if not isinstance(axis, list):
            raise wrong_value_error(value, source, f"a list, since {fields[0]} is an axis of {target.name}")
        target.over[fields[0]] = [UntypedText(item, source) if isinstance(item, str) else item for item in axis]
        return
    table = target.params
    for name in fields[:-1]:
        inner = table.get(name)
        if isinstance(inner, UntypedText):
            inner = literal(inner)
        table[name] = dict(cast("Mapping[str, Any]", inner)) if isinstance(inner, Mapping) else {}
        table = table[name]
    table[fields[-1]] = value
