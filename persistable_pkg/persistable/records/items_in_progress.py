"""Notes of items while they are being collected: the items that are complete, so that an attempt that was cut off can be resumed.

Below ``.persistable/partial/<place>``: ``begun.json`` names the folder of the items and the code that makes them, and ``<token>/<n>.json``
says that item number n is complete. All of it is removed when the items are sealed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import count, takewhile
from typing import Any, NamedTuple
from zlib import crc32

from persistable.records.items import Entry, checked_line, entry_in
from persistable.records.key import Place
from persistable.stores.base import HIDDEN, Bytes, Store, extended, stat_many

AT_ONCE = 32
"""Items that a follower requests at once."""
_MANY = 64
_DELETED = 5000


class Unsealed(NamedTuple):
    """An attempt at collecting, not yet sealed. python, quick, parts: the fingerprint of the code. made_from: facts about its upstream."""

    base: str
    key: str
    token: str
    folder: str
    python: str
    quick: str
    parts: dict[str, str]
    made_from: dict[str, Any] | None = None

    def path_of(self, number: int) -> str:
        """The path of the note that item `number` is complete."""
        return f"{self.base}/{self.token}/{number}.json"

    def to_bytes(self) -> bytes:
        """The content of ``begun.json``."""
        facts = self._asdict()
        del facts["base"]
        return _checked(facts)

    @classmethod
    def parse(cls, base: str, data: bytes) -> Unsealed | None:
        """The note in `data`, which `to_bytes` wrote; None where it is damaged."""
        try:
            data = data.partition(b"\n")[0]  # a store that signs adds a line after it
            facts: Any = json.loads(data)
            if not facts.pop("check") or _checked(facts) != data:
                return None
            return cls(base, **{name: fact for name, fact in facts.items() if name in cls._fields and name != "base"})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None


def _checked(facts: dict[str, Any]) -> bytes:
    return json.dumps({**facts, "check": f"{crc32(json.dumps(facts).encode()):08x}"}).encode()


def base_of(place: Place) -> str:
    """The folder of the notes about items at `place` while they are being collected."""
    return f"{HIDDEN}/partial/{place.path.removeprefix(HIDDEN + '/')}"


def begin(store: Store, place: Place, token: str, code: Any, made_from: dict[str, Any] | None = None) -> Unsealed:
    """Note that items are being collected at `place`, and remove the remains of earlier attempts, also of another payload at that path."""
    if store.exists(f"{base_of(place)}/begun.json") and not discard_partial(store, place):
        forget(store, place)  # it is damaged
    begun = Unsealed(base_of(place), str(place.key), token, _folder_of(place, token), code.python, code.quick, dict(code.parts), made_from)
    store.put(f"{begun.base}/begun.json", begun.to_bytes())
    return begun


def find_partial(store: Store, place: Place) -> Unsealed | None:
    """The note of items begun and not sealed at `place`; None where there is none, or that of another payload at the same path."""
    begun = _read(store, place)
    return begun if begun is not None and begun.key == str(place.key) else None


def _read(store: Store, place: Place) -> Unsealed | None:
    base = base_of(place)
    path = f"{base}/begun.json"
    if not store.exists(path):
        return None
    try:
        begun = Unsealed.parse(base, store.get(path))
    except FileNotFoundError:
        return None
    # a note that names the files of another attempt is not trusted
    return begun if begun is not None and begun.token.isalnum() and begun.folder == _folder_of(place, begun.token) else None


def _folder_of(place: Place, token: str) -> str:
    return f"{place.path}.{token}.items"


def entries_from(store: Store, begun: Unsealed, number: int) -> list[Entry]:
    """Items from `number` on, up to the first that is missing, without a listing."""
    noted = _noted_from(store, begun, number)
    if _at_once(store):
        return noted
    there = stat_many(store, [file.path for entry in noted for file in entry.files])
    return list(takewhile(lambda entry: all(file.path in there for file in entry.files), noted))


def entries(store: Store, begun: Unsealed, first: int = 0) -> dict[int, Entry]:
    """Number to item, of all complete ones from number `first` on, in order, by a listing: also after one that is missing."""
    prefix = f"{begun.base}/{begun.token}/"
    names = {path: path[len(prefix) :].removesuffix(".json") for path in store.list(prefix[:-1]) if path.startswith(prefix)}
    paths = {path: int(name) for path, name in names.items() if name.isdecimal() and int(name) >= first}
    noted = {paths[path]: entry_in(data, begun.folder) for path, data in store.get_many(list(paths)).items()} if paths else {}
    there = set(store.list(begun.folder)) if noted else set[str]()
    return {
        number: entry for number, entry in sorted(noted.items()) if entry is not None and all(file.path in there for file in entry.files)
    }


def _noted_from(store: Store, begun: Unsealed, number: int) -> list[Entry]:
    found: list[Entry] = []
    for first in count(number, AT_ONCE):
        paths = [begun.path_of(first + offset) for offset in range(AT_ONCE)]
        got = store.get_many(paths if found else paths[:1])
        if not found and got:
            got.update(store.get_many(paths[1:]))
        for path in paths:
            entry = entry_in(got[path], begun.folder) if path in got else None
            if entry is None:
                return found
            found.append(entry)
    return found


def add(store: Store, begun: Unsealed, number: int, entry: Entry, items: Mapping[str, Bytes]) -> None:
    """Put the files of an item, and a note that it is complete, in one call.

    Where the store may put the note first, readers of the note check the files of the item.
    """
    note = {begun.path_of(number): checked_line(entry, begun.folder)}
    if _at_once(store):
        extended(store).change_many(items, note)
    else:
        store.put_many({**items, **note})


def _at_once(store: Store) -> bool:
    """Tell whether the changes of one call become visible together."""
    whole = extended(store)
    return whole.batches and whole.definite


def forget(store: Store, place: Place) -> None:
    """Remove the notes, now that the items are sealed: first the one from which other processes would resume."""
    base = base_of(place)
    store.delete(f"{base}/begun.json")
    remove(store, store.list(base))


def discard_partial(store: Store, place: Place) -> bool:
    """Remove unsealed items and their notes; True if there were any."""
    begun = _read(store, place)
    if begun is None:
        return False
    remove(store, store.list(begun.folder))
    forget(store, place)
    return True


def remove(store: Store, paths: Iterable[str]) -> None:
    """Delete the files at `paths`, many at a time."""
    found = list(paths)
    if extended(store).batches:
        for first in range(0, len(found), _DELETED):
            extended(store).change_many(delete=found[first : first + _DELETED])
        return
    if len(found) < _MANY:
        for path in found:
            store.delete(path)
        return
    from concurrent.futures import ThreadPoolExecutor  # takes long to import

    with ThreadPoolExecutor(16, thread_name_prefix="persistable-remove") as pool:
        for first in range(0, len(found), _DELETED):
            for _ in pool.map(store.delete, found[first : first + _DELETED]):
                pass
