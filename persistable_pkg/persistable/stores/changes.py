"""Changes of records since the last query of a store: for stores that can report them without a listing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from persistable.stores.base import Stat


class Changes(NamedTuple):
    """Records and failures that are new or changed, and the paths of those that are gone.

    token: passed to the next query to get the changes after this one. is_whole: `there` has all that exist, and `gone` is empty.
    """

    token: str
    is_whole: bool
    there: Sequence[tuple[str, Stat]]
    gone: Sequence[str]


@runtime_checkable
class ReportsChanges(Protocol):
    """A store that can report changes of records."""

    def record_changes(self, tokens: Collection[str | None]) -> Changes | None:
        """The changes since the earliest of `tokens`; all records where the tokens are of no use. None where the store cannot report them.

        A record reported as changed may be as it was.
        """
        ...


class PackChanges(NamedTuple):
    """The content of a file of packs that is not known yet. packs: number to state. changed: number to paths. rows: path and stamp."""

    packs: Mapping[int, str]
    changed: Mapping[int, Sequence[str]]
    rows: Sequence[tuple[str, int]]


@runtime_checkable
class ReportsPacks(Protocol):
    """A store that is one file, with packs of items and rows of single ones."""

    file: str

    def pack_changes(self, known: Mapping[int, str], endings: Sequence[str]) -> PackChanges:
        """All packs, the content of those whose state is not as `known`, and the rows of these endings, in one snapshot."""
        ...
