"""Chunk sizes: the number of calls that are sent to a worker together, fewer the longer they take."""

from __future__ import annotations


class MovingAverage:
    """Exponential moving average of the seconds that calls take. weight: that of the last one."""

    __slots__ = ("_weight", "seconds")

    def __init__(self, weight: float) -> None:
        self._weight = weight
        self.seconds: float | None = None
        """The average; None before the first call."""

    def observe(self, seconds: float) -> None:
        """Update the average by a call that took `seconds`."""
        self.seconds = seconds if self.seconds is None else self.seconds + self._weight * (seconds - self.seconds)


class ChunkSizer:
    """Number of calls in one message to a worker, from the average duration of calls.

    work: target seconds of work in a message. least: seconds of work that are not worth two messages. most: maximum calls of a message.
    short: seconds from which on a call is sent alone.
    """

    __slots__ = ("_average", "_least", "_most", "_outlier", "_short", "_work")

    def __init__(self, *, work: float, least: float, most: int, short: float, weight: float) -> None:
        self._work = work
        self._least = least
        self._most = most
        self._short = short
        self._outlier = 10 * short
        self._average = MovingAverage(weight)

    @property
    def seconds(self) -> float | None:
        """Average seconds of a call; None before the first."""
        return self._average.seconds

    def observe(self, seconds: float) -> None:
        """Update the average by a call, or the mean of several, that took `seconds`; outliers count up to a limit."""
        self._average.observe(min(seconds, self._outlier))

    def size(self, waiting: int, workers: int) -> int:
        """Return the number of calls in the next message: enough to be worth it, few enough that every worker gets some."""
        seconds = self._average.seconds
        if seconds is None or seconds >= self._short:
            return 1
        seconds = seconds or 1e-9
        return int(max(1, min(self._work / seconds, max(1 + waiting // workers, self._least / seconds), self._most)))
