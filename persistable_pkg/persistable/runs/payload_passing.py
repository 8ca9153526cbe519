"""Payloads of a run that are not persisted, passed from the node that generates them to the nodes that need them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from persistable.fileio.memory_copy import ATOMS, InMemoryCopy
from persistable.nodes.transitive_upstream import nodes_read
from persistable.nodes.types import is_by_payload
from persistable.records import leftovers
from persistable.records.key import Key
from persistable.runs.planner import Unit
from persistable.runs.result import RunResult
from persistable.runs.worker import taken
from persistable.stores.base import Store


class Handover:
    """The payloads of one run that are not persisted, each kept until the last node that needs it has ended.

    store: the store for large payloads of other processes. held: payloads generated in this process.
    handed: payloads from another process, as bytes or as a path in `store`. targets: keys whose payloads the `result` keeps.
    """

    def __init__(self, store: Store, targets: Collection[Key], result: RunResult) -> None:
        self._prefix = leftovers.new_handover_prefix()
        self.store = store
        self.held: dict[Unit, Any] = {}
        self.handed: dict[Unit, bytes | str] = {}
        self._targets = targets
        self._result = result
        self._users: dict[Unit, int] = {}
        self._through_store = False

    def expect(self, units: Sequence[Unit]) -> None:
        """Count the users of each payload, before any of `units` begins."""
        for unit in units:
            for source in sources_of(unit):
                if not source.node.is_persisted:
                    self._users[source] = self._users.get(source, 0) + 1

    def path(self, unit: Unit) -> str | None:
        """The path for another process to put the payload of `unit`, if it is large; None if it is persisted or not needed."""
        if unit.node.is_persisted or not (self._users.get(unit) or unit.node.key in self._targets):
            return None
        self._through_store = True
        return f"{self._prefix}.{unit.node.key.digest}.{unit.order}"  # a node of the same key may be needed in another store

    def keep(self, unit: Unit, handed: bytes | str | None, payload: Any) -> None:
        """Keep the payload of `unit`: `payload` from this process, or `handed` from another."""
        if handed is not None:
            self.handed[unit] = handed
            return
        users, is_target = self._users.get(unit), unit.node.key in self._targets
        if unit.node.is_persisted or not (users or is_target):
            return
        if payload.__class__ is not InMemoryCopy and payload.__class__ not in ATOMS:
            payload = InMemoryCopy(payload, unit.node.key)
        if users:
            self.held[unit] = payload
        if is_target:
            self._result.hold(unit.node, unit.store, payload)

    def release(self, unit: Unit) -> None:
        """Release the payloads that are kept only for `unit`."""
        for source in sources_of(unit):
            users = self._users.get(source)
            if users is not None:
                self._users[source] = users - 1
                if users == 1:
                    self.held.pop(source, None)
                    if self.handed:
                        self._drop(source)

    def _drop(self, unit: Unit) -> None:
        if unit.node.key not in self._targets:
            handed = self.handed.pop(unit, None)
            if isinstance(handed, str):
                self.store.delete(handed)

    def finish(self) -> None:
        """Give the payloads of targets from other processes to the result, and delete all from the store."""
        for unit, handed in self.handed.items():
            if unit.node.key in self._targets:
                self._result.hold(unit.node, unit.store, InMemoryCopy(taken(self.store, handed), unit.node.key))
            if isinstance(handed, str):
                self.store.delete(handed)
        if self._through_store:  # a killed worker may have left some too
            leftovers.clear_handed_over(self.store, self._prefix)


def sources_of(unit: Unit) -> Sequence[Unit]:
    """The units whose payloads, if not persisted, are passed to `unit`: its sources, and units upstream of these that its code reads."""
    sources = unit.sources
    if not sources or is_by_payload(unit.node):
        return sources or ()
    names = {node.key for node in nodes_read(unit.node) if not node.is_persisted}
    if not names:
        return sources
    found = dict.fromkeys(sources)
    stack = list(sources)
    while stack:
        for further in stack.pop().sources or ():
            if further not in found:
                stack.append(further)
                found[further] = None
    return [*sources, *[each for each in found if each.node.key in names and each not in sources]]
