"""Several stores as one, fast to slow: what a read finds in a slow one is kept in the faster ones, a write goes to all.

The slowest layer that may be written is the *primary*. It alone decides what is committed; the faster writable ones are caches of it, each
of which may be lost, be full or be out of reach without anything being lost. What is slower than the primary may only be read.

A reader of any one layer, through here or on its own, never finds a record without its payload:

- A write goes to the primary first. Should the process die right after, the caches lack something, which costs the next reader a copy; the
  other way round a payload would look committed to its maker and to nobody else. A write that the primary refuses reaches no cache.
- A record is put into a cache only where that cache has every file it names, in the size it names. When a record is found in a slow
  layer, its files are not in the fast one yet: it is remembered, and placed when the last of them has arrived. A payload too large for a
  layer keeps its record out of that layer too. Dying in between leaves files that no record names.
- A copy of a record, or of any file named after a key that is read whole, never replaces anything: it is made by exclusive create, so that
  the copy of an old record cannot hide a new one. Then the layer the record came from is asked once more; if it has changed there or is
  gone, the copy goes.
- Where a new file could not be put into a cache, what the cache had at that path is removed.

A payload under its key is always the same thing, however often it is generated, so a copy of one is served without asking anybody. What may
change at its path, such as a payload at a custom path and its record, or an input, is another matter: see `mutable`.

Claims, heartbeats, failures and ``.persistable/`` (but for ``placed/`` and ``placing/`` in it) are about what is going on now, so they
exist in the primary only and are never copied; two processes with caches of their own meet there. Whoever claims a key is about to decide
what its payload is, so at that moment a cached record that is not the primary's is dropped, with a warning. The same happens when the
payload of a cached record is nowhere any more. Otherwise a cache that was filled before somebody else replaced the payload in the primary
keeps serving what it has, which is whole; `LayeredStore.differences` finds such.

What no layer has is absent only if the primary could be asked; if not, another layer stands in for it (see `primary`), or its error is
raised. Any other layer that fails is reported once, by a LayerSkippedWarning, and passed over, for a while without being asked again.
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
from persistable.stores.layered.copies import Copies, Tee, end, entered
from persistable.stores.layered.layers import LayersOfStore
from persistable.stores.layered.policy import KEY, claimed, is_mutable, is_plain, primary_only
from persistable.stores.record_file import RECORD

Found = TypeVar("Found")


class LayeredStore(LayersOfStore):
    """Layers, fast to slow, each a path, a URL, a store, a `Layer`, or a mapping such as ``{"url": "s3://team", "readonly": True}``.

    A read falls through to the first layer that has the bytes and leaves a copy in the faster ones that may be written. A write, and a
    delete, goes to all that may be written; what is in a layer that may only be read stays visible. Claims live in the slowest that
    may be written. With none that may be, the store refuses to write.

    Raises ValueError where no layer is given.
    """

    # --- reading

    def get(self, path: str) -> bytes:
        tried: OSError | None = None
        if is_plain(path) is not None and self._available.all_do:  # a special road: what the nearest has costs as much as there
            try:
                return self.layers[0].store.get(path)
            except OSError as error:
                tried = error
        elif _is_checked(path):
            return self._current(path, lambda store: store.get(path))
        found = self._search(path, lambda store: store.get(path), tried)
        if found is None:
            self._nowhere(path)
        index, data = found
        if path.endswith(RECORD):
            self._records.found(index, path, data, self._cached.faster(index, 0))
        else:
            self._cached.fill(index, path, data)
        return data

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The bytes at `paths` that are there. Records of a slow layer are not copied: who asks for many does not load their payloads."""
        self._ready()
        primary = self._primary
        wanted: list[str] = [check_path(path) for path in dict.fromkeys(paths)]
        missing: list[str] = [path for path in wanted if not _is_checked(path)]
        found = self._mutable.many([path for path in wanted if _is_checked(path)]) if len(missing) < len(wanted) else {}
        failed: OSError | None = None
        for index in self._available.awake() if missing else ():
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
        if missing and self._primary != primary:  # it failed meanwhile: what stands in for it is to be asked for all
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
                self._nowhere(path)
            index, file = found
            try:
                return self._cached.filling(index, path, file)
            except FileNotFoundError:
                raise  # deleted meanwhile
            except OSError as error:  # cut off in the middle: that layer rests now, so others are asked
                if self._available.failed(index, error) is not None:
                    raise

    def _current(self, path: str, ask: Callable[[Store], Found]) -> Found:
        """The answer of the fastest layer that has `path` as it is now."""
        self._ready()
        for _ in self.layers:
            index = self._mutable.current(path)
            if index is None:
                break
            try:
                return ask(self.layers[index].store)
            except OSError as error:
                gone = isinstance(error, FileNotFoundError)  # a copy goes when somebody replaces what it is of
                if index == self._primary if gone else self._available.failed(index, error) is not None:
                    raise
        found = self._mutable.ask(path, ask)
        return self._nowhere(path) if found is None else found[1]

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
        """The files below `prefix`; size and stamp are those of the layer that decides, and of a cache for what only that has."""
        found = self._union(check_prefix(prefix), lambda store: extended(store).scan(prefix))
        return ((path, _of_layer(index, stat)) for index, path, stat in found)

    def _union(self, prefix: str, ask: Callable[[Store], Iterator[tuple[str, Found]]]) -> Iterator[tuple[int, str, Found]]:
        """Layer, path and what `ask` tells of it, of each path once: from the layers that decide, and then from the caches."""
        self._ready()
        seen: set[str] = set()
        apart = primary_only(prefix + "/")
        for index in sorted(self._available.awake(), key=lambda index: index in self._caches):
            if apart and index != self._primary:
                continue
            try:
                for path, told in ask(self.layers[index].store):
                    if path in seen or (index != self._primary and primary_only(path)):
                        continue
                    if index in self._caches and is_mutable(path) and self._mutable.hides(index, path):
                        continue
                    seen.add(path)
                    yield index, path, told
            except OSError as error:
                if self._available.failed(index, error) is not None:
                    raise

    def local_path(self, path: str) -> Path | None:
        """The file of the first layer that has it as one; a copy is made where a layer of local files takes it. None where none does."""
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
            self._mend(path)
            return first
        index, (size, _) = found
        for each in self._cached.copied(index, path, [each for each in self._cached.faster(index, size) if each in places]):
            return places[each]
        return next((place for each, place in local if each >= index and self._cached.has(each, path)), None)

    def _search(self, path: str, ask: Callable[[Store], Found | None], tried: OSError | None = None) -> tuple[int, Found] | None:
        """The first layer that has something to say, and what it says. tried: the error of the nearest, which was asked already."""
        self._ready()
        if _is_checked(path):
            return self._mutable.ask(path, ask)
        apart, placing, primary = primary_only(path), path.startswith(PLACING), self._primary
        failed: OSError | None = None
        for index in self._available.awake():
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
        )  # what stands in for a primary that failed is to be asked again

    def _nowhere(self, path: str) -> NoReturn:
        self._mend(path)
        raise FileNotFoundError(errno.ENOENT, "no layer has it", f"{self._url}/{path}")

    def _mend(self, path: str) -> None:
        """A payload is nowhere: drop copied records that name it."""
        key = KEY.match(path)
        if key is not None and not is_mutable(path) and not primary_only(path) and not path.endswith(RECORD):
            self._records.drop_outdated(key[0] + RECORD, naming=path)

    # --- writing

    def put(self, path: str, data: Bytes) -> None:
        self._in_primary(path, lambda store: store.put(path, data))
        if not primary_only(path):
            self._cached.copy(path, data)

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        """Put all of these, records after everything else."""
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
        """`act` on the primary; where it fails and another layer stands in, on that."""
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
        if self._at.restless:
            self._at.ready()

    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        main = self._writable(path).write(path)
        if primary_only(path) or not (self._caches or self._at.down):
            return main
        return self._write(path)

    @contextmanager
    def _write(self, path: str) -> Generator[BinaryIO]:
        """The block around a write that the primary gets first, and then the caches, one of which may stand in for a primary that fails."""
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
        """Tell whether what stands in for a primary that failed has got the bytes."""
        if not self._at.give_up(index, error) or self._primary not in copies.targets:
            return False
        self._at.mark(path)
        stands_in = self._primary
        return stands_in in (self._mutable.commit(path, copies) if is_mutable(path) else copies.commit())

    def _committed(self, path: str, copies: Copies, written: int) -> None:
        """The layer `written`, the primary when that began, has it: show the copies, and remove what was there where there is none."""
        done = [written, *(self._mutable.commit(path, copies) if is_mutable(path) else copies.commit())]
        if self._primary not in done:  # another decides since, that was down when it began
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
        """Remove it from every layer that may be written; True if one had it. What a read-only layer has stays visible."""
        self._writable(path)
        self._at.deleted(path)
        caches = () if primary_only(path) else self._caches
        # the caches once before, so that dying in between takes nothing from the primary that a cache still shows, and once after, for
        # a copy made meanwhile
        found = [self._cached.remove(index, path) for index in caches]
        found.append(self._in_primary(path, lambda store: store.delete(path), gone=True))
        found.extend(self._cached.remove(index, path) for index in caches)
        return any(found)

    def clear_temporary(self, path: str) -> None:
        """Remove what killed writes of files whose names begin as `path` does left in the primary."""
        extended(self._writable(path)).clear_temporary(path)

    def clear_sources(self, is_unused: Callable[[bytes], bool]) -> None:
        """Remove, from all layers that may be written, small files that killed processes kept to make others of."""
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

        Records are compared byte by byte, other files by size; with `contents` byte by byte too, for which all are read. Raises what a
        layer raises that cannot be read.
        """
        check_prefix(prefix)
        return compare(self.layers, self._primary, prefix, contents)

    def heal(self, path: str, sound: Callable[[BinaryIO], bool]) -> bool:
        """Remove what is at `path` and not `sound` where a slower layer has it sound, so that the next read is of that.

        True if something was removed, after a LayersDisagreeWarning. What is damaged in the slowest that has it stays as it is.
        """
        if primary_only(check_path(path)):
            return False
        source, damaged = damaged_in(self.layers, self._available.awake(), path, sound, self._available.failed)
        dropped = [each for each in damaged if source is not None and self._cached.drop_damaged(each, path)]
        key = KEY.match(path)
        if dropped and key is not None and not is_mutable(path) and not path.endswith(RECORD):
            with suppress(FileNotFoundError):
                self.get(key[0] + RECORD)  # dropped with its file, it is placed again when that has arrived
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
    """Tell whether what is at `path`, which may be one, may change there, so that a copy of it has to be compared."""
    return is_mutable(check_path(path)) and not primary_only(path)
