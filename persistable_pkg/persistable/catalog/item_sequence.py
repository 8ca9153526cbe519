"""`ItemSequence`: a sequence with further facts, the base of plans and counts of the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar, overload

ItemT = TypeVar("ItemT")


class ItemSequence(Sequence[ItemT]):
    """A sequence of items, in their order."""

    def __init__(self, items: Iterable[ItemT]) -> None:
        self._items = list(items)

    @overload
    def __getitem__(self, index: int) -> ItemT: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ItemT]: ...
    def __getitem__(self, index: int | slice) -> ItemT | Sequence[ItemT]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[ItemT]:
        return iter(self._items)
