"""Facts of records about a node and everything upstream of it."""

from __future__ import annotations

from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from persistable.errors import NotRebuildable, PayloadCorrupted
from persistable.records.key import Key
from persistable.records.record import Record

Find = Callable[[Key], Record | None]
"""Returns the record of a key; None where there is none."""


class Facts(NamedTuple):
    """The facts of one node.

    reference: of its class or function. version, params, untracked, call: trees, as records have them; call is None where the class has no
    ``__init__`` of its own, or it is not known. params_class: the reference of the class of the params, where the class of the node does
    not determine it. io: the format of the payload, None where only a record downstream describes the node. source: of a class of a script,
    where its records keep it: name to statement.
    """

    key: Key
    reference: str
    version: Any
    params: dict[str, Any]
    upstream: dict[str, Key]
    untracked: dict[str, Any]
    call: dict[str, Any] | None
    params_class: str
    io: dict[str, Any] | None
    record: Record | None
    source: dict[str, str] = {}  # noqa: RUF012 - a field of a tuple, never written to

    @property
    def script(self) -> str:
        """The module or script of its class."""
        return self.reference.partition(":")[0]

    @classmethod
    def of(cls, record: Record) -> Facts:
        """The facts of a record."""
        return cls(
            record.key,
            record.class_reference,
            record.version,
            record.params,
            record.upstream,
            record.untracked,
            record.call,
            record.facts().get("params_class") or "",
            record.fileio,
            record,
            record.source,
        )

    @classmethod
    def of_row(cls, key: str, row: dict[str, Any]) -> Facts:
        """The facts that a record downstream keeps of `key`."""
        upstream = {role: Key.parse(path) for role, path in row["upstream"].items()}
        return cls(
            Key.parse(key),
            row["class"],
            row["version"],
            row["params"],
            upstream,
            {},
            row.get("call"),
            row.get("params_class") or "",
            None,
            None,
        )


def gathered(record: Record, find: Find) -> list[Facts]:
    """The facts of `record` and of everything upstream of it, each once, upstream first.

    Nodes without a record get the facts that records downstream keep. Raises NotRebuildable where neither has the facts of a node,
    PayloadCorrupted where `record` is malformed.
    """
    known: dict[Key, Facts] = {record.key: Facts.of(record)}
    rows: dict[str, dict[str, Any]] = dict(record.lineage)
    asked: set[Key] = {record.key}
    damaged: dict[Key, PayloadCorrupted] = {}
    waiting = list(known.values())
    while waiting:
        for key in waiting.pop().upstream.values():
            if key in asked:
                continue
            asked.add(key)
            try:
                found = find(key)
            except PayloadCorrupted as error:
                found, damaged[key] = None, error
            if found is not None:
                known[key] = Facts.of(found)
                rows.update(found.lineage)
                waiting.append(known[key])
        if not waiting:  # the rest is taken from records downstream, and may lead further
            for key in asked - known.keys():
                row = rows.get(str(key))
                if row is not None:
                    known[key] = Facts.of_row(str(key), row)
                    waiting.append(known[key])
    return _sorted(known, record.key, damaged)


def _sorted(known: dict[Key, Facts], target: Key, damaged: dict[Key, PayloadCorrupted]) -> list[Facts]:
    """The facts, upstream first."""
    graph: dict[Key, list[Key]] = {}
    waiting = [(target, target)]
    while waiting:
        key, consumer = waiting.pop()
        if key not in known:
            raise _gone(target, key, consumer, damaged.get(key))
        if key not in graph:
            graph[key] = list(known[key].upstream.values())
            waiting.extend((upstream, key) for upstream in reversed(graph[key]))
    try:
        return [known[key] for key in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        key = error.args[1][0]
        text = f"the records say that {key} is upstream of itself; they were written by hand"
        raise _without_upstream(target, text, known[key].reference, "") from None


def _gone(target: Key, key: Key, consumer: Key, damage: PayloadCorrupted | None) -> NotRebuildable:
    what = f"is damaged ({damage})" if damage is not None else "is gone"
    text = (
        f"the record of {key}, upstream of {consumer}, {what}, and no record downstream says what it was made from (each keeps the nearest "
        f"upstream). Copy it from a store that has it (persistable cp), or make {key.name} again"
    )
    return _without_upstream(target, text, "", str(key))


def _without_upstream(target: Key, text: str, reference: str, path: str) -> NotRebuildable:
    message = f"{target} cannot be rebuilt: {text}"
    return NotRebuildable(message, key=target, reason="upstream", reference=reference, path=path, found=None)


def refused(facts: Facts, reason: str, path: str, text: str, found: Any = None) -> NotRebuildable:
    """The error for a node of `facts` that cannot be made again. reason, path, found: see `NotRebuildable`."""
    return NotRebuildable(
        f"{facts.key} was made by {facts.reference}, and cannot be rebuilt: {text}",
        key=facts.key,
        reason=reason,
        reference=facts.reference,
        path=path,
        found=found,
    )
