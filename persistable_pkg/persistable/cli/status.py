"""`persistable status` and `persistable explain`: count payloads by state, and explain the state of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from persistable.catalog.explanation import NOT_KEPT, of_node, of_record, places, state_of
from persistable.cli.options import COMMON, CommonOptions, TargetArgument
from persistable.cli.output import Column, note, printable, table, write, write_json
from persistable.cli.target import CommandContext, NamedPayload, parse, resolve_one
from persistable.cli.usage import BadUsage
from persistable.errors import PersistableError
from persistable.nodes.status import Status, states_in
from persistable.nodes.types import own_store
from persistable.records.key import Key

STATES = (
    *(state.value for state in (Status.DONE, Status.STALE, Status.FOREIGN, Status.RUNNING, Status.FAILED, Status.BLOCKED, Status.CORRUPT)),
    Status.ABSENT.value,
    NOT_KEPT,
)
_ALWAYS = ("done", "absent")


def status(*targets: TargetArgument, common: CommonOptions = COMMON) -> None:
    """Count payloads by state, for each target and every name upstream of it. Without targets, for all of the project.

    Parameters
    ----------
    targets
        Targets, stages, members of targets, or module:object.
    """
    here = CommandContext(common)
    names = targets or tuple(here.needed_project().targets)
    rows = [row for name in names for row in _rows(here, name)]
    if common.json:
        write_json(rows)
        return
    shown = [state for state in STATES if state in _ALWAYS or any(row[state] for row in rows)]
    columns = [Column("target"), Column("name"), Column("total", right=True), *(Column(state, right=True) for state in shown)]
    table(columns, [[row["target"], row["name"], row["total"], *(row[state] for state in shown)] for row in rows])
    for words in dict.fromkeys(words for row in rows for words in row["not_told"]):
        note(words)
    if not rows:
        note("there are no targets")


def _rows(here: CommandContext, name: str) -> Iterator[dict[str, Any]]:
    found = here.find(name)
    if found.place is not None:
        raise BadUsage(f"{name} is one stored payload; status counts those of targets, `persistable explain {name}` tells of one")
    pairs = places(here.pairs(found.target))
    counts: dict[str, Counter[str]] = {}
    not_told: dict[str, dict[str, None]] = {}
    for (node, _), state in zip(pairs, states_in(pairs), strict=True):
        counts.setdefault(node.payload_name, Counter())[state_of(node, state)] += 1
        not_told.setdefault(node.payload_name, {}).update(dict.fromkeys(state.verdict.unknown))
    for payload_name, count in counts.items():
        by_state = {state: count[state] for state in STATES}
        yield {"target": name, "name": payload_name, "total": count.total(), **by_state, "not_told": list(not_told[payload_name])}


# why


def explain(payload: TargetArgument, /, *, common: CommonOptions = COMMON) -> None:
    """Explain why a payload is or is not stored, and list everything upstream of it that is missing, running or failed.

    Parameters
    ----------
    payload
        A target or member of one, or a key or the beginning of one.
    """
    here = CommandContext(common)
    found = _with_node(here, payload)
    answer = of_node(found.node, found.store) if found.node is not None else of_record(found.place, found.store)
    if common.json:
        write_json(answer)
        return
    for line in answer["why"]:
        write(printable(line))
    trace = [row for row in answer["upstream"] if row["status"] != "done" or row["why"]]
    there = sum(row["status"] in ("done", "stale") for row in answer["upstream"])
    if answer["upstream"]:
        write(f"upstream: {there} of {len(answer['upstream'])} there")
    if trace:
        table([Column("status"), Column("key"), Column("why", long=True)], [(row["status"], row["key"], row["why"]) for row in trace])


def _with_node(here: CommandContext, text: str) -> NamedPayload:
    """The payload, with its node if it is in the project or can be rebuilt; a key in the project need not be stored."""
    try:
        found = resolve_one(here, text)
    except BadUsage:
        address = parse(text)
        node = here.node_of(Key.parse(text)) if address.is_key and len(address.base.rpartition("/")[2]) == 32 else None
        if node is None:
            raise
        return NamedPayload(node.place, own_store(node) or here.store, node)
    if found.node is None:
        try:
            return NamedPayload(found.place, found.store, here.node_at(found.place))
        except PersistableError:
            pass  # without a node, the record alone is explained
    return found
