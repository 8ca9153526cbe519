"""Runs in several phases: two, if the payloads of some nodes decide which other nodes there are; or repeated rounds, to watch inputs."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from typing import Any

from persistable import events
from persistable.errors import HttpFailed, InputError, PersistableWarning, StoreError
from persistable.nodes import connections
from persistable.runs.result import RunResult


class PhasedRun:
    """Runs the nodes that decide the members of families first, and then all targets: two phases, announced as one run.

    first: the loop of the first phase. then: returns that of the second, called when the first has ended.
    After failures in the first phase, the second still performs all nodes that it can, unless `fail_fast`.
    """

    def __init__(self, first: Any, then: Callable[[], Any], fail_fast: bool) -> None:
        self._first = first
        self._then = then
        self._fail_fast = fail_fast
        self._current: Any = None
        self._earlier: RunResult | None = None
        self._begun = False
        self._run_name = os.urandom(4).hex()

    @property
    def result(self) -> RunResult:
        """The result of the run so far."""
        if self._current is None:
            return RunResult(None)  # nothing has begun
        result: RunResult = self._current.result
        if self._earlier is not None and self._earlier is not result:
            result.after(self._earlier)
            self._earlier = None
        return result

    def run(self, failed: str) -> RunResult:
        """Run both phases."""
        try:
            with events.replace_events(self._as_one), connections.leading(self._run_name):
                earlier = self._carry_out(self._first, failed)
                if not (earlier.failures and self._fail_fast):
                    self._earlier = earlier
                    self._carry_out(self._then(), failed)
            return self.result
        finally:
            if self._begun:
                events.emit(self.result.finished())

    def _carry_out(self, phase: Any, failed: str) -> RunResult:
        self._current = phase
        phase.run_name = self._run_name
        result: RunResult = phase.run(failed)
        return result

    def _as_one(self, event: events.Event) -> events.Event | None:
        """The event to emit for an event of a phase: the start of the second is a `RunGrew`; the end of a phase is None."""
        if isinstance(event, events.RunFinished):
            return None
        if not isinstance(event, events.RunStarted):
            return event
        begun, self._begun = self._begun, True
        return event if not begun else events.RunGrew(jobs=event.jobs, expected=event.expected)


def watched(loop: Callable[[], Any], failed: str, every: float, until: Callable[[RunResult], object] | None) -> RunResult:
    """Run ``loop()``, a new one each round, until Ctrl-C, or until `until` is true of a round's result; return the last result.

    A round that cannot be planned, because an input was just removed or a store is down, is reported by a warning and tried again; the
    first one raises unless an input is at fault. Failed nodes are not tried in later rounds, and stay among the failures of the result.
    """
    result: RunResult | None = None
    current: Any = None
    try:
        while True:
            try:
                current = loop()
                result = _with_failures(current.run(failed if result is None else "skip"), result)
            except (InputError, StoreError, HttpFailed) as error:
                if result is None and not isinstance(error, InputError):
                    raise
                warnings.warn(f"{error} (still watching)", PersistableWarning, stacklevel=3)
            if until is not None and result is not None and until(result):
                return result
            time.sleep(every)
    except KeyboardInterrupt:
        if current is not None and len(current.result):
            return _with_failures(current.result, result)
        if result is None:
            raise  # nothing had begun
        return result


def check_every(every: float) -> None:
    """Raise ValueError unless the seconds between two rounds are positive and finite."""
    if not 0 < every < float("inf"):
        raise ValueError(f"watch is the number of seconds between rounds, more than 0; it was {every!r}")


def _with_failures(result: RunResult, earlier: RunResult | None) -> RunResult:
    """`result`, with the failures of an earlier round that it left as they were."""
    if earlier is not None and earlier is not result:
        result.failures[:0] = filter(result.left, earlier.failures)
    return result
