"""Changes of records since a store was last asked: for stores that can tell them without a listing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from persistable.stores.base import Stat


class Changes(NamedTuple):
    """Records and failures that are there, new or other than before, and paths of those that are gone.

    token: by which the next question is about what comes after this. is_whole: `there` has all that there are, and `gone` is empty.
    """

    token: str
    is_whole: bool
    there: Sequence[tuple[str, Stat]]
    gone: Sequence[str]


@runtime_checkable
class TellsChanges(Protocol):
    """A store that can."""

    def record_changes(self, tokens: Collection[str | None]) -> Changes | None:
        """The changes since the earliest of `tokens`; all that there is where they do not tell. None where it cannot be told.

        What is said to have changed may be as it was.
        """
        ...


class PackChanges(NamedTuple):
    """The content of a file of packs, as far as it is not known. packs: number to state. changed: number to paths. rows: path and stamp."""

    packs: Mapping[int, str]
    changed: Mapping[int, Sequence[str]]
    rows: Sequence[tuple[str, int]]


@runtime_checkable
class TellsPacks(Protocol):
    """A store that is one file, with packs of items and rows of single ones."""

    file: str

    def pack_changes(self, known: Mapping[int, str], endings: Sequence[str]) -> PackChanges:
        """All packs, the content of those whose state is not as `known`, and the rows of these endings, as they are at one moment."""
        ...
