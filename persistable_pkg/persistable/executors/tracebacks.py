"""Tracebacks that begin in the user's code: the frames of this package are left out."""

from __future__ import annotations

import re
from types import TracebackType
from typing import cast

from persistable.errors import PersistableError, RemoteError
from persistable.params.secret import redact

_OWN = __name__.partition(".")[0]
_MOST = 100
"""Errors behind an error that are looked at."""


def trim(error: BaseException) -> None:
    """Leave out the frames of this package from the tracebacks of `error`, and of all that it came from or holds.

    Of a traceback without any other frame the last one stays, where the error is one of this package: it says by itself what is to be
    done. Any other error that only this package has brought about keeps all of them.
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
    """The traceback without the frames of this package; None where there are no others."""
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
    """The traceback of `error`, or of that it stands for, as text, without secrets and without its notes: they go with the error."""
    import traceback

    if isinstance(error, RemoteError) and error.traceback:
        return redact(error.traceback)
    told = traceback.TracebackException.from_exception(error)
    told.__notes__ = None
    return redact("".join(told.format()))


_PLACE = re.compile(r'^(\s*)File "(.+)", line (\d+), in .*$')


def with_source(text: str) -> str:
    """`text`, a traceback from another process, with the lines of code that only this one has, such as those of a notebook's cells."""
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
            continue  # it is there
        source = linecache.getline(match[2], int(match[3])).strip()
        found += [indent + source] if source else []
    return "\n".join(found) + ("\n" if text.endswith("\n") else "")
