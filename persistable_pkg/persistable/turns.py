"""One at a time within a process; claims see to it among processes."""

from __future__ import annotations

import os
import threading
from typing import Any

from persistable.key import Place
from persistable.stores.base import Store

_turns: dict[tuple[str, Place], list[Any]] = {}
_turns_guard = threading.Lock()


class turn:  # noqa: N801 - used as ``with turn(...)``
    """Wait until no other thread of this process generates at `place`; a thread may take its own turn again."""

    __slots__ = ("_mine", "_place")

    def __init__(self, store: Store, place: Place) -> None:
        self._place = (store.url, place)

    def __enter__(self) -> None:
        with _turns_guard:
            self._mine = _turns.setdefault(self._place, [threading.RLock(), 0])
            self._mine[1] += 1
        self._mine[0].acquire()

    def __exit__(self, *_: object) -> None:
        self._mine[0].release()
        with _turns_guard:
            self._mine[1] -= 1
            if not self._mine[1]:
                _turns.pop(self._place, None)


def _after_fork() -> None:
    global _turns_guard
    _turns_guard = threading.Lock()
    _turns.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
