"""Output: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, NamedTuple, TextIO

MANY_ROWS = 300
"""Longer tables are written plainly, in a terminal too: drawing them would take seconds."""

_PAUSE = 0.2
"""Seconds between two looks at how far work is."""
_answers: TextIO | None = None


class Column(NamedTuple):
    """One column of a table. right: its cells are numbers. long: it is cut where a terminal ends."""

    name: str
    right: bool = False
    long: bool = False


def be_tolerant() -> None:
    """Write characters that the terminal's encoding lacks as escapes, and to nowhere what there is no stream for, instead of failing."""
    for name in ("stdout", "stderr"):
        file = getattr(sys, name)
        if file is None:  # closed by whoever started this process
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for as long as the process lasts
        elif isinstance(file, TextIOWrapper):
            with suppress(OSError, ValueError):  # one that is closed, or that `reserve` has put another descriptor under, stays as it is
                file.reconfigure(errors="backslashreplace")


def reserve() -> None:
    """Reserve standard output for answers from now on: text that users' code prints goes to standard error."""
    global _answers
    if _answers is None:
        sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
        encoding: str = getattr(sys.stdout, "encoding", None) or "utf-8"
        _answers = os.fdopen(kept, "w", encoding=encoding, errors="backslashreplace", newline="")


def stream() -> TextIO:
    """The stream of answers."""
    return sys.stdout if _answers is None else _answers


def write(text: str) -> None:
    """Answer with these lines."""
    stream().write(text + "\n")


def write_bytes(pieces: Iterable[Any]) -> None:
    """Answer with these bytes."""
    out = stream()
    out.flush()
    for piece in pieces:
        out.buffer.write(piece)
    out.buffer.flush()


def note(text: str) -> None:
    """Say something beside the answer."""
    sys.stderr.write(printable(text, lines=True) + "\n")


def write_json(answer: Any) -> None:
    """Answer with one JSON document."""
    write(json.dumps(answer, indent=1, default=str))


def answer(as_json: bool, facts: Any, text: str) -> None:
    """Answer with `facts` as JSON, or with `text`."""
    write_json(facts) if as_json else write(text)


def write_json_list(items: Iterable[Any]) -> None:
    """Answer with a JSON list, an item a line, each written as it comes."""
    out = stream()
    between = "[\n"
    for item in items:
        out.write(between + json.dumps(item, default=str))
        between = ",\n"
    out.write("\n]\n" if between != "[\n" else "[]\n")


def progress(word: str, amount: Callable[[int], str] = str) -> Callable[[int, int], None] | None:
    """A function that shows on one line of standard error how far work is: ``verified 300 of 5000``. None where that is no terminal."""
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
    """Have everything written."""
    sys.stdout.flush()
    if _answers is not None:
        _answers.flush()


def abandon() -> None:
    """Drop all further output, also that at the end of the process: nobody reads it any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    if _answers is not None:
        os.dup2(nowhere, _answers.fileno())


def printable(text: str, lines: bool = False) -> str:
    """`text` without what would steer a terminal; line ends stay where `lines` is true."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or (lines and c == "\n") else repr(c)[1:-1] for c in text)


def on_terminal() -> bool:
    """Tell whether a person looks at the answers in a terminal."""
    return stream().isatty()


def table(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
    """Answer with a table; its cells are texts and numbers."""
    table_of(columns, [list(map(str, cells)) for cells in zip(*rows, strict=True)] or [[] for _ in columns])


def table_of(columns: Sequence[Column], cells: Sequence[list[str]]) -> None:
    """Answer with a table whose cells are given column by column."""
    shown = [texts if "".join(texts).isprintable() else list(map(printable, texts)) for texts in cells]
    if on_terminal() and len(shown[0]) <= MANY_ROWS:
        _draw(columns, list(zip(*shown, strict=True)))
        return
    limit = None
    if on_terminal():
        from shutil import get_terminal_size

        limit = get_terminal_size().columns
    _write_plain(columns, shown, limit)


def _write_plain(columns: Sequence[Column], cells: Sequence[Sequence[str]], limit: int | None) -> None:
    """A table of aligned text; lines end at `limit` characters."""
    padded = [_padded(column, [column.name.upper(), *texts]) for column, texts in zip(columns, cells, strict=True)]
    lines = ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]
    write("\n".join(lines if limit is None else [line if len(line) <= limit else line[: limit - 1] + "…" for line in lines]))


def _padded(column: Column, texts: Sequence[str]) -> list[str]:
    """All of one column, as wide as the widest of them."""
    if "".join(texts).isascii():
        width = max(map(len, texts))
        return [text.rjust(width) for text in texts] if column.right else [text.ljust(width) for text in texts]
    from rich.cells import cell_len

    widths = list(map(cell_len, texts))
    gaps = [" " * (max(widths) - width) for width in widths]
    return [gap + text if column.right else text + gap for text, gap in zip(texts, gaps, strict=True)]


def _draw(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> None:
    """Write a table in colours."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        drawn.add_column(
            Text(column.name),
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if column.long else None,
            min_width=10 if column.long else None,
        )
    for row in cells:
        drawn.add_row(
            *(Text(text, style=_STYLES.get(text, _STYLES.get(f"in {column.name}", ""))) for text, column in zip(row, columns, strict=True))
        )
    drawn.expand = any(column.long for column in columns)
    Console(file=stream(), highlight=False, soft_wrap=False).print(drawn)


_STYLES = {
    "done": "green",
    "stale": "yellow",
    "running": "cyan",
    "failed": "bold red",
    "blocked": "red",
    "corrupt": "bold red",
    "damaged": "bold red",
    "missing": "bold red",
    "generate": "cyan",
    "reuse": "green",
    "leave": "red",
    "0": "dim",
    "in key": "cyan",
    "in params": "dim",
}
