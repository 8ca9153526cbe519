"""`connection`: a resource opened once per run and process, and closed however the run ends."""

from __future__ import annotations

import atexit
import os
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar

from persistable.nodes import generation
from persistable.params.encoding import register_reduce

P = ParamSpec("P")
T = TypeVar("T")


class Connection(Generic[T]):
    """The result of `connection`: the call that opens a resource. It pickles; identity holds only that it is a connection."""

    _is_shared: ClassVar[bool] = True
    _stands_in: ClassVar[bool] = True
    """True: it is accepted in place of the resource that it opens, for any declared type."""

    def __init__(self, factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._how = (factory, args, kwargs)
        self._name = f"{os.getpid()}-{os.urandom(6).hex()}"

    def open(self) -> T:
        """The open resource: the same one for the whole run in this process; outside a run, for the generation that asks.

        Raises RuntimeError if neither is under way.
        """
        run = current.get()
        if run is not None:
            with _guard:
                scope = scopes.setdefault(run, _Scope())
        else:
            running = generation.running()
            if running is None:
                raise RuntimeError("a connection is open only while something is generated; use it inside a step or _generate_payload")
            scope = running.attached(_Scope)
        opened: T = scope.opened(self._name, self._how)
        return opened

    def __repr__(self) -> str:
        return f"<connection by {getattr(self._how[0], '__qualname__', self._how[0])}>"


def connection(factory: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> Connection[Any]:
    """A connection as an argument of steps: ``load.step(db=connection(connect, "host"))``; the step is given the result of `factory`.

    It is opened at the first use in a run, in each process that needs it, and shared by the nodes generated there (also by threads). When
    the run is over, however it ends, it is closed: by its ``__exit__`` if it is a context manager (the step gets its ``as`` value), and by
    its ``close()`` if it has one (leaving a database connection may only commit). Worker processes that outlive the run close it when
    they receive work of another run, or end. The identity of a node does not hold which connection it was.
    """
    return Connection(factory, args, kwargs)


register_reduce(Connection, lambda _: None)


class _Scope:
    """The connections of one run in one process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._stack = ExitStack()
        self._open: dict[str, Any] = {}

    def opened(self, name: str, opener: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]) -> Any:
        with self._lock:
            if name not in self._open:
                factory, args, kwargs = opener
                made: Any = factory(*args, **kwargs)
                if hasattr(made, "close"):
                    self._stack.callback(_close, made)
                if hasattr(made, "__enter__"):
                    made = self._stack.enter_context(made)
                self._open[name] = made
            return self._open[name]

    def close(self) -> None:
        with self._lock:
            self._open.clear()
            self._stack.close()


current: ContextVar[str | None] = ContextVar("persistable_connections", default=None)
"""The run whose work this code is."""
led: set[str] = set()
"""Runs of this process, which close their connections themselves when they end."""
scopes: dict[str, _Scope] = {}
_guests: Counter[str] = Counter()
"""Number of calls received from other processes and still running, by run."""
_guard = threading.Lock()


@contextmanager
def within(run: str) -> Generator[None]:
    """Inside the block, connections are opened for that run."""
    outer = current.set(run)
    try:
        yield
    finally:
        current.reset(outer)


@contextmanager
def leading(run: str) -> Generator[None]:
    """Inside the block, this process leads that run. If no outer block does, the connections of the run are closed at its end."""
    leads = run not in led
    led.add(run)
    try:
        yield
    finally:
        if leads:
            led.discard(run)
            close(run)


@contextmanager
def within_worker(run: str) -> Generator[None]:
    """Do as `within` for received work, and close the connections of runs that neither work in this process nor are led by it."""
    with _guard:
        _guests[run] += 1
        idle = [scopes.pop(name) for name in list(scopes) if not _guests[name] and name not in led]
    for other in idle:
        other.close()
    try:
        with within(run):
            yield
    finally:
        with _guard:
            _guests[run] -= 1
            if not _guests[run]:
                del _guests[run]


def close(run: str) -> None:
    """Close the connections that the run opened in this process."""
    with _guard:
        scope = scopes.pop(run, None)
    if scope is not None:
        scope.close()


def _close(thing: Any) -> None:
    try:
        thing.close()
    except Exception:
        if not hasattr(thing, "__exit__"):  # else `__exit__` has closed it already, and some raise on a second close
            raise


def _close_all() -> None:
    for run in list(scopes):
        close(run)


atexit.register(_close_all)


_of_parent: list[dict[str, _Scope]] = []


def _after_fork() -> None:
    """Leave open connections to the parent process. References are kept, since freeing a context manager could run its exit here."""
    global _guard
    _guard = threading.Lock()
    _of_parent.append(dict(scopes))
    scopes.clear()
    led.clear()
    _guests.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
