"""Items in memory over a store: `OverlayStore` reads them first, `BufferedStore` also keeps new items there until they are committed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from persistable.stores.base import BaseStore, Bytes, Stat, Store, check_path, check_paths, check_prefix, in_folder
from persistable.stores.forwarding import ForwardingStore


class OverlayStore(ForwardingStore):
    """A store with some content in memory: reads look into `items` first. A change goes to the store, and drops the item.

    items: bytes by path; None hides the item that the store may have there.
    """

    def __init__(self, store: Store, items: dict[str, bytes | None] | None = None) -> None:
        self.store = store
        self.items: dict[str, bytes | None] = {} if items is None else items

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OverlayStore) and super().__eq__(other) and self.items == other.items

    __hash__ = ForwardingStore.__hash__

    # the store below knows neither stamps nor neighbours of items in memory
    get_stamped, list_around = BaseStore.get_stamped, BaseStore.list_around

    # --- reading

    def get(self, path: str) -> bytes:
        data = self.items.get(path)
        if data is None:
            self._check_there(path)
            return self.store.get(path)
        return data

    def read(self, path: str) -> BinaryIO:
        data = self.items.get(path)
        if data is None:
            self._check_there(path)
            return self.store.read(path)
        return BytesIO(data)

    def _check_there(self, path: str) -> None:
        if path in self.items:
            raise FileNotFoundError(errno.ENOENT, "nothing is stored here", f"{self.url}/{path}")

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        return self._with_items(paths, self.store.get_many)

    def get_with_colocated(self, paths: Iterable[str]) -> dict[str, bytes]:
        found = self._with_items(paths, super().get_with_colocated)
        return {path: data for path, data in found.items() if self.items.get(path, data) is data}

    def _with_items(self, paths: Iterable[str], ask: Callable[[list[str]], dict[str, bytes]]) -> dict[str, bytes]:
        items, rest = self.items, list[str]()
        found: dict[str, bytes] = {}
        for path in paths:
            if path not in items:
                rest.append(path)
            elif (data := items[path]) is not None:
                found[path] = data
        return {**ask(rest), **found} if rest else found

    def exists(self, path: str) -> bool:
        return self.items[path] is not None if path in self.items else self.store.exists(path)

    def stat(self, path: str) -> Stat | None:
        return _stat(self.items[path]) if path in self.items else self.store.stat(path)

    def stat_many(self, paths: Iterable[str]) -> dict[str, Stat]:
        wanted = list(paths)
        found = {path: stat for path in wanted if (stat := _stat(self.items.get(path))) is not None}
        rest = [path for path in wanted if path not in self.items]
        return {**super().stat_many(rest), **found} if rest else found

    def list(self, prefix: str = "") -> Iterator[str]:
        items, behind = self._in_folder(check_prefix(prefix)), self.store.list(prefix)
        return chain(items, (path for path in behind if path not in self.items and path not in items))

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        items, behind = self._in_folder(check_prefix(prefix)), super().scan(prefix)
        return chain(items.items(), (found for found in behind if found[0] not in self.items and found[0] not in items))

    def _in_folder(self, prefix: str) -> dict[str, Stat]:
        found = [(path, _stat(data)) for path, data in self.items.items() if in_folder(path, prefix)]
        return {path: stat for path, stat in found if stat is not None}

    # --- writing: the store alone decides about a path that was changed there

    def put(self, path: str, data: Bytes) -> None:
        self.store.put(path, data)
        self.items.pop(path, None)

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        self.store.put_many(items)
        self._forget(items)

    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        return self._write(path, self.store.write(path))

    @contextmanager
    def _write(self, path: str, block: AbstractContextManager[BinaryIO]) -> Generator[BinaryIO]:
        with block as file:
            yield file
        self._forget([path])

    def adopt(self, source: str | os.PathLike[str], path: str) -> None:
        super().adopt(source, path)
        self._forget([path])

    def create(self, path: str, data: Bytes) -> bool:
        if self.items.get(path) is not None:
            return False
        created = self.store.create(path, data)
        self._forget([path])
        return created

    def create_many(self, items: Mapping[str, Bytes]) -> set[str]:
        absent = {path: data for path, data in items.items() if self.items.get(path) is None}
        created = super().create_many(absent)
        self._forget(absent)
        return created

    def create_fresh(self, items: Mapping[str, Bytes]) -> tuple[set[str], set[str]]:
        return self.create_many(items), set()  # an item in memory may agree with them

    def delete(self, path: str) -> bool:
        found = self.exists(path)
        self.store.delete(path)
        self._forget([path])
        return found

    def change_many(self, *stages: Mapping[str, Bytes], delete: Iterable[str] = ()) -> None:
        deleted = list(delete)
        super().change_many(*stages, delete=deleted)
        for paths in (*stages, deleted):
            self._forget(paths)

    def _forget(self, paths: Iterable[str]) -> None:
        for path in paths:
            self.items.pop(path, None)

    def heal(self, path: str, sound: Callable[[BinaryIO], bool]) -> bool:
        """Heal the store below, and drop an item in memory that is not sound: the store may have a sound one by now."""
        dropped = super().heal(path, sound)
        data = self.items.get(path)
        if data is None or sound(BytesIO(data)):
            return dropped
        self._forget([path])
        return True


class BufferedStore(OverlayStore):
    """A store whose puts and deletes wait in `items`, to be committed by its creator.

    Streamed, adopted and exclusively created items go to the store at once.
    """

    @property
    def deciding_store(self) -> Store:
        return self  # the store below has none of these changes yet

    def put(self, path: str, data: Bytes) -> None:
        self.items[check_path(path)] = data if type(data) is bytes else bytes(data)

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        check_paths(items)
        self.items.update({path: data if type(data) is bytes else bytes(data) for path, data in items.items()})

    def change_many(self, *stages: Mapping[str, Bytes], delete: Iterable[str] = ()) -> None:
        for stage in stages:
            self.put_many(stage)
        for path in delete:
            self.delete(path)

    def create(self, path: str, data: Bytes) -> bool:
        self._delete_now([path])
        return super().create(path, data)

    def create_many(self, items: Mapping[str, Bytes]) -> set[str]:
        self._delete_now(items)
        return super().create_many(items)

    def _delete_now(self, paths: Iterable[str]) -> None:
        """Delete now those of `paths` that wait to be deleted, before items are created there."""
        for path in paths:
            if path in self.items and self.items[path] is None:
                self.store.delete(path)

    def delete(self, path: str) -> bool:
        found = self.exists(path)
        self.items[path] = None
        return found

    def local_path(self, path: str) -> Path | None:
        return None if path in self.items else self.store.local_path(path)

    @property
    def puts(self) -> dict[str, bytes]:
        """Items that wait to be put."""
        return {path: data for path, data in self.items.items() if data is not None}

    @property
    def deletes(self) -> list[str]:
        """Paths that wait to be deleted."""
        return [path for path, data in self.items.items() if data is None]


def _stat(data: bytes | None) -> Stat | None:
    return None if data is None else Stat(len(data), None)
