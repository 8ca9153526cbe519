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
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from persistable.errors import ClaimLost
from persistable.key import Key
from persistable.stores.base import Bytes, Store, stat_many

TTL = 60.0
"""Seconds a heartbeat may stand still before others take over."""
_FIRST_WAIT, _LONGEST_WAIT = 0.005, 0.25


class Claim:
    """The right to generate one key. Held until `release`."""

    __slots__ = ("_base", "_beating", "_epoch", "_since", "_store", "beats", "waited")

    def __init__(self, store: Store, base: str, epoch: int, waited: bool) -> None:
        self._store = store
        self._base = base
        self._epoch = epoch
        self._since = _now()
        self.waited = waited
        """Whether somebody else held it first."""
        self.beats = 0
        self._beating = threading.Lock()
        _alive(self)

    def confirm(self, key: Key) -> None:
        """Raise ClaimLost if another process has taken over. Cheap for short generations: nobody may take over before `TTL`."""
        if _now() - self._since > TTL / 4 and not self._mine():
            raise lost_to_others(key)

    def _mine(self) -> bool:
        mine = _get(self._store, _path(self._base, self._epoch)) == _owner()
        return mine and not self._store.exists(_path(self._base, self._epoch + 1))

    def beat(self) -> None:
        """Show that the owner lives, if it still is the owner."""
        with self._beating:
            if self in _active and self._mine():
                self.beats += 1
                self._store.put(self._base + ".beat", b"%d" % self.beats)

    def age(self) -> float:
        """Seconds held, by this process's clock."""
        return _now() - self._since

    def is_on(self, base: str) -> bool:
        """Whether it is a claim on `base`."""
        return self._base == base

    def release(self) -> None:
        """Let go. Never raises: a claim left behind is taken over."""
        _active.discard(self)
        beating_is_over = self._beating.acquire(timeout=TTL / 4)  # or a beat under way would come after, and stay
        try:
            if self.age() > TTL / 4 and not self._mine():
                return
            for epoch in range(1, self._epoch + 1):
                self._store.delete(_path(self._base, epoch))
            if self.beats:
                self._store.delete(self._base + ".beat")
        except OSError:
            pass
        finally:
            if beating_is_over:
                self._beating.release()


class Claims:
    """The right to generate several keys: taken at once, given back in parts. What others hold is not waited for.

    bases: those that are held. new: those of them of which nothing else was there then, as far as the store tells.
    """

    def __init__(self, store: Any, bases: Iterable[str]) -> None:
        """Claim what nobody has claimed of `bases`."""
        self._store = store
        self._beats: dict[str, int] = {}
        self._beating = threading.Lock()
        self._since = _now()
        claims = {_path(base, 1): _owner() for base in bases}
        created, bare = store.create_bare(claims) if hasattr(store, "create_bare") else (store.create_many(claims), set[str]())
        # a later epoch there was left by an owner killed while letting go: it decides
        doubtful = created - bare
        succeeded = stat_many(store, [f"{path}.2" for path in doubtful]) if doubtful else {}
        self.bases = {path.removesuffix(_SUFFIX) for path in created if f"{path}.2" not in succeeded}
        self.new = {path.removesuffix(_SUFFIX) for path in bare}
        _alive(self)

    def confirm(self, key: Key) -> None:
        """Raise ClaimLost if another process has taken over."""
        if self.lost({key.path}):
            raise lost_to_others(key)

    def lost(self, bases: set[str]) -> set[str]:
        """Those of `bases` that others have taken over. Cheap while claims are young: nobody may take over before `TTL`."""
        if self.age() <= TTL / 4:
            return set()
        found = self._store.get_many([_path(base, epoch) for base in bases for epoch in (1, 2)])
        return {base for base in bases if found.get(_path(base, 1)) != _owner() or _path(base, 2) in found}

    def beat(self) -> None:
        """Show that the owner lives."""
        with self._beating:
            for base in self.bases - self.lost(self.bases):
                self._beats[base] = self._beats.get(base, 0) + 1
                self._store.put(base + ".beat", b"%d" % self._beats[base])

    def age(self) -> float:
        """Seconds held, by this process's clock."""
        return _now() - self._since

    def is_on(self, base: str) -> bool:
        """Whether it is a claim on `base`."""
        return base in self.bases

    def give_back(self, bases: set[str], *stages: Mapping[str, Bytes], delete: Iterable[str] = ()) -> None:
        """Put and delete what `BaseStore.change_many` would, and let go of `bases`, all in one call of the store."""
        with self._beating:  # a beat under way would come after, and stay
            kept = bases - self.lost(bases)
            mine = [_path(base, 1) for base in kept] + [base + ".beat" for base in kept if base in self._beats]
            self._store.change_many(*stages, delete=[*delete, *mine])
            self.bases -= bases
        if not self.bases:
            _active.discard(self)

    def release(self) -> None:
        """Let go of all that is left. Never raises: a claim left behind is taken over."""
        try:
            self.give_back(set(self.bases))
        except OSError:
            pass
        finally:
            _active.discard(self)


def acquire(store: Store, base: str, done: Callable[[], bool]) -> Claim | None:
    """The claim on `base`, as soon as nobody else holds it.

    None once `done()` says, after somebody else has let go, that it is no longer needed.
    """
    epoch, waited, wait = 1, False, _FIRST_WAIT
    watch = _Watch()
    while True:
        if _create(store, base, epoch, watch.seen):
            return Claim(store, base, epoch, waited)
        waited = True
        holder, epoch = _holder(store, base)
        if holder is None:
            if done():
                return None
            watch = _Watch()
        elif watch.gone(store, base, epoch, holder):
            epoch += 1
        else:
            time.sleep(wait)
            wait = min(wait * 1.5, _LONGEST_WAIT)


def take_over(store: Store, base: str) -> Claim | None:
    """The claim on `base`, if nobody has it or its owner is known to be dead; None otherwise. Does not wait."""
    if _create(store, base, 1, None):
        return Claim(store, base, 1, False)
    holder, epoch = _holder(store, base)
    if holder is None:
        return None
    facts = _facts(holder)
    if not _same_host(facts) or _lives(facts):
        return None
    return Claim(store, base, epoch + 1, True) if _create(store, base, epoch + 1, holder) else None


def holder_of(store: Store, base: str) -> dict[str, Any] | None:
    """Facts about whoever holds the claim on `base`; None if nobody does, or its owner is known to be dead."""
    holder, _ = _holder(store, base)
    return None if holder is None or _is_dead(holder) else _facts(holder)


def forget_dead(store: Any, bases: Iterable[str]) -> None:
    """Remove the claims on `bases` whose owners are known to be dead, and which nobody has taken over; in two calls."""
    paths = {_path(base, 1): _path(base, 2) for base in bases}
    held = store.get_many(paths)
    taken_over = stat_many(store, [paths[path] for path in held])
    dead = [path for path, owner in held.items() if paths[path] not in taken_over and _is_dead(owner)]
    if dead:
        store.change_many(delete=dead)


def _is_dead(owner: bytes) -> bool:
    return _same_host(_facts(owner)) and not _lives(_facts(owner))


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
        if not _same_host(facts) or _stopped(facts):
            return still > TTL
        if facts.get("token") == _identity()["token"]:  # left behind by this very process, unless it has only just been made
            return still > 1 and not any(claim.is_on(base) for claim in list(_active))
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
        f"another process took over the generation of {key} while this one did not answer for {TTL:g} s; "
        "nothing was committed here, load its payload",
        key=key,
    )


# who we are

_me: dict[str, Any] = {}
_me_bytes = b""


def _identity() -> dict[str, Any]:
    _owner()
    return _me


def _owner() -> bytes:
    """What this process writes into its claims; the same bytes each time."""
    global _me_bytes
    if not _me_bytes:
        _me.update(host=_host(), pid=os.getpid(), start=_process_start(os.getpid()), token=os.urandom(8).hex())
        _me_bytes = json.dumps(_me).encode()
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


def _facts(content: bytes) -> dict[str, Any]:
    try:
        facts: Any = json.loads(content)
    except ValueError:
        return {}
    return cast("dict[str, Any]", facts) if isinstance(facts, dict) else {}


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
    except OSError:
        return True
    return not os.path.exists("/proc/self/stat")


def _stopped(facts: dict[str, Any]) -> bool:
    return _process_fields(facts["pid"])[:1] in (["T"], ["t"])


def _now() -> float:
    """Seconds on a clock that also runs while the machine sleeps, where there is one."""
    return time.clock_gettime(_CLOCK) if _CLOCK is not None else time.monotonic()


_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


# heartbeats: one thread for the whole process, alive only while something is being generated

_active: set[Claim | Claims] = set()
_heart: threading.Thread | None = None


def _alive(claim: Claim | Claims) -> None:
    global _heart
    _active.add(claim)
    if _heart is None or not _heart.is_alive():
        _heart = threading.Thread(target=_beat_on, name="persistable-heartbeat", daemon=True)
        _heart.start()


def _beat_on() -> None:
    idle = 0
    while idle < 2:
        time.sleep(TTL / 6)
        idle = 0 if _active else idle + 1
        for claim in list(_active):
            if claim.age() > TTL / 6:
                try:
                    claim.beat()
                except Exception:  # noqa: BLE001 - the store may come back; if not, others rightly take over
                    continue


def _after_fork() -> None:
    global _me_bytes, _heart
    _me_bytes, _heart = b"", None
    _active.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
