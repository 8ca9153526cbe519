"""Mutable content in layers: read from the layer that decides, or from a copy known to be of its current state.

A file named after a key and an attempt never changes, so a copy of it needs no check. At any other path, such as a custom one or that of
an input, the content may change. There the slowest layer that may be written, the primary, decides, and after it the read-only layers. A
faster layer has copies, each with a note, ``.persistable/copied/<path>``: the state of the deciding layer's file that was copied (its
stamp), and the stamp of the copy itself. Before a copy is served, the stamp of the deciding layer is checked.

The order is: an empty note, the copy, and then, when the copy has been read back and still has the stamp it had before that, the real
note. So neither a process killed at any point, nor two that copy at the same time, leave an outdated copy that passes for current.

A file without a note, or with another stamp than the note's, is *foreign*: it was put there directly, is never replaced or removed by a
copy, and counts only where no deciding layer has a file. Where the primary is unreachable, any copy is served.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from blake3 import blake3

from persistable.errors import LayersDisagreeWarning
from persistable.params.streams import digest_rest
from persistable.stores.base import HIDDEN, Bytes, Stat, Store, byte_view
from persistable.stores.layered.layer import Layer
from persistable.stores.layered.outage import Availability
from persistable.stores.layered.primary import Primary
from persistable.stores.layered.tee import Copies

Found = TypeVar("Found")
NOTES = f"{HIDDEN}/copied"
_PROCESS = os.urandom(8).hex()  # the stamps of a store in memory are valid in this process only


class CacheNote(NamedTuple):
    """The note of a copy. of: the state of the deciding layer's file. copy: the stamp of the copy. Both are "" in an empty note."""

    of: str
    copy: str


class MutableCache:
    """The mutable files of layers, and the copies of them in caches."""

    def __init__(self, layers: Sequence[Layer], at: Primary, available: Availability) -> None:
        self._layers = layers
        self._at = at
        self._failed, self._skipped, self._awake = available.failed, available.skipped, available.available_layers
        self._foreign: dict[tuple[int, str], tuple[str, str]] = {}  # foreign files known to differ

    @property
    def _readonly(self) -> list[int]:
        """The layers that are neither the primary nor caches."""
        return [index for index in range(len(self._layers)) if index != self._at.index and index not in self._at.caches]

    # --- reading

    def ask(self, path: str, ask: Callable[[Store], Found | None]) -> tuple[int, Found] | None:
        """The layer that decides about `path`, and its answer to `ask`; None where no layer has one."""
        for index, found, only_there in self._answers(ask):
            if not (only_there and self._was_copied(index, path)):
                return index, found
        return None

    def many(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The bytes at these paths, in one call per layer. Leaves no copies."""
        wanted = list(paths)
        found: dict[str, bytes] = {}

        def ask(store: Store) -> dict[str, bytes] | None:
            return store.get_many([path for path in wanted if path not in found]) or None

        for index, answers, only_there in self._answers(ask):
            found.update({path: data for path, data in answers.items() if not (only_there and self._was_copied(index, path))})
            if len(found) == len(wanted):
                break
        return found

    def _answers(self, ask: Callable[[Store], Found | None]) -> Iterator[tuple[int, Found, bool]]:
        """Index of a layer, its answer, and True if it is a cache and each deciding layer has no such file; deciding layers come first.

        If the primary is unreachable, caches come before read-only layers. Raises its error at the end.
        """
        awake = set(self._awake())
        silent = not awake.issuperset(self._readonly)
        failed: OSError | None = None
        readonly, caches = ([index for index in some if index in awake] for some in (self._readonly, self._at.caches))
        order = [*([self._at.index] if self._at.index >= 0 else []), *readonly, *caches]
        asked: set[int] = set()
        while order:
            index = order.pop(0)
            asked.add(index)
            try:
                answer = ask(self._layers[index].store)
            except FileNotFoundError:
                continue
            except OSError as error:
                failed = self._failed(index, error) or failed
                silent = silent or index not in caches
                order = [each for each in (*caches, *readonly) if each not in asked] if index == self._at.index else order
                continue
            if answer is not None:
                if failed is not None:
                    self._skipped(self._at.index, failed, "read")
                yield index, answer, index in caches and not silent
        if failed is not None:
            raise failed

    def current(self, path: str, meant: Callable[[int], bool] = lambda _: True) -> int | None:
        """The fastest layer that has the current state of `path`, after leaving copies in faster ones; None where no layer has the path.

        Only layers for which `meant` returns True get copies.
        """
        found = self.ask(path, lambda store: store.stat(path))
        if found is None:
            return None
        index, stat = found
        if index in self._at.caches or stat.stamp is None:
            return index
        of = self._state(index, stat)
        source, missing = index, list[int]()
        for each in self._at.caches:
            if each < index and self._layers[each].takes(stat.size) and meant(each) and each in self._awake():
                if self._is_of(each, path, of):
                    source = each
                    break
                missing.append(each)
        done = self._copy(path, source, index, of, stat.size, missing) if missing else []
        return done[0] if done else source

    def hides(self, index: int, path: str) -> bool:
        """Tell whether a file that only that layer has is a copy, so that its original has been deleted."""
        return index in self._at.caches and set(self._awake()).issuperset(self._readonly) and self._was_copied(index, path)

    def _state(self, index: int, stat: Stat) -> str:
        """The state of a file in a layer that decides, as text that changes whenever the bytes do."""
        url = self._layers[index].store.url
        return blake3(repr((url, _PROCESS if url.startswith("memory:") else "", stat)).encode()).hexdigest(length=16)

    def _stamp(self, index: int, path: str) -> str:
        """The stamp of a copy; "" where there is no copy, or the store has no stamps."""
        found = self._layers[index].store.stat(path)
        return "" if found is None or found.stamp is None else repr(tuple(found))

    # --- copies and their notes

    def _note(self, index: int, path: str) -> CacheNote | None:
        try:
            return CacheNote(*json.loads(self._layers[index].store.get(f"{NOTES}/{path}")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, RecursionError):
            return CacheNote("", "")

    def _write_note(self, index: int, path: str, note: CacheNote) -> None:
        self._layers[index].store.put(f"{NOTES}/{path}", json.dumps(note).encode())

    def _was_copied(self, index: int, path: str) -> bool:
        """Tell whether the file there is a copy, of any state, and not a foreign file."""
        try:
            note = self._note(index, path)
            return note is not None and note.copy in ("", self._stamp(index, path))
        except OSError as error:
            self._failed(index, error)
            return True

    def _is_of(self, index: int, path: str, of: str) -> bool:
        """Tell whether a layer has a copy of the state `of`."""
        try:
            note = self._note(index, path)
            return note is not None and note.of == of and note.copy == self._stamp(index, path) != ""
        except OSError as error:
            self._skipped(index, error, "read")
            return False

    def _copy(self, path: str, source: int, index: int, of: str, size: int, targets: Sequence[int]) -> list[int]:
        """Copy `path` from the layer `source`, in the state `of` of the layer `index`, to `targets`; the layers that have it now."""
        fresh, there = self._sorted(path, of, size, targets)
        if not fresh and not there:
            return []
        with self._layers[source].store.read(path) as file:
            copies = Copies(path, [(each, self._layers[each].store, self._layers[each].max_bytes) for each in fresh], self._unwritten)
            try:
                digest, _ = digest_rest(file, copies)
                now = self._layers[index].store.stat(path)
                if now is None or self._state(index, now) != of:  # replaced while it was read
                    copies.abort()
                    return []
            except BaseException:
                copies.abort()
                raise
        made = self.commit(path, copies)
        return [each for each in (*made, *there) if self._write_verified_note(each, path, of, digest, each in there)]

    def _sorted(self, path: str, of: str, size: int, targets: Sequence[int]) -> tuple[list[int], list[int]]:
        """The layers that may get a copy, and those with a foreign file that may be equal."""
        fresh: list[int] = []
        there: list[int] = []
        for each in targets:
            try:
                found = self._layers[each].store.stat(path)
                if found is None or self._was_copied(each, path):
                    fresh.append(each)
                elif found.stamp is not None and self._foreign.get((each, path)) != (of, repr(tuple(found))):
                    if found.size == size:
                        there.append(each)
                    else:
                        self._differs(each, path, of)
            except OSError as error:
                self._skipped(each, error, "read")
        return fresh, there

    def _write_verified_note(self, index: int, path: str, of: str, digest: str, is_foreign: bool) -> bool:
        """Write the note of a copy, if it has the digest of the bytes that were copied. True if it has."""
        store = self._layers[index].store
        try:
            stamp = self._stamp(index, path)
            with store.read(path) as file:
                found, _ = digest_rest(file)
            if found != digest:
                if is_foreign:
                    self._differs(index, path, of)
                return False
            if not stamp:
                return True
            self._write_note(index, path, CacheNote(of, stamp))
            if self._stamp(index, path) == stamp:
                return True
            self._write_note(index, path, CacheNote("", ""))  # another process has copied meanwhile, perhaps another state
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._skipped(index, error, "read")
        return False

    def _differs(self, index: int, path: str, of: str) -> None:
        self._foreign[index, path] = (of, self._stamp(index, path))
        warnings.warn(
            f"{path} in {self._layers[index].store.url} was put there directly and differs from the layers below, which count; "
            "put it into the store as a whole, or delete it there",
            LayersDisagreeWarning,
            stacklevel=4,
        )

    # --- writing: the primary has it already

    def put(self, index: int, path: str, data: Bytes) -> bool:
        """Put a copy into a cache, with an empty note: the primary may have changed since. False where the file is too large for it."""
        if not self._layers[index].takes(byte_view(data).nbytes):
            return False
        self._write_note(index, path, CacheNote("", ""))
        self._layers[index].store.put(path, data)
        return True

    def commit(self, path: str, copies: Copies) -> list[int]:
        """Make copies visible, with empty notes; the layers that have them."""
        for index in copies.targets:
            try:
                self._write_note(index, path, CacheNote("", ""))
            except OSError as error:
                copies.drop(index, error)
        return copies.commit()

    def remove(self, index: int, path: str) -> bool:
        """Remove a file and its note from a cache, in this order: a copy without a note would count as foreign."""
        existed = self._layers[index].store.delete(path)
        self._layers[index].store.delete(f"{NOTES}/{path}")
        return existed

    def drop(self, index: int, path: str) -> bool:
        """Remove a copy from a cache, unless it is a foreign file; True if there was one."""
        try:
            return index in self._at.caches and self._was_copied(index, path) and self.remove(index, path)
        except OSError as error:
            self._skipped(index, error, "written")
            return False

    def _unwritten(self, index: int, error: OSError) -> None:
        self._skipped(index, error, "written")
