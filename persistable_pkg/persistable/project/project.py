"""`Project`: combines targets, a store, an executor and notifications."""

# Tables hold values of every type, so pyright finds unknown types.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from persistable import events, graph
from persistable.errors import ConfigError, StoreError, UnknownMember
from persistable.nodes import generation
from persistable.nodes.node import Persistable
from persistable.nodes.status import Status
from persistable.params.building import did_you_mean, nearest
from persistable.project import overrides, overview, schema, services
from persistable.project.scalars import check_names, config_error
from persistable.project.targets import made
from persistable.runs import accept, plan, run
from persistable.runs.plan import Plan
from persistable.runs.result import RunResult
from persistable.runs.targets import pairs
from persistable.stores.open import FOLDER, PROJECT_FILE, VARIABLE, absolute_beside, in_namespace, nearest_file, open_store

if TYPE_CHECKING:
    from persistable.graph import Graph
    from persistable.stores.base import Store


class Project(Mapping[str, Any]):
    """Named targets, with the store they are kept in and the executor that makes them: a mapping from name to target.

    A target is a node, a family, a pipeline, a source or a workspace. It is made, and its modules are imported, at the first access.

    targets: name to node, family, pipeline, workspace or source, or to a table as in ``persistable.toml``. stages: name to the names of its
    targets, in the order in which stages are run. store: a path, URL, `Store` or list of layers, for targets that name none; the default
    store if it is None. namespace: that of `open_store`, for this store. executor: a name, an executor, or a table such as
    ``{"kind": "processes", "workers": 4}``. limits, fail_fast, errors, failed, progress, hooks: as for `persistable.run`. notify: as in
    ``persistable.toml``. folder: the base of relative paths, and the folder to import modules from; the current folder if it is None. set:
    params, as for `load`.

    Raises ConfigError, which names the place, for invalid settings; LineageCycle for targets that need each other.
    """

    _file: Path | None = None
    _where: str

    def __init__(
        self,
        targets: Mapping[str, Any],
        stages: Mapping[str, Sequence[str]] | None = None,
        *,
        store: str | os.PathLike[str] | Store | Sequence[Any] | None = None,
        namespace: str | None = None,
        executor: str | Mapping[str, Any] | futures.Executor | None = None,
        limits: Mapping[str, float] | None = None,
        hooks: Sequence[events.Hook] = (),
        notify: Mapping[str, Any] | None = None,
        folder: str | os.PathLike[str] | None = None,
        set: Sequence[str] | Mapping[str, Any] = (),  # noqa: A002 - the word of the command line
        **options: Any,
    ) -> None:
        base = Path(folder).expanduser().absolute() if folder is not None else Path.cwd()
        tables = {
            "targets": targets,
            "stages": stages,
            "executor": executor,
            "limits": limits,
            "notify": notify,
            "store": store
            if store is None and namespace is None
            else _store(base, FOLDER if store is None else store, namespace=namespace),
        }
        self._begin({name: value for name, value in {**tables, **options}.items() if value is not None}, base, "Project: ", hooks)
        overrides.apply(self._layout, overrides.of_settings(set))

    def _begin(self, tables: Mapping[str, Any], folder: Path, where: str, hooks: Sequence[events.Hook]) -> None:
        check_names(tables, list(schema.KNOWN), where)
        self._where = where
        self._folder = folder
        self._layout = schema.layout_of(_table(tables, "targets", where), _table(tables, "stages", where), where)
        self._executor = tables.get("executor", "inline")
        services.check(self._executor, f"{where}executor")
        self._options = schema.options_of({name: tables[name] for name in schema.OPTIONS if name in tables}, where)
        self._limits = schema.limits_of(tables.get("limits", {}), where)
        self._hooks = [*hooks, *services.hooks_of(tables.get("notify", {}), where)]
        self._given_store = tables.get("store")
        self._store: Store | None = None
        self._made: dict[str, Any] = {}
        self._lock = threading.RLock()

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        set: Sequence[str] | Mapping[str, Any] = (),  # noqa: A002
        environ: Mapping[str, str] | None = None,
        store: str | os.PathLike[str] | Store | Sequence[Any] | None = None,
    ) -> Project:
        """The project of `path`, a ``persistable.toml`` or its folder; by default the nearest one upward from the current folder.

        Params come from the file, then from the environment (``PERSISTABLE_PARAMS__points__n=500``), then from `set` (``["points.n=500"]``,
        or a mapping): each overrides the ones before, and is read by the type of its field. `environ` replaces the environment. `store`,
        else ``$PERSISTABLE_STORE``, replaces that of the file.

        Raises FileNotFoundError without a file, ConfigError, which names the place, for invalid settings, LineageCycle for targets that
        need each other.
        """
        found = _find_file(path)
        environ = os.environ if environ is None else environ
        tables = _tables_of(found)
        if store is not None or environ.get(VARIABLE):
            tables["store"] = store if store is not None else environ[VARIABLE]
        else:
            tables["store"] = _store(found.parent, tables.get("store", FOLDER), f"{_shown(found)}: store", tables.get("namespace"))
        project = cls.__new__(cls)
        project._file = found
        project._begin(tables, found.parent, f"{_shown(found)}: ", ())
        overrides.apply(project._layout, overrides.of_environment(environ, list(project._layout.targets)))
        overrides.apply(project._layout, overrides.of_settings(set))
        return project

    # the mapping

    def __getitem__(self, name: str) -> Any:
        """The target `name`, bound to the project's store. Raises UnknownMember, a KeyError, that suggests the nearest name."""
        if name not in self._layout.targets:
            self._unknown(name, list(self._layout.targets), "target")
        with self._lock:
            if name not in self._made:
                self._made[name] = made(self._layout.targets[name], self.__getitem__, self._folder, self.store)
            return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout.targets)

    def __len__(self) -> int:
        return len(self._layout.targets)

    def __contains__(self, name: object) -> bool:
        return name in self._layout.targets

    def __eq__(self, other: object) -> bool:
        return self is other  # Mapping's would make all targets

    def __hash__(self) -> int:
        return id(self)

    def _unknown(self, name: str, accepted: list[str], axis: str) -> NoReturn:
        known = f" ({', '.join(accepted)})" if accepted else ""
        message = f"{self!r} has no {axis} named {name!r}{did_you_mean(str(name), accepted)}{known}"
        raise UnknownMember(message, axis=axis, label=name, nearest=nearest(str(name), accepted))

    @property
    def targets(self) -> Mapping[str, Any]:
        """Name to target; each is made at the first access."""
        return MappingProxyType(self)  # pyright: ignore[reportArgumentType] - it takes any mapping

    @property
    def stages(self) -> Mapping[str, tuple[str, ...]]:
        """Stage to the names of its targets, in the order in which stages are run."""
        return MappingProxyType(self._layout.stages)

    @property
    def store(self) -> Store:
        """The store of targets without one of their own. Raises ConfigError for a setting that names no store."""
        if self._store is None:
            given = self._given_store
            if given is None and generation.running() is not None:
                return generation.default_store()  # the store of the running node, which differs between nodes, so it is not kept
            try:
                self._store = open_store(given) if given is not None else generation.default_store()
            except (TypeError, ValueError, StoreError) as error:
                raise config_error(f"{self._where}store", error) from error
        return self._store

    @property
    def file(self) -> Path | None:
        """The ``persistable.toml`` it was loaded from; None for one made in Python."""
        return self._file

    @property
    def folder(self) -> Path:
        """The base folder of relative paths, from which modules are imported."""
        return self._folder

    # plan and run

    def names(self, *names: str) -> list[str]:
        """The targets of these stages and targets, each once, in order; without names, those of all stages, else all targets.

        Raises UnknownMember, a KeyError, that suggests the nearest name.
        """
        return list(dict.fromkeys(name for batch in self._batches(names) for name in batch))

    def _batches(self, wanted: Sequence[Any]) -> list[list[Any]]:
        """Batches that are run one after the other: each stage by itself, adjacent targets together."""
        stages, targets = self._layout.stages, self._layout.targets
        batches: list[list[Any]] = []
        together = False
        for each in wanted or stages or targets:
            if isinstance(each, str) and each in stages:
                batches.append(list(stages[each]))
                together = False
                continue
            if isinstance(each, str) and each not in targets:
                self._unknown(each, [*stages, *targets], "stage or target")
            if together:
                batches[-1].append(each)
            else:
                batches.append([each])
                together = True
        return batches

    def _wanted(self, wanted: Sequence[Any]) -> list[list[Any]]:
        return [[self[each] if isinstance(each, str) else each for each in batch] for batch in self._batches(wanted)]

    def run(self, *targets: Any, **options: Any) -> RunResult:
        """Generate the missing payloads of these, and only those; without any, of all stages in order, or of all targets.

        targets: names of stages and targets; also nodes and everything else that `persistable.run` takes, such as members of targets: in
        the store of the project, if they have none of their own. Stages are run one after the other: after a failure, no later one is
        begun. `options` are those of `persistable.run`, and override the project's own; `hooks` are added to them.

        Raises RunFailed, whose ``.result`` is that of all stages so far, unless ``errors="return"``.
        """
        batches = self._wanted(targets)
        options = {"limits": self._limits, **self._options, **options}
        options["hooks"] = [*self._hooks, *options.get("hooks", ())]
        raising = options.pop("errors", "raise")
        if raising not in ("raise", "return"):
            raise ValueError(f'errors is "raise" or "return"; it was {raising!r}')
        store = options.pop("store", None) or self.store
        where = "executor" if "executor" in options else f"{self._where}executor"
        given, workers = options.pop("executor", self._executor), options.pop("max_workers", None)
        result = RunResult(store)
        with services.executor_for(given, workers, where) as executor:
            for batch in batches:
                result = run.run(batch, executor=executor, store=store, errors="return", **options).after(result)
                if result.failures:
                    break
        if result.failures and raising == "raise":
            raise result.failed()
        return result

    def accept_code(self, reason: str, *targets: Any) -> int:
        """Mark the stale payloads of these targets and stages, by default all, as unaffected by their code changes; return their number."""
        return accept.accept_code(*self._wanted(targets), reason=reason, store=self.store)

    def plan(self, *targets: Any, **options: Any) -> Plan:
        """The plan of `run`, with reasons; nothing is changed. `options` are those of `persistable.plan`."""
        own: dict[str, Any] = {"store": self.store}
        own.update({name: self._options[name] for name in ("failed", "stale") if name in self._options})
        return plan.plan(*self._wanted(targets), **{**own, **options})

    def put(self, name: str, payload: Any) -> Any:
        """Store `payload` as that of the target `name`, mark its record as put in by hand, and return the node.

        Raises TypeError for a target that is no single node, the errors of `_validate_payload`, and PayloadNotRepresentable.
        """
        node = self[name]
        if not isinstance(node, Persistable):
            raise TypeError(
                f"{name} is {node!r:.60}, which has no payload of its own; put it into one of its nodes, such as project[{name!r}][key]"
            )
        return node.put(payload)

    def status(self, *names: str) -> dict[str, Counter[Status]]:
        """Count the payloads in each status, for each of these stages and targets; by default for all targets."""
        return {name: overview.counts(self[name], self.store) for name in (self.names(*names) if names else self)}

    def lineage(self, *names: str, **options: Any) -> Graph:
        """The picture of all targets, or those named, and everything upstream; options as for `persistable.graph.lineage`."""
        targets = [self[name] for name in (self.names(*names) if names else self)]
        return graph.lineage(*[node for node, _ in pairs(targets, self.store)], **options)

    def check(self) -> None:
        """Make every target, to raise its errors now. Nothing is generated."""
        for name in self:
            self[name]

    def __repr__(self) -> str:
        stages = f"; stages: {', '.join(self._layout.stages)}" if self._layout.stages else ""
        return f"<Project{f' {_shown(self._file)}' if self._file else ''}: {', '.join(self) or 'empty'}{stages}>"

    def _repr_html_(self) -> str:
        return overview.html(self, self._layout.stages, self.store, self._folder.name if self._file else "Project")


def _table(tables: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    found = tables.get(name, {})
    if not isinstance(found, Mapping):
        raise config_error(f"{where}{name}", f"is {found!r:.60}; give a table")
    return found  # pyright: ignore[reportUnknownVariableType]


def _store(folder: Path, given: Any, where: str = "Project: store", namespace: Any = None) -> Any:
    """A store as named by a file in `folder`, the base of relative paths, in its namespace."""
    try:
        return in_namespace(_named_store(folder, given, where), namespace)
    except (ValueError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        place = where.removesuffix("store") + "namespace"
        raise config_error(place, error) from error


def _named_store(folder: Path, given: Any, where: str) -> Any:
    if isinstance(given, str | list | tuple):
        layers: Any = list(given) if not isinstance(given, str) else given  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        if isinstance(layers, list) and not layers:
            raise config_error(where, "is an empty list; name one layer at least")
        if isinstance(layers, str) or all(isinstance(layer, str | dict) for layer in layers):
            return absolute_beside(str(folder), layers)
        return layers
    if isinstance(given, dict | int | float):
        raise config_error(where, f"is {given!r:.60}; give one URL or path as text, or a list of layers")
    return given


# the file


def _find_file(path: str | os.PathLike[str] | None) -> Path:
    """The project file at `path`: itself, the one in that folder, or the nearest upward from here. Raises FileNotFoundError."""
    if path is None:
        found = nearest_file(os.getcwd())
        if found is None:
            raise FileNotFoundError(
                f"there is no {PROJECT_FILE} in {os.getcwd()} or above it; make one, or name a file: Project.load('folder/{PROJECT_FILE}')"
            )
        return Path(found)
    given = Path(path).expanduser().absolute()
    file = given / PROJECT_FILE if given.is_dir() else given
    if not file.is_file():
        raise FileNotFoundError(f"there is no project file {file}")
    return file


def _tables_of(file: Path) -> dict[str, Any]:
    """The tables in `file`. Raises ConfigError for a file that is no valid TOML."""
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise config_error(_shown(file), f"is not valid TOML: {error}") from error


def _shown(file: Path) -> str:
    """The file as text for errors: relative to the current folder if it is below that."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)
