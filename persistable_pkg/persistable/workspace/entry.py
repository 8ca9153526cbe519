"""One id of a workspace: what its seeds are, and where its nodes lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from persistable.source.inputs import Values
from persistable.stores.base import Store
from persistable.workspace.files import SeedFiles
from persistable.workspace.ids import Listing, id_of, part
from persistable.workspace.inputs import FileSeed, GivenSeed
from persistable.workspace.layout import Layout
from persistable.workspace.recipe import Slot
from persistable.workspace.workflow import Binding, unstored


class Snapshot:
    """The seeds of many ids as they are at one time, each looked at once.

    names: of the nodes that will be asked for, None for all. Raises InputVanished for a seed of all ids that is missing.
    """

    def __init__(
        self, layout: Layout, files: Mapping[str, SeedFiles], listing: Listing, ids: list[Values], names: list[str] | None
    ) -> None:
        self._files = files
        lines = layout.workflow._recipe.lines  # pyright: ignore[reportPrivateUsage]
        wanted = None if names is None else frozenset[str]().union(*[lines[name].seeds for name in names])
        self._contents: dict[str, dict[Values, str]] = {}
        self._nodes: dict[tuple[str, Values], FileSeed] = {}
        for name, seed in files.items():
            if wanted is not None and name not in wanted:
                continue
            stamps = listing.stamps.get(name, {})
            if not seed.fields:
                stamps = {(): seed.stamp(())} if seed.exists(()) else {}
            own = dict.fromkeys(part(layout.fields, values, seed.fields) for values in ids)
            self._contents[name] = seed.contents([(values, stamps[values]) for values in own if values in stamps])

    def looked_at(self, name: str) -> bool:
        """Whether that seed was looked at."""
        return name in self._contents

    def node(self, name: str, values: Values, kind: Any) -> FileSeed | None:
        """The node of a seed; None where its file was not there, or not looked at."""
        known = self._nodes.get((name, values))
        if known is None:
            content = self._contents.get(name, {}).get(values)
            if content is None:
                return None
            known = self._nodes[name, values] = FileSeed(self._files[name], values, content, kind)
        return known


class Entry(Binding):
    """The binding of one id. snapshot: what was found of its seeds; without one they are looked at each time."""

    def __init__(self, store: Store, layout: Layout, files: Mapping[str, SeedFiles], values: Values, snapshot: Snapshot | None) -> None:
        self._store = store
        self._layout = layout
        self._files = files
        self._values = values
        self._snapshot = snapshot
        self._stamps: dict[str, Any] = {}

    def seed(self, name: str, before: Any) -> Any:
        """The node of a seed as it is now."""
        member = self._layout.workflow._seed_members[name]  # pyright: ignore[reportPrivateUsage]
        files = self._files.get(name)
        if files is None:
            return before if before is not None else GivenSeed(name, member.default)
        own = part(self._layout.fields, self._values, files.fields)
        kind = self._layout.workflow._kinds[name]  # pyright: ignore[reportPrivateUsage]
        looked_at = self._snapshot is not None and self._snapshot.looked_at(name)
        found = self._snapshot.node(name, own, kind) if self._snapshot is not None and looked_at else None
        if found is not None:
            return found
        if member.has_default and (looked_at or not files.exists(own)):
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

    def placed(self, slot: Slot, node: Any) -> Any:
        """`node` where its template says, in its format; one without a template as one that is not stored."""
        template = self._layout.templates.get(slot) if isinstance(slot, str) else None
        if template is None:
            return unstored(node, self._store)
        own = part(self._layout.fields, self._values, template.fields)
        placed = node._put_at(template.format(**dict(zip(template.fields, own, strict=True))))
        placed._store = self._store
        placed.io = self._layout.formats[str(slot)]
        return placed

    def words(self) -> str:
        """The id."""
        return repr(id_of(self._values))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_snapshot": None, "_stamps": {}}
