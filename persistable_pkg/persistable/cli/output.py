"""Output: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from io import TextIOWrapper
from shutil import get_terminal_size
from typing import Any, NamedTuple, TextIO

from persistable.nodes.label import line, width
from persistable.records.key import Place, Placed

_LEAST = 10
"""Minimum width of a long column of a table, in characters."""
_PAUSE = 0.2
"""Minimum seconds between two updates of the progress."""
_answers: TextIO | None = None


class Column(NamedTuple):
    """One column of a table. right: align it to the right. long: cut it to the width of a terminal."""

    name: str
    right: bool = False
    long: bool = False


def be_tolerant() -> None:
    """Escape characters that the terminal's encoding lacks, and discard output to missing streams, instead of failing."""
    for name in ("stdout", "stderr"):
        file = getattr(sys, name)
        if file is None:  # closed by the parent process
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open until the process ends
        elif isinstance(file, TextIOWrapper):
            with suppress(OSError, ValueError):  # a closed one, or one whose descriptor `reserve` has replaced, stays unchanged
                file.reconfigure(errors="backslashreplace")


def reserve() -> None:
    """Reserve standard output for answers from now on: output of users' code goes to standard error."""
    global _answers
    if _answers is None:
        sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
        encoding: str = getattr(sys.stdout, "encoding", None) or "utf-8"
        _answers = os.fdopen(kept, "w", encoding=encoding, errors="backslashreplace", newline="")


def stream() -> TextIO:
    """The output stream of answers."""
    return sys.stdout if _answers is None else _answers


def write(text: str) -> None:
    """Write these lines to the answer."""
    stream().write(text + "\n")


def write_bytes(pieces: Iterable[Any]) -> None:
    """Write these bytes to the answer."""
    out = stream()
    out.flush()
    for piece in pieces:
        out.buffer.write(piece)
    out.buffer.flush()


def note(text: str) -> None:
    """Write a note to standard error."""
    sys.stderr.write(printable(text, lines=True) + "\n")


def write_json(answer: Any) -> None:
    """Write one JSON document as the answer."""
    write(json.dumps(answer, indent=1, default=str))


def answer(as_json: bool, facts: Any, text: str) -> None:
    """Write `facts` as JSON, or `text`, as the answer."""
    write_json(facts) if as_json else write(text)


def write_json_list(items: Iterable[Any]) -> None:
    """Write a JSON list as the answer, an item a line, each written immediately."""
    out = stream()
    between = "[\n"
    for item in items:
        out.write(between + json.dumps(item, default=str))
        between = ",\n"
    out.write("\n]\n" if between != "[\n" else "[]\n")


def progress(word: str, amount: Callable[[int], str] = str) -> Callable[[int, int], None] | None:
    """Make a function that shows progress on one line of standard error: ``verified 300 of 5000``. None if that is no terminal."""
    if not sys.stderr.isatty():
        return None
    shown = 0.0

    def show(done: int, total: int) -> None:
        nonlocal shown
        if time.monotonic() - shown > _PAUSE or done >= total:
            shown = time.monotonic()
            sys.stderr.write(f"\r{word} {amount(done)} of {amount(total)}\x1b[K" + ("\r\x1b[K" if done >= total else ""))
            sys.stderr.flush()

    return show


def flush() -> None:
    """Flush all output streams."""
    sys.stdout.flush()
    if _answers is not None:
        _answers.flush()


def abandon() -> None:
    """Discard all further output, also that at the end of the process, since the reader has closed the pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    if _answers is not None:
        os.dup2(nowhere, _answers.fileno())


def printable(text: str, lines: bool = False) -> str:
    """Escape the control characters of `text`; with `lines`, line ends are kept."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or (lines and c == "\n") else repr(c)[1:-1] for c in text)


def on_terminal() -> bool:
    """Tell whether answers go to a terminal."""
    return stream().isatty()


def table(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
    """Write a table as the answer; its cells are texts and numbers."""
    table_of(columns, [list(map(str, cells)) for cells in zip(*rows, strict=True)] or [[] for _ in columns])


def table_of(columns: Sequence[Column], cells: Sequence[list[str]]) -> None:
    """Write a table, given by columns, as the answer; in a terminal with colours, and cut to its width."""
    shown = [texts if "".join(texts).isprintable() else list(map(printable, texts)) for texts in cells]
    named = [[column.name.upper(), *texts] for column, texts in zip(columns, shown, strict=True)]
    widths = [max(map(len if "".join(texts).isascii() else width, texts)) for texts in named]
    styles: Mapping[str, str] = {}
    if on_terminal():
        spare = get_terminal_size().columns - sum(widths) - 2 * (len(widths) - 1)
        widths = [max(_LEAST, size + min(spare, 0)) if column.long else size for column, size in zip(columns, widths, strict=True)]
        styles = {} if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else _STYLES
    drawn = [[_cell(text, column, size, styles) for text in texts] for texts, column, size in zip(named, columns, widths, strict=True)]
    write("\n".join("  ".join(row).rstrip() for row in zip(*drawn, strict=True)))


def _cell(text: str, column: Column, size: int, styles: Mapping[str, str]) -> str:
    """Pad or cut `text` to the width of its column, and colour it if there are styles."""
    text = text if width(text) <= size else line(text, size)
    gap = " " * (size - width(text))
    style = styles.get(text, styles.get(f"in {column.name}", "")) if styles else ""
    text = f"\x1b[{style}m{text}\x1b[0m" if style else text
    return gap + text if column.right else text + gap


_STYLES = {
    "done": "32",
    "stale": "33",
    "running": "36",
    "failed": "1;31",
    "blocked": "31",
    "corrupt": "1;31",
    "damaged": "1;31",
    "missing": "1;31",
    "generate": "36",
    "reuse": "32",
    "leave": "31",
    "0": "2",
    "in key": "36",
    "in params": "2",
}
"""The colours of words and columns in a terminal, as parameters of its escape sequence."""


def key_and_path(place: Place) -> dict[str, Any]:
    """The key of a place, and its custom path, if it has one, for JSON."""
    return {"key": str(place.key), "at": place.to if isinstance(place, Placed) else None}
