"""`Family`: the same node over many params, with members created on demand."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar, overload

from persistable.errors import UnknownMember
from persistable.families import table
from persistable.families.all_members import AllMembers
from persistable.families.axis import Axis, values_of
from persistable.families.bulk_keys import KeyChunks, key_chunks_of
from persistable.families.gather import Gathered
from persistable.families.grid import GridSpec, NodeFactory, names_store, of_nodes
from persistable.families.view import DataSource, ItemSource, LiveView, RenameAxes, SelectMembers, SliceMembers, View, view_of
from persistable.graph.labels import TIMES
from persistable.nodes.binding import bound_to, move_to, remember_store
from persistable.nodes.compose import Chainable
from persistable.nodes.node import Persistable
from persistable.nodes.types import own_store
from persistable.stores.base import Store, enclosing_store
from persistable.stores.open import open_store

PayloadT = TypeVar("PayloadT")
OtherT = TypeVar("OtherT")
TargetT = TypeVar("TargetT", bound="Persistable[Any, Any]")


class Family(AllMembers[PayloadT], Chainable, Mapping[Any, Persistable[PayloadT, Any]]):
    """The same node over many params, keys or upstream nodes: a mapping from key to node.

    A key is the value on the one axis, or a tuple of values if there are several; members are in the order of their axes, the last varying
    fastest. Members are created on demand: a million cost as much as their axes. A node lives while it is referenced, and is created again
    after that, with the same key and store.

    Families are made by ``Points.over(...)``, ``fn.over(...)``, ``Points.among(...)``, ``fn.among(...)`` and `Family.of`.

    name: the payload name of its members. axes: the axes that vary, in order.
    """

    _node_is_family: ClassVar[bool] = True
    _node_remembered: Store | None = None

    def __init__(self, factory: NodeFactory | GridSpec, store: Store | None = None) -> None:
        self.name = factory.name
        self._node_store = store
        self._node_remembered = None
        self._live_view: LiveView | None = None
        if isinstance(factory, NodeFactory):
            self._fixed: View | None = view_of(factory)
        elif factory.sources:
            self._live_view, self._fixed = LiveView(factory.sources, factory.view), None
        else:
            self._fixed = factory.view()

    @property
    def view(self) -> View:
        """The members as last listed, in one immutable object."""
        if self._fixed is not None:
            return self._fixed
        assert self._live_view is not None
        return self._live_view.view()

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes, in order."""
        return self.view.axes

    @property
    def sources(self) -> tuple[DataSource, ...]:
        """The external sources that determine the members; empty for most families."""
        return self._live_view.sources if self._live_view is not None else ()

    # construction

    @classmethod
    def grid(cls, maker: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Family[Any]:
        """The family of ``maker.over(*args, **kwargs)``."""
        return Family(GridSpec(maker, args, kwargs), None if names_store(maker, args, kwargs) else enclosing_store())

    @classmethod
    def listed(cls, maker: Any, rows: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Family[Any]:
        """The family of ``maker.among(rows, *args, **kwargs)``."""
        return Family(GridSpec(maker, args, kwargs, _columns_of(rows)), None if names_store(maker, args, kwargs) else enclosing_store())

    @classmethod
    def of(cls, nodes: Mapping[Any, Persistable[OtherT, Any]], axis: str = "name") -> Family[OtherT]:
        """The family of nodes that exist, under keys of your choice: ``Family.of({"ridge": a, "lasso": b}, axis="model")``."""
        members = list(nodes.values())
        for node in members:
            if not isinstance(node, Persistable):  # pyright: ignore[reportUnnecessaryIsInstance] - for callers without a type checker
                raise TypeError(f"Family.of takes a mapping from key to node; it was given {node!r:.60}")
            node.key  # noqa: B018 - raises for an open node, and names its missing upstream
        names = {node.payload_name for node in members}
        factory = of_nodes(names.pop() if len(names) == 1 else "family", Axis({axis: list(nodes)}), members)
        return Family(factory)

    # the mapping

    def __len__(self) -> int:
        return math.prod(self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values on each axis."""
        return self.view.shape

    def __iter__(self) -> Iterator[Any]:
        axes = self.axes
        if len(axes) == 1:
            return iter(axes[0].labels)
        if not axes:
            return iter([()])
        first, *others = [axis.labels for axis in axes]
        return ((head, *rest) for head in first for rest in itertools.product(*others))

    @overload
    def __getitem__(self, key: slice) -> Family[PayloadT]: ...  # pyright: ignore[reportOverlappingOverload] - a slice is no key
    @overload
    def __getitem__(self, key: Any) -> Persistable[PayloadT, Any]: ...
    def __getitem__(self, key: Any) -> Any:
        """The node of `key`; for a slice the family of these indices on the first axis. Raises UnknownMember, a KeyError."""
        if isinstance(key, slice) and (self._fixed is None or self._fixed.axes):
            return self._derived(SliceMembers(key))  # pyright: ignore[reportUnknownArgumentType]
        view = self.view
        return self.at(self.indices_of(key, view.axes), view)

    def __contains__(self, key: object) -> bool:
        try:
            self.indices_of(key, self.axes)
        except UnknownMember:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return self is other  # Mapping's would create all nodes

    def __hash__(self) -> int:
        return id(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_node_remembered": None}

    def indices_of(self, key: Any, axes: Sequence[Axis]) -> list[int]:
        """The indices of `key` on these axes. Raises UnknownMember."""
        if len(axes) == 1:
            return [axes[0].index(key)]
        if not issubclass(key.__class__, tuple) or len(key) != len(axes):
            names = ", ".join(axis.name for axis in axes)
            raise UnknownMember(
                f"a key of {self!r} is a tuple ({names}), not {key!r:.60}; sel({names.partition(',')[0]}=...) selects by some of them",
                axis=names,
                label=key,
                nearest=None,
            )
        return [axis.index(label) for axis, label in zip(axes, key, strict=True)]

    def at(self, indices: Sequence[int], view: View | None = None) -> Any:
        """The node at these indices, one for each axis, in `view` or the current one."""
        view = view or self.view
        full = view.full(indices)
        known = view.live.get(full)
        if known is None:
            known = view.factory.make(full)
            if self._node_store is not None and own_store(known) is not self._node_store:
                if view.factory.given:
                    known = bound_to(known, self._node_store)
                else:
                    move_to(known, self._node_store)
            elif own_store(known) is None and (remembered := self._node_remembered or view.factory.remembered) is not None:
                remember_store(known, remembered)
            known = view.live.setdefault(full, known)
        return known

    def remember(self, store: Store) -> list[Any]:
        """Let members without a store load from `store`, that of a run; return the nodes and families that members are made from."""
        view = self.view
        self._node_remembered = view.factory.remembered = store
        for node in [] if self._node_store is not None else list(view.live.values()):
            remember_store(node, store)
        return [*view.factory.upstream().values(), *view.factory.nodes()]

    def prepare(self, view: View, members: Iterable[Sequence[int]]) -> None:
        """Prepare upstream families with sources for the creation of these members, in one batch where that is faster."""
        full = [view.full(indices) for indices in members]
        for each in view.factory.upstream_families:
            if each.family.sources:
                each.family.prepare(each.view, dict.fromkeys(itertools.chain.from_iterable(map(each.members, full))))

    @property
    def nodes(self) -> Sequence[Persistable[PayloadT, Any]]:
        """The nodes by index: ``family.nodes[3]``, ``family.nodes[2:5]``; each is created on demand."""
        return Members(self, self.view)

    @property
    def targets(self) -> Sequence[Persistable[PayloadT, Any]]:
        """The nodes that `run` and `plan` process for this family."""
        return self.nodes

    @property
    def key_chunks(self) -> KeyChunks | None:
        """The members in chunks of some thousands, for `run` and `status`; None if they can only be processed together."""
        found = key_chunks_of(self.view, self.nodes, self._node_store)
        if found is not None and found.store is None:
            remember_store(found.model, self._node_remembered or self.view.factory.remembered)
        return found

    # parts

    def sel(self, **labels: Any) -> Any:
        """The part at these labels: a node where one is given for each axis, else a smaller family.

        A list selects several, in its order; ``slice(low, high)`` those from `low` to `high`, both included; any other value is one label,
        and its axis is removed. Pass names that are no identifiers as ``**{"points.n": 100}``. Raises UnknownMember, UnknownParam.
        """
        part = self._derived(SelectMembers(labels, self))
        return part if part.axes else part.at(())

    def part(self, chosen: Sequence[Sequence[int] | int]) -> Family[PayloadT]:
        """The family of these indices on each axis; a sequence keeps the axis, a single index removes it."""
        return self._with(self.view.part(chosen))

    def rename(self, **names: str) -> Family[PayloadT]:
        """The same nodes with renamed axes, distinct from the original axes, so that a grid of both crosses them."""
        return self._derived(RenameAxes(names, self))

    def gather(self, *axes: str) -> Gathered[PayloadT]:
        """The members along these axes in lists, for a node that takes many: ``mean.over(scores.gather("fold"))``.

        The result is a family over the remaining axes; each member takes all members along `axes`, in the order of this family, whatever
        the order of the names. Raises UnknownParam.
        """
        return Gathered(self, axes)

    def bind(self, store: str | os.PathLike[str] | Store) -> Family[PayloadT]:
        """The same family in `store`."""
        where = open_store(store)
        bound = self._derived(View.elsewhere, _node_store=where)
        bound._look_in(where)
        return bound

    def kept_in(self, store: Store) -> Family[PayloadT]:
        """The same family, in `store` unless it has one of its own."""
        return self if self._node_store is not None else self.bind(store)

    def refresh(self) -> Family[PayloadT]:
        """List the data sources again: members may be added and removed. Does nothing for families without sources, which most are.

        `run`, `plan`, `status`, `best`, `matrix` and `to_frame` call it themselves. Returns the family itself.
        """
        self.refresh_once(set())
        return self

    def refresh_once(self, done: set[int]) -> None:
        """Refresh as `refresh` does, except the sources whose ids are in `done`; add the ids of those refreshed."""
        if self._live_view is not None:
            self._look_in(self._node_store)
            self._live_view.refresh(done)

    def _look_in(self, store: Store | None) -> None:
        """Let the sources that follow a node without a store of its own look in `store`."""
        for source in self.sources if store is not None else ():
            if isinstance(source, ItemSource):
                source.look_in(store)

    def _derived(self, change: Callable[[View], View], *more: DataSource, **state: Any) -> Family[PayloadT]:
        """A copy with `change` applied to its view, and with this `state`; it follows the sources of this family, and `more`."""
        if self._live_view is None and not more:
            return self._with(change(self.view), **state)
        live_view = (self._live_view or LiveView((), partial(_itself, self.view))).changed(change, *more)
        return self._with(None, _live_view=live_view, **state)

    def _with(self, view: View | None, **state: Any) -> Family[PayloadT]:
        twin: Family[PayloadT] = object.__new__(type(self))
        twin.__dict__.update({**self.__dict__, "_fixed": view, "_live_view": None, **state})
        return twin

    def __repr__(self) -> str:
        sizes = f" {TIMES} ".join(f"{axis.name} ({len(axis)})" for axis in self.axes)
        return f"<Family {self.name}: {sizes or 'one member'}>"


class Members(Sequence[Persistable[PayloadT, Any]], Generic[PayloadT]):
    """The nodes of a family by index, created on demand, as of one view: later changes of the family do not affect them."""

    _node_are_members: ClassVar[bool] = True

    def __init__(self, family: Family[PayloadT], view: View) -> None:
        self._family = family
        self._view = view

    def __repr__(self) -> str:
        return f"<{len(self)} nodes of {self._family!r}>"

    def __len__(self) -> int:
        return math.prod(self._view.shape)

    @overload
    def __getitem__(self, index: int) -> Persistable[PayloadT, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Persistable[PayloadT, Any]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return list(self._made(map(self._view.nth, range(len(self))[index])))
        return self._family.at(self._view.nth(range(len(self))[index]), self._view)

    @property
    def targets(self) -> list[Persistable[PayloadT, Any]]:
        """The nodes that `run` and `plan` process for this sequence."""
        return list(self)

    def __iter__(self) -> Iterator[Persistable[PayloadT, Any]]:
        return self._made(itertools.product(*map(range, self._view.shape)))

    def _made(self, members: Iterator[tuple[int, ...]]) -> Iterator[Persistable[PayloadT, Any]]:
        family, view = self._family, self._view
        if not family.sources:
            yield from (family.at(indices, view) for indices in members)
            return
        while batch := list(itertools.islice(members, table.BATCH)):
            family.prepare(view, batch)
            yield from (family.at(indices, view) for indices in batch)


def _itself(view: View) -> View:
    return view


def _columns_of(rows: Any) -> dict[str, list[Any]]:
    """Map param name to values, from a list of dicts or a dict of lists."""
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
    for index, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            raise ValueError(
                f"row {index} has {', '.join(row) or 'nothing'} where the first has {', '.join(names)}; give each row the same params"
            )
    return {name: [row[name] for row in rows] for name in names}
