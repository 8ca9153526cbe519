"""Nodes whose payloads are at custom paths."""

from typing import TypeVar

from persistable.nodes.binding import bound_to, move_to
from persistable.nodes.types import Node, own_store

NodeT = TypeVar("NodeT", bound=Node)


def stored_at(node: NodeT, path: str) -> NodeT:
    """The same node, its payload at `path` in its store."""
    twin = bound_to(node, own_store(node))
    move_to(twin, own_store(node), path)
    return twin
