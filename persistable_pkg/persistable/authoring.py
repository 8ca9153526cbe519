"""The node as its own code sees it while it is generated: what it may change there is a copy, and its upstream knows who asks."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

from persistable.beyond import asked_of, kept, root_of
from persistable.lineage import swapped
from persistable.originals import private
from persistable.params.watching import lasting


def author_of(node: Any, generation: Any) -> tuple[Any, dict[str, Any] | None]:
    """A twin of `node` for its own code to run on, and the facts about it where that code might change what they are read from."""
    author = node._twin(generation.store)
    author._generation = generation
    state: dict[str, Any] = author.__dict__
    bound = _bound(node, generation)
    if bound:
        _bind_roles(state, node._upstream, bound, root_of(node))
    if "_given_facts" in state:  # it came from another process, so nobody else has what is in it
        return author, None
    arguments: dict[str, Any] | None = state.get("_arguments")
    if arguments is not None:
        if all(map(lasting, arguments.values())):
            return author, None
        facts: dict[str, Any] = node._facts()
        state["_arguments"] = private(node._arguments, swapped=bound)
        return author, facts
    if node.params is None:
        return author, None
    if _is_flat(node.params) and not _has_inner_nodes(node):
        if not _is_frozen(type(node.params)):
            author.params = copy.copy(node.params)
        return author, None
    facts = node._facts()
    author.params = _copied(node.params, bound)
    return author, facts


def taken_over(node: Any, author: Any) -> None:
    """Let `node` have what its own code has kept on itself."""
    state: dict[str, Any] = node.__dict__
    if author is node:
        return
    for name, value in author.__dict__.items():
        if name in _OWN or state.get(name, _MISSING) is value or any(role.partition(".")[0] == name for role in node._upstream):
            continue
        state[name] = value


_OWN = frozenset({"_payload", "_generation", "_store", "_upstream", "_arguments", "params"})
_MISSING = object()


def _bound(node: Any, generation: Any) -> dict[int, Any]:
    """By identity, a twin of each upstream that asks `generation` for its payload, whatever thread it is asked in."""
    bound: dict[int, Any] = {}
    for upstream in node._upstream.values():
        if id(upstream) not in bound:
            bound[id(upstream)] = twin = upstream._twin(upstream._store or generation.store)
            twin._reader = generation
    asked = asked_of(node)
    if asked:
        for twin in bound.values():
            _bind_beyond(twin, asked, root_of(node))
    return bound


def _bind_beyond(node: Any, asked: Mapping[str, int], root: type) -> None:
    """Have those upstream of `node` that the code at work asks for as well ask its generation for their payloads."""

    def twin_of(further: Any, rest: Mapping[str, int]) -> Any:
        twin = further._twin(further._store or node._store)
        twin._reader = node._reader
        _bind_beyond(twin, rest, root)
        return twin

    for name, rest in list(kept(node, asked, root)):
        node.__dict__[name] = swapped(node.__dict__[name], partial(twin_of, rest=rest), root)


def _bind_roles(state: dict[str, Any], upstream: Mapping[str, Any], bound: Mapping[int, Any], root: type) -> None:

    def twin_of(node: Any) -> Any:
        return bound.get(id(node), node)

    state["_upstream"] = {role: bound[id(node)] for role, node in upstream.items()}
    for name in {role.partition(".")[0] for role in upstream}:
        if name in state:
            state[name] = swapped(state[name], twin_of, root)
    if "_arguments" in state:
        state["_arguments"] = swapped(state["_arguments"], twin_of, root)


def _has_inner_nodes(node: Any) -> bool:
    """Tell whether there are nodes among the params themselves."""
    return any(role.partition(".")[0] not in node.__dict__ for role in node._upstream)


def _is_flat(params: Any) -> bool:
    """Tell whether nothing inside can change in place."""
    values: Any = getattr(params, "__dict__", None)
    if values is None:
        fields = getattr(params, "__dataclass_fields__", None)
        if fields is None:
            return False
        values = {name: getattr(params, name, None) for name in fields}
    return all(map(lasting, values.values())) and not isinstance(params, dict | list | set)


def _is_frozen(kind: Any) -> bool:
    settings = kind.__dict__.get("__dataclass_params__")
    return settings is not None and bool(settings.frozen)


def _copied(params: Any, bound: Mapping[int, Any]) -> Any:
    """A copy of params; where some of it cannot be copied, of all that can."""
    made = private(params, swapped=bound)
    values: Any = getattr(params, "__dict__", None)
    if made is not params or values.__class__ is not dict:
        return made
    made = copy.copy(params)
    for name, value in values.items():
        made.__dict__[name] = private(value, swapped=bound)
    return made
