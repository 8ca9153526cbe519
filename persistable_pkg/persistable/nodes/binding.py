"""Copies of a node: one bound to another store, or one on which its own code runs.

The latter has private params, and upstream that loads through its generation.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from persistable.errors import ParamsMutated
from persistable.fileio.memory_copy import ATOMS, private_copy
from persistable.nodes.lineage import replace_nodes
from persistable.nodes.provenance import facts_of
from persistable.nodes.transitive_upstream import attributes_read, nodes_held_by
from persistable.nodes.types import Node, NodeBase
from persistable.params.snapshots import is_immutable
from persistable.params.unset import UNSET
from persistable.stores.base import Store

NodeT = TypeVar("NodeT", bound=Node)


def bound_to(node: NodeT, store: Store | None, single_use: bool = False) -> NodeT:
    """The same node without a payload, in `store`; None: in no store of its own. single_use: used for one generation only."""
    twin = object.__new__(node.__class__)
    state = node.__dict__.copy()
    if "_node_payload" in state:
        del state["_node_payload"]
    if "_node_generation" in state:
        del state["_node_generation"]
    state["_node_store"] = store
    if single_use:
        state["_node_single_use"] = True
    object.__setattr__(twin, "__dict__", state)  # bypasses a `__setattr__` of the user's
    return twin


def with_nodes(node: NodeT, of: Callable[[Any], Any]) -> NodeT:
    """A node like `node`, in its store, with each node that it holds replaced by the result of `of`; its key is computed anew."""
    twin = bound_to(node, node._node_store)
    twin.__dict__ = replace_nodes(twin.__dict__, of)
    twin._node_identify()
    return twin


def move_to(node: Node, store: Store | None, path: str | None = None) -> None:
    """Set the store of `node`, which must not have been used yet, and the path of its payload there, if one is given."""
    node._node_store = store
    if path is not None:
        node._node_custom_path = path


def remembered_store(thing: object) -> Store | None:
    """The store in which a node or family found its payloads last, if a run named that store; else None."""
    found: Store | None = getattr(thing, "_node_remembered", None)
    return found


def remember_store(node: Node, store: Store | None) -> None:
    """Let `node` find the payloads that a run has put into `store`; no effect on a node that names a store itself."""
    node._node_remembered = store


def author_of(node: Node, generation: Any) -> tuple[Any, dict[str, Any] | None]:
    """A twin of `node` on which its own code runs, and the facts for its record if that code might change the values they come from.

    A node lent for this generation is returned itself if its arguments are private already.
    """
    arguments: dict[str, Any] | None = node.__dict__.get("_node_arguments")
    private_already = arguments is not None and _is_private(arguments.values())
    if private_already and node._node_single_use:
        return node, None
    author = bound_to(node, generation.store)
    if private_already:
        return author, None
    state: dict[str, Any] = author.__dict__
    bound = _bind_roles(state, node, generation) if node._node_upstream else {}
    params = node.params
    if params is None or "_node_given_facts" in state:  # it came from another process, so nothing else refers to its contents
        return author, None
    if (
        arguments is None
        and ((node._node_snapshot.plain and node._node_snapshot.rows) or _is_flat(params))
        and not (node._node_upstream and _has_inner_nodes(node))
    ):
        settings: Any = params.__class__.__dict__.get("__dataclass_params__")
        if settings is None or not settings.frozen:
            author.params = copy.copy(params)
        return author, None
    facts: dict[str, Any] | None = facts_of(node) if generation.claim is not None else None
    if arguments is not None:
        state["_node_arguments"] = private_copy(arguments, swapped=bound)
    else:
        author.params = _copied(node.params, bound)
    return author, facts


def _is_private(arguments: Iterable[Any]) -> bool:
    """Tell whether only lists and dicts in the arguments of a step can change; each call of the function gets new ones of these.

    The function sees no nodes there either: it gets their payloads.
    """
    for value in arguments:
        kind: Any = value.__class__
        if kind in ATOMS:
            continue
        if kind is dict or kind is list or kind is tuple:
            if not _is_private(value.values() if kind is dict else value):
                return False
        elif not (isinstance(value, NodeBase) or is_immutable(value)):
            return False
    return True


def copy_new_attributes(node: Node, author: Any, before: dict[str, Any]) -> None:
    """Copy to `node` the attributes that its own code has set on `author`, whose attributes were `before`."""
    state: dict[str, Any] = author.__dict__
    for name, value in state.items():
        if name in _OWN or before.get(name, UNSET) is value or any(role.partition(".")[0] == name for role in node._node_upstream):
            continue
        node.__dict__[name] = value


_OWN = frozenset({"_node_payload", "_node_generation", "_node_store", "_node_upstream", "_node_arguments", "params"})


def _bind_roles(state: dict[str, Any], node: Node, generation: Any) -> dict[int, Any]:
    """Replace the nodes in `state` by twins that ask `generation` for payloads, in any thread; the value is node ``id`` to twin."""
    bound: dict[int, Any] = {}
    for upstream in node._node_upstream.values():
        if id(upstream) not in bound:
            bound[id(upstream)] = twin = bound_to(upstream, upstream._node_store or generation.store)
            twin._node_reader = generation
    state["_node_upstream"] = {role: bound[id(upstream)] for role, upstream in node._node_upstream.items()}
    if "_node_arguments" in state:
        state["_node_arguments"] = replace_nodes(state["_node_arguments"], lambda held: bound.get(id(held), held))
    roles: dict[str, list[Any]] = {}
    for role, upstream in node._node_upstream.items():
        roles.setdefault(role.partition(".")[0], []).append(upstream)
    for name in roles.keys() & state.keys():
        state[name] = _bound_role(state[name], roles[name], bound, node, name)
    asked = attributes_read(node)
    if asked:
        for twin in bound.values():
            _bind_beyond(twin, asked)
    return bound


def _bound_role(held: Any, made_from: list[Any], bound: Mapping[int, Any], node: Node, name: str) -> Any:
    """`held`, the value of `node` under the name of a role, with twins in place of `made_from`, the nodes of that role in its key.

    Raises ParamsMutated if these are not the nodes that it holds: its code would get other nodes than the key says.
    """
    left = iter(made_from)

    def twin_of(one: Any) -> Any:
        own = next(left, None)
        if own is not one and (own is None or own.key != one.key):
            raise _other_nodes(node, name)
        return bound[id(own)]

    swapped_in = replace_nodes(held, twin_of)
    if next(left, None) is not None and held.__class__ in (list, tuple, dict):
        raise _other_nodes(node, name)
    return swapped_in


def _other_nodes(node: Node, name: str) -> ParamsMutated:
    return ParamsMutated(
        f"{node.payload_name}.{name} holds other nodes than those that {node.key} was made from, so its key no longer describes it; make a "
        f"new node instead, with replace({name}=...)",
        path=name,
    )


def _bind_beyond(node: Node, asked: Mapping[str, int]) -> None:
    """Let the nodes further upstream of `node` that the running code names, as counted in `asked`, load through its generation as well."""

    def twin_of(further: Any, rest: Mapping[str, int]) -> Any:
        twin = bound_to(further, further._node_store or node._node_store)
        twin._node_reader = node._node_reader
        _bind_beyond(twin, rest)
        return twin

    for name, rest in list(nodes_held_by(node, asked)):
        node.__dict__[name] = replace_nodes(node.__dict__[name], partial(twin_of, rest=rest))


def _has_inner_nodes(node: Node) -> bool:
    """Tell whether there are nodes among the params themselves."""
    return bool(node._node_upstream) and any(role.partition(".")[0] not in node.__dict__ for role in node._node_upstream)


def _is_flat(params: Any) -> bool:
    """Tell whether nothing in `params` can change in place."""
    values: Any = getattr(params, "__dict__", None)
    if values is None:
        fields = getattr(params, "__dataclass_fields__", None)
        if fields is None:
            return False
        values = {name: getattr(params, name, None) for name in fields}
    for value in values.values():
        if value.__class__ not in ATOMS and not is_immutable(value):
            return False
    return not isinstance(params, dict | list | set)


def _copied(params: Any, bound: Mapping[int, Any]) -> Any:
    """A copy of params; if some value cannot be copied, a copy of each value that can."""
    made = private_copy(params, swapped=bound)
    values: Any = getattr(params, "__dict__", None)
    if made is not params or values.__class__ is not dict:
        return made
    made = copy.copy(params)
    for name, value in values.items():
        made.__dict__[name] = private_copy(value, swapped=bound)
    return made
