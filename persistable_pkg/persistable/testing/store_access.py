"""Facts of a store that its contract needs, and access to its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from persistable.stores.base import Store
from persistable.testing.store_reads import ReadingContract, StoreFiller


class StoreAccess(ReadingContract):
    """One store: its promises, as class attributes, and its bytes without the methods under test."""

    exclusive: ClassVar[bool] = True
    """True if at most one of several simultaneous `create` calls returns True."""
    creates: ClassVar[bool] = True
    """`create` refuses where a file exists; an emulator may ignore the condition."""
    stamps: ClassVar[bool] = True
    """`stat` returns a stamp."""
    examples: ClassVar[int] = 30
    """Number of examples of a property test."""
    rounds: ClassVar[int] = 20
    """Number of times a race is run."""
    many: ClassVar[int] = 1100
    """Number of entries in a long listing."""

    @pytest.fixture
    def store(self) -> Store:
        """An empty store. Subclasses define their own."""
        raise NotImplementedError("give this class a fixture `store` with an empty store")

    @pytest.fixture
    def fill_store(self, store: Store) -> StoreFiller:
        """A function that plants items in the store."""

        def hold(items: Mapping[str, bytes]) -> Store:
            for path, data in items.items():
                self.plant(store, path, data)
            return store

        return hold

    def plant(self, store: Store, path: str, data: bytes) -> None:
        """Store bytes without the method under test. Subclasses should override it by a way around the store."""
        store.put(path, data)

    def peek(self, store: Store, path: str) -> bytes | None:
        """The bytes at `path`, or None, without the method under test."""
        try:
            return store.get(path)
        except FileNotFoundError:
            return None

    def leftovers(self, store: Store) -> list[str]:
        """All files of the store, unfinished writes included."""
        return list(store.list())
