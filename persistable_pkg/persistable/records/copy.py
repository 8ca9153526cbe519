"""Copies of payloads and their records in another store: verified on the way, the record last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import BytesIO
from typing import NamedTuple

from persistable.errors import PayloadCorrupted, PayloadUntrusted, StoreError
from persistable.records import claims, items, record_access, store_format
from persistable.records import commit as commits
from persistable.records.failure import FAILED_SUFFIX
from persistable.records.files import SMALL, fetch
from persistable.records.key import Key, Placed
from persistable.records.listing import Listed
from persistable.records.record import FileFact, Record
from persistable.stores.base import Store, extended
from persistable.stores.signed import SignedStore


class Copied(NamedTuple):
    """One payload of a copy."""

    key: Key
    """The key of the payload."""
    size: int
    """The number of bytes copied."""
    there: bool
    """True if it was there already."""


def in_conflict(found: Iterable[Listed], target: Store) -> Iterator[Listed]:
    """The payloads whose path in `target` has a file that is not theirs: of another payload, edited, or put there by hand."""
    for entry in found:
        if not isinstance(entry.place, Placed) or entry.record is None or record_access.peek(target, entry.place) is not None:
            continue
        if any(target.exists(file.path) for file in entry.record.files):
            yield entry


def copy(
    found: Iterable[Listed], source: Store, target: Store, *, sign: bool = False, replace: bool = False, bare: bool = False
) -> Iterator[Copied]:
    """Copy payloads with their records from `source` to `target`, one after the other, and yield each once it is committed.

    A sound payload in `target`, made by any code, is not copied again unless `replace` is true; a file `in_conflict` is overwritten.
    bare: of a payload of which `source` has no file at all, the record alone is copied. Raises PayloadCorrupted where the
    bytes are not those the record names; nothing of that payload is then visible in `target`. Raises StoreError where a process generates
    at the same readable path of `target` at this moment.

    A record keeps its signature, byte for byte. Raises PayloadUntrusted for one that `source` or `target` does not trust, unless `sign` is
    true and only `target` does not: it is then signed by the key of `target`, so that the caller vouches for it.
    """
    store_format.before_writing(target)
    for entry in found:
        record = entry.record
        if entry.refused is not None:
            raise entry.refused
        if record is None:
            raise PayloadCorrupted(
                f"the record of {entry.place} in {source.url} is damaged, so it cannot be copied; generate it again or remove it",
                key=entry.key,
                expected="a record",
                found="damage",
            )
        if not replace and _is_there(target, entry):
            yield Copied(record.key, 0, True)
            continue
        record = for_store(record, target, sign)
        if isinstance(entry.place, Placed):
            _copy_alone(entry, record, source, target, bare)
        else:
            _copy_one(entry, record, source, target, bare)
        yield Copied(record.key, record.size, False)


def for_store(record: Record, store: Store, sign: bool) -> Record:
    """`record` in the form that `store` accepts: itself, or, with `sign`, signed anew if no key that the store trusts has signed it.

    The new signature is by the key of the store and replaces the old one. Raises PayloadUntrusted for a record that the store would
    not read.
    """
    whole = extended(store)
    holders = [layer.store for layer in whole.layers if not layer.readonly] or [store]
    asking = [each for each in holders if isinstance(each, SignedStore) and each.trust is not None]
    if all(each.signer_of(record.data) is not None for each in asking) if asking else record.signature is not None or not sign:
        return record
    if sign and whole.signer is not None:
        return record.revise({}, {}, whole.signer)
    raise PayloadUntrusted(
        f"the record of {record.key} has no signature that {store.url} trusts, so it is not copied; if you vouch for it, give "
        "that store a key and let it sign: copy(..., sign=True), or `persistable cp --sign`",
        key=record.key,
        by=(record.signature or {}).get("by"),
        format="",
    )


def _is_there(target: Store, entry: Listed) -> bool:
    have = record_access.peek(target, entry.place)
    return isinstance(have, Record) and record_access.missing_file(target, have) is None


def is_bare(store: Store, record: Record) -> bool:
    """Tell whether `store` has none of the files that `record` names."""
    return bool(record.files) and not extended(store).stat_many([file.path for file in record.files])


def _copy_alone(entry: Listed, record: Record, source: Store, target: Store, bare: bool) -> None:
    """Copy one payload under its claim, since a process that generates it there writes the same file."""
    claim = claims.take_over(target, entry.place.path, claims.current_frame())
    if claim is None:
        raise StoreError(f"{entry.place} is being generated in {target.url}, so it was not copied there; copy it when that is over")
    try:
        _copy_one(entry, record, source, target, bare, claim)
    finally:
        claim.release()


def _copy_one(entry: Listed, record: Record, source: Store, target: Store, bare: bool, claim: claims.Claim | None = None) -> None:
    place = entry.place
    old = record_access.peek(target, place)
    alone = bare and is_bare(source, record)
    files = [] if alone else [*record.files, *items.item_files(source, record)]
    beside = commits.attempt_path(place, record.attempt_token) if isinstance(place, Placed) else ""
    written: list[str] = []
    commit = commits.Commit(target, place)
    try:
        for file in files:
            own = isinstance(place, Placed) and file in record.files
            path = beside + file.path.removeprefix(place.to) if own and isinstance(place, Placed) else file.path
            if own:
                written.append(path)
            _copy_file(record, file, source, target, path)
        copy_output(record, source, target)
        if claim is not None:
            claim.confirm(record.key)
        commit.put(record)
    except BaseException:
        if not commit.may_be_committed:
            commits.remove(target, written)
        raise
    if isinstance(place, Placed) and not alone and not commits.move_in_place(target, place, record):
        raise claims.lost_to_others(record.key)
    kept = {*[file.path for file in files], record.output_path}
    void = record_access.files_of(target, place, old) if isinstance(old, Record) else ()
    commits.remove(target, [place.path + FAILED_SUFFIX, *[path for path in void if path not in kept]])
    if commit.interrupt is not None:
        raise commit.interrupt


def _copy_file(record: Record, file: FileFact, source: Store, target: Store, path: str) -> None:
    try:
        if file.size <= SMALL:
            held = BytesIO()
            fetch(source, record.key, file, held)
            target.put(path, held.getvalue())
            return
        with target.write(path) as writing:
            fetch(source, record.key, file, writing)  # inside the block: a wrong file never becomes visible
    except FileNotFoundError as error:
        raise PayloadCorrupted(
            f"{file.path}, which the record of {record.key} names, is not in {source.url}; generate it again",
            key=record.key,
            expected=file.path,
            found="nothing",
        ) from error


def copy_output(record: Record, source: Store, target: Store) -> None:
    """Copy the output of a payload, where there is any: a record is sound without it."""
    path = record.output_path
    if path is not None:
        with suppress(FileNotFoundError):
            target.put(path, source.get(path))
