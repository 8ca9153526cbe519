"""`Project`: the one place where targets, a store, an executor and notifications come together."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persistable import events
from persistable.graph import Graph
from persistable.planning import Plan
from persistable.result import RunResult
from persistable.status import Status

if TYPE_CHECKING:
    from persistable.stores.base import Store


class Project(Mapping[str, Any]):
    """Named targets, with the store they are kept in and the executor that makes them: a mapping from name to target.

    A target is a node, a family, a pipeline, a source or a workspace. It is made, and what it is made of imported, when it is asked for.

    targets: name to node, family, pipeline, workspace or source, or to a table as in ``persistable.toml``. stages: name to the names of
    its targets, in the order in which stages are run. store: a path, URL, `Store` or list of layers, for targets that name none; the
    default store if it is None. executor: a name, an executor, or a table such as ``{"kind": "processes", "workers": 4}``. limits,
    fail_fast, errors, failed, progress, hooks: as for `persistable.run`. notify: as in ``persistable.toml``. folder: what relative paths
    count from, and where modules are imported from; the current folder if it is None. set: params, as for `load`.
    """

    def __init__(
        self,
        targets: Mapping[str, Any],
        stages: Mapping[str, Sequence[str]] | None = None,
        *,
        store: str | os.PathLike[str] | Store | Sequence[Any] | None = None,
        executor: str | Mapping[str, Any] | futures.Executor | None = None,
        limits: Mapping[str, float] | None = None,
        hooks: Sequence[events.Hook] = (),
        notify: Mapping[str, Any] | None = None,
        folder: str | os.PathLike[str] | None = None,
        set: Sequence[str] | Mapping[str, Any] = (),  # noqa: A002 - the word of the command line
        **options: Any,
    ) -> None:
        raise NotImplementedError

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

        Params come from the file, then from the environment (``PERSISTABLE_PARAMS__points__n=500``), then from `set`
        (``["points.n=500"]``, or a mapping): each replaces what came before it, and is read with the type of its field. `environ` stands
        for the environment. `store`, else ``$PERSISTABLE_STORE``, takes the place of the one in the file.

        Raises FileNotFoundError without a file, ConfigError, which says where, for what cannot be meant so.
        """
        raise NotImplementedError

    # the mapping

    def __getitem__(self, name: str) -> Any:
        """The target `name`, bound to the project's store. Raises UnknownMember, a KeyError, that suggests the nearest name."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    @property
    def targets(self) -> Mapping[str, Any]:
        """Name to target: the project itself, as a mapping that cannot be run."""
        raise NotImplementedError

    @property
    def stages(self) -> Mapping[str, tuple[str, ...]]:
        """Stage to the names of its targets, in the order in which stages are run."""
        raise NotImplementedError

    @property
    def store(self) -> Store:
        """The store of targets that name none."""
        raise NotImplementedError

    @property
    def file(self) -> Path | None:
        """The ``persistable.toml`` it was loaded from; None for one made in Python."""
        raise NotImplementedError

    @property
    def folder(self) -> Path:
        """What relative paths count from, and where modules are imported from."""
        raise NotImplementedError

    # used

    def names(self, *names: str) -> list[str]:
        """The targets that stage or target names stand for, each once, in order; without names, all of all stages, else all targets.

        Raises UnknownMember, a KeyError, that suggests the nearest name.
        """
        raise NotImplementedError

    def run(self, *names: str, **options: Any) -> RunResult:
        """Generate what is missing of these stages and targets, and only that; without names, all stages in order, or all targets.

        Stages are run one after the other: where something fails, no later one is begun. `options` are those of `persistable.run`, in
        place of the project's own; `hooks` are added to them.

        Raises RunFailed, whose ``.result`` is that of all stages so far, unless ``errors="return"``.
        """
        raise NotImplementedError

    def plan(self, *names: str, **options: Any) -> Plan:
        """What `run` would do, and why; nothing is touched."""
        raise NotImplementedError

    def put(self, name: str, payload: Any) -> Any:
        """Store `payload` as that of the target `name`, and mark its record as put in by hand; the value is the node.

        Raises TypeError for a target that is no single node.
        """
        raise NotImplementedError

    def status(self, *names: str) -> dict[str, Counter[Status]]:
        """How many payloads of each target (by default: of all) are in which status."""
        raise NotImplementedError

    def lineage(self, *names: str, **options: Any) -> Graph:
        """All targets, or those named, and what they are made from, as a picture; options as for `persistable.graph.lineage`."""
        raise NotImplementedError

    def check(self) -> None:
        """Make every target, so that whatever is wrong with one is raised now. Nothing is generated."""
        raise NotImplementedError
