"""Overview of a project: counts of its payloads by status, and its table in a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from persistable.errors import PersistableError
from persistable.graph.labels import short
from persistable.graph.notebook import Html, badge, card, code, table
from persistable.nodes.binding import bound_to
from persistable.nodes.label import label
from persistable.nodes.status import Status, states_of
from persistable.nodes.types import is_family, is_node, own_store
from persistable.runs.targets import pairs
from persistable.stores.base import Store

BATCH = 1000
"""Number of payloads that are looked up in one batch."""


def counts(target: object, store: Store) -> Counter[Status]:
    """Count the payloads of `target` in each status."""
    if is_family(target):
        found: Counter[Status] = cast("Any", target).status()
        return found
    nodes = [node if own_store(node) is not None else bound_to(node, where) for node, where in pairs([target], store)]
    total: Counter[Status] = Counter()
    for start in range(0, len(nodes), BATCH):
        total.update(state.status for state in states_of(nodes[start : start + BATCH]))
    return total


class Row(NamedTuple):
    """A target in an overview.

    shown: the target as text. states: counts of its payloads by status; None if it has none, or `error` says why they are unknown.
    """

    name: str
    stages: list[str]
    shown: str
    states: dict[str, int] | None
    error: str


def rows(project: Mapping[str, Any], stages: Mapping[str, tuple[str, ...]], store: Store) -> list[Row]:
    """The row of each target with the status counts of its payloads; errors of a target are put in its row."""
    found: list[Row] = []
    for name in project:
        in_stages = [stage for stage, names in stages.items() if name in names]
        try:
            target = project[name]
        except Exception as wrong:  # noqa: BLE001 - an error of one target must not hide the others
            found.append(Row(name, in_stages, "", None, f"{type(wrong).__name__}: {wrong}"))
            continue
        states: dict[str, int] | None = None
        error = ""
        try:
            states = {status.value: number for status, number in counts(target, store).items()}
        except (PersistableError, OSError) as wrong:
            error = f"the store cannot be read: {wrong}"
        except TypeError:
            pass  # it has no payloads
        found.append(Row(name, in_stages, label(target) if is_node(target) else short(target), states, error))
    return found


def html(project: Mapping[str, Any], stages: Mapping[str, tuple[str, ...]], store: Store, name: str) -> str:
    """Name, store, and a table of the targets with the status counts of each, as HTML."""
    cells = [(row.name, ", ".join(row.stages), code(row.shown), _states(row)) for row in rows(project, stages, store)]
    return card(name, " ", code(store.url), table(cells, ("target", "stages", "", "status")))


def _states(row: Row) -> str:
    if row.states is None:
        return row.error or "none"
    return Html(" ".join(badge(status, number) for status, number in row.states.items()))
