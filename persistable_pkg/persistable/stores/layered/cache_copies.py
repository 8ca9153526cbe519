"""Copies in faster layers: of items found in a slower one, and of items just written to the primary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

from persistable.errors import PayloadUntrusted
from persistable.stores.base import Bytes, byte_view
from persistable.stores.layered.layer import Layer
from persistable.stores.layered.mutable import MutableCache
from persistable.stores.layered.path_kinds import KEY, files_of, is_mutable, primary_only
from persistable.stores.layered.tee import Copies
from persistable.stores.record_file import RECORD

if TYPE_CHECKING:
    from persistable.stores.layered.outage import Availability
    from persistable.stores.layered.primary import Primary
    from persistable.stores.layered.records import CachedRecords


class CacheCopies:
    """Makes and removes the copies in the caches of a layered store; an error of a cache is reported, and tolerated."""

    def __init__(
        self, layers: Sequence[Layer], at: Primary, available: Availability, records: CachedRecords, mutable: MutableCache
    ) -> None:
        self._layers = layers
        self._at = at
        self._available = available
        self._records = records
        self._mutable = mutable

    def faster(self, index: int, size: int) -> Sequence[int]:
        """The layers that get a copy of an item of `size` bytes found in layer `index`."""
        return [each for each in (*self._at.caches, self._at.index) if each < index and each >= 0 and self.takes(each, size)]

    def takes(self, index: int, size: int) -> bool:
        """Tell whether a layer takes payloads of that size."""
        return index == self._at.index or self._layers[index].takes(size)

    def fill(self, index: int, path: str, data: bytes) -> None:
        """Put an item found in one layer into the faster ones."""
        for each in self.faster(index, len(data)) if index and not primary_only(path) else ():
            try:
                self._layers[each].store.create(path, data)
            except OSError as error:
                self._available.skipped(each, error, "written")
            else:
                self._records.on_file_copied(each, path)

    def filling(self, index: int, path: str, file: BinaryIO) -> BinaryIO:
        """A stream of `file`, or of a copy in a faster layer, made first."""
        store = self._layers[index].store
        size = store.stat(path) if index and not primary_only(path) else None
        targets: Sequence[int] = self.faster(index, size.size) if size is not None else ()
        if not targets:
            return file
        file.close()
        for each in self.copied(index, path, targets):
            try:
                return self._layers[each].store.read(path)
            except OSError as error:
                self._available.skipped(each, error, "read")
        return store.read(path)

    def copied(self, index: int, path: str, targets: Sequence[int]) -> Sequence[int]:
        """Copy a file from one layer into faster ones, piece by piece; the layers that have it now."""
        if not targets:
            return ()
        with self._layers[index].store.read(path) as file:
            copies = self.copies(path, targets)
            try:
                while copies and (piece := file.read(1 << 22)):
                    copies.write(memoryview(piece))
            except BaseException:
                copies.abort()
                raise
            filled = copies.commit()
        for each in filled:
            self._records.on_file_copied(each, path)
        return filled

    def copies(self, path: str, targets: Sequence[int]) -> Copies:
        """Begin an upload of `path` into these layers, all at once."""
        targets = [each for each in targets if not self._available.is_skipped(each)]
        limits = {each: None if each == self._at.index else self._layers[each].max_bytes for each in targets}
        stores = [(each, self._layers[each].store, limits[each]) for each in targets]
        return Copies(path, stores, lambda index, error: self._available.skipped(index, error, "written"))

    def copy_many(self, items: Mapping[str, Bytes], records: bool) -> None:
        """Put items just written to the primary into the caches."""
        if records or len(items) == 1:
            for path, data in items.items():
                self.copy(path, data)
            return
        for index in self._available.without_skipped(self._at.caches):
            taken = {path: data for path, data in items.items() if not is_mutable(path) and self.takes(index, byte_view(data).nbytes)}
            try:
                self._layers[index].store.put_many(taken)
            except OSError as error:
                self._available.skipped(index, error, "written")
                taken = {}
            for path in items.keys() - taken.keys():
                self._copy_into(index, path, items[path], None)

    def copy(self, path: str, data: Bytes) -> None:
        """Put an item just written to the primary into the caches."""
        files = files_of(data) if path.endswith(RECORD) else None
        for index in self._available.without_skipped(self._at.caches):
            self._copy_into(index, path, data, files)

    def _copy_into(self, index: int, path: str, data: Bytes, files: Sequence[tuple[str, int]] | None) -> None:
        try:
            if is_mutable(path):
                if self._mutable.put(index, path, data):
                    return
            elif self._may_have(index, path, data, files):
                self._layers[index].store.put(path, data)
                return
        except PayloadUntrusted:
            pass  # a layer that does not trust the record's signer gets no copy
        except OSError as error:
            self._available.skipped(index, error, "written")
        self.remove(index, path)

    def _may_have(self, index: int, path: str, data: Bytes, files: Sequence[tuple[str, int]] | None) -> bool:
        if path.endswith(RECORD):
            return files is not None and self._records.absent(index, files) == set()
        return self.takes(index, byte_view(data).nbytes)

    def remove(self, index: int, path: str) -> bool:
        """Remove an item from a cache, unless that is down; True if there was one."""
        if self._available.is_skipped(index):
            return False
        try:
            return self._mutable.remove(index, path) if is_mutable(path) else self._layers[index].store.delete(path)
        except OSError as error:
            self._available.skipped(index, error, "written")
            return False

    def has(self, index: int, path: str) -> bool:
        """Tell whether a layer has `path`; False where it fails."""
        try:
            return self._layers[index].store.exists(path)
        except OSError as error:
            self._available.failed(index, error)
            return False

    def drop_damaged(self, index: int, path: str) -> bool:
        """Remove a damaged copy from a layer; True if a copy was removed."""
        if self._layers[index].readonly:
            return False
        if is_mutable(path):
            return self._mutable.drop(index, path)
        key = KEY.match(path)
        if key is not None and index != self._at.index and not path.endswith(RECORD):  # its record would name a missing file
            self.remove(index, key[0] + RECORD)
        return self.remove(index, path)
