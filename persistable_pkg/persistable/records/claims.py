"""The processes that generate a payload right now: claims, made by exclusive create, in the store that will hold the payload.

A claim is a small file that names its owner: host, process and process start. It is never rewritten. A claim whose owner is gone is taken
over by exclusively creating the next one in a row, ``.claim``, ``.claim.2``, ``.claim.3``: the highest is the valid one, and letting go
removes the row from the lowest up, so that an owner who slept through a takeover finds its own file gone or outnumbered, and commits
nothing.

Whether an owner is gone is seen at once for processes of this host. Otherwise, and for stopped processes, it is judged by a heartbeat, a
counter in a file of its own: whoever waits measures with its own clock how long the counter stands still, so that clocks of different hosts
are never compared.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import FrameType
from typing import Any, Literal, Protocol

from persistable.errors import ClaimLost
from persistable.records import owners, store_format
from persistable.records.key import Key
from persistable.stores.base import BaseStore, Bytes, Store, extended, stat_many

TTL = 60.0
"""Seconds a heartbeat may stand still before others take over."""
_MOMENT = 0.05
_now: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
"""Seconds on a clock that also runs while the machine sleeps, where there is one."""
_PRIMARY_ITSELF = BaseStore.primary_store
_GRACE = 1.0
"""Seconds for which a claim that nobody seems to have is left alone."""


class _Held:
    """The part of a claim on one key or on several that tells how long it is held, and by whom."""

    __slots__ = ("_beat_at", "_beating", "_holder", "_over", "_since", "_store", "_tries", "held", "ttl")

    _store: Store
    _holder: FrameType | None
    _over: bool
    _since: float
    _beat_at: float
    held: bool
    """True once it is known to be had; before, it is only being asked for."""
    ttl: float
    """Seconds a heartbeat may stand still."""

    @property
    def beat_every(self) -> float:
        """Seconds between two of its beats."""
        return beat_of(self._store)

    def is_due(self) -> bool:
        """Tell whether it is time for a beat."""
        return self.held and _now() - self._beat_at > self.beat_every

    def age(self) -> float:
        """Seconds held, by this process's clock."""
        return _now() - self._since

    def is_over(self) -> bool:
        """Tell whether nobody can use it any more."""
        return self._over or (self._holder is not None and has_ended(self._holder))

    def _is_mine(self, content: bytes | None) -> bool:
        return content == owners.mine() or (content is not None and self.held and owners.was_mine(content))

    def drop(self) -> None:
        """Note that there is nothing to release any more."""
        _active.discard(self)
        self._holder = None


class Claim(_Held):
    """The right to generate one key. Held until `release`, or until nothing runs any more that could use it."""

    __slots__ = ("_base", "beats", "epoch", "waited")

    def __init__(self, store: Store, base: str, holder: FrameType | None = None) -> None:
        seen = getattr(store, "format_seen", None)
        if seen is None or not seen.ready:
            store_format.before_writing(store)
        self._store = store
        self.ttl = getattr(store, "claim_ttl", None) or (
            TTL if getattr(type(store), "primary_store", None) is _PRIMARY_ITSELF else ttl_of(store)
        )
        self._base = base
        self.epoch = 1
        """More where it was left behind by somebody, who may have left more."""
        self._holder = holder
        self._since = self._beat_at = _now()
        self._over = False
        self._tries = 0
        self.held = False
        self.waited = False
        """True if somebody else held it first."""
        self.beats = 0
        self._beating = threading.Lock()
        _active.add(self)  # before there is a file: an interrupt may come at any time, and what it leaves is seen to
        if _heart is None or not _heart.is_alive():
            _start_heart()

    def try_epoch(self, epoch: int, predecessor: bytes | None) -> bool:
        """Create the file of that epoch; whether the claim is held now."""
        self.epoch = epoch
        if epoch == 1:  # as `_create`, without a call: it is felt in a miss
            path = self._base + _SUFFIX
            self.held = self._store.create(path, owners.written or owners.mine()) and not self._store.exists(path + ".2")
        else:
            self.held = _create(self._store, self._base, epoch, predecessor)
        if self.held:
            self._since = self._beat_at = _now()
        return self.held

    def confirm(self, key: Key) -> None:
        """Raise ClaimLost if another process has taken over."""
        if self.is_lost():
            raise lost_to_others(key)

    def is_lost(self) -> bool:
        """Tell whether another process has taken over. Cheap for short generations: nobody may take over before the TTL."""
        return _now() - self._since > self.ttl / 4 and not self._mine()

    def _mine(self) -> bool:
        content = _get(self._store, _path(self._base, self.epoch))
        return self._is_mine(content) and not self._store.exists(_path(self._base, self.epoch + 1))

    def beat(self) -> None:
        """Show that the owner lives, if it still is the owner."""
        with self._beating:
            if self in _active and self.held and not self._over and self._mine():
                self.beats += 1
                self._beat_at = _now()
                self._store.put(self._base + ".beat", b"%d" % self.beats)

    def is_on(self, store: Store, base: str) -> bool:
        """Tell whether it is held, and a claim on `base` that somebody uses."""
        return self.held and self._base == base and not self.is_over() and self._store.url == store.url

    def release(self) -> None:
        """Release it. Never raises an error: a claim left behind is given up later, or taken over."""
        self._over = True  # should an interrupt come: the heart finishes
        beating_is_over = self._beating.acquire(timeout=self.ttl / 4)  # or a beat under way would come after, and stay
        try:
            if self.held and (_now() - self._since <= self.ttl / 4 or self._mine()):
                if self.epoch == 1 and not self.beats:
                    self._store.delete(self._base + _SUFFIX)
                else:
                    self._clear()
        except OSError:
            return
        finally:
            if beating_is_over:
                self._beating.release()
        _active.discard(self)
        self._holder = None  # as `drop`, without a call

    def give_up(self) -> None:
        """Release what was left behind, once nobody else in this process has a claim on the same."""
        self._over = True
        self._tries += 1
        try:
            if any(claim is not self and claim.is_on(self._store, self._base) for claim in list(_active)):
                self.drop()
            elif self._mine():
                self._clear()
                self.drop()
            elif extended(self._store).definite or self._tries > _TRIES:  # else a request under way may still make it
                self.drop()
        except OSError:
            if self._tries > _TRIES:
                self.drop()

    def _clear(self) -> None:
        for epoch in range(1, self.epoch + 1):
            self._store.delete(_path(self._base, epoch))
        if self.beats:
            self._store.delete(self._base + ".beat")


class Claims(_Held):
    """The right to generate several keys: taken at once, given back in parts. What others hold is not waited for.

    bases: those that are held. new: those of them of which nothing else was there then, as far as the store tells.
    """

    def __init__(self, store: Any, bases: Iterable[str], holder: FrameType | None = None) -> None:
        """Claim what nobody has claimed of `bases`."""
        store_format.before_writing(store)
        self._store = store
        self.ttl = ttl_of(store)
        self._beats: dict[str, int] = {}
        self._beating = threading.Lock()
        self._holder = holder
        self._over = False
        self._tries = 0
        self._since = self._beat_at = _now()
        self.held = False
        self.bases = set(bases)
        _alive(self)
        claims = dict.fromkeys([_path(base, 1) for base in self.bases], owners.mine())
        created, fresh = extended(store).create_fresh(claims)
        # a later epoch there was left by an owner killed while letting go: it decides
        doubtful = created - fresh
        succeeded = stat_many(store, [f"{path}.2" for path in doubtful]) if doubtful else {}
        self.bases = {path.removesuffix(_SUFFIX) for path in created if f"{path}.2" not in succeeded}
        self.new = {path.removesuffix(_SUFFIX) for path in fresh}
        self.held = True

    def confirm(self, key: Key) -> None:
        """Raise ClaimLost if another process has taken over."""
        if self.lost({key.path}):
            raise lost_to_others(key)

    def lost(self, bases: set[str]) -> set[str]:
        """Those of `bases` that others have taken over. Cheap while claims are young: nobody may take over before the TTL."""
        return set() if self.age() <= self.ttl / 4 else self._not_mine(bases)

    def _not_mine(self, bases: set[str]) -> set[str]:
        found = self._store.get_many([_path(base, epoch) for base in bases for epoch in (1, 2)])
        return {base for base in bases if not self._is_mine(found.get(_path(base, 1))) or _path(base, 2) in found}

    def beat(self) -> None:
        """Show that the owner lives."""
        with self._beating:
            self._beat_at = _now()
            mine = self.bases - self.lost(self.bases)
            self._beats.update({base: self._beats.get(base, 0) + 1 for base in mine})
            self._store.put_many({base + ".beat": b"%d" % self._beats[base] for base in mine})

    def is_on(self, store: Store, base: str) -> bool:
        """Tell whether it is held, and a claim on `base` that somebody uses."""
        return self.held and base in self.bases and not self.is_over() and self._store.url == store.url

    def give_back(self, bases: set[str], *stages: Mapping[str, Bytes], delete: Iterable[str] = ()) -> None:
        """Put and delete what `BaseStore.change_many` would, and release `bases`, all in one call of the store."""
        with self._beating:  # a beat under way would come after, and stay
            kept = bases - self.lost(bases)
            mine = [_path(base, 1) for base in kept] + [base + ".beat" for base in kept if base in self._beats]
            extended(self._store).change_many(*stages, delete=[*delete, *mine])
            self.bases -= bases
        if not self.bases:
            self.drop()

    def release(self) -> None:
        """Release all that is left. Never raises an error: a claim left behind is given up later, or taken over."""
        self._over = True
        try:
            self.give_back(set(self.bases))
        except OSError:
            return
        self.drop()

    def give_up(self) -> None:
        """Release what was left behind, once nobody else in this process has a claim on the same."""
        self._over = True
        self._tries += 1
        try:
            others = [claim for claim in list(_active) if claim is not self]
            bases = {base for base in self.bases if not any(claim.is_on(self._store, base) for claim in others)}
            mine = bases - self._not_mine(bases) if bases else bases
            extended(self._store).change_many(delete=[path for base in mine for path in (_path(base, 1), base + ".beat")])
            self.drop()
        except OSError:
            if self._tries > _TRIES:
                self.drop()


def here() -> FrameType:
    """The call that asks: while it runs, the claim that it is given as `holder` of is used, and not longer."""
    return sys._getframe(1)  # pyright: ignore[reportPrivateUsage]


def has_ended(call: FrameType) -> bool:
    """Tell whether a call is over, however it ended; its local variables go then, if a traceback still had them."""
    try:
        call.clear()
    except RuntimeError:  # it runs
        return False
    return True


def ttl_of(store: Store) -> float:
    """Seconds a heartbeat in this store may stand still before others take over."""
    whole = extended(store)
    return whole.claim_ttl or extended(whole.primary_store).claim_ttl or TTL


def beat_of(store: Store) -> float:
    """Seconds between two beats of a claim in this store."""
    whole = extended(store)
    primary = extended(whole.primary_store)
    return whole.claim_beat or primary.claim_beat or (whole.claim_ttl or primary.claim_ttl or TTL) / 6


def poll_of(store: Store) -> float:
    """Seconds between two looks at what somebody else does in this store, for one who has waited long."""
    return extended(extended(store).primary_store).poll


class Elsewhere(Exception):
    """Raised in place of generating: another process has to do with the payload.

    what: ``"held"`` where somebody generates it now, ``"stored"`` where it has been committed meanwhile, ``"failed"`` where it has failed.
    """

    def __init__(self, what: Literal["held", "stored", "failed"]) -> None:
        super().__init__(what)
        self.what = what


def acquire(
    store: Store,
    base: str,
    done: Callable[[], bool],
    holder: FrameType | None = None,
    waits: bool = True,
    waiting: Callable[[], Wait] | None = None,
) -> Claim | None:
    """The claim on `base`, as soon as nobody else holds it.

    None once `done()` says, after somebody else has let go, that it is no longer needed. `holder`: the call that uses the claim, see
    `here`; what an interrupt leaves of the claim is given up when that is over. `waits`: False to raise Elsewhere while somebody else holds
    it. `waiting` gives what is asked between two looks at it, once somebody else holds it.
    """
    claim = Claim(store, base, holder)
    try:
        if claim.try_epoch(1, None):
            return claim
        claim.waited = True
        return _wait_for(claim, Vigil(store, base), done, waits, waiting)
    except Elsewhere:
        claim.drop()
        raise
    except BaseException:
        claim._over = True  # the heart sees to what there may be of it  # pyright: ignore[reportPrivateUsage]
        raise


class Wait(Protocol):
    """One wait for a claim: `look` is called between two looks at it, `close` at the end."""

    def look(self) -> None: ...

    def close(self) -> None: ...


def _wait_for(claim: Claim, vigil: Vigil, done: Callable[[], bool], waits: bool, waiting: Callable[[], Wait] | None) -> Claim | None:
    wait = waiting() if waiting is not None else None
    try:
        return _waited_for(claim, vigil, done, waits, wait)
    finally:
        if wait is not None:
            wait.close()


def _waited_for(claim: Claim, vigil: Vigil, done: Callable[[], bool], waits: bool, wait: Wait | None) -> Claim | None:
    pauses = vigil.pauses()
    while True:
        seen = False
        while (sight := vigil.look()) == "held":
            if not waits:
                raise Elsewhere("held")
            seen = True
            pauses.sleep()
            if wait is not None:
                wait.look()
        if sight == "gone":
            if claim.try_epoch(vigil.epoch + 1, vigil.holder):
                return claim
            continue
        if done():
            claim.drop()
            return None
        if not seen:  # refused, and yet nobody is seen to hold it: some file systems show late what others have done
            pauses.sleep()
        if claim.try_epoch(1, None):
            return claim


Sight = Literal["free", "held", "gone"]


class Vigil:
    """Watches the claim on `base` for somebody who waits: while its holder is the same, one request a look.

    holder: the highest claim that was seen, epoch: which that is.
    """

    def __init__(self, store: Store, base: str) -> None:
        self._store = store
        self._base = base
        self.ttl = ttl_of(store)
        self.holder: bytes | None = None
        self.epoch = 1
        self._beat: bytes | None = None
        self._since = self._asked = 0.0
        self._just_asked = False

    def pauses(self) -> Pauses:
        """The pauses between two looks at it."""
        return Pauses(poll_of(self._store), self.ttl)

    @property
    def path(self) -> str:
        """The claim that `look` would read next."""
        return _path(self._base, self.epoch)

    def look(self, found: bytes | None = None) -> Sight:
        """Tell whether somebody holds it who is not gone, as far as what was seen by now tells. `found`: what is at `path`, if known."""
        if self.holder is None or not self._is_same(found):
            self.holder, self.epoch = _holder(self._store, self._base)
            if self.holder is None:
                return "free"
            self._since = _now()
            if self._by_beat():
                self._hear()
        return "gone" if self._is_gone(self.holder) else "held"

    def _is_same(self, found: bytes | None) -> bool:
        if self._by_beat() and not self._just_asked and _now() - self._asked > self.ttl / 12:
            self._hear()
            if found is None:
                return True
        self._just_asked = False
        return (_get(self._store, self.path) if found is None else found) == self.holder

    def _hear(self) -> None:
        """Ask for the beat: what moves lives."""
        beat = _get(self._store, self._base + ".beat")
        self._asked, self._just_asked = _now(), True
        if beat != self._beat:
            self._beat, self._since = beat, _now()

    def _by_beat(self) -> bool:
        facts = owners.facts_of(self.holder or b"")
        return bool(facts) and self.holder != owners.mine() and owners.state_of(facts) == "unknown"

    def _is_gone(self, holder: bytes) -> bool:
        still = _now() - self._since
        if owners.is_damaged(holder):  # or, where a file is seen before its bytes are in it, only just made
            return still > min(_GRACE, self.ttl)
        if holder == owners.mine():  # left behind by this very process, unless it has only just been made
            return still > _GRACE and _is_left(self._store, self._base, holder)
        if not self._by_beat():
            self._since = _now()
            return owners.is_dead(holder)
        if still > self.ttl:
            self._hear()
        return _now() - self._since > self.ttl


class Pauses:
    """Pauses between looks at what somebody else does: longer and longer, and by chance, so that those who wait do not ask all at once."""

    def __init__(self, longest: float, ttl: float = TTL) -> None:
        self._longest = min(longest, ttl / 8)
        self._next = self._longest / 50

    def sleep(self) -> None:
        time.sleep(self.next())

    def next(self) -> float:
        """Seconds of the next."""
        pause = self._next
        self._next = min(pause * 1.5, self._longest)
        import random  # only who waits needs it

        return pause * random.uniform(0.75, 1.25)


def take_over(store: Store, base: str, holder: FrameType | None = None, *, silent: bool = False) -> Claim | None:
    """The claim on `base`, if nobody has it or its owner is known to be gone; None otherwise. Does not wait.

    silent: the caller has seen that its owner has shown no life for far longer than a heartbeat may stand still.
    """
    claim = Claim(store, base, holder)
    try:
        if claim.try_epoch(1, None):
            return claim
        found, epoch = _holder(store, base)
        if found is not None and (
            silent or owners.is_dead(found) or _is_left(store, base, found) or _stays_damaged(store, base, epoch, found)
        ):
            claim.waited = True
            if claim.try_epoch(epoch + 1, found):
                return claim
    except BaseException:
        claim._over = True  # pyright: ignore[reportPrivateUsage]
        raise
    claim.drop()
    return None


def holder_of(store: Store, base: str) -> dict[str, Any] | None:
    """Facts about whoever holds the claim on `base`; None if nobody does, or its owner is known to be dead."""
    holder, _ = _holder(store, base)
    return None if holder is None or owners.is_dead(holder) or owners.is_damaged(holder) else owners.facts_of(holder)


def by_whom(store: Store, base: str) -> str:
    """Who holds the claim on `base`, in words, and what becomes of it where nobody here can see whether they live."""
    holder = holder_of(store, base) or {}
    if "pid" not in holder:
        return "it is being generated"
    text = f"process {holder['pid']} on {str(holder.get('host', '')).partition(' ')[0]} generates it"
    if owners.state_of(holder) != "unknown":
        return text
    return f"{text}, and is taken over if its heartbeat stands still for {ttl_of(store):g} s (claim_ttl of the store)"


def forget_dead(store: Any, bases: Iterable[str]) -> None:
    """Remove the claims on `bases` whose owners are known to be dead, and which nobody has taken over; in two calls."""
    paths = {_path(base, 1): _path(base, 2) for base in bases}
    held = store.get_many(paths)
    taken_over = stat_many(store, [paths[path] for path in held])
    dead = [path for path, owner in held.items() if paths[path] not in taken_over and (owners.is_dead(owner) or owners.is_damaged(owner))]
    if dead:
        store.change_many(delete=dead)


def _is_left(store: Store, base: str, owner: bytes) -> bool:
    """Tell whether it was left behind by this very process."""
    return owner == owners.mine() and not any(claim.is_on(store, base) for claim in list(_active))


def _stays_damaged(store: Store, base: str, epoch: int, owner: bytes) -> bool:
    """Tell whether it can be read now or in a moment: some file systems show a file before its bytes are in it."""
    if not owners.is_damaged(owner):
        return False
    time.sleep(_MOMENT)
    return _get(store, _path(base, epoch)) == owner


def claimed_among(store: Store, bases: Iterable[str]) -> set[str]:
    """Those of `bases` with a claim of a first or second epoch, in one call: where it is worth asking `holder_of`."""
    paths = {_path(base, epoch): base for base in bases for epoch in (1, 2)}
    return {paths[path] for path in store.get_many(paths)}


def _create(store: Store, base: str, epoch: int, predecessor: bytes | None) -> bool:
    path = _path(base, epoch)
    if not store.create(path, owners.mine()):
        return False
    if store.exists(_path(base, epoch + 1)):  # left by an owner killed while letting go: it decides
        return False
    if epoch > 1 and _get(store, _path(base, epoch - 1)) != predecessor:
        store.delete(path)  # the one we meant to succeed has been succeeded already
        return False
    return True


def _holder(store: Store, base: str) -> tuple[bytes | None, int]:
    """Content and epoch of the highest claim; the next epoch to create if there is none."""
    content, epoch = _get(store, _path(base, 1)), 1
    while (above := _get(store, _path(base, epoch + 1))) is not None:
        content, epoch = above, epoch + 1
    return content, epoch


def _get(store: Store, path: str) -> bytes | None:
    try:
        return store.get(path)
    except FileNotFoundError:
        return None


_SUFFIX = ".claim"


def _path(base: str, epoch: int) -> str:
    return base + _SUFFIX if epoch == 1 else f"{base}{_SUFFIX}.{epoch}"


def lost_to_others(key: Key) -> ClaimLost:
    """The error of who has lost its claim."""
    return ClaimLost(
        f"another process took over the generation of {key} while this one did not answer for longer than the TTL of claims; "
        "nothing was committed here, load its payload",
        key=key,
    )


# heartbeats, and what interrupts leave: one thread for the whole process, alive only while something is being generated

_active: set[Claim | Claims] = set()
_heart: threading.Thread | None = None
_guard = threading.Lock()
_LOOK = 0.4
_TRIES = 60


def _alive(claim: Claim | Claims) -> None:
    _active.add(claim)
    if _heart is None or not _heart.is_alive():
        _start_heart()


def _start_heart() -> None:
    global _heart
    with _guard:
        if _heart is None or not _heart.is_alive():
            _heart = threading.Thread(target=_beat_on, name="persistable-heartbeat", daemon=True)
            _heart.start()


def _beat_on() -> None:
    global _heart
    idle = 0.0
    while True:
        pause = min([_LOOK, TTL / 6, *[claim.beat_every for claim in list(_active)]])
        time.sleep(pause)
        idle = 0.0 if _active else idle + pause
        for claim in list(_active):
            try:
                if claim.is_over():
                    claim.give_up()
                elif claim.is_due():
                    claim.beat()
            except Exception:  # noqa: BLE001 - the store may come back; if not, others rightly take over
                continue
        if idle > TTL / 3:
            with _guard:
                if not _active:
                    _heart = None
                    return


def _after_fork() -> None:
    global _heart, _guard
    _heart, _guard = None, threading.Lock()
    _active.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
