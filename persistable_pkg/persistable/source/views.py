"""Sources made of others: fewer keys, or other ones. Each is a change to a layout, made again when what it follows has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistable.errors import UnknownParam
from persistable.family.axes import Axis, frozen
from persistable.family.layout import Layout

if TYPE_CHECKING:
    from persistable.family import Family


@dataclass(frozen=True)
class Where:
    """Keeps the keys for which `keep` is true."""

    keep: Callable[[Any], object]

    def __call__(self, layout: Layout) -> Layout:
        labels = layout.axes[0].labels
        return layout.part([[place for place, label in enumerate(labels) if self.keep(label)]])


@dataclass(frozen=True)
class Rekeyed:
    """Gives the same members other keys."""

    name: Callable[[Any], Any]

    def __call__(self, layout: Layout) -> Layout:
        axis = layout.axes[0]
        rows = [_row(self.name(label), label, axis) for label in axis.labels]
        fields = list(rows[0]) if rows else list(axis.columns)
        first: dict[Any, Any] = {}
        for row, label in zip(rows, axis.labels, strict=True):
            if list(row) != fields:
                raise ValueError(
                    f"rekey() gives {', '.join(row)} for {label!r:.60} and {', '.join(fields)} for the first; give all the same"
                )
            new = frozen(tuple(row.values()))
            if first.setdefault(new, label) is not label:
                shown = new[0] if len(new) == 1 else new
                raise ValueError(f"rekey() gives {shown!r:.60} for both {first[new]!r:.60} and {label!r:.60}; a key must find one input")
        return layout._replace(axes=(Axis({field: [row[field] for row in rows] for field in fields}, found=True),))


def _row(new: Any, label: Any, axis: Axis) -> dict[str, Any]:
    kind: Any = new.__class__
    if issubclass(kind, dict):
        return {str(field): value for field, value in new.items()}
    if len(axis.columns) > 1:
        raise TypeError(f"rekey() gives {new!r:.60} for {label!r:.60}; where there are several fields ({axis.name}), give a dict of fields")
    return {axis.name: new}


@dataclass(frozen=True, eq=False)
class Joined:
    """Keeps what `other` has as well, by the fields of the same names."""

    other: Family[Any]

    def __call__(self, layout: Layout) -> Layout:
        axis = layout.axes[0]
        their = self.other.axes
        for one in their:
            common = [name for name in axis.columns if name in one.columns]
            if common:
                known = {frozen(values) for values in zip(*[one.columns[name] for name in common], strict=True)}
                mine = zip(*[axis.columns[name] for name in common], strict=True)
                return layout.part([[place for place, values in enumerate(mine) if frozen(values) in known]])
        names = [name for one in their for name in one.columns]
        raise UnknownParam(
            f"join: {', '.join(names)} of {self.other!r} and {', '.join(axis.columns)} have no name in common; rename() one of them",
            name=axis.name,
            accepted=names,
        )
