"""Output and progress of nodes that are generated elsewhere, sent to the process that leads the run.

`Relay` works there, `emit_forwarded` here. Printed text is sent as whole lines: a little at once, more in pieces some time apart, and
beyond `MOST` of one job not at all: its end is kept with the record. If nothing can be sent while the job runs, all of it comes with
the outcome.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from persistable import events
from persistable.executors import notes
from persistable.nodes import capture, connections
from persistable.nodes.capture import LIMIT
from persistable.nodes.code import Main, sent_from
from persistable.nodes.types import Node
from persistable.params.secret import redact
from persistable.records.key import Key

if TYPE_CHECKING:
    import logging

MOST = 1 << 20
"""The limit, in characters, on the printed and logged text of one job that is sent."""
_LINE = 1 << 13
"""The number of characters above which a line is sent before it ends."""
_MORE = "[output cut: record.output has its end]\n"

Levels = tuple[int, dict[str, int]]
"""The level up to which nothing is logged anywhere, and the levels of loggers that have one of their own; "" is the root."""


class Relay:
    """Receives the output and progress of the nodes of one job, and sends them to the run.

    progress_wanted: whether the run listens to progress.
    """

    def __init__(self, run: str, progress_wanted: bool) -> None:
        self._run = run
        self._progress_wanted = progress_wanted
        self._sender = notes.sender()
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._pending: deque[events.NodeEvent] = deque()
        self._size = 0
        self._begun: dict[tuple[Key, str], str] = {}
        self._labels: dict[Key, str] = {}
        self._left = MOST
        self._sent = 0.0
        self._timer: threading.Timer | None = None
        self._over = False

    # from the generating code

    def prints(self, node: Node, stream: str, text: str) -> None:
        """Send the whole lines of printed text; keep the rest until its line ends."""
        with self._lock:
            key: Key = node.key
            whole = self._begun.pop((key, stream), "") + text
            end = len(whole) if len(whole) > _LINE else whole.rfind("\n") + 1
            if end < len(whole):
                self._begun[key, stream] = whole[end:]
            if end:
                self._say(events.Printed(key=key, label=self._label(node), stream=stream, text=whole[:end]))
        self._flush_soon()

    def logs(self, node: Node, record: logging.LogRecord) -> None:
        """Send a log record."""
        facts = _facts_of(record)
        with self._lock:
            label, text = self._label(node), facts["msg"]
            self._say(events.Logged(key=node.key, label=label, logger=record.name, severity=record.levelno, text=text, record=facts))
        self._flush_soon()

    def progressed(self, event: events.Progressed) -> None:
        """Send the progress of a node; of several reports that wait, the last."""
        if not self._progress_wanted:
            return
        with self._lock:
            last = self._pending[-1] if self._pending else None
            if isinstance(last, events.Progressed) and last.key == event.key:
                self._pending.pop()
            self._pending.append(event)
        self._flush_soon()

    def _label(self, node: Node) -> str:
        key: Key = node.key
        if key not in self._labels:
            self._labels[key] = node.label
        return self._labels[key]

    def _say(self, event: events.Printed | events.Logged) -> None:
        if self._left <= 0:
            return
        self._left -= len(event.text)
        if self._left <= 0:
            event = events.Printed(key=event.key, label=event.label, stream="stderr", text=_MORE)
        last = self._pending[-1] if self._pending else None
        if isinstance(event, events.Printed) and isinstance(last, events.Printed) and (last.key, last.stream) == (event.key, event.stream):
            event = events.Printed(key=event.key, label=event.label, stream=event.stream, text=last.text + event.text)
            self._size -= len(last.text)
            self._pending.pop()
        self._pending.append(event)
        self._size += len(event.text)
        while self._size > 2 * LIMIT and self._sender is None:  # text that cannot be sent before the end is limited
            dropped = self._pending.popleft()
            if isinstance(dropped, events.Printed | events.Logged):
                self._size -= len(dropped.text)
            if not self._pending and isinstance(dropped, events.Printed):
                kept = events.Printed(
                    key=dropped.key, label=dropped.label, stream=dropped.stream, text=capture.shortened(dropped.text, True)
                )
                self._pending.append(kept)
                self._size += len(kept.text)

    # sending

    def _flush_soon(self) -> None:
        if self._sender is None:
            return
        with self._lock:
            now = time.monotonic()
            wait = self._sent + self._sender.pause_after(now - self._began) - now
            if wait > 0:
                if self._timer is None and not self._over:
                    self._timer = threading.Timer(wait, self._flush)
                    self._timer.daemon = True
                    self._timer.start()
                return
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            self._timer = None
            if self._over or not self._pending or self._sender is None:
                return
            self._sent = time.monotonic()
            try:
                sent = self._sender.send(notes.packed(self._run, tuple(self._pending)))
            except Exception:  # noqa: BLE001 - the connection may be gone: then it comes with the outcome
                sent = False
            if sent:
                self._pending.clear()
                self._size = 0
            else:
                self._sender = None

    def finish(self) -> tuple[events.NodeEvent, ...]:
        """Return the events not sent; none are sent from now on."""
        with self._lock:
            for (key, stream), text in self._begun.items():
                self._say(events.Printed(key=key, label=self._labels.get(key, ""), stream=stream, text=text + "\n"))
            self._over = True
            if self._timer is not None:
                self._timer.cancel()
            waiting = tuple(self._pending)
            self._pending.clear()
        return waiting


@contextmanager
def run_from_elsewhere(
    run: str, keys: Collection[Key], progress_wanted: bool, main: Main | None, output: bool, levels: Levels | None, begins: bool = False
) -> Generator[list[events.Event]]:
    """Inside the block, generate nodes of a run that another process leads as they would be generated there.

    Yields a list that has the events not sent meanwhile, once the block is left. progress_wanted: whether the run listens to events.
    begins: whether events of nodes that begin are included.
    """
    relay, unsent, received = Relay(run, progress_wanted), list[events.Event](), list[events.Event]()

    def hook(event: events.Event) -> None:
        if getattr(event, "key", None) not in keys or (isinstance(event, events.Started) and not begins):
            return
        if isinstance(event, events.Progressed):
            relay.progressed(event)
        else:
            received.append(event)

    if levels is not None:
        _follow(levels)
    outer = capture.relay.set(relay)
    try:
        with (
            events.receive_events_with((hook,) if progress_wanted else ()),
            connections.within_worker(run),
            sent_from(main),
            capture.set_keep_output(output),
        ):
            yield unsent
    finally:
        capture.relay.reset(outer)
    unsent += (*relay.finish(), *received)


def levels() -> Levels | None:
    """The levels of the loggers of this process, to set in others; None if `logging` is not imported here."""
    logging: Any = sys.modules.get("logging")
    if logging is None:
        return None
    manager = logging.root.manager
    own = {name: logger.level for name, logger in list(manager.loggerDict.items()) if getattr(logger, "level", 0)}
    return manager.disable, {"": logging.root.level, **own}


_followed: Levels | None = None


def _follow(wanted: Levels) -> None:
    global _followed
    if _followed is wanted:
        return
    import logging

    below, own = wanted
    logging.disable(below)
    for name, level in own.items():
        logging.getLogger(name or None).setLevel(level)
    _followed = wanted


_COPIED = ("created", "msecs", "pathname", "filename", "module", "lineno", "funcName", "process", "processName", "threadName", "levelname")


def _facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """The plain facts of a log record, for `logging.makeLogRecord`."""
    facts: dict[str, Any] = {name: value for name in _COPIED if type(value := record.__dict__.get(name)) in (str, int, float)}
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - logging itself reports the error
        text = str(record.msg)
    if record.exc_info and record.exc_info[0] is not None:
        import traceback

        facts["exc_text"] = redact("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))[-LIMIT:]
    return {**facts, "name": record.name, "levelno": record.levelno, "msg": redact(text)[-LIMIT:], "args": None}


# in the process that leads the run


def emit_forwarded(event: events.Event, logger: Any, several: bool) -> None:
    """Emit `event`, which came from elsewhere; output is printed or logged first. several: whether several nodes may be under way."""
    if isinstance(event, events.Printed):
        _print(event, several)
    elif isinstance(event, events.Logged):
        _log(event.record)
    events.emit(event, logger)


def _print(event: events.Printed, several: bool) -> None:
    text = event.text
    if several:
        label = f"{event.label or event.key.name}: "
        text = "".join([f"{label}{line}" for line in capture.drawn(text).splitlines(keepends=True)])
    stream = sys.stdout if event.stream == "stdout" else sys.stderr
    try:
        stream.write(text)
        stream.flush()
    except (AttributeError, OSError, ValueError):  # no stream, its reader is gone, or it is closed
        return


def _log(facts: Mapping[str, Any]) -> None:
    import logging

    logger = logging.getLogger(facts["name"])
    if logger.isEnabledFor(facts["levelno"]):
        logger.handle(logging.makeLogRecord(dict(facts)))


def emit_forwarded_all(forwarded: Any, logger: Any, several: bool) -> None:
    """Call `emit_forwarded` for each event."""
    for event in forwarded:
        emit_forwarded(event, logger, several)
