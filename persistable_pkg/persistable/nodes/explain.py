"""Explanations of why a payload is there or missing: its status, and on a miss the nearest stored payload with the params that differ."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from persistable.nodes import loading
from persistable.nodes.nearest import SEARCHED, Nearest, compared, least, nearest
from persistable.nodes.nearest import lines as differing
from persistable.nodes.own_code import code_of_node
from persistable.nodes.rename_hints import hints
from persistable.nodes.staleness import Cause, Verdict
from persistable.nodes.status import Status, blocking, states_in
from persistable.nodes.types import Node
from persistable.records import claim_watch, items_in_progress, record_access
from persistable.records.record import Record
from persistable.stores.base import Store

SHOWN = 20
"""Differing params listed, at most."""


class Explanation(str):
    """The action of `payload` and the reasons, as text with attributes.

    status: None for inputs and nodes that are not persisted. reasons: the lines after the first. nearest: the record of the stored payload
    of the same name that differs in the fewest params, if this one is not stored. differences: these params, by path: (asked for, stored).
    changes: for a stale payload, each change of code, by function, or of bytes upstream.
    """

    __slots__ = ("_label", "_notes", "changes", "differences", "nearest", "reasons", "status")
    status: Status | None
    reasons: list[str]
    nearest: Record | None
    differences: dict[str, tuple[Any, Any]]
    changes: tuple[Cause, ...]
    _label: str
    _notes: Sequence[str]

    def __new__(
        cls,
        lines: list[str],
        status: Status | None = None,
        near: Nearest | None = None,
        changes: tuple[Cause, ...] = (),
        notes: Sequence[str] = (),
        label: str = "",
    ) -> Explanation:
        made = super().__new__(cls, "\n".join(lines))
        made.status, made.reasons = status, lines[1:]
        made.nearest = near.record if near is not None else None
        made.differences = near.differences if near is not None else {}
        made.changes, made._notes, made._label = changes, notes, label
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        near = Nearest(self.nearest, self.differences) if self.nearest is not None else None
        return Explanation, (self.split("\n"), self.status, near, self.changes, self._notes, self._label)

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        import persistable

        return persistable.graph.explanation_html(self, self._label, self._notes)


def explain(node: Node, store: Store) -> Explanation:
    """The action that asking for the payload would cause, and the reasons."""
    if node.is_external:
        gone = node._node_look()
        return Explanation([f"{node.key} is an input: " + (gone or "payload reads it where it is")], label=node.label)
    if not node.is_persisted:
        return Explanation([f"{node.key} is not persisted: payload generates it each time"], label=node.label)
    (state,) = states_in([(node, store)])
    status = state.status
    first = f"{node.key} in {store.url} is {status.value}: {_CONSEQUENCE[status]}"
    lines: list[str] = []
    changes: tuple[Cause, ...] = ()
    notes: list[str] = []
    near: Nearest | None = None
    if status in (Status.DONE, Status.STALE, Status.FOREIGN):
        changes, lines, notes = _of_code(node, state.verdict)
    elif state.failure is not None:
        notes.append(f"attempt {state.failure.attempt} raised {state.failure.text}")
    elif status is Status.RUNNING:
        notes.append(claim_watch.describe_holder(store, node.place.path))
    elif status is Status.BLOCKED:
        notes.append(f"failed upstream: {', '.join(map(str, blocking(node, store)))}")
    if status in (Status.ABSENT, Status.RUNNING, Status.FAILED):
        begun = items_in_progress.find_partial(store, node.place)
        if begun is not None:
            notes.append(f"{len(items_in_progress.entries(store, begun))} items are there, which are kept")
    if status in (Status.ABSENT, Status.BLOCKED):
        found = compared(node, store)
        near = nearest(node, store) if len(found) >= SEARCHED else least(found)
        if near is not None:
            lines = [*notes, f"the nearest is {near.record.key}:", *(f"  {line}" for line in differing(near.differences)[:SHOWN])]
        else:
            notes.append("nothing of this name is stored")
            lines = list(notes)
        further = hints(node, found, None if near is None else near.differences, store)
        missing = [f"{role} ({upstream.key})" for role, upstream in node.upstream.items() if not _stored(upstream, store)]
        if missing:
            further.append(f"upstream, to be generated first: {', '.join(missing)}")
        notes += further
        lines += further
    else:
        lines += notes
    return Explanation([first, *lines], status, near, changes, notes, node.label)


def _of_code(node: Node, verdict: Verdict) -> tuple[tuple[Cause, ...], list[str], list[str]]:
    """The changes since the payload was made, by function and node; the same as text; and notes, such as on code that is not watched."""
    if verdict.refused:
        return (), [], [str(loading.refused(node, verdict))]
    lines: list[str] = []
    if verdict.own:
        lines.append(f"the code has changed since: {verdict.own}")
    for cause in verdict.causes:
        if cause.key == node.key:
            continue
        lines.append(f"{cause.describe()} ({cause.by})" if not cause.change else f"upstream {cause.key} ({cause.by}): {cause.change}")
    unwatched = code_of_node(node).unknown
    notes = [f"not watched: {', '.join(unwatched)} (compiled, or without a source)"] if unwatched else []
    return verdict.causes, lines, [*notes, *verdict.unknown]


def _stored(node: Node, store: Store) -> bool:
    return node.is_external or record_access.is_there(node._node_store or store, node.place)


_CONSEQUENCE = {
    Status.ABSENT: "asking for its payload would generate it",
    Status.RUNNING: "asking for its payload would wait until it is generated elsewhere, then load it",
    Status.DONE: "asking for its payload would load it",
    Status.FAILED: "asking for its payload would try again",
    Status.BLOCKED: "asking for its payload would try again what failed upstream, then generate it",
    Status.CORRUPT: "asking for its payload would generate it again",
    Status.STALE: "asking for its payload would load it, with a warning that its code or upstream has changed",
    Status.FOREIGN: "asking for its payload would refuse it",
}
