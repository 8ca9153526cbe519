"""`Workspace`: workflows by id, and the path of each of their seeds and nodes in a store."""

from __future__ import annotations

import os
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from persistable.errors import UnknownParam, WorkflowError
from persistable.families.sources.inputs import Values
from persistable.families.workspaces.files import SeedFiles
from persistable.families.workspaces.id_binding import IdBinding, Snapshot
from persistable.families.workspaces.ids import Listing, id_of, part, unknown, values_of
from persistable.families.workspaces.layout import Layout, Stored
from persistable.families.workspaces.workflow import Workflow, bound
from persistable.nodes.generation import default_store
from persistable.nodes.node import Persistable
from persistable.runs import accept, plan, run
from persistable.runs.plan import Plan
from persistable.runs.result import RunResult
from persistable.stores.base import Store
from persistable.stores.open import open_store

if TYPE_CHECKING:
    from persistable.families.workspaces.overview import Overview
    from persistable.graph import Graph

W = TypeVar("W", bound=Workflow)


class Workspace(Mapping[Any, W], Generic[W]):
    """A mapping from id to workflow, over a store: ``Files("data")["001"].scaled``.

    Write a class over ``Workspace[YourWorkflow]`` whose attributes give, by `stored`, the path of each seed and node. Ids are the values of
    the fields in the templates of its seeds: an id exists as soon as all of those files do (`incomplete` lists the others); with several
    fields it is a tuple. A node without `stored` is computed on demand.

    A computed payload is stored at its template, its record under ``.persistable/placed/``; it is valid only as long as its seeds are
    unchanged. Seeds are files that you write, or `put`.

    Parameters:
        store: a folder, URL or `Store`; by default the enclosing or the default one.

    Raises WorkflowError, when the class is made, for a layout that could not work.
    """

    _layout: ClassVar[Layout | None] = None

    def __init__(self, store: str | os.PathLike[str] | Store | None = None) -> None:
        if self._layout is None:
            raise TypeError(f"{type(self).__name__} is for no workflow: write class Files(Workspace[YourWorkflow]), and use that")
        self.store: Store = open_store(store) if store is not None else default_store()
        layout = self._layout
        self._files = {
            name: SeedFiles(name, self.store, layout.templates[name], layout.formats[name], layout.workflow._kinds[name])  # pyright: ignore[reportPrivateUsage]
            for name in layout.seeds
        }

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        places: dict[str, Stored] = {}
        for base in reversed(cls.__mro__):
            for name, value in vars(base).items():
                if isinstance(value, Stored):
                    places[name] = value
                    if hasattr(Workspace, name):
                        where = f"{cls.__name__}.{name}"
                        raise WorkflowError(f"{where}: every workspace has something of that name; rename the seed or node", where=where)
                elif name in places:
                    del places[name]  # a subclass that sets it to another value does not store it
        workflow = _workflow_of(cls)
        cls._layout = Layout(cls.__name__, workflow, places) if workflow is not None else None

    @property
    def layout(self) -> Layout:
        """The templates, formats and fields of the workspace."""
        assert self._layout is not None
        return self._layout

    # the mapping

    def __getitem__(self, workflow_id: Any) -> W:
        values = values_of(self.layout.fields, workflow_id, type(self).__name__)
        missing = self._missing(values)
        if missing:
            raise unknown(repr(self), workflow_id, self.layout.fields, missing, self)
        workflow: W = bound(self.layout.workflow, IdBinding(self.store, self.layout, self._files, values, None), id_of(values))
        return workflow

    def __contains__(self, workflow_id: object) -> bool:
        try:
            return not self._missing(values_of(self.layout.fields, workflow_id, ""))
        except (KeyError, ValueError):
            return False

    def __iter__(self) -> Iterator[Any]:
        return iter([id_of(values) for values in self._listing().ids])

    def __len__(self) -> int:
        return len(self._listing().ids)

    def __eq__(self, other: object) -> bool:
        return self is other  # Mapping's would create every workflow

    def __hash__(self) -> int:
        return id(self)

    def _missing(self, values: Values) -> list[str]:
        found: list[str] = []
        for name in self.layout.id_seeds:
            files = self._files[name]
            own = part(self.layout.fields, values, files.fields)
            if not files.exists(own):
                found.append(f"the seed {name} is missing: there is no {files.shown(own)}")
        return found

    def _listing(self) -> Listing:
        return Listing(self.layout.fields, self._files, self.layout.id_seeds)

    def incomplete(self) -> dict[Any, list[str]]:
        """Ids with some of their seeds missing, each with these. They are not in the mapping."""
        return self._listing().incomplete

    # seeds

    def put(self, *workflow_id: Any, **seeds: Any) -> None:
        """Write seeds: ``ws.put("001", raw=frame)``, for a new id too; ``ws.put(factor=3)`` for those that all ids share.

        Only nodes downstream of a seed whose content changes are computed anew. Pass an id of several parts as a tuple or as several
        arguments. Raises UnknownParam for a name that is no seed, TypeError if the id is missing or superfluous, InvalidName.
        """
        layout = self.layout
        given = workflow_id[0] if len(workflow_id) == 1 else workflow_id
        values = values_of(layout.fields, given, type(self).__name__) if workflow_id else None
        for name in seeds:
            self._check_seed(name, values)
        for name, value in seeds.items():
            files = self._files[name]
            files.put(part(layout.fields, values, files.fields) if values is not None else (), value)

    def _check_seed(self, name: str, values: Values | None) -> None:
        if name not in self._files:
            computed = name in self.layout.workflow._graph.members  # pyright: ignore[reportPrivateUsage]
            why = f"it is computed; [id].node({name!r}).put(value) stores another" if computed else "there is no such seed"
            raise UnknownParam(f"{name!r} cannot be put: {why}; seeds are {', '.join(self._files)}", name=name, accepted=list(self._files))
        fields = self._files[name].fields
        if fields and values is None:
            raise TypeError(f"{name} is a seed of each id: put(id, {name}=...)")
        if not fields and values is not None:
            raise TypeError(f"{name} is a seed that all ids share: put({name}=...), without an id, changes it for all")

    # plan, run and status

    @property
    def targets(self) -> list[Persistable[Any, Any]]:
        """The nodes that `run` and `plan` process by default: every stored node, of every id."""
        return self._nodes((), None)

    def run(self, *names: str, ids: Iterable[Any] | None = None, **options: Any) -> RunResult:
        """`persistable.run` of the nodes of these names, by default all stored ones, for `ids`, by default all; options as there."""
        options.setdefault("store", self.store)
        return run.run(self._nodes(names, ids), **options)

    def accept_code(self, reason: str, *names: str, ids: Iterable[Any] | None = None) -> int:
        """Mark the stored, stale nodes of these names and ids, by default all, as unaffected by their code changes; return their number."""
        return accept.accept_code(self._nodes(names, ids), reason=reason, store=self.store)

    def plan(self, *names: str, ids: Iterable[Any] | None = None, **options: Any) -> Plan:
        """`persistable.plan` of the nodes of these names, by default all stored ones, for `ids`, by default all."""
        options.setdefault("store", self.store)
        return plan.plan(self._nodes(names, ids), **options)

    def _nodes(self, names: Iterable[str], ids: Iterable[Any] | None) -> list[Any]:
        names = list(names)
        for name in names:
            self._check_node(name)
        names = names or self.layout.steps
        snapshot = self._snapshot_of(names, ids)
        found: list[Any] = []
        for values in snapshot.ids:
            nodes = snapshot.nodes(values)
            found.extend([nodes[name] for name in names])
        return found

    def workflows(self, ids: Iterable[Any] | None = None, names: Iterable[str] | None = None) -> Iterator[tuple[Any, W]]:
        """Id and workflow, of all ids or of `ids`, over one snapshot of the seeds: read once, and not again.

        names: of the nodes to be used; seeds that these do not depend on are not read.
        """
        layout = self.layout
        snapshot = self._snapshot_of(list(names) if names is not None else layout.workflow._graph.members, ids)  # pyright: ignore[reportPrivateUsage]
        for values in snapshot.ids:
            workflow: W = bound(layout.workflow, IdBinding(self.store, layout, self._files, values, snapshot), id_of(values))
            yield id_of(values), workflow

    def _snapshot_of(self, names: Iterable[str], ids: Iterable[Any] | None) -> Snapshot:
        listing = self._listing()
        chosen = listing.ids if ids is None else self._known(ids, listing)
        return Snapshot(self.store, self.layout, self._files, listing, chosen, names)

    def _known(self, ids: Iterable[Any], listing: Listing) -> list[Values]:
        if isinstance(ids, str):
            raise TypeError(f"ids is the text {ids!r}; give a list of ids: ids=[{ids!r}]")
        chosen = [values_of(self.layout.fields, each, type(self).__name__) for each in ids]
        known = set(listing.ids)
        for values in chosen:
            if values not in known:
                missing = self._missing(values) or ["it has come a moment ago"]
                raise unknown(repr(self), id_of(values), self.layout.fields, missing, map(id_of, listing.ids))
        return chosen

    def _check_node(self, name: str) -> None:
        members = self.layout.workflow._graph.members  # pyright: ignore[reportPrivateUsage]
        if name not in members:
            from persistable.params.building import did_you_mean

            hint = did_you_mean(name, members, " ({})")
            raise UnknownParam(f"{self!r} has no node {name!r}{hint}; there are {', '.join(members)}", name=name, accepted=list(members))

    def status(self) -> Overview:
        """The status of every seed and stored node, of every id: a table, with ``counts`` and ``to_frame()``."""
        from persistable.families.workspaces.overview import overview

        return overview(self)

    def to_frame(self) -> Any:
        """The `status` as a pandas DataFrame: a row for each id, a column for each seed and stored node."""
        return self.status().to_frame()

    def lineage(self, **options: Any) -> Graph:
        """The workflow as a picture, without any id; see `persistable.graph.lineage`."""
        from persistable.families.workspaces.overview import sketch

        return sketch(self.layout.workflow, **options)

    def _repr_html_(self) -> str:
        from persistable.families.workspaces.overview import workspace_html

        return workspace_html(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.layout.workflow.__name__} in {self.store.url}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.store,)


def _workflow_of(cls: type) -> type[Workflow] | None:
    """The workflow of a workspace class: that of the nearest class that names one."""
    for base in cls.__mro__:
        for original in base.__dict__.get("__orig_bases__", ()):
            origin = typing.get_origin(original)
            if isinstance(origin, type) and issubclass(origin, Workspace):
                for argument in typing.get_args(original):
                    if isinstance(argument, type) and issubclass(argument, Workflow):
                        return argument
                    if not isinstance(argument, TypeVar):
                        raise WorkflowError(
                            f"{base.__name__} is a Workspace[{argument!r}], which is no Workflow class; define that first",
                            where=base.__name__,
                        )
    return None
