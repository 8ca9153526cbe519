"""One at a time within a process; claims see to it among processes.

A thread that waits for a lock while it has one itself may wait in a circle: a node whose code asks for its own payload, or two whose code
asks for each other's. Nobody would ever go on, so the one that would close the circle gets a `LineageCycle`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from types import FrameType

from persistable.errors import LineageCycle
from persistable.records.claims import Elsewhere, has_ended
from persistable.records.key import Place
from persistable.stores.base import Store

_Spot = tuple[str, Place]
_LOOK = 0.5
"""Seconds after which a waiter looks whether the one that has the lock has lost it by an interrupt."""

_locks: dict[_Spot, Lock] = {}
_waiting: set[Lock] = set()
_guard = threading.Lock()
_innermost: ContextVar[Lock | None] = ContextVar("persistable_lock", default=None)


class Lock:
    """The right of one thread of this process to generate at `place`, had as soon as this is made, until `release`.

    `alone`: False where several may at the same time. `waits`: False to raise Elsewhere instead of waiting. Raises LineageCycle where
    waiting would never end.
    """

    __slots__ = ("_above", "_alone", "_call", "_ended", "_outer", "_spot", "_waits")

    def __init__(self, store: Store, place: Place, alone: bool = True, waits: bool = True) -> None:
        self._spot: _Spot = (store.url, place)
        self._alone = alone
        self._waits = waits
        self._ended: list[threading.Event] = []
        self._call: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        self._above = _innermost.get()
        if self._above is not None:
            self._refuse_circle(self._spot)
        if self._alone and _locks.setdefault(self._spot, self) is not self:
            self._wait()
        self._outer = _innermost.set(self)

    def release(self) -> None:
        """Let the next one have it."""
        _innermost.reset(self._outer)
        if self._alone:
            with _guard:
                if _locks.get(self._spot) is self:
                    del _locks[self._spot]
                for event in self._ended:
                    event.set()
        self._call = None

    def _wait(self) -> None:
        try:
            while True:
                with _guard:
                    holder = _locks.setdefault(self._spot, self)
                    if holder is not self and holder._is_over():
                        _locks[self._spot] = holder = self
                    if holder is self:
                        return
                    if not self._waits:
                        raise Elsewhere("held")
                    ended = threading.Event()
                    holder._ended.append(ended)
                    _waiting.add(self)
                self._refuse_circle(self._spot)
                ended.wait(_LOOK)
        finally:
            _waiting.discard(self)

    def _is_over(self) -> bool:
        """Tell whether an interrupt has ended the call that has it, without its leave."""
        return self._call is None or has_ended(self._call)

    def _upward(self) -> Iterator[Lock]:
        """The locks within which it was asked for, nearest first."""
        above = self._above
        while above is not None:
            if not above._is_over():
                yield above
            above = above._above

    def _refuse_circle(self, spot: _Spot) -> None:
        """Raise LineageCycle if what is at `spot` waits for something that has to wait for this one."""
        mine = {above._spot for above in self._upward()}
        blocked: dict[_Spot, list[_Spot]] = {spot: []}
        pending = [spot]
        waiting = list(_waiting)
        while pending:
            this = pending.pop()
            if this in mine:
                raise _circle([place for _, place in [*reversed([above._spot for above in self._upward()]), *blocked[this], this]], this)
            for other in waiting:
                if other is not self and other._spot not in blocked and any(above._spot == this for above in other._upward()):
                    blocked[other._spot] = [*blocked[this], this]
                    pending.append(other._spot)


def above() -> list[_Spot]:
    """Store and place of all that is being generated around here, outermost first."""
    innermost = _innermost.get()
    if innermost is None:
        return []
    return [*reversed([each._spot for each in innermost._upward()]), innermost._spot]  # pyright: ignore[reportPrivateUsage]


def _circle(places: list[Place], closing: _Spot) -> LineageCycle:
    first = places.index(closing[1])
    nodes = [str(place.key) for place in places[first:]]
    return circle(nodes)


def circle(nodes: list[str]) -> LineageCycle:
    """The error of nodes that ask for each other's payloads while they generate their own; the first is the last."""
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
