"""Import of an exported bundle, or of any store: existing payloads stay, new ones are written first and their record last."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from persistable.errors import MalformedBundle, StoreError
from persistable.params.streams import digest_rest
from persistable.records import items, listing, record_access, store_format
from persistable.records.copy import copy, in_conflict, is_bare
from persistable.records.key import Key
from persistable.records.record import SUFFIX, FileFact, Record
from persistable.stores import manifest
from persistable.stores.base import Store
from persistable.stores.manifest import ManifestEntry
from persistable.stores.open import open_store
from persistable.stores.zip import ZipStore

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog

Progress = Callable[[int, int], None]


@dataclass(repr=False)
class ImportResult:
    """The result of an import."""

    imported: list[Key] = field(default_factory=list[Key])
    """Keys of payloads that were copied, or, with ``replace=True``, replaced."""
    kept: list[Key] = field(default_factory=list[Key])
    """Keys of those that were there already, with the same bytes."""
    conflicts: list[Key] = field(default_factory=list[Key])
    """Keys of those that were there with other bytes, and stay."""
    bare: list[Key] = field(default_factory=list[Key])
    """Keys of those imported of which only the record came, as the bundle has no payload."""

    def __repr__(self) -> str:
        text = f"imported {len(self.imported)}"
        text += f" ({len(self.bare)} of them without payload)" if self.bare else ""
        text += f", kept {len(self.kept)} that were there"
        if self.conflicts:
            some = ", ".join(map(str, self.conflicts[:3])) + (" ..." if len(self.conflicts) > 3 else "")
            text += f"; {len(self.conflicts)} are there with other bytes and stay: {some}; replace=True takes the new"
        return text


def import_(catalog: Catalog, source: Any, *, replace: bool, verify: bool, sign: bool, progress: Progress | None) -> ImportResult:
    """Import everything in `source` into the store of `catalog`, as `Catalog.import_` says."""
    theirs, mine = open_store(source), catalog.store
    if theirs.url == mine.url:
        raise StoreError(f"{theirs.url} is the store itself; import from another", url=mine.url, path="")
    size = _check(theirs, verify)
    result, done = ImportResult(), 0
    for entry in listing.entries(theirs):
        record = _sound(theirs, entry)
        _take(entry, record, theirs, mine, replace, sign, result)
        done += record.size
        if progress is not None:
            progress(done, max(done, size))
    if done == 0 and not any(theirs.get_many([store_format.PATH, manifest.PATH])) and not any(listing.entries(theirs)):
        raise StoreError(f"{theirs.url} holds no payloads and never has; correct the path or URL", url=theirs.url, path="")
    return result


def _take(entry: listing.Listed, record: Record, theirs: Store, mine: Store, replace: bool, sign: bool, result: ImportResult) -> None:
    """Import one payload with its record, or a bare record, unless there is one; note the outcome in `result`."""
    bare = is_bare(theirs, record)
    there = record_access.peek(mine, entry.place)
    if isinstance(there, Record):
        if content_of(there) == content_of(record):
            if bare or record_access.missing_file(mine, there) is None:
                result.kept.append(record.key)
                return
        elif not replace or bare:
            result.conflicts.append(record.key)
            return
        elif {file.path for file in there.files} & {file.path for file in record.files}:
            record_access.delete(mine, entry.place)  # else the old record would for a moment name the new bytes
    elif not replace and any(in_conflict([entry], mine)):
        result.conflicts.append(record.key)
        return
    for _ in copy([entry], theirs, mine, sign=sign, replace=True, bare=True):
        result.imported.append(record.key)
    if bare:
        result.bare.append(record.key)


def content_of(record: Record) -> Any:
    """An identifier of the bytes of a payload, from its record: equal for equal bytes, made anywhere and by anyone."""
    collected = record.head.get("items")
    return collected[1:] if collected is not None else sorted((part, size, digest) for part, _, size, digest in record.files)


# before anything is written


def _check(store: Store, verify: bool) -> int:
    """The bytes of all payloads in `store`. Raises MalformedBundle where a record or, unless `verify` is False, a payload is damaged."""
    data = store.get_many([manifest.PATH]).get(manifest.PATH)
    listed = manifest.read_manifest(data, store.url) if data is not None else None
    if verify and listed is None and isinstance(store, ZipStore) and (damaged := store.first_damaged()) is not None:
        raise _refused(store, f"{damaged} is damaged", damaged)
    if verify and listed is not None:
        for path, (size, digest) in listed.items():
            _check_file(store, FileFact("", path, size, digest))
    size = 0
    for entry in listing.entries(store):
        record = _sound(store, entry)
        size += record.size
        if verify:
            _check_payload(store, record, listed)
    return size


def _sound(store: Store, entry: listing.Listed) -> Record:
    """The record of an entry. Raises MalformedBundle for a damaged one, PayloadUntrusted for one that `store` does not trust."""
    if entry.refused is not None:
        raise entry.refused
    if entry.record is None:
        raise _refused(store, f"the record at {entry.place.path} is damaged", entry.place.path + SUFFIX)
    return entry.record


def _check_payload(store: Store, record: Record, listed: Mapping[str, ManifestEntry] | None) -> None:
    """Raise MalformedBundle unless the files of a payload match its record, or none of them is there."""
    if is_bare(store, record):
        return
    for file in _files(store, record):
        if listed is None:
            _check_file(store, file)
        elif listed.get(file.path) != (file.size, file.digest):
            raise _refused(store, f"{file.path} has other bytes than the record of {record.key} names", file.path)


def _files(store: Store, record: Record) -> Iterator[FileFact]:
    yield from record.files
    yield from items.item_files(store, record)


def _check_file(store: Store, file: FileFact) -> None:
    try:
        with store.read(file.path) as reading:
            found = digest_rest(reading)
    except FileNotFoundError:
        raise _refused(store, f"{file.path} is missing", file.path) from None
    if found != (file.digest, file.size):
        raise _refused(store, f"{file.path} is damaged", file.path)


def _refused(store: Store, why: str, path: str) -> MalformedBundle:
    return MalformedBundle(f"{store.url} is refused: {why}. Nothing of it was imported; get a new copy of it", url=store.url, path=path)
