"""`Layout`: the members a family has at one moment, on which axes, and the recipe each is made by; remade when what it follows changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast
from weakref import WeakValueDictionary

from persistable.errors import UnknownParam
from persistable.families.axis import Axis, frozen, is_meant, sought, values_of

if TYPE_CHECKING:
    from persistable.families.grid import Recipe


Places = Sequence[int] | int
"""Places on one axis; a single one takes the axis away."""


class Layout(NamedTuple):
    """Never changed, so that whoever works through a family does not see it change.

    picks: for each axis of the recipe, which of its places are meant. axes: those with more than one place left to choose, in order.
    live: the members that somebody holds, by their places in the recipe.
    """

    recipe: Recipe
    picks: tuple[Places, ...]
    axes: tuple[Axis, ...]
    live: WeakValueDictionary[tuple[int, ...], Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple([len(axis) for axis in self.axes])

    @property
    def free(self) -> list[int]:
        """The numbers of the recipe's axes that are left."""
        return [number for number, pick in enumerate(self.picks) if not isinstance(pick, int)]

    def full(self, places: Sequence[int]) -> tuple[int, ...]:
        """The places in the recipe of the member at `places` on the axes."""
        rest = iter(places)
        return tuple([pick if isinstance(pick, int) else pick[next(rest)] for pick in self.picks])

    def part(self, chosen: Sequence[Places]) -> Layout:
        """That of these places on each axis."""
        picks = list(self.picks)
        axes: list[Axis] = []
        for number, axis, places in zip(self.free, self.axes, chosen, strict=True):
            own = cast("Sequence[int]", picks[number])
            picks[number] = own[places] if isinstance(places, int) else _through(own, places)
            if not isinstance(places, int):
                axes.append(axis if len(places) == len(axis) and places == range(len(axis)) else axis.taken(places))
        return self._replace(picks=tuple(picks), axes=tuple(axes))

    def elsewhere(self) -> Layout:
        """The same, for members that are others because they are kept in another store."""
        return self._replace(live=WeakValueDictionary())

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (self.recipe, self.picks, self.axes)


def _remade(recipe: Recipe, picks: tuple[Places, ...], axes: tuple[Axis, ...]) -> Layout:
    return Layout(recipe, picks, axes, WeakValueDictionary())


def layout_of(recipe: Recipe) -> Layout:
    """All that `recipe` makes."""
    return Layout(recipe, tuple([range(len(axis)) for axis in recipe.axes]), recipe.axes, WeakValueDictionary())


@dataclass(frozen=True)
class Sliced:
    """Takes places on the first axis."""

    places: slice

    def __call__(self, layout: Layout) -> Layout:
        first, *others = [range(len(axis)) for axis in layout.axes]
        return layout.part([first[self.places], *others])


@dataclass(frozen=True)
class Selected:
    """Takes what is at `labels`, as `Family.sel` says; `family` is how errors call what it is taken from."""

    labels: Mapping[str, Any]
    family: Any

    def __call__(self, layout: Layout) -> Layout:
        labels = dict(self.labels)
        chosen: list[Places] = [range(len(axis)) for axis in layout.axes]
        for number, axis in enumerate(layout.axes):
            if axis.name in labels:
                chosen[number] = _selected(axis, axis.labels, labels.pop(axis.name))
            wanted = {name: labels.pop(name) for name in axis.columns if name in labels}
            for name, value in wanted.items():
                chosen[number] = _matching(axis, name, value, chosen[number])
            if len(wanted) == len(axis.columns) and not any(map(_several, wanted.values())):
                chosen[number] = _single(chosen[number])
        if labels:
            raise _no_axis(self.family, layout, next(iter(labels)))
        return layout.part(chosen)


@dataclass(frozen=True)
class Renamed:
    """Gives axes other names, as `Family.rename` says."""

    names: Mapping[str, str]
    family: Any

    def __call__(self, layout: Layout) -> Layout:
        names = self.names
        known = {name for axis in layout.axes for name in axis.columns}
        for name in names:
            if name not in known:
                raise _no_axis(self.family, layout, name)
        return layout._replace(axes=tuple([axis.renamed(names) if names.keys() & axis.columns else axis for axis in layout.axes]))


def _no_axis(family: Any, layout: Layout, wrong: str) -> UnknownParam:
    accepted = [name for axis in layout.axes for name in axis.columns]
    return UnknownParam(f"{family!r} has no axis {wrong!r}; its axes are {', '.join(accepted)}", name=wrong, accepted=accepted)


def _several(wanted: Any) -> bool:
    return isinstance(wanted, slice) or values_of(wanted) is not None


def _single(places: Places) -> Places:
    return places[0] if not isinstance(places, int) and len(places) == 1 else places


def _selected(axis: Axis, labels: Sequence[Any], wanted: Any) -> Places:
    if isinstance(wanted, slice):
        return [place for place, label in enumerate(labels) if _between(label, wanted)]
    several = values_of(wanted)
    return [axis.place(each) for each in several] if several is not None else axis.place(wanted)


def _matching(axis: Axis, name: str, wanted: Any, among: Places) -> Places:
    """Those of the places `among` where one column of several is as wanted; a single one if that leaves no choice."""
    values = axis.columns[name]
    allowed = [among] if isinstance(among, int) else among
    if isinstance(wanted, slice):
        return [place for place in allowed if _between(values[place], wanted)]
    several = values_of(wanted)
    known = [sought(frozen(each)) for each in (several if several is not None else [wanted])]
    at = {place: sought(frozen(values[place])) for place in allowed}
    found = [place for place, value in at.items() if any(each == value and is_meant(each, value) for each in known)]
    if not found:
        column = Axis({name: list({frozen(value): None for value in values})})
        for each in known:
            column.place(each)
    return found


def _between(label: Any, wanted: Any) -> bool:
    if wanted.step is not None:
        raise ValueError(f"{wanted} has a step, which labels have not; use a slice of places: family[2:10:2]")
    return bool((wanted.start is None or wanted.start <= label) and (wanted.stop is None or label <= wanted.stop))


def _through(own: Sequence[int], places: Iterable[int]) -> Sequence[int]:
    if isinstance(own, range) and isinstance(places, range) and len(places):
        return own[places.start : places.stop if places.stop >= 0 else None : places.step]
    return [own[place] for place in places]


class Root(Protocol):
    """A source outside that may change, such as the files in a folder."""

    def version(self) -> int:
        """A number that is another one after each change that was noticed; the first call looks."""
        ...

    def refresh(self) -> None:
        """Look again."""
        ...


class Following:
    """The layout of a family that follows `roots`, made when it is needed, and again once one of them has changed."""

    def __init__(self, roots: tuple[Root, ...], make: Callable[[], Layout]) -> None:
        self.roots = roots
        self._make = make
        self._kept: tuple[tuple[int, ...], Layout] | None = None

    def layout(self) -> Layout:
        """The layout for what was seen of the roots last."""
        versions = tuple([root.version() for root in self.roots])
        kept = self._kept
        if kept is None or kept[0] != versions:
            kept = self._kept = (versions, self._make())
        return kept[1]

    def refresh(self, done: set[int]) -> None:
        """Let each root look again, but those among `done` (their ids), to which they are added."""
        for root in self.roots:
            if id(root) not in done:
                done.add(id(root))
                root.refresh()

    def changed(self, change: Callable[[Layout], Layout], *more: Root) -> Following:
        """A view that follows the same roots, and `more`, and makes `change` to each layout of this."""
        return Following(tuple(dict.fromkeys((*self.roots, *more))), _Changed(self, change))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}


class _Changed:
    """A layout made of another one; picklable where the change is."""

    def __init__(self, before: Following, change: Callable[[Layout], Layout]) -> None:
        self._before = before
        self._change = change

    def __call__(self) -> Layout:
        return self._change(self._before.layout())
