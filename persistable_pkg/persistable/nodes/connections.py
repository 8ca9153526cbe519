"""`connection`: what is opened once per run and process, and closed on every path out."""

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
    """The result of `connection`: how to open something, not the thing itself. Pickles; is no part of any identity but that it is one."""

    _is_shared: ClassVar[bool] = True
    _stands_in: ClassVar[bool] = True
    """True: it stands in for what it opens, whatever that is."""

    def __init__(self, factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._how = (factory, args, kwargs)
        self._name = f"{os.getpid()}-{os.urandom(6).hex()}"

    def open(self) -> T:
        """The open thing: the same one for the whole run in this process; outside a run, for the generation that asks.

        Raises RuntimeError where neither is under way.
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
    """A connection as an argument of steps: ``load.step(db=connection(connect, "host"))``; the step is given what `factory` returns.

    It is opened at the first use in a run, in each process that needs it, and shared by the nodes performed there (also by threads). When
    the run is over, however it ends, it is closed: by leaving it where it is a context manager (its ``as`` value is what is given), and by
    its ``close()`` where it has one (leaving a database connection may only commit). Worker processes that outlive the run close it when
    they are given work of another run, or end. Which connection it was is not part of the identity of a node.
    """
    return Connection(factory, args, kwargs)


register_reduce(Connection, lambda _: None)


class _Scope:
    """The connections of one run in one process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._stack = ExitStack()
        self._open: dict[str, Any] = {}

    def opened(self, name: str, how: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]) -> Any:
        with self._lock:
            if name not in self._open:
                factory, args, kwargs = how
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
"""The run that generates here."""
led: set[str] = set()
"""Runs of this process, which close their connections themselves when they end."""
scopes: dict[str, _Scope] = {}
_guests: Counter[str] = Counter()
"""Number of calls under way that were sent here, for each run."""
_guard = threading.Lock()


@contextmanager
def within(run: str) -> Generator[None]:
    """Inside the block, connections are those of that run."""
    outer = current.set(run)
    try:
        yield
    finally:
        current.reset(outer)


@contextmanager
def leading(run: str) -> Generator[None]:
    """Inside the block, this process leads that run. Where no block around it does, the connections of the run are closed at its end."""
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
    """Do as `within` for work that was sent here, and close connections of runs that are neither at work in this process nor led by it."""
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
    """Close what that run opened in this process."""
    with _guard:
        scope = scopes.pop(run, None)
    if scope is not None:
        scope.close()


def _close(thing: Any) -> None:
    try:
        thing.close()
    except Exception:
        if not hasattr(thing, "__exit__"):  # else leaving it has closed it already, which some will not have twice
            raise


def _close_all() -> None:
    for run in list(scopes):
        close(run)


atexit.register(_close_all)


_of_parent: list[dict[str, _Scope]] = []


def _after_fork() -> None:
    """Leave to the parent process what it has opened. It is kept: forgetting a context manager would leave it here."""
    global _guard
    _guard = threading.Lock()
    _of_parent.append(dict(scopes))
    scopes.clear()
    led.clear()
    _guests.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
