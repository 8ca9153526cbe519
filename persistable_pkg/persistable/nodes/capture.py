"""Capture of the output of generating code, its prints and log records: kept for the record, and passed on to the stream or handler.

During generations, a `Tee` replaces each standard stream, one for the whole process: it finds the generation that the writing code
belongs to by its context, so that prints of unrelated threads belong to none. Log records are captured when they are made, by a factory
that replaces the one of `logging`. Output that other processes write to the descriptors of this one is not captured.
"""

from __future__ import annotations

import codecs
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from persistable.params.secret import redact

if TYPE_CHECKING:
    import logging

    from persistable.nodes.generation import Generation
    from persistable.runs.output_forwarding import Relay

LIMIT = 1 << 16
"""Bytes of output kept, at most."""
_CUT = "[...]\n"
"""Mark in the place of text that is not kept."""

keep_output: ContextVar[bool] = ContextVar("persistable_keeps_output", default=True)
"""True if output is kept with records and failures."""
relay: ContextVar[Relay | None] = ContextVar("persistable_relay", default=None)
"""Relay to the process that runs the nodes; None if that is this process."""
silent: ContextVar[bool] = ContextVar("persistable_silent", default=False)
"""True while hooks are called: their prints are not output of the code that triggered them."""


@contextmanager
def set_keep_output(wanted: bool) -> Generator[None]:
    """Inside the block, output is kept or not."""
    outer = keep_output.set(wanted)
    try:
        yield
    finally:
        keep_output.reset(outer)


lock = threading.Lock()
forks: int = 0
"""Number of forks between the first process and this one."""


def _forked() -> None:
    global forks, lock
    forks += 1
    lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def find_printing_generation() -> Generation | None:
    """Return the generation that the calling code belongs to; `generation` replaces this function, as it does `is_busy`."""
    return None


def is_busy() -> bool:
    """Tell whether the code of some generation runs."""
    return False


class Tee:
    """A standard stream while something is being generated: text goes to the generation that it belongs to, and to `inner`.

    inner: the stream in whose place this one is; it may be None.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    stream = "stdout"

    def write(self, text: str) -> int:
        """Write `text`, and keep it."""
        here = find_printing_generation()
        if here is None or silent.get() or not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            return self._pass_on(text)
        if here.add_printed(self.stream, text):
            return len(text)
        return self._pass_on(text)

    def _pass_on(self, text: str) -> int:
        if self.inner is None:
            return len(text)
        written: int = self.inner.write(text)
        return written

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> _Bytes:
        """The underlying stream of bytes; data written to it is kept as well."""
        return _Bytes(self.inner.buffer, self.stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __iter__(self) -> Any:
        return iter(self.inner)

    def __repr__(self) -> str:
        return f"<Tee of {self.inner!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (sys, self.stream)


T = TypeVar("T", bound=Tee)


class ErrorTee(Tee):
    """A `Tee` for standard error."""

    stream = "stderr"


class _Bytes:
    """The bytes below a `Tee`."""

    def __init__(self, inner: Any, stream: str) -> None:
        self._inner = inner
        self._stream = stream

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write `data`, and keep it."""
        here = find_printing_generation()
        if here is not None and not silent.get() and here.add_printed(self._stream, bytes(data)):
            return memoryview(data).nbytes
        written: int = self._inner.write(data)
        return written

    def writelines(self, lines: Iterable[bytes]) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


_KEPT = 16
"""Number of streams whose `Tee` is kept."""


class Tees(dict[int, T]):
    """The `Tee` of each of the last streams that code was generated under, by id of the stream.

    They are kept when the generation is over: ``print`` of older Pythons holds no reference to ``sys.stdout``, so a stream that is freed
    while another thread prints to it crashes the process.
    """

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind

    def of(self, stream: Any) -> T:
        """Return the `Tee` of `stream`, a new one if none is kept."""
        found = self.get(id(stream))
        if found is None or found.inner is not stream:
            found = self[id(stream)] = self._kind(stream)
            for key in list(self)[:-_KEPT]:
                self.pop(key, None)
        return found


outs = Tees(Tee)
errors = Tees(ErrorTee)


def unwrapped(stream: Any) -> Any:
    """The stream inside `stream` if that is a `Tee`, else `stream` itself."""
    return stream.inner if isinstance(stream, Tee) else stream


sessions: int = 0
"""Number of open blocks of `session`."""


@contextmanager
def session() -> Generator[None]:
    """Keep the streams replaced for as long as the block runs, for many short generations."""
    global sessions
    with lock:
        sessions += 1
        if not isinstance(sys.stdout, Tee):
            sys.stdout = outs.of(sys.stdout)
        if not isinstance(sys.stderr, Tee):
            sys.stderr = errors.of(sys.stderr)
    watch_logging()
    try:
        yield
    finally:
        with lock:
            sessions -= 1
            if not sessions and not is_busy():
                sys.stdout, sys.stderr = unwrapped(sys.stdout), unwrapped(sys.stderr)


def watch_logging() -> None:
    """Capture the log records that are made from now on, if `logging` is imported."""
    logging = sys.modules.get("logging")
    if logging is None or not hasattr(logging, "setLogRecordFactory"):
        return
    with lock:
        factory = logging.getLogRecordFactory()
        if not isinstance(factory, Factory):
            logging.setLogRecordFactory(Factory(factory))


class _Seen(threading.local):
    """The id of the log record that this thread has passed on last, or 0."""

    record: int = 0


_seen = _Seen()


class Factory:
    """Makes log records as `inner` does, and passes them to the generation whose code logs, if any. Once set, it is never removed."""

    def __init__(self, inner: Callable[..., logging.LogRecord]) -> None:
        self.inner = inner

    def __call__(self, name: Any, *args: Any, **kwargs: Any) -> logging.LogRecord:
        _seen.record = 0
        record = self.inner(name, *args, **kwargs)
        if name is None or _seen.record == id(record):  # rebuilt from one of another process; or shown by a factory in `inner`
            return record
        _seen.record = id(record)
        here = find_printing_generation()
        if here is not None and not silent.get() and not _is_event(record) and _is_known(sys._getframe(1)):  # pyright: ignore[reportPrivateUsage]
            here.add_log_record(record)
        return record


def _is_known(frame: FrameType) -> bool:
    """Tell whether the logger whose method runs in `frame` is registered by name; if not, only prints of its handlers are kept."""
    logging: Any = sys.modules["logging"]
    logger: Any = frame.f_locals.get("self")
    known = logging.root.manager.loggerDict
    return not isinstance(logger, logging.Logger) or logger is logging.root or known.get(frame.f_locals["self"].name) is logger


def _is_event(record: logging.LogRecord) -> bool:
    """Tell whether it is an event of this package, which is not the node's own."""
    given = record.args
    return bool(given) and isinstance(given, tuple) and hasattr(given[0], "facts") and type(given[0]).__module__ == "persistable.events"


def is_by_logging() -> bool:
    """Tell whether a handler of `logging` is writing at this moment: then its record is captured already."""
    logging = sys.modules.get("logging")
    code = getattr(getattr(getattr(logging, "Logger", None), "callHandlers", None), "__code__", None)
    frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
    for _ in range(_DEPTH):
        if frame.f_code is code:
            return _is_known(frame)
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False


_DEPTH = 25
"""Calls between a logger and the stream that its handler writes to, at most."""


def line_of(record: logging.LogRecord) -> str:
    """A log record as text of the output: ``WARNING mypkg.train: loss is nan``, and the traceback, if there is one."""
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - logging itself reports the error
        text = str(record.msg)
    if record.exc_info and record.exc_info[0] is not None:
        text += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
    return f"{record.levelname} {record.name}: {text}\n"


class Output:
    """The last part of the text that the code of one generation has printed and logged."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pieces: list[str] = []
        self._size = 0
        self._cut = False
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}
        self.logged = False

    def add(self, stream: str, text: str | bytes) -> str:
        """Add data written to `stream`, and return it as text."""
        with self._lock:
            if not isinstance(text, str):
                if stream not in self._decoders:
                    self._decoders[stream] = codecs.getincrementaldecoder("utf-8")("replace")
                text = self._decoders[stream].decode(text)
            if len(text) > 2 * LIMIT:
                self._cut = True
            piece = text[-2 * LIMIT :]  # more than is kept, so that no secret is cut in two
            self._pieces.append(piece)
            self._size += len(piece)
            if self._size > 8 * LIMIT:
                whole = "".join(self._pieces)[-2 * LIMIT :]
                self._pieces, self._size, self._cut = [whole], len(whole), True
        return text

    def text(self) -> str:
        """The last part of the output, without secrets, and with only the last state of redrawn lines; at most `LIMIT` bytes."""
        with self._lock:
            whole = "".join(self._pieces)
            self._pieces = [whole]
            cut = self._cut
        return shortened(redact(drawn(whole)), cut)


_CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")
"""Terminal control sequences, such as colours and cursor movements."""


def drawn(text: str) -> str:
    """`text` as a terminal shows it in the end: without control sequences, and with only the last state of redrawn lines."""
    return "\n".join(map(_last_of, _CONTROL.sub("", text.replace("\r\n", "\n")).split("\n")))


def _last_of(line: str) -> str:
    """The part of `line` that is not overwritten: after its last carriage return, not counting those at its end."""
    return line[line.rstrip("\r").rfind("\r") + 1 :]


def shortened(text: str, cut: bool = False) -> str:
    """The end of `text`, at most `LIMIT` bytes, from the start of a line if it has one. cut: text before it is missing already."""
    data = text.encode("utf-8", "replace")
    if len(data) <= LIMIT - (len(_CUT) if cut else 0):
        return (_CUT + text if cut else text).encode("utf-8", "replace").decode()
    end = data[-(LIMIT - len(_CUT)) :]
    line = end.find(b"\n") + 1
    return _CUT + end[line if 0 < line < len(end) else 0 :].decode("utf-8", "ignore")
