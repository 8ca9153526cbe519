"""Connections to servers: shared by all callers in this process with the same identity, and never pickled."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from typing import Any, ClassVar, Generic, TypeVar

ConnectionT = TypeVar("ConnectionT")


class ConnectionRegistry(Generic[ConnectionT]):
    """Connections that stores of one identity share: each is made once per process; beyond `most` of them the oldest is dropped.

    A forked child begins with none. Inherited ones are kept and never used: to drop one would close it for the parent too.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._inherited: list[object] = []
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[Hashable, ConnectionT] = {}

    def _begin_anew(self) -> None:
        self.keep(self._made)
        self._begin()

    def keep(self, inherited: object) -> None:
        """Keep inherited connections from being closed; None: there are none."""
        if inherited is not None:
            self._inherited.append(inherited)

    def get(
        self, identity: Hashable, make: Callable[[], ConnectionT], usable: Callable[[ConnectionT], bool] = lambda _: True
    ) -> ConnectionT:
        """Return the connection of `identity`, made anew where there is none that is `usable`."""
        with self._lock:
            found = self._made.get(identity)
            if found is None or not usable(found):
                while self._most is not None and len(self._made) >= self._most:
                    self._made.pop(next(iter(self._made)))
                found = self._made[identity] = make()
            return found

    def drop(self, identity: Hashable, only: ConnectionT | None = None) -> None:
        """Forget the connection of `identity`; with `only`, if it is that one. It closes when it is no longer in use."""
        with self._lock:
            if only is None or self._made.get(identity) is only:
                self._made.pop(identity, None)

    def all(self) -> list[ConnectionT]:
        """Return all connections."""
        return list(self._made.values())


class PickledWithoutConnections:
    """The base of classes that are pickled without their connections."""

    not_pickled: ClassVar[tuple[str, ...]]
    """Attributes that `_reset` makes anew."""

    def _reset(self) -> None:
        raise NotImplementedError(f"{type(self).__name__}._reset")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in self.not_pickled}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()
