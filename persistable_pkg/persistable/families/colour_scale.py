"""`Scale`: numbers as colours from pale to deep, and as texts with the same number of decimals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from persistable.graph.labels import OTHER, width

_WIDTH = 120
_STEPS = 16
_PALE, _DEEP = (222, 235, 247), (8, 69, 148)
_MOST_DECIMALS = 6


class Scale:
    """The scale of some numbers, from the least to the greatest; those that are not finite are ignored.

    in_words: formats a number; by default with enough decimals to distinguish numbers that differ by a hundredth of the range.
    """

    def __init__(self, values: Iterable[float], in_words: Callable[[float], str] | None = None) -> None:
        known = [value for value in values if math.isfinite(value)]
        self.low, self.high = min(known, default=0.0), max(known, default=0.0)
        self._format = _format_of(known)
        self._in_words = in_words

    def text(self, value: float) -> str:
        """Format the number."""
        return self._in_words(value) if self._in_words is not None else f"{value:{self._format}}"

    def colour(self, value: float) -> str:
        """The colour of the number; a neutral one if it is not finite."""
        if not math.isfinite(value):
            return OTHER
        if not self.high > self.low:
            return _between(1.0)
        unit = 1.0 if math.isfinite(self.high - self.low) else 0.5  # the range itself may be too large for a number
        return _between((value * unit - self.low * unit) / (self.high * unit - self.low * unit))

    def svg(self, x: float, y: float) -> tuple[str, float]:
        """Draw the scale as a row of colours between its two ends; return it with the x coordinate of its end."""
        least, most = self.text(self.low), self.text(self.high)
        if least == most:
            return f'<text x="{x}" y="{y + 10}">all {escape(least)}</text>', x + 24 + 7 * width(least)
        start, step = x + 7 * width(least) + 6, _WIDTH / _STEPS
        bars = "".join(
            f'<rect x="{start + step * index:g}" y="{y}" width="{step + 0.5:g}" height="12" fill="{_between(index / (_STEPS - 1))}"/>'
            for index in range(_STEPS)
        )
        end = start + _WIDTH + 6
        return (
            f'<text x="{x}" y="{y + 10}">{escape(least)}</text>{bars}<text x="{end}" y="{y + 10}">{escape(most)}</text>',
            end + 24 + 7 * width(most),
        )


def mean(values: Sequence[float]) -> float:
    """The mean of some numbers; infinite or NaN if it is not finite."""
    try:
        return math.fsum(values) / len(values)
    except (OverflowError, ValueError):  # infinite ones of both signs, or a sum that is too large
        return sum(value / len(values) for value in values)


def ink(colour: str) -> str:
    """Black or white, whichever has the greater contrast to `colour`, as WCAG 2.1 defines it."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    luminance = sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "#000000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#ffffff"


def _format_of(values: list[float]) -> str:
    low, high = min(values, default=0.0), max(values, default=0.0)
    largest = max(abs(low), abs(high))
    if largest and not 1e-3 <= largest < 1e6:
        return ".3g"
    span = high - low or largest or 1.0
    decimals = min(_MOST_DECIMALS, max(0, math.floor(2 - math.log10(span))))
    while decimals and all(round(value, decimals) == round(value, decimals - 1) for value in values):
        decimals -= 1
    return f".{decimals}f"


def _between(part: float) -> str:
    """The colour at this fraction of the scale, from pale at 0 to deep at 1."""
    return "#" + "".join(f"{round(a + part * (b - a)):02x}" for a, b in zip(_PALE, _DEEP, strict=True))
