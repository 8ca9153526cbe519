"""What a generation leaves that was killed, or that a commit makes void: files that no record names, and claims that nobody uses."""

from __future__ import annotations

from contextlib import suppress

from persistable import checkpoints, circles, claims, collected, commits, unsealed
from persistable.errors import PayloadCorrupted, StoreError
from persistable.holdings import DAMAGED, files_of, peek
from persistable.key import Key, Place, Placed
from persistable.record import FAILED_SUFFIX, SUFFIX, Failure, Record
from persistable.stores.base import Store


def replaced(store: Store, place: Place, found: Record | str | None) -> Record | str | None:
    """What a commit at `place` will replace: what was found of this payload, or another's that has the same path."""
    if found is None and isinstance(place, Placed):
        try:
            return Record.parse(store.get(place.path + SUFFIX))
        except FileNotFoundError:
            return None
        except PayloadCorrupted:
            return DAMAGED
    return found


def clear(store: Store, place: Place, failure: Failure | None, old: Record | str | None, kept: set[str]) -> None:
    """Remove what a new record, which names `kept`, makes void, as far as that can be done now: it is garbage that nobody reads."""
    with suppress(StoreError):
        if failure is not None:
            store.delete(place.path + FAILED_SUFFIX)
        if old is not None:
            for path in files_of(store, place, old):
                if path not in kept:
                    store.delete(path)


def tidy(store: Store, place: Place) -> None:
    """Remove what a generation at `place` left that was killed: its claim, and files that no record names.

    Does nothing while anybody else generates it. The scratch folder stays: the next attempt goes on from there.
    """
    claim = claims.take_over(store, place.path, claims.here())
    if claim is None:
        return
    try:
        sweep(store, place)
    finally:
        claim.release()


def sweep(store: Store, place: Place, *, scratch: bool = False) -> None:
    """Remove the files at `place` that no record names, for whoever has the claim. `scratch`: the scratch folder as well."""
    if isinstance(place, Placed):
        commits.complete_any(store, place)
        commits.remove(store, commits.abandoned(store, place))
    found = peek(store, place)
    if found != DAMAGED:
        commits.remove(store, _unnamed(store, place, found if isinstance(found, Record) else None))
    commits.remove(store, [place.path + circles.SUFFIX])
    clear_temporary = getattr(store, "clear_temporary", None)
    if clear_temporary is not None:
        clear_temporary(place.path)
    clear_sources = getattr(store, "clear_sources", None)
    if clear_sources is not None:
        clear_sources(claims.is_dead)
    if scratch:
        import shutil

        with suppress(StoreError):
            shutil.rmtree(checkpoints.scratch_folder(store, place), ignore_errors=True)


def _unnamed(store: Store, place: Place, record: Record | None) -> list[str]:
    begun = unsealed.find(store, place)
    named = {file.path for file in record.files} if record is not None else set[str]()
    named.update(folder for folder in (begun and begun.folder, record and collected.folder_of(record)) if folder)
    listed = files_of(store, place, DAMAGED)
    if isinstance(place, Key):
        skip = len(place.path) + 1
        listed = [path for path in listed if path[skip : skip + 8] not in commits.doubtful]  # their records may come yet
    return [path for path in listed if not any(path == name or path.startswith(name + "/") for name in named)]
