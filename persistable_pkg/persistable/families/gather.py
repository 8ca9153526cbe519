"""`Gathered`: the members of a family along some of its axes, as one argument of a node that takes many."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from persistable.families.axis import Axis, frozen
from persistable.families.view import no_axis
from persistable.graph.labels import TIMES

if TYPE_CHECKING:
    from persistable.families.family import Family
    from persistable.families.view import DataSource, View
    from persistable.nodes.node import Persistable

PayloadT = TypeVar("PayloadT")

Groups = Sequence[Sequence[int]]
"""Indices on an axis, one group for each remaining value."""


class Layout(NamedTuple):
    """The axes of a family after gathering. left: the rest of each, None if none; groups: the gathered indices, None if none are."""

    left: tuple[Axis | None, ...]
    groups: tuple[Groups | None, ...]

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The remaining axes."""
        return tuple([axis for axis in self.left if axis is not None])


class Gathered(Generic[PayloadT]):
    """The members of a family along some axes, for each value of the others: an argument of ``over`` for a node that takes many.

    ``scores.gather("fold")["svm"]`` is the list of these members, in the order of the family; a key has a value for each remaining axis,
    and is ``()`` if none remains. Members are created on demand.
    """

    def __init__(self, family: Family[PayloadT], names: Sequence[str]) -> None:
        self.family = family
        self.names = tuple(names)
        if not names:
            known = ", ".join(axis.name for axis in family.axes)
            raise TypeError(f"gather takes the axes along which members are put together; those of {family!r} are {known}")
        self.layout(family.view)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The remaining axes, in order."""
        return self.layout(self.family.view).axes

    @property
    def sources(self) -> tuple[DataSource, ...]:
        """The external sources that determine the members."""
        return self.family.sources

    def layout(self, view: View) -> Layout:
        """The axes of `view`, each split into a remaining and a gathered part. Raises UnknownParam for a name that no axis has."""
        for name in self.names:
            if not any(name == axis.name or name in axis.columns for axis in view.axes):
                raise no_axis(self.family, name, [column for axis in view.axes for column in axis.columns])
        parted = [_parted(axis, self.names) for axis in view.axes]
        return Layout(tuple([left for left, _ in parted]), tuple([groups for _, groups in parted]))

    def __len__(self) -> int:
        return math.prod(map(len, self.axes))

    def __iter__(self) -> Iterator[Any]:
        axes = self.axes
        return iter(axes[0].labels) if len(axes) == 1 else itertools.product(*[axis.labels for axis in axes])

    def __getitem__(self, key: Any) -> list[Persistable[PayloadT, Any]]:
        """The nodes gathered under `key`. Raises UnknownMember, a KeyError."""
        view = self.family.view
        layout = self.layout(view)
        indices = iter(self.family.indices_of(key, layout.axes))
        places = [None if axis is None else next(indices) for axis in layout.left]
        return [self.family.at(each, view) for each in members(layout.groups, places)]

    def __repr__(self) -> str:
        sizes = f" {TIMES} ".join(f"{axis.name} ({len(axis)})" for axis in self.axes)
        return f"<{self.family.name} gathered along {', '.join(self.names)}: {sizes or 'one list'}>"


def members(groups: Sequence[Groups | None], places: Sequence[int | None]) -> Iterator[tuple[int, ...]]:
    """Member indices gathered at `places`, which index the remaining part of each axis; None for an axis of which nothing remains."""
    chosen: list[Sequence[int]] = [[place or 0] if some is None else some[place or 0] for some, place in zip(groups, places, strict=True)]
    return itertools.product(*chosen)


def _parted(axis: Axis, names: Sequence[str]) -> tuple[Axis | None, Groups | None]:
    kept = [] if axis.name in names else [name for name in axis.columns if name not in names]
    if len(kept) == len(axis.columns):
        return axis, None
    if not kept:
        return None, [range(len(axis))]
    groups: dict[Any, list[int]] = {}
    for index, values in enumerate(zip(*[axis.columns[name] for name in kept], strict=True)):
        groups.setdefault(frozen(values), []).append(index)
    firsts = [some[0] for some in groups.values()]
    left = Axis({name: [axis.columns[name][first] for first in firsts] for name in kept}, is_listed=axis.is_listed)
    return left, list(groups.values())
