"""One id of a workspace: its seeds, and the locations of its nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from persistable.families.sources.inputs import Values
from persistable.families.workspaces.files import SeedFiles
from persistable.families.workspaces.graph import NodeName
from persistable.families.workspaces.ids import Listing, id_of, part
from persistable.families.workspaces.layout import Layout
from persistable.families.workspaces.seeds import FileSeed, GivenSeed, Seed
from persistable.families.workspaces.workflow import Binding, unstored
from persistable.nodes.binding import move_to
from persistable.nodes.node_template import NodeTemplate
from persistable.nodes.types import Node
from persistable.stores.base import Store


class Snapshot:
    """The seeds of many ids at one time, each looked at once, and the nodes of these ids.

    names: of the nodes to be used; seeds that these do not depend on are not read. Raises InputVanished for a seed that is removed
    meanwhile.
    """

    def __init__(
        self, store: Store, layout: Layout, files: Mapping[str, SeedFiles], listing: Listing, ids: list[Values], names: Iterable[str]
    ) -> None:
        self.listing = listing
        self.ids = ids
        self._store = store
        self._layout = layout
        self._files = files
        self._kinds = layout.workflow._kinds  # pyright: ignore[reportPrivateUsage]
        self._makers = layout.workflow._makers  # pyright: ignore[reportPrivateUsage]
        self._definitions = layout.workflow._graph.needed(*names)  # pyright: ignore[reportPrivateUsage]
        self._contents: dict[str, dict[Values, str]] = {}
        self._templates: dict[str, NodeTemplate] = {}
        self._shared: dict[tuple[str, Values], Any] = {}
        for name in [definition.node_name for definition in self._definitions if isinstance(definition.template, Seed)]:
            seed = files.get(str(name))
            if seed is None:
                continue
            stamps = listing.stamps.get(seed.name, {})
            if not seed.fields:
                stamps = {(): seed.stamp(())} if seed.exists(()) else {}
            own = dict.fromkeys(part(layout.fields, values, seed.fields) for values in ids)
            self._contents[seed.name] = seed.contents([(values, stamps[values]) for values in own if values in stamps])
            self._templates[seed.name] = NodeTemplate(FileSeed(seed, (), "", self._kinds[seed.name]), ("content",))

    def missing(self) -> set[str]:
        """The seeds shared by all ids that are missing, and have no default."""
        return {
            name for name in self._contents if not self._files[name].fields and () not in self._contents[name] and not self._default(name)
        }

    def _default(self, name: str) -> bool:
        return self._layout.workflow._seed_members[name].has_default  # pyright: ignore[reportPrivateUsage]

    def nodes(self, values: Values) -> dict[NodeName, Any]:
        """The nodes of one id, and everything upstream. Raises InputVanished if a seed is missing."""
        nodes: dict[NodeName, Any] = {}
        for node_name, template, _, _ in self._definitions:
            if isinstance(template, Seed):
                nodes[node_name] = self.seed(str(node_name), values)
            else:
                nodes[node_name] = placed(self._store, self._layout, node_name, values, self._makers[node_name].node(nodes))
        return nodes

    def covers(self, name: str) -> bool:
        """Tell whether the snapshot has read that seed."""
        return name in self._contents

    def seed(self, name: str, values: Values) -> Any:
        """The node of a seed of one id. Raises InputVanished if it is missing."""
        files = self._files.get(name)
        fields = files.fields if files is not None else ()
        own = part(self._layout.fields, values, fields)
        if len(own) == len(values):
            return self._made(name, files, own)
        known = self._shared.get((name, own))  # shared by several ids
        if known is None:
            known = self._shared[name, own] = self._made(name, files, own)
        return known

    def _made(self, name: str, files: SeedFiles | None, own: Values) -> Any:
        content = self._contents.get(name, {}).get(own)
        if content is not None:
            return self._templates[name].node({"content": content}, {}, {"_values": own})
        if files is None or self._default(name):
            return GivenSeed(name, self._layout.workflow._seed_members[name].default)  # pyright: ignore[reportPrivateUsage]
        return FileSeed(files, own, files.content(own, files.stamp(own)), self._kinds[name])


def placed(store: Store, layout: Layout, node_name: NodeName, values: Values, node: Node) -> Any:
    """Place a new `node` at the path of its template, in its format; without a template, as one that is not stored."""
    if not isinstance(node_name, str) or node_name not in layout.templates:
        return unstored(node, store)
    move_to(node, store, layout.path(node_name, values))
    node.io = layout.formats[node_name]
    return node


class IdBinding(Binding):
    """The binding of one id. snapshot: its seeds as read before; without it they are looked at on each access."""

    def __init__(self, store: Store, layout: Layout, files: Mapping[str, SeedFiles], values: Values, snapshot: Snapshot | None) -> None:
        self._store = store
        self._layout = layout
        self._files = files
        self._values = values
        self._snapshot = snapshot
        self._stamps: dict[str, Any] = {}

    def seed(self, name: str, before: Any) -> Any:
        """The current node of a seed; `before` if it is unchanged."""
        member = self._layout.workflow._seed_members[name]  # pyright: ignore[reportPrivateUsage]
        files = self._files.get(name)
        if files is None:
            return before if before is not None else GivenSeed(name, member.default)
        if self._snapshot is not None and self._snapshot.covers(name):
            return before if before is not None else self._snapshot.seed(name, self._values)
        own = part(self._layout.fields, self._values, files.fields)
        kind = self._layout.workflow._kinds[name]  # pyright: ignore[reportPrivateUsage]
        if member.has_default and not files.exists(own):
            return before if isinstance(before, GivenSeed) else GivenSeed(name, member.default)
        return self._looked_at(name, files, own, before, kind)

    def _looked_at(self, name: str, files: SeedFiles, values: Values, before: Any, kind: Any) -> FileSeed:
        stamp = files.stamp(values)
        if isinstance(before, FileSeed) and stamp is not None and stamp == self._stamps.get(name):
            return before
        content = files.content(values, stamp)
        self._stamps[name] = stamp
        if isinstance(before, FileSeed) and before.params.content == content:
            return before
        return FileSeed(files, values, content, kind)

    def placed(self, node_name: NodeName, node: Node) -> Any:
        """Place a new `node` in the workspace."""
        return placed(self._store, self._layout, node_name, self._values, node)

    def words(self) -> str:
        """The id as text."""
        return repr(id_of(self._values))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_snapshot": None, "_stamps": {}}
