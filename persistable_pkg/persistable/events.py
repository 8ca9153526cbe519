"""Events, as frozen values, and the hooks that receive them.

Nothing is printed and no log handler is installed. Where the application uses `logging`, every event is also logged: at INFO, progress at
DEBUG, failures at ERROR, on the node's logger (``persistable`` unless the node was given another).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

from persistable.params.secret import redact, redact_log_record

if TYPE_CHECKING:
    from persistable.nodes.types import Node
    from persistable.records.key import Key


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Event:
    """Base of all events: made by keywords, immutable, compared by content, picklable.

    A dataclass to type checkers. At run time it is not: making a dataclass of each event would take more time at the first import than this
    whole module.
    """

    level: ClassVar[int] = 20
    """The level of `logging` at which it is logged."""
    _redacted_facts: ClassVar[tuple[str, ...]] = ()
    """The names of the facts that hold text of other code, from which secrets are removed."""
    _names: ClassVar[tuple[str, ...]] = ()
    """The names of all facts, in order."""
    _optional: ClassVar[dict[str, Any]] = {}
    """Optional facts and their default values."""

    def __init_subclass__(cls) -> None:
        cls._names = (*cls._names, *cls.__annotations__)
        cls._optional = {name: getattr(cls, name) for name in cls._names if hasattr(cls, name)}

    def __init__(self, **facts: Any) -> None:
        all_facts = {**self._optional, **facts}
        if all_facts.keys() != set(self._names):
            taken = ", ".join([f"{name}={self._optional[name]!r}" if name in self._optional else name for name in self._names])
            raise TypeError(f"{type(self).__name__} takes {taken}; it was given {', '.join(facts) or 'nothing'}")
        for name, fact in all_facts.items():
            object.__setattr__(self, name, _redacted(fact) if name in self._redacted_facts else fact)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be set: events are facts")

    def facts(self) -> dict[str, Any]:
        """Return the facts by name."""
        return {name: getattr(self, name) for name in self._names}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and type(other) is type(self) and self.facts() == other.facts()

    def __hash__(self) -> int:
        return hash((type(self), getattr(self, "key", None)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={fact!r}' for name, fact in self.facts().items())})"

    def __str__(self) -> str:
        """The event in words, as it is logged: ``Failed load(clip='clip-017') (load/f6786f80): ValueError: no samples [attempt=1]``."""
        facts = self.facts()
        key, label, error = facts.pop("key", None), facts.pop("label", ""), facts.pop("error", "")
        name = f" {label} ({key.name}/{key.digest[:8]})" if key is not None and label else f" {key}" if key is not None else ""
        shown = {name: fact for name, fact in facts.items() if name not in self._optional}
        rest = ", ".join([f"{name}={fact:.3g}" if fact.__class__ is float else f"{name}={fact}" for name, fact in shown.items()])
        return f"{type(self).__name__}{name}{f': {error}' if error else ''}{f' [{rest}]' if rest else ''}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.facts())


def _rebuild(kind: type[Event], facts: dict[str, Any]) -> Event:
    return kind(**facts)  # the constructor also redacts the secrets that this process knows


def _redacted(fact: Any) -> Any:
    return redact(fact) if fact.__class__ is str else tuple([(key, redact(error)) for key, error in fact])


class NodeEvent(Event):
    """Base of the events about one node."""

    key: Key
    """The key of the node."""


class Started(NodeEvent):
    """A generation begins."""

    attempt: int
    """The number of the attempt, from 1."""
    label: str = ""
    """The node in words; "" for members of a family that are generated without a node each."""


class Progressed(NodeEvent):
    """A generation reports how far it is."""

    level = 10
    done: float
    """The amount that is done, in the unit of `total`."""
    total: float | None
    """The amount that there is to do; None where that is not known."""


class Printed(NodeEvent):
    """Generating code in another process has printed text. The run prints it here too."""

    level = 0
    _redacted_facts = ("text",)
    label: str
    """The node in words."""
    stream: str
    """``"stdout"`` or ``"stderr"``."""
    text: str
    """Whole lines, unless they are very long."""


class Logged(NodeEvent):
    """Generating code in another process has logged a message. The run passes it to the logger of that name here."""

    level = 0
    _redacted_facts = ("text",)
    label: str
    """The node in words."""
    logger: str
    """The name of the logger."""
    severity: int
    """The level, such as ``logging.WARNING``."""
    text: str
    """The message."""
    record: dict[str, Any]
    """The attributes of the log record, as `logging.makeLogRecord` takes them."""


class Persisted(NodeEvent):
    """A payload is committed."""

    seconds: float
    """Seconds from start to commit."""
    size: int
    """Bytes of the payload."""


class Loaded(NodeEvent):
    """A stored payload is in memory, or mapped."""

    seconds: float
    """Seconds that it took."""
    size: int
    """Bytes of the payload."""


class Retried(NodeEvent):
    """A failed attempt will be retried."""

    level = 30
    _redacted_facts = ("error",)
    attempt: int
    """The number of the attempt that failed, from 1."""
    delay: float
    """Seconds until the next."""
    error: str
    """Type and message of the error."""


class Failed(NodeEvent):
    """A generation raised."""

    level = 40
    _redacted_facts = ("error",)
    attempt: int
    """The number of the attempt, from 1."""
    error: str
    """Type and message of the error."""
    label: str = ""
    """The node in words; "" for members of a family that are generated without a node each."""
    seconds: float
    """Seconds from the start of the attempt."""


class Skipped(NodeEvent):
    """A node is not performed."""

    _redacted_facts = ("reason",)
    reason: str
    """The reason, as text."""


class RunStarted(Event):
    """A run begins."""

    expected: dict[str, float]
    """Payload name to the seconds that one generation took so far: the median of the recorded ones, where there are any."""
    jobs: dict[str, int]
    """Payload name to the number of nodes of that name that it may perform."""
    workers: int
    """The number of nodes performed at a time."""


class RunGrew(Event):
    """A run has more nodes to perform than it could know when it began.

    Emitted once the items of a node are known, by runs of nodes of which there is one for each of these items.
    """

    expected: dict[str, float]
    """The same as in `RunStarted`, for the nodes that came later."""
    jobs: dict[str, int]
    """The same as in `RunStarted`, for the nodes that came later."""


class Performed(NodeEvent):
    """A run is done with one node."""

    level = 10
    _redacted_facts = ("error",)
    error: str = ""
    """Type and message of the error, or the reason why nothing was done; "" for nodes done or reused."""
    is_target: bool = False
    """True for a target of the run, False for a node upstream of one."""
    node: Node | None = None
    """The node, without its payload; None unless a hook asks for nodes, by an attribute ``wants_nodes`` that is true."""
    outcome: str
    """``"done"``, ``"failed"``, ``"skipped"``, or ``"reused"``: the stored payload stays, or another process has made it meanwhile."""
    seconds: float
    """Seconds of its own work."""


class RunFinished(Event):
    """A run is over."""

    _redacted_facts = ("failures",)
    counts: dict[str, int]
    """``"done"``, ``"failed"``, ``"skipped"``, ``"reused"``, ``"cancelled"`` and ``"stale"`` to numbers of nodes."""
    failures: tuple[tuple[Key, str], ...]
    """Key, and type and message of the error, of each node that failed by itself."""
    seconds: float
    """Seconds from start to end."""


Hook = Callable[[Event], object]
_hooks: list[Hook] = []
_own: ContextVar[tuple[Hook, ...]] = ContextVar("persistable_hooks", default=())
_event_replacement: ContextVar[Callable[[Event], Event | None] | None] = ContextVar("persistable_events", default=None)


@contextmanager
def replace_events(tell: Callable[[Event], Event | None]) -> Generator[None]:
    """Inside the block, replace each event that this thread emits by the event that `tell` returns for it; None drops it."""
    outer = _event_replacement.set(tell)
    try:
        yield
    finally:
        _event_replacement.reset(outer)


hooks_of_context = _own.get
"""Return the hooks of this context, which receive its events only."""


@contextmanager
def receive_events_with(hooks: Iterable[Hook]) -> Generator[None]:
    """Inside the block, these hooks receive the events of this thread, in place of the hooks of enclosing blocks."""
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


def has_receiver(logger: Any = None, level: int = 20) -> bool:
    """Tell whether an event of `level` would be received; where it would not, the hot path need not make it."""
    if _hooks or _own.get():
        return True
    if logger is None and _root is not None:  # the usual case, without a call
        return bool(_root.isEnabledFor(level) and _root.hasHandlers())
    return _target(logger, level) is not None


def nodes_wanted() -> bool:
    """Tell whether a hook asks for the nodes of events, which are costly to make for large families."""
    return any(getattr(hook, "wants_nodes", False) for hook in (*_hooks, *_own.get()))


def emit(event: Event, logger: Any = None, hooks: tuple[Hook, ...] | None = None) -> None:
    """Pass `event` to every subscribed hook, then to those of this context, or `hooks` in their place, then to the log."""
    tell = _event_replacement.get()
    if tell is not None:
        replacement = tell(event)
        if replacement is None:
            return
        event = replacement
    own = _own.get() if hooks is None else hooks
    if own and _hooks:
        own = tuple([hook for hook in own if not any(hook is each for each in _hooks)])
    for hook in (*_hooks, *own):
        try:
            hook(event)
        except Exception as error:  # noqa: BLE001 - a hook must not harm the node
            _report(hook, event, error)
    target = _target(logger, event.level)
    if target is not None:
        target.log(event.level, "%s", event)


_root: Any = None


def _target(logger: Any, level: int) -> Any:
    """Return the logger, or None if nothing is logged: an application that has not imported `logging` cannot be listening."""
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
"""Hooks that failed, by identity and type of error; kept here, so that no other hook gets the same identity."""


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
"""Loggers by payload name and whether they print, as those of verbose nodes do."""


def logger_of(name: str, given: Any = None) -> Any:
    """Return the logger for the code of a node of this payload name.

    given: the `_node_logger` of the node: None, True (which prints), a logger, or the tuple of `picklable_logger`.
    """
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
        # not registered with `logging`: nodes of the same name that are not verbose stay quiet
        logger = logging.Logger(f"persistable.{name}", logging.INFO)

        class ToStandardError(logging.StreamHandler[Any]):
            """Prints to the present ``sys.stderr``."""

            stream = property(lambda _: sys.stderr, lambda _, __: None)  # pyright: ignore[reportAssignmentType]

        handler = ToStandardError()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.addFilter(redact_log_record)
    return logger


def picklable_logger(given: Any) -> Any:
    """Return `given` for another process: it receives the log messages of the node's code there, but no events, which are emitted here."""
    import logging

    if given.__class__ is tuple:
        return given
    by_name = isinstance(given, logging.Logger) and logging.getLogger(given.name) is given
    return (given,) if given is True or by_name else None
