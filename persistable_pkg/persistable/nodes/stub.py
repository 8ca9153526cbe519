"""Stubs: nodes as they are sent to the process that generates them, without their upstream."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from persistable.nodes import change_warnings, upstream_digests
from persistable.nodes.binding import bound_to
from persistable.nodes.code import SentFingerprint
from persistable.nodes.lineage import holds_nodes, replace_nodes
from persistable.nodes.own_code import code_key, code_of_node
from persistable.nodes.provenance import facts_of, given_of
from persistable.nodes.transitive_upstream import attributes_read, nodes_held_by
from persistable.nodes.types import Node

_fingerprints: dict[Any, tuple[Any, SentFingerprint]] = {}


def stub(node: Node, stores: Callable[[Any], Any], whole: bool = False) -> Any:
    """`node` with stubs in place of its upstream: enough to generate it if everything upstream is stored.

    It carries the facts that need the whole lineage, and the fingerprint of its code, which may not be readable elsewhere. `stores`
    gives the store of each upstream node. `whole`: with its whole lineage instead of stubs.
    """
    twin = bound_to(node, stores(node))
    asked = attributes_read(node)
    made: dict[int, Any] = {}

    def of(upstream: Node) -> Any:
        if id(upstream) not in made:
            store = stores(upstream)
            made[id(upstream)] = bound_to(upstream, store) if whole else _leaf(upstream, store, asked)
        return made[id(upstream)]

    if node._node_upstream:
        twin.__dict__ = replace_nodes(twin.__dict__, of)
    if node.is_persisted:
        twin._node_given_facts = facts_of(node)
        if node._node_upstream:
            twin._node_given_table, twin._node_given_origin = upstream_digests.given(node, stores(node))
    twin._node_given_code = _fingerprint(node)
    return twin


def _leaf(node: Node, store: Any, asked: Mapping[str, int]) -> Any:
    """`node` without its upstream, except for nodes that are `asked` for: enough to load its payload."""
    twin = bound_to(node, store)
    state: dict[str, Any] = twin.__dict__
    keeps = {name for name, _ in nodes_held_by(node, asked)} if asked else ()
    left_out: list[str] = []
    if node._node_upstream and "_node_upstream" not in keeps:
        state["_node_upstream"], state["_node_left_out"] = {}, left_out
    for name, value in list(state.items()):
        if name in keeps:
            state[name] = replace_nodes(value, lambda further: bound_to(further, further._node_store or store))
        elif name != "_node_arguments" and holds_nodes(value):
            left_out.append(name)
            del state[name]
    if "_node_arguments" in state:
        state["_node_arguments"] = {name: value for name, value in state["_node_arguments"].items() if not holds_nodes(value)}
    state["_is_leaf"] = True
    state["_node_given_code"] = _fingerprint(node)
    return twin


def _fingerprint(node: Node) -> SentFingerprint:
    code = code_of_node(node)
    if isinstance(code, SentFingerprint):  # the node was sent here itself, or its definition was
        return code
    key = code_key(node)
    known = _fingerprints.get(key)
    if known is None or known[0] is not code:
        known = _fingerprints[key] = (code, given_of(code, node.__class__))
        change_warnings.warn(node, code)
    return known[1]
