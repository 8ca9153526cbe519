"""Generation of a payload: claim, generate, validate, write, record.

Everything here works on a node in a given store; `Persistable` is the public surface.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from contextvars import ContextVar
from functools import partial
from operator import is_
from pathlib import Path
from types import GeneratorType
from typing import TYPE_CHECKING, Any, cast

from persistable import events
from persistable.errors import (
    ClaimLost,
    CorruptPayloadWarning,
    FileInUseWarning,
    PayloadCorrupted,
    PayloadNotFound,
    PayloadNotRepresentable,
    StoreError,
    UpstreamFailed,
)
from persistable.fileio.base import FileIO, PartsFileIO
from persistable.fileio.memory_copy import ATOMS, InMemoryCopy, private_copy, refuse_iterator
from persistable.nodes import capture, code, declared_type, failing, format_check, prerequisites, upstream_digests
from persistable.nodes.binding import author_of, bound_to, copy_new_attributes
from persistable.nodes.capture import ErrorTee, Factory, Tee
from persistable.nodes.event_loop import enter_loop, leave_loop
from persistable.nodes.hooks import NO_VALIDATION
from persistable.nodes.item_writer import CommittedItems, ItemWriter
from persistable.nodes.loading import depth_of_user, format_of, load, read, warn_stale_upstream
from persistable.nodes.prefetch import MANY, Inputs, stored_upstream
from persistable.nodes.provenance import Counters, compose, facts_of, usage_begins
from persistable.nodes.released_attributes import suffix_of
from persistable.nodes.row_writer import Appended, AppendedFile, RowWriter
from persistable.nodes.transitive_upstream import UpstreamNotSent
from persistable.nodes.types import FAILED, GONE, UNREAD, Node
from persistable.params.secret import clean
from persistable.records import claims, files, items
from persistable.records.claims import Lock
from persistable.records.commit import Commit, attempt_path, complete_any, facts_in_place, move_in_place, remove
from persistable.records.deadlock import Waiting
from persistable.records.failure import Failure
from persistable.records.key import Key, Place, Placed
from persistable.records.leftovers import clear, may_have_left, replaced, sweep
from persistable.records.record import OUTPUT_SUFFIX, Record
from persistable.records.record_access import DAMAGED, Token, Unusable, find_failure, find_record, peek
from persistable.records.rescue import rescue
from persistable.records.scratch import scratch_folder
from persistable.stores.base import Store, enclosing_store, set_generation_lookup
from persistable.stores.open import default_url, open_store
from persistable.stores.remote_errors import room_in

if TYPE_CHECKING:
    from logging import LogRecord

current: ContextVar[Generation | None] = ContextVar("persistable_generation", default=None)

running_generations: list[Any] = []
"""Generations whose own code runs in this process now, in any thread."""


def running() -> Generation | None:
    """The generation that the calling code belongs to; in a thread without its context, the only one that runs; else None."""
    found = current.get()
    return _only() if found is None and running_generations else found


def _only() -> Generation | None:
    """The only generation whose code runs; None if there are several, and in the main thread."""
    there = tuple(running_generations)  # which may end at any moment
    return there[0] if len(there) == 1 and threading.current_thread() is not threading.main_thread() else None


def printing_generation() -> Generation | None:
    """The generation whose code writes: as `running`, but None in a thread that existed before that generation began."""
    found = current.get()
    if found is not None or not running_generations:
        return found
    only = _only()
    return None if only is None or threading.get_ident() in only.threads else only


_threads: dict[int, Any] = vars(threading).get("_active", {})
"""The threads of this process, by ident."""

set_generation_lookup(current.get)
capture.find_printing_generation = printing_generation
capture.is_busy = lambda: bool(running_generations)


def nearest_store() -> Store | None:
    """The store of the innermost ``with open_store(...)`` or generation around the caller; None if there is neither."""
    enclosing = enclosing_store()
    if enclosing is not None:
        return enclosing
    here = current.get()
    return here.store if here is not None else None


def default_store(remembered: Store | None = None) -> Store:
    """The store of a node that names none: the nearest around the caller, else `remembered`, else the default.

    In a thread without the context of a generation, the store of the only running one takes the place of the default.
    """
    found = nearest_store() or remembered
    if found is None:
        only = running() if running_generations else None
        found = only.store if only is not None else open_store(default_url())
    return found


_PROGRESS = 0.05
"""Seconds between two announcements of the progress of one generation."""


class Generation:
    """One running generation: its inputs and resources. Token, io and code are set only if its payload is persisted."""

    # fmt: off
    __slots__ = (
        "_allocated", "_attached", "_author", "_before", "_facts", "_forks", "_inputs", "_loading", "_loop", "_many", "_outer",
        "_quiet_until", "_rng", "_scratch", "_upstream_keys", "attempt", "begun", "claim", "clock", "code", "committed", "earlier",
        "heard", "hooks", "into", "io", "item_writer", "kept_output", "made", "node", "notes", "output", "over", "place", "relay",
        "row_writer", "started", "store", "threads", "token", "used",
    )
    # fmt: on

    token: str
    io: FileIO[Any]
    code: code.CodeOf | code.SentFingerprint
    over: bool
    """True once it has ended: code that still runs then, in a thread of its own, gets nothing more."""
    heard: bool
    """True if a hook or logger received its `Started` event."""
    earlier: dict[str, Any] | None
    """The origin of the earlier attempt whose rows or items this one continues, if it differs from today's; else None."""
    begun: Counters | None
    """Counters of processor time and memory at its beginning; None if its usage is not recorded."""
    output: capture.Output | None
    """Prints and log records of its code."""
    kept_output: str | None
    """The path of the file with `output`."""

    def __init__(
        self,
        node: Node,
        store: Store,
        claim: claims.Claim | claims.Claims | None,
        attempt: int,
        payloads: Mapping[Key, Any] | None = None,
        into: Any = None,
        inputs: Inputs | None = None,
    ) -> None:
        self.node = node
        self.store = store
        # `node.place` is a call, and shows in the smallest generations
        self.place: Place = node.key if node._node_custom_path is None else node.place
        self.into: Any = store if into is None else into
        """The store that is written to, or a buffer of changes to it, see `perform_into`."""
        self.claim = claim
        self.attempt = attempt
        self.made = "generated"
        self.over = self.heard = self.committed = False
        self._quiet_until = 0.0
        self.begun = self.earlier = self.output = self.kept_output = None
        self._author: Any = None
        self._facts: dict[str, Any] | None = None
        self._before: dict[str, Any] | None = None
        self._upstream_keys: frozenset[Key] | None = None
        self._many = inputs
        self._rng: Any = None
        self._attached: Any = None
        self._scratch: Path | None = None
        self._allocated: files.Allocated | None = None
        self.item_writer: ItemWriter | None = None
        self.row_writer: RowWriter | None = None
        if claim is not None:
            self.token = os.urandom(4).hex()
            self.io = node._node_format()  # before any work is done: an invalid format must not cost the payload
            if format_check.accepted_io.get(id(node.__class__), self) is not node.io:
                format_check.check(node)
            sent = node.__dict__.get("_node_given_code")  # before it runs: changes that the code makes to itself are not its source
            self.code = sent if sent is not None else node._node_own_code()
            self.begun = usage_begins(not running_generations)
        self.started = time.time()
        self.clock = time.perf_counter()
        self._inputs: dict[Key, Any] = dict(payloads) if payloads else {}
        self.used: dict[Key, Record] = {}
        """The records of the payloads loaded for it."""
        self._forks = capture.forks
        self.relay = capture.relay.get()
        """Relay of its output to the process that runs it; None if that is this process."""
        self.hooks = events.hooks_of_context()
        """The hooks that receive its events, also those from threads that its code starts."""
        self._loading: dict[Key | None, threading.RLock] = {}
        """A lock for each payload that is being read, and under None one for all other steps that only one thread may do."""
        self.notes: dict[str, Any] = {}
        """JSON-like facts by name that the node's own code adds to the record, or to that of its failure."""

    def __enter__(self) -> None:
        """Begin the block in which the node's own code runs."""
        self._outer = current.set(self)
        self.threads = tuple(_threads)  # those that existed before
        running_generations.append(self)
        # no calls and locks, whose cost shows in the smallest generations: two threads here at once set the same objects
        out, err = sys.stdout, sys.stderr
        if out.__class__ is not Tee:
            tee = capture.outs.get(id(out))
            sys.stdout = tee if tee is not None and tee.inner is out else capture.outs.of(out)
        if err.__class__ is not ErrorTee:
            error_tee = capture.errors.get(id(err))
            sys.stderr = error_tee if error_tee is not None and error_tee.inner is err else capture.errors.of(err)
        logging = sys.modules.get("logging")
        if logging is not None and logging.getLogRecordFactory().__class__ is not Factory:
            capture.watch_logging()
        asyncio = sys.modules.get("asyncio.events")
        self._loop = leave_loop() if asyncio is not None and asyncio._get_running_loop() is not None else None

    def __exit__(self, *_: object) -> None:
        if self._loop is not None:
            enter_loop(self._loop)
        running_generations.remove(self)
        current.reset(self._outer)
        if not running_generations and not capture.sessions:
            out: Any = sys.stdout
            err: Any = sys.stderr
            if out.__class__ is Tee:
                sys.stdout = out.inner
            if err.__class__ is ErrorTee:
                sys.stderr = err.inner
            if running_generations:  # another thread has begun meanwhile, and uses them
                sys.stdout, sys.stderr = out, err

    def add_printed(self, stream: str, text: str | bytes) -> bool:
        """Keep text that its code has written to a standard stream.

        True if it was sent to the process of the run, so that it must not be written to the stream here.
        """
        if self._forks != capture.forks:  # in a process that its code has forked: its prints go to the stream as before
            return False
        output = self._make_output()
        if not (output.logged and capture.is_by_logging()):
            added = output.add(stream, text)
            if self.relay is not None:
                self.relay.prints(self.node, stream, added)
        return self.relay is not None

    def add_log_record(self, record: LogRecord) -> None:
        """Keep a log record that its code has made."""
        if self._forks != capture.forks:
            return
        output = self._make_output()
        output.logged = True
        output.add("log", capture.line_of(record))
        if self.relay is not None:
            self.relay.logs(self.node, record)

    def add_subprocess_output(self, stream: str, text: str) -> None:
        """Add to its output the text of a process that it started."""
        self._make_output().add(stream, text)

    def _make_output(self) -> capture.Output:
        if self.output is None:
            with self._lock:
                if self.output is None:
                    self.output = capture.Output()
        return self.output

    def output_text(self) -> str:
        """The last part of its output; empty if output is not kept."""
        return self.output.text() if self.output is not None and capture.keep_output.get() else ""

    def paths(self, written: files.Written) -> list[str]:
        """The paths of the files that its record names."""
        output = [] if self.kept_output is None else [self.kept_output]
        return [*output, *[file.path for file in written.files]]

    def _keep_output(self) -> None:
        """Store its output beside the payload, before the record that names it. A record without that file is sound."""
        text = self.output_text()
        if text:
            path = f"{self.place.path}.{self.token}{OUTPUT_SUFFIX}"
            with suppress(StoreError):
                self.into.put(path, text.encode())
                self.kept_output = path

    @property
    def author(self) -> Any:
        """The node as its own code sees it."""
        author = self._author
        if author is None:
            author, self._facts = author_of(self.node, self)
            self._author = author
            if not self.node._node_single_use:
                self._before = author.__dict__.copy()
            author._node_generation = self
        return author

    @property
    def _lock(self) -> threading.RLock:
        return self._loading.setdefault(None, threading.RLock())

    def facts(self) -> dict[str, Any]:
        """Facts about the node itself for its record: as it was at the beginning, even if its own code changes it."""
        facts: dict[str, Any] = facts_of(self.node) if self._facts is None else self._facts
        self._facts = facts
        return facts

    def seconds(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self.clock

    def input(self, node: Node, known: bool = False) -> Any:
        """The payload of a node upstream: loaded anew and read-only, once, and never the object that a caller holds.

        known: return UNREAD for a node that is not directly upstream and whose payload was neither given nor read before.
        """
        found = self._inputs.get(node.key, UNREAD)
        if found is UNREAD and known:
            if self._upstream_keys is None:
                self._upstream_keys = frozenset([upstream.key for upstream in self.node._node_upstream.values()])
            if node.key not in self._upstream_keys:
                return UNREAD
        if found is UNREAD or found.__class__ is InMemoryCopy:
            with self._loading.setdefault(node.key, threading.RLock()):  # the author's threads may ask for several at once
                found = self._inputs.get(node.key, UNREAD)
                if type(found) is InMemoryCopy:
                    found = self._inputs[node.key] = found.copy(taker=self.node.place)
                elif found is UNREAD:
                    with nullcontext() if current.get() is not None else events.receive_events_with(self.hooks):
                        found = self._inputs[node.key] = self._load(node)
        if found is FAILED:
            raise UpstreamFailed(f"{node.key} failed, so there is no payload of it", key=node.key)
        return found

    def _load(self, node: Node) -> Any:
        if self._many is not None or len(self.node._node_upstream) >= MANY:
            with self._lock:
                many = self._many = self._many or Inputs(stored_upstream(self.author, self.store))
            loaded = many.load(node)
            if loaded is not None:
                self.used[node.key] = loaded[1]
                return loaded[0]
        store = node._node_store or self.store
        return load_or_generate(bound_to(node, store), store, {}, writable=False, used=self.used)[0]

    def rng(self) -> Any:
        """A `numpy.random.Generator` seeded from the digest: the same numbers in every generation of this payload."""
        if self._rng is None:
            from numpy.random import PCG64, Generator, SeedSequence

            with self._lock:
                if self._rng is None:
                    self._rng = Generator(PCG64(SeedSequence(int(self.node.key.digest, 16))))
        return self._rng

    def scratch(self) -> Path:
        """A private folder that survives a killed or failed attempt and is removed at the commit."""
        with self._lock:
            if self._scratch is None:
                folder = scratch_folder(self.store, self.node.place)
                if self.claim is None:  # then others may generate the same payload at the same time
                    folder /= f"unclaimed-{os.urandom(4).hex()}"
                folder.mkdir(parents=True, exist_ok=True)
                self._scratch = folder
        return self._scratch

    def allocate(self, shape: int | tuple[int, ...], dtype: Any) -> Any:
        """A zeroed array mapped in the payload's own uncommitted file if store and format support that, else in the scratch folder."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if self._allocated is None and self.claim is not None:
            self._allocated = files.Allocated(self.store, self._target(self.io.suffix), self.io)
        if self._allocated is not None and self._allocated.in_place:
            return self._allocated.array(shape, dtype)
        from persistable.fileio.allocation import array_in

        folder = self.scratch()
        with room_in(self.store.url, f"in {folder} for an array of shape {shape}, on its way into {self.store.url}"):
            return array_in(folder, shape, dtype)

    def progress(self, done: float, total: float | None) -> None:
        """Announce the progress: at the first call, then at intervals, and at the end."""
        now = time.monotonic()
        if now < self._quiet_until and done != total:
            return
        self._quiet_until = now + _PROGRESS
        token = capture.silent.set(True)  # else prints of hooks would be the node's
        try:
            events.emit(events.Progressed(key=self.node.key, done=done, total=total), self.node._node_logger, self.hooks)
        finally:
            capture.silent.reset(token)

    def get_item_writer(self) -> ItemWriter:
        """The writer of the items that the node's own code yields."""
        with self._lock:
            if self.item_writer is None:
                self.item_writer = ItemWriter(self)
        return self.item_writer

    def get_row_writer(self) -> RowWriter:
        """The writer of the rows that the node's own code appends."""
        with self._lock:
            if self.row_writer is None:
                io = self.io if self.claim is not None else self.node._node_format()
                self.row_writer = RowWriter(self, io, self.scratch() / "appended")
        return self.row_writer

    def whole(self, result: Any) -> Any:
        """The payload that the node's own code has made: returned, yielded as items, or appended."""
        if isinstance(result, GeneratorType):
            return self.get_item_writer().gather(cast("GeneratorType[Any, None, None]", result))
        if self.row_writer is None or not (isinstance(result, Appended) or self.row_writer.used):
            return result
        if result is not None and not isinstance(result, Appended):
            raise PayloadNotRepresentable(
                f"{self.node.key} has appended {self.row_writer.rows:d} rows and returned a {type(result).__name__}, of which one would be "
                "lost; return what `appended` gives, or nothing",
                format=type(self.node._node_format()).__name__,
                reason="two payloads",
            )
        return self.row_writer.whole()

    def seal(self) -> None:
        """Finish the items once the record is stored."""
        if self.item_writer is not None:
            with suppress(StoreError):
                self.item_writer.finish()

    def write(self, result: Any) -> files.Written:
        """Write the payload's files, and that of the output; they are not read before the record names them."""
        if self.output is not None:
            self._keep_output()
        if isinstance(result, CommittedItems):
            return result.commit(self.store, self._target(items.INDEX_SUFFIX), self.io)
        return files.write(self.into, self._target(self.io.suffix), self.io, result, self._allocated)

    def _target(self, suffix: str) -> str:
        node, place = self.node, self.place
        if isinstance(place, Placed):
            return attempt_path(place, self.token)
        kind: Any = node.__class__
        if kind.payload_file_suffix.__class__ is str or "payload_file_suffix" in node.__dict__:
            suffix = suffix_of(node, suffix)
        return f"{place.name}/{place.digest}.{self.token}{suffix}"

    def attached(self, kind: type[Any]) -> Any:
        """An object of `kind` that belongs to this generation and is closed with it."""
        with self._lock:
            if self._attached is None:
                self._attached = kind()
        return self._attached

    def close(self) -> None:
        """End the generation: release inputs and resources, and remove its temporary files."""
        self.over = True
        self._inputs = {}
        self._many = None
        author, self._author = self._author, None  # else payloads would live until the next garbage collection
        if author is not None:
            del author._node_generation
            before, state = self._before, author.__dict__
            if before is not None and not (len(state) == len(before) and all(map(is_, state.values(), before.values()))):
                copy_new_attributes(self.node, author, before)
        if self._attached is not None:
            self._attached.close()
        if self._allocated is not None:
            self._allocated.discard()
        if self.row_writer is not None:
            self.row_writer.close()
        if (self.committed or self.claim is None) and self._scratch is not None:
            import shutil

            self.afterwards(partial(shutil.rmtree, self._scratch, ignore_errors=True))

    def afterwards(self, act: Callable[[], object]) -> None:
        """Call `act` as soon as the written files are in the store."""
        if self.into is self.store:
            act()
        else:
            self.into.afterwards(act)


# generating


def _token(found: Record | Unusable | None) -> Token:
    return found.attempt_token if isinstance(found, Record) else found


def load_or_generate(
    node: Node, store: Store, untracked: dict[str, Any], *, writable: bool = True, used: dict[Key, Record] | None = None
) -> tuple[Any, bool]:
    """The payload, and whether it was loaded: it is, if stored and sound; else it is generated, once for all simultaneous callers.

    `used`: gets the record of a payload loaded for a generation, which has checked already for changes upstream.
    """
    if node.is_external:
        return node._node_call_hook("_generate_payload", untracked), True
    if not node.is_persisted:
        return private_copy(generate(node, store, untracked, writable=writable), writable), False
    if "_is_leaf" in node.__dict__:
        loaded = _load_leaf(node, store)
        if used is not None:
            used[node.key] = loaded[1]
        return loaded[0], True
    seen: Token = None
    try:
        found = load(node, store, writable=writable, whole=used is None)
    except PayloadCorrupted as error:
        seen = _refused(store, node, error)
    else:
        if found is not None:
            if used is not None:
                used[node.key] = found[1]
            return found[0], True
    return generate(node, store, untracked, seen=(seen,), writable=writable), False


def _load_leaf(node: Node, store: Store) -> tuple[Any, Record]:
    """The payload of a node that was sent here without its upstream, so that it cannot be generated, and its record."""
    loaded = load(node, store, writable=False, whole=False)
    if loaded is None:
        raise PayloadNotFound(f"{node.key} was stored in {store.url} when the job that needs it began, and is not any more", key=node.key)
    return loaded


def _refused(store: Store, node: Node, error: PayloadCorrupted) -> str | Unusable:
    """The state of a corrupt payload, after a warning that it will be generated again; raises `error` for one put in by hand."""
    try:
        record = find_record(store, node.place)
    except PayloadCorrupted:
        record = None
    if record is not None and record.by_hand:
        error.add_note(f"{node.key} was put in by hand, so it is not generated again: put it in again, or delete it")
        raise error
    warnings.warn(f"{error.args[0]} (doing so now)", CorruptPayloadWarning, stacklevel=depth_of_user())
    return DAMAGED if record is None else record.attempt_token


def generate(
    node: Node,
    store: Store,
    untracked: dict[str, Any],
    *,
    persist: bool = True,
    writable: bool = True,
    seen: tuple[Token] | None = None,
    given: dict[Key, Any] | None = None,
    attempt: int = 1,
    read: bool = True,
    looked: bool = False,
    waits: bool = True,
    failures: int | None = None,
) -> Any:
    """Generate the payload and commit it, unless another process commits one while this one waits for the claim: then load that.

    `seen`: the state that the caller found in the store, if it has looked. `given`: the payloads of upstream nodes that are not
    persisted, if the caller has prepared everything upstream. `attempt`: the number of this attempt, if no failure is stored. `read`:
    False if the value is not needed: it is UNREAD then if the payload may be larger than memory. `looked`: whether the caller has checked
    already for changes upstream. `waits`: False to raise GeneratedElsewhere instead of waiting for another process, or loading its payload.
    `failures`: the number of failed attempts that the caller knows of, after which GeneratedElsewhere is raised once there are as many
    more as its `Retry` allows; None: it is tried, however often it has failed.
    """
    if not (persist and node.is_persisted):
        if given is None:
            given = _prepared(node, store, looked) if node._node_upstream else {}
        return _perform(node, store, None, untracked, given, writable, attempt=attempt)
    place: Place = node.place
    before = seen[0] if seen is not None else _token(peek(store, place))
    lock = Lock(store, place, True, waits)
    try:
        if given is None:
            given = _prepared(node, store, looked) if node._node_upstream else {}
        result: Any = GONE
        while result is GONE:
            result = _generate_alone(node, store, place, untracked, before, given, writable, waits, failures)
        return load_or_generate(node, store, untracked, writable=writable)[0] if result is UNREAD and read else result
    finally:
        lock.release()


def _generate_alone(
    node: Node,
    store: Store,
    place: Place,
    untracked: dict[str, Any],
    before: Token,
    given: Mapping[Key, Any],
    writable: bool,
    waits: bool,
    failures: int | None,
) -> Any:
    """Generate the payload under its claim, or load one that another process has committed since the state `before`, see `generate`."""
    claim = claims.acquire(
        store,
        f"{place.name}/{place.digest}" if place.__class__ is Key else place.path,
        lambda: _token(peek(store, place)) not in (before, None, DAMAGED),
        sys._getframe(),  # pyright: ignore[reportPrivateUsage]
        waits,
        partial(Waiting, store, place),
    )
    try:
        if claim is not None and isinstance(place, Placed):
            complete_any(store, place)
        found = peek(store, place)
        if found is not None and _token(found) not in (before, DAMAGED):
            if not waits:
                raise claims.GeneratedElsewhere("stored")
            loaded = load(node, store, writable=writable, whole=False)
            if loaded is not None:
                return loaded[0]
        if claim is None:
            return GONE
        old = found if found is not None or place.__class__ is Key else replaced(store, place, found)
        result = _perform(node, store, claim, untracked, given, writable, old, failures=failures)
        if claim.epoch > 1:  # a killed process held it before: remove its leftovers too
            with suppress(StoreError):
                sweep(store, place, scratch=True)
        return result
    except ClaimLost:
        if isinstance(place, Placed):
            complete_any(store, place)  # the process that was first may still be moving it
        found = peek(store, place)
        if not waits and _token(found) not in (before, None, DAMAGED):
            raise claims.GeneratedElsewhere("stored") from None
        loaded = load(node, store, writable=writable, whole=False) if _token(found) not in (before, None, DAMAGED) else None
        if loaded is None:
            raise
        return loaded[0]  # the process that took over has committed it
    finally:
        if claim is not None:
            claim.release()


def persist(node: Node, store: Store, result: Any, made: str = "generated", notes: Mapping[str, Any] | None = None) -> Any:
    """Commit a payload that is already in memory, or in a file; the value is the payload, read back.

    made: ``"put"`` for one that was put in by hand, ``"adopted"`` for a file made elsewhere. notes: for the record.
    """
    place: Place = node.place
    lock = Lock(store, place)
    try:
        claim = claims.acquire(store, place.path, lambda: False, claims.current_frame())
        assert claim is not None
        generation = Generation(node, store, claim, 1)
        generation.made, generation.begun = made, None
        if notes is not None:
            generation.notes = dict(notes)
        try:
            if isinstance(result, items.Collected):
                result = generation.get_item_writer().gather_held(cast("Any", result))
            return _commit(generation, result, find_failure(store, place), True, replaced(store, place, peek(store, place)))
        finally:
            generation.close()
            claim.release()
    finally:
        lock.release()


def _prepared(node: Node, store: Store, looked: bool) -> dict[Key, Any]:
    """Prepare everything upstream, see `prerequisites.prepare`; then, unless `looked`, warn of stale payloads upstream."""
    given = prerequisites.prepare(node, store, _generate_ahead, lambda each, where: load_or_generate(each, where, {}, writable=False)[0])
    if not looked:
        warn_stale_upstream(upstream_digests.direct(node, store))
    return given


def _generate_ahead(node: Node, store: Store, given: dict[Key, Any] | None) -> Any:
    """Generate `node` for the nodes downstream of it; the value is the payload if it is not persisted."""
    if node.is_persisted:
        return generate(node, store, {}, seen=(None,), writable=False, read=False, given=given, looked=True)
    return _perform(node, store, None, {}, given or {}, False)


def perform_into(
    into: Any,
    node: Node,
    store: Store,
    claim: claims.Claims,
    given: Mapping[Key, Any],
    failure: Failure | None,
    attempt: int,
    inputs: Inputs | None,
) -> None:
    """Make one attempt at `node`, of which nothing is stored but `failure`, under a claim that includes its key.

    Writes to `store` and deletions there go to `into`, which has the methods of a store and `afterwards`. inputs: payloads upstream of it,
    and of other nodes that are generated with it.
    """
    _attempt(Generation(node, store, claim, failure.attempt + 1 if failure else attempt, given, into, inputs), {}, failure, False, None)


def _perform(
    node: Node,
    store: Store,
    claim: claims.Claim | None,
    untracked: dict[str, Any],
    given: Mapping[Key, Any],
    writable: bool,
    old: Record | Unusable | None = None,
    attempt: int = 1,
    failures: int | None = None,
) -> Any:
    """Make one attempt. old: the record, or state, that it will replace. failures: see `generate`."""
    failure = find_failure(store, node.key if node._node_custom_path is None else node.place) if claim is not None else None
    if (
        failure is not None
        and failures is not None
        and failure.attempt >= failures + (node.retry.attempts if node.retry is not None else 1)
    ):
        raise claims.GeneratedElsewhere("failed")
    generation = Generation(node, store, claim, failure.attempt + 1 if failure else attempt, given)
    if claim is None and current.get() is not None:  # a node that asks for itself is detected here, inside its own code
        lock = Lock(store, node.key, alone=False)
        try:
            return _attempt(generation, untracked, failure, writable, old)
        finally:
            lock.release()
    result = _attempt(generation, untracked, failure, writable, old)
    if failure is not None and may_have_left(failure):
        with suppress(StoreError):
            sweep(store, node.place)
    return result


def _attempt(
    generation: Generation, untracked: dict[str, Any], failure: Failure | None, writable: bool, old: Record | Unusable | None
) -> Any:
    node = generation.node
    node._node_check_params()
    generation.heard = events.has_receiver(node._node_logger)
    if generation.heard:
        events.emit(events.Started(key=node.key, attempt=generation.attempt, label=node.label), node._node_logger)
    author = generation.author
    make = partial(author._node_call_hook, "_generate_payload", untracked) if untracked else author._generate_payload
    return finish_attempt(generation, make, failure, writable, old)


def finish_attempt(
    generation: Generation,
    make: Callable[[], Any],
    failure: Failure | None = None,
    writable: bool = False,
    old: Record | Unusable | None = None,
) -> Any:
    """Finish a started attempt: run the node's own code by `make`, then commit the payload, or record the failure and raise it."""
    node, claim = generation.node, generation.claim
    try:
        with generation:
            result = _made(generation, make)
        if claim is None:
            if result.__class__ not in ATOMS:
                refuse_iterator(result, node.key)
            return result
        try:
            return _commit(generation, result, failure, writable, old)
        except Exception as error:
            kept = generation.committed or isinstance(result, CommittedItems) or isinstance(error, ClaimLost)
            if not kept and "rescued" not in error.__dict__:
                rescue(generation.store, node.key, result, error)
            raise
    except (KeyboardInterrupt, UpstreamNotSent):
        raise
    except BaseException as error:
        cleaned = clean(error)
        if not generation.committed and not isinstance(error, ClaimLost):
            if claim is not None and _is_overtaken(generation, old):
                raise claims.lost_to_others(node.key) from cleaned
            failing.fail(generation, cleaned, claim is not None)
        if cleaned is error:
            raise
        raise cleaned from None
    finally:
        generation.close()


def _made(generation: Generation, make: Callable[[], Any]) -> Any:
    """The payload that the node's own code makes, validated here if that is possible before it is written."""
    node = generation.node
    result = make()
    if result.__class__ is GeneratorType or generation.row_writer is not None:
        result = generation.whole(result)
    if result is None:
        declared_type.check_none_returned(node)
    elif result.__class__ is int or result.__class__ is float:
        result = declared_type.convert_returned(node, result)
    if generation.claim is None and isinstance(result, files.ExistingFile):
        result = result.load(node._node_format())
    if node.__class__._validate_payload is not NO_VALIDATION and not isinstance(result, files.ExistingFile):
        generation.author._validate_payload(result)  # else validated once it can be read, before its commit
    return result


def fail(generation: Generation, error: BaseException) -> None:
    """End an attempt whose own code has raised `error`, and record the failure; the caller raises it."""
    try:
        failing.fail(generation, clean(error), generation.claim is not None)
    finally:
        generation.close()


def _commit(generation: Generation, result: Any, failure: Failure | None, writable: bool, old: Record | Unusable | None) -> Any:
    """Write the payload, then read it back, so that the first access equals every later one, and put the record last."""
    node, store, place = generation.node, generation.into, generation.place
    assert generation.claim is not None
    in_file = isinstance(result, files.ExistingFile)
    if not in_file:
        node._node_payload = result  # should writing fail, the work is not lost: mend the cause and call persist()
    commit = Commit(store, place)
    written = generation.write(result)
    try:
        record = compose(generation, written, result)
        unread = isinstance(result, AppendedFile) and not node._node_validates()
        again = _opened(node, store, record) if unread else _read_back(generation, record, written, writable)
        if in_file and not unread and node._node_validates():
            with generation:
                generation.author._validate_payload(again)
        first = _is_contested(generation, old)
        if isinstance(place, Placed):
            written = written._replace(files=facts_in_place(written.files, place, generation.token))
            record = compose(generation, written, result)
        commit.put(record, first=first)
    except BaseException as error:
        if not commit.may_be_committed:
            if isinstance(result, files.ExistingFile) and isinstance(error, Exception) and not isinstance(error, ClaimLost):
                rescue(store, place.key, result, error, files=() if result.kept else written.files)
            remove(generation.store, generation.paths(written))  # buffered writes are dropped anyway
        raise
    generation.committed = True
    if isinstance(place, Placed):
        moved = _move_in_place(store, place, record)
        # the payload may refer to the path from which it was read, which has just changed
        if moved and isinstance(generation.io, PartsFileIO) and not unread:
            again = files.read(store, node.key, record.files, format_of(node, record), verify=False, writable=writable)
    if failure is not None or old is not None:
        clear(store, place, failure, old, record)
    if generation.item_writer is not None:
        generation.afterwards(generation.seal)
    if commit.interrupt is not None:
        raise commit.interrupt
    if generation.heard or events.has_receiver(node._node_logger):
        event = events.Persisted(key=node.key, size=record.size, seconds=generation.seconds())
        generation.afterwards(partial(events.emit, event, node._node_logger))
    if unread:
        node.reset_payload()
    else:
        node._node_payload = again
    return again


def _move_in_place(store: Store, place: Placed, record: Record) -> bool:
    """Move a committed payload to its path; False, after a warning, if it stays for now at the path it was written to."""
    try:
        moved = move_in_place(store, place, record)
    except StoreError as error:
        later = f"the payload of {place.key} is stored, and will be moved to {place.to} when it is next loaded"
        warnings.warn(f"{later}: {error}", FileInUseWarning, stacklevel=depth_of_user())
        return False
    if not moved:
        raise claims.lost_to_others(place.key)
    return True


def _is_contested(generation: Generation, old: Record | Unusable | None) -> bool:
    """Tell whether another process may be generating the same payload, so that only the first commits. Raises ClaimLost if one has."""
    claim, store, place = generation.claim, generation.store, generation.place
    if not isinstance(claim, claims.Claim) or not (claim.epoch > 1 or claim.is_lost()):
        return False
    found = replaced(store, place, peek(store, place))
    if _token(found) not in (_token(old), None, DAMAGED):
        raise claims.lost_to_others(place.key)
    return found is None


def _is_overtaken(generation: Generation, old: Record | Unusable | None) -> bool:
    """Tell whether another process has committed the same payload since this began."""
    try:
        _is_contested(generation, old)
    except ClaimLost:
        return True
    except StoreError:
        pass
    return False


def _read_back(generation: Generation, record: Record, written: files.Written, writable: bool) -> Any:
    """The payload as any later load gives it; one that cannot be read again raises here, before its commit."""
    node, store, io = generation.node, generation.into, generation.io
    if "schema" in record.head:
        io = format_of(node, record)
    if "items" in record.head:
        return read(store, record, io, verify=False, writable=writable)
    if written.data is not None:
        return io.loads(bytearray(written.data) if writable and io.maps else written.data)
    try:
        return files.read_back(store, node.key, written, io, writable)
    except PayloadCorrupted as error:
        raise error.__cause__ or error from None  # nothing is stored yet that could be corrupt


def _opened(node: Node, store: Store, record: Record) -> Any:
    """Open the payload: one that cannot be opened raises here, before its commit. The value is UNREAD."""
    try:
        files.read_part(store, node.key, record.head["files"], format_of(node, record), slice(0, 0), None, verify=False)
    except PayloadCorrupted as error:
        raise error.__cause__ or error from None
    return UNREAD
