"""Overview of a project: counts of its payloads by status, and its table in a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

from persistable.errors import PersistableError
from persistable.graph.labels import short
from persistable.graph.notebook import Html, badge, card, code, table
from persistable.nodes.binding import bound_to
from persistable.nodes.status import Status, seen_of
from persistable.nodes.types import is_family, own_store
from persistable.runs.plan import pairs
from persistable.stores.base import Store

BATCH = 1000
"""Payloads that are looked up at once."""


def counts(target: object, store: Store) -> Counter[Status]:
    """Count the payloads of `target` in each status."""
    if is_family(target):
        found: Counter[Status] = cast("Any", target).status()
        return found
    nodes = [node if own_store(node) is not None else bound_to(node, where) for node, where in pairs([target], store)]
    total: Counter[Status] = Counter()
    for start in range(0, len(nodes), BATCH):
        total.update(seen.status for seen in seen_of(nodes[start : start + BATCH]))
    return total


def html(project: Mapping[str, Any], stages: Mapping[str, tuple[str, ...]], store: Store, name: str) -> str:
    """Name, store, and a table of the targets with what is stored of each; what is wrong with one is said in its row."""
    rows: list[tuple[object, ...]] = []
    for target in project:
        where = ", ".join(stage for stage, names in stages.items() if target in names)
        what, states = _row(project, target, store)
        rows.append((target, where, code(what), states))
    return card(name, " ", code(store.url), table(rows, ("target", "stages", "", "status")))


def _row(project: Mapping[str, Any], name: str, store: Store) -> tuple[str, str]:
    try:
        target = project[name]
    except Exception as error:  # noqa: BLE001 - a notebook shows the other targets all the same
        return "", f"{type(error).__name__}: {error}"
    try:
        states: str = Html(" ".join(badge(status.value, number) for status, number in counts(target, store).items()))
    except (PersistableError, OSError) as error:
        states = f"the store cannot be read: {error}"
    except TypeError:
        states = "none"
    return short(target), states
