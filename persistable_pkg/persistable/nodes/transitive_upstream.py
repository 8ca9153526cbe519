"""Payloads that a node's own code requests from nodes other than its direct upstream, such as ``self.model.points.payload``."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import dis
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from types import CodeType, FunctionType
from typing import Any, cast
from weakref import WeakKeyDictionary

from persistable.nodes.code.bytecode import codes_in
from persistable.nodes.declaration import root_of
from persistable.nodes.lineage import holds_nodes, nodes_in
from persistable.nodes.types import Node


class UpstreamNotSent(BaseException):
    """The code asks a node for upstream nodes that were left out when it was sent to this process: send it again with all of them.

    Not an Exception, so that the code that asks does not handle it.
    """


def nodes_read(node: Node) -> list[Any]:
    """The nodes beyond the direct upstream of `node` that its code names, each once. Empty if the code gets payloads, not nodes."""
    asked = attributes_read(node)
    if not asked:
        return []
    found: dict[Any, Any] = {}
    stack = [(upstream, asked) for upstream in node._node_upstream.values()]
    while stack:
        upstream, left = stack.pop()
        for name, rest in nodes_held_by(upstream, left):
            for _, further in nodes_in(upstream.__dict__[name]):
                found[further.key] = further
                stack.append((further, rest))
    return list(found.values())


def nodes_held_by(upstream: Node, asked: Mapping[str, int]) -> Iterator[tuple[str, Mapping[str, int]]]:
    """The attributes of `upstream` that hold nodes and are in `asked`, each with the counts left after this use of its name."""
    for name in asked:
        attribute = "_node_upstream" if name == "upstream" else name
        value = upstream.__dict__.get(attribute)
        if value is not None and holds_nodes(value):
            left = {**asked, name: asked[name] - 1}
            yield attribute, left if left[name] else {other: count for other, count in left.items() if other != name}


def attributes_read(node: Node) -> Mapping[str, int]:
    """The attributes that the code of `node` reads from other objects than the node itself, and how often it does."""
    if node._node_by_payload or not node._node_upstream:
        return {}
    kind: type = node.__class__
    found = _asked.get(kind)
    if found is None:
        root = root_of(node.__class__)
        names: Counter[str] = Counter()
        known: set[int] = set()
        for base in kind.__mro__:
            if base is root:
                break
            for member in list(base.__dict__.values()):
                _look(member, names, known)
        found = _asked[kind] = {name: count for name, count in names.items() if not name.startswith("__") and name not in _NEVER_NODES}
    return found


_asked: WeakKeyDictionary[type, Mapping[str, int]] = WeakKeyDictionary()
_NEVER_NODES = frozenset({"payload", "params", "key", "store", "payload_name"})


def _look(member: Any, names: Counter[str], known: set[int]) -> None:
    """Count the attributes that a function, and each function of its module that it uses, read from other objects."""
    member = member.fget if type(member) is property else member.func if isinstance(member, partial) else member
    function = getattr(member, "__func__", None) or getattr(member, "__wrapped__", None) or member
    if type(function) is not FunctionType or id(function) in known:
        return
    known.add(id(function))
    module, own = function.__module__, function.__code__.co_varnames[0] if function.__code__.co_argcount else ""
    for code in codes_in(function.__code__):
        _count(code, own, names)
        for name in code.co_names:
            used = function.__globals__.get(name)
            if type(used) is FunctionType and used.__module__ == module:
                _look(used, names, known)


def _count(code: CodeType, own: str, names: Counter[str]) -> None:
    before: Any = None
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_ATTR", "LOAD_METHOD") and before != own:
            names[cast("str", step.argval)] += 1
        value: Any = step.argval if step.opname.startswith(("LOAD_FAST", "LOAD_DEREF")) else None
        before = value[-1] if value.__class__ is tuple else value
