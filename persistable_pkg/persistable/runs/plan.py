"""Plans: the nodes to generate for some targets, in order, with reasons; decided without changing anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from persistable.nodes.label import COLUMNS, label
from persistable.nodes.staleness import Judge
from persistable.nodes.status import Status, look_up
from persistable.records.key import Key
from persistable.runs.planner import FOLLOW, Planner, Unit, check_stale, waited_for
from persistable.runs.targets import base_of, leaves_of, pairs, unfinished_makers
from persistable.stores.base import Store

if TYPE_CHECKING:
    from persistable.graph.graph import Graph


class Row(NamedTuple):
    """One node of a plan: its action, the reason for that, and the nodes generated before it.

    action: ``"generate"``, ``"reuse"`` or ``"leave"``; ``"follow"`` for a payload generated anew only if the bytes of its upstream
    change; ``"refuse"`` for one that a run would not accept: made by another class with other code, or stale with ``stale="raise"``.
    """

    key: Key
    action: str
    reason: str
    after: tuple[Key, ...]
    store: str


class Plan:
    """The actions of a run, in a possible order: a sequence of `Row`. ``print(plan)`` shows a table."""

    def __init__(self, rows: Sequence[Row], nodes: Sequence[Any], absent: Sequence[tuple[Any, Store]] = ()) -> None:
        self.rows = list(rows)
        self._nodes = list(nodes)
        self._absent = absent

    @cached_property
    def hints(self) -> list[str]:
        """Stored payloads that are no longer found since a name or the params changed, and why; looked up on first access."""
        from persistable.nodes.nearest import rename_hints_for

        return rename_hints_for(self._absent)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def label(self, index: int, columns: int = COLUMNS) -> str:
        """The node of a row in words, in at most `columns` columns."""
        return label(self._nodes[index], columns)

    @property
    def counts(self) -> dict[str, int]:
        """Action to number of nodes, without inputs from outside."""
        counts: dict[str, int] = {}
        for row, node in zip(self.rows, self._nodes, strict=True):
            if not node.is_external:
                counts[row.action] = counts.get(row.action, 0) + 1
        return counts

    @property
    def jobs(self) -> list[Key]:
        """Keys of the nodes to generate."""
        return [row.key for row in self.rows if row.action == "generate"]

    def lineage(self, **options: Any) -> Graph:
        """The lineage as a picture, with the action of each node. Nodes that need not be looked up have none.

        options: as for `persistable.graph.lineage`.
        """
        from persistable.graph import lineage

        needed = {upstream.key for node in self._nodes for upstream in node.upstream.values()}
        targets = [node for node in self._nodes if node.key not in needed]
        return lineage(*targets, status={row.key: row.action for row in self.rows}, **options)

    def to_frame(self) -> Any:
        """The rows as a pandas DataFrame."""
        import pandas as pd

        columns = ["name", "key", "action", "reason", "after", "store"]
        table = [(row.key.name, str(row.key), row.action, row.reason, " ".join(map(str, row.after)), row.store) for row in self.rows]
        return pd.DataFrame(table, columns=columns)

    def __str__(self) -> str:
        shown = [(row.action, self.label(i, 60), row.key.digest[:8], row.reason) for i, row in enumerate(self.rows[:_SHOWN])]
        widths = [max((len(row[column]) for row in shown), default=0) for column in range(2)]
        lines = [f"{action:<{widths[0]}}  {label:<{widths[1]}}  {digest}  {reason}" for action, label, digest, reason in shown]
        if len(self.rows) > _SHOWN:
            lines.append(f"... and {len(self.rows) - _SHOWN} more")
        counts = ", ".join(f"{number} to {action}" for action, number in self.counts.items())
        return "\n".join([counts or "nothing to do", *lines, *self.hints])

    def __repr__(self) -> str:
        return f"<Plan: {', '.join(f'{number} to {action}' for action, number in self.counts.items()) or 'nothing to do'}>"

    def _repr_html_(self) -> str:
        from persistable.graph.notebook import badge, digest, listing

        rows = [(self.label(i), badge(row.action), row.reason, digest(row.key)) for i, row in enumerate(self.rows[:_SHOWN])]
        return listing(("node", "action", "why", "key"), rows, len(self.rows) - _SHOWN, self.hints)


_SHOWN = 60


def plan(*targets: Any, store: Any = None, failed: str = "retry", stale: str = "reuse") -> Plan:
    """The plan of `run` for these targets, with reasons; nothing is changed.

    store: the store of nodes that name none. failed, stale: as for `run`.
    """
    check_stale(stale)
    leaves = leaves_of(targets)
    base = base_of(leaves, store)
    judge = cache(Judge)
    decided = Planner(
        [*unfinished_makers(leaves, base), *pairs(leaves, base)],
        lambda asked: look_up([(unit.node, unit.store) for unit in asked], judge),
        failed=failed,
        stale=stale,
    ).decide()
    rows: list[Row] = []
    units: list[Unit] = []
    for action, some in (("reuse", decided.reused), ("leave", decided.left), ("refuse", decided.refused), ("generate", decided.needed)):
        for unit in some:
            done = FOLLOW if unit.again == FOLLOW else action
            if stale == "raise" and action == "reuse" and unit.found is not None and unit.found.verdict.causes:
                done = "refuse"
            before = waited_for(unit) if done == FOLLOW else unit.sources or ()
            after = tuple([source.node.key for source in before if action == "generate"])
            rows.append(Row(unit.node.key, done, unit.reason, after, unit.url))
            units.append(unit)
    absent = [(unit.node, unit.store) for unit in decided.needed if unit.found is not None and unit.found.status is Status.ABSENT]
    return Plan(rows, [unit.node for unit in units], absent)
