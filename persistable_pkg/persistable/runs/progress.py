"""Progress of a run, from its events: a line in the terminal, by rich, and the same facts in a notebook."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from persistable import events
from persistable.errors import MissingExtra
from persistable.nodes.label import line
from persistable.runs.estimate import DurationEstimate

_LABEL = 40
"""The most columns of a node's label that are shown."""
_EVERY = 0.1
"""Seconds between two drawings."""


class Bar:
    """A hook that shows how far a run is: nodes done of all, what runs, what failed, and the time that remains.

    The remaining time goes by what nodes of the same name took in this run, else by what records say they took.
    """

    def __init__(self, console: Any = None) -> None:
        self._make: Callable[[], _Terminal | _Notebook] = _Notebook if console is None and _in_notebook() else partial(_Terminal, console)
        self._display: _Terminal | _Notebook | None = None
        if self._make is not _Notebook:
            _rich()  # what is missing is said before anything begins
        self._lock = threading.Lock()
        self._left: dict[str, int] = {}
        self._estimate = DurationEstimate({}, 1)
        self._at_work: dict[Any, str] = {}
        self._labels: dict[Any, str] = {}
        self._ended = {"done": 0, "reused": 0, "failed": 0, "skipped": 0}
        self._drawn = 0.0
        self._total = 0

    def __call__(self, event: events.Event) -> None:
        with self._lock:
            if isinstance(event, events.RunStarted):
                self._start(event)
            elif isinstance(event, events.RunGrew):
                self._grow(event)
            elif self._display is not None:
                self._note(event)

    def _start(self, event: events.RunStarted) -> None:
        self._left = dict(event.jobs)
        self._estimate = DurationEstimate(event.expected, event.workers)
        self._total = sum(event.jobs.values())
        self._display = self._make()
        self._draw(self._facts())

    def _grow(self, event: events.RunGrew) -> None:
        for name, number in event.jobs.items():
            self._left[name] = self._left.get(name, 0) + number
        self._estimate.expect(event.expected)
        self._total += sum(event.jobs.values())

    def _note(self, event: events.Event) -> None:
        if isinstance(event, events.Started):
            self._labels[event.key] = line(event.label or event.key.name, _LABEL)
            self._at_work[event.key] = self._labels[event.key]
        elif isinstance(event, events.Progressed) and event.total:
            self._at_work[event.key] = f"{self._labels.get(event.key, event.key.name)} {event.done / event.total:.0%}"
        elif isinstance(event, events.Performed):
            self._at_work.pop(event.key, None)
            self._labels.pop(event.key, None)
            self._ended[event.outcome] += 1
            self._left[event.key.name] = self._left.get(event.key.name, 1) - 1
            if event.outcome == "done":
                self._estimate.saw(event.key.name, event.seconds)
        elif isinstance(event, events.RunFinished):
            self._finish()
            return
        if time.monotonic() - self._drawn > _EVERY:
            self._draw(self._facts())

    def _draw(self, facts: str) -> None:
        self._drawn = time.monotonic()
        trouble = ", ".join(f"{self._ended[what]} {what}" for what in ("failed", "skipped") if self._ended[what])
        if self._display is not None:
            self._display.show(sum(self._ended.values()), self._total, trouble, facts)

    def _finish(self) -> None:
        self._draw("")
        if self._display is not None:
            self._display.close()
        self._display = None

    def _facts(self) -> str:
        parts: list[str] = []
        working = list(dict.fromkeys(self._at_work.values()))
        if working:
            parts.append(", ".join(working[:3]) + (" ..." if len(working) > 3 else ""))
        remaining = self._estimate.remaining(self._left)
        if remaining is not None:
            parts.append(f"about {in_words(remaining)} left")
        return "  ".join(parts)


class _Terminal:
    """A line that rich draws over and over."""

    def __init__(self, console: Any) -> None:
        rich = _rich()
        columns = (
            rich.TextColumn("run"),
            rich.BarColumn(bar_width=30),
            rich.MofNCompleteColumn(),
            rich.TextColumn("[red]{task.fields[trouble]}[/red]"),
            rich.TextColumn("{task.fields[facts]}", markup=False),
            rich.TimeElapsedColumn(),
        )
        self._display = rich.Progress(*columns, console=console, auto_refresh=False)
        self._task = self._display.add_task("run", total=None, trouble="", facts="")
        self._display.start()

    def show(self, done: int, total: int, trouble: str, facts: str) -> None:
        self._display.update(self._task, completed=done, total=total, trouble=trouble, facts=facts, refresh=True)

    def close(self) -> None:
        self._display.stop()


class _Notebook:
    """An output of the cell that is replaced over and over; it needs no widgets, and stays in the notebook."""

    def __init__(self) -> None:
        from IPython import display  # pyright: ignore[reportUnknownVariableType]

        self._started = time.monotonic()
        self._handle: Any = display.display(self._bundle(0, 0, "", ""), raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def show(self, done: int, total: int, trouble: str, facts: str) -> None:
        self._handle.update(self._bundle(done, total, trouble, facts), raw=True)

    def close(self) -> None:
        """Leave the last line as it is."""

    def _bundle(self, done: int, total: int, trouble: str, facts: str) -> dict[str, str]:
        from html import escape

        took = in_words(time.monotonic() - self._started)
        text = "  ".join(part for part in (f"{done}/{total}", trouble, facts, took) if part)
        red = f'<span style="color:#c0392b">{escape(trouble)}</span> ' if trouble else ""
        bar = f'<progress value="{done}" max="{max(total, 1)}" style="vertical-align:middle"></progress>'
        return {"text/plain": text, "text/html": f"<div>run {bar} {done}/{total} {red}{escape(facts)} <small>{took}</small></div>"}


def _rich() -> Any:
    try:
        import rich.progress
    except ImportError as error:
        raise MissingExtra(
            "progress=True needs the package rich: pip install 'persistable[progress]'", format="", package="rich", extra="progress"
        ) from error
    return rich.progress


def _in_notebook() -> bool:
    """Tell whether there is a front end that shows and replaces what cells give: that of a kernel, not of a terminal."""
    import sys

    found: Any = sys.modules.get("IPython")
    shell: Any = found.get_ipython() if found is not None else None
    return hasattr(shell, "kernel")


def in_words(seconds: float) -> str:
    """``12 s``, ``3 min``, ``2 h 5 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
