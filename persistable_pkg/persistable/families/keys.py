"""Digests and nodes of many members of a family by number, without making the members where that gives the same.

What a node takes to make is mostly not its digest. Where members differ only in plain values of fields, and in members of other such
families, their digests differ only in these bytes: the rest is taken from one member that is made. Everything else (params classes with
code of their own, values that are no plain ones, classes with an ``__init__``) is left to the nodes themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from persistable.families.direct import Straight, straight_of
from persistable.families.grid import OPTIONS
from persistable.nodes.lineage import walk
from persistable.nodes.node import declaration_of
from persistable.nodes.step import Step
from persistable.nodes.template import NodeTemplate, has_plain_fields, is_plain_class
from persistable.records.key import Key

if TYPE_CHECKING:
    from persistable.families.grid import Column, Recipe, Relation
    from persistable.families.view import Layout

Places = tuple[int, ...]
"""Of one member, on each axis of the recipe."""


class Keys(Protocol):
    """Makes the digests of the members of a family."""

    @property
    def model(self) -> Any:
        """A member."""
        ...

    def digests(self, members: Sequence[Places]) -> list[str] | None:
        """Those of `members`; None where only the nodes can tell."""
        ...


def keys_of(layout: Layout) -> Keys | None:
    """The maker of the digests of the members of `layout`; None where only nodes can."""
    recipe = layout.recipe
    if recipe.given or not isinstance(recipe.maker, type | Step):
        told: Keys | None = getattr(recipe.maker, "keys", None)  # what knows the keys of what it makes
        return told if len(layout.recipe.axes[0]) else None
    if not all(map(len, recipe.axes)) or not _is_plain(recipe):
        return None
    upstream: dict[str, tuple[Relation, Keys]] = {}
    for relation in recipe.relations:
        keys = keys_of(relation.layout)
        if keys is None:
            return None
        upstream[recipe.role(relation.slot)] = (relation, keys)
    ends: list[Places] = [tuple(0 for _ in recipe.axes), tuple(len(axis) - 1 for axis in recipe.axes)]
    models = [recipe.make(places) for places in ends]
    columns = {recipe.role(column.slot): column for column in recipe.columns}
    if not upstream.keys() <= models[0]._upstream.keys() or (columns and not has_plain_fields(models[0].params, columns)):
        return None
    made = GridKeys(models[0], columns, upstream)
    return made if made.digests(ends) == [model.key.digest for model in models] else None


class GridKeys:
    """Keys of a grid, whose members differ in plain values and in members of other families."""

    def __init__(self, model: Any, columns: dict[str, Column], upstream: dict[str, tuple[Relation, Keys]]) -> None:
        self.model = model
        self._columns = columns
        self._upstream = upstream
        self._template = NodeTemplate(model, columns, upstream)

    def digests(self, members: Sequence[Places]) -> list[str] | None:
        fields = {name: [values[places[axis]] for places in members] for name, (_, axis, values) in self._columns.items()}
        upstream: dict[str, list[bytes]] = {}
        for role, (relation, keys) in self._upstream.items():
            wanted = [relation.layout.full(relation.of(places)) for places in members]
            each = list(dict.fromkeys(wanted))
            digests = keys.digests(each)
            if digests is None:
                return None
            known = {places: bytes.fromhex(digest) for places, digest in zip(each, digests, strict=True)}
            upstream[role] = [known[places] for places in wanted]
        return self._template.digests(fields, upstream, len(members))


def _is_plain(recipe: Recipe) -> bool:
    """Tell whether nothing but fields and roles vary, and no code of the user's decides what becomes of them."""
    maker = recipe.maker
    slots = [recipe.role(column.slot) for column in recipe.columns] + [recipe.role(relation.slot) for relation in recipe.relations]
    if maker.__class__ is Step:
        return maker.__wrapped__.__closure__ is None and all(slot in maker.maker.ordinary for slot in slots)
    if not is_plain_class(maker, "__init__", "__new__") or not isinstance(getattr(maker, "payload_name", ""), str):
        return False
    declaration = declaration_of(maker)
    roles = [recipe.role(relation.slot) for relation in recipe.relations]
    return _OPTIONS.isdisjoint(slots) and all((slot in declaration.roles) == (slot in roles) for slot in slots)


_OPTIONS = frozenset(OPTIONS)


LOT = 5000
"""So many members are looked at, planned and in memory together."""


class Lots:
    """The members of a family by number, as they were laid out then: their keys without the nodes, and the nodes when asked for.

    nodes: by number. store: theirs, None where they have none of their own. model: one of them.
    """

    def __init__(self, layout: Layout, keys: Keys, nodes: Sequence[Any], store: Any) -> None:
        self._layout = layout
        self._keys = keys
        self.recipe = layout.recipe
        self._is_range = len(layout.shape) == 1 and layout.picks == (range(len(nodes)),)
        self.nodes = nodes
        self.model: Any = keys.model
        self.store = store

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[range]:
        """The numbers of each lot."""
        return (range(first, min(first + LOT, len(self))) for first in range(0, len(self), LOT))

    def keys(self, numbers: Sequence[int]) -> list[Key]:
        """The keys of these members."""
        name: str = self.model.payload_name
        return [Key(name, digest) for digest in self._digests(numbers)]

    def bases(self, numbers: Sequence[int]) -> list[str]:
        """The paths of these keys."""
        folder = f"{self.model.payload_name}/"
        return [folder + digest for digest in self._digests(numbers)]

    def rows(self, numbers: Sequence[int]) -> list[tuple[Any, ...]]:
        """The values in the columns of the recipe, of these members."""
        columns = [(column.axis, column.values) for column in self.recipe.columns]
        if self._is_range and len(columns) == 1:
            values = columns[0][1]
            return [(values[number],) for number in numbers]
        return [tuple([values[places[axis]] for axis, values in columns]) for places in map(self.places, numbers)]

    def straight(self, store: Any) -> Straight | None:
        """The generator of the members into `store` without their nodes; None where that cannot be."""
        return straight_of(self, store)

    def _digests(self, numbers: Sequence[int]) -> list[str]:
        places: list[Places] = [(number,) for number in numbers] if self._is_range else [self.places(number) for number in numbers]
        digests = self._keys.digests(places)
        return digests if digests is not None else [self.nodes[number].key.digest for number in numbers]

    def places(self, number: int) -> Places:
        """The places of this member on the axes of the recipe."""
        if self._is_range:
            return (number,)
        places: list[int] = []
        for length in reversed(self._layout.shape):
            number, place = divmod(number, length)
            places.append(place)
        return self._layout.full(places[::-1])


def lots_of(layout: Layout, nodes: Sequence[Any], store: Any) -> Lots | None:
    """The lots of a family whose members can be worked on some at a time: all that they are made from is kept, or lies outside."""
    keys = keys_of(layout) if len(nodes) else None
    if keys is None or any(not (node._persisted or node._external) for node in walk(keys.model)):
        return None
    return Lots(layout, keys, nodes, store if store is not None else keys.model._store)
