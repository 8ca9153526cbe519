"""Circles of processes: each generates a node whose code asks for a payload that another of them generates, and all wait.

A process that waits for a claim from inside a generation notes, after a second, next to the claims that it holds, the key that it waits
for. It then follows such notes from that key on: if they lead to a claim of its own, it gives up with a `LineageCycle`. A note counts only
while the claim beside it is of the process that wrote it.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

from persistable.errors import StoreError
from persistable.records import claim_watch, claims, owners
from persistable.records.key import Key, Place
from persistable.stores.base import Store

SUFFIX = ".claim.waits"
_SOONEST, _LATEST = 1.0, 8.0
_LONGEST = 1000


class Waiting:
    """One wait for the claim on `place`. `look` is to be called between two looks at the claim, `close` at the end."""

    def __init__(self, store: Store, place: Place) -> None:
        self._store = store
        self._place = place
        self._next = time.monotonic() + _SOONEST
        self._pause = _SOONEST
        self._held: list[str] | None = None

    def look(self) -> None:
        """Raise LineageCycle if the process that holds the claim waits, perhaps through others, for a claim held here."""
        if time.monotonic() < self._next:
            return
        if self._held is None:
            self._held = [place.path for url, place in claims.enclosing_generations()[:-1] if url == self._store.url]
            note = json.dumps({"token": owners.token(), "for": self._place.path}).encode()
            for base in self._held:
                self._store.put(base + SUFFIX, note)
        self._pause = min(2 * self._pause, _LATEST)
        self._next = time.monotonic() + self._pause
        if self._held:
            self._follow(self._held)

    def _follow(self, held: list[str]) -> None:
        path = [self._place.path]
        while len(path) < _LONGEST:
            after = self._awaited(path[-1])
            if after is None or after in path:
                return
            path.append(after)
            if after in held:
                raise claims.cycle_error([_name(base) for base in [after, *held[held.index(after) + 1 :], *path]])

    def _awaited(self, base: str) -> str | None:
        """The key that the holder of the claim on `base` waits for, as a path; None where it does not wait."""
        try:
            note: Any = json.loads(self._store.get(base + SUFFIX))
            token, awaited = note["token"], note["for"]
        except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
            return None
        holder = claim_watch.holder_of(self._store, base)
        return awaited if holder is not None and holder["token"] == token and isinstance(awaited, str) else None

    def close(self) -> None:
        """Remove the notes."""
        if self._held:
            with suppress(StoreError):
                for base in self._held:
                    self._store.delete(base + SUFFIX)


def _name(base: str) -> str:
    try:
        return str(Key.parse(base))
    except ValueError:
        return base.rpartition("/placed/")[2]
