"""How far a run is, drawn from its events by rich: a line in the terminal, the same in a notebook."""

from __future__ import annotations

import threading
import time
from typing import Any

from persistable import events
from persistable.errors import MissingExtra
from persistable.pace import Pace

_EVERY = 0.1
"""Seconds between two drawings."""


class Bar:
    """A hook that shows how far a run is: nodes done of all, what runs, what failed, and the time that remains.

    The remaining time goes by what nodes of the same name took in this run, else by what records say they took.
    """

    def __init__(self, console: Any = None) -> None:
        try:
            import rich.progress
        except ImportError as error:
            raise MissingExtra(
                "progress=True needs the package rich: pip install 'persistable[progress]'", format="", package="rich", extra="progress"
            ) from error
        self._console = console
        self._rich: Any = rich.progress
        self._display: Any = None
        self._task: Any = None
        self._lock = threading.Lock()
        self._left: dict[str, int] = {}
        self._pace = Pace({}, 1)
        self._at_work: dict[Any, str] = {}
        self._ended = {"done": 0, "failed": 0, "skipped": 0}
        self._drawn = 0.0

    def __call__(self, event: events.Event) -> None:
        with self._lock:
            if isinstance(event, events.RunStarted):
                self._start(event)
            elif self._display is not None:
                self._note(event)

    def _start(self, event: events.RunStarted) -> None:
        self._left = dict(event.jobs)
        self._pace = Pace(event.expected, event.workers)
        columns = (
            self._rich.TextColumn("{task.description}"),
            self._rich.BarColumn(bar_width=30),
            self._rich.MofNCompleteColumn(),
            self._rich.TextColumn("{task.fields[facts]}"),
            self._rich.TimeElapsedColumn(),
        )
        self._display = self._rich.Progress(*columns, console=self._console, auto_refresh=False)
        self._task = self._display.add_task("run", total=sum(event.jobs.values()), facts="")
        self._display.start()

    def _note(self, event: events.Event) -> None:
        if isinstance(event, events.Started):
            self._at_work[event.key] = event.key.name
        elif isinstance(event, events.Progressed) and event.total:
            self._at_work[event.key] = f"{event.key.name} {event.done / event.total:.0%}"
        elif isinstance(event, events.Performed):
            self._at_work.pop(event.key, None)
            self._ended[event.outcome] += 1
            self._left[event.key.name] = self._left.get(event.key.name, 1) - 1
            if event.outcome == "done":
                self._pace.saw(event.key.name, event.seconds)
        elif isinstance(event, events.RunFinished):
            self._finish()
            return
        if time.monotonic() - self._drawn > _EVERY:
            self._draw(self._facts())

    def _draw(self, facts: str) -> None:
        self._drawn = time.monotonic()
        self._display.update(self._task, completed=sum(self._ended.values()), facts=facts, refresh=True)

    def _finish(self) -> None:
        self._draw(", ".join(self._trouble()))
        self._display.stop()
        self._display = None

    def _trouble(self) -> list[str]:
        return [f"[red]{self._ended[what]} {what}[/red]" for what in ("failed", "skipped") if self._ended[what]]

    def _facts(self) -> str:
        parts = self._trouble()
        working = list(dict.fromkeys(self._at_work.values()))
        if working:
            parts.append(", ".join(working[:3]) + (" ..." if len(working) > 3 else ""))
        remaining = self._pace.remaining(self._left)
        if remaining is not None:
            parts.append(f"about {in_words(remaining)} left")
        return "  ".join(parts)


def in_words(seconds: float) -> str:
    """``12 s``, ``3 min``, ``2 h 5 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
