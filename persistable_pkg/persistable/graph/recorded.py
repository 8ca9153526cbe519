"""A node as read from records: as much of it as a picture shows, without its class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from persistable.records.key import Key


@dataclass(frozen=True, eq=False)
class RecordNode:
    """A node of a `Graph`, read from records. params: its own, in words. kind: its class. upstream: by role."""

    key: Key
    label: str
    params: str
    kind: str
    upstream: Mapping[str, RecordNode]
    is_persisted: bool = True

    @property
    def payload_name(self) -> str:
        """The name of the payload."""
        return self.key.name
