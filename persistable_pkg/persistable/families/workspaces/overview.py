"""The status of a workspace, by id and node, and the display of workflows in a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistable import graph
from persistable.errors import PersistableError
from persistable.families.workspaces.graph import NodeName
from persistable.families.workspaces.ids import id_of, text_of
from persistable.families.workspaces.seeds import FileSeed
from persistable.families.workspaces.workflow import Binding, Workflow, bound, unstored
from persistable.graph.notebook import Html, badge, card, code, listing, table
from persistable.nodes.node import Persistable
from persistable.nodes.status import Status, states_of
from persistable.nodes.types import Node
from persistable.records.key import Placed

if TYPE_CHECKING:
    from persistable.families.workspaces.workspace import Workspace
    from persistable.graph import Graph

BATCH = 1000
"""Number of ids that are looked up in one batch."""
SHOWN = 40
"""Maximum number of ids in a table as text or HTML."""


class Overview(Mapping[Any, Mapping[str, Status]]):
    """The status of each seed and stored node of each id: ``status["001"]["scaled"]``.

    columns: their names. incomplete: ids with some seeds missing, each with these.
    """

    def __init__(
        self,
        fields: tuple[str, ...],
        columns: tuple[str, ...],
        rows: Mapping[Any, Sequence[Status]],
        incomplete: Mapping[Any, list[str]],
    ) -> None:
        self.fields = fields
        self.columns = columns
        self.incomplete = incomplete
        self._rows = rows

    def __getitem__(self, workflow_id: Any) -> Mapping[str, Status]:
        return self._row(self._rows[workflow_id])

    def _row(self, statuses: Sequence[Status]) -> Mapping[str, Status]:
        return dict(zip(self.columns, statuses, strict=True))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def counts(self) -> dict[str, Counter[Status]]:
        """The number of ids with each status, for each seed and stored node."""
        return {name: Counter(row[number] for row in self._rows.values()) for number, name in enumerate(self.columns)}

    def to_frame(self) -> Any:
        """A pandas DataFrame: a row for each id, which is the index, a column for each name; the statuses as text."""
        import pandas as pd

        ids = list(self._rows)
        if len(self.fields) > 1:
            index: Any = pd.MultiIndex.from_tuples(ids, names=list(self.fields))
        else:
            index = pd.Index(ids, name="/".join(self.fields), dtype=object)
        return pd.DataFrame(
            {name: [row[number].value for row in self._rows.values()] for number, name in enumerate(self.columns)}, index=index
        )

    def __str__(self) -> str:
        table: list[tuple[str, ...]] = [("/".join(self.fields), *self.columns)]
        table += [(text_of(each), *[status.value for status in row]) for each, row in self._first()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
        return "\n".join([*lines, *self._rest()])

    def __repr__(self) -> str:
        counts = Counter(status for row in self._rows.values() for status in row)
        return f"<Overview of {len(self)} ids: {', '.join(f'{number} {status.value}' for status, number in counts.items()) or 'nothing'}>"

    def _first(self) -> list[tuple[Any, Sequence[Status]]]:
        return [row for row, _ in zip(self._rows.items(), range(SHOWN), strict=False)]

    def _rest(self) -> list[str]:
        lines = [f"... and {len(self) - SHOWN} more"] if len(self) > SHOWN else []
        return lines + [f"{text_of(each)}: {'; '.join(why)}" for each, why in list(self.incomplete.items())[:SHOWN]]

    def _repr_html_(self) -> str:
        rows = [(text_of(each), *[badge(status.value) for status in row]) for each, row in self._first()]
        return listing(("/".join(self.fields), *self.columns), rows, notes=self._rest())


def overview(workspace: Workspace[Any]) -> Overview:
    """The result of `Workspace.status`. Ids are looked up in batches, whose nodes are released before the next."""
    layout = workspace.layout
    graph = layout.workflow._graph  # pyright: ignore[reportPrivateUsage]
    columns = tuple(name for name in graph.members if name in layout.templates)
    snapshot = workspace._snapshot_of(columns, None)  # pyright: ignore[reportPrivateUsage]
    missing = snapshot.missing()
    there = [name for name in columns if not graph.definitions[name].seeds & missing]
    if missing:  # nodes that depend on a missing shared seed are absent for all ids
        snapshot = workspace._snapshot_of(there, None)  # pyright: ignore[reportPrivateUsage]
    rows: dict[Any, tuple[Status, ...]] = {}
    for first in range(0, len(snapshot.ids), BATCH):
        ids = snapshot.ids[first : first + BATCH]
        found = _look([snapshot.nodes(values) for values in ids], there)
        statuses = [found.get(name) or [Status.ABSENT] * len(ids) for name in columns]
        rows.update(zip(map(id_of, ids), zip(*statuses, strict=True), strict=True))
    return Overview(layout.fields, columns, rows, snapshot.listing.incomplete)


def _look(ids: list[dict[Any, Any]], names: list[str]) -> dict[str, list[Status]]:
    """The statuses of the nodes of these names, by name. Seeds count as done, since making their node has read them."""
    asked = [name for name in names if not ids[0][name].is_external]
    seen = iter(states_of([nodes[name] for name in asked for nodes in ids]))
    return {name: [next(seen).status for _ in ids] if name in asked else [Status.DONE] * len(ids) for name in names}


# pictures


@dataclass(frozen=True)
class _Type:
    type: str


class _SketchedSeed(Persistable[Any, _Type]):
    """A seed in a picture of a workflow without an id."""

    is_external = True
    is_persisted = False


class _Sketch(Binding):
    def __init__(self, kinds: Mapping[str, Any]) -> None:
        self._kinds = kinds

    def seed(self, name: str, before: Any) -> Any:
        kind = self._kinds[name]
        return before or _SketchedSeed(params=_Type(getattr(kind, "__name__", str(kind))), payload_name=name)

    def placed(self, node_name: NodeName, node: Node) -> Any:
        return unstored(node, None)

    def words(self) -> str:
        return ""


def sketch(workflow: type[Workflow], **options: Any) -> Graph:
    """The seeds and nodes of a workflow class as a picture."""
    instance = bound(workflow, _Sketch(workflow._kinds), None)  # pyright: ignore[reportPrivateUsage]
    return graph.lineage(*instance.nodes.values(), **options)


def workflow_html(workflow: Workflow) -> str:
    """Nodes of an instance with status and location, and a picture of their lineage."""
    title = type(workflow).__name__ + (f" {text_of(workflow.workflow_id)}" if workflow.workflow_id is not None else "")
    rows: list[tuple[object, ...]] = []
    nodes: dict[str, Any] = {}
    for name in workflow.nodes:
        try:
            nodes[name] = workflow.node(name)
        except PersistableError as error:
            rows.append((name, badge("absent"), error))
    looked_up = [name for name, node in nodes.items() if node.is_external or node.is_persisted]
    found = dict(zip(looked_up, states_of([nodes[name] for name in looked_up]), strict=True))
    rows += [(name, badge(found[name].status.value) if name in found else "on demand", code(_where(node))) for name, node in nodes.items()]
    statuses = {nodes[name].key: seen.status for name, seen in found.items()}
    picture = Html(graph.lineage(*nodes.values(), status=statuses).html()) if nodes else ""
    return card(title, table(rows), picture)


def _where(node: Node) -> str:
    if isinstance(node, FileSeed):
        return node.shown
    if isinstance(node.place, Placed):
        return node.place.path
    return str(node.key) if node.is_persisted else ""


def workspace_html(workspace: Workspace[Any]) -> str:
    """A workspace: its workflow as a picture, and the status of its ids."""
    title = f"{type(workspace).__name__} of {workspace.layout.workflow.__name__} in {workspace.store.url}"
    picture = Html(sketch(workspace.layout.workflow).html())
    return card(title, picture, Html(overview(workspace)._repr_html_()))  # pyright: ignore[reportPrivateUsage]
