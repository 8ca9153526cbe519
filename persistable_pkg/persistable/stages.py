"""A run in two stages, where it depends on the payload of some nodes which others there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from persistable.result import RunResult


class Staged:
    """Carries out what makes the members of families first, and then all that is wanted.

    first: gives what carries out the first stage; None where there is nothing to do in it. then: gives what carries out the second, asked
    for when the first has ended. What failed in the first does not keep the second from what can be done, unless `fail_fast`.
    """

    def __init__(self, first: Callable[[], Any], then: Callable[[], Any], fail_fast: bool) -> None:
        self._first = first
        self._then = then
        self._fail_fast = fail_fast
        self._current: Any = None
        self._earlier: RunResult | None = None

    @property
    def result(self) -> RunResult:
        """As far as it has come."""
        result: RunResult = self._current.result
        return result

    def run(self, failed: str) -> RunResult:
        """Carry out both."""
        first = self._first()
        if first is not None:
            self._current = first
            earlier: RunResult = first.run(failed)
            if earlier.failures and self._fail_fast:
                return earlier
            self._earlier = earlier
        self._current = self._then()
        result: RunResult = self._current.run(failed)
        return result if self._earlier is None else result.after(self._earlier)
