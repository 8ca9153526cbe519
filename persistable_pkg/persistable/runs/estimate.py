"""How long nodes take: what records say, what is seen while running, and what follows for what remains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from persistable.errors import PayloadCorrupted, StoreTooNew
from persistable.records.record import SUFFIX, Record


class Pace:
    """How long nodes of each name take, to guess what remains."""

    def __init__(self, expected: dict[str, float], workers: int) -> None:
        self._expected = dict(expected)
        self._workers = max(1, workers)
        self._seen: dict[str, tuple[int, float]] = {}

    def expect(self, expected: dict[str, float]) -> None:
        """Add the durations of more names."""
        self._expected.update(expected)

    def saw(self, name: str, seconds: float) -> None:
        """One of that name took so long."""
        count, total = self._seen.get(name, (0, 0.0))
        self._seen[name] = (count + 1, total + seconds)

    def remaining(self, left: dict[str, int]) -> float | None:
        """Seconds until `left` (name to number of nodes) are done; None where nothing is known about most of them."""
        known = {name: self._of(name) for name, number in left.items() if number > 0}
        told = [seconds for seconds in known.values() if seconds is not None]
        if not told or 2 * sum(left[name] for name, seconds in known.items() if seconds is not None) < sum(left[name] for name in known):
            return None
        typical = sum(told) / len(told)
        total = sum(left[name] * (typical if seconds is None else seconds) for name, seconds in known.items())
        longest = max(told)
        return max(total / min(self._workers, sum(left[name] for name in known)), longest)

    def _of(self, name: str) -> float | None:
        if name in self._seen:
            count, total = self._seen[name]
            return total / count
        return self._expected.get(name)


class Brief:
    """How long tasks take of late, to keep more of them at hand where they are shorter than it takes to send the next."""

    def __init__(self) -> None:
        self._mean = 1.0

    def saw(self, seconds: float) -> None:
        """One took so long."""
        self._mean += 0.1 * (seconds - self._mean)

    def window(self, workers: int) -> int:
        """How many tasks may be under way."""
        if self._mean > 0.05:
            return workers + 1
        if self._mean > 0.005:
            return workers * 4
        return workers * (64 if self._mean > 0.0005 else 512)


def expected_seconds(stores: Mapping[str, Any]) -> dict[str, float]:
    """Payload name to the median seconds of generations on record, for the first names and a few records of each.

    stores: by payload name, where such payloads lie.
    """
    from statistics import median

    found: dict[str, float] = {}
    for name, store in list(stores.items())[:_NAMES]:
        paths = [path for path, _ in zip((path for path in store.list(name) if path.endswith(SUFFIX)), range(_RECORDS), strict=False)]
        seconds: list[float] = []
        for data in store.get_many(paths).values():
            try:
                seconds.append(Record.parse(data).seconds)
            except (PayloadCorrupted, StoreTooNew):
                continue
        if seconds:
            found[name] = median(seconds)
    return found


_NAMES = 40
_RECORDS = 12
