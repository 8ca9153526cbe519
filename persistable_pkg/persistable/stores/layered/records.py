"""Records named after their key, in caches: a cache has a record only with every file it names, and only the one of the primary."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from persistable.errors import LayersDisagreeWarning, PayloadUntrusted
from persistable.stores.layered.layer import Layer
from persistable.stores.layered.outage import Availability
from persistable.stores.layered.path_kinds import files_of
from persistable.stores.layered.primary import Primary

_REMEMBERED = 4096


class _Seen(NamedTuple):
    """A record found in the layer `source`. absent: by faster layer, the files that have to arrive there before the record."""

    path: str
    data: bytes
    source: int
    absent: dict[int, set[str]]


class CachedRecords:
    """The records in the caches of `layers`. at: the layer that decides. available: the availability of layers."""

    def __init__(self, layers: Sequence[Layer], at: Primary, available: Availability) -> None:
        self._layers = layers
        self._at = at
        self._available = available
        self._arriving: dict[str, _Seen] = {}  # by each of the files awaited

    def on_record_read(self, index: int, path: str, data: bytes, targets: Sequence[int]) -> None:
        """Copy a record found in a slow layer into those of `targets` that have its files; remember it until the others have them."""
        files = files_of(data) if index else None
        if files is None:
            return
        seen = _Seen(path, data, index, {})
        for each in targets:
            absent = self.absent(each, files)
            if absent:
                seen.absent[each] = absent
            elif absent is not None:
                self._place(each, seen)
        if len(self._arriving) > _REMEMBERED:
            self._arriving.clear()
        for name in {name for absent in seen.absent.values() for name in absent}:
            self._arriving[name] = seen

    def absent(self, index: int, files: Iterable[tuple[str, int]]) -> set[str] | None:
        """The files of a record that a layer lacks, or has in another size; None where the layer fails."""
        store = self._layers[index].store
        try:
            return {name for name, size in files if (found := store.stat(name)) is None or found.size != size}
        except OSError as error:
            self._available.skipped(index, error, "read")
            return None

    def on_file_copied(self, index: int, path: str) -> None:
        """Place a remembered record in a layer, if `path`, which has just arrived there, was its last missing file."""
        seen = self._arriving.get(path)
        absent = seen.absent.get(index) if seen is not None else None
        if seen is None or absent is None:
            return
        absent.discard(path)
        if not absent and seen.absent.pop(index, None) is not None:  # another thread may have got the last two at the same time
            self._place(index, seen)
        if not any(path in absent for absent in list(seen.absent.values())):
            self._arriving.pop(path, None)

    def _place(self, index: int, seen: _Seen) -> None:
        """Copy a record into a layer that has its files."""
        store = self._layers[index].store
        try:
            if store.create(seen.path, seen.data) and not self._still(seen):
                store.delete(seen.path)
        except PayloadUntrusted:
            pass  # a layer that does not trust the record's signer gets no copy
        except OSError as error:
            self._available.skipped(index, error, "written")

    def _still(self, seen: _Seen) -> bool:
        try:
            return self._layers[seen.source].store.get(seen.path) == seen.data
        except (OSError, PayloadUntrusted):
            return False

    def drop_outdated(self, path: str, naming: str | None = None) -> None:
        """Remove cached records that differ from the primary's. naming: only those that name this file, even if the primary has none."""
        for index in self._available.without_skipped(self._at.caches):
            store = self._layers[index].store
            try:
                cached = store.get_many([path]).get(path)  # not `get`: a record without a trusted signature is removed, too
                if cached is None:
                    continue
                if naming is not None and naming not in [name for name, _ in files_of(cached) or ()]:
                    continue
                true = self._layers[self._at.index].store.get_many([path]).get(path)
                if true == cached or (true is None and naming is None):
                    continue
                store.delete(path)
            except OSError as error:
                self._available.failed(index, error)
                continue
            warnings.warn(
                f"{path} in {store.url} was not that of {self._layers[self._at.index].store.url}, where it has been "
                f"{'deleted' if true is None else 'replaced'} since; the copy has been dropped, the other counts",
                LayersDisagreeWarning,
                stacklevel=4,
            )
