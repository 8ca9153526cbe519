"""A plot of the payloads of a family along one of its axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from persistable.errors import PayloadNotFound, UnknownParam, check_installed
from persistable.families.table import value_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from persistable.families.family import Family


def plot(family: Family[Any], x: str | None, y: str | Callable[[Any], Any] | None, by: str | None, ax: Axes | None) -> Axes:
    """Draw the plot that `Family.plot` describes."""
    check_installed("matplotlib", "matplotlib", "figure", "a plot")
    from matplotlib import pyplot as plt

    table = _table(family, y)
    across = _column(family, table, x if x is not None else family.axes[-1].name if family.axes else "")
    hue = _column(family, table, by) if by is not None else None
    drawn: Any = ax if ax is not None else plt.subplots()[1]
    if hue is None:
        _line(drawn, table, across, None)
    else:
        for label, part in table.groupby(hue, sort=False, dropna=False):
            _line(drawn, part, across, label)
        drawn.legend(title=hue)
    drawn.set_xlabel(across)
    words = y if isinstance(y, str) else getattr(y, "__name__", family.name)
    drawn.set_ylabel(f"{words} (mean ± s.d.)" if table.groupby([across, *filter(None, [hue])], dropna=False).size().max() > 1 else words)
    return cast("Axes", drawn)


def _table(family: Family[Any], y: str | Callable[[Any], Any] | None) -> Any:
    """The axis columns of each member with a payload, and its number in the column ``y``."""
    table = family.to_frame(payload=True)
    stored = table[table["status"].isin(["done", "stale"])]
    if not len(stored):
        raise PayloadNotFound(f"no member of {family.name} has a stored payload, so there is nothing to plot; run(family) first", key=None)
    payload = "payload.payload" if "payload.payload" in table else "payload"
    return stored.assign(**{_Y: [float(value_of(each, y)) for each in stored[payload]]})


_Y = "\0y"


def _column(family: Family[Any], table: Any, name: str) -> str:
    known = [str(column) for column in table.columns if column not in ("key", "status", "error", "payload", _Y)]
    if name not in known:
        raise UnknownParam(f"{family!r} has no axis {name!r}; its columns are {', '.join(known) or 'none'}", name=name, accepted=known)
    return name


def _line(ax: Any, table: Any, across: str, label: Any) -> None:
    """Draw the mean at each value, with the standard deviation if several members have the same value."""
    found = table.groupby(across, sort=False, dropna=False)[_Y].agg(["mean", "std", "count"])
    found = found.sort_index() if found.index.dtype.kind in "iufM" else found
    places = found.index if found.index.dtype.kind in "iufM" else found.index.map(str)
    words = None if label is None else str(label)
    if (found["count"] > 1).any():
        ax.errorbar(places, found["mean"], yerr=found["std"].fillna(0.0), marker="o", capsize=3, label=words)
    else:
        ax.plot(places, found["mean"], marker="o", label=words)
