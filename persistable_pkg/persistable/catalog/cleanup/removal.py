"""Removal of a collection: planned again, claimed, and moved to the trash, records first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from persistable.catalog.cleanup import leftovers, trash_files
from persistable.catalog.cleanup.collection import Candidate, CleanupResult, Collection
from persistable.catalog.cleanup.trash_files import UNREADABLE, KeptItem, Unit
from persistable.catalog.index.change_detection import stores_of
from persistable.catalog.index.rows import CORRUPT, FAILED, UNTRUSTED, row_of
from persistable.errors import StoreReadOnly
from persistable.records import claims, items_in_progress, record_access
from persistable.records.failure import FAILED_SUFFIX
from persistable.records.key import Key, Placed
from persistable.records.record import SUFFIX, Record
from persistable.stores.base import HIDDEN, Store, stat_many
from persistable.stores.custom_path import PLACED

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog
    from persistable.catalog.cleanup.plan import CleanupRules

_PENDING = f"{HIDDEN}/pending"
CHANGED = "it has changed since"
GENERATED = "it is being generated"
NOT_BROUGHT = "it was written while a layer was down, and has not been brought there yet"


def files_of(item: Candidate, record: bytes | None = None) -> tuple[str, ...]:
    """The paths of the payload's files, in the store of `item`. record: the content of its record, if already read."""
    entry = item.entry
    if entry is None or entry.status == FAILED:
        return ()
    data = record if record is not None else item.store.get_many([item.path]).get(item.path)
    if data is None:
        return ()
    base = item.path.removesuffix(SUFFIX)
    try:
        found: Record | record_access.Unusable = Record.parse(data)
    except UNREADABLE:
        found = record_access.DAMAGED
    place = _place_of(base, found)
    if place is None:
        return ()
    files = dict.fromkeys(record_access.files_of(item.store, place, found))
    if isinstance(place, Placed) and isinstance(found, Record):  # a file of users may be at a custom path
        others = {file.path for file in found.files if not trash_files.is_same(item.store, file)}
        files = dict.fromkeys(path for path in files if path not in others)
    return tuple(files)


def _place_of(base: str, found: Record | record_access.Unusable) -> Key | Placed | None:
    key = leftovers.key_of(base)
    if key is not None:
        return key
    return Placed(*found.key, to=base.removeprefix(PLACED + "/")) if isinstance(found, Record) else None


def apply(catalog: Catalog, asked: CleanupRules, planned: Collection, progress: Callable[[int, int], None] | None) -> CleanupResult:
    """Remove the `planned` items that would still be planned now."""
    from persistable.catalog.cleanup.plan import collect, common_items

    if not planned:
        return CleanupResult((), [], [], planned.stays_in_place)
    stores = stores_of(catalog.store)
    if all(readonly for _, readonly in stores):
        raise StoreReadOnly(
            f"{catalog.store.url} was opened with readonly=True, so nothing is removed; open it without readonly", url=catalog.store.url
        )
    now = common_items(planned, collect(catalog, asked))
    known = {item.identity for item in now}
    left = [KeptItem(item, CHANGED) for item in planned if item.identity not in known]
    gone = {item.leftover.base for item in now if item.leftover is not None and item.leftover.reason == leftovers.CLAIM}
    act = _Removal(catalog.store, [store for store, readonly in stores if not readonly], gone)
    done = len(left)
    for some in _batches(now):
        act.move_to_trash(some)
        done += len(some)
        if progress is not None:
            progress(done, len(planned))
    return CleanupResult(tuple(dict.fromkeys(act.stamps.values())), act.moved, [*left, *act.left], planned.stays_in_place)


def _batches(found: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Yield batches of items of one layer, some hundreds at a time."""
    for part in sorted({item.part for item in found}):
        own = [item for item in found if item.part == part]
        for first in range(0, len(own), trash_files.BATCH):
            yield own[first : first + trash_files.BATCH]


class _Removal:
    """One running cleanup. abandoned: the path prefixes with a claim of a process that is gone. stamps: by layer, the name of its folder in
    the trash."""

    def __init__(self, whole: Store, writable: Sequence[Store], abandoned: set[str]) -> None:
        self._abandoned = abandoned
        self._whole = whole
        self._writable = writable
        self.stamps: dict[int, str] = {}
        self.moved: list[Candidate] = []
        self.left: list[KeptItem] = []
        self._number = 0

    def move_to_trash(self, some: Sequence[Candidate]) -> None:
        """Move items of one layer to its trash, except those that are being generated."""
        store, part = some[0].store, some[0].part
        with trash_files.holding_claims(self._whole, [_base_of(item) for item in some], claims.current_frame(), self._abandoned) as mine:
            free = [item for item in some if _base_of(item) in mine]
            self.left += [KeptItem(item, GENERATED) for item in some if _base_of(item) not in mine]
            going = self._unchanged(store, [item for item in free if item.leftover is None])
            lost = [(item, item.leftover) for item in free if item.leftover is not None and self._is_still(store, item)]
            units = [unit for _, unit in going]
            units += [Unit(left.base, None, left.paths, left.reason, left.size, "", left.sure) for _, left in lost if left.moves]
            copies = self._copies(store, units)
            self._drop(copies)
            if units:
                trash_files.move_to_trash(store, self.stamps.setdefault(part, trash_files.new_stamp()), self._number, units)
                self._number += 1
            self._drop(copies)  # those that were made meanwhile
            leftovers.remove(store, self._whole, [left for _, left in lost if not left.moves], self._abandoned)
        self.moved += [*(item for item, _ in going), *(item for item, _ in lost)]

    def _unchanged(self, store: Store, some: Sequence[Candidate]) -> list[tuple[Candidate, Unit]]:
        """The payloads and failures whose record has not changed since the plan, each with the files to move."""
        found: list[tuple[Candidate, Unit]] = []
        data = store.get_many([item.path for item in some])
        pending = store.get_many([f"{_PENDING}/{item.path}" for item in some]) if len(self._writable) > 1 else {}
        files = {item: files_of(item, data[item.path]) for item in some if item.path in data}
        there = stat_many(store, [path for own in files.values() for path in own])
        for item in some:
            if f"{_PENDING}/{item.path}" in pending:
                self.left.append(KeptItem(item, NOT_BROUGHT))
            elif item.path not in data or not _is_same(item, data[item.path]):
                self.left.append(KeptItem(item, CHANGED))
            else:
                own = tuple(path for path in files[item] if path in there)
                found.append((item, Unit(_base_of(item), item.path, own, item.reason, item.size, item.key)))
        return found

    def _is_still(self, store: Store, item: Candidate) -> bool:
        """Tell whether a leftover is still named by no record."""
        assert item.leftover is not None
        if not item.leftover.moves or not item.leftover.base:
            return True
        named = trash_files.named_files(store, item.leftover.base)
        still = named is not None and not named.intersection(item.leftover.paths)
        if not still:
            self.left.append(KeptItem(item, CHANGED))
        return still

    def _copies(self, store: Store, units: Sequence[Unit]) -> list[tuple[Store, list[str]]]:
        """The paths of removed payloads, for each of the other writable layers: copies, which are of no use without the original."""
        paths = [path for unit in units if unit.record is not None for path in (unit.record, *unit.files)]
        return [(other, paths) for other in self._writable if other is not store and paths]

    def _drop(self, copies: Sequence[tuple[Store, list[str]]]) -> None:
        for other, paths in copies:
            records = [path for path in paths if path.endswith((SUFFIX, FAILED_SUFFIX))]
            items_in_progress.remove(other, records)
            items_in_progress.remove(other, [path for path in paths if path not in set(records)])


def _base_of(item: Candidate) -> str:
    return item.leftover.base if item.leftover is not None else item.path.removesuffix(SUFFIX).removesuffix(FAILED_SUFFIX)


def _is_same(item: Candidate, data: bytes) -> bool:
    """Tell whether `data` is the record or failure that is in the index."""
    row = row_of(item.path, data)
    if row is None or item.entry is None or row.status != item.entry.status:
        return False
    return row.status in (CORRUPT, UNTRUSTED) or row.created == item.made
