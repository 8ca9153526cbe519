"""Mutual exclusion: `Lock` among the threads of a process, `Claim` among processes, by exclusive create in the store of the payload.

A claim is a small file that names its owner: host, process and process start. It is never rewritten. A claim whose owner is gone is taken
over by exclusively creating the next one in a row, ``.claim``, ``.claim.2``, ``.claim.3``: the highest is the valid one. A release
removes the row from the lowest up, so that an owner suspended during a takeover finds its own file gone or outnumbered, and commits
nothing.

For processes of this host it is known at once whether an owner is gone. For others, and for stopped processes, a heartbeat decides, a
counter in a file of its own: a waiting process measures with its own clock how long the counter stands still, so that clocks of different
hosts are never compared.

A thread that waits for a lock while it has one itself may wait in a circle: a node whose code asks for its own payload, or two whose code
asks for each other's. They would wait forever, so the thread that would close the circle gets a `LineageCycle`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from contextvars import ContextVar
from types import FrameType
from typing import Any, Literal, Protocol

from persistable.errors import ClaimLost, LineageCycle
from persistable.records import heartbeat, owners, store_format
from persistable.records.claim_watch import SUFFIX, ClaimWatch, content_of, highest, is_abandoned_claim, path_of, stays_damaged
from persistable.records.heartbeat import active, beat_of, now, ttl_of
from persistable.records.key import Key, Place
from persistable.stores.base import BaseStore, Bytes, Store, extended, stat_many

_PRIMARY_ITSELF = BaseStore.primary_store
_TRIES = 60
"""Times that the heartbeat tries to release a claim that was left behind."""


class _Held:
    """The state of a claim on one key or on several: whether it is held, since when, and by which call."""

    __slots__ = ("_beat_at", "_beating", "_holder", "_over", "_since", "_store", "_tries", "held", "ttl")

    _store: Store
    _holder: FrameType | None
    _over: bool
    _since: float
    _beat_at: float
    held: bool
    """True once it is known to be held; before, it is only being requested."""
    ttl: float
    """Seconds a heartbeat may stand still."""

    @property
    def beat_every(self) -> float:
        """Seconds between two beats of the heartbeat."""
        return beat_of(self._store)

    def is_due(self) -> bool:
        """Tell whether it is time for a beat."""
        return self.held and now() - self._beat_at > self.beat_every

    def age(self) -> float:
        """Seconds held, by this process's clock."""
        return now() - self._since

    def is_over(self) -> bool:
        """Tell whether no call can use it any more."""
        return self._over or (self._holder is not None and has_ended(self._holder))

    def _is_mine(self, content: bytes | None) -> bool:
        return content == owners.mine() or (content is not None and self.held and owners.was_mine(content))

    def drop(self) -> None:
        """Note that nothing is left to release."""
        active.discard(self)
        self._holder = None


class Claim(_Held):
    """The right to generate one key. Held until `release`, or until no running call can use it."""

    __slots__ = ("_base", "beats", "epoch", "waited")

    def __init__(self, store: Store, base: str, holder: FrameType | None = None) -> None:
        seen = getattr(store, "format_seen", None)
        if seen is None or not seen.ready:
            store_format.before_writing(store)
        self._store = store
        self.ttl = getattr(store, "claim_ttl", None) or (
            heartbeat.TTL if getattr(type(store), "primary_store", None) is _PRIMARY_ITSELF else ttl_of(store)
        )
        self._base = base
        self.epoch = 1
        """The number of the claim in its row; more than 1 where claims that were left behind have been taken over."""
        self._holder = holder
        self._since = self._beat_at = now()
        self._over = False
        self._tries = 0
        self.held = False
        self.waited = False
        """True if another claim was there first."""
        self.beats = 0
        self._beating = threading.Lock()
        active.add(self)  # before there is a file: an interrupt may come at any time, and the heartbeat clears up after it
        if heartbeat.thread is None or not heartbeat.thread.is_alive():
            heartbeat.start()

    def try_epoch(self, epoch: int, predecessor: bytes | None) -> bool:
        """Create the file of that epoch, and return whether the claim is held now."""
        self.epoch = epoch
        if epoch == 1:  # as `_create`, but without a call, which would slow down a miss
            path = self._base + SUFFIX
            created = self._store.create(path, owners.written or owners.mine())
            self.held = created and not self._store.exists(path + ".2")
            if created and not self.held:
                self._store.delete(path)
        else:
            self.held = _create(self._store, self._base, epoch, predecessor)
        if self.held:
            self._since = self._beat_at = now()
        return self.held

    def confirm(self, key: Key) -> None:
        """Raise ClaimLost if another process has taken over."""
        if self.is_lost():
            raise lost_to_others(key)

    def is_lost(self) -> bool:
        """Tell whether another process has taken over. Cheap for short generations: no process may take over before the TTL."""
        return now() - self._since > self.ttl / 4 and not self._mine()

    def _mine(self) -> bool:
        content = content_of(self._store, path_of(self._base, self.epoch))
        return self._is_mine(content) and not self._store.exists(path_of(self._base, self.epoch + 1))

    def beat(self) -> None:
        """Advance the heartbeat, if this process is still the owner."""
        with self._beating:
            if self in active and self.held and not self._over and self._mine():
                self.beats += 1
                self._beat_at = now()
                self._store.put(self._base + ".beat", b"%d" % self.beats)

    def is_on(self, store: Store, base: str) -> bool:
        """Tell whether it is a held claim on `base` that a running call may use."""
        return self.held and self._base == base and not self.is_over() and self._store.url == store.url

    def release(self) -> None:
        """Release it. Never raises an error: a claim that could not be released is given up later, or taken over."""
        self._over = True  # after an interrupt, the heartbeat finishes the release
        beating_is_over = self._beating.acquire(timeout=self.ttl / 4)  # or a beat under way would write its file later
        try:
            if self.held and (now() - self._since <= self.ttl / 4 or self._mine()):
                if self.epoch == 1 and not self.beats:
                    self._store.delete(self._base + SUFFIX)
                else:
                    self._clear()
        except OSError:
            return
        finally:
            if beating_is_over:
                self._beating.release()
        active.discard(self)
        self._holder = None  # as `drop`, but without a call

    def give_up(self) -> None:
        """Release a claim that was left behind, or only forget it if another claim of this process on the same key is in use."""
        self._over = True
        self._tries += 1
        try:
            if any(claim is not self and claim.is_on(self._store, self._base) for claim in list(active)):
                self.drop()
            elif self._mine():
                self._clear()
                self.drop()
            elif extended(self._store).definite or self._tries > _TRIES:  # else a request under way may still create it
                self.drop()
        except OSError:
            if self._tries > _TRIES:
                self.drop()

    def _clear(self) -> None:
        for epoch in range(1, self.epoch + 1):
            self._store.delete(path_of(self._base, epoch))
        if self.beats or self.epoch > 1:  # claims before it may have written it
            self._store.delete(self._base + ".beat")


class Claims(_Held):
    """The right to generate several keys: claimed together, released in parts. Keys that others hold are left out, without waiting.

    bases: the keys that are held. new: those of them without any other file at that time, as far as the store reports it.
    """

    def __init__(self, store: Any, bases: Iterable[str], holder: FrameType | None = None) -> None:
        """Claim those of `bases` that have no claim."""
        store_format.before_writing(store)
        self._store = store
        self.ttl = ttl_of(store)
        self._beats: dict[str, int] = {}
        self._beating = threading.Lock()
        self._holder = holder
        self._over = False
        self._tries = 0
        self._since = self._beat_at = now()
        self.held = False
        self.bases = set(bases)
        active.add(self)
        claims = dict.fromkeys([path_of(base, 1) for base in self.bases], owners.mine())
        created, fresh = extended(store).create_fresh(claims)
        # a later epoch there was left by an owner that was killed during a release: it decides
        doubtful = created - fresh
        succeeded = stat_many(store, [f"{path}.2" for path in doubtful]) if doubtful else {}
        outnumbered = [path for path in created if f"{path}.2" in succeeded]
        if outnumbered:
            extended(store).change_many(delete=outnumbered)
        self.bases = {path.removesuffix(SUFFIX) for path in created.difference(outnumbered)}
        self.new = {path.removesuffix(SUFFIX) for path in fresh}
        self.held = True

    def confirm(self, key: Key) -> None:
        """Raise ClaimLost if another process has taken over."""
        if self.lost({key.path}):
            raise lost_to_others(key)

    def lost(self, bases: set[str]) -> set[str]:
        """The `bases` that others have taken over. Cheap while claims are young: no process may take over before the TTL."""
        return set() if self.age() <= self.ttl / 4 else self._not_mine(bases)

    def _not_mine(self, bases: set[str]) -> set[str]:
        found = self._store.get_many([path_of(base, epoch) for base in bases for epoch in (1, 2)])
        return {base for base in bases if not self._is_mine(found.get(path_of(base, 1))) or path_of(base, 2) in found}

    def beat(self) -> None:
        """Advance the heartbeats of all keys that are still held."""
        with self._beating:
            self._beat_at = now()
            mine = self.bases - self.lost(self.bases)
            self._beats.update({base: self._beats.get(base, 0) + 1 for base in mine})
            self._store.put_many({base + ".beat": b"%d" % self._beats[base] for base in mine})

    def is_on(self, store: Store, base: str) -> bool:
        """Tell whether it is a held claim on `base` that a running call may use."""
        return self.held and base in self.bases and not self.is_over() and self._store.url == store.url

    def give_back(self, bases: set[str], *stages: Mapping[str, Bytes], delete: Iterable[str] = ()) -> None:
        """Put and delete files as `BaseStore.change_many` does, and release `bases`, all in one call of the store."""
        with self._beating:  # a beat under way would write its file later
            kept = bases - self.lost(bases)
            mine = [path_of(base, 1) for base in kept] + [base + ".beat" for base in kept if base in self._beats]
            extended(self._store).change_many(*stages, delete=[*delete, *mine])
            self.bases -= bases
        if not self.bases:
            self.drop()

    def release(self) -> None:
        """Release all keys that are left. Never raises an error: claims that could not be released are given up later, or taken over."""
        self._over = True
        try:
            self.give_back(set(self.bases))
        except OSError:
            return
        self.drop()

    def give_up(self) -> None:
        """Release claims that were left behind, except where another claim of this process on the same key is in use."""
        self._over = True
        self._tries += 1
        try:
            others = [claim for claim in list(active) if claim is not self]
            bases = {base for base in self.bases if not any(claim.is_on(self._store, base) for claim in others)}
            mine = bases - self._not_mine(bases) if bases else bases
            extended(self._store).change_many(delete=[path for base in mine for path in (path_of(base, 1), base + ".beat")])
            self.drop()
        except OSError:
            if self._tries > _TRIES:
                self.drop()


def current_frame() -> FrameType:
    """Return the frame of the caller, to pass it as `holder` of a claim: the claim counts as used while the call runs, and no longer."""
    return sys._getframe(1)  # pyright: ignore[reportPrivateUsage]


def has_ended(call: FrameType) -> bool:
    """Tell whether a call has ended, in any way; its local variables are then cleared, if a traceback still had them."""
    try:
        call.clear()
    except RuntimeError:  # it runs
        return False
    return True


class GeneratedElsewhere(Exception):
    """Raised instead of generating, where another process generates the payload or has done so.

    state: ``"held"`` if it is being generated now, ``"stored"`` if it has been committed meanwhile, ``"failed"`` if that has failed.
    """

    def __init__(self, state: Literal["held", "stored", "failed"]) -> None:
        super().__init__(state)
        self.state = state


def acquire(
    store: Store,
    base: str,
    done: Callable[[], bool],
    holder: FrameType | None = None,
    waits: bool = True,
    waiting: Callable[[], Wait] | None = None,
) -> Claim | None:
    """Wait for the claim on `base` and return it, once no other process holds it.

    None once `done()` says, after another process has released it, that it is no longer needed. `holder`: the call that uses the claim, see
    `current_frame`; remains of the claim after an interrupt are given up when that call has ended. `waits`: False to raise
    GeneratedElsewhere while another process holds it. `waiting`: makes the `Wait` that is called between two checks of such a claim.
    """
    claim = Claim(store, base, holder)
    try:
        if claim.try_epoch(1, None):
            return claim
        claim.waited = True
        return _wait_for(claim, ClaimWatch(store, base), done, waits, waiting)
    except GeneratedElsewhere:
        claim.drop()
        raise
    except BaseException:
        claim._over = True  # the heartbeat clears up any part of it  # pyright: ignore[reportPrivateUsage]
        raise


class Wait(Protocol):
    """One wait for a claim: `look` is called between two looks at the claim, `close` at the end."""

    def look(self) -> None: ...

    def close(self) -> None: ...


def _wait_for(claim: Claim, watch: ClaimWatch, done: Callable[[], bool], waits: bool, waiting: Callable[[], Wait] | None) -> Claim | None:
    pauses = watch.pauses()
    with closing(waiting()) if waiting is not None else nullcontext() as wait:
        while True:
            seen = False
            while (sight := watch.look()) == "held":
                if not waits:
                    raise GeneratedElsewhere("held")
                seen = True
                pauses.sleep()
                if wait is not None:
                    wait.look()
            if sight == "gone":
                if claim.try_epoch(watch.epoch + 1, watch.holder):
                    return claim
                continue
            if done():
                claim.drop()
                return None
            if not seen:  # refused, although no holder is visible: some file systems show changes of others late
                pauses.sleep()
            if claim.try_epoch(1, None):
                return claim


def take_over(store: Store, base: str, holder: FrameType | None = None, *, silent: bool = False) -> Claim | None:
    """Take the claim on `base`, if it is free or its owner is known to be gone; return None otherwise. Does not wait.

    silent: the caller has seen no sign of life of its owner for far longer than a heartbeat may stand still.
    """
    claim = Claim(store, base, holder)
    try:
        if claim.try_epoch(1, None):
            return claim
        found, epoch = highest(store, base)
        if found is not None and (
            silent or owners.is_dead(found) or is_abandoned_claim(store, base, found) or stays_damaged(store, base, epoch, found)
        ):
            claim.waited = True
            if claim.try_epoch(epoch + 1, found):
                return claim
    except BaseException:
        claim._over = True  # pyright: ignore[reportPrivateUsage]
        raise
    claim.drop()
    return None


def _create(store: Store, base: str, epoch: int, predecessor: bytes | None) -> bool:
    path = path_of(base, epoch)
    if not store.create(path, owners.mine()):
        return False
    # a later epoch was left by an owner that was killed during a release, or is about to be released: it decides;
    # and the predecessor may have been succeeded already
    if store.exists(path_of(base, epoch + 1)) or (epoch > 1 and content_of(store, path_of(base, epoch - 1)) != predecessor):
        store.delete(path)  # or it would stay, and name a process that is alive
        return False
    return True


def lost_to_others(key: Key) -> ClaimLost:
    """Return the error for a process that has lost its claim."""
    return ClaimLost(
        f"another process took over the generation of {key} while this one did not answer for longer than the TTL of claims; "
        "nothing was committed here, load its payload",
        key=key,
    )


# among the threads of this process

_Location = tuple[str, Place]
_LOOK = 0.5
"""Seconds after which a waiting thread checks whether an interrupt has ended the call with the lock."""

_locks: dict[_Location, Lock] = {}
_waiting: set[Lock] = set()
_guard = threading.Lock()
_innermost: ContextVar[Lock | None] = ContextVar("persistable_lock", default=None)


class Lock:
    """The right of one thread of this process to generate at `place`, acquired when this is made, until `release`.

    `alone`: False where several may do so at a time. `waits`: False to raise GeneratedElsewhere instead of waiting. Raises
    LineageCycle where the wait would never end.
    """

    __slots__ = ("_above", "_alone", "_call", "_ended", "_location", "_outer", "_waits")

    def __init__(self, store: Store, place: Place, alone: bool = True, waits: bool = True) -> None:
        self._location: _Location = (store.url, place)
        self._alone = alone
        self._waits = waits
        self._ended: list[threading.Event] = []
        self._call: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        self._above = _innermost.get()
        if self._above is not None:
            self._refuse_circle(self._location)
        if self._alone and _locks.setdefault(self._location, self) is not self:
            self._wait()
        self._outer = _innermost.set(self)

    def release(self) -> None:
        """Release the lock, and wake the threads that wait for it."""
        _innermost.reset(self._outer)
        if self._alone:
            with _guard:
                if _locks.get(self._location) is self:
                    del _locks[self._location]
                for event in self._ended:
                    event.set()
        self._call = None

    def _wait(self) -> None:
        try:
            while True:
                with _guard:
                    holder = _locks.setdefault(self._location, self)
                    if holder is not self and holder._is_over():
                        _locks[self._location] = holder = self
                    if holder is self:
                        return
                    if not self._waits:
                        raise GeneratedElsewhere("held")
                    ended = threading.Event()
                    holder._ended.append(ended)
                    _waiting.add(self)
                self._refuse_circle(self._location)
                ended.wait(_LOOK)
        finally:
            _waiting.discard(self)

    def _is_over(self) -> bool:
        """Tell whether an interrupt has ended the call with the lock, without a release."""
        return self._call is None or has_ended(self._call)

    def _upward(self) -> Iterator[Lock]:
        """The locks that enclose the request for this one, nearest first."""
        above = self._above
        while above is not None:
            if not above._is_over():
                yield above
            above = above._above

    def _refuse_circle(self, location: _Location) -> None:
        """Raise LineageCycle if the holder of `location` waits, perhaps through others, for a lock that encloses this one."""
        mine = {above._location for above in self._upward()}
        blocked: dict[_Location, list[_Location]] = {location: []}
        pending = [location]
        waiting = list(_waiting)
        while pending:
            this = pending.pop()
            if this in mine:
                raise _circle(
                    [place for _, place in [*reversed([above._location for above in self._upward()]), *blocked[this], this]], this
                )
            for other in waiting:
                if other is not self and other._location not in blocked and any(above._location == this for above in other._upward()):
                    blocked[other._location] = [*blocked[this], this]
                    pending.append(other._location)


def enclosing_generations() -> list[_Location]:
    """Store and place of each generation that encloses the current call, outermost first."""
    innermost = _innermost.get()
    if innermost is None:
        return []
    return [*reversed([each._location for each in innermost._upward()]), innermost._location]  # pyright: ignore[reportPrivateUsage]


def _circle(places: list[Place], closing: _Location) -> LineageCycle:
    first = places.index(closing[1])
    nodes = [str(place.key) for place in places[first:]]
    return cycle_error(nodes)


def cycle_error(nodes: list[str]) -> LineageCycle:
    """Return the error for nodes that ask for each other's payloads while they generate their own; the last node is the first again."""
    return LineageCycle(
        f"{nodes[0]} needs its own payload to be generated: {' -> '.join(nodes)}, each asked for by the code of the one before; "
        "hand in what it needs as upstream, or compute it without the node",
        nodes=nodes,
    )


def _after_fork() -> None:
    global _guard
    _guard = threading.Lock()
    _locks.clear()
    _waiting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
