"""Tracebacks that begin in the user's code: the frames of this package are left out."""

from __future__ import annotations

import re
from types import TracebackType
from typing import cast

from persistable.errors import PersistableError, RemoteError
from persistable.params.secret import redact

_OWN = __name__.partition(".")[0]
_MOST = 100
"""Maximum number of chained errors that are trimmed."""


def trim(error: BaseException) -> None:
    """Remove the frames of this package from the tracebacks of `error`, its causes, contexts, and members of its group.

    A traceback without other frames keeps only the last one if the error is one of this package, whose message is enough. Other errors
    raised by this package alone keep all frames.
    """
    seen: set[int] = set()
    pending = [error]
    while pending and len(seen) < _MOST:
        each = pending.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = users_frames(each.__traceback__) or _last(each)
        pending += [other for other in (each.__cause__, each.__context__) if other is not None]
        pending += cast("tuple[BaseException, ...]", getattr(each, "exceptions", ()))


def users_frames(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of this package; None if there are no others."""
    kept: list[TracebackType] = []
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] != _OWN:
            kept.append(trace)
        trace = trace.tb_next
    found: TracebackType | None = None
    for each in reversed(kept):
        found = TracebackType(found, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return found


def _last(error: BaseException) -> TracebackType | None:
    trace = error.__traceback__
    while isinstance(error, PersistableError) and trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def lines_of(error: BaseException) -> str:
    """The traceback of `error`, or of the remote error, as text, without secrets, and without notes, which stay with the error."""
    import traceback

    if isinstance(error, RemoteError) and error.traceback:
        return redact(error.traceback)
    summary = traceback.TracebackException.from_exception(error)
    summary.__notes__ = None
    return redact("".join(summary.format()))


_PLACE = re.compile(r'^(\s*)File "(.+)", line (\d+), in .*$')


def with_source(text: str) -> str:
    """Add lines of code that only this process has, such as those of notebook cells, to `text`, a traceback from another process."""
    import linecache

    lines = text.splitlines()
    found: list[str] = []
    for place, line in enumerate(lines):
        found.append(line)
        match = _PLACE.match(line)
        if match is None:
            continue
        indent = match[1] + "  "
        if place + 1 < len(lines) and lines[place + 1].startswith(indent):
            continue  # the source line is included
        source = linecache.getline(match[2], int(match[3])).strip()
        found += [indent + source] if source else []
    return "\n".join(found) + ("\n" if text.endswith("\n") else "")
