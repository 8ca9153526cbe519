"""Facts of a store that its contract has to know, and access to its bytes."""

from __future__ import annotations

from typing import ClassVar

import pytest

from persistable.stores.base import Store
from persistable.testing.races import GOOD_PATHS


class StoreAccess:
    """One store: what it promises, by class attributes, and its bytes without the methods under test."""

    shared_between_processes: ClassVar[bool] = True
    """Other processes see the same bytes."""
    exclusive: ClassVar[bool] = True
    """At most one of several simultaneous `create` calls returns True."""
    creates: ClassVar[bool] = True
    """`create` refuses where something is; an emulator may ignore the condition."""
    stamps: ClassVar[bool] = True
    """`stat` gives a stamp."""
    folds_case: ClassVar[bool] = False
    """Names that differ only in case are one name."""
    good_paths: ClassVar[list[str]] = GOOD_PATHS
    """Names that must work."""
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
