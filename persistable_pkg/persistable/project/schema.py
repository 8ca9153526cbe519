"""The parts of a project as given in tables, checked as far as possible without importing anything."""

# Tables hold values of every type, so pyright finds unknown types.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, cast

from persistable.errors import ConfigError, LineageCycle
from persistable.project.scalars import check_names, config_error, unknown_name_error, wrong_value_error

OPTIONS: dict[str, Any] = {"fail_fast": bool, "errors": ("raise", "return"), "failed": ("retry", "skip"), "progress": bool}
"""Options of `run` that a project may set."""
KNOWN = ("store", "namespace", "executor", "limits", *OPTIONS, "notify", "targets", "stages")
TARGET = ("use", "params", "upstream", "over", "source", "keys", "io", "path", "retry", "resources")
_OF_SOURCES = ("source", "keys", "io")


@dataclass
class Target:
    """The settings of one ``[targets.NAME]``, with the names of its upstream targets. `ready`: the object itself, given in Python."""

    name: str
    where: str
    use: Any = None
    source: str | None = None
    keys: list[Any] | None = None
    path: str | None = None
    io: Any = None
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    upstream: dict[str, Any] = field(default_factory=dict[str, Any])
    over: dict[str, Any] = field(default_factory=dict[str, Any])
    retry: dict[str, Any] | None = None
    resources: dict[str, Any] | None = None
    ready: Any = None

    def needs(self) -> Iterator[tuple[str, str]]:
        """The place and the name of each target that this one is made from."""
        for role, given in self.upstream.items():
            yield from named_in(given, f"{self.where}.upstream.{role}")
        for name, given in self.over.items():
            if isinstance(given, str):
                yield f"{self.where}.over.{name}", given


@dataclass
class Layout:
    """A checked project: its targets, and its stages in order. `where` is the prefix of errors."""

    where: str
    targets: dict[str, Target]
    stages: dict[str, tuple[str, ...]]

    def check(self) -> None:
        """Raise ConfigError for unknown names and for a stage named like a target, LineageCycle for a cycle."""
        accepted = list(self.targets)
        for target in self.targets.values():
            for place, name in target.needs():
                if name not in self.targets:
                    raise _no_target(name, accepted, place)
        for stage, names in self.stages.items():
            place = f"{self.where}stages.{stage}"
            if stage in self.targets:
                raise config_error(place, "is named like a target; give one of them another name")
            for name in names:
                if name not in self.targets:
                    raise _no_target(name, accepted, place)
        try:
            TopologicalSorter({name: [needed for _, needed in target.needs()] for name, target in self.targets.items()}).prepare()
        except CycleError as error:
            circle: list[str] = error.args[1][::-1]
            raise LineageCycle(f"{self.where}targets form a cycle: {' <- '.join(circle)}", nodes=circle) from None


def _no_target(name: str, accepted: Sequence[str], place: str) -> ConfigError:
    error = unknown_name_error(name, accepted, "")
    message = f"{place} names {error}".replace(" is unknown", ", which is no target", 1)
    return ConfigError(message.replace("Known there", "Targets", 1), where=place, accepted=list(accepted))


def named_in(given: Any, place: str) -> Iterator[tuple[str, str]]:
    """The target names in one entry of ``upstream``: a name, or lists and tables of names."""
    if isinstance(given, str):
        yield place, given
    elif isinstance(given, list | tuple):
        for number, item in enumerate(cast("Sequence[Any]", given)):
            yield from named_in(item, f"{place}[{number}]")
    elif isinstance(given, Mapping):
        for name, item in cast("Mapping[str, Any]", given).items():
            yield from named_in(item, f"{place}.{name}")
    else:
        raise wrong_value_error(given, place, "the name of a target, or a list or table of names")


def layout_of(targets: Mapping[str, Any], stages: Mapping[str, Any], where: str) -> Layout:
    """The layout that these tables describe. Raises ConfigError and LineageCycle, as `Layout.check` does."""
    made = {name: _target(str(name), given, f"{where}targets.{name}") for name, given in targets.items()}
    found = {name: _stage(given, f"{where}stages.{name}") for name, given in stages.items()}
    layout = Layout(where, made, found)
    layout.check()
    return layout


def _stage(given: Any, place: str) -> tuple[str, ...]:
    names = cast("Sequence[Any]", given) if isinstance(given, list | tuple) else ()
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in names):
        raise wrong_value_error(given, place, 'a list of target names, such as ["points"]')
    return tuple(names)


def _target(name: str, given: Any, where: str) -> Target:
    if not isinstance(given, Mapping) or hasattr(given.__class__, "targets"):
        return Target(name, where, ready=given)
    table = cast("Mapping[str, Any]", given)
    check_names(table, TARGET, where)
    if ("use" in table) == ("source" in table):
        raise config_error(
            where,
            f"says {'both' if 'use' in table else 'neither'} `use` and `source`; give one: "
            'use = "module:Class", or source = "folder/{key}.txt"',
            TARGET,
        )
    target = Target(name, where, **{key: _entry(key, value, f"{where}.{key}") for key, value in table.items()})
    if target.source is not None:
        for key in table:
            if key not in _OF_SOURCES:
                raise config_error(f"{where}.{key}", "is not used beside `source`", _OF_SOURCES)
    elif target.keys is not None:
        raise config_error(f"{where}.keys", "is not used without `source`")
    return target


def _entry(key: str, value: Any, where: str) -> Any:
    if key in ("params", "upstream", "over", "retry", "resources"):
        if not isinstance(value, Mapping):
            raise wrong_value_error(value, where, "a table, such as { n = 1 }")
        return dict(cast("Mapping[str, Any]", value))
    if key == "keys" and not isinstance(value, list):
        raise wrong_value_error(value, where, "a list of keys")
    if key in ("source", "path") and not isinstance(value, str):
        raise wrong_value_error(value, where, "text")
    return value


def options_of(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The given options of `run`, checked."""
    check_names(given, list(OPTIONS), where)
    for name, value in given.items():
        wanted = OPTIONS[name]
        if isinstance(wanted, tuple) and value not in cast("tuple[str, ...]", wanted):
            raise wrong_value_error(value, f"{where}{name}", " or ".join(map(repr, cast("tuple[str, ...]", wanted))))
        if wanted is bool and not isinstance(value, bool):
            raise wrong_value_error(value, f"{where}{name}", "true or false")
    return dict(given)


def limits_of(given: Any, where: str) -> dict[str, float]:
    """Read the amount of each named resource."""
    place = f"{where}limits"
    if not isinstance(given, Mapping):
        raise wrong_value_error(given, place, "a table, such as { db = 2 }")
    amounts = cast("Mapping[str, Any]", given)
    for name, amount in amounts.items():
        if isinstance(amount, bool) or not isinstance(amount, int | float) or amount < 0:
            raise wrong_value_error(amount, f"{place}.{name}", "a number, zero or more")
    return dict(amounts)
