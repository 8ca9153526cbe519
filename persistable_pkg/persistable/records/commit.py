"""The commit of a record: once the record is in its place, no file that it names is deleted, even if the call raised.

A call that puts a record may end in an interrupt or an error although the record is there: the signal came after the rename, the answer
of a server was lost, or a request continues in a library's own thread. So the record is read back. If it is there, the commit has
succeeded; if it surely is not and never will be, the new files are deleted; in doubt all files stay, of the old payload and of the new.

A payload at a custom path is written elsewhere first, and moved there once its record is in place: the record is the commit here
too. A crash in between loses nothing, as the next process that looks for the payload moves it, under the claim.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from contextlib import suppress

from persistable.errors import PayloadCorrupted, PayloadUntrusted, StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from persistable.records import claims
from persistable.records.key import Key, Place, Placed
from persistable.records.record import SUFFIX, FileFact, Record
from persistable.stores.base import Store, extended, stat_many
from persistable.stores.custom_path import PLACING, move
from persistable.stores.custom_path import attempt_path as written_at

_LOOKS, _PAUSE = 3, 0.2
uncertain_tokens: set[str] = set()
"""Tokens of attempts of this process whose records may or may not be in the store, now or later."""


class Commit:
    """The commit of one record.

    may_be_committed: whether files that it names must stay. interrupt: the exception that ended the call to put it, although it is there;
    to be raised once all is finished.
    """

    def __init__(self, store: Store, place: Place) -> None:
        self._store = store
        self._place = place
        self.may_be_committed = False
        self.interrupt: BaseException | None = None

    def put(self, record: Record, *, first: bool = False) -> None:
        """Put `record`. Raises where it is not there afterwards, or this is unknown. `first`: ClaimLost if another is there by then."""
        place, data = self._place, record.data
        path = (f"{place.name}/{place.digest}" if place.__class__ is Key else place.path) + SUFFIX
        self.may_be_committed, refused = True, False
        try:
            if first:
                refused = not self._store.create(path, data)
            else:
                self._store.put(path, data)
        except BaseException as error:
            if self._is_there(path, data, error):
                self.interrupt = None if isinstance(error, OSError) else error  # an OSError: only its answer was lost
                with suppress(StoreError):
                    self._store.put(path, data)  # some of several layers may have been left out
            else:
                if self.may_be_committed:
                    uncertain_tokens.add(record.attempt_token)
                raise
        if refused and _read_back(self._store, path, _LOOKS) != data:
            self.may_be_committed = False
            raise claims.lost_to_others(self._place.key)

    def _is_there(self, path: str, data: bytes, error: BaseException) -> bool:
        try:
            found = _read_back(self._store, path, 1 if not isinstance(error, Exception) else _LOOKS)
        except StoreError:
            return False
        if found == data:
            return True
        refused = isinstance(error, StoreReadOnly | StoreFull)
        self.may_be_committed = not (refused or (is_definite(self._store) and not isinstance(error, StoreUnavailable)))
        return False


def _read_back(store: Store, path: str, looks: int) -> bytes | None:
    """The bytes of the record committed at `path`, of several layers that in the deciding one; None where there is none."""
    for look in range(looks):
        try:
            return extended(store).deciding_store.get(path)
        except FileNotFoundError:
            return None
        except StoreUnavailable:
            if look == looks - 1:
                raise
            time.sleep(_PAUSE * (1 + look))
    return None


def is_definite(store: Store) -> bool:
    """Tell whether a call of the store that has ended, in any way, has no effect later on."""
    whole = extended(store)
    return all(extended(each).definite for each in (whole.deciding_store, whole.primary_store))  # the record may have been sent to both


def remove(store: Store, paths: Iterable[str]) -> None:
    """Delete files that no record names, as far as possible: a file that stays is garbage that no call reads.

    Files of payloads in use (Windows) are tried again at the next removal from that store.
    """
    refused = _refused.pop(store.url, set())
    for path in {*refused, *paths}:
        try:
            store.delete(path)
        except StoreReadOnly:
            if _OF_ATTEMPT.search(path) and len(refused) < _MOST_REFUSED:
                _refused.setdefault(store.url, set()).add(path)
        except StoreError:
            pass


_refused: dict[str, set[str]] = {}
_MOST_REFUSED = 1000
_OF_ATTEMPT = re.compile(r"/[0-9a-f]{32}\.[0-9a-f]{8}[./]")
"""The part of a path that no later attempt writes."""


# payloads at custom paths


def attempt_path(place: Placed, token: str) -> str:
    """The path at which the attempt `token` writes the payload of `place`; folder and name are those of the place, as formats expect."""
    return written_at(place.to, token)


def facts_in_place(files: Iterable[FileFact], place: Placed, token: str) -> tuple[FileFact, ...]:
    """The facts for the record about files that were written to `attempt_path`, with their final paths."""
    start = attempt_path(place, token)
    return tuple([file._replace(path=place.to + file.path.removeprefix(start)) for file in files])


def move_in_place(store: Store, place: Placed, record: Record) -> bool:
    """Move files written to `attempt_path` to the paths that their committed record names. False if another record is there by now."""
    if _read_back(store, place.path + SUFFIX, _LOOKS) != record.to_bytes():
        return False
    move(store, place.to, record.attempt_token, [(file.path, file.size) for file in record.files])
    local = store.local_path(attempt_path(place, record.attempt_token)) if any(file.part for file in record.files) else None
    if local is not None:
        with suppress(OSError):
            for folder in sorted((path for path in local.rglob("*") if path.is_dir()), reverse=True):
                folder.rmdir()
            local.rmdir()
    return True


def complete(store: Store, place: Placed, record: Record, *, claimed: bool = False) -> bool:
    """Finish a commit that was cut off between the record and the move. Does nothing while another process generates there.

    `claimed`: the caller has the claim. True if the payload has been moved to the paths that the record names.
    """
    if not record.files:
        return False
    last = record.files[-1].path.removeprefix(place.to)  # the file that is moved last
    if not store.exists(attempt_path(place, record.attempt_token) + last):
        return False
    if claimed:
        return move_in_place(store, place, record)
    try:
        claim = claims.take_over(store, place.path, claims.current_frame())
    except StoreReadOnly:
        return False
    if claim is None:
        return False
    try:
        return move_in_place(store, place, record)
    finally:
        claim.release()


def complete_any(store: Store, place: Placed) -> None:
    """Complete the payload at `place`, of any key, see `complete`, for a caller with the claim."""
    try:
        record = Record.parse(store.get(place.path + SUFFIX))
    except (FileNotFoundError, PayloadCorrupted, PayloadUntrusted):
        return
    with suppress(StoreError):  # a payload that may not be replaced now is read where it was written
        complete(store, place, record, claimed=True)


def as_written(store: Store, place: Placed, record: Record) -> Record:
    """The record with the present paths of files that could not be moved: the files in their place are in use, or may not be replaced."""
    start = attempt_path(place, record.attempt_token)
    files = [file._replace(path=start + file.path.removeprefix(place.to)) for file in record.files]
    there = stat_many(store, [file.path for file in files])
    named = [new if new.path in there else old for new, old in zip(files, record.files, strict=True)]
    return record.revise({"files": [list(file) for file in named]}, {}) if there else record


def abandoned(store: Store, place: Placed) -> list[str]:
    """The files that attempts at `place` have written to `attempt_path` and not moved."""
    folder, _, name = place.to.rpartition("/")
    listed = store.list(f"{PLACING}/{folder}".rstrip("/"))
    skip = len(PLACING) + 1 + (len(folder) + 1 if folder else 0)
    return [path for path in listed if path[skip + 8 : skip + 9] == "-" and f"{path[skip + 9 :]}/".startswith(f"{name}/")]
