"""Pins: payloads that a cleanup never removes, each with a reason.

A pin is a small file of the store, ``.persistable/pins/<name>/<digest>.json``: it is copied with the folder, and its path alone identifies
the pinned key, so that a damaged one still counts.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from persistable.catalog.checksummed_json import checked, parsed
from persistable.catalog.index.change_detection import stores_of
from persistable.errors import InvalidName
from persistable.records import store_format
from persistable.records.key import Key
from persistable.stores.base import HIDDEN, Store

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog

FOLDER = f"{HIDDEN}/pins"


class Pin(NamedTuple):
    """One pinned payload: its key, the reason, the time (seconds since 1970 in UTC; None where the file is damaged), and the host."""

    key: Key
    """The key of the payload."""
    reason: str
    """The reason to keep it."""
    at: float | None
    """The time at which it was pinned, seconds since 1970 in UTC; None where the file is damaged."""
    host: str
    """The host on which it was pinned."""


def pin(catalog: Catalog, key: Key, reason: str) -> Pin:
    """Pin `key`, or change the reason of its pin."""
    made = Pin(key, reason, time.time(), socket.gethostname())
    store_format.before_writing(catalog.store)
    catalog.store.put(_path(key), _to_bytes(made))
    return made


def unpin(catalog: Catalog, key: Key) -> bool:
    """Remove the pin of `key`; True if there was one."""
    return catalog.store.delete(_path(key))


def copy(store: Store, old: Key, new: Key) -> bool:
    """Pin `new` as well if `old` is pinned; return whether it is."""
    data = store.get_many([_path(old)]).get(_path(old)) if old != new else None
    if data is not None:
        store.put(_path(new), _to_bytes(_parsed(old, data)._replace(key=new)))
    return data is not None


def drop(store: Store, key: Key) -> None:
    """Remove the pin of `key`."""
    store.delete(_path(key))


def pins(store: Store) -> list[Pin]:
    """All pins, those in read-only layers as well, in the order of their keys."""
    found: dict[Key, Pin] = {}
    for each, _ in stores_of(store):
        for made in _pins_in(each):
            found.setdefault(made.key, made)
    return sorted(found.values())


def _pins_in(store: Store) -> Iterator[Pin]:
    paths = {path: key for path in store.list(FOLDER) if (key := _key_of(path)) is not None}
    for path, data in store.get_many(paths).items():
        yield _parsed(paths[path], data)


def _path(key: Key) -> str:
    return f"{FOLDER}/{key.path}.json"


def _key_of(path: str) -> Key | None:
    try:
        return Key.parse(path.removeprefix(FOLDER + "/").removesuffix(".json"))
    except InvalidName:
        return None


def _to_bytes(made: Pin) -> bytes:
    return checked({"key": str(made.key), "reason": made.reason, "at": made.at, "host": made.host})


def _parsed(key: Key, data: bytes) -> Pin:
    try:
        facts = parsed(data)
        return Pin(key, str(facts["reason"]), float(facts["at"]), str(facts["host"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return Pin(key, "its file is damaged", None, "")
