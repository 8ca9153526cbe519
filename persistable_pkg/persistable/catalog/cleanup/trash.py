"""`Trash`: the content of the trash of a store, listed, restored and deleted for good."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from persistable.catalog.cleanup import trash_files
from persistable.catalog.cleanup.trash_files import EmptyResult, KeptItem, TrashedUnit
from persistable.catalog.index.change_detection import stores_of
from persistable.catalog.item_sequence import ItemSequence
from persistable.errors import UnknownKey
from persistable.records.key import Key
from persistable.records.units import duration_in_words, moment_before, size_in_words

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog

SHOWN = 20


class RestoreResult(NamedTuple):
    """The units that were restored, and those that stay in the trash, each with the reason."""

    back: list[TrashedUnit]
    """The restored units."""
    left: list[KeptItem]
    """The units that stay in the trash, each with the reason."""

    @property
    def keys(self) -> list[Key]:
        """The keys of the restored payloads."""
        return [Key.parse(each.unit.key) for each in self.back if each.unit.key]

    def __repr__(self) -> str:
        stays = [f"  stays in the trash: {kept.item.label}: {kept.why}" for kept in self.left]
        return "\n".join([f"<{len(self.back)} restored>", *stays])


class Trash(ItemSequence[TrashedUnit]):
    """The content of the trash of the store of a catalog, all writable layers together."""

    def __init__(self, catalog: Catalog) -> None:
        super().__init__(())
        self._catalog = catalog
        self._stores = [store for store, readonly in stores_of(catalog.store) if not readonly]
        self._look()

    def _look(self) -> None:
        self._by_store = [(store, list(trash_files.units_in_trash(store))) for store in self._stores]
        self._items = [each for _, held in self._by_store for each in held]

    @property
    def size(self) -> int:
        """Bytes of all units."""
        return sum(each.unit.size for each in self)

    def restore(self, *items: Any) -> RestoreResult:
        """Restore the units of these keys, names or stamps, or everything. Raises UnknownKey."""
        wanted = [_wanted(each) for each in items]
        there = {store: [each for each in held if each.unit.record is not None or each.moved] for store, held in self._by_store}
        for text in wanted:
            if not any(_matches(each, text) for held in there.values() for each in held):
                raise UnknownKey(f"nothing in the trash of {self._catalog.store.url} is {text!r}; catalog.trash() lists it", text=text)
        back: list[TrashedUnit] = []
        left: list[KeptItem] = []
        for store, held in there.items():
            some = [each for each in held if not wanted or any(_matches(each, text) for text in wanted)]
            some.sort(key=lambda each: -each.at)  # of a key that was removed twice the later
            done, kept = trash_files.restore(store, self._catalog.store, some)
            back += done
            left += kept
        self._look()
        return RestoreResult(back, left)

    def empty(self, older_than: Any = None) -> EmptyResult:
        """Delete the content for good. older_than: as for `Catalog.empty_trash`."""
        before = None if older_than is None else moment_before(older_than, time.time())
        whole = EmptyResult(0, 0, [])
        for store, held in self._by_store:
            done = trash_files.empty(store, self._catalog.store, [each for each in held if before is None or each.at < before])
            whole = EmptyResult(whole.number + done.number, whole.size + done.size, [*whole.left, *done.left])
        self._look()
        return whole

    def _rows(self) -> list[tuple[str, str, str, str]]:
        now = time.time()
        return [
            (each.label, each.unit.reason, size_in_words(each.unit.size), duration_in_words(max(0.0, now - each.at)))
            for each in self[:SHOWN]
        ]

    def __repr__(self) -> str:
        lines = ["  " + "  ".join(part for part in row if part) for row in self._rows()]
        more = [f"  and {len(self) - SHOWN} more"] if len(self) > SHOWN else []
        return "\n".join([f"<{len(self)} in the trash, {size_in_words(self.size)}>", *lines, *more])

    def _repr_html_(self) -> str:
        from persistable.graph.notebook import listing, number

        rows = [(key, reason, number(size), number(taken)) for key, reason, size, taken in self._rows()]
        return listing(["payload", "reason", "size", "removed"], rows, len(self) - SHOWN)


def _wanted(item: Any) -> str:
    """A key, name or stamp as text."""
    key: Any = getattr(item, "key", item)
    return str(key)


def _matches(each: TrashedUnit, text: str) -> bool:
    key = each.unit.key or each.unit.base
    if text in (each.stamp, key, key.rpartition("/")[0]):
        return True
    name, _, digest = text.rpartition("/")
    own = key.rpartition("/")
    return bool(digest) and own[2].startswith(digest) and name in ("", own[0])
