"""The generating code of a node: that of its class or function, with the functions and classes that its params bring along."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from persistable.nodes.code import CodeOf, Given, class_reference, code_in
from persistable.params.reduce import MAINS
from persistable.params.registry import ClassTable

if TYPE_CHECKING:
    from persistable.nodes.types import Node
    from persistable.params.snapshots import Snapshot


def code_of_node(node: Node) -> CodeOf | Given:
    """The generating code: as it was found where the node was sent from, else as it is now."""
    given: Given | None = node.__dict__.get("_node_given_code")
    return given if given is not None else node._node_own_code()


def code_key(node: Node) -> Any:
    """Equal for nodes whose generating code is the same."""
    given = given_things(node)
    return (node.__class__, given) if given else node.__class__


def given_things(node: Node) -> tuple[Any, ...]:
    """Functions and classes of the user's own among the params, found at the first look."""
    kept: Snapshot | None = node.__dict__.get("_node_snapshot")
    if kept is not None and kept.plain:
        return ()
    found: tuple[Any, ...] | None = node.__dict__.get("_node_things")
    if found is None:
        found = node.__dict__["_node_things"] = code_in(_tracked(node), type(node).__module__.partition(".")[0])
    return found


def _tracked(node: Node) -> list[Any]:
    """The values that are identity, but for those whose code is followed otherwise."""
    kept: Snapshot | None = node.__dict__.get("_node_snapshot")
    rows = kept.rows if kept is not None else ()
    if rows:
        return [value for name, value, _ in rows if name != node._node_captured]
    return list(getattr(node.params, "__dict__", {}).values())


REFERENCES = ClassTable()
"""The reference of each class."""


def reference_of(cls: type) -> str:
    """The name of the class in records, as `class_reference` gives it, found once."""
    known: str | None = REFERENCES.found.get(id(cls))
    if known is not None:
        return known
    reference = class_reference(cls)
    if cls.__module__ not in MAINS:  # what that is called depends on where its work came from
        REFERENCES.set(cls, reference)
    return reference


def use_code(node: Node, given: Any) -> None:
    """Let the generating code of `node` be what `given` says of it: its source may not be readable in this process."""
    node.__dict__["_node_given_code"] = given


def has_given_code(node: Node) -> bool:
    """Tell whether its code was found where it was sent from."""
    return "_node_given_code" in node.__dict__
