"""Progress of a run, from its events: some lines at the bottom of the terminal, drawn by rich, and the same facts in a notebook."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from persistable import events
from persistable.errors import need
from persistable.nodes.label import line
from persistable.records.key import Key
from persistable.runs.estimate import DurationEstimate

_LABEL = 60
"""The maximum number of columns of a node's label."""
_NODES = 8
"""The maximum number of running nodes shown."""
_EVERY = 0.1
"""Seconds between two drawings."""


class RunningNode(NamedTuple):
    """A node that is being generated. label: in words. since: its start, by the monotonic clock. part: the fraction done, from 0 to 1;
    None if it reports none."""

    label: str
    since: float
    part: float | None = None

    def words(self) -> str:
        """Progress in words: ``40%, about 3 s left``."""
        took = time.monotonic() - self.since
        if self.part is None:
            return in_words(took)
        left = f", about {in_words(took * (1 - self.part) / self.part)} left" if self.part > 0.01 and took > 1 else ""
        return f"{self.part:.0%}{left}"


class State(NamedTuple):
    """Content of the bar.

    trouble: failures and skipped nodes, in words. left: remaining time in words, empty while unknown. more: number of running nodes
    besides `nodes`.
    """

    done: int
    total: int
    trouble: str
    left: str
    took: float
    nodes: Sequence[RunningNode]
    more: int


class Bar:
    """A hook that shows the progress of a run: nodes done of all, running nodes with their own progress, failures, and the remaining time.

    The remaining time is estimated from the durations of nodes of the same name in this run, else in records.
    """

    def __init__(self, console: Any = None) -> None:
        self._make: Callable[[Callable[[], State]], _Terminal | _Notebook]
        self._make = _Notebook if console is None and _in_notebook() else partial(_Terminal, console)
        self._display: _Terminal | _Notebook | None = None
        if self._make is not _Notebook:
            _rich()  # raises if rich is missing, before anything begins
        self._lock = threading.Lock()
        self._left: dict[str, int] = {}
        self._estimate = DurationEstimate({}, 1)
        self._running: dict[Key, RunningNode] = {}
        self._ended = {"done": 0, "reused": 0, "failed": 0, "skipped": 0}
        self._total = 0
        self._began = 0.0

    def __call__(self, event: events.Event) -> None:
        with self._lock:
            if isinstance(event, events.RunStarted):
                self._start(event)
            elif isinstance(event, events.RunGrew):
                self._grow(event)
            elif self._display is not None and not isinstance(event, events.RunFinished):
                self._note(event)
        if isinstance(event, events.RunStarted):
            self._display = self._make(self.state)
        elif isinstance(event, events.RunFinished):
            self.close()
        elif self._display is not None:
            self._display.changed()

    def close(self) -> None:
        """Draw a last time, without running nodes, and leave the terminal as it was."""
        with self._lock:
            self._running.clear()
            self._left.clear()
            display, self._display = self._display, None
        if display is not None:
            display.close()

    def state(self) -> State:
        """Return the content of the bar at this moment."""
        with self._lock:
            trouble = ", ".join(f"{self._ended[what]} {what}" for what in ("failed", "skipped") if self._ended[what])
            remaining = self._estimate.remaining(self._left)
            left = f"about {in_words(remaining)} left" if remaining is not None else ""
            nodes = list(self._running.values())
            took = time.monotonic() - self._began
            return State(sum(self._ended.values()), self._total, trouble, left, took, nodes[:_NODES], max(0, len(nodes) - _NODES))

    def _start(self, event: events.RunStarted) -> None:
        self._left = dict(event.jobs)
        self._estimate = DurationEstimate(event.expected, event.workers)
        self._total = sum(event.jobs.values())
        self._ended = dict.fromkeys(self._ended, 0)
        self._running.clear()
        self._began = time.monotonic()

    def _grow(self, event: events.RunGrew) -> None:
        for name, number in event.jobs.items():
            self._left[name] = self._left.get(name, 0) + number
        self._estimate.expect(event.expected)
        self._total += sum(event.jobs.values())

    def _note(self, event: events.Event) -> None:
        if isinstance(event, events.Started):
            self._running[event.key] = RunningNode(line(event.label or event.key.name, _LABEL), time.monotonic())
        elif isinstance(event, events.Progressed):
            if event.total and event.key in self._running:
                part = min(1.0, max(0.0, event.done / event.total))
                self._running[event.key] = self._running[event.key]._replace(part=part)
        elif isinstance(event, events.Performed):
            self._running.pop(event.key, None)
            self._ended[event.outcome] += 1
            self._left[event.key.name] = self._left.get(event.key.name, 1) - 1
            if event.outcome == "done":
                self._estimate.observe(event.key.name, event.seconds)


class _Terminal:
    """Lines that rich redraws by a thread of its own, each time as a whole, so that the time shown goes on while nothing happens."""

    def __init__(self, console: Any, state: Callable[[], State]) -> None:
        self._state = state
        self._display = _rich()(
            console=console, get_renderable=self._drawn, auto_refresh=True, refresh_per_second=1 / _EVERY, vertical_overflow="crop"
        )
        self._display.start(refresh=True)

    def changed(self) -> None:
        """Do nothing: the next drawing shows the change."""

    def close(self) -> None:
        self._display.stop()

    def _drawn(self) -> Any:
        import rich.console
        import rich.progress_bar
        import rich.table
        import rich.text

        state, text = self._state(), rich.text.Text
        head = rich.table.Table.grid(padding=(0, 1))
        head.add_row(
            text("run"),
            rich.progress_bar.ProgressBar(max(1, state.total), state.done, width=30),
            text(f"{state.done}/{state.total}", "green"),
            text(state.trouble, "red"),
            text(state.left),
            text(in_words(state.took), "dim"),
        )
        below = rich.table.Table.grid(padding=(0, 1))
        below.add_column(no_wrap=True, overflow="ellipsis")
        for node in state.nodes:
            part = 0.0 if node.part is None else node.part
            drawn = rich.progress_bar.ProgressBar(1, part, width=10) if node.part is not None else text("")
            below.add_row(text(f"  {node.label}"), drawn, text(node.words(), "dim"))
        if state.more:
            below.add_row(text(f"  and {state.more} more", "dim"), text(""), text(""))
        return rich.console.Group(head, below) if state.nodes else head


class _Notebook:
    """An output of the cell that each drawing replaces; it needs no widgets, and stays in the notebook."""

    def __init__(self, state: Callable[[], State]) -> None:
        from IPython import display  # pyright: ignore[reportUnknownVariableType]

        self._state = state
        self._drawn = time.monotonic()
        self._handle: Any = display.display(self._bundle(), raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def changed(self) -> None:
        """Draw again, unless the last drawing was a moment ago."""
        if time.monotonic() - self._drawn > _EVERY:
            self._draw()

    def close(self) -> None:
        """Draw the final state, which stays."""
        self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._handle.update(self._bundle(), raw=True)

    def _bundle(self) -> dict[str, str]:
        from html import escape

        state = self._state()
        took = in_words(state.took)
        lines = ["  ".join(part for part in (f"{state.done}/{state.total}", state.trouble, state.left, took) if part)]
        lines += [f"  {node.label}  {node.words()}" for node in state.nodes]
        red = f'<span style="color:#c0392b">{escape(state.trouble)}</span> ' if state.trouble else ""
        head = f"run {_meter(state.done, state.total)} {state.done}/{state.total} {red}{escape(state.left)} <small>{took}</small>"
        rows = [
            f"<div>&ensp;<code>{escape(node.label)}</code> {_meter(node.part, 1) if node.part is not None else ''} "
            f"<small>{escape(node.words())}</small></div>"
            for node in state.nodes
        ]
        if state.more:
            lines.append(f"  and {state.more} more")
            rows.append(f"<div>&ensp;and {state.more} more</div>")
        return {"text/plain": "\n".join(lines), "text/html": f"<div>{head}{''.join(rows)}</div>"}


def _meter(done: float, total: float) -> str:
    return f'<progress value="{done:g}" max="{max(total, 1):g}" style="vertical-align:middle"></progress>'


def _rich() -> Any:
    return need("rich.live", "rich", "progress", "progress=True").Live


def _in_notebook() -> bool:
    """Tell whether there is a front end that shows and replaces outputs of cells: that of a kernel, not of a terminal."""
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
