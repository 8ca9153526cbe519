"""The claims of other processes, as seen by a process that waits, asks for a status, or clears up."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Literal

from persistable.records import owners
from persistable.records.heartbeat import active, now, ttl_of
from persistable.stores.base import Store, extended, stat_many

SUFFIX = ".claim"
_GRACE = 1.0
"""Seconds for which a claim without a visible owner is left alone."""
_MOMENT = 0.05


def holder_of(store: Store, base: str) -> dict[str, Any] | None:
    """Facts about the holder of the claim on `base`; None if there is none, or its owner is known to be dead."""
    holder, _ = highest(store, base)
    return None if holder is None or owners.is_dead(holder) or owners.is_damaged(holder) else owners.facts_of(holder)


def describe_holder(store: Store, base: str) -> str:
    """The holder of the claim on `base` in words, and the time of a takeover where it is unknown whether the holder is alive."""
    holder = holder_of(store, base) or {}
    if "pid" not in holder:
        return "it is being generated"
    text = f"process {holder['pid']} on {str(holder.get('host', '')).partition(' ')[0]} generates it"
    if owners.state_of(holder) != "unknown":
        return text
    return f"{text}, and is taken over if its heartbeat stands still for {ttl_of(store):g} s (claim_ttl of the store)"


def forget_dead(store: Any, bases: Iterable[str]) -> None:
    """Remove the claims on `bases` that are damaged or whose owners are known to be dead, unless taken over; all in a few calls."""
    paths = {path_of(base, 1): path_of(base, 2) for base in bases}
    held = store.get_many(paths)
    taken_over = stat_many(store, [paths[path] for path in held])
    dead = [path for path, owner in held.items() if paths[path] not in taken_over and (owners.is_dead(owner) or owners.is_damaged(owner))]
    if dead:
        store.change_many(delete=[*dead, *[path.removesuffix(SUFFIX) + ".beat" for path in dead]])


def claimed_among(store: Store, bases: Iterable[str]) -> set[str]:
    """The `bases` with a claim of the first or second epoch, in one call: the candidates for `holder_of`."""
    paths = {path_of(base, epoch): base for base in bases for epoch in (1, 2)}
    return {paths[path] for path in store.get_many(paths)}


def poll_of(store: Store) -> float:
    """Seconds between two looks at the work of another process in this store, after a long wait."""
    return extended(extended(store).primary_store).poll


ClaimState = Literal["free", "held", "gone"]


class ClaimWatch:
    """Watches the claim on `base` for a waiting process: while its holder is the same, one request a look.

    holder: the highest claim that was seen. epoch: the number of that claim.
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
        """The pauses between two looks at the claim."""
        return Pauses(poll_of(self._store), self.ttl)

    @property
    def path(self) -> str:
        """The path of the claim that `look` reads next."""
        return path_of(self._base, self.epoch)

    def look(self, found: bytes | None = None) -> ClaimState:
        """Tell whether the claim is free, held, or left by a gone owner, by all looks so far. `found`: the content at `path`, if known."""
        if self.holder is None or not self._is_same(found):
            self.holder, self.epoch = highest(self._store, self._base)
            if self.holder is None:
                return "free"
            self._since = now()
            if self._by_beat():
                self._read_heartbeat()
        return "gone" if self._is_gone(self.holder) else "held"

    def _is_same(self, found: bytes | None) -> bool:
        if self._by_beat() and not self._just_asked and now() - self._asked > self.ttl / 12:
            self._read_heartbeat()
            if found is None:
                return True
        self._just_asked = False
        return (content_of(self._store, self.path) if found is None else found) == self.holder

    def _read_heartbeat(self) -> None:
        """Read the heartbeat; an owner whose counter has moved is alive."""
        beat = content_of(self._store, self._base + ".beat")
        self._asked, self._just_asked = now(), True
        if beat != self._beat:
            self._beat, self._since = beat, now()

    def _by_beat(self) -> bool:
        facts = owners.facts_of(self.holder or b"")
        return bool(facts) and self.holder != owners.mine() and owners.state_of(facts) == "unknown"

    def _is_gone(self, holder: bytes) -> bool:
        still = now() - self._since
        if owners.is_damaged(holder):  # or only just made, where a file is visible before its bytes
            return still > min(_GRACE, self.ttl)
        if holder == owners.mine():  # left behind by this very process, unless it has only just been made
            return still > _GRACE and is_abandoned_claim(self._store, self._base, holder)
        if not self._by_beat():
            self._since = now()
            return owners.is_dead(holder)
        if still > self.ttl:
            self._read_heartbeat()
        return now() - self._since > self.ttl


class Pauses:
    """Pauses between looks at the work of another process: they grow, and each is random, so that not all waiting processes ask at once."""

    def __init__(self, longest: float, ttl: float) -> None:
        self._longest = min(longest, ttl / 8)
        self._next = self._longest / 50

    def sleep(self) -> None:
        time.sleep(self.next())

    def next(self) -> float:
        """Return the next pause in seconds; the one after it is longer."""
        pause = self._next
        self._next = min(pause * 1.5, self._longest)
        import random  # only a waiting process needs it

        return pause * random.uniform(0.75, 1.25)


def is_abandoned_claim(store: Store, base: str, owner: bytes) -> bool:
    """Tell whether the claim of `owner` on `base` was left behind by this very process, in which no call uses it."""
    return owner == owners.mine() and not any(claim.is_on(store, base) for claim in list(active))


def stays_damaged(store: Store, base: str, epoch: int, owner: bytes) -> bool:
    """Tell whether a damaged claim is still damaged after a moment: some file systems show a file before its bytes are in it."""
    if not owners.is_damaged(owner):
        return False
    time.sleep(_MOMENT)
    return content_of(store, path_of(base, epoch)) == owner


def highest(store: Store, base: str) -> tuple[bytes | None, int]:
    """Content and epoch of the highest claim on `base`; None and 1 where there is none."""
    content, epoch = content_of(store, path_of(base, 1)), 1
    while (above := content_of(store, path_of(base, epoch + 1))) is not None:
        content, epoch = above, epoch + 1
    return content, epoch


def content_of(store: Store, path: str) -> bytes | None:
    """The content of the file at `path`; None where there is none."""
    try:
        return store.get(path)
    except FileNotFoundError:
        return None


def path_of(base: str, epoch: int) -> str:
    """The path of the claim of that epoch."""
    return base + SUFFIX if epoch == 1 else f"{base}{SUFFIX}.{epoch}"
