"""The upstream of a node that is about to be generated: missing payloads are generated first, from the deepest on."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from persistable.fileio.memory_copy import InMemoryCopy
from persistable.nodes import format_check
from persistable.nodes.binding import bound_to
from persistable.nodes.prefetch import MANY
from persistable.nodes.transitive_upstream import nodes_read
from persistable.nodes.types import FAILED, Node
from persistable.records.key import Key, Place
from persistable.records.record import SUFFIX
from persistable.records.record_access import is_there
from persistable.stores.base import Store, stat_many

Generate = Callable[[Any, Store, dict[Key, Any] | None], Any]
"""Generates a node in a store from the given payloads; the value is its payload, if it is not persisted."""
Load = Callable[[Any, Store], Any]
"""Loads the payload of a node from a store, or generates it if it is missing."""


def prepare(node: Node, store: Store, generate: Generate, load: Load) -> dict[Key, Any]:
    """Generate missing payloads upstream, deepest first and without recursion; the value holds those of nodes that are not persisted."""
    if node._node_needs != "all":
        return _those_that_can_be_had(node, store, load)
    missing = _missing(node, store)
    if missing:  # before any work is done
        for each in (node, *[each for each, _ in missing]):
            if each.is_persisted:
                format_check.check(each)
    users = Counter(upstream.key for each in (node, *[each for each, _ in missing]) for upstream in _taken_by(each))
    given: dict[Key, Any] = {}
    for each, where in missing:
        twin = bound_to(each, where)
        own = {upstream.key: given[upstream.key] for upstream in _taken_by(each) if upstream.key in given}
        if each.is_persisted:
            generate(twin, where, own if each._node_needs == "all" else None)
        else:
            own = own if each._node_needs == "all" else _those_that_can_be_had(each, where, load)
            given[each.key] = InMemoryCopy(generate(twin, where, own), each.key)
        for key in own:
            users[key] -= 1
            if not users[key]:
                given.pop(key, None)  # its last user has got it
    return given


def _taken_by(node: Node) -> list[Any]:
    """The nodes, each once, whose payloads are passed to `node` if they are not persisted."""
    found = (*node._node_upstream.values(), *nodes_read(node)) if node._node_needs == "all" else ()
    return list({upstream.key: upstream for upstream in found}.values())


def _known_to_be_there(nodes: list[tuple[Any, Store]]) -> set[tuple[str, Place]]:
    """Store URL and place of the nodes that have a record, if there are at least `MANY`: one request for all pays then."""
    if len(nodes) < MANY:
        return set()
    by_store: dict[str, tuple[Store, list[Place]]] = {}
    for node, where in nodes:
        if isinstance(node.place, Key):
            by_store.setdefault(where.url, (where, []))[1].append(node.place)
    found: set[tuple[str, Place]] = set()
    for url, (where, places) in by_store.items():
        there = stat_many(where, [place.path + SUFFIX for place in places])
        found.update((url, place) for place in places if place.path + SUFFIX in there)
    return found


def _missing(node: Node, store: Store) -> list[tuple[Any, Store]]:
    """The nodes to generate before `node`, each with its store, in a possible order."""
    found: list[tuple[Any, Store]] = []
    done: set[Key] = set()
    stack = [(upstream, upstream._node_store or store, False) for upstream in node._node_upstream.values()]
    there = _known_to_be_there([(upstream, where) for upstream, where, _ in stack])
    while stack:
        node, where, ready = stack.pop()
        if node.key in done:
            continue
        if ready or node.is_external or (node.is_persisted and ((where.url, node.place) in there or is_there(where, node.place))):
            done.add(node.key)
            if ready:
                found.append((node, where))
        else:
            stack.append((node, where, True))
            if node._node_needs == "all":
                stack.extend((upstream, upstream._node_store or where, False) for upstream in node._node_upstream.values())
    return found


def _those_that_can_be_had(node: Node, store: Store, load: Load) -> dict[Key, Any]:
    """The payloads upstream of a node that tolerates failures, FAILED for failed ones; if it needs any, up to the first that succeeds."""
    given: dict[Key, Any] = {}
    for upstream in node.upstream.values():
        where = upstream._node_store or store
        try:
            given[upstream.key] = load(bound_to(upstream, where), where)
        except Exception:  # noqa: BLE001 - recorded and announced already
            given[upstream.key] = FAILED
        else:
            if node._node_needs == "any":
                break
    return given
