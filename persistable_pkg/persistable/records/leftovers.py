"""Remains of killed generations, and files that a commit makes void: files that no record names, and claims that no process uses."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from persistable.errors import PayloadCorrupted, PayloadUntrusted, StoreError
from persistable.records import claims, commit, deadlock, items, items_in_progress, owners
from persistable.records.failure import FAILED_SUFFIX, Failure
from persistable.records.key import Key, Place, Placed
from persistable.records.record import SUFFIX, Record
from persistable.records.record_access import DAMAGED, UNTRUSTED, Unusable, files_of, named_paths, peek
from persistable.records.scratch import scratch_folder
from persistable.stores.base import HIDDEN, Store, extended

HANDED = f"{HIDDEN}/handed"
"""The folder of large payloads that are not persisted, on their way from one worker to others."""

_PAUSE = 0.05
_SETTLED = 3600.0
"""Seconds after which every request that was sent has ended."""


def new_handover_prefix() -> str:
    """Return the beginning of the names of all payloads that one run passes on through a store; it names the process of the run."""
    return f"{HANDED}/{owners.process_name()}.{os.urandom(4).hex()}"


def clear_handed_over(store: Store, own: str = "") -> None:
    """Remove payloads that runs of killed processes were passing on from a store, and those whose names begin with `own`."""
    with suppress(StoreError):
        for path in list(store.list(HANDED)):
            if (own and path.startswith(f"{own}.")) or owners.is_dead_name(path[len(HANDED) + 1 :].partition(".")[0]):
                store.delete(path)


def replaced(store: Store, place: Place, found: Record | Unusable | None) -> Record | Unusable | None:
    """The record that a commit at `place` will replace: the one found of this payload, or that of another payload at the same path."""
    if found is None and isinstance(place, Placed):
        try:
            return Record.parse(store.get(place.path + SUFFIX))
        except FileNotFoundError:
            return None
        except (PayloadCorrupted, PayloadUntrusted):
            return DAMAGED
    return found


def clear(store: Store, place: Place, failure: Failure | None, old: Record | Unusable | None, new: Record) -> None:
    """Remove the files that the record `new` makes void, as far as possible now: they are garbage that no call reads."""
    if failure is None and old is None:
        return
    if failure is not None:
        commit.remove(store, [place.path + FAILED_SUFFIX])
    if old is not None:
        with suppress(StoreError):
            named, folder = set(named_paths(new)), items.folder_of(new)
            void = {path for path in files_of(store, place, old) if folder is None or not path.startswith(f"{folder}/")}
            commit.remove(store, void - named)


def may_have_left(failure: Failure) -> bool:
    """Tell whether a failed attempt may have left files in doubt, and began so long ago that all its requests have ended."""
    return failure.error.startswith("persistable.errors.Store") and time.time() - failure.started > _SETTLED + failure.seconds


def tidy(store: Store, place: Place, patience: float = 0.0) -> None:
    """Remove the remains of a killed generation at `place`: its claim, and files that no record names.

    Does nothing while another process generates it. The scratch folder stays: the next attempt resumes from it. patience: seconds to wait
    for a process that was told to end, and may not have ended yet.
    """
    deadline = time.monotonic() + patience
    claim = claims.take_over(store, place.path, claims.current_frame())
    while claim is None and time.monotonic() < deadline:
        time.sleep(_PAUSE)
        claim = claims.take_over(store, place.path, claims.current_frame())
    if claim is None:
        return
    try:
        sweep(store, place)
    finally:
        claim.release()


def sweep(store: Store, place: Place, *, scratch: bool = False) -> None:
    """Remove the files at `place` that no record names, for a caller with the claim. `scratch`: the scratch folder as well."""
    if isinstance(place, Placed):
        commit.complete_any(store, place)
    found = peek(store, place)
    if isinstance(place, Placed):
        named = set(named_paths(found)) if isinstance(found, Record) else set[str]()
        commit.remove(store, set(commit.abandoned(store, place)) - named)
    if found not in (DAMAGED, UNTRUSTED):
        commit.remove(store, _unnamed(store, place, found if isinstance(found, Record) else None))
    commit.remove(store, [place.path + deadlock.SUFFIX])
    extended(store).clear_temporary(place.path)
    extended(store).clear_sources(owners.is_dead)
    if scratch:
        clear_handed_over(store)
        import shutil

        with suppress(StoreError):
            shutil.rmtree(scratch_folder(store, place), ignore_errors=True)


def _unnamed(store: Store, place: Place, record: Record | None) -> list[str]:
    begun = items_in_progress.find_partial(store, place)
    named = set(named_paths(record)) if record is not None else set[str]()
    named.update(folder for folder in (begun and begun.folder, record and items.folder_of(record)) if folder)
    listed = files_of(store, place, DAMAGED)
    if isinstance(place, Key):
        skip = len(place.path) + 1
        listed = [path for path in listed if path[skip : skip + 8] not in commit.uncertain_tokens]  # their records may still appear
    return [path for path in listed if not any(path == name or path.startswith(name + "/") for name in named)]
