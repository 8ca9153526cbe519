"""`Lots`: a family taken some thousands of members at a time, so that never all of them are in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from persistable.family.keys import Keys, Places, keys_of
from persistable.family.straight import Straight, straight_of
from persistable.key import Key
from persistable.lineage import walk

if TYPE_CHECKING:
    from persistable.family.layout import Layout

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
