"""A picture of two axes of a family: a cell for each pair of values, coloured by status or by value."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from persistable.errors import PersistableError, UnknownParam
from persistable.families.colour_scale import Scale, ink, mean
from persistable.families.columns import masked_as, words
from persistable.families.table import counts, load, survey, value_of
from persistable.families.view import no_axis
from persistable.graph.labels import COLOURS, OTHER, TIMES, line, width
from persistable.graph.notebook import Html, card, code, table
from persistable.nodes.status import Status
from persistable.nodes.types import own_store

if TYPE_CHECKING:
    from persistable.families.axis import Axis
    from persistable.families.family import Family

MOST = 50
"""Maximum number of values of an axis to draw; the rest are counted."""
MOST_COUNTED = 5000
"""Maximum size of a family whose statuses a notebook shows; more would take too long."""

_SIDE = 22
"""Height of a cell, and its minimum width, in pixels."""
_STORED = (Status.DONE, Status.STALE)


class Matrix:
    """Two axes, with statuses and values at each pair of their values; a notebook shows it as a picture, which `svg` returns.

    x, y: names of the axes, `y` empty if there is only one. columns, rows: their values that are drawn. cells: in each row, the number of
    members by status. values: in each row the mean value of the members, None if there are none; None as a whole without `by`.
    """

    def __init__(
        self, title: str, names: tuple[str, str], labels: tuple[Sequence[Any], Sequence[Any]], more: tuple[int, int] = (0, 0)
    ) -> None:
        self.title = title
        self.x, self.y = names
        self.columns, self.rows = labels
        self.more = more
        self.cells: list[list[Counter[Status]]] = [[Counter() for _ in self.columns] for _ in self.rows]
        self.values: list[list[float | None]] | None = None
        self.in_words: Callable[[float], str] | None = None
        """The format of a value; by default with enough decimals to distinguish the values."""

    def svg(self, links: Mapping[tuple[int, int], str] = MappingProxyType({})) -> str:
        """The picture, self-contained, without scripts and styles. links: URLs that cells lead to, by row and column."""
        known = [value for row in self.values or [] for value in row if value is not None]
        scale = Scale(known, self.in_words) if known else None
        across = max([_SIDE, *[7 * width(scale.text(value)) + 10 for value in known if scale is not None]])
        left = 12 + 7 * max([width(_text(label)) for label in self.rows] + [width(self.y)])
        top = 34 + 6 * max((width(_text(label)) for label in self.columns), default=0)
        legend, legend_width = self._legend(left, top + _SIDE * len(self.rows) + 14, scale)
        wide = max(left + across * len(self.columns) + 90, legend_width)
        high = top + _SIDE * len(self.rows) + 34
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" role="img"',
            f' aria-label="{escape(self.title)}" font-family="system-ui,sans-serif" font-size="12" fill="currentColor">',
            f"<title>{escape(self.title)}</title>",
            f'<text x="{left}" y="14" fill-opacity=".75">{escape(self.x)}</text>',
            f'<text x="{left - 8}" y="{top - 6}" text-anchor="end" fill-opacity=".75">{escape(self.y)}</text>',
        ]
        for index, label in enumerate(self.columns):
            x = left + across * index + across / 2 + 4
            parts.append(f'<text transform="translate({x},{top - 6}) rotate(-60)">{escape(_text(label))}</text>')
        for row, label in enumerate(self.rows):
            y = top + _SIDE * row
            parts.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(_text(label))}</text>')
            for column in range(len(self.columns)):
                drawn = self._cell(row, column, (left + across * column, y, across), scale)
                url = links.get((row, column))
                parts.append(f'<a href="{escape(url)}">{drawn}</a>' if url else drawn)
        return "".join([*parts, legend, "</svg>"])

    def _cell(self, row: int, column: int, position: tuple[float, float, float], scale: Scale | None) -> str:
        x, y, across = position
        states = self.cells[row][column]
        number = sum(states.values())
        status = next((each for each in _WORST if states[each]), Status.ABSENT)
        value = self.values[row][column] if self.values is not None else None
        words = ", ".join(f"{count} {each.value}" for each, count in states.items()) if number > 1 else status.value
        named = f"{self.x}={_text(self.columns[column])}" + (f", {self.y}={_text(self.rows[row])}" if self.y else "")
        written = scale.text(value) if scale is not None and value is not None else ""
        tip = f"{named}: {words}" + (f", {written}" if written else "")
        colour = scale.colour(value) if scale is not None and value is not None else COLOURS.get(status.value, OTHER)
        # cells are paler the fewer of their members are stored
        done = sum(states[each] for each in _STORED) / number if number else 0
        opacity = 1 if value is not None or status not in (Status.ABSENT, *_STORED) else 0.15 + 0.85 * done
        middle = f'x="{x + across / 2}" y="{y + 15}" text-anchor="middle"'
        shown = f'<text {middle} fill="{ink(colour)}">{escape(written)}</text>' if written else ""
        return (
            f'<g><title>{escape(tip)}</title><rect x="{x + 1}" y="{y + 1}" width="{across - 2}" height="{_SIDE - 2}" rx="3" '
            f'fill="{colour}" fill-opacity="{opacity:.2g}"/>{shown}</g>'
        )

    def _legend(self, left: float, y: float, scale: Scale | None) -> tuple[str, float]:
        """The legend, each word with its colour, and the x coordinate of its end."""
        total: Counter[Status] = Counter()
        for cell in itertools.chain.from_iterable(self.cells):
            total.update(cell)
        parts = [(f"{number} {status.value}", COLOURS.get(status.value, OTHER)) for status, number in total.items()]
        parts += [(f"{more} more {name}", "") for name, more in zip((self.x, self.y), self.more, strict=True) if more]
        drawn: list[str] = []
        for text, colour in parts:
            drawn.append(f'<rect x="{left}" y="{y + 1}" width="9" height="9" rx="2" fill="{colour}"/>' if colour else "")
            drawn.append(f'<text x="{left + (13 if colour else 0)}" y="{y + 10}">{escape(text)}</text>')
            left += 24 + 7 * width(text)
        if scale is not None:
            picture, left = scale.svg(left, y)
            drawn.append(picture)
        return "".join(drawn), left

    def _repr_html_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        return f"<Matrix {self.title}: {self.x} ({len(self.columns)}) {TIMES} {self.y or 'one row'} ({len(self.rows)})>"


_WORST = (Status.FAILED, Status.CORRUPT, Status.BLOCKED, Status.RUNNING, Status.ABSENT, Status.STALE, Status.DONE)


def matrix(family: Family[Any], x: str | None, y: str | None, by: bool | str | Callable[[Any], Any] | None) -> Matrix:
    """Make the picture that `Family.matrix` describes."""
    across, down = _chosen(family, x, y)
    shown = family.part(
        [range(min(len(axis), MOST)) if number in (across, down) else range(len(axis)) for number, axis in enumerate(family.axes)]
    )
    axes = shown.axes
    names = (axes[across].name, axes[down].name if down is not None else "")
    labels = (_labels(axes[across]), _labels(axes[down]) if down is not None else [""])
    more = tuple(len(family.axes[n]) - len(axes[n]) if n is not None else 0 for n in (across, down))
    made = Matrix(family.name, names, labels, (more[0], more[1]))
    found: dict[tuple[int, int], list[float]] = {}
    for indices, (_, node, seen) in zip(itertools.product(*map(range, shown.shape)), survey(shown), strict=True):
        column, row = indices[across], indices[down] if down is not None else 0
        made.cells[row][column][seen.status] += 1
        if by and seen.status in _STORED:
            found.setdefault((row, column), []).append(float(value_of(load(node, own_store(node)), by)))
    if by:
        made.values = [
            [mean(some) if (some := found.get((row, column))) else None for column in range(len(made.columns))]
            for row in range(len(made.rows))
        ]
    return made


def _chosen(family: Family[Any], x: str | None, y: str | None) -> tuple[int, int | None]:
    names = [axis.name for axis in family.axes]
    if not names:
        raise UnknownParam(f"{family!r} has no axes, so there is nothing to draw", name=str(x), accepted=names)
    for name in (x, y):
        if name is not None and name not in names:
            raise no_axis(family, name, names)
    if x is not None and x == y:
        raise ValueError(f"a matrix has two axes; x and y are both {x!r}")
    free = [number for number, name in enumerate(names) if name not in (x, y)]
    across = names.index(x) if x is not None else free.pop()
    down = names.index(y) if y is not None else (free.pop() if free else None)
    return across, down


def family_html(family: Family[Any]) -> str:
    """Name, axes and counts of `family`, and a picture of its last two axes."""
    axes = [(code(axis.name), len(axis), _values(_labels(axis))) for axis in family.axes]
    number = len(family)
    members = f"{number:,} member{'' if number == 1 else 's'}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    states, picture = _statuses(family) if 0 < number <= MOST_COUNTED else ("", "")
    return card(family.name, f": {members}{states}", table(axes), Html(picture))


def _statuses(family: Family[Any]) -> tuple[str, str]:
    """Counts as text, and the picture; both empty if the store cannot be read."""
    try:
        words = "; " + ", ".join(f"{count} {status.value}" for status, count in counts(family).items())
        return words, matrix(family, None, None, None).svg() if family.axes else ""
    except (PersistableError, OSError):
        return "", ""  # the axes alone are more useful than a traceback


def _labels(axis: Axis) -> list[Any]:
    return [masked_as(axis.name, label) for label in axis.labels]


def _values(labels: Sequence[Any]) -> str:
    return ", ".join(_text(label) for label in labels[:6]) + (", …" if len(labels) > 6 else "")


def _text(label: Any) -> str:
    if isinstance(label, float):
        return f"{label:.6g}"
    return line(label if isinstance(label, str) else words(label), 24)
