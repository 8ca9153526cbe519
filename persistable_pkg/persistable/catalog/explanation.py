"""The reasons why a payload and everything upstream of it are stored or not: from its node, or from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from persistable.nodes.explain import explain
from persistable.nodes.lineage import walk
from persistable.nodes.status import State, states_in
from persistable.nodes.types import Node, own_store, why_absent
from persistable.records import claim_watch, record_access
from persistable.records.key import Key, Place
from persistable.stores.base import Store

NOT_KEPT = "unkept"
"""The state of a payload that is never stored, but generated whenever it is needed."""


def places(targets: Sequence[tuple[Any, Store]]) -> list[tuple[Any, Store]]:
    """Every node of these lineages, upstream first, with its store: its own, else that of the first node that needs it."""
    stores: dict[Key, Store] = {node.key: store for node, store in targets}
    nodes = list(walk(*(node for node, _ in targets)))
    for node in reversed(nodes):
        for source in node.upstream.values():
            stores.setdefault(source.key, own_store(source) or stores[node.key])
    return [(node, stores[node.key]) for node in nodes]


def state_of(node: Node, state: State) -> str:
    """The state as a word; `NOT_KEPT` for a node that is generated whenever it is needed."""
    return state.status.value if node.is_persisted or node.is_external else NOT_KEPT


def of_node(node: Node, store: Store) -> dict[str, Any]:
    """The state of `node` and of everything upstream of it, each with the reason."""
    pairs = places([(node, store)])
    found = states_in(pairs)
    words = [state_of(node, each) for (node, _), each in zip(pairs, found, strict=True)]
    upstream = [
        {"key": str(each.key), "status": word, "why": _why(each, where, word, state)}
        for (each, where), word, state in zip(pairs[:-1], words[:-1], found[:-1], strict=True)
    ]
    why = explain(node, store).split("\n")
    return {"key": str(node.key), "store": store.url, "status": words[-1], "why": why, "upstream": upstream[::-1]}


def _why(node: Node, store: Store, word: str, state: State) -> str:
    if node.is_external:
        return str(why_absent(node))
    if state.failure is not None:
        return f"attempt {state.failure.attempt} raised {state.failure.text}"
    if state.verdict.barred is not None:
        return str(state.verdict.barred)
    if word == "running":
        return claim_watch.describe_holder(store, node.place.path)
    if state.verdict.causes or state.verdict.unknown:
        return "; ".join(filter(None, (state.verdict.describe(), *state.verdict.unknown)))
    return _REASONS.get(word, "")


_REASONS = {
    "absent": "nothing is stored",
    "blocked": "something upstream of it failed",
    "corrupt": "its record or payload is damaged",
    "foreign": "another class with other code has made it; accept takes it over",
    NOT_KEPT: "it is generated whenever it is needed",
}


def of_record(place: Place, store: Store) -> dict[str, Any]:
    """The result of `of_node`, from records alone: nothing is imported, and code is not compared."""
    record = record_access.peek(store, place)
    upstream: list[dict[str, Any]] = []
    if record is record_access.UNTRUSTED:
        state, why = "foreign", "it has no signature that the store trusts; remove it, or generate it again"
    elif isinstance(record, record_access.Unusable):
        state, why = "corrupt", "its record is damaged; remove it, or generate it again"
    elif record is None:
        state, why = _without_record(place, store)
    else:
        wrong = record_access.missing_file(store, record)
        state, why = ("corrupt", f"its payload is damaged: {wrong}") if wrong else ("done", "it is stored")
        for role, key in record.upstream.items():
            there = record_access.is_there(store, key)
            upstream.append(
                {"key": str(key), "status": "done" if there else "absent", "why": "" if there else f"{role} is not stored any more"}
            )
    return {
        "key": str(place.key),
        "store": store.url,
        "status": state,
        "why": [f"{place.key} is {state}: {why}"],
        "upstream": upstream,
    }


def _without_record(place: Place, store: Store) -> tuple[str, str]:
    if claim_watch.holder_of(store, place.path) is not None:
        return "running", claim_watch.describe_holder(store, place.path)
    failure = record_access.find_failure(store, place)
    if failure is not None:
        return "failed", f"attempt {failure.attempt} raised {failure.text}"
    return "absent", "nothing is stored"
