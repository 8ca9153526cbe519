"""A run in two stages, where it depends on the payload of some nodes which others there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from persistable import events
from persistable.runs.result import RunResult


class Staged:
    """Carries out what makes the members of families first, and then all that is wanted: two stages, announced as one run.

    first: carries out the first stage. then: gives what carries out the second, asked
    for when the first has ended. What failed in the first does not keep the second from what can be done, unless `fail_fast`.
    """

    def __init__(self, first: Any, then: Callable[[], Any], fail_fast: bool) -> None:
        self._first = first
        self._then = then
        self._fail_fast = fail_fast
        self._current: Any = None
        self._earlier: RunResult | None = None
        self._begun = False

    @property
    def result(self) -> RunResult:
        """As far as it has come."""
        if self._current is None:
            return RunResult(None)  # nothing has begun
        result: RunResult = self._current.result
        if self._earlier is not None and self._earlier is not result:
            result.after(self._earlier)
            self._earlier = None
        return result

    def run(self, failed: str) -> RunResult:
        """Carry out both."""
        try:
            with events.retold(self._as_one):
                earlier = self._carry_out(self._first, failed)
                if not (earlier.failures and self._fail_fast):
                    self._earlier = earlier
                    self._carry_out(self._then(), failed)
            return self.result
        finally:
            if self._begun:
                events.emit(self.result.finished())

    def _carry_out(self, stage: Any, failed: str) -> RunResult:
        self._current = stage
        result: RunResult = stage.run(failed)
        return result

    def _as_one(self, event: events.Event) -> events.Event | None:
        """The event to emit for an event of a stage: that the second begins is more to do, and the end is told when all has ended."""
        if isinstance(event, events.RunFinished):
            return None
        if not isinstance(event, events.RunStarted):
            return event
        begun, self._begun = self._begun, True
        return event if not begun else events.RunGrew(jobs=event.jobs, expected=event.expected)
