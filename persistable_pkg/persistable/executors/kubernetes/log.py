"""Files of a job as lines of a log: the answers of a pod, which can write to its log only.

A line begins with a mark that no text has, and contains a part of one file. It is short enough to be written atomically to a shared pipe,
and not to be split by log collectors. Everything else in the log is output of the calls.
"""

from __future__ import annotations

import base64
from collections import deque

_MARK = b"\x1epersistable "
_PART = 2400  # bytes; as text, with the prefix, less than the 4096 that a pipe accepts atomically
KEPT = 1 << 16
"""Bytes kept of the end of the calls' output."""


def lines_of(name: str, data: bytes) -> list[bytes]:
    """Return a file as lines of a log."""
    parts = [data[start : start + _PART] for start in range(0, len(data), _PART)] or [b""]
    return [
        b"%s%s %d/%d %s\n" % (_MARK, name.encode(), number, len(parts), base64.b64encode(part))
        for number, part in enumerate(parts, start=1)
    ]


class LogReader:
    """Splits a log, as it arrives, into files and text. Reading lines twice, after a lost connection, is harmless to files."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes read so far."""
        self._rest = b""
        self._parts: dict[str, dict[int, bytes]] = {}
        self._whole: dict[str, bytes] = {}
        self._text: deque[bytes] = deque()
        self._kept = 0

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the log."""
        self.size += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._read(line)

    def _read(self, line: bytes) -> None:
        text, mark, rest = line.partition(_MARK)
        if mark:
            try:
                name, position, content = rest.split(b" ")
                number, of = map(int, position.split(b"/"))
                part = base64.b64decode(content, validate=True)
            except ValueError:
                self._keep(line + b"\n")
                return
            self._join(name.decode(), number, of, part)
            if text:
                self._keep(text)
        else:
            self._keep(line + b"\n")

    def _join(self, name: str, number: int, of: int, part: bytes) -> None:
        parts = self._parts.setdefault(name, {})
        parts[number] = part
        if len(parts) == of:
            self._whole[name] = b"".join(parts[each] for each in range(1, of + 1))
            del self._parts[name]

    def _keep(self, text: bytes) -> None:
        self._text.append(text)
        self._kept += len(text)
        while self._kept > KEPT and len(self._text) > 1:
            self._kept -= len(self._text.popleft())

    @property
    def names(self) -> list[str]:
        """Names of the complete files."""
        return list(self._whole)

    def get(self, name: str) -> bytes:
        """Return a complete file."""
        return self._whole[name]

    @property
    def text(self) -> str:
        """End of the calls' output."""
        return b"".join([*self._text, self._rest]).decode(errors="replace")[-KEPT:]
