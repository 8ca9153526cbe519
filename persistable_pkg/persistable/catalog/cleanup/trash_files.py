"""The trash of a store: payloads and leftovers that cleanups removed, until they are restored or the trash is emptied.

It is in ``.persistable/trash/<stamp>``, one folder for each cleanup: below ``files`` every file under its former path, and in ``<n>.json``
a list of the removed units, with the reasons. Where a store renames, the record moves first and then the files. Elsewhere the record alone
moves, and the files stay where they are, named by no record but that in the trash, until the trash is emptied.

A payload exists by its record, so the record is the first to go and the last to be restored. A crash in between leaves files that only a
record in the trash names: they are still restored with it, or removed with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from persistable.catalog.checksummed_json import checked, parsed
from persistable.errors import InvalidName, PayloadCorrupted, PayloadUntrusted, StoreError, StoreTooNew
from persistable.params.streams import digest_rest
from persistable.records import claims, items, items_in_progress, record_access
from persistable.records.failure import FAILED_SUFFIX
from persistable.records.record import SUFFIX, FileFact, Record
from persistable.stores.base import HIDDEN, Store, extended, stat_many
from persistable.stores.custom_path import PLACED

FOLDER = f"{HIDDEN}/trash"
UNREADABLE = (PayloadCorrupted, PayloadUntrusted, StoreTooNew, InvalidName)
"""Errors of records that cannot be read here."""
SETTLED = 3600.0
"""Seconds after which a file that no record names will not be named any more: its writer has finished or died."""
BATCH = 500
_FILES = "files"
_MARK = "~"
_TRIES = 10


class Unit(NamedTuple):
    """Files that are removed and restored together.

    base: the path prefix of its record, failure and claim; "" for files of no payload. record: path of the record or failure; None for
    files that no record names. files: paths of the files. sure: False for files that a record may still name later.
    """

    base: str
    record: str | None
    files: tuple[str, ...]
    reason: str
    size: int
    key: str = ""
    sure: bool = True


def new_stamp() -> str:
    """A name for a folder of the trash: the time in UTC, and random digits that tell two of one second apart."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.urandom(4).hex()}"


def renames(store: Store) -> bool:
    """Tell whether files of `store` can be moved without being copied."""
    return extended(store).adopts and store.local_path(FOLDER) is not None


def move_to_trash(store: Store, stamp: str, number: int, units: Sequence[Unit]) -> None:
    """Move `units`, whose claims the caller holds, to the trash: first a note that lists them, then records, then files."""
    path = f"{FOLDER}/{stamp}/{number}.json"
    note = checked({"at": time.time(), "units": [unit._asdict() for unit in units]})
    store.put(path, note)
    _move(store, {unit.record: _inside(stamp, unit.record) for unit in units if unit.record is not None})
    if renames(store):
        _move(store, {path: _inside(stamp, path) for unit in units for path in unit.files})
    if not store.exists(path):  # a restoration of everything taken by then has removed the notes
        store.put(path, note)


def _inside(stamp: str, path: str) -> str:
    """The path of a file in the trash. Records have another suffix there, so that searches for records do not find them."""
    return f"{FOLDER}/{stamp}/{_FILES}/{path}{_MARK if path.endswith((SUFFIX, FAILED_SUFFIX)) else ''}"


def _outside(path: str) -> str:
    """The path that a file in the trash had before."""
    plain = path.removesuffix(_MARK)
    return plain if plain.endswith((SUFFIX, FAILED_SUFFIX)) else path


def _move(store: Store, paths: dict[str, str]) -> None:
    """Move each file, by renaming where possible; skip files that are gone."""
    if renames(store):
        for path, to in paths.items():
            with suppress(FileNotFoundError):
                _rename(store, path, to)
        return
    remaining = iter(paths.items())
    while some := dict(islice(remaining, BATCH)):
        data = store.get_many(some)
        extended(store).change_many({some[path]: content for path, content in data.items()}, delete=data)


def _rename(store: Store, path: str, to: str) -> None:
    """Rename a file; try again where its empty target folder has been removed meanwhile. Raises FileNotFoundError."""
    place = str(store.local_path(path))
    for _ in range(_TRIES):
        try:
            return extended(store).adopt(place, to)
        except StoreError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            if not os.path.exists(place):
                raise error.__cause__ from None
    return extended(store).adopt(place, to)


# ------------------------------------------------------------------ content


class TrashedUnit(NamedTuple):
    """A unit in the trash: the stamp of its cleanup, the time of that, the unit, and those of its files that are in the trash."""

    stamp: str
    at: float
    unit: Unit
    moved: frozenset[str]

    @property
    def label(self) -> str:
        """The key of the payload, else its path prefix, else one of its paths."""
        return self.unit.key or self.unit.base or next(iter(self.moved), "?")


def units_in_trash(store: Store) -> Iterator[TrashedUnit]:
    """Yield the units in the trash of `store`, one cleanup after the other."""
    stamps: dict[str, list[str]] = {}
    for path in store.list(FOLDER):
        stamp, _, rest = path.removeprefix(FOLDER + "/").partition("/")
        stamps.setdefault(stamp, []).append(rest)
    for stamp, paths in sorted(stamps.items()):
        yield from _held_in(store, stamp, paths)


def _held_in(store: Store, stamp: str, paths: Iterable[str]) -> Iterator[TrashedUnit]:
    begin = _FILES + "/"
    inside = {_outside(path.removeprefix(begin)) for path in paths if path.startswith(begin)}
    for at, unit in _noted(store, stamp, [path for path in paths if not path.startswith(begin)]):
        own = {path for path in (unit.record, *unit.files) if path in inside}
        if own or (unit.record is None and not renames(store) and stat_many(store, unit.files)):
            inside -= own
            yield TrashedUnit(stamp, at, unit, frozenset(own))
    at = _time_of(stamp)
    records = {path for path in inside if path.endswith(SUFFIX)}  # from here on: units whose notes are damaged
    for path, data in store.get_many([_inside(stamp, path) for path in sorted(records)]).items():
        unit = _unit_of(_outside(path.removeprefix(_inside(stamp, ""))), data)
        own = {each for each in (unit.record, *unit.files) if each in inside}
        inside -= own
        yield TrashedUnit(stamp, at, unit, frozenset(own))
    for path in sorted(inside):
        yield TrashedUnit(stamp, at, Unit("", None, (path,), "", 0), frozenset([path]))


def _noted(store: Store, stamp: str, names: Sequence[str]) -> Iterator[tuple[float, Unit]]:
    notes = store.get_many([f"{FOLDER}/{stamp}/{name}" for name in names])
    for data in notes.values():
        try:
            facts: Any = parsed(data)
            at = float(facts["at"])
            units = [Unit(**{name: fact for name, fact in unit.items() if name in Unit._fields}) for unit in facts["units"]]
            units = [unit._replace(files=tuple(unit.files)) for unit in units]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue  # the paths in the trash show where the files were
        yield from ((at, unit) for unit in units)


def _time_of(stamp: str) -> float:
    import calendar

    try:
        return float(calendar.timegm(time.strptime(stamp[:15], "%Y%m%dT%H%M%S")))
    except ValueError:
        return 0.0


def _unit_of(path: str, data: bytes) -> Unit:
    try:
        record = Record.parse(data)
    except UNREADABLE:
        return Unit(path.removesuffix(SUFFIX), path, (), "", 0)
    return Unit(path.removesuffix(SUFFIX), path, tuple(record_access.named_paths(record)), "", record.size, str(record.key))


def restorable_files(store: Store) -> set[str]:
    """The paths of files outside the trash that belong to a record in it."""
    return {path for each in units_in_trash(store) if each.unit.record is not None for path in each.unit.files if path not in each.moved}


@contextmanager
def holding_claims(whole: Store, bases: Iterable[str], holder: FrameType, abandoned: Collection[str] = ()) -> Generator[set[str]]:
    """Hold the claims on those of `bases` that are not being generated, while the block runs; yields these, and "", which needs no claim.

    whole: the store of the claims. holder: the call that uses them: claims that an interrupt leaves are released when that call is over.
    abandoned: those with a claim of a process that is gone, or without a heartbeat for long.
    """
    wanted = set(bases)
    held = claims.Claims(whole, wanted - {""}, holder)
    mine = {"", *held.bases}
    others: list[claims.Claim] = []
    try:
        for base in wanted - mine:
            claim = claims.take_over(whole, base, holder, silent=base in abandoned)  # of an owner that is gone
            if claim is not None:
                others.append(claim)
                mine.add(base)
        yield mine
    finally:
        held.release()
        for claim in others:
            claim.release()


# ------------------------------------------------------------------ restoring


class KeptItem(NamedTuple):
    """An item that stays as it is, and the reason."""

    item: Any
    why: str


def restore(store: Store, whole: Store, wanted: Sequence[TrashedUnit]) -> tuple[list[TrashedUnit], list[KeptItem]]:
    """Restore `wanted` from the trash of `store`; return the restored units, and those that stay in the trash, with the reason.

    whole: the store of the claims: `store` itself, or layers of which it is one.
    """
    back: list[TrashedUnit] = []
    left: list[KeptItem] = []
    for first in range(0, len(wanted), BATCH):
        with holding_claims(whole, [each.unit.base for each in wanted[first : first + BATCH]], claims.current_frame()) as mine:
            for each in wanted[first : first + BATCH]:
                why = "it is being generated" if each.unit.base not in mine else _obstacle(store, each)
                if why:
                    left.append(KeptItem(each, why))
                    continue
                _move(store, {_inside(each.stamp, path): path for path in each.unit.files if path in each.moved})
                if each.unit.record in each.moved:
                    _move(store, {_inside(each.stamp, each.unit.record or ""): each.unit.record or ""})
                back.append(each)
    _tidy(store, {each.stamp for each in wanted})
    return back, left


def _obstacle(store: Store, each: TrashedUnit) -> str:
    """The reason why a unit cannot be restored, in words; empty where it can."""
    unit = each.unit
    there = stat_many(store, [path for path in (unit.record, *unit.files) if path is not None])
    if unit.record is not None:
        data = store.get_many([_inside(each.stamp, unit.record)]).get(_inside(each.stamp, unit.record))
        if data is None:
            return "its record is gone"
        if unit.record in there and store.get_many([unit.record]).get(unit.record) != data:
            return "there is a newer one"
        if unit.record.endswith(FAILED_SUFFIX) and store.exists(unit.base + SUFFIX):
            return "it has been made since"
        missing = _missing(store, each, data, {path: there[path].size for path in there})
        if missing:
            return missing
    in_conflict = [path for path in each.moved if path in there and path != unit.record]
    return f"there is a file at {in_conflict[0]} by now" if in_conflict else ""


def _missing(store: Store, each: TrashedUnit, data: bytes, there: dict[str, int]) -> str:
    """The fault of the files of a record in the trash: one that is missing, or has changed."""
    gone = [path for path in each.unit.files if path not in each.moved and path not in there]
    if gone:
        return f"{gone[0]} is gone"
    if not (each.unit.record or "").endswith(SUFFIX):
        return ""
    try:
        files = [file for file in Record.parse(data).files if file.path in each.unit.files]
    except UNREADABLE:
        return ""
    inside = stat_many(store, [_inside(each.stamp, file.path) for file in files if file.path in each.moved])
    for file in files:
        size = inside[_inside(each.stamp, file.path)].size if file.path in each.moved else there[file.path]
        if size != file.size or (file.path not in each.moved and _is_placed(each.unit.base) and not is_same(store, file)):
            return f"{file.path} is another file by now"
    return ""


def _is_placed(base: str) -> bool:
    return base.startswith(PLACED + "/")


def is_same(store: Store, file: FileFact) -> bool:
    """Tell whether the file at its path has its size and digest."""
    found = store.stat(file.path)
    if found is None or found.size != file.size:
        return False
    try:
        with store.read(file.path) as reading:
            return digest_rest(reading) == (file.digest, file.size)
    except FileNotFoundError:
        return False


# ------------------------------------------------------------------ emptying


class EmptyResult(NamedTuple):
    """The number of units deleted for good, the bytes that this freed, and the units that stay for now, with the reason."""

    number: int
    """The number of units that were deleted for good."""
    size: int
    """The bytes that this freed."""
    left: list[KeptItem]
    """The units that stay for now, each with the reason."""


def empty(store: Store, whole: Store, wanted: Sequence[TrashedUnit]) -> EmptyResult:
    """Delete `wanted` for good: files, including those that never moved to the trash, then records."""
    count = size = 0
    left: list[KeptItem] = []
    for first in range(0, len(wanted), BATCH):
        with holding_claims(whole, [each.unit.base for each in wanted[first : first + BATCH]], claims.current_frame()) as mine:
            due: list[TrashedUnit] = []
            for each in wanted[first : first + BATCH]:
                why = "it is being generated" if each.unit.base not in mine else "" if _is_due(each) else "a record may be about to name it"
                if why:
                    left.append(KeptItem(each, why))
                else:
                    due.append(each)
            count += len(due)
            size += _remove(store, due)
    _tidy(store, {each.stamp for each in wanted})
    return EmptyResult(count, size, left)


def _is_due(each: TrashedUnit) -> bool:
    return each.unit.record is not None or bool(each.moved) or each.unit.sure or time.time() - each.at > SETTLED


def _remove(store: Store, due: Sequence[TrashedUnit]) -> int:
    """Delete all remaining files of `due`; return the bytes that this frees."""
    records = [_inside(each.stamp, each.unit.record) for each in due if each.unit.record is not None]
    files = [_inside(each.stamp, path) for each in due for path in each.moved if path != each.unit.record]
    files += [path for each in due for path in _unnamed(store, each)]
    size = sum(found.size for found in stat_many(store, [*files, *records]).values())
    items_in_progress.remove(store, files)
    items_in_progress.remove(store, records)  # last, as they name the other files
    return size


def _unnamed(store: Store, each: TrashedUnit) -> list[str]:
    """The files of a unit in the trash that are still at their former path, and that no record names."""
    outside = [path for path in each.unit.files if path not in each.moved]
    if not outside:
        return []
    named = named_files(store, each.unit.base)
    if named is None:
        return []
    found = [path for path in outside if path not in named]
    if not _is_placed(each.unit.base) or each.unit.record is None:
        return found
    data = store.get_many([_inside(each.stamp, each.unit.record)]).get(_inside(each.stamp, each.unit.record), b"")
    try:
        own = {file.path: file for file in Record.parse(data).files}
    except UNREADABLE:
        return []  # the owner of the file there is unknown
    return [path for path in found if path not in own or is_same(store, own[path])]


def named_files(store: Store, base: str) -> set[str] | None:
    """The files that the record at `base` names, those of items as well; None where it is damaged, so that they are unknown."""
    data = store.get_many([base + SUFFIX]).get(base + SUFFIX) if base else None
    if data is None:
        return set()
    try:
        record = Record.parse(data)
    except UNREADABLE:
        return None
    folder = items.folder_of(record)
    return set(record_access.named_paths(record)) | (set(store.list(folder)) if folder is not None else set[str]())


def _tidy(store: Store, stamps: Collection[str]) -> None:
    """Remove notes and folders of cleanups of which nothing is left: of these, and of old ones; a recent one may be running."""
    remaining = {each.stamp for each in units_in_trash(store)}
    old = time.time() - SETTLED
    gone: set[str] = set()
    for path in list(store.list(FOLDER)):
        stamp = path.removeprefix(FOLDER + "/").partition("/")[0]
        if stamp not in remaining and (stamp in stamps or _time_of(stamp) < old):
            store.delete(path)
            gone.add(stamp)
    root = store.local_path(FOLDER) if renames(store) else None
    for stamp in gone.union(stamps) - remaining if root is not None else ():
        for folder, _, _ in os.walk(Path(str(root), stamp), topdown=False):
            with suppress(OSError):
                os.rmdir(folder)
