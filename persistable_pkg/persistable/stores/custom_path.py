"""Payloads at custom paths: they are written elsewhere first, and moved there once their record is committed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from persistable.params.streams import PIECE, write_all
from persistable.stores.base import HIDDEN, Store, extended

PLACED = f"{HIDDEN}/placed"
"""The folder of the records of payloads at custom paths."""
PLACING = f"{HIDDEN}/placing"
"""The folder in which payloads for custom paths are written."""
_AT_ONCE = 1 << 20


def attempt_path(to: str, token: str) -> str:
    """The path at which the attempt `token` writes the payload for `to`; folder and name are like those of `to`: formats look at them."""
    folder, slash, name = to.rpartition("/")
    return f"{PLACING}/{folder}{slash}{token}-{name}"


def move(store: Store, to: str, token: str, files: Sequence[tuple[str, int]]) -> None:
    """Move the files of the attempt `token` from `attempt_path` to the paths its record names, in this order. files: path and size."""
    start = attempt_path(to, token)
    for path, size in files:
        with suppress(FileNotFoundError):  # moved already
            _move(store, start + path.removeprefix(to), path, size)


def _move(store: Store, source: str, target: str, size: int) -> None:
    place = store.local_path(source)
    if place is not None and (adopting := extended(store)).adopts:
        if not place.exists():
            raise FileNotFoundError(source)
        adopting.adopt(place, target)
        return
    copy(store, source, store, target, size)
    store.delete(source)


def copy(store: Store, path: str, target: Store, to: str, size: int | None = None) -> None:
    """Copy the item at `path` in one store to `to` in another, or the same; in one piece where it is known to be small."""
    if size is not None and size <= _AT_ONCE:
        target.put(to, store.get(path))
        return
    with store.read(path) as reading, target.write(to) as writing:
        while piece := reading.read(PIECE):
            write_all(writing, piece)
