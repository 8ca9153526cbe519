"""Who is generating a payload right now: claims, made by exclusive create, in the store that will hold the payload.

A claim is a small file that names its owner: host, process and process start. It is never rewritten. A claim whose owner is gone is taken
over by exclusively creating the next one in a row, ``.claim``, ``.claim.2``, ``.claim.3``: the highest is the valid one, and letting go
removes the row from the lowest up, so that an owner who slept through a takeover finds its own file gone or outnumbered, and commits
nothing.

Whether an owner is gone is seen at once for processes of this host. Otherwise, and for stopped processes, it is judged by a heartbeat, a
counter in a file of its own: whoever waits measures with its own clock how long the counter stands still, so that clocks of different hosts
are never compared.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any, cast
from zlib import crc32

from blake3 import blake3

from persistable import store_format
from persistable.errors import ClaimLost
from persistable.key import Key
from persistable.stores.base import Bytes, Store, stat_many

TTL = 60.0
"""Seconds a heartbeat may stand still before others take over."""
_FIRST_WAIT, _LONGEST_WAIT = 0.005, 0.25
_GRACE = 1.0
"""Seconds for which a claim that nobody seems to have is left alone."""


class Claim:
    """The right to generate one key. Held until `release`, or until nothing runs any more that could use it."""

    __slots__ = (
        "_base",
        "_beat_at",
        "_beating",
        "_epoch",
        "_holder",
        "_over",
        "_since",
        "_store",
        "_tries",
        "_ttl",
        "beats",
        "held",
        "waited",
    )

    def __init__(self, store: Store, base: str, holder: FrameType | None = None) -> None:
        store_format.before_writing(store)
        self._store = store
        self._ttl = ttl_of(store)
        self._base = base
        self._epoch = 1
        self._holder = holder
        self._since = self._beat_at = _now()
        self._over = False
        self._tries = 0
        self.held = False
        """True once it is known to be had; before, it is only being asked for."""
        self.waited = False
        """True if somebody else held it first."""
        self.beats = 0
        self._beating = threading.Lock()
        _alive(self)  # before there is a file: an interrupt may come at any time, and what it leaves is seen to

    @property
    def ttl(self) -> float:
        """Seconds its heartbeat may stand still."""
        return self._ttl

    @property
    def taken_over(self) -> bool:
        """Tell whether it was left behind by somebody, who may have left more."""
        return self._epoch > 1

    def try_epoch(self, epoch: int, predecessor: bytes | None) -> bool:
        """Create the file of that epoch; whether the claim is held now."""
        self._epoch = epoch
        if _create(self._store, self._base, epoch, predecessor):
            self._since = self._beat_at = _now()
            self.held = True
        return self.held

    def confirm(self, key: Key) -> None:
        """Raise ClaimLost if another process has taken over. Cheap for short generations: nobody may take over before the TTL."""
        if self.age() > self._ttl / 4 and not self._mine():
            raise lost_to_others(key)

    def _mine(self) -> bool:
        found = _get(self._store, _path(self._base, self._epoch))
        mine = found == _owner() or (found is not None and self.held and _was_ours(found))
        return mine and not self._store.exists(_path(self._base, self._epoch + 1))

    def beat(self) -> None:
        """Show that the owner lives, if it still is the owner."""
        with self._beating:
            if self in _active and self.held and not self._over and self._mine():
                self.beats += 1
                self._beat_at = _now()
                self._store.put(self._base + ".beat", b"%d" % self.beats)

    def is_due(self) -> bool:
        """Tell whether it is time for a beat."""
        return self.held and _now() - self._beat_at > self._ttl / 6

    def age(self) -> float:
        """Seconds held, by this process's clock."""
        return _now() - self._since

    def is_on(self, store: Store, base: str) -> bool:
        """Tell whether it is held, and a claim on `base` that somebody uses."""
        return self.held and self._base == base and not self.is_over() and self._store.url == store.url

    def is_over(self) -> bool:
        """Tell whether nobody can use it any more."""
        return self._over or (self._holder is not None and has_ended(self._holder))

    def drop(self) -> None:
        """It was asked for in vain."""
        _active.discard(self)
        self._holder = None

    def release(self) -> None:
        """Let go. Never raises an error: a claim left behind is given up later, or taken over."""
        self._over = True  # should an interrupt come: the heart finishes
        beating_is_over = self._beating.acquire(timeout=self._ttl / 4)  # or a beat under way would come after, and stay
        try:
            if self.held and (self.age() <= self._ttl / 4 or self._mine()):
                self._clear()
        except OSError:
            return
        finally:
            if beating_is_over:
                self._beating.release()
        self.drop()

    def give_up(self) -> None:
        """Let go of what was left behind, once nobody else in this process has a claim on the same."""
        self._over = True
        self._tries += 1
        try:
            if any(claim is not self and claim.is_on(self._store, self._base) for claim in list(_active)):
                self.drop()
            elif self._mine():
                self._clear()
                self.drop()
            elif getattr(self._store, "definite", False) or self._tries > _TRIES:  # else a request under way may still make it
                self.drop()
        except OSError:
            if self._tries > _TRIES:
                self.drop()

    def _clear(self) -> None:
        for epoch in range(1, self._epoch + 1):
            self._store.delete(_path(self._base, epoch))
        if self.beats:
            self._store.delete(self._base + ".beat")


class Claims:
    """The right to generate several keys: taken at once, given back in parts. What others hold is not waited for.

    bases: those that are held. new: those of them of which nothing else was there then, as far as the store tells.
    """

    def __init__(self, store: Any, bases: Iterable[str], holder: FrameType | None = None) -> None:
        """Claim what nobody has claimed of `bases`."""
        store_format.before_writing(store)
        self._store = store
        self._ttl = ttl_of(store)
        self._beats: dict[str, int] = {}
        self._beating = threading.Lock()
        self._holder = holder
        self._over = False
        self._tries = 0
        self._since = self._beat_at = _now()
        self.held = False
        self.bases = set(bases)
        _alive(self)
        claims = {_path(base, 1): _owner() for base in self.bases}
        created, bare = store.create_bare(claims) if hasattr(store, "create_bare") else (store.create_many(claims), set[str]())
        # a later epoch there was left by an owner killed while letting go: it decides
        doubtful = created - bare
        succeeded = stat_many(store, [f"{path}.2" for path in doubtful]) if doubtful else {}
        self.bases = {path.removesuffix(_SUFFIX) for path in created if f"{path}.2" not in succeeded}
        self.new = {path.removesuffix(_SUFFIX) for path in bare}
        self.held = True

    @property
    def ttl(self) -> float:
        """Seconds their heartbeat may stand still."""
        return self._ttl

    def confirm(self, key: Key) -> None:
        """Raise ClaimLost if another process has taken over."""
        if self.lost({key.path}):
            raise lost_to_others(key)

    def lost(self, bases: set[str]) -> set[str]:
        """Those of `bases` that others have taken over. Cheap while claims are young: nobody may take over before the TTL."""
        return set() if self.age() <= self._ttl / 4 else self._not_mine(bases)

    def _not_mine(self, bases: set[str]) -> set[str]:
        found = self._store.get_many([_path(base, epoch) for base in bases for epoch in (1, 2)])
        return {base for base in bases if not self._is_mine(found.get(_path(base, 1))) or _path(base, 2) in found}

    def _is_mine(self, content: bytes | None) -> bool:
        return content == _owner() or (content is not None and self.held and _was_ours(content))

    def beat(self) -> None:
        """Show that the owner lives."""
        with self._beating:
            self._beat_at = _now()
            for base in self.bases - self.lost(self.bases):
                self._beats[base] = self._beats.get(base, 0) + 1
                self._store.put(base + ".beat", b"%d" % self._beats[base])

    def is_due(self) -> bool:
        """Tell whether it is time for a beat."""
        return self.held and _now() - self._beat_at > self._ttl / 6

    def age(self) -> float:
        """Seconds held, by this process's clock."""
        return _now() - self._since

    def is_on(self, store: Store, base: str) -> bool:
        """Tell whether it is held, and a claim on `base` that somebody uses."""
        return self.held and base in self.bases and not self.is_over() and self._store.url == store.url

    def is_over(self) -> bool:
        """Tell whether nobody can use it any more."""
        return self._over or (self._holder is not None and has_ended(self._holder))

    def give_back(self, bases: set[str], *stages: Mapping[str, Bytes], delete: Iterable[str] = ()) -> None:
        """Put and delete what `BaseStore.change_many` would, and let go of `bases`, all in one call of the store."""
        with self._beating:  # a beat under way would come after, and stay
            kept = bases - self.lost(bases)
            mine = [_path(base, 1) for base in kept] + [base + ".beat" for base in kept if base in self._beats]
            self._store.change_many(*stages, delete=[*delete, *mine])
            self.bases -= bases
        if not self.bases:
            self.drop()

    def drop(self) -> None:
        """There is nothing to be let go of any more."""
        _active.discard(self)
        self._holder = None

    def release(self) -> None:
        """Let go of all that is left. Never raises an error: a claim left behind is given up later, or taken over."""
        self._over = True
        try:
            self.give_back(set(self.bases))
        except OSError:
            return
        self.drop()

    def give_up(self) -> None:
        """Let go of what was left behind, once nobody else in this process has a claim on the same."""
        self._over = True
        self._tries += 1
        try:
            others = [claim for claim in list(_active) if claim is not self]
            bases = {base for base in self.bases if not any(claim.is_on(self._store, base) for claim in others)}
            mine = bases - self._not_mine(bases) if bases else bases
            self._store.change_many(delete=[path for base in mine for path in (_path(base, 1), base + ".beat")])
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


def ttl_of(store: Any) -> float:
    """Seconds a heartbeat in this store may stand still before others take over."""
    own: float | None = getattr(store, "claim_ttl", None)
    home = getattr(store, "home", None) if own is None else None
    return own or (TTL if home is None else ttl_of(home.store))


class Elsewhere(Exception):
    """Somebody else generates it now, or has `stored` it already, and whoever wanted to does not wait for that."""

    def __init__(self, stored: bool) -> None:
        super().__init__(stored)
        self.stored = stored


def acquire(
    store: Store,
    base: str,
    done: Callable[[], bool],
    holder: FrameType | None = None,
    waits: bool = True,
    meanwhile: Callable[[], object] | None = None,
) -> Claim | None:
    """The claim on `base`, as soon as nobody else holds it.

    None once `done()` says, after somebody else has let go, that it is no longer needed. `holder`: the call that uses the claim, see
    `here`; what an interrupt leaves of the claim is given up when that is over. `waits`: False to raise Elsewhere while somebody else holds
    it. `meanwhile` is called between two looks at it.
    """
    epoch, wait = 1, _FIRST_WAIT
    watch = _Watch()
    claim = Claim(store, base, holder)
    try:
        while not claim.try_epoch(epoch, watch.seen):
            claim.waited = True
            found, epoch = _holder(store, base)
            if found is None:
                if done():
                    claim.drop()
                    return None
                watch = _Watch()
            elif watch.gone(store, base, epoch, found):
                epoch += 1
            elif not waits:
                claim.drop()
                raise Elsewhere(False)
            else:
                time.sleep(wait)
                if meanwhile is not None:
                    meanwhile()
                wait = min(wait * 1.5, _LONGEST_WAIT)
    except Elsewhere:
        raise
    except BaseException:
        claim._over = True  # the heart sees to what there may be of it  # pyright: ignore[reportPrivateUsage]
        raise
    return claim


class Vigil:
    """Tells, for somebody who looks now and then, whether who holds the claim on `base` is gone without having let go."""

    def __init__(self, store: Store, base: str) -> None:
        self._store = store
        self._base = base
        self._watch = _Watch()

    def gone(self) -> bool:
        """Tell whether it can be taken over, as far as what was seen by now tells."""
        holder, epoch = _holder(self._store, self._base)
        return holder is not None and self._watch.gone(self._store, self._base, epoch, holder)


def take_over(store: Store, base: str, holder: FrameType | None = None) -> Claim | None:
    """The claim on `base`, if nobody has it or its owner is known to be gone; None otherwise. Does not wait."""
    claim = Claim(store, base, holder)
    try:
        if claim.try_epoch(1, None):
            return claim
        found, epoch = _holder(store, base)
        if found is not None and (is_dead(found) or _is_left(store, base, found) or _stays_damaged(store, base, epoch, found)):
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
    return None if holder is None or is_dead(holder) or is_damaged(holder) else _facts(holder)


def forget_dead(store: Any, bases: Iterable[str]) -> None:
    """Remove the claims on `bases` whose owners are known to be dead, and which nobody has taken over; in two calls."""
    paths = {_path(base, 1): _path(base, 2) for base in bases}
    held = store.get_many(paths)
    taken_over = stat_many(store, [paths[path] for path in held])
    dead = [path for path, owner in held.items() if paths[path] not in taken_over and (is_dead(owner) or is_damaged(owner))]
    if dead:
        store.change_many(delete=dead)


def is_dead(owner: bytes) -> bool:
    """Tell whether an owner is known to be gone. A claim that cannot be read is not known to be anybody's."""
    facts = _facts(owner)
    return _same_host(facts) and not _lives(facts)


def _is_left(store: Store, base: str, owner: bytes) -> bool:
    """Tell whether it was left behind by this very process."""
    return owner == _owner() and not any(claim.is_on(store, base) for claim in list(_active))


def _stays_damaged(store: Store, base: str, epoch: int, owner: bytes) -> bool:
    """Tell whether it can be read now or in a moment: some file systems show a file before its bytes are in it."""
    if not is_damaged(owner):
        return False
    time.sleep(_FIRST_WAIT * 10)
    return _get(store, _path(base, epoch)) == owner


def claimed_among(store: Store, bases: Iterable[str]) -> set[str]:
    """Those of `bases` with a claim of a first or second epoch, in one call: where it is worth asking `holder_of`."""
    paths = {_path(base, epoch): base for base in bases for epoch in (1, 2)}
    return {paths[path] for path in store.get_many(paths)}


def _create(store: Store, base: str, epoch: int, predecessor: bytes | None) -> bool:
    path = _path(base, epoch)
    if not store.create(path, _owner()):
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


class _Watch:
    """Tells a holder that is gone from one that takes long."""

    def __init__(self) -> None:
        self.seen: bytes | None = None
        self._sign: object = None
        self._since = _now()

    def gone(self, store: Store, base: str, epoch: int, holder: bytes) -> bool:
        self.seen = holder
        sign = (epoch, holder, _get(store, base + ".beat"))
        if sign != self._sign:
            self._sign, self._since = sign, _now()
        still = _now() - self._since
        facts = _facts(holder)
        if not facts:  # damaged; or, where a file is seen before its bytes are in it, only just made
            return still > min(_GRACE, ttl_of(store))
        if not _same_host(facts) or _stopped(facts):
            return still > ttl_of(store)
        if holder == _owner():  # left behind by this very process, unless it has only just been made
            return still > _GRACE and _is_left(store, base, holder)
        return not _lives(facts)


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


# who we are

_me: dict[str, Any] = {}
_me_bytes = b""


def token() -> str:
    """The token that tells this process from all others."""
    name: str = _identity()["token"]
    return name


def _identity() -> dict[str, Any]:
    _owner()
    return _me


def process_name() -> str:
    """Host, number and start of this process, as part of a file's name."""
    me = _identity()
    return f"{_short(me['host'])}-{me['pid']}-{me['start'] or 0}"


def is_dead_name(name: str) -> bool:
    """Tell whether the process of that `process_name` is known to be gone; False of what is no such name."""
    host, _, rest = name.partition("-")
    pid, _, start = rest.partition("-")
    if host != _short(_identity()["host"]) or not (pid.isdecimal() and start.isdecimal()):
        return False
    return not _lives({"pid": int(pid), "start": None if start == "0" else start})


def _short(host: str) -> str:
    return blake3(host.encode()).hexdigest(length=8)


def _owner() -> bytes:
    """The bytes that this process writes into its claims; the same bytes each time."""
    global _me_bytes
    if not _me_bytes:
        _me.update(host=_host(), pid=os.getpid(), start=_process_start(os.getpid()), token=os.urandom(8).hex())
        _me_bytes = _checked(json.dumps(_me).encode())
    return _me_bytes


def _host() -> str:
    """Host, boot and process namespace: two containers may share a host name but not their process ids."""
    import socket

    parts = [socket.gethostname()]
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            parts.append(file.read().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:
        pass  # not Linux: the name has to do
    return " ".join(parts)


def _process_start(pid: int) -> str | None:
    """When the process began, to tell it from a later one of the same number; None where the platform does not say."""
    fields = _process_fields(pid)
    return fields[19] if fields else None


def _process_fields(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return []


_CHECK = b', "check": "'
_LARGEST = 4096


def _checked(facts: bytes) -> bytes:
    """A claim of these facts, with a checksum of them at its end."""
    return b'%b%b%08x"}' % (facts[:-1], _CHECK, crc32(facts[:-1]))


def is_damaged(content: bytes) -> bool:
    """Tell whether it is the content of no claim."""
    return not _facts(content)


def _was_ours(content: bytes) -> bool:
    """Tell whether it is a claim of this process that has been damaged: a few bytes of it, or its end."""
    ours = _owner()
    if not is_damaged(content):
        return False
    return ours.startswith(content) or (len(ours) == len(content) and sum(map(int.__ne__, ours, content)) <= 8)


def _facts(content: bytes) -> dict[str, Any]:
    """The facts of a claim about its owner; nothing where it is damaged."""
    if len(content) > _LARGEST:
        return {}
    body, found, check = content.rpartition(_CHECK)
    if found and check != b'%08x"}' % crc32(body):
        return {}
    try:
        facts: Any = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(facts, dict):
        return {}
    known = cast("dict[str, Any]", facts)
    host, pid, start, token = (known.get(name) for name in ("host", "pid", "start", "token"))
    sound = isinstance(host, str) and type(pid) is int and 0 < pid < 1 << 32 and isinstance(start, str | None) and isinstance(token, str)
    return known if sound else {}


def _same_host(facts: dict[str, Any]) -> bool:
    return bool(facts.get("host") == _identity()["host"])


def _lives(facts: dict[str, Any]) -> bool:
    pid = facts.get("pid")
    if not isinstance(pid, int):
        return False
    fields = _process_fields(pid)
    if fields:
        return fields[0] not in ("Z", "X") and facts.get("start") in (None, fields[19])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return not os.path.exists("/proc/self/stat")


def _stopped(facts: dict[str, Any]) -> bool:
    return _process_fields(facts["pid"])[:1] in (["T"], ["t"])


def _now() -> float:
    """Seconds on a clock that also runs while the machine sleeps, where there is one."""
    return time.clock_gettime(_CLOCK) if _CLOCK is not None else time.monotonic()


_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


# heartbeats, and what interrupts leave: one thread for the whole process, alive only while something is being generated

_active: set[Claim | Claims] = set()
_heart: threading.Thread | None = None
_guard = threading.Lock()
_LOOK = 0.4
_TRIES = 60


def _alive(claim: Claim | Claims) -> None:
    global _heart
    _active.add(claim)
    if _heart is None or not _heart.is_alive():
        with _guard:
            if _heart is None or not _heart.is_alive():
                _heart = threading.Thread(target=_beat_on, name="persistable-heartbeat", daemon=True)
                _heart.start()


def _beat_on() -> None:
    global _heart
    idle = 0.0
    while True:
        pause = min([_LOOK, TTL / 6, *[claim.ttl / 6 for claim in list(_active)]])
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
    global _me_bytes, _heart, _guard
    _me_bytes, _heart, _guard = b"", None, threading.Lock()
    _active.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
