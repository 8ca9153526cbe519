"""Planning of a cleanup: records with a requested reason to go, except those upstream of records that stay."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from sys import intern
from typing import TYPE_CHECKING, Any, NamedTuple

from persistable.catalog.cleanup import leftovers, trash_files
from persistable.catalog.cleanup.collection import Candidate, Collection
from persistable.catalog.cleanup.leftovers import ClaimStates, Leftover, Survey
from persistable.catalog.cleanup.pins import pins
from persistable.catalog.cleanup.reachability import Cost, keys_of, most_expensive, upstream_of
from persistable.catalog.cleanup.superseded import Made, superseded
from persistable.catalog.entry import Entry
from persistable.catalog.index.change_detection import stores_of
from persistable.catalog.index.rows import CORRUPT, DONE, FAILED, UNTRUSTED
from persistable.catalog.lookup import by_rows
from persistable.catalog.query import Condition, first_layer_only
from persistable.records.failure import FAILED_SUFFIX
from persistable.records.record import BY_HAND, SUFFIX
from persistable.records.scratch import scratch_elsewhere
from persistable.records.units import bytes_in, moment_before
from persistable.stores.base import Store

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog

SAFETY_MARGIN = 60.0
"""Seconds before the start of the oldest running generation: payloads made since then may have been made for it."""

UNREACHED = "not needed by kept payloads"
FAILURE = "its last attempt failed"
COSTLY = "dear: most bytes for the time it took"
KEPT, PINNED, RUNNING, NEEDED, YOUNG = (
    "kept",
    "pinned, or upstream of a pin",
    "being generated, or upstream of that",
    "needed by something that stays",
    "younger than a running generation",
)


class CleanupRules(NamedTuple):
    """The rules of a cleanup. kept: keys, with all upstream; None where everything may stay. before: only records made before that time."""

    kept: frozenset[str] | None
    superseded: bool
    failed: bool
    before: float | None
    age: Any
    name: str | None
    max_size: int | None

    @property
    def has_reason(self) -> bool:
        """Tell whether a reason other than age and name was given."""
        return self.kept is not None or self.superseded or self.failed or self.max_size is not None


class Stored(NamedTuple):
    """One record or failure of the store."""

    key: str
    name: str
    status: str
    size: int
    seconds: float
    created: float | None
    made: str | None
    part: int
    path: str
    number: int
    """The id of its row in the index."""

    @property
    def base(self) -> str:
        """The path prefix of its record, failure and claim."""
        return self.path.removesuffix(SUFFIX).removesuffix(FAILED_SUFFIX)


def rules(
    catalog: Catalog, keep: Any, superseded: bool, failed: bool, older_than: Any, name: str | None, max_size: int | float | str | None
) -> CleanupRules:
    """The rules of these arguments of `Catalog.gc`. Raises ValueError, TypeError, UnknownKey."""
    kept: frozenset[str] | None = None
    if keep is not None:
        catalog.current()
        kept = frozenset(upstream_of(catalog.index, keys_of(catalog, keep)))
    before = None if older_than is None else moment_before(older_than, time.time())
    return CleanupRules(kept, superseded, failed, before, older_than, name, None if max_size is None else bytes_in(max_size))


def collect(catalog: Catalog, asked: CleanupRules, *, everywhere: bool = False) -> Collection:
    """The collection by the rules `asked`, of the store of `catalog` as it is now; nothing is touched.

    everywhere: include leftovers of crashes in read-only layers.
    """
    return _Plan(catalog, asked).collection(everywhere)


class _Plan:
    """The plan of a cleanup, from one snapshot of a store."""

    def __init__(self, catalog: Catalog, asked: CleanupRules) -> None:
        self._catalog = catalog
        self._asked = asked
        self._stores = stores_of(catalog.store)
        self._taken = self._claims()
        self._index = catalog.current()
        self._rows = self._read()
        self._stays: dict[str, str] = {}
        """Keys that stay despite any reason to remove them, and why."""
        self._protect()
        self._kept: dict[str, int] = {}

    def collection(self, everywhere: bool) -> Collection:
        """The items to remove, the largest first."""
        reasons = self._reasons()
        self._keep_upstream(reasons)
        if self._asked.max_size is not None:
            self._fit(reasons, self._asked.max_size)
        entries = by_rows(self._catalog, self._index, [self._rows[number].number for number in reasons])
        items = [self._item(self._rows[number], reason, entries[self._rows[number].number]) for number, reason in reasons.items()]
        items += self._leftovers(everywhere)
        items.sort(key=lambda item: (-item.size, item.name, item.path))
        stays_in_place = any(not trash_files.renames(self._stores[item.part][0]) for item in items)
        return Collection(self._catalog, self._asked, items, self._kept, stays_in_place)

    # ---------------------------------------------------------------- claims and records

    def _claims(self) -> ClaimStates:
        found = [leftovers.read_claims(store) for store, readonly in self._stores if not readonly]
        live = frozenset[str]().union(*(each.live for each in found))
        dead = frozenset[str]().union(*(each.dead for each in found)) - live
        return ClaimStates(live, dead, min((each.since for each in found if each.since is not None), default=None))

    def _read(self) -> list[Stored]:
        where = first_layer_only(Condition(f"r.status IN ('{DONE}', '{CORRUPT}', '{UNTRUSTED}', '{FAILED}')"), self._catalog.is_layered)
        query = (
            "SELECT n.key, r.name, r.status, r.size, r.seconds, r.created, r.made, d.part, d.path, r.file, r.id "
            f"{where.source} JOIN folders d ON d.id = r.folder WHERE {where.sql}"
        )
        return [_stored(*row) for row in self._index.rows(query, where.values)]

    def _protect(self) -> None:
        """Note the keys that stay despite any reason to remove them."""
        claimed = {row.key for row in self._rows if row.base in self._taken.live and row.key}
        claimed |= {base for base in self._taken.live if leftovers.key_of(base) is not None}
        for keys, why in ((claimed, RUNNING), ({str(pin.key) for pin in pins(self._catalog.store)}, PINNED)):
            self._stays.update(dict.fromkeys(upstream_of(self._index, keys), why))
        if self._asked.kept is not None:
            self._stays.update(dict.fromkeys(self._asked.kept, KEPT))

    # ---------------------------------------------------------------- reasons

    def _reasons(self) -> dict[int, str]:
        """The reason to remove each row, by its number, before the upstream of rows that stay is excluded."""
        asked = self._asked
        newer = superseded(self._catalog, self._made()) if asked.superseded else {}
        found: dict[int, str] = {}
        for number, row in enumerate(self._rows):
            reason = self._reason(row, newer) if self._may_go(row) else ""
            if reason and self._is_kept(row) is None:
                found[number] = reason
            elif reason:
                self._count(str(self._is_kept(row)))
        return found

    def _made(self) -> list[Made]:
        return [Made(row.key, row.base, row.created) for row in self._rows if row.status == DONE and row.created is not None]

    def _reason(self, row: Stored, newer: Mapping[str, str]) -> str:
        asked = self._asked
        found: list[str] = []
        if row.status == DONE and row.key in newer:
            found.append(newer[row.key])
        if asked.failed and row.status == FAILED:
            found.append(FAILURE)
        if asked.kept is not None and row.key not in asked.kept:
            found.append(UNREACHED)
        if not asked.has_reason and (asked.before is not None or asked.name is not None):
            found.append(f"older than {asked.age}" if asked.before is not None else f"called {asked.name}")
        return "; ".join(found)

    def _may_go(self, row: Stored) -> bool:
        """Tell whether age, name and layer of a record permit its removal."""
        asked = self._asked
        if self._stores[row.part][1] or (asked.name is not None and row.name != asked.name):
            return False
        return asked.before is None or (row.created is not None and row.created < asked.before)

    def _is_kept(self, row: Stored) -> str | None:
        """The reason why a record stays despite any reason to remove it; None where it may go."""
        if row.base in self._taken.live:
            return RUNNING
        why = self._stays.get(row.key)
        if why is None and self._taken.since is not None and (row.created is None or row.created > self._taken.since - SAFETY_MARGIN):
            return YOUNG
        return why

    def _keep_upstream(self, reasons: dict[int, str]) -> None:
        """Exclude records upstream of one that stays."""
        if not reasons:
            return
        stays = {row.key for number, row in enumerate(self._rows) if number not in reasons and row.status != FAILED and row.key}
        needed = upstream_of(self._index, stays) - stays
        for number in list(reasons):
            row = self._rows[number]
            if row.key in needed and row.status != FAILED:
                del reasons[number]
                self._count(NEEDED)

    def _fit(self, reasons: dict[int, str], most: int) -> None:
        """Add reasons until the records that stay, of the requested name, have at most `most` bytes."""
        counted = [number for number, row in enumerate(self._rows) if number not in reasons and row.status != FAILED]
        stored: dict[str, Cost] = {}
        barred: set[str] = set()
        excess = -most
        for number in counted:
            row = self._rows[number]
            known = stored.get(row.key, Cost(0, 0.0))
            stored[row.key] = Cost(known.size + row.size, known.seconds + row.seconds)
            if self._stores[row.part][1]:
                barred.add(row.key)
                continue
            excess += row.size if self._asked.name in (None, row.name) else 0
            if row.made in BY_HAND or row.status != DONE or not self._may_go(row) or self._is_kept(row) is not None:
                barred.add(row.key)
        taken = set(most_expensive(self._index, stored, stored.keys() - barred, excess))
        reasons.update({number: COSTLY for number in counted if self._rows[number].key in taken})

    def _count(self, why: str) -> None:
        self._kept[why] = self._kept.get(why, 0) + 1

    # ---------------------------------------------------------------- items

    def _item(self, row: Stored, reason: str, entry: Entry) -> Candidate:
        by_hand = "; put in by hand" if row.made in BY_HAND else ""
        store = self._stores[row.part][0]
        return Candidate(store, row.part, row.name, reason + by_hand, row.size, row.created, row.path, entry=entry)

    def _leftovers(self, everywhere: bool) -> Iterator[Candidate]:
        sizes = {row.base: None if row.status in (CORRUPT, UNTRUSTED) else row.size for row in self._rows if row.status != FAILED}
        rows = {row.base: row for row in self._rows}
        stores = [store for store, _ in self._stores]
        resumed = None if self._asked.before is None else max(0.0, time.time() - self._asked.before)
        for part, (store, readonly) in enumerate(self._stores):
            if readonly and not everywhere:
                continue
            survey = Survey(store, stores, sizes, self._taken, resumed)
            kinds = [survey.leftovers()]
            if part == 0:
                folder = scratch_elsewhere(self._catalog.store)
                kinds += [survey.elsewhere(folder)] if folder is not None else []
            for found in chain(*kinds):
                row = rows.get(found.base)
                name = found.name or (row.name if row is not None else "")
                if self._asked.name in (None, name):
                    yield self._left(store, part, found, name, row)

    def _left(self, store: Store, part: int, found: Leftover, name: str, row: Stored | None) -> Candidate:
        entry = by_rows(self._catalog, self._index, [row.number])[row.number] if row is not None and row.status != FAILED else None
        changed = None if found.age is None else time.time() - found.age
        return Candidate(store, part, name, found.reason, found.size, changed, found.base, entry=entry, leftover=found)


def _stored(
    key: str | None, name: str, status: str, size: int | None, seconds: float | None, created: float | None, made: str | None,
    part: int, folder: str, file: str, number: int,
) -> Stored:  # fmt: skip
    path = f"{folder}/{file}" if folder else file
    return Stored(key or "", intern(name), intern(status), size or 0, seconds or 0.0, created, made and intern(made), part, path, number)


def common_items(one: Iterable[Candidate], other: Sequence[Candidate]) -> list[Candidate]:
    """The items of `other` that are in `one` as well, in the order of `one`."""
    known = {item.identity: item for item in other}
    return [known[item.identity] for item in one if item.identity in known]
