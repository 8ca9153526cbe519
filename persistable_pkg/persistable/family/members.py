"""`Family`: the same node over many params, made when asked for."""

from __future__ import annotations

import itertools
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast, overload
from weakref import WeakValueDictionary

from persistable import composition, graph, planning, running
from persistable.core import Persistable
from persistable.errors import UnknownMember, UnknownParam
from persistable.family import survey
from persistable.family.axes import Axis, frozen, values_of
from persistable.family.recipe import Recipe, names_store, of_nodes, recipe_of
from persistable.graph.words import TIMES
from persistable.result import RunResult
from persistable.status import Status
from persistable.stores.base import Store, enclosing_store
from persistable.stores.open import open_store

if TYPE_CHECKING:
    from persistable.family.matrix import Matrix

PayloadT = TypeVar("PayloadT")
OtherT = TypeVar("OtherT")


class Family(Mapping[Any, Persistable[PayloadT, Any]]):
    """The same node over many params, keys or upstream nodes: a mapping from key to node.

    A key is the value on the one axis, or a tuple of values where there are several; members come in the order of their axes, the last
    varying fastest. Nothing is made before it is asked for: a family of a million costs what its axes cost. A node lives as long as
    somebody holds it, and is made again after that; its key and its store are the same.

    Families are made by ``Points.over(...)``, ``fn.over(...)``, ``Points.among(...)``, ``fn.among(...)`` and `Family.of`.

    name: the payload name of its members. axes: what varies, in order.
    """

    _is_family: ClassVar[bool] = True
    __array_ufunc__ = None

    def __init__(self, recipe: Recipe, store: Store | None = None) -> None:
        self.name = recipe.name
        self._recipe = recipe
        self._store = store
        self._picks: tuple[Sequence[int] | int, ...] = tuple([range(len(axis)) for axis in recipe.axes])
        self._live: WeakValueDictionary[tuple[int, ...], Any] = WeakValueDictionary()
        self._set_axes(recipe.axes)

    def _set_axes(self, axes: Iterable[Axis]) -> None:
        self.axes: tuple[Axis, ...] = tuple(axes)
        self._free = tuple([number for number, pick in enumerate(self._picks) if not isinstance(pick, int)])

    # made

    @classmethod
    def grid(cls, maker: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Family[Any]:
        """What ``maker.over(*args, **kwargs)`` is."""
        return cls(recipe_of(maker, args, kwargs), None if names_store(maker, args, kwargs) else enclosing_store())

    @classmethod
    def listed(cls, maker: Any, rows: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Family[Any]:
        """What ``maker.among(rows, *args, **kwargs)`` is."""
        recipe = recipe_of(maker, args, kwargs, _columns_of(rows))
        return cls(recipe, None if names_store(maker, args, kwargs) else enclosing_store())

    @classmethod
    def of(cls, nodes: Mapping[Any, Persistable[OtherT, Any]], axis: str = "name") -> Family[OtherT]:
        """The family of nodes that exist, under keys of your choice: ``Family.of({"ridge": a, "lasso": b}, axis="model")``."""
        members = list(nodes.values())
        for node in members:
            if not isinstance(node, Persistable):  # pyright: ignore[reportUnnecessaryIsInstance] - who has no type checker learns it here
                raise TypeError(f"Family.of takes a mapping from key to node; it was given {node!r:.60}")
            node.key  # noqa: B018 - an open node says here what it needs
        names = {node.payload_name for node in members}
        recipe = of_nodes(names.pop() if len(names) == 1 else "family", Axis({axis: list(nodes)}), members)
        return cast("Any", cls)(recipe)  # type: ignore[no-any-return]

    # the mapping

    def __len__(self) -> int:
        return math.prod(self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values on each axis."""
        return tuple([len(axis) for axis in self.axes])

    def __iter__(self) -> Iterator[Any]:
        if len(self.axes) == 1:
            return iter(self.axes[0].labels)
        if not self.axes:
            return iter([()])
        first, *others = [axis.labels for axis in self.axes]
        return ((head, *rest) for head in first for rest in itertools.product(*others))

    @overload
    def __getitem__(self, key: slice) -> Family[PayloadT]: ...  # pyright: ignore[reportOverlappingOverload] - a slice is no key
    @overload
    def __getitem__(self, key: Any) -> Persistable[PayloadT, Any]: ...
    def __getitem__(self, key: Any) -> Any:
        """The node of `key`; for a slice the family of so many places on the first axis. Raises UnknownMember, a KeyError."""
        if isinstance(key, slice) and self.axes:
            first, *others = [range(len(axis)) for axis in self.axes]
            return self.part([first[key], *others])
        return self.at(self._places(key))

    def __contains__(self, key: object) -> bool:
        try:
            self._places(key)
        except UnknownMember:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return self is other  # that of Mapping would make all nodes

    def __hash__(self) -> int:
        return id(self)

    def _places(self, key: Any) -> list[int]:
        if len(self.axes) == 1:
            return [self.axes[0].place(key)]
        if not issubclass(key.__class__, tuple) or len(key) != len(self.axes):
            names = ", ".join(axis.name for axis in self.axes)
            raise UnknownMember(
                f"a key of {self!r} is a tuple ({names}), not {key!r:.60}; sel({names.partition(',')[0]}=...) selects by some of them",
                axis=names,
                label=key,
                nearest=None,
            )
        return [axis.place(label) for axis, label in zip(self.axes, key, strict=True)]

    def at(self, places: Sequence[int]) -> Any:
        """The node at these places, one for each axis."""
        full = [pick if isinstance(pick, int) else 0 for pick in self._picks]
        for number, place in zip(self._free, places, strict=True):
            full[number] = cast("Sequence[int]", self._picks[number])[place]
        known = self._live.get(tuple(full))
        if known is None:
            known = self._recipe.make(full)
            if self._store is not None and known._store is not self._store:
                if self._recipe.given:
                    known = known._twin(self._store)
                else:
                    known._store = self._store
            known = self._live.setdefault(tuple(full), known)
        return known

    @property
    def nodes(self) -> Sequence[Persistable[PayloadT, Any]]:
        """The nodes by place: ``family.nodes[3]``, ``family.nodes[2:5]``; each made when asked for."""
        return Members(self)

    @property
    def targets(self) -> Sequence[Persistable[PayloadT, Any]]:
        """What `run` and `plan` take it for."""
        return self.nodes

    # parts

    def sel(self, **labels: Any) -> Any:
        """The part at these labels: a node where one is given for each axis, else a smaller family.

        A list selects several, in its order; ``slice(low, high)`` those from `low` to `high`, both included; any other value is one label,
        and its axis is gone from what is left. Names that are no Python words go as ``**{"points.n": 100}``. Raises UnknownMember,
        UnknownParam.
        """
        chosen: list[Sequence[int] | int] = [range(len(axis)) for axis in self.axes]
        for number, axis in enumerate(self.axes):
            if axis.name in labels:
                chosen[number] = _selected(axis, axis.labels, labels.pop(axis.name))
            wanted = {name: labels.pop(name) for name in axis.columns if name in labels}
            for name, value in wanted.items():
                chosen[number] = _matching(axis, name, value, chosen[number])
            if len(wanted) == len(axis.columns) and not any(map(_several, wanted.values())):
                chosen[number] = _single(chosen[number])
        if labels:
            accepted = [name for axis in self.axes for name in axis.columns]
            wrong = next(iter(labels))
            raise UnknownParam(f"{self!r} has no axis {wrong!r}; its axes are {', '.join(accepted)}", name=wrong, accepted=accepted)
        part = self.part(chosen)
        return part if part.axes else part.at(())

    def part(self, chosen: Sequence[Sequence[int] | int]) -> Family[PayloadT]:
        """The family of these places on each axis; one place instead of several takes the axis away."""
        picks = list(self._picks)
        axes: list[Axis] = []
        for number, axis, places in zip(self._free, self.axes, chosen, strict=True):
            own = cast("Sequence[int]", picks[number])
            picks[number] = own[places] if isinstance(places, int) else _through(own, places)
            if not isinstance(places, int):
                axes.append(axis if len(places) == len(axis) and places == range(len(axis)) else axis.taken(places))
        part = self._copy()
        part._picks = tuple(picks)
        part._set_axes(axes)
        return part

    def rename(self, **names: str) -> Family[PayloadT]:
        """The same nodes with axes of other names: distinct from those of the old names, so that a grid of both crosses them."""
        known = [name for axis in self.axes for name in axis.columns]
        for name in names:
            if name not in known:
                raise UnknownParam(f"{self!r} has no axis {name!r}; its axes are {', '.join(known)}", name=name, accepted=known)
        renamed = self._copy()
        renamed.axes = tuple(
            [
                Axis({names.get(name, name): values for name, values in axis.columns.items()}, axis.labels)
                if names.keys() & axis.columns
                else axis
                for axis in self.axes
            ]
        )
        return renamed

    def bind(self, store: str | os.PathLike[str] | Store) -> Family[PayloadT]:
        """The same family in `store`."""
        bound = self._copy()
        bound._store = open_store(store)
        bound._live = WeakValueDictionary()
        return bound

    def _copy(self) -> Family[PayloadT]:
        twin: Family[PayloadT] = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_live"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._live = WeakValueDictionary()

    # used

    def __rshift__(self, target: Any) -> Any:
        """All members, as a list, for an input of `target`."""
        return composition.feed(list(self.nodes), target)

    def run(self, **options: Any) -> RunResult:
        """`persistable.run` of all members."""
        return running.run(self, **options)

    def plan(self, **options: Any) -> planning.Plan:
        """`persistable.plan` of all members."""
        return planning.plan(self, **options)

    def lineage(self, **options: Any) -> graph.Graph:
        """All members and what is upstream of them as a picture, like ones in one box; see `persistable.graph.lineage`."""
        return graph.lineage(*self.nodes, **options)

    def status(self) -> Counter[Status]:
        """How many members are in which status; the stores are asked for many at once."""
        return survey.counts(self)

    def best(self, max: bool = True, by: str | Callable[[PayloadT], Any] | None = None) -> Persistable[PayloadT, Any]:  # noqa: A002
        """The member with the largest payload, or smallest with ``max=False``; the first of several.

        `by`: the entry of dict payloads to go by, or a function of the payload. Payloads are loaded, none is generated: raises
        PayloadNotFound unless all are stored. NaN is never best.
        """
        node: Persistable[PayloadT, Any] = survey.best(self, max, by)
        return node

    def to_frame(self, payload: bool | None = None) -> Any:
        """A pandas DataFrame, one row a member: ``key``, a column for each axis, ``status``, ``error``, and payloads.

        Payloads that are scalars are the column ``payload``; dicts of text to anything have a column for each entry. All others are left
        out, unless `payload` is True: then every stored payload is loaded and stands in ``payload`` as it is. False loads none.
        """
        return survey.frame(self, payload)

    def matrix(self, x: str | None = None, y: str | None = None, by: bool | str | Callable[[PayloadT], Any] | None = None) -> Matrix:
        """A picture of two axes, by default the last across and the one before it downwards.

        Colours tell the status; with `by` (True for scalar payloads, the name of an entry, or a function of the payload) the value, which
        is the mean where other axes are behind a cell.
        """
        from persistable.family.matrix import matrix

        return matrix(self, x, y, by)

    def __repr__(self) -> str:
        sizes = f" {TIMES} ".join(f"{axis.name} ({len(axis)})" for axis in self.axes)
        return f"<Family {self.name}: {sizes or 'one member'}>"

    def _repr_html_(self) -> str:
        from persistable.family.matrix import family_html

        return family_html(self)


class Members(Sequence[Persistable[PayloadT, Any]], Generic[PayloadT]):
    """The nodes of a family by place, without being there."""

    def __init__(self, family: Family[PayloadT]) -> None:
        self._family = family

    def __len__(self) -> int:
        return len(self._family)

    @overload
    def __getitem__(self, index: int) -> Persistable[PayloadT, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Persistable[PayloadT, Any]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        rest = range(len(self))[index]
        places: list[int] = []
        for length in reversed(self._family.shape):
            rest, place = divmod(rest, length)
            places.append(place)
        return self._family.at(places[::-1])

    def __iter__(self) -> Iterator[Persistable[PayloadT, Any]]:
        return map(self._family.at, itertools.product(*map(range, self._family.shape)))


def _columns_of(rows: Any) -> dict[str, list[Any]]:
    """Param name to values, of a list of dicts, or of a dict of lists."""
    kind: type = rows.__class__
    if issubclass(kind, Mapping):
        found = {str(name): values_of(values) for name, values in rows.items()}
        if found and all(values is not None for values in found.values()):
            return {name: list(values or ()) for name, values in found.items()}
    elif issubclass(kind, Iterable) and kind is not str:
        listed: list[Any] = list(rows)
        if listed and all(isinstance(row, Mapping) for row in listed):
            return _turned(listed)
    raise TypeError(
        f"among takes a list of dicts, or a dict of lists of one length, each with at least one param; it was given {rows!r:.60}"
    )


def _turned(rows: list[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = list(rows[0])
    for place, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            raise ValueError(
                f"row {place} has {', '.join(row) or 'nothing'} where the first has {', '.join(names)}; give each row the same params"
            )
    return {name: [row[name] for row in rows] for name in names}


def _several(wanted: Any) -> bool:
    return isinstance(wanted, slice) or values_of(wanted) is not None


def _single(places: Sequence[int] | int) -> Sequence[int] | int:
    return places[0] if not isinstance(places, int) and len(places) == 1 else places


def _selected(axis: Axis, labels: Sequence[Any], wanted: Any) -> Sequence[int] | int:
    if isinstance(wanted, slice):
        return [place for place, label in enumerate(labels) if _between(label, wanted)]
    several = values_of(wanted)
    return [axis.place(each) for each in several] if several is not None else axis.place(wanted)


def _matching(axis: Axis, name: str, wanted: Any, among: Sequence[int] | int) -> Sequence[int] | int:
    """Those of the places `among` where one column of several is as wanted; a single one if that leaves no choice."""
    values = axis.columns[name]
    allowed = [among] if isinstance(among, int) else among
    if isinstance(wanted, slice):
        return [place for place in allowed if _between(values[place], wanted)]
    several = values_of(wanted)
    known = [frozen(each) for each in (several if several is not None else [wanted])]
    found = [place for place in allowed if frozen(values[place]) in known]
    if not found:
        column = Axis({name: list({frozen(value): None for value in values})})
        for each in known:
            column.place(each)
    return found


def _between(label: Any, wanted: Any) -> bool:
    if wanted.step is not None:
        raise ValueError(f"{wanted} has a step, which labels have not; use a slice of places: family[2:10:2]")
    return bool((wanted.start is None or wanted.start <= label) and (wanted.stop is None or label <= wanted.stop))


def _through(own: Sequence[int], places: Sequence[int]) -> Sequence[int]:
    if isinstance(own, range) and isinstance(places, range) and len(places):
        return own[places.start : places.stop if places.stop >= 0 else None : places.step]
    return [own[place] for place in places]
