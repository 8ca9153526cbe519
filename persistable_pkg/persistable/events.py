"""Events, as frozen values; whoever wants to know subscribes a hook.

Nothing is printed and no log handler is installed. Where the application uses `logging`, every event is also logged: at INFO, progress at
DEBUG, failures at ERROR, on the node's logger (``persistable`` unless the node was given another).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from persistable.params.secret import redact, said_without_secrets

if TYPE_CHECKING:
    from persistable.records.key import Key


class Event:
    """Base of all events: immutable, comparable, picklable."""

    __slots__ = ()
    level: ClassVar[int] = 20
    _said: ClassVar[tuple[str, ...]] = ()
    """The facts that hold what others have said, from which secrets are taken out."""

    def __init__(self, **facts: Any) -> None:
        names = list(self._fields())
        if facts.keys() != set(names):
            raise TypeError(f"{type(self).__name__} takes exactly {', '.join(names)}; it was given {', '.join(facts) or 'nothing'}")
        for name, fact in facts.items():
            object.__setattr__(self, name, redact(fact) if name in self._said and fact.__class__ is str else fact)

    @classmethod
    def _fields(cls) -> Iterator[str]:
        for base in reversed(cls.__mro__):
            yield from getattr(base, "__slots__", ())

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be set: events are facts")

    def _facts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._fields()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and type(other) is type(self) and self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash((type(self), getattr(self, "key", None)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={fact!r}' for name, fact in self._facts().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._facts())


def _rebuild(kind: type[Event], facts: dict[str, Any]) -> Event:
    return kind(**facts)


class NodeEvent(Event):
    """Base of what happens to one node; `key` says to which."""

    __slots__ = ("key",)
    key: Key


class Started(NodeEvent):
    """A generation begins; `attempt` counts from 1."""

    __slots__ = ("attempt",)
    attempt: int


class Progressed(NodeEvent):
    """A generation reports `done` of `total` (None where it does not know)."""

    __slots__ = ("done", "total")
    level = 10
    done: float
    total: float | None


class Persisted(NodeEvent):
    """A payload is committed: `size` in bytes, `seconds` from start to commit."""

    __slots__ = ("seconds", "size")
    seconds: float
    size: int


class Loaded(NodeEvent):
    """A stored payload is in memory (or mapped): `size` in bytes, `seconds` it took."""

    __slots__ = ("seconds", "size")
    seconds: float
    size: int


class Retried(NodeEvent):
    """A failed attempt will be made again after `delay` seconds."""

    __slots__ = ("attempt", "delay", "error")
    level = 30
    _said = ("error",)
    attempt: int
    delay: float
    error: str


class Failed(NodeEvent):
    """A generation raised: `error` is the type and message, `seconds` from its start."""

    __slots__ = ("attempt", "error", "seconds")
    level = 40
    _said = ("error",)
    attempt: int
    error: str
    seconds: float


class Skipped(NodeEvent):
    """Nothing was done, and `reason` says why."""

    __slots__ = ("reason",)
    _said = ("reason",)
    reason: str


class RunStarted(Event):
    """A run begins: `jobs` maps payload names to how many nodes of that name it may perform, `workers` at a time in all.

    `expected` maps payload names to the seconds that one generation took so far (the median of what is recorded), where any is.
    """

    __slots__ = ("expected", "jobs", "workers")
    jobs: dict[str, int]
    workers: int
    expected: dict[str, float]


class RunGrew(Event):
    """A run finds out that it has more to do, which it could not know when it began; `jobs` and `expected` as in RunStarted, of that only.

    It is told once items are there, by runs of nodes of which there is one for each item that another generates.
    """

    __slots__ = ("expected", "jobs")
    jobs: dict[str, int]
    expected: dict[str, float]


class Performed(NodeEvent):
    """A run is done with one node: `outcome` is ``"done"``, ``"failed"``, ``"skipped"``, or ``"reused"``.

    That is where it turned out to stay as it is, or where others have made it meanwhile. `seconds` is what its own work took.
    """

    __slots__ = ("outcome", "seconds")
    level = 10
    outcome: str
    seconds: float


class RunFinished(Event):
    """A run is over: `counts` maps ``"done"``, ``"failed"``, ``"skipped"``, ``"reused"`` and ``"cancelled"`` to numbers of nodes.

    `failures` holds (key, type and message of the error) of each node that failed by itself; `seconds` is from start to end.
    """

    __slots__ = ("counts", "failures", "seconds")
    counts: dict[str, int]
    failures: tuple[tuple[Key, str], ...]
    seconds: float

    def __init__(self, **facts: Any) -> None:
        facts["failures"] = tuple([(key, redact(error)) for key, error in facts.get("failures", ())])
        super().__init__(**facts)


Hook = Callable[[Event], object]
_hooks: list[Hook] = []
_own: ContextVar[tuple[Hook, ...]] = ContextVar("persistable_hooks", default=())
_retold: ContextVar[Callable[[Event], Event | None] | None] = ContextVar("persistable_events", default=None)


@contextmanager
def retold(tell: Callable[[Event], Event | None]) -> Generator[None]:
    """Inside the block, what this thread emits is told as `tell` gives it, and not at all where it gives None."""
    outer = _retold.set(tell)
    try:
        yield
    finally:
        _retold.reset(outer)


own_hooks = _own.get
"""Gives the hooks that hear what happens in this context, and nothing else."""


@contextmanager
def heard_by(hooks: Iterable[Hook]) -> Generator[None]:
    """Inside the block, these hear what this thread emits, and those of blocks around it do not."""
    given: tuple[Hook, ...] = ()
    for hook in hooks:
        if not any(hook is each for each in given):
            given = (*given, hook)
    outer = _own.set(given)
    try:
        yield
    finally:
        _own.reset(outer)
        if given and _reported:
            _forget_reports(given)


class subscribe:  # noqa: N801 - used as a function: subscribe(hook)
    """Call `hook` with every event of this process, until `cancel()` or the end of the ``with`` block it may open.

    A hook that raises is reported once by a warning and never harms the node.
    """

    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        _hooks.append(hook)

    def cancel(self) -> None:
        """Stop calling the hook. Calling it twice is fine."""
        if self._hook in _hooks:
            _hooks.remove(self._hook)
        _forget_reports((self._hook,))

    def __enter__(self) -> subscribe:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


def listened(logger: Any = None, level: int = 20) -> bool:
    """Tell whether an event of `level` would reach anyone; lets the hot path skip making it."""
    return bool(_hooks) or bool(_own.get()) or _target(logger, level) is not None


def emit(event: Event, logger: Any = None, hooks: tuple[Hook, ...] | None = None) -> None:
    """Tell every hook that hears all, then those of this context, or `hooks` instead of these, then the log."""
    tell = _retold.get()
    if tell is not None:
        told = tell(event)
        if told is None:
            return
        event = told
    own = _own.get() if hooks is None else hooks
    if own and _hooks:
        own = tuple([hook for hook in own if not any(hook is each for each in _hooks)])
    for hook in (*_hooks, *own):
        try:
            hook(event)
        except Exception as error:  # noqa: BLE001 - a listener must not harm what it listens to
            _report(hook, event, error)
    target = _target(logger, event.level)
    if target is not None:
        target.log(event.level, "%s", event)


_root: Any = None


def _target(logger: Any, level: int) -> Any:
    """Where to log, if anywhere: an application that has not imported `logging` cannot be listening."""
    global _root
    if logger is True:
        logger = logger_of("console", True)
    if logger is None or logger.__class__ is tuple:
        if _root is None:
            logging = sys.modules.get("logging")
            if logging is None or not hasattr(logging, "getLogger"):
                return None
            _root = logging.getLogger("persistable")
        logger = _root
    # without any handler, logging would print warnings and errors to standard error by itself
    return logger if logger.isEnabledFor(level) and logger.hasHandlers() else None


_reported: dict[tuple[int, str], Hook] = {}
"""Hooks that failed, by identity and kind of error: held, so that none takes the place of another."""


def _forget_reports(hooks: tuple[Hook, ...]) -> None:
    for once in [once for once, hook in list(_reported.items()) if any(hook is each for each in hooks)]:
        _reported.pop(once, None)


def _report(hook: Hook, event: Event, error: Exception) -> None:
    import warnings

    from persistable.errors import PersistableWarning

    once = (id(hook), type(error).__name__)
    if once not in _reported:
        _reported[once] = hook
        warnings.warn(
            redact(f"the hook {hook!r} raised {error!r} on {type(event).__name__}; the work goes on without it"),
            PersistableWarning,
            stacklevel=3,
        )


_lock = Lock()
_loggers: dict[tuple[str, bool], Any] = {}
"""Loggers of payload names, and those of verbose nodes, which print."""


def logger_of(name: str, given: Any = None) -> Any:
    """The logger for what the code of a node of this payload name says. given: see `Persistable._logger`."""
    if given.__class__ is tuple:
        given = given[0]
    if given is not None and given is not True:
        return given
    found = _loggers.get((name, given is True))
    if found is None:
        with _lock:
            found = _loggers[name, given is True] = _made(name, given is True)
    return found


def _made(name: str, prints: bool) -> Any:
    import logging

    root = logging.getLogger("persistable")
    if not root.handlers:
        root.addHandler(logging.NullHandler())  # else logging itself prints warnings where the application has set up nothing
    if not prints:
        logger = logging.getLogger(f"persistable.{name}")
    else:
        # known to nobody else: nodes of the same name that are not verbose stay quiet
        logger = logging.Logger(f"persistable.{name}", logging.INFO)

        class ToStandardError(logging.StreamHandler[Any]):
            """Prints to what is standard error at the moment."""

            stream = property(lambda _: sys.stderr, lambda _, __: None)  # pyright: ignore[reportAssignmentType]

        handler = ToStandardError()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.addFilter(said_without_secrets)
    return logger


def carried(given: Any) -> Any:
    """`given` for another process, where it is told what the node's code says, but no events: they are told here."""
    import logging

    if given.__class__ is tuple:
        return given
    by_name = isinstance(given, logging.Logger) and logging.getLogger(given.name) is given
    return (given,) if given is True or by_name else None
