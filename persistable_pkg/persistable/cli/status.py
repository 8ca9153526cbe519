"""`persistable status` and `persistable explain`: how far it is, and why something is or is not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from persistable.cli.options import COMMON, Common, Word
from persistable.cli.output import Column, note, printable, table, write, write_json
from persistable.cli.target import Here, One, one
from persistable.errors import PersistableError
from persistable.nodes.lineage import walk
from persistable.nodes.status import Seen, Status, seen_of
from persistable.nodes.types import Node, own_store, why_absent
from persistable.records import access
from persistable.records.key import Key
from persistable.stores.base import Store

NOT_KEPT = "unkept"
"""The state of what is generated whenever it is needed, and stored nowhere."""
STATES = (
    *(state.value for state in (Status.DONE, Status.STALE, Status.FOREIGN, Status.RUNNING, Status.FAILED, Status.BLOCKED, Status.CORRUPT)),
    Status.ABSENT.value,
    NOT_KEPT,
)
_ALWAYS = ("done", "absent")


def status(*targets: Word, common: Common = COMMON) -> int:
    """Count payloads by state, for each target and every name upstream of it. Without targets, for all of the project.

    Parameters
    ----------
    targets
        Targets, stages, members of targets, or module:object.
    """
    here = Here(common)
    names = targets or _all_targets(here)
    rows = [row for name in names for row in _rows(here, name)]
    if common.json:
        write_json(rows)
        return 0
    shown = [state for state in STATES if state in _ALWAYS or any(row[state] for row in rows)]
    columns = [Column("target"), Column("name"), Column("total", right=True), *(Column(state, right=True) for state in shown)]
    table(columns, [[row["target"], row["name"], row["total"], *(row[state] for state in shown)] for row in rows])
    for words in dict.fromkeys(words for row in rows for words in row["not_told"]):
        note(words)
    if not rows:
        note("there are no targets")
    return 0


def _all_targets(here: Here) -> Sequence[str]:
    return list(here.needed_project().targets)


def _rows(here: Here, name: str) -> Iterator[dict[str, Any]]:
    pairs = _places(here.pairs(here.find(name).target)) if here.find(name).place is None else []
    counts: dict[str, Counter[str]] = {}
    not_told: dict[str, dict[str, None]] = {}
    for (node, _), seen in zip(pairs, _seen(pairs), strict=True):
        counts.setdefault(node.payload_name, Counter())[_state(node, seen)] += 1
        not_told.setdefault(node.payload_name, {}).update(dict.fromkeys(seen.verdict.unknown))
    for payload_name, found in counts.items():
        by_state = {state: found[state] for state in STATES}
        yield {"target": name, "name": payload_name, "total": found.total(), **by_state, "not_told": list(not_told[payload_name])}


def _places(targets: Sequence[tuple[Any, Store]]) -> list[tuple[Any, Store]]:
    """Every node of these lineages, upstream first, with the store it is looked up in: its own, else that of the first that needs it."""
    stores: dict[Key, Store] = {node.key: store for node, store in targets}
    nodes = list(walk(*(node for node, _ in targets)))
    for node in reversed(nodes):
        for source in node.upstream.values():
            stores.setdefault(source.key, own_store(source) or stores[node.key])
    return [(node, stores[node.key]) for node in nodes]


def _seen(pairs: Sequence[tuple[Any, Store]]) -> list[Seen]:
    """Each store asked once for all its records."""
    by_store: dict[str, tuple[Store, list[int]]] = {}
    for index, (_, store) in enumerate(pairs):
        by_store.setdefault(store.url, (store, []))[1].append(index)
    found: dict[int, Seen] = {}
    for store, indices in by_store.values():
        found.update(zip(indices, seen_of([pairs[index][0] for index in indices], store), strict=True))
    return [found[index] for index in range(len(pairs))]


def _state(node: Node, seen: Seen) -> str:
    return seen.status.value if node.is_persisted or node.is_external else NOT_KEPT


# why


def explain(payload: Word, /, *, common: Common = COMMON) -> int:
    """Say why a payload is or is not there, and of everything upstream of it what is missing, running or failed.

    Parameters
    ----------
    payload
        A target or member of one, or a key or the beginning of one.
    """
    here = Here(common)
    found = _with_node(here, payload)
    answer = _of_node(found) if found.node is not None else _of_record(found)
    if common.json:
        write_json(answer)
        return 0
    for line in answer["why"]:
        write(printable(line))
    trace = [row for row in answer["upstream"] if row["status"] != "done" or row["why"]]
    there = sum(row["status"] in ("done", "stale") for row in answer["upstream"])
    if answer["upstream"]:
        write(f"upstream: {there} of {len(answer['upstream'])} there")
    if trace:
        table([Column("status"), Column("key"), Column("why", long=True)], [(row["status"], row["key"], row["why"]) for row in trace])
    return 0


def _with_node(here: Here, text: str) -> One:
    """The payload, with its node where the project has one of that key; a key of the project's need not be stored."""
    from persistable.cli.target import parse
    from persistable.cli.usage import BadUsage

    try:
        found = one(here, text)
    except BadUsage:
        address = parse(text)
        node = here.node_of(Key.parse(text)) if address.is_key and len(address.base.rpartition("/")[2]) == 32 else None
        if node is None:
            raise
        return One(node.place, own_store(node) or here.store, node)
    if found.node is None:
        try:
            return One(found.place, found.store, here.node_at(found.place))
        except PersistableError:
            pass  # of what cannot be made again, the record tells as much as it can
    return found


def _of_node(found: One) -> dict[str, Any]:
    from persistable.nodes.explain import explain

    assert found.node is not None
    pairs = _places([(found.node, found.store)])
    seen = _seen(pairs)
    states = [_state(node, each) for (node, _), each in zip(pairs, seen, strict=True)]
    upstream = [
        {"key": str(node.key), "status": state, "why": _why(node, store, state, each)}
        for (node, store), state, each in zip(pairs[:-1], states[:-1], seen[:-1], strict=True)
    ]
    why = explain(found.node, found.store).split("\n")
    return {"key": str(found.key), "store": found.store.url, "status": states[-1], "why": why, "upstream": upstream[::-1]}


def _why(node: Node, store: Store, state: str, seen: Seen) -> str:
    if node.is_external:
        return str(why_absent(node))
    if seen.failure is not None:
        return f"attempt {seen.failure.attempt} raised {seen.failure.error}: {seen.failure.message}"
    if seen.verdict.barred is not None:
        return str(seen.verdict.barred)
    if state == "running":
        return _by_whom(store, node.place.path)
    if seen.verdict.causes or seen.verdict.unknown:
        return "; ".join(filter(None, (seen.verdict.describe(), *seen.verdict.unknown)))
    return _REASONS.get(state, "")


_REASONS = {
    "absent": "nothing is stored",
    "blocked": "something upstream of it failed",
    "corrupt": "its record or payload is damaged",
    "foreign": "another class with other code has made it; accept takes it over",
    NOT_KEPT: "it is generated whenever it is needed",
}


def _by_whom(store: Store, base: str) -> str:
    from persistable.records import claims

    holder = claims.holder_of(store, base) or {}
    host = str(holder.get("host", "")).partition(" ")[0]
    return f"process {holder['pid']} on {host} generates it" if "pid" in holder else "it is being generated"


def _of_record(found: One) -> dict[str, Any]:
    """The states that records alone tell."""
    record = access.peek(found.store, found.place)
    upstream: list[dict[str, Any]] = []
    if record == access.UNTRUSTED:
        state, why = "foreign", "nobody that the store trusts has signed it; remove it, or generate it again"
    elif isinstance(record, str):
        state, why = "corrupt", "its record is damaged; remove it, or generate it again"
    elif record is None:
        state, why = _without_record(found)
    else:
        wrong = access.missing_file(found.store, record)
        state, why = ("corrupt", f"its payload is damaged: {wrong}") if wrong else ("done", "it is stored")
        for role, key in record.upstream.items():
            there = access.is_there(found.store, key)
            upstream.append(
                {"key": str(key), "status": "done" if there else "absent", "why": "" if there else f"{role} is not stored any more"}
            )
    return {
        "key": str(found.key),
        "store": found.store.url,
        "status": state,
        "why": [f"{found.key} is {state}: {why}"],
        "upstream": upstream,
    }


def _without_record(found: One) -> tuple[str, str]:
    from persistable.records import claims

    if claims.holder_of(found.store, found.place.path) is not None:
        return "running", _by_whom(found.store, found.place.path)
    failure = access.find_failure(found.store, found.place)
    if failure is not None:
        return "failed", f"attempt {failure.attempt} raised {failure.error}: {failure.message}"
    return "absent", "nothing is stored"
