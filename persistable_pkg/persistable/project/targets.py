"""Targets made from their tables: imported, their params read by type, connected to their upstream, bound to a store."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextvars import Context
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from persistable.errors import ConfigError, InvalidName, LineageError, ParamsError, UnknownFormat
from persistable.executors.resources import Resources, Retry
from persistable.families import Family
from persistable.families.view import View
from persistable.nodes.binding import bound_to
from persistable.nodes.declaration import declaration_of
from persistable.nodes.node import Persistable
from persistable.nodes.step import Step
from persistable.nodes.types import Node, own_store
from persistable.params.building import did_you_mean
from persistable.project.annotations import Fields, fields_of, parameters_of
from persistable.project.coerce import read_arguments, read_field
from persistable.project.scalars import check_names, config_error, place_of, unknown_name_error, wrong_value_error
from persistable.project.schema import Target
from persistable.runs.pipeline import Pipeline
from persistable.stores.base import Store
from persistable.stores.open import absolute_beside


def make_importable(folder: Path) -> None:
    """Make the modules of `folder`, and of its ``src`` if it has one, importable, before all others, as for a script.

    This is permanent: functions import when they run, and worker processes use the path of this one.
    """
    for place in (folder / "src", folder):
        if place.is_dir() and str(place) not in sys.path:
            sys.path.insert(0, str(place))


def import_reference(text: Any, folder: Path, where: str) -> Any:
    """The object at ``module:name``. Raises ConfigError, naming the missing part; errors of the module itself pass with a note."""
    module_name, colon, name = text.partition(":") if isinstance(text, str) else ("", "", "")
    if not (colon and module_name and name):
        raise wrong_value_error(text, where, "module:name, such as mypkg.flows:Points")
    make_importable(folder)
    try:
        found: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            error.add_note(f"while importing {module_name} for {where}")
            raise
        raise config_error(
            where, f"is {text!r}, but there is no module {error.name}; modules are looked for in {folder}, then as by any import"
        ) from error
    except Exception as error:
        error.add_note(f"while importing {module_name} for {where}")
        raise
    _check_home(found, module_name, folder, where)
    for part in name.split("."):
        inner = getattr(found, part, None)
        if inner is None:
            names = [each for each in dir(found) if not each.startswith("_")]
            hint = did_you_mean(part, names)
            raise config_error(where, f"is {text!r}, but {module_name} has no {part!r}{hint}", names)
        found = inner
    return found


def _check_home(module: Any, name: str, folder: Path, where: str) -> None:
    """Raise ConfigError if the folder has a module of that name, and another one was imported under it before."""
    top = name.partition(".")[0]
    file = getattr(sys.modules.get(top, module), "__file__", None)
    for place in (folder / "src", folder):
        for own in (place / f"{top}.py", place / top / "__init__.py"):
            if own.is_file():
                if file is None or not os.path.samefile(file, own):
                    raise config_error(
                        where,
                        f"means {own}, but the module {top} of this process is {file or 'a built-in one'}; give one "
                        "of them another name, or use each in a process of its own",
                    )
                return


# Values of every type pass through here, so pyright finds unknown types.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false


Upstream = Callable[[str], Any]


def made(target: Target, upstream: Upstream, folder: Path, store: Store) -> Any:
    """Make the target, bound to `store` unless it has its own. `upstream` returns other targets by name.

    Raises ConfigError for invalid entries of the table; errors of the user's code pass, with a note of the place.
    """
    try:
        # in a context of its own: an enclosing `with open_store(...)` must not affect it
        found = Context().run(_made, target, upstream, folder, store) if target.ready is None else target.ready
        return _bound(_checked(found, target), store, target)
    except (ParamsError, LineageError) as error:
        raise config_error(target.where, error) from error
    except Exception as error:
        if not (isinstance(error, ConfigError) and error.where) and target.where not in "".join(getattr(error, "__notes__", ())):
            error.add_note(f"while making {target.where}")
        raise


def _made(target: Target, upstream: Upstream, folder: Path, store: Store) -> Any:
    if target.source is not None:
        return _source(target, folder)
    maker = import_reference(target.use, folder, f"{target.where}.use") if isinstance(target.use, str) else target.use
    if isinstance(maker, Step):
        return _Call(target, maker, parameters_of(maker.__wrapped__), folder).made(upstream)
    if isinstance(maker, type) and issubclass(maker, Persistable):
        return _Call(target, maker, _fields_of_node(cast("Any", maker), target), folder).made(upstream)
    if _is_target(maker):
        for key in ("params", "upstream", "over", "path", "io"):
            if getattr(target, key):
                place = place_of(getattr(target, key), f"{target.where}.{key}")
                raise config_error(place, f"are not used: {target.use} is ready made", ["use"])
        return maker
    if callable(maker):
        call = _Call(target, maker, parameters_of(maker, skip=int(isinstance(maker, type))), folder)
        return call.made(upstream, _location(target, maker, folder, store))
    raise config_error(
        f"{target.where}.use",
        f"is {target.use!r}, a {type(maker).__name__}: give a node class, a step, a node, family, pipeline or workspace",
    )


class _Call:
    """The call that makes a target: of a class, a step or any function."""

    def __init__(self, target: Target, maker: Any, fields: Fields, folder: Path) -> None:
        self._target = target
        self._maker = maker
        self._fields = fields
        self._folder = folder
        self._roles = dict(declaration_of(maker).roles) if _is_node_class(maker) else {}

    def made(self, upstream: Upstream, location: tuple[Any, ...] = ()) -> Any:
        """Make the node, or the family if arguments vary. Raises ConfigError."""
        target = self._target
        self._check()
        params = {name: self._value(name, raw, f"{target.where}.params.{name}") for name, raw in target.params.items()}
        axes = self._axes(upstream)
        joined = {role: _nodes(given, upstream, f"{target.where}.upstream.{role}") for role, given in target.upstream.items()}
        several = {name: given for name, given in joined.items() if _is_family(given) and not self._takes_all(name)}
        if target.io is not None:
            params["payload_io"] = read_format(target.io, self._folder, f"{target.where}.io")
        if not axes and not several:
            return self._one(*location, **params, **joined)
        if not isinstance(self._maker, Step) and not _is_node_class(self._maker):
            name = next(iter([*axes, *several]))
            raise ConfigError(f"{target.where}: {name} varies, but only nodes have families", where=target.where, accepted=[])
        return _family(self._maker, {**params, **{name: joined[name] for name in joined if name not in several}}, {**axes, **several})

    def _one(self, *args: Any, **kwargs: Any) -> Any:
        return self._maker.step(**kwargs) if isinstance(self._maker, Step) else self._maker(*args, **kwargs)

    def _check(self) -> None:
        target, known = self._target, list(self._fields.kinds)
        if target.path is not None and (isinstance(self._maker, Step) or _is_node_class(self._maker)):
            raise config_error(f"{target.where}.path", "is for workspaces; nodes are kept in the project's store")
        if target.io is not None and not _is_node_class(self._maker):
            raise config_error(f"{target.where}.io", "is for classes of nodes and sources; a step names its own: @step(io=...)")
        for name, value in target.params.items():
            place = place_of(value, f"{target.where}.params.{name}")
            if name in self._roles:
                raise config_error(place, f"is no param but an upstream node; give a target: upstream = {{ {name} = ... }}")
            if name in target.upstream:
                raise config_error(place, f"is given as a target too, by upstream = {{ {name} = ... }}; give it once")
        if not self._fields.open:
            check_names(target.params, known, f"{target.where}.params")
            check_names(target.over, [*known, *self._roles], f"{target.where}.over")
        for name in target.over:
            if name in target.params or name in target.upstream:
                raise config_error(f"{target.where}.over.{name}", "is given elsewhere too; give it once")
        if isinstance(self._maker, Step) and not self._fields.open:
            check_names(target.upstream, known, f"{target.where}.upstream")
        elif self._roles and not self._fields.open:
            for name in target.upstream:
                if name not in self._roles and name in self._fields.kinds:
                    continue
                if name not in self._roles:
                    raise unknown_name_error(name, list(self._roles), f"{target.where}.upstream")

    def _value(self, name: str, raw: Any, where: str) -> Any:
        return read_field(self._fields.kinds.get(name, Any), raw, where, self._fields.defaults.get(name))

    def _axes(self, upstream: Upstream) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, given in self._target.over.items():
            where = f"{self._target.where}.over.{name}"
            if isinstance(given, str):
                found[name] = upstream(given)
                if not _is_family(found[name]):
                    raise config_error(where, f"names {given}, which is no family; name it under `upstream`")
            elif isinstance(given, list):
                values = list(given)
                found[name] = [self._value(name, raw, f"{where}[{place}]") for place, raw in enumerate(values)]
            else:
                raise wrong_value_error(given, where, "a list of values, or the name of a target that is a family")
        return found

    def _takes_all(self, role: str) -> bool:
        """Tell whether a class declares this role as many nodes, so that a family is passed as all its members."""
        return role in declaration_of(self._maker).many if self._roles else False


def _nodes(given: Any, upstream: Upstream, where: str) -> Any:
    """The nodes of one entry of ``upstream``: a node or family; for a list or table, all nodes, with families expanded."""
    if isinstance(given, str):
        found = upstream(given)
        if isinstance(found, Persistable) or _is_family(found):
            return found
        raise config_error(where, f"names {given}, a {type(found).__name__}; only nodes and families have payloads")
    if isinstance(given, Mapping):
        named = {name: _nodes(item, upstream, f"{where}.{name}") for name, item in given.items()}
        return {name: list(found.values()) if _is_family(found) else found for name, found in named.items()}
    listed: list[Any] = []
    for number, item in enumerate(given):
        found = _nodes(item, upstream, f"{where}[{number}]")
        listed += list(found.values()) if _is_family(found) else [found]
    return listed


def _family(maker: Any, fixed: dict[str, Any], varying: dict[str, Any]) -> Any:
    """Make ``maker.over(...)``, with each list among `fixed` as a single value."""
    lists = [name for name, value in fixed.items() if isinstance(value, list)]
    family = maker.over(**{name: [value] if name in lists else value for name, value in fixed.items()}, **varying)
    return family._derived(_Without(lists)) if lists else family


class _Without:
    """Removes axes of one value each from the view of a family."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def __call__(self, view: View) -> View:
        return view.part([0 if axis.name in self._names else range(len(axis)) for axis in view.axes])


def _fields_of_node(maker: Any, target: Target) -> Fields:
    """The params that a node class takes, apart from its roles."""
    if maker.__init__ is not cast("Any", Persistable).__init__:
        return parameters_of(maker, skip=1)
    kind = declaration_of(maker).params_type
    if not isinstance(kind, type) or kind is type(None):
        return Fields({}, {})
    if kind is dict:
        raise ConfigError(f"{target.where}: {maker.__name__} does not say what params it takes", where=target.where, accepted=[])
    return fields_of(kind)


def _source(target: Target, folder: Path) -> Any:
    from persistable.families.sources import Source

    template = str(absolute_beside(str(folder), cast("str", target.source)))
    io = None if target.io is None else read_format(target.io, folder, f"{target.where}.io")
    try:
        return Source(template, io=io, keys=target.keys)
    except (InvalidName, TypeError, UnknownFormat) as error:
        raise config_error(f"{target.where}.source", error) from error


def _location(target: Target, maker: Any, folder: Path, store: Store) -> tuple[Any, ...]:
    """The store argument of a workspace: the one at `path`, else the project's; empty for other classes without `path`."""
    if target.path is not None:
        return (absolute_beside(str(folder), target.path),)
    workspace = sys.modules.get("persistable.families.workspaces")  # unless it is imported, no class is one
    base = getattr(workspace, "Workspace", ())
    return (store,) if isinstance(maker, type) and issubclass(maker, base) else ()


def read_format(given: Any, folder: Path, where: str) -> Any:
    """Read a FileIO: by the name of its class, by reference, by suffix (``.csv``), or as a table of such a ``use`` and its options."""
    from persistable import fileio

    table = dict(cast("Mapping[str, Any]", given)) if isinstance(given, Mapping) else {"use": given}
    name = table.pop("use", None)
    if isinstance(given, fileio.FileIO):
        return cast("Any", given)
    if not isinstance(name, str):
        raise wrong_value_error(given, where, "the name of a FileIO, such as CsvFileIO")
    if name == "auto" or (name.startswith(".") and not table):
        return name if name == "auto" else fileio.fileio_for(name)
    known = [each for each in fileio.__all__ if each.endswith("FileIO") and each != "FileIO"]
    if ":" not in name and name not in known:
        raise unknown_name_error(name, known, f"{where}: ")
    cls: Any = import_reference(name, folder, where) if ":" in name else getattr(fileio, name)
    if not isinstance(cls, type):
        return cls
    return cls(**read_arguments(cls, table, where))


# ------------------------------------------------------------------ kinds of targets


def _is_node_class(maker: Any) -> bool:
    return isinstance(maker, type) and issubclass(maker, Persistable)


def _is_family(thing: Any) -> bool:
    return isinstance(thing, Family) or bool(getattr(thing.__class__, "_node_is_family", False))


def _is_target(thing: Any) -> bool:
    return not isinstance(thing, type) and (isinstance(thing, Persistable) or hasattr(thing.__class__, "targets"))


def _checked(found: Any, target: Target) -> Any:
    if not _is_target(found):
        hint = "; if it is a function that computes it, put @step above" if target.ready is None else ""
        raise config_error(target.where, f"is {found!r:.60}, which is no node, family, pipeline, source or workspace{hint}")
    if isinstance(found, Persistable):
        found.key  # noqa: B018 - raises for an open node, and names its missing upstream
    return found


def _bound(found: Any, store: Store, target: Target) -> Any:
    if isinstance(found, Persistable):
        node = cast("Node", found)
        own = own_store(node)
        if own is None or target.retry is not None or target.resources is not None:
            node = bound_to(node, own if own is not None else store)
        return _treated(node, target)
    for key in ("retry", "resources"):
        if getattr(target, key) is not None:
            raise config_error(f"{target.where}.{key}", "is for single nodes; say it where the class or step is")
    if isinstance(found, Family):
        members: Any = found
        return members if own_store(members) is not None else members.bind(store)
    if isinstance(found, Pipeline):
        return Pipeline(**{name: _bound(node, store, target) for name, node in found.items()})
    return found


def _treated(node: Node, target: Target) -> Any:
    if target.retry is not None:
        node.retry = _options(Retry, target.retry, f"{target.where}.retry")
    if target.resources is not None:
        node.resources = _options(Resources, target.resources, f"{target.where}.resources")
    return node


def _options(cls: Any, given: Mapping[str, Any], where: str) -> Any:
    options = read_arguments(cls, given, where, without=("on",), others=float)
    try:
        return cls(**options)
    except (ValueError, TypeError) as error:
        raise config_error(where, error) from error
