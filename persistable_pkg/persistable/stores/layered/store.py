"""Several stores as one, fast to slow: a read from a slow one leaves a copy in the faster ones, a write goes to all.

The slowest layer that may be written is the *primary*. It alone decides what is committed; the faster writable ones are caches of it, each
of which may be lost, full or unreachable without loss of data. Layers slower than the primary are read-only.

A reader of any one layer, through here or on its own, never finds a record without its payload:

- A write goes to the primary first. If the process dies right after, the caches lack the file, which costs the next reader a copy; the
  other way round a payload would look committed to its creator only. A write that the primary refuses reaches no cache.
- A record is put into a cache only if that cache has every file it names, in the size it names. When a record is found in a slow
  layer, its files are not in the fast one yet: it is remembered, and placed when the last of them has arrived. A payload too large for a
  layer keeps its record out of that layer too. A process that dies in between leaves files that no record names.
- A copy of a record, or of any file named after a key that is read whole, never replaces a file: it is made by exclusive create, so that
  the copy of an old record cannot hide a new one. Then the record is read once more from the layer it came from; if it has changed there
  or is gone, the copy is removed.
- Where a new file could not be put into a cache, the old file of the cache at that path is removed.

A payload under its key is always the same, however often it is generated, so a copy of one is served without a check. For files that may
change at their path, such as a payload at a custom path and its record, or an input, see `mutable`.

Claims, heartbeats, failures and ``.persistable/`` (except ``placed/`` and ``placing/`` in it) are about running work, so they exist in
the primary only and are never copied; processes with caches of their own coordinate there. A claim of a key precedes a decision about its
payload, so it drops, with a warning, a cached record that is not the primary's. The same happens when the payload of a cached record
exists in no layer any more. Otherwise a cache that was filled before another process replaced the payload in the primary keeps serving
its own, which is complete; `LayeredStore.differences` finds such cases.

A file that no layer has is absent only if the primary answered; else another layer is its stand-in (see `primary`), or its error is
raised. Any other layer that fails is reported once, by a LayerSkippedWarning, and skipped for a while.
"""

from __future__ import annotations

import errno
import io
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NoReturn, TypeVar, cast

from persistable.errors import LayersDisagreeWarning, StoreReadOnly
from persistable.stores.base import Bytes, Stat, Store, check_path, check_prefix, extended
from persistable.stores.custom_path import PLACING, copy
from persistable.stores.layered.compare import Difference, compare, damaged_in
from persistable.stores.layered.layers import LayersOfStore
from persistable.stores.layered.path_kinds import KEY, claimed, is_mutable, is_plain, primary_only
from persistable.stores.layered.tee import Copies, Tee, end, entered
from persistable.stores.record_file import RECORD

Found = TypeVar("Found")


class LayeredStore(LayersOfStore):
    """Layers, fast to slow, each a path, a URL, a store, a `Layer`, or a mapping such as ``{"url": "s3://team", "readonly": True}``.

    A read goes to the first layer that has the bytes and leaves a copy in the faster ones that may be written. A write, and a delete, goes
    to all that may be written; files in a read-only layer stay visible. Claims are in the slowest layer that may be written. Without a
    layer that may be written, the store refuses to write.

    Raises ValueError where no layer is given.
    """

    # --- reading

    def get(self, path: str) -> bytes:
        tried: OSError | None = None
        if is_plain(path) is not None and self._available.all_do:  # a fast path: a hit in the nearest layer costs as much as there
            try:
                return self.layers[0].store.get(path)
            except OSError as error:
                tried = error
        elif _is_checked(path):
            return self._current(path, lambda store: store.get(path))
        found = self._search(path, lambda store: store.get(path), tried)
        if found is None:
            self._raise_absent(path)
        index, data = found
        if path.endswith(RECORD):
            self._records.on_record_read(index, path, data, self._cached.faster(index, 0))
        else:
            self._cached.fill(index, path, data)
        return data

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The bytes at `paths` that are there. Records of a slow layer are not copied: callers for many do not load their payloads."""
        self._ready()
        primary = self._primary
        wanted: list[str] = [check_path(path) for path in dict.fromkeys(paths)]
        missing: list[str] = [path for path in wanted if not _is_checked(path)]
        found = self._mutable.many([path for path in wanted if _is_checked(path)]) if len(missing) < len(wanted) else {}
        failed: OSError | None = None
        for index in self._available.available_layers() if missing else ():
            asked = [path for path in missing if index == self._primary or not primary_only(path)]
            if not asked:
                continue
            try:
                answers = self.layers[index].store.get_many(asked)
            except OSError as error:
                failed = self._available.failed(index, error) or failed
                continue
            found.update(answers)
            missing = [path for path in missing if path not in found]
            for path, data in answers.items():
                if not path.endswith(RECORD):
                    self._cached.fill(index, path, data)
        if failed is not None:
            if missing:
                raise failed
            self._available.skipped(self._primary, failed, "read")
        if missing and self._primary != primary:  # it failed meanwhile: ask its stand-in for all
            found.update(self.get_many(missing))
        return found

    def read(self, path: str) -> BinaryIO:
        if _is_checked(path):
            return self._current(path, lambda store: store.read(path))
        if path.endswith(RECORD):
            return io.BytesIO(self.get(path))
        while True:
            found = self._search(path, lambda store: store.read(path))
            if found is None:
                self._raise_absent(path)
            index, file = found
            try:
                return self._cached.filling(index, path, file)
            except FileNotFoundError:
                raise  # deleted meanwhile
            except OSError as error:  # cut off in the middle: that layer is skipped from now on, so others are read
                if self._available.failed(index, error) is not None:
                    raise

    def _current(self, path: str, ask: Callable[[Store], Found]) -> Found:
        """The answer of the fastest layer that has the current state of `path`."""
        self._ready()
        for _ in self.layers:
            index = self._mutable.current(path)
            if index is None:
                break
            try:
                return ask(self.layers[index].store)
            except OSError as error:
                gone = isinstance(error, FileNotFoundError)  # a copy is removed when its original is replaced
                if index == self._primary if gone else self._available.failed(index, error) is not None:
                    raise
        found = self._mutable.ask(path, ask)
        return self._raise_absent(path) if found is None else found[1]

    def exists(self, path: str) -> bool:
        return self._search(path, lambda store: store.exists(path) or None) is not None

    def stat(self, path: str) -> Stat | None:
        found = self._search(path, lambda store: store.stat(path))
        if found is None:
            return None
        return _of_layer(*found)

    def list(self, prefix: str = "") -> Iterator[str]:
        check_prefix(prefix)
        return (path for _, path, _ in self._union(prefix, lambda store: ((path, None) for path in store.list(prefix))))

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        """The files below `prefix`; size and stamp are those of the layer that decides, or of a cache for a file that only it has."""
        found = self._union(check_prefix(prefix), lambda store: extended(store).scan(prefix))
        return ((path, _of_layer(index, stat)) for index, path, stat in found)

    def _union(self, prefix: str, ask: Callable[[Store], Iterator[tuple[str, Found]]]) -> Iterator[tuple[int, str, Found]]:
        """Layer, path and fact from `ask`, for each path once: from the layers that decide, and then from the caches."""
        self._ready()
        seen: set[str] = set()
        apart = primary_only(prefix + "/")
        for index in sorted(self._available.available_layers(), key=lambda index: index in self._caches):
            if apart and index != self._primary:
                continue
            try:
                for path, stat in ask(self.layers[index].store):
                    if path in seen or (index != self._primary and primary_only(path)):
                        continue
                    if index in self._caches and is_mutable(path) and self._mutable.hides(index, path):
                        continue
                    seen.add(path)
                    yield index, path, stat
            except OSError as error:
                if self._available.failed(index, error) is not None:
                    raise

    def local_path(self, path: str) -> Path | None:
        """The local file of the first layer that has `path` as one, perhaps a new copy; None where no layer of local files takes it."""
        check_path(path)
        self._ready()
        local = [(index, place) for index, layer in enumerate(self.layers) if (place := layer.store.local_path(path)) is not None]
        if not local:
            return None
        first = next((place for index, place in local if index == self._primary), local[0][1])
        if primary_only(path) or KEY.fullmatch(path):
            return first
        places = dict(local)
        if is_mutable(path):
            current = self._mutable.current(path, places.__contains__)
            return first if current is None else places.get(current)
        found = self._search(path, lambda store: store.stat(path))
        if found is None:
            self._drop_dangling_records(path)
            return first
        index, (size, _) = found
        for each in self._cached.copied(index, path, [each for each in self._cached.faster(index, size) if each in places]):
            return places[each]
        return next((place for each, place in local if each >= index and self._cached.has(each, path)), None)

    def _search(self, path: str, ask: Callable[[Store], Found | None], tried: OSError | None = None) -> tuple[int, Found] | None:
        """The first layer with an answer, and the answer. tried: the error of the nearest layer, which was asked already."""
        self._ready()
        if _is_checked(path):
            return self._mutable.ask(path, ask)
        apart, placing, primary = primary_only(path), path.startswith(PLACING), self._primary
        failed: OSError | None = None
        for index in self._available.available_layers():
            if index != self._primary and (apart or (placing and self.layers[index].readonly)):
                continue
            try:
                if tried is not None and index == 0:
                    raise tried
                found = ask(self.layers[index].store)
            except FileNotFoundError:
                continue
            except OSError as error:
                failed = self._available.failed(index, error) or failed
                continue
            if found is not None:
                if failed is not None:
                    self._available.skipped(self._primary, failed, "read")
                return index, found
        if failed is not None:
            raise failed
        return (
            self._search(path, ask) if self._primary != primary else None
        )  # the stand-in for a primary that failed meanwhile has to be asked too

    def _raise_absent(self, path: str) -> NoReturn:
        self._drop_dangling_records(path)
        raise FileNotFoundError(errno.ENOENT, "no layer has it", f"{self._url}/{path}")

    def _drop_dangling_records(self, path: str) -> None:
        """Drop copied records that name the payload file `path`, which no layer has."""
        key = KEY.match(path)
        if key is not None and not is_mutable(path) and not primary_only(path) and not path.endswith(RECORD):
            self._records.drop_outdated(key[0] + RECORD, naming=path)

    # --- writing

    def put(self, path: str, data: Bytes) -> None:
        self._in_primary(path, lambda store: store.put(path, data))
        if not primary_only(path):
            self._cached.copy(path, data)

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        """Put all items, records after all others."""
        records = {check_path(path): data for path, data in items.items() if path.endswith(RECORD)}
        others = {check_path(path): data for path, data in items.items() if path not in records}
        for batch in (others, records):
            if batch:
                self._put_batch(batch)
                self._cached.copy_many({path: data for path, data in batch.items() if not primary_only(path)}, batch is records)

    def _put_batch(self, batch: Mapping[str, Bytes]) -> None:
        def put(store: Store) -> None:
            for path in batch if self._at.down else ():
                self._at.mark(path)
            store.put_many(batch)

        self._in_primary(next(iter(batch)), put)

    def _in_primary(self, path: str, act: Callable[[Store], Found], *, gone: bool = False) -> Found:
        """Call `act` with the primary; where that fails, with its stand-in, if there is one."""
        self._ready()
        while True:
            store, index = self._writable(path), self._primary
            try:
                self._at.mark(path, gone=gone)
                return act(store)
            except FileNotFoundError:
                raise
            except OSError as error:
                if not self._at.give_up(index, error):
                    raise

    def _ready(self) -> None:
        if self._at.needs_check:
            self._at.ready()

    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        main = self._writable(path).write(path)
        if primary_only(path) or not (self._caches or self._at.down):
            return main
        return self._write(path)

    @contextmanager
    def _write(self, path: str) -> Generator[BinaryIO]:
        """Write to the primary and the caches; commit in the primary first. A cache may become the stand-in of a primary that fails."""
        block, file = self._in_primary(path, lambda store: entered(store.write(path)))
        index = self._primary
        copies = self._cached.copies(path, () if path.endswith(RECORD) else self._caches)
        tee = Tee(file, copies)
        try:
            yield cast(BinaryIO, tee)
        except BaseException as error:
            try:
                end(block, error if tee.failed is None else tee.failed)
            finally:
                copies.abort()
            tee.check()
            raise
        failed = tee.failed
        try:
            end(block, failed)
        except OSError as failure:
            failed = failure
        except BaseException:
            copies.abort()
            raise
        if failed is None:
            self._committed(path, copies, index)
        elif not self._rescued(path, index, failed, copies):
            copies.abort()
            raise failed

    def _rescued(self, path: str, index: int, error: OSError, copies: Copies) -> bool:
        """Commit the copies after a failure of the primary; True if its stand-in has got the bytes."""
        if not self._at.give_up(index, error) or self._primary not in copies.targets:
            return False
        self._at.mark(path)
        stands_in = self._primary
        return stands_in in (self._mutable.commit(path, copies) if is_mutable(path) else copies.commit())

    def _committed(self, path: str, copies: Copies, written: int) -> None:
        """Make the copies visible after the commit in the layer `written`, the primary at the beginning; caches without one drop theirs."""
        done = [written, *(self._mutable.commit(path, copies) if is_mutable(path) else copies.commit())]
        if self._primary not in done:  # another layer decides since, which was down at the beginning
            copy(self.layers[written].store, path, self.layers[self._primary].store, path)
        else:
            self._at.keep_marked(path)
        for index in set(self._caches).difference(done):
            self._cached.remove(index, path)

    def create(self, path: str, data: Bytes) -> bool:
        self._writable(path)
        readonly = [index for index, layer in enumerate(self.layers) if layer.readonly]
        if not primary_only(path) and any(self._cached.has(index, path) for index in readonly):
            return False
        if not self._in_primary(path, lambda store: store.create(path, data)):
            return False
        self._at.created(path, data)
        claim = claimed(path)
        if claim is not None:
            if not is_mutable(claim + RECORD):
                self._records.drop_outdated(claim + RECORD)
        elif not primary_only(path):
            for index in self._caches:
                self._cached.remove(index, path)
        return True

    def delete(self, path: str) -> bool:
        """Remove an item from every layer that may be written; True if one had it. An item in a read-only layer stays visible."""
        self._writable(path)
        self._at.deleted(path)
        caches = () if primary_only(path) else self._caches
        # the caches once before, so that a process that dies in between leaves none that shows an item deleted from the primary, and
        # once after, for a copy made meanwhile
        found = [self._cached.remove(index, path) for index in caches]
        found.append(self._in_primary(path, lambda store: store.delete(path), gone=True))
        found.extend(self._cached.remove(index, path) for index in caches)
        return any(found)

    def clear_temporary(self, path: str) -> None:
        """Remove leftovers of killed writes of files whose names begin as `path` from the primary."""
        extended(self._writable(path)).clear_temporary(path)

    def clear_sources(self, is_unused: Callable[[bytes], bool]) -> None:
        """Remove, from all layers that may be written, small files that killed processes kept as sources of creates."""
        for layer in self.layers:
            if not layer.readonly:
                extended(layer.store).clear_sources(is_unused)

    def _writable(self, path: str) -> Store:
        check_path(path)
        if self._primary < 0:
            raise StoreReadOnly(
                f"{self._url} has no layer that may be written, so {path} stays as it is; add one", url=self._url, path=path
            )
        return self.layers[self._primary].store

    # --- layers that disagree

    def differences(self, prefix: str = "", *, contents: bool = False) -> Iterator[Difference]:
        """Every path at which layers have different bytes, or that only a cache has.

        Records are compared byte by byte, other files by size; with `contents` byte by byte too, which reads all of them. Raises the
        error of a layer that cannot be read.
        """
        check_prefix(prefix)
        return compare(self.layers, self._primary, prefix, contents)

    def heal(self, path: str, sound: Callable[[BinaryIO], bool]) -> bool:
        """Remove copies of `path` that are not `sound` where a slower layer has a sound one, so that the next read gets that.

        True if a copy was removed, after a LayersDisagreeWarning. A damaged file in the slowest layer that has it stays as it is.
        """
        if primary_only(check_path(path)):
            return False
        source, damaged = damaged_in(self.layers, self._available.available_layers(), path, sound, self._available.failed)
        dropped = [each for each in damaged if source is not None and self._cached.drop_damaged(each, path)]
        key = KEY.match(path)
        if dropped and key is not None and not is_mutable(path) and not path.endswith(RECORD):
            with suppress(FileNotFoundError):
                self.get(key[0] + RECORD)  # dropped with its file; it is placed again when the file has arrived
        for each in dropped:
            warnings.warn(
                f"{path} in {self.layers[each].store.url} is damaged, and sound in {source}: the damaged copy has been dropped, "
                "the sound one is read",
                LayersDisagreeWarning,
                stacklevel=4,
            )
        return bool(dropped)


def _of_layer(index: int, found: Stat) -> Stat:
    return Stat(found.size, None if found.stamp is None else (index, found.stamp))


def _is_checked(path: str) -> bool:
    """Tell whether the content at `path` may change, so that a copy has to be compared. Raises InvalidName for an invalid path."""
    return is_mutable(check_path(path)) and not primary_only(path)
