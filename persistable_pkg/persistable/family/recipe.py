"""How the members of a family are made: which argument comes from which axis, and which axes are one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from persistable.core import Persistable, declaration_of
from persistable.errors import MissingParam
from persistable.family.axes import Axis, values_of
from persistable.lineage import nodes_in
from persistable.params.building import build
from persistable.steps import Step
from persistable.stores.open import open_store

if TYPE_CHECKING:
    from persistable.family.members import Family

OPTIONS = (
    "persist_data_dir",
    "params",
    "tracked_persistable_dependencies",
    "data_dir",
    "payload_name",
    "payload_io",
    "verbose",
    "logger",
)
"""What `Persistable` takes beside params and roles; the first three by position."""

Slot = int | str
"""An argument, by position or by name."""


class Column(NamedTuple):
    """An argument that is at each place of one axis the value there."""

    slot: Slot
    axis: int
    values: Sequence[Any]


class Relation(NamedTuple):
    """An argument that is a member of another family, found by its places along these axes."""

    slot: Slot
    family: Family[Any]
    axes: tuple[int, ...]


class Recipe:
    """What is called for each member, with what stays the same and what varies."""

    def __init__(
        self,
        maker: Any,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        columns: list[Column],
        relations: list[Relation],
        axes: list[Axis],
    ) -> None:
        self.maker = maker
        self.name = name
        self.axes = tuple(axes)
        self._args = list(args)
        self._kwargs = dict(kwargs)
        self._columns = columns
        self._relations = relations

    @property
    def _call(self) -> Any:
        return self.maker.step if self.maker.__class__ is Step else self.maker

    def make(self, places: Sequence[int]) -> Any:
        """A new node: the member at these places along all axes."""
        args, kwargs = self._args.copy(), self._kwargs.copy()
        for slot, axis, values in self._columns:
            _put(args, kwargs, slot, values[places[axis]])
        for slot, family, axes in self._relations:
            _put(args, kwargs, slot, family.at([places[axis] for axis in axes]))
        return self._call(*args, **kwargs)

    @property
    def given(self) -> bool:
        """Whether the nodes were there before the family."""
        return self.maker is itself

    def upstream(self) -> dict[str, Family[Any]]:
        """The families that its members take one member each of, by argument."""
        return {_name(self.maker, slot): family for slot, family, _ in self._relations}


def itself(node: Any) -> Any:
    """What makes the nodes that were given."""
    return node


def of_nodes(name: str, axis: Axis, nodes: Sequence[Any]) -> Recipe:
    """The recipe of nodes that exist."""
    return Recipe(itself, name, [None], {}, [Column(0, 0, nodes)], [], [axis])


def recipe_of(maker: Any, args: Sequence[Any], kwargs: Mapping[str, Any], joined: Mapping[str, Sequence[Any]] | None = None) -> Recipe:
    """The recipe of all combinations of the axes among the arguments; `joined` are params whose values go together.

    Raises UnknownParam and MissingParam, as a node with the first values would.
    """
    arguments: dict[Slot, Any] = dict(enumerate(args))
    arguments.update(kwargs.items())
    sorter = _Sorter()
    if joined:
        axis = sorter.add(Axis(joined), "")
        sorter.columns += [Column(name, axis, values) for name, values in joined.items()]
    for slot, value in arguments.items():
        sorter.take(slot, _name(maker, slot), value)
    fixed: dict[Slot, Any] = {slot: None if slot in sorter.varying() else value for slot, value in arguments.items()}
    _check(maker, len(args), {**fixed, **sorter.sample()})
    _open(maker, fixed)
    positional = [fixed.pop(place) for place in range(len(args))]
    name = cast("str | None", fixed.get("payload_name")) or (maker.payload_name if isinstance(maker, Step) else declaration_of(maker).name)
    return Recipe(maker, name, positional, cast("dict[str, Any]", fixed), sorter.columns, sorter.relations, sorter.named())


class _Sorter:
    """Sorts arguments into columns, relations and what is fixed, and finds the axes that are one."""

    def __init__(self) -> None:
        self.columns: list[Column] = []
        self.relations: list[Relation] = []
        self._axes: list[Axis] = []
        self._from: list[str] = []

    def take(self, slot: Slot, name: str, value: Any) -> None:
        if getattr(value.__class__, "_is_family", False):
            family: Family[Any] = value
            self.relations.append(Relation(slot, family, tuple([self.add(axis, name) for axis in family.axes])))
        elif name != "tracked_persistable_dependencies":
            values = values_of(value)
            if values is not None:
                self.columns.append(Column(slot, self.add(Axis({name: values}), ""), values))

    def add(self, axis: Axis, source: str) -> int:
        """The number of `axis`; one that is the same is taken for it."""
        for number, known in enumerate(self._axes):
            if known.same(axis):
                return number
        self._axes.append(axis)
        self._from.append(source)
        return len(self._axes) - 1

    def named(self) -> list[Axis]:
        """The axes, those from families under dotted names where names alone would clash."""
        counts = Counter(name for axis in self._axes for name in axis.columns)
        return [
            axis.named({name: f"{source}.{name}" for name in axis.columns if source and counts[name] > 1})
            for axis, source in zip(self._axes, self._from, strict=True)
        ]

    def varying(self) -> set[Slot]:
        return {each.slot for each in self.columns} | {each.slot for each in self.relations}

    def sample(self) -> dict[Slot, Any]:
        """The first value of each column, as far as there is one."""
        return {slot: values[0] for slot, _, values in self.columns if values}


def _put(args: list[Any], kwargs: dict[str, Any], slot: Slot, value: Any) -> None:
    if isinstance(slot, int):
        args[slot] = value
    else:
        kwargs[slot] = value


def _name(maker: Any, slot: Slot) -> str:
    if isinstance(slot, str):
        return slot
    if isinstance(maker, Step):
        return maker.maker.name_at(slot)
    return OPTIONS[slot] if slot < 3 else str(slot)


def _check(maker: Any, positional: int, arguments: dict[Slot, Any]) -> None:
    """Raise for names that the step or the params class does not take; no node is made for that."""
    if isinstance(maker, Step):
        maker.maker.bind(
            tuple([arguments[place] for place in range(positional)]), {str(k): v for k, v in arguments.items() if isinstance(k, str)}
        )
        return
    declaration = declaration_of(maker)
    kind = declaration.params_type
    if _own_init(maker) or not isinstance(kind, type) or kind is type(None) or positional > 1 or "params" in arguments:
        return
    fields = {name: value for name, value in arguments.items() if isinstance(name, str) and name not in OPTIONS and value is not None}
    fields = {name: value for name, value in fields.items() if name not in declaration.roles and not _holds_nodes(value)}
    try:
        build(kind, fields, maker.__name__)
    except MissingParam as error:
        absent = [name for name in error.names if name not in arguments]
        if absent:
            raise


def _own_init(maker: Any) -> bool:
    """Whether only the class knows what its arguments mean."""
    return maker.__init__ is not cast("Any", Persistable).__init__


def _holds_nodes(value: Any) -> bool:
    return any(True for _ in nodes_in(value, Persistable)) or getattr(value.__class__, "_is_family", False)


def _open(maker: Any, fixed: dict[Slot, Any]) -> None:
    """Open the store that is named, once for all members."""
    if isinstance(maker, Step) or _own_init(maker):
        return
    for slot in (0, "persist_data_dir", "data_dir"):
        if fixed.get(slot) is not None:
            fixed[slot] = open_store(fixed[slot])


def names_store(maker: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether the call says itself where its nodes are kept."""
    return not isinstance(maker, Step) and (bool(args) or "data_dir" in kwargs or "persist_data_dir" in kwargs)
