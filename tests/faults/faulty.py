"""Stores of which one call fails: before it acts, after it has acted (its answer is lost), or from then on; or is interrupted there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar, cast

from persistable.errors import StoreUnavailable
from persistable.stores import LayeredStore, LocalStore, MemoryStore, SQLiteStore

CALLS = (
    "get", "put", "create", "exists", "stat", "delete", "read", "list", "get_many", "put_many", "stat_many", "create_many", "create_bare",
    "change_many", "put_file", "adopt", "new_file",
)  # fmt: skip
FAULTS = ("refused", "lost", "interrupted", "interrupted after", "down")


class Fault:
    """`kind` happens at the call number `at`, of those that count: of stores that are `only` such. `hit`: the call."""

    def __init__(self, kind: str = "", at: int = -1, only: type[Any] = object) -> None:
        self.only = only
        self.kind = kind
        self.at = at
        self.calls = 0
        self.hit = ""

    def call(self, name: str, act: Callable[[], Any]) -> Any:
        number, self.calls = self.calls, self.calls + 1
        if number != self.at and not (self.kind == "down" and 0 <= self.at < number):
            return act()
        self.hit = self.hit or name
        if self.kind in ("lost", "interrupted after"):
            act()
        if self.kind.startswith("interrupted"):
            raise KeyboardInterrupt
        raise StoreUnavailable(f"{name} failed", url="faulty:", path="")


class _Faulty:
    fault: ClassVar[Fault] = Fault()
    _inside: ClassVar[list[int]] = []

    def write(self, path: str) -> AbstractContextManager[Any]:
        block: AbstractContextManager[Any] = cast("Any", super()).write(path)
        return _written(block) if isinstance(self, _Faulty.fault.only) else block


@contextmanager
def _written(inner: Any) -> Iterator[Any]:
    file = _Faulty.fault.call("write", inner.__enter__)
    try:
        yield file
    except BaseException as error:
        inner.__exit__(type(error), error, error.__traceback__)
        raise
    _Faulty.fault.call("written", lambda: inner.__exit__(None, None, None))


def _counted(name: str) -> Any:
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        inner = getattr(super(_owner(type(self)), self), name)
        apart = not isinstance(self, _Faulty.fault.only) or threading.current_thread() is not threading.main_thread()
        if _Faulty._inside or apart:  # made by another call, or in passing
            return inner(*arguments, **options)
        _Faulty._inside.append(1)
        try:
            return _Faulty.fault.call(name, lambda: inner(*arguments, **options))
        finally:
            _Faulty._inside.pop()

    return call


def _owner(cls: type) -> type:
    return next(each for each in cls.__mro__ if each.__name__.startswith("Faulty"))


def faulty(kind: type[Any]) -> type[Any]:
    members = {name: _counted(name) for name in CALLS if hasattr(kind, name)}
    return type(f"Faulty{kind.__name__}", (_Faulty, kind), members)


FaultyLocal, FaultySQLite, FaultyMemory = faulty(LocalStore), faulty(SQLiteStore), faulty(MemoryStore)


class Remote(FaultyLocal):  # type: ignore[misc, valid-type]
    """As a store behind a network: no local files, and a call that was cut short may have an effect later."""

    definite = False

    def local_path(self, path: str) -> None:
        super().local_path(path)
        return

    adopt = property()
    new_file = property()


@contextmanager
def failing(kind: str, at: int, only: type[Any] = object) -> Iterator[Fault]:
    """The call number `at` fails so, of all stores made here that are `only` such."""
    _Faulty.fault = fault = Fault(kind, at, only)
    _Faulty._inside.clear()
    try:
        yield fault
    finally:
        _Faulty.fault = Fault()


__all__ = ["FAULTS", "FaultyLocal", "FaultyMemory", "FaultySQLite", "LayeredStore", "Remote", "failing"]
