"""Move of a payload to another key: files first, then the record that names them, and only then the old one is deleted.

At every moment there is the old record with its files, or the new one, or both. Where the store is a folder the files get a second
name (a hard link), elsewhere they are copied. A payload at a custom path stays there, and its record is replaced as a whole.
"""

from __future__ import annotations

import os
from contextlib import suppress

from persistable.catalog.cleanup import pins
from persistable.catalog.cleanup.trash_files import UNREADABLE
from persistable.catalog.evolve.renamed_record import moved
from persistable.records import commit as commits
from persistable.records import record_access
from persistable.records.failure import FAILED_SUFFIX, Failure
from persistable.records.key import Key, Place, Placed
from persistable.records.record import SUFFIX, Record
from persistable.stores.base import Store, extended
from persistable.stores.custom_path import copy


def move(store: Store, old: Record, source: Place, new: Record, target: Place) -> None:
    """Give the payload of `old` the record `new`, and move its files. The caller holds the claims on `source` and `target`.

    A second call after an interruption finishes the move. Raises the errors of the store; the former record and files are then still there.
    """
    placed = isinstance(target, Placed)
    before = record_access.files_of(store, source, old)
    written: list[str] = []
    commit = commits.Commit(store, target)
    try:
        for path in [] if placed else before:
            to = moved(path, str(old.key), str(new.key))
            if to != path and _duplicate(store, path, to):
                written.append(to)
        pinned = pins.copy(store, old.key, new.key)  # before the record: once that is there, the move may count as done
        commit.put(new)
    except BaseException:
        if not commit.may_be_committed:
            commits.remove(store, written)
        raise
    if pinned:
        pins.drop(store, old.key)
    _failure_along(store, source, target)
    if not placed and source.path != target.path:
        store.delete(source.path + SUFFIX)
        commits.remove(store, before)
    if commit.interrupt is not None:
        raise commit.interrupt


def _duplicate(store: Store, path: str, to: str) -> bool:
    """Put the file at `path` at `to` as well; False where there is none."""
    size = store.stat(path)
    if size is None:
        return False  # a record without its payload, as an import of records alone leaves
    local = store.local_path(path)
    if local is not None and extended(store).adopts and hasattr(os, "link"):
        beside = extended(store).new_file(to)
        try:
            os.unlink(beside)
            os.link(local, beside)
            extended(store).adopt(beside, to)
            return True
        except (OSError, NotImplementedError):
            with suppress(OSError):
                os.unlink(beside)
    copy(store, path, store, to, size.size)
    return True


def _failure_along(store: Store, source: Place, target: Place) -> None:
    """Move the failure of the last attempt along with the payload that an earlier one has made."""
    found = record_access.find_failure(store, source)
    if found is None:
        return
    store.put(target.path + FAILED_SUFFIX, Failure(target.key, *found[1:]).to_bytes())
    if source.path != target.path:
        store.delete(source.path + FAILED_SUFFIX)


def is_another(store: Store, path: str, own: Record | None) -> bool:
    """Tell whether the record at `path` is of another attempt than `own`; a leftover of an interrupted renaming is of the same."""
    data = store.get_many([path]).get(path)
    try:
        there = None if data is None else Record.parse(data)
    except UNREADABLE:
        return True
    if there is None or own is None:
        return there is not None
    same_files = [file[2:] for file in own.head["files"]] == [file[2:] for file in there.head["files"]]
    return own.attempt_token != there.attempt_token or not same_files


def place_of(key: Key, at: str | None) -> Place:
    """The place of the payload of `key`. at: its custom path, if any."""
    return Placed(*key, to=at) if at else key
