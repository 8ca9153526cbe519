"""The primary, the layer that decides about commits, and its stand-in while it is down.

The usual primary is the slowest layer that may be written. When it fails, the next slowest that may be written, and is not in memory,
is its stand-in: writes are kept there, each with a note, ``.persistable/pending/<path>``, made before it, so that a later process can
find the pending changes even if this one is killed. Held claims are copied to it. Other processes that reach the usual primary, or
neither, do not see them: both may generate the same payload meanwhile. The sync decides which one is kept: a record that was new here is
dropped for one that is in the primary by then. Files that it names at a custom path are moved there after the record, as usual.

While it is down no call waits for it: a thread probes it, less and less often, and the next call after its answer syncs.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast
from weakref import ReferenceType, ref

from persistable.errors import LayersDisagreeWarning, LayerSkippedWarning, StoreFull, StoreReadOnly
from persistable.stores.base import HIDDEN, Store, stat_many
from persistable.stores.custom_path import PLACED, attempt_path, copy, move
from persistable.stores.layered.layer import Layer
from persistable.stores.layered.path_kinds import claimed, files_of, primary_only, token_of
from persistable.stores.reach import in_memory
from persistable.stores.record_file import RECORD
from persistable.stores.remote_errors import is_of_name

PENDING = f"{HIDDEN}/pending"
FIRST_LOOK = 0.5
"""Seconds until a layer that is down is probed for the first time; doubled each time after that, up to a minute."""
_LAST_LOOK = 60.0


class Primary:
    """The one of `layers` that decides about commits, with its outages."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers
        self._writable = [index for index, layer in enumerate(layers) if not layer.readonly]
        self.configured_index = self._writable[-1] if self._writable else -1
        self.index = self.configured_index
        """The layer that decides now; -1 where none may be written."""
        self.caches = tuple(self._writable[:-1])
        """The faster layers that may be written."""
        self.down: dict[int, OSError] = {}
        self.needs_check = bool(self.caches)
        """True if `ready` has something to check."""
        self._looked = False
        self._probe: _Probe | None = None
        self._claims: dict[str, bytes] = {}
        self._released: dict[str, bytes] = {}
        self._lock = threading.RLock()

    def is_silent(self, index: int) -> bool:
        """Tell whether a layer is down for reads too."""
        error = self.down.get(index)
        return error is not None and not isinstance(error, StoreFull | StoreReadOnly)

    def give_up(self, index: int, error: OSError) -> bool:
        """Handle an error of the primary; True if another layer is its stand-in from now on."""
        with self._lock:
            if index in self.down:
                return True
            if is_of_name(error):
                return False
            if index != self.index or not any(not in_memory(self._layers[each].store) for each in self.caches):
                return False
            self.down[index] = error
            self._choose()
            for path, data in self._claims.items():
                with suppress(OSError):
                    self._layers[self.index].store.create(path, data)
            self._probe = _Probe(
                self, self._layers[self.configured_index].store, isinstance(self.down.get(self.configured_index), StoreFull | StoreReadOnly)
            )
        warnings.warn(
            f"the layer {self._layers[index].store.url} could not be used and is passed over: {error}. What is written meanwhile is "
            f"kept in {self._layers[self.index].store.url}, and brought there by LayeredStore.sync() or at the next use; others may "
            "generate the same in the meantime",
            LayerSkippedWarning,
            stacklevel=5,
        )
        return True

    def known_outage(self) -> dict[str, Any]:
        """Facts for other processes of this host: the layers that are down, with their errors."""
        return {"host": socket.gethostname(), "down": dict(self.down)} if self.down else {}

    def take_over(self, known: dict[str, Any]) -> None:
        """Adopt the `known_outage` of another process of this host, which has reported it already."""
        with self._lock:
            if known["host"] == socket.gethostname() and set(known["down"]) <= set(self._writable) and not self.down:
                self.down.update(known["down"])
                self._looked = True
                self._choose()

    def _choose(self) -> None:
        able = [index for index in self._writable if index not in self.down]
        lasting = [index for index in able if index == self.configured_index or not in_memory(self._layers[index].store)]
        self.index = lasting[-1]
        self.caches = tuple(index for index in able if index < self.index)
        self.needs_check = bool(self.down)

    def ready(self) -> None:
        """Sync with the usual primary, at the first use if changes are pending, or once it answers again."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if not self._looked:
                self._looked = True
                self.needs_check = bool(self.down)
                if self._is_pending():
                    self._try()
            elif self.down:
                if self._probe is None or self._probe.process != os.getpid():
                    self._probe = _Probe(self, self._layers[self.configured_index].store, not self.is_silent(self.configured_index))
                elif self._probe.is_answered:
                    self._try()
        finally:
            self._lock.release()

    def _try(self) -> None:
        try:
            self.sync()
        except OSError as error:
            delay = self._probe.delay if self._probe is not None else FIRST_LOOK
            self._probe = None
            if not self.down:
                self.give_up(self.configured_index, error)
            if self.down:
                self._probe = _Probe(self, self._layers[self.configured_index].store, not self.is_silent(self.configured_index), 2 * delay)

    # --- claims

    def created(self, path: str, data: Any) -> None:
        """Remember an item created in the primary, if it is a claim."""
        if claimed(path) is not None:
            self._claims[path] = bytes(data)

    def deleted(self, path: str) -> None:
        """Forget a claim that is deleted from the primary; during an outage, remember that it was released."""
        mine = self._claims.pop(path, None)
        if mine is not None and self.down:
            self._released[path] = mine

    def _restore_claims(self, before: int) -> None:
        """Release in the primary the claims that were released during the outage, and move those taken meanwhile there."""
        usual, other = self._layers[self.configured_index].store, self._layers[before].store
        for path, data in self._released.items():
            with suppress(OSError):
                if usual.get(path) == data:
                    usual.delete(path)
        self._released.clear()
        for path, data in self._claims.items():
            with suppress(OSError):
                usual.create(path, data)
                other.delete(path)

    # --- pending changes

    def mark(self, path: str, *, gone: bool = False) -> None:
        """Write, during an outage, the note that `path` is about to change in the stand-in."""
        if not self.down or primary_only(path):
            return
        store = self._layers[self.index].store
        new = path.endswith(RECORD) and not store.exists(path)
        store.put(f"{PENDING}/{path}", json.dumps({"gone": gone, "new": new}).encode())

    def keep_marked(self, path: str) -> None:
        """Write the note again if it is gone: the sync of another process may have removed it before the write ended."""
        if self.down and not self._layers[self.index].store.exists(f"{PENDING}/{path}"):
            self.mark(path)

    def _is_pending(self) -> bool:
        for index in self._writable:
            if index != self.configured_index:
                with suppress(OSError):
                    if next(iter(self._layers[index].store.list(PENDING)), None) is not None:
                        return True
        return False

    def sync(self) -> list[str]:
        """Copy all pending changes to the usual primary, which decides again from then on; their paths. Raises its error if it is down."""
        with self._lock:
            done: list[str] = []
            for index in self._writable:
                if index != self.configured_index:
                    done.extend(self._push_all(self._layers[index].store))
            if self.down:
                self._layers[self.configured_index].store.exists(f"{HIDDEN}/probe")
                before = self.index
                self.down.clear()
                self._probe = None
                self._choose()
                self._restore_claims(before)
            return done

    def _push_all(self, store: Store) -> list[str]:
        """Copy the pending changes of one store: files, then records, then deletions, so that no file that a record names is missing.

        Files that a record names at a custom path are copied together with it.
        """
        pending = [path[len(PENDING) + 1 :] for path in store.list(PENDING)]
        there = stat_many(store, pending)
        pending.sort(key=lambda path: (1 if path.endswith(RECORD) else 0 if path in there else 2, path))
        records = store.get_many([path for path in pending if path.startswith(PLACED) and path.endswith(RECORD)])
        waiting = set(pending)
        named = {path: [file for file in files_of(data) or () if file[0] in waiting] for path, data in records.items()}
        later = {name for files in named.values() for name, _ in files}
        done: list[str] = []
        for path in pending:
            if path in later:
                continue
            files = named.get(path, [])
            if self._push(store, path, files):
                done.extend([*(name for name, _ in files), path])
            for each in (path, *(name for name, _ in files)):
                store.delete(f"{PENDING}/{each}")
        return done

    def _push(self, store: Store, path: str, files: Sequence[tuple[str, int]]) -> bool:
        primary = self._layers[self.configured_index].store
        try:
            found: Any = json.loads(store.get(f"{PENDING}/{path}"))
        except (ValueError, RecursionError, FileNotFoundError):
            found = None
        note: dict[str, Any] = cast("dict[str, Any]", found) if isinstance(found, dict) else {}  # damaged: then the item is copied
        if not store.exists(path):
            return bool(note.get("gone")) and primary.delete(path)
        if not path.endswith(RECORD):
            copy(store, path, primary, path)
            return True
        data = store.get(path)
        there = primary.get_many([path]).get(path) if note.get("new") else None
        if there is not None and there != data:
            self._give_way(store, primary, path, data, there)
            return False
        to, token = path[len(PLACED) + 1 : -len(RECORD)], token_of(data)
        for name, size in files:  # beside its place until the record is there, as in a generation
            copy(store, name, primary, attempt_path(to, token) + name.removeprefix(to), size)
        if there is None:
            primary.put(path, data)
        move(primary, to, token, files)
        return there is None

    def _give_way(self, store: Store, primary: Store, path: str, mine: bytes, theirs: bytes) -> None:
        """Drop the record and files of this side, since another process has generated the same in the primary meanwhile."""
        kept = {name for name, _ in files_of(theirs) or ()}
        for index in self._writable:
            with suppress(OSError):
                if self._layers[index].store.get_many([path]).get(path) == mine:
                    self._layers[index].store.delete(path)
        for name, _ in files_of(mine) or ():
            if name not in kept:
                store.delete(name)
                if not path.startswith(PLACED):  # else it was never copied there
                    primary.delete(name)
        warnings.warn(
            f"{path} was generated here while {primary.url} was down, and by others there; the one there counts, this is dropped",
            LayersDisagreeWarning,
            stacklevel=6,
        )


class _Probe:
    """A thread that probes a layer that is down, at growing intervals, until it answers."""

    def __init__(self, owner: Primary, store: Store, writes: bool, delay: float = FIRST_LOOK) -> None:
        self.process = os.getpid()
        self.delay = min(delay, _LAST_LOOK)
        self.is_answered = False
        arguments = (ref(owner), ref(self), store, writes)
        threading.Thread(target=_ask, args=arguments, name="persistable-probe", daemon=True).start()


def _ask(owner: ReferenceType[Primary], probe: ReferenceType[_Probe], store: Store, writes: bool) -> None:
    path = f"{HIDDEN}/probe/{os.urandom(8).hex()}"
    while True:
        asking = probe()
        if asking is None or owner() is None:
            return
        delay = asking.delay
        del asking
        time.sleep(delay)
        try:
            if writes:
                store.put(path, bytes(4096))
                store.delete(path)
            else:
                store.exists(path)
        except Exception:  # noqa: BLE001 - with any error, it is down
            asking = probe()
            if asking is not None:
                asking.delay = min(2 * delay, _LAST_LOOK)
            continue
        asking = probe()
        if asking is not None:
            asking.is_answered = True
        return
