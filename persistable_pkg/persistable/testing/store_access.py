"""Facts of a store that its contract has to know, and access to its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from persistable.stores.base import Store
from persistable.testing.reading import Holding, ReadingContract


class StoreAccess(ReadingContract):
    """One store: what it promises, by class attributes, and its bytes without the methods under test."""

    exclusive: ClassVar[bool] = True
    """True if at most one of several simultaneous `create` calls returns True."""
    creates: ClassVar[bool] = True
    """`create` refuses where something is; an emulator may ignore the condition."""
    stamps: ClassVar[bool] = True
    """`stat` gives a stamp."""
    examples: ClassVar[int] = 30
    """Number of cases a property is tried with."""
    rounds: ClassVar[int] = 20
    """Number of times a race is run."""
    many: ClassVar[int] = 1100
    """Number of entries that make a long listing."""

    @pytest.fixture
    def store(self) -> Store:
        """An empty store. Subclasses give their own."""
        raise NotImplementedError("give this class a fixture `store` with an empty store")

    @pytest.fixture
    def holding(self, store: Store) -> Holding:
        """A function that plants items in the store."""

        def hold(items: Mapping[str, bytes]) -> Store:
            for path, data in items.items():
                self.plant(store, path, data)
            return store

        return hold

    def plant(self, store: Store, path: str, data: bytes) -> None:
        """Put bytes there without the method under test. Better overridden by something that goes around the store."""
        store.put(path, data)

    def peek(self, store: Store, path: str) -> bytes | None:
        """The bytes there, or None, without the method under test."""
        try:
            return store.get(path)
        except FileNotFoundError:
            return None

    def leftovers(self, store: Store) -> list[str]:
        """Everything in the store's place, unfinished writes included."""
        return list(store.list())
