"""A node and everything upstream of it: walked, and pickled, without recursion and each node once."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from persistable.nodes.types import Node, NodeBase
from persistable.records.key import Key

MAX_TABLE = 64
"""Upstream nodes written into a record, at most; the records of these hold farther ones."""


def walk(*targets: Any) -> Iterator[Any]:
    """Every node of the lineage of `targets` once, upstream before downstream."""
    done: set[Key] = set()
    stack = [(node, False) for node in reversed(targets)]
    while stack:
        node, ready = stack.pop()
        if node.key in done:
            continue
        if ready:
            done.add(node.key)
            yield node
        else:
            stack.append((node, True))
            stack.extend((upstream, False) for upstream in reversed(node.upstream.values()) if upstream.key not in done)


DEEPEST = 100
"""Depth in lists, tuples and dicts to which nodes are searched for; params nested deeper are refused."""


def nodes_in(value: Any, kind: type = NodeBase, depth: int = DEEPEST) -> Iterable[tuple[str, Any]]:
    """The nodes in `value`, itself or in lists, tuples and dicts, each with its place: ``""``, ``.0``, ``.best``. kind: the class."""
    if isinstance(value, kind):
        yield "", value
    elif depth:
        for name, item in _items(value):
            for place, node in nodes_in(item, kind, depth - 1):
                yield f".{name}{place}", node


def holds_nodes(value: Any) -> bool:
    """Tell whether there is a node in `value`, as `nodes_in` finds them."""
    return any(True for _ in nodes_in(value))


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    kind: Any = value.__class__
    if kind is dict:
        return cast("dict[Any, Any]", value).items()
    return enumerate(cast("list[Any]", value)) if kind is list or kind is tuple else ()


def expand_families(value: Any, inside: bool = False) -> Any:
    """`value`, or, for a family or the nodes of one, the list of these in its order. `inside`: also for each item of a tuple or dict."""
    kind: Any = value.__class__
    if getattr(kind, "_node_is_family", False):
        return list(value.nodes)
    if getattr(kind, "_node_are_members", False):
        return list(value)
    if not inside or (kind is not dict and kind is not tuple):
        return value
    return {name: expand_families(item) for name, item in value.items()} if kind is dict else tuple(map(expand_families, value))


# pickling


class _Numbered(int):
    """The number of a node, in its place in the pickled state of another."""

    __slots__ = ()


def flattened(target: Node) -> list[tuple[Any, dict[str, Any]]]:
    """Class (or an object with a ``node_class``) and state of each node object in `target`, itself last; each names earlier ones by number.

    `pickle` by itself would exceed the recursion limit at a few hundred nodes. Two nodes of one key count twice: their stores may differ.
    """
    numbers: dict[int, int] = {}
    states: list[tuple[Any, dict[str, Any]]] = []
    stack: list[tuple[Any, bool]] = [(target, False)]
    while stack:
        node, ready = stack.pop()
        if id(node) in numbers:
            continue
        if not node._node_upstream:  # then it holds no nodes at all
            states.append((node._node_made_by(), node.__getstate__()))
        elif ready:
            states.append((node._node_made_by(), replace_nodes(node.__getstate__(), lambda upstream: _Numbered(numbers[id(upstream)]))))
        else:
            stack.append((node, True))
            stack.extend((upstream, False) for _, upstream in nodes_in(node.__dict__) if id(upstream) not in numbers)
            continue
        numbers[id(node)] = len(numbers)
    return states


def rebuilt(states: list[tuple[Any, dict[str, Any]]]) -> Any:
    """The target of `flattened`, rebuilt with its nodes from `states`."""
    nodes: list[Any] = []
    for made_by, numbered in states:
        cls: Any = cast("Any", made_by) if isinstance(made_by, type) else made_by.node_class
        state = replace_nodes(numbered, nodes.__getitem__, _Numbered) if nodes else numbered  # the first refers to none
        made: Any = object.__new__(cls)
        if hasattr(made, "__setstate__"):
            made.__setstate__(state)
        else:
            made.__dict__.update(state)
        nodes.append(made)
    return nodes[-1]


def replace_nodes(value: Any, made_of: Callable[[Any], Any], kind: type = NodeBase) -> Any:
    """`value` with each node (or each `kind`) in it, itself or in lists, tuples and dicts, replaced by the result of `made_of`."""
    if isinstance(value, kind):
        return made_of(value)
    container: Any = value.__class__
    if container is dict:
        return {name: replace_nodes(item, made_of, kind) for name, item in _items(value)}
    if container is list or container is tuple:
        items: list[Any] = [replace_nodes(item, made_of, kind) for _, item in _items(value)]
        return items if container is list else tuple(items)
    return value
