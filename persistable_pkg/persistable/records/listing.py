"""The contents of a store, found from its records alone: no class, no payload and no index is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from persistable.errors import InvalidName, PayloadCorrupted, PayloadUntrusted
from persistable.records import store_format
from persistable.records.key import Key, Place, Placed, check_payload_name
from persistable.records.record import SUFFIX, Record
from persistable.stores.base import Store
from persistable.stores.custom_path import PLACED

BATCH = 500
"""Records that are requested at once."""


class Listed(NamedTuple):
    """One record of a listing."""

    place: Place
    """The place of the record; at a custom path the key is empty where the record cannot be read."""
    record: Record | None
    """The record; None where it cannot be read."""
    refused: PayloadUntrusted | None = None
    """The error for a record that the store does not trust."""

    @property
    def key(self) -> Key:
        """The key of the payload."""
        return self.place.key


def entries(store: Store, name: str = "") -> Iterator[Listed]:
    """Every record in `store`, or every one of payloads called `name`, in no particular order, a batch at a time.

    Raises InvalidName for a name that no payload can have, StoreTooNew for a store or record of a later format.
    """
    store_format.before_reading(store)
    paths = store.list(check_payload_name(name) if name else "")
    yield from _read(store, (path for path in paths if path.endswith(SUFFIX)))
    for entry in _read(store, (path for path in store.list(PLACED) if path.endswith(SUFFIX))):
        if not name or entry.key.name == name:
            yield entry


def _read(store: Store, paths: Iterable[str]) -> Iterator[Listed]:
    remaining = iter(paths)
    while batch := list(islice(remaining, BATCH)):
        for path, data in store.get_many(batch).items():
            entry = _entry(store, path.removesuffix(SUFFIX), data)
            if entry is not None:
                yield entry


def _entry(store: Store, base: str, data: bytes) -> Listed | None:
    """The entry of the file at `base`; None for a file that only looks like a record by its name."""
    place: Place | None
    try:
        record = Record.parse(data, store=store).checked()
    except (PayloadUntrusted, PayloadCorrupted, InvalidName, KeyError, ValueError) as error:
        place = Placed("", "", base.removeprefix(PLACED + "/")) if base.startswith(PLACED + "/") else _place_of(base, None)
        return None if place is None else Listed(place, None, error if isinstance(error, PayloadUntrusted) else None)
    if base == record.head["key"]:
        return Listed(record.key, record)
    place = _place_of(base, str(record.key))
    return None if place is None else Listed(place, record if place.key == record.key else None)


def _place_of(base: str, key: str | None) -> Place | None:
    """The place whose record, without suffix, is at `base`; `key` is the key in the record. None where there is no such place."""
    try:
        if not base.startswith(PLACED + "/"):
            return Key.parse(base)
        return None if key is None else Placed(*Key.parse(key), to=base.removeprefix(PLACED + "/"))
    except InvalidName:
        return None
