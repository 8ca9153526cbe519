"""The generating code of a node: that of its class or function, and of the functions and classes among its params."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from persistable.nodes.code import CodeOf, SentFingerprint, class_reference, code_in
from persistable.params.class_tables import ClassTable
from persistable.params.reducers import MAINS

if TYPE_CHECKING:
    from persistable.nodes.types import Node
    from persistable.params.snapshots import Snapshot


def code_of_node(node: Node) -> CodeOf | SentFingerprint:
    """The generating code: as its sender found it if the node was sent here, else as it is now."""
    given: SentFingerprint | None = node.__dict__.get("_node_given_code")
    return given if given is not None else node._node_own_code()


def code_key(node: Node) -> Any:
    """A key of the generating code: equal for nodes whose code is the same."""
    given = given_things(node)
    return (node.__class__, given) if given else node.__class__


def given_things(node: Node) -> tuple[Any, ...]:
    """The user's own functions and classes among the params, searched once."""
    kept: Snapshot | None = node.__dict__.get("_node_snapshot")
    if kept is not None and kept.plain:
        return ()
    found: tuple[Any, ...] | None = node.__dict__.get("_node_things")
    if found is None:
        found = node.__dict__["_node_things"] = code_in(_tracked(node), type(node).__module__.partition(".")[0])
    return found


def _tracked(node: Node) -> list[Any]:
    """The param values in the identity, except those whose code is followed elsewhere."""
    kept: Snapshot | None = node.__dict__.get("_node_snapshot")
    rows = kept.rows if kept is not None else ()
    if rows:
        return [value for name, value, _ in rows if name != node._node_captured]
    return list(getattr(node.params, "__dict__", {}).values())


REFERENCES = ClassTable()
"""The reference of each class."""


def reference_of(cls: type) -> str:
    """The name of the class in records, as `class_reference` gives it, computed once."""
    known: str | None = REFERENCES.found.get(id(cls))
    if known is not None:
        return known
    reference = class_reference(cls)
    if cls.__module__ not in MAINS:  # the name of a main module depends on the sender of the work
        REFERENCES.set(cls, reference)
    return reference


def use_code(node: Node, given: Any) -> None:
    """Set the generating code of `node` to `given`, since its source may not be readable in this process."""
    node.__dict__["_node_given_code"] = given


def has_given_code(node: Node) -> bool:
    """Tell whether the code of `node` was found by its sender."""
    return "_node_given_code" in node.__dict__
