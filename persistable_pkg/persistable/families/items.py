"""The items of a collected payload as nodes, from each of which a member of another family can be made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from persistable.errors import PayloadCorrupted, PayloadNotFound
from persistable.families import Family
from persistable.families.axis import Axis
from persistable.families.grid import Column, NodeFactory
from persistable.families.view import View, view_of
from persistable.fileio.base import FileIO
from persistable.nodes import follow
from persistable.nodes.binding import move_to
from persistable.nodes.construction import Construction, RecordedFacts
from persistable.nodes.node import Persistable
from persistable.nodes.types import own_store
from persistable.records import record_access
from persistable.records.items import Entry, Source, checked
from persistable.records.key import Place

if TYPE_CHECKING:
    from persistable.families.view import DataSource


@dataclass(frozen=True)
class ItemParams:
    """The identity of an item: its key."""

    item: Any


class _ItemLocation(NamedTuple):
    """The location of an item, to read it without its collecting node. entry: as it was when the family was listed."""

    place: Place
    io: FileIO[Any]
    entry: Entry | None


class Item(Persistable[Any, ItemParams]):
    """One item of a collected payload, as a node of its own: an external input, read by each node that needs it and never stored again.

    Its identity is its key, and that of the collecting node. ``node.members`` is the family of all items.
    """

    __module__ = "persistable"  # records name this path, independent of the defining module
    is_external = True
    is_persisted = False
    params: ItemParams
    _location: _ItemLocation

    @classmethod
    def of(cls, node: Persistable[Any, Any], key: Any, entry: Entry | None = None) -> Item:
        """The item `key` of the payload that `node` collects, whether or not it exists."""
        made = cls(params=ItemParams(checked(key)), payload_name=node.payload_name, tracked_persistable_dependencies=[node])
        move_to(made, own_store(node))
        made._location = _ItemLocation(node.place, node.payload_io, entry)
        return made

    @classmethod
    def _node_construction(cls, recorded: RecordedFacts) -> Construction:
        (node,) = recorded.upstream.values()
        return Construction("persistable:Item.of", (node, recorded.params.item), {})

    @staticmethod
    def all_of(node: Persistable[Any, Any]) -> Family[Any]:
        """The family of all items of `node`."""
        return Family(cast("Any", Items(node)))

    def _generate_payload(self, **_: Any) -> Any:
        store, location = self._node_use(), self._location
        source = Source(store, location.place.key, location.io)
        if location.entry is not None:
            try:
                return source.load(location.entry)
            except PayloadNotFound:
                pass  # generated anew since, so that it is stored at another path
        entry = follow.entries_at(store, location.place).get(self.params.item)
        if entry is None:
            raise PayloadNotFound(
                f"{location.place.key} has no item {self.params.item!r:.60} in {store.url}; run(node) makes them",
                key=self.key,
                nearest=None,
                differences={},
            )
        return source.load(entry)

    def _node_look(self) -> str:
        store, location = self._node_use(), self._location
        if location.entry is not None and all(store.stat(file.path) is not None for file in location.entry.files):
            return ""
        try:
            there = self.params.item in follow.entries_at(store, location.place)
        except PayloadCorrupted as error:
            return str(error)
        return "" if there else f"{location.place.key} has no item {self.params.item!r:.60}"

    def replace(self, **changes: Any) -> Any:
        """Another item of the same node: ``item=key``."""
        if changes.keys() != {"item"}:
            raise TypeError(f"an item can be replaced by another of the same node, by item=...; it was given {', '.join(changes)}")
        (node,) = self._node_upstream.values()
        return Item.of(node, changes["item"])

    def __repr__(self) -> str:
        return f"<item {self.params.item!r:.60} of {self.payload_name} [{self.key.digest[:8]}]>"


class Items:
    """The items of one node as last listed: the data source of a family."""

    def __init__(self, node: Persistable[Any, Any]) -> None:
        self.node = node
        self.name = node.payload_name
        self.default: Any = None
        """The store of a node without its own; None for the default store."""
        self._version = 0
        self._seen: tuple[str | None, dict[Any, Entry]] = (None, {})

    @property
    def sources(self) -> tuple[DataSource, ...]:
        """Itself."""
        return (self,)

    @property
    def store(self) -> Any:
        """Store of the items."""
        return own_store(self.node) or self.default or self.node.store

    @property
    def is_sealed(self) -> bool:
        """Tell whether the collected payload is complete."""
        found = record_access.peek(self.store, self.node.place)
        return found is not None and found not in (record_access.DAMAGED, record_access.UNTRUSTED)

    def look_in(self, store: Any) -> None:
        """Use `store` for the items of a node without a store of its own."""
        if self.default is not store:
            self.default = store
            if self._version:
                self.refresh()

    def version(self) -> int:
        """A number that changes whenever a refresh finds other items."""
        if not self._version:
            self.refresh()
            self._version = max(self._version, 1)
        return self._version

    def refresh(self) -> None:
        """List the items again."""
        found = record_access.find_record(self.store, self.node.place)
        token = found.attempt_token if found is not None else None
        if token is not None and token == self._seen[0]:
            return
        entries = follow.entries_at(self.store, self.node.place)
        if token is None and not entries and not self._seen[1]:
            return
        if entries != self._seen[1]:
            self._version += 1
        self._seen = (token, entries)

    def view(self) -> View:
        """The view of the items listed last, on one axis."""
        entries = self._seen[1]
        axis = Axis({self.name: list(entries)}, is_listed=True)
        return view_of(NodeFactory(_Made(self.node, entries), self.name, [None], {}, [Column(0, 0, list(entries))], [], [axis]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Items) and other.node.key == self.node.key and other.store == self.store

    def __hash__(self) -> int:
        return hash(self.node.key)


class _Made(NamedTuple):
    """Factory of the item of a key."""

    node: Persistable[Any, Any]
    entries: dict[Any, Entry]

    def __call__(self, key: Any) -> Item:
        return Item.of(self.node, key, self.entries.get(key))
