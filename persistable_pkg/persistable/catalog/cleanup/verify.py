"""`Verification`: every payload compared with the sizes and digests in its record, in each layer that has it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3

from persistable.catalog.cleanup import leftovers
from persistable.catalog.cleanup.plan import CleanupRules, collect
from persistable.catalog.cleanup.trash_files import UNREADABLE
from persistable.catalog.entry import COLUMNS, Entry
from persistable.catalog.index.change_detection import bare, stores_of
from persistable.catalog.index.rows import CORRUPT, DONE, UNTRUSTED
from persistable.errors import PayloadCorrupted, PayloadUntrusted, PersistableError
from persistable.records import commit, items
from persistable.records.files import SMALL, fetch
from persistable.records.key import Key, Placed
from persistable.records.record import SUFFIX, FileFact, Record
from persistable.records.units import duration_in_words, size_in_words
from persistable.stores.base import Store
from persistable.stores.custom_path import PLACED
from persistable.stores.local import LocalStore

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog
    from persistable.catalog.reproduce.reproduce import Reproduction

PAGE = 1000
"""Records that are verified together."""
AT_ONCE = 1 << 26
"""Bytes of small files that are read together."""
REQUESTS = 8
"""Large files of a remote store that are read at a time."""
MISSING = "missing"
SHOWN = 20
_ORDER = (DONE, MISSING, CORRUPT, UNTRUSTED)


class Fault(NamedTuple):
    """The fault of one payload: ``"missing"``, ``"corrupt"`` or ``"untrusted"``, and a description."""

    state: str
    why: str


class Verification:
    """The result of comparing every payload with its record.

    sound, corrupt, missing: entries; one of which any layer has a damaged copy is corrupt. untrusted: those that no trusted signer has
    signed, of which nothing was read. orphans: paths of files that no record names. diverging: entries that were generated again with
    another payload. faults: the fault of each entry that has one. reproductions: the result of each entry generated again. size: bytes that
    were read. seconds: that it took.
    """

    def __init__(self) -> None:
        self.sound: list[Entry] = []
        self.corrupt: list[Entry] = []
        self.missing: list[Entry] = []
        self.untrusted: list[Entry] = []
        self.orphans: list[str] = []
        self.diverging: list[Entry] = []
        self.faults: dict[Entry, Fault] = {}
        self.reproductions: dict[Entry, Reproduction] = {}
        self.size = 0
        self.seconds = 0.0

    @property
    def ok(self) -> bool:
        """True where no payload is corrupt, missing or untrusted, and none that was generated again diverges."""
        return not (self.corrupt or self.missing or self.untrusted or self.diverging)

    def _head(self) -> str:
        parts = [
            (self.sound, "sound"),
            (self.corrupt, "corrupt"),
            (self.missing, "missing"),
            (self.untrusted, "untrusted"),
            (self.diverging, "diverging"),
        ]
        counts = [f"{len(found)} {word}" for found, word in parts if found or word == "sound"]
        counts += [f"{len(self.orphans)} orphan{'s' if len(self.orphans) > 1 else ''}"] if self.orphans else []
        return f"{', '.join(counts)}; {size_in_words(self.size)} read in {duration_in_words(self.seconds)}"

    def rows(self) -> list[tuple[str, str, str]]:
        """Label, state and description of each payload with a fault, or that diverges."""
        rows = [(entry.label, fault.state, fault.why) for entry, fault in self.faults.items()]
        return rows + [(entry.label, "diverging", self.reproductions[entry].why) for entry in self.diverging]

    def __repr__(self) -> str:
        rows = self.rows()
        lines = [f"  {label}  {state}: {why}" for label, state, why in rows[:SHOWN]]
        more = [f"  and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
        return "\n".join([f"<{self._head()}>", *lines, *more])

    def _repr_html_(self) -> str:
        from persistable.graph.notebook import Html, badge, card, listing

        rows = self.rows()
        shown = [(label, badge(state), why) for label, state, why in rows[:SHOWN]]
        table = listing(["payload", "state", "why"], shown, len(rows) - len(shown)) if rows else ""
        return Html(card(self._head(), table))


def verify(catalog: Catalog, recompute: float, progress: Callable[[int, int], None] | None) -> Verification:
    """Compare all payloads of `catalog` with their records, and generate a sample again. First rebuild the index: it has no checksums."""
    if not 0 <= recompute <= 1:
        raise ValueError(f"recompute={recompute!r}: give a part of all payloads, from 0 to 1, such as 0.01")
    began = time.monotonic()
    found = Verification()
    catalog.rebuild()
    states = f"r.status IN ('{DONE}', '{CORRUPT}', '{UNTRUSTED}')"
    total: int = catalog.index.rows(f"SELECT count(*) FROM records r WHERE {states}")[0][0]
    seen: dict[Entry, Fault | None] = {}
    done = 0
    for part, (store, _) in enumerate(stores_of(catalog.store)):
        reader = _Reader(store)
        for page in _pages(catalog, part, states):
            for entry, fault in reader.faults(page):
                _note(seen, entry, fault)
            done += len(page)
            if progress is not None:
                progress(done, total)
        found.size += reader.size
    lists = {MISSING: found.missing, CORRUPT: found.corrupt, UNTRUSTED: found.untrusted}
    for entry, fault in seen.items():
        (found.sound if fault is None else lists[fault.state]).append(entry)
        if fault is not None:
            found.faults[entry] = fault
    found.orphans = _orphans(catalog)
    if recompute:
        _reproduce(catalog, found, recompute)
    found.seconds = time.monotonic() - began
    return found


def _note(seen: dict[Entry, Fault | None], entry: Entry, fault: Fault | None) -> None:
    known = seen.setdefault(entry, fault)
    if fault is not None and (known is None or _ORDER.index(known.state) < _ORDER.index(fault.state)):
        seen[entry] = fault


def _pages(catalog: Catalog, part: int, states: str) -> Iterator[list[tuple[Entry, str]]]:
    """Yield the entries of one layer with the paths of their records, a page at a time."""
    query = (
        f"SELECT {COLUMNS}, r.id, d.path, r.file FROM records r LEFT JOIN nodes n ON n.id = r.node JOIN folders d ON d.id = r.folder "
        f"WHERE d.part = ? AND r.id > ? AND {states} ORDER BY r.id LIMIT {PAGE}"
    )
    last = -1
    while rows := catalog.index.rows(query, (part, last)):
        last = rows[-1][-3]
        yield [(Entry(catalog, row[:-3]), f"{row[-2]}/{row[-1]}" if row[-2] else row[-1]) for row in rows]


class _Reader:
    """Reads the payloads of one store. size: bytes that were read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._threads = 1 if isinstance(bare(store), LocalStore) else REQUESTS
        self.size = 0

    def faults(self, page: Sequence[tuple[Entry, str]]) -> Iterator[tuple[Entry, Fault | None]]:
        """Yield each entry that is still there, and its fault; None for a sound one."""
        data = self._store.get_many([path for _, path in page])
        found: dict[int, Fault] = {}
        files: list[tuple[int, Key, FileFact]] = []
        for number, (_, path) in enumerate(page):
            if path in data:
                try:
                    record, facts = self._files(path, data[path])
                    files += [(number, record.key, fact) for fact in facts]
                except (FileNotFoundError, *UNREADABLE) as error:
                    found[number] = _fault(error)
        for number, fault in self._damage(files):
            if number not in found or fault.state == CORRUPT:
                found[number] = fault
        for number, (entry, path) in enumerate(page):
            if path in data:
                yield entry, found.get(number)

    def _files(self, path: str, data: bytes) -> tuple[Record, list[FileFact]]:
        """The record at `path`, and all files that it names. Raises FileNotFoundError, PayloadCorrupted."""
        base = path.removesuffix(SUFFIX)
        placed = base.startswith(PLACED + "/")
        record = Record.parse(data, None if placed else Key.parse(base)).checked()
        if placed:
            record = commit.as_written(self._store, Placed(*record.key, to=base.removeprefix(PLACED + "/")), record)
        return record, [*record.files, *items.item_files(self._store, record)]

    def _damage(self, files: Sequence[tuple[int, Key, FileFact]]) -> Iterator[tuple[int, Fault]]:
        small = [each for each in files if each[2].size <= SMALL]
        for some in _together(small):
            data = self._store.get_many([fact.path for _, _, fact in some])
            for number, _, fact in some:
                fault = _compared(fact, data.get(fact.path))
                if fault is not None:
                    yield number, fault
        large = [each for each in files if each[2].size > SMALL]
        self.size += sum(fact.size for _, _, fact in files)
        if self._threads == 1 or len(large) < 2:
            found: Iterable[Fault | None] = map(self._read, large)
        else:
            with ThreadPoolExecutor(self._threads, thread_name_prefix="persistable-verify") as pool:
                found = list(pool.map(self._read, large))
        yield from ((number, fault) for (number, _, _), fault in zip(large, found, strict=True) if fault is not None)

    def _read(self, each: tuple[int, Key, FileFact]) -> Fault | None:
        _, key, fact = each
        try:
            fetch(self._store, key, fact, None)
        except (FileNotFoundError, PayloadCorrupted) as error:
            return _fault(error, fact.path)
        return None


def _together(files: Sequence[tuple[int, Key, FileFact]]) -> Iterator[list[tuple[int, Key, FileFact]]]:
    """Yield batches of files that are read at once."""
    some: list[tuple[int, Key, FileFact]] = []
    size = 0
    for each in files:
        if some and size + each[2].size > AT_ONCE:
            yield some
            some, size = [], 0
        some.append(each)
        size += each[2].size
    if some:
        yield some


def _compared(fact: FileFact, data: bytes | None) -> Fault | None:
    if data is None:
        return Fault(MISSING, f"{fact.path} is missing")
    if len(data) != fact.size:
        return Fault(CORRUPT, f"{fact.path} has {len(data)} bytes, expected {fact.size}")
    digest = blake3(data).hexdigest()
    return None if digest == fact.digest else Fault(CORRUPT, f"{fact.path} has the digest {digest[:12]}, expected {fact.digest[:12]}")


def _fault(error: Exception, path: str = "") -> Fault:
    if isinstance(error, FileNotFoundError) and not isinstance(error, PersistableError):
        return Fault(MISSING, f"{path or error.filename or error} is missing")
    return Fault(UNTRUSTED if isinstance(error, PayloadUntrusted) else CORRUPT, str(error))


def _orphans(catalog: Catalog) -> list[str]:
    nothing = CleanupRules(None, False, False, None, None, None, None)
    found = collect(catalog, nothing, everywhere=True)
    kinds = (leftovers.UNNAMED, leftovers.CUT_OFF)
    return sorted(path for item in found if item.leftover is not None and item.leftover.reason in kinds for path in item.leftover.paths)


def _reproduce(catalog: Catalog, found: Verification, part: float) -> None:
    """Generate a sample of the sound entries again, and note the results."""
    from persistable.catalog.reproduce.reproduce import impossible, reproduce

    able: list[Any] = [entry for entry in found.sound if entry.made == "generated" and entry.key is not None]
    for entry in random.sample(able, math.ceil(part * len(able))):
        try:
            reproduction = reproduce(catalog.node(entry).bind(catalog.store))
        except PersistableError as error:
            reproduction = impossible(entry.key, error)
        found.reproductions[entry] = reproduction
        if reproduction.outcome == "different":
            found.diverging.append(entry)
