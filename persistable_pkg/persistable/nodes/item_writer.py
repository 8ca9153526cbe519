"""Writer of yielded items: each is committed as it comes, and items that an earlier attempt committed are not written again."""

from __future__ import annotations

import time
from collections.abc import Iterator, KeysView, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from blake3 import blake3

from persistable.errors import DuplicateItem
from persistable.fileio.base import FileIO, Sink
from persistable.fileio.memory_copy import InMemoryCopy
from persistable.nodes import code
from persistable.nodes.resumption import compare_resumed, made_from
from persistable.records import files as payload
from persistable.records import items_in_progress, record_access
from persistable.records.items import Collected, Entry, checked, folder_of, stem
from persistable.records.record import Record
from persistable.records.rescue import rescue
from persistable.stores.base import Store
from persistable.stores.overlay import BufferedStore

_CONFIRM_EVERY = 1.0
"""Seconds between checks of the claim; a record is written only after a check of its own."""


class ByContent(NamedTuple):
    """An item whose key is the digest of its content."""

    payload: Any


def by_content(payload: Any) -> ByContent:
    """Inside a function that yields items: ``yield by_content(payload)`` commits it under the digest of its bytes, 32 hexadecimal digits.

    Content that is stored already is not written twice. The bytes depend on the format: those of JSON, text, arrays and
    tables depend on the value alone, those of a pickle may not.
    """
    return ByContent(payload)


class CommittedItems(payload.ExistingFile):
    """All items of one generation: they are stored, and their index is still to be written."""

    __slots__ = ("entries", "folder")

    def __init__(self, folder: str, entries: Mapping[Any, Entry]) -> None:
        self.folder = folder
        self.entries = entries

    def __repr__(self) -> str:
        return f"<{len(self.entries)} items in {self.folder}>"

    @property
    def head(self) -> list[Any]:
        """The facts for the record about the items: folder, number, bytes, and a digest of their content."""
        hasher = blake3()
        for entry in self.entries.values():
            files = [(file.part, file.size, file.digest) for file in entry.files]
            hasher.update(f"{entry.key!r} {files!r} {entry.schema!r}\n".encode("utf-8", "surrogatepass"))
        return [self.folder, len(self.entries), sum(entry.size for entry in self.entries.values()), hasher.hexdigest(length=16)]

    def commit(self, store: Store, path: str, io: FileIO[Any]) -> payload.Written:
        """Write the index at `path`."""
        from persistable.fileio.plain import BytesFileIO

        return payload.write(
            store, path, BytesFileIO(), "".join([entry.to_line(self.folder) + "\n" for entry in self.entries.values()]).encode()
        )


class ItemWriter:
    """Writer of the items of one generation."""

    def __init__(self, generation: Any) -> None:
        self._generation = generation
        self._store: Store = generation.store
        self._buffer = BufferedStore(self._store)
        self._place = generation.node.place
        self._entries: dict[Any, Entry] = {}
        self._yielded: set[Any] = set()
        self._number = 0
        self._begun: items_in_progress.Unsealed | None = None
        self._resumed = False
        self._confirmed = -_CONFIRM_EVERY
        if generation.claim is not None:
            self._resume()

    @property
    def keys(self) -> KeysView[Any]:
        """Keys of all committed items, including those of earlier attempts."""
        return self._entries.keys()

    def _resume(self) -> None:
        begun = items_in_progress.find_partial(self._store, self._place)
        if begun is None:
            return
        found = record_access.peek(self._store, self._place)
        if isinstance(found, Record) and folder_of(found) == begun.folder:
            items_in_progress.forget(self._store, self._place)  # the process that sealed them was killed before it could
            return
        numbered = items_in_progress.entries(self._store, begun)
        self._begun, self._resumed = begun, True
        self._entries = {entry.key: entry for entry in numbered.values()}
        self._number = max(numbered, default=-1) + 1
        if self._entries:
            self._compare(begun)

    def _compare(self, begun: items_in_progress.Unsealed) -> None:
        before = code.Fingerprint(begun.python, begun.quick, begun.parts)
        if compare_resumed(self._generation, before, begun.made_from, f"{len(self._entries)} items"):
            own = self._generation.code
            self._begun = begun._replace(python=own.python, quick=own.quick, parts=dict(own.parts), made_from=made_from(self._generation))
            self._store.put(f"{begun.base}/begun.json", self._begun.to_bytes())

    # taking items

    def gather(self, items: Iterator[Any]) -> CommittedItems | Collected[Any]:
        """Commit each item as it comes; the value is the items to seal, or the payload itself if there is no claim."""
        if self._generation.claim is None:
            held: Collected[Any] = Collected(None, {}, self._held(items))
            return held
        self._begin()
        try:
            for item in items:
                self._take(item)
        except Exception as error:
            if self._entries:
                error.add_note(f"{len(self._entries)} items are committed, and will not be made again; delete() makes it begin anew")
            raise
        finally:
            cast("Any", items).close()
        assert self._begun is not None
        return CommittedItems(self._begun.folder, self._entries)

    def gather_held(self, held: Mapping[Any, Any]) -> CommittedItems | Collected[Any]:
        """Commit items that are in memory."""
        return self.gather((key, held[key]) for key in held)

    def _begin(self) -> items_in_progress.Unsealed:
        if self._begun is None:
            generation = self._generation
            self._begun = items_in_progress.begin(self._store, self._place, generation.token, generation.code, made_from(generation))
        return self._begun

    def _held(self, items: Iterator[Any]) -> dict[Any, InMemoryCopy]:
        held: dict[Any, InMemoryCopy] = {}
        for item in items:
            key, value = _split_item(item, self._generation.node._node_format)
            if type(item) is not ByContent and key in held:
                raise self._duplicate(key)
            held[key] = InMemoryCopy(value, key)
            self._entries[key] = Entry(key, ())
        return held

    def _take(self, item: Any) -> None:
        key, value = _split_item(item, lambda: self._generation.io)
        if key in self._yielded and type(item) is not ByContent:
            raise self._duplicate(key)
        self._yielded.add(key)
        if key in self._entries:
            return
        self._confirm()
        begun, io = self._begin(), self._generation.io
        path = f"{begun.folder}/{stem(key)}.{self._generation.token}{io.suffix}"
        try:
            self._buffer.items.clear()
            written = payload.write(self._buffer, path, io, value)
        except Exception as error:
            error.add_note(f"it is the item {key!r:.60}")
            rescue(self._store, self._place.key, value, error, f"{stem(key)}")
            raise
        entry = Entry(key, written.files, io.schema(value))
        items_in_progress.add(self._store, begun, self._number, entry, self._buffer.puts)
        self._entries[key] = entry
        self._number += 1

    def _confirm(self) -> None:
        """Raise ClaimLost if another process has taken over: checked at intervals, not for each of many short items."""
        now = time.monotonic()
        if now - self._confirmed > _CONFIRM_EVERY:
            self._generation.claim.confirm(self._place.key)
            self._confirmed = now

    def _duplicate(self, key: Any) -> DuplicateItem:
        return DuplicateItem(
            f"{self._place.key} yields two items of the key {key!r:.60}; make its keys differ, or yield by_content(payload)",
            key=self._place.key,
            item=key,
        )

    # after the seal

    def finish(self) -> None:
        """Remove, once the record is stored, the notes and the files that an interrupted attempt has left among the items."""
        items_in_progress.forget(self._store, self._place)
        if self._resumed and self._begun is not None:
            known = {file.path for entry in self._entries.values() for file in entry.files}
            items_in_progress.remove(self._store, [path for path in self._store.list(self._begun.folder) if path not in known])


def _split_item(item: Any, io: Any) -> tuple[Any, Any]:
    """Key and payload of a yielded item."""
    if type(item) is ByContent:
        return _digest(io(), item.payload), item.payload
    kind: Any = item.__class__
    if kind is not tuple or len(item) != 2:
        raise TypeError(
            f"a generating function yields (key, payload), not a {type(item).__name__} ({item!r:.60}); "
            "yield by_content(payload) for a key made of the content, or return a list for one payload"
        )
    key, value = item
    return checked(key), value


def _digest(io: FileIO[Any], value: Any) -> str:
    io.check(value)
    hasher = blake3()

    def update(data: Any) -> None:
        if memoryview(data).nbytes:  # empty ones cannot be cast
            hasher.update(memoryview(data).cast("B"))

    io.dump(value, cast("Any", Sink(SimpleNamespace(write=update))))
    return hasher.hexdigest(length=16)
