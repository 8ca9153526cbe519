"""`optional` and `any_of`: upstream nodes that may fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from persistable.errors import UpstreamFailed
from persistable.nodes.construction import Construction, RecordedFacts, collection, grouped
from persistable.nodes.lineage import nodes_in
from persistable.nodes.node import Persistable
from persistable.nodes.roles import refuse_open
from persistable.nodes.types import is_family

T = TypeVar("T")


@dataclass(frozen=True)
class _OptionalParams:
    default: Any = None


class _Optional(Persistable[Any, _OptionalParams]):
    __module__ = "persistable"  # in records for good, whichever module defines the class
    node: Persistable[Any, Any]
    payload_name = "optional"
    is_persisted = False
    _node_needs = "optional"

    @classmethod
    def _node_construction(cls, recorded: RecordedFacts) -> Construction:
        return Construction("persistable:optional", (recorded.upstream["node"],), {"default": recorded.params.default})

    def _node_stands_for(self) -> Sequence[Any]:
        return [self.node]

    def _generate_payload(self, **_: Any) -> Any:
        try:
            return self.node.payload
        except UpstreamFailed:
            return self.params.default


class _AnyOf(Persistable[Any, None]):
    __module__ = "persistable"  # in records for good, whichever module defines the class
    nodes: list[Persistable[Any, Any]]
    payload_name = "any_of"
    is_persisted = False
    _node_needs = "any"

    def __init__(self, *nodes: Persistable[Any, Any]) -> None:
        super().__init__(nodes=list(nodes))

    @classmethod
    def _node_construction(cls, recorded: RecordedFacts) -> Construction:
        return Construction("persistable:any_of", tuple(collection(grouped(recorded.upstream))["nodes"]), {})

    def _node_stands_for(self) -> Sequence[Any]:
        return self.nodes

    def _generate_payload(self, **_: Any) -> Any:
        for node in self.nodes:
            try:
                return node.payload
            except UpstreamFailed:
                continue
        names = ", ".join(str(node.key) for node in self.nodes)
        raise UpstreamFailed(f"none of {names} could be generated", key=self.key)


def optional(node: Persistable[T, Any], default: Any = None) -> Persistable[T | Any, Any]:
    """`node` as an upstream that may fail: its payload, or `default` if it could not be generated.

    Nodes downstream wait until it has ended either way. A payload made from the default is kept like any other: delete it once `node`
    works, so that it is made from the real one. For a family: the family of its members, each made optional.
    """
    if is_family(node):
        made: Any = _Optional.over(node=node, default=default if not isinstance(default, list) else [default])
        return cast("Persistable[T | Any, Any]", made)
    refuse_open("optional", "node", nodes_in(node))
    return _Optional(node=node, default=default)


def any_of(*nodes: Persistable[T, Any]) -> Persistable[T, Any]:
    """The payload of the first of `nodes` that is available; of several available ones, the first named. Fails only if all of them do.

    For families: the family with `any_of` of the members that belong together; ``any_of(*family.nodes)`` is any one of all its members.
    """
    if not nodes:
        raise TypeError("any_of needs at least one node")
    if any(map(is_family, nodes)):
        made: Any = _AnyOf.over(*nodes)
        return cast("Persistable[T, Any]", made)
    refuse_open("any_of", "nodes", nodes_in(nodes))
    return _AnyOf(*nodes)
