"""Estimates from the durations of nodes: the remaining time, and the number of calls to keep under way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from persistable.errors import PayloadCorrupted, PayloadUntrusted, StoreTooNew
from persistable.executors.sizing import MovingAverage
from persistable.records.record import SUFFIX, Record


class DurationEstimate:
    """Estimate of the seconds that the rest of a run takes, from the durations of nodes of each name.

    expected: payload name to seconds of one node, as known before the run. workers: number of nodes that run at a time.
    """

    def __init__(self, expected: dict[str, float], workers: int) -> None:
        self._expected = dict(expected)
        self._workers = max(1, workers)
        self._seen: dict[str, tuple[int, float]] = {}

    def expect(self, expected: dict[str, float]) -> None:
        """Add the durations of more names."""
        self._expected.update(expected)

    def observe(self, name: str, seconds: float) -> None:
        """Take into account a node of that name that took `seconds`."""
        count, total = self._seen.get(name, (0, 0.0))
        self._seen[name] = (count + 1, total + seconds)

    def remaining(self, left: dict[str, int]) -> float | None:
        """Return the seconds until `left` (name to number of nodes) are done; None if the durations of most are unknown."""
        known = {name: self._of(name) for name, number in left.items() if number > 0}
        measured = [seconds for seconds in known.values() if seconds is not None]
        if not measured or 2 * sum(left[name] for name, seconds in known.items() if seconds is not None) < sum(
            left[name] for name in known
        ):
            return None
        typical = sum(measured) / len(measured)
        total = sum(left[name] * (typical if seconds is None else seconds) for name, seconds in known.items())
        longest = max(measured)
        return max(total / min(self._workers, sum(left[name] for name in known)), longest)

    def _of(self, name: str) -> float | None:
        if name in self._seen:
            count, total = self._seen[name]
            return total / count
        return self._expected.get(name)


class QueueDepth:
    """The number of calls to keep under way: the shorter they are, the more, so that no worker waits for the next."""

    def __init__(self) -> None:
        self._average = MovingAverage(weight=0.1)

    def observe(self, seconds: float) -> None:
        """Take into account a call that took `seconds`."""
        self._average.observe(seconds)

    def depth(self, workers: int) -> int:
        """Return the number of calls that may be under way on that number of workers."""
        seconds = self._average.seconds
        if seconds is None or seconds > 0.05:
            return workers + 1
        if seconds > 0.005:
            return workers * 4
        return workers * (64 if seconds > 0.0005 else 512)


def expected_seconds(stores: Mapping[str, Any]) -> dict[str, float]:
    """Return payload name to the median seconds of recorded generations, for the first `_NAMES` names and `_RECORDS` records of each.

    stores: payload name to the store of such payloads.
    """
    from statistics import median

    found: dict[str, float] = {}
    for name, store in list(stores.items())[:_NAMES]:
        paths = [path for path, _ in zip((path for path in store.list(name) if path.endswith(SUFFIX)), range(_RECORDS), strict=False)]
        seconds: list[float] = []
        for data in store.get_many(paths).values():
            try:
                seconds.append(Record.parse(data).seconds)
            except (PayloadCorrupted, PayloadUntrusted, StoreTooNew):
                continue
        if seconds:
            found[name] = median(seconds)
    return found


_NAMES = 40
_RECORDS = 12
