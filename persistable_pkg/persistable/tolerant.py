"""`optional` and `any_of`: upstream that may fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from persistable.core import Persistable
from persistable.errors import UpstreamFailed

T = TypeVar("T")


@dataclass(frozen=True)
class _OptionalParams:
    default: Any = None


class _Optional(Persistable[Any, _OptionalParams]):
    __module__ = "persistable"  # in records for ever, wherever the class is defined
    node: Persistable[Any, Any]
    payload_name = "optional"
    _persisted = False
    _needs = "optional"

    def _stands_for(self) -> Sequence[Any]:
        return [self.node]

    def _generate_payload(self, **_: Any) -> Any:
        try:
            return self.node.payload
        except UpstreamFailed:
            return self.params.default


class _AnyOf(Persistable[Any, None]):
    __module__ = "persistable"  # in records for ever, wherever the class is defined
    nodes: list[Persistable[Any, Any]]
    payload_name = "any_of"
    _persisted = False
    _needs = "any"

    def _stands_for(self) -> Sequence[Any]:
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
    """`node` as an upstream that may fail: its payload, or `default` where it could not be generated.

    What depends on it waits until it has ended either way. A payload made from the default is kept like any other: delete it once `node`
    works, to have it made from the real one.
    """
    return _Optional(node=node, default=default)


def any_of(*nodes: Persistable[T, Any]) -> Persistable[T, Any]:
    """The payload of whichever of `nodes` is there first; of several that are there, of the first named. Fails only if all of them do."""
    if not nodes:
        raise TypeError("any_of needs at least one node")
    return _AnyOf(nodes=list(nodes))
