"""`View`: the members of a family at one moment, with their axes and factory; replaced when a source of the family changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast, runtime_checkable
from weakref import WeakValueDictionary

from persistable.errors import UnknownParam
from persistable.families.axis import Axis, frozen, matches_label, sought, values_of

if TYPE_CHECKING:
    from persistable.families.family import Family
    from persistable.families.grid import NodeFactory


Indices = Sequence[int] | int
"""Indices on one axis; a single one removes the axis."""


class View(NamedTuple):
    """An immutable state of a family, which a loop over the family sees unchanged.

    indices: for each axis of the factory, the selected indices. axes: those with a sequence of indices, in order. live: the members that
    are referenced, by their indices in the factory.
    """

    factory: NodeFactory
    indices: tuple[Indices, ...]
    axes: tuple[Axis, ...]
    live: WeakValueDictionary[tuple[int, ...], Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple([len(axis) for axis in self.axes])

    @property
    def free(self) -> list[int]:
        """The numbers of the factory's axes that remain."""
        return [number for number, index in enumerate(self.indices) if not isinstance(index, int)]

    def full(self, indices: Sequence[int]) -> tuple[int, ...]:
        """The indices in the factory of the member at `indices` on the axes."""
        rest = iter(indices)
        return tuple([index if isinstance(index, int) else index[next(rest)] for index in self.indices])

    def nth(self, number: int) -> tuple[int, ...]:
        """The indices on the axes of the member of that number; the last axis varies fastest."""
        indices: list[int] = []
        for length in reversed(self.shape):
            number, index = divmod(number, length)
            indices.append(index)
        return tuple(indices[::-1])

    def part(self, chosen: Sequence[Indices]) -> View:
        """The part at these indices on each axis."""
        indices = list(self.indices)
        axes: list[Axis] = []
        for number, axis, some in zip(self.free, self.axes, chosen, strict=True):
            own = cast("Sequence[int]", indices[number])
            indices[number] = own[some] if isinstance(some, int) else _through(own, some)
            if not isinstance(some, int):
                axes.append(axis if len(some) == len(axis) and some == range(len(axis)) else axis.subset(some))
        return self._replace(indices=tuple(indices), axes=tuple(axes))

    def elsewhere(self) -> View:
        """The same view for another store, without the live members, which belong to the old one."""
        return self._replace(live=WeakValueDictionary())

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (self.factory, self.indices, self.axes)


def _remade(factory: NodeFactory, indices: tuple[Indices, ...], axes: tuple[Axis, ...]) -> View:
    return View(factory, indices, axes, WeakValueDictionary())


def view_of(factory: NodeFactory) -> View:
    """The view of all nodes of `factory`."""
    return View(factory, tuple([range(len(axis)) for axis in factory.axes]), factory.axes, WeakValueDictionary())


@dataclass(frozen=True)
class SliceMembers:
    """Selects indices on the first axis."""

    indices: slice

    def __call__(self, view: View) -> View:
        first, *others = [range(len(axis)) for axis in view.axes]
        return view.part([first[self.indices], *others])


@dataclass(frozen=True)
class SelectMembers:
    """Selects the members at `labels`, as `Family.sel` describes; `family` is the one that errors name."""

    labels: Mapping[str, Any]
    family: Family[Any]

    def __call__(self, view: View) -> View:
        labels = dict(self.labels)
        chosen: list[Indices] = [range(len(axis)) for axis in view.axes]
        for number, axis in enumerate(view.axes):
            if axis.name in labels:
                chosen[number] = _selected(axis, axis.labels, labels.pop(axis.name))
            wanted = {name: labels.pop(name) for name in axis.columns if name in labels}
            for name, value in wanted.items():
                chosen[number] = _matching(axis, name, value, chosen[number])
            if len(wanted) == len(axis.columns) and not any(map(_several, wanted.values())):
                chosen[number] = _single(chosen[number])
        if labels:
            raise no_axis(self.family, next(iter(labels)), _names(view))
        return view.part(chosen)


@dataclass(frozen=True)
class RenameAxes:
    """Renames axes, as `Family.rename` describes."""

    names: Mapping[str, str]
    family: Family[Any]

    def __call__(self, view: View) -> View:
        names, known = self.names, _names(view)
        for name in names:
            if name not in known:
                raise no_axis(self.family, name, known)
        renamed = [names.get(name, name) for name in known]
        for name in names.values():
            if renamed.count(name) > 1:
                raise ValueError(f"rename: {self.family!r} would have two axes {name!r}; give each a name of its own")
        return view._replace(axes=tuple([axis.as_new_axis(names) if names.keys() & axis.columns else axis for axis in view.axes]))


def _names(view: View) -> list[str]:
    return [name for axis in view.axes for name in axis.columns]


def no_axis(family: Family[Any], wrong: str, known: Sequence[str]) -> UnknownParam:
    """The error for a name that is not among the `known` names of axes of `family`."""
    return UnknownParam(f"{family!r} has no axis {wrong!r}; its axes are {', '.join(known)}", name=wrong, accepted=list(known))


def _several(wanted: Any) -> bool:
    return isinstance(wanted, slice) or values_of(wanted) is not None


def _single(indices: Indices) -> Indices:
    return indices[0] if not isinstance(indices, int) and len(indices) == 1 else indices


def _selected(axis: Axis, labels: Sequence[Any], wanted: Any) -> Indices:
    if isinstance(wanted, slice):
        return [index for index, label in enumerate(labels) if _between(label, wanted)]
    several = values_of(wanted)
    return [axis.index(each) for each in several] if several is not None else axis.index(wanted)


def _matching(axis: Axis, name: str, wanted: Any, among: Indices) -> Indices:
    """Keep the indices `among` at which the column `name` of an axis has the wanted value."""
    values = axis.columns[name]
    allowed = [among] if isinstance(among, int) else among
    if isinstance(wanted, slice):
        return [index for index in allowed if _between(values[index], wanted)]
    several = values_of(wanted)
    known = [sought(frozen(each)) for each in (several if several is not None else [wanted])]
    at = {index: sought(frozen(values[index])) for index in allowed}
    found = [index for index, value in at.items() if any(each == value and matches_label(each, value) for each in known)]
    if not found:
        column = Axis({name: list({frozen(value): None for value in values})})
        for each in known:
            column.index(each)
    return found


def _between(label: Any, wanted: Any) -> bool:
    if wanted.step is not None:
        raise ValueError(f"{wanted} has a step, which labels have not; use a slice of indices: family[2:10:2]")
    return bool((wanted.start is None or wanted.start <= label) and (wanted.stop is None or label <= wanted.stop))


def _through(own: Sequence[int], indices: Iterable[int]) -> Sequence[int]:
    if isinstance(own, range) and isinstance(indices, range) and len(indices):
        return own[indices.start : indices.stop if indices.stop >= 0 else None : indices.step]
    return [own[index] for index in indices]


class DataSource(Protocol):
    """An external source that may change, such as the files in a folder."""

    def version(self) -> int:
        """A number that changes after each change that was noticed; the first call lists the source."""
        ...

    def refresh(self) -> None:
        """List the source again."""
        ...


@runtime_checkable
class ItemSource(DataSource, Protocol):
    """The items of a node, which may have no store of its own."""

    def look_in(self, store: Any) -> None:
        """Use `store` for the items of a node without a store of its own."""
        ...


class LiveView:
    """The view of a family that follows `sources`, made on demand, and again once one of them has changed."""

    def __init__(self, sources: tuple[DataSource, ...], make: Callable[[], View]) -> None:
        self.sources = sources
        self._make = make
        self._kept: tuple[tuple[int, ...], View] | None = None

    def view(self) -> View:
        """The view for the last listings of the sources."""
        versions = tuple([source.version() for source in self.sources])
        kept = self._kept
        if kept is None or kept[0] != versions:
            kept = self._kept = (versions, self._make())
        return kept[1]

    def refresh(self, done: set[int]) -> None:
        """Refresh each source whose id is not in `done`, and add the ids."""
        for source in self.sources:
            if id(source) not in done:
                done.add(id(source))
                source.refresh()

    def changed(self, change: Callable[[View], View], *more: DataSource) -> LiveView:
        """A live view of the same sources, and `more`, which applies `change` to each view of this one."""
        return LiveView(tuple(dict.fromkeys((*self.sources, *more))), partial(_changed, self, change))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}


def _changed(before: LiveView, change: Callable[[View], View]) -> View:
    return change(before.view())
