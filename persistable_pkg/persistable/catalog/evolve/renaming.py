"""`Renaming`: the plan of a renaming, to be shown and applied; and `RenameResult`, its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from persistable.catalog.item_sequence import ItemSequence
from persistable.records.key import Key

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog

SHOWN = 20
Progress = Callable[[int, int], None]


class Move(NamedTuple):
    """A record that would get another key, or be written anew under its own.

    old, new: keys. label: of the payload, in words. follows: True for a record that is only downstream of a renamed one. at: the custom
    path of the payload in the store, if any. part: number of the layer. data, check: to undo, the record to write, and the checksum of the
    record that it replaces.
    """

    old: Key
    new: Key
    label: str
    follows: bool
    at: str | None
    part: int
    data: bytes | None = None
    check: str = ""


class UnrenamedRecord(NamedTuple):
    """A record that stays as it is."""

    key: Key
    """The key of the payload."""
    why: str
    """The reason why it stays."""


class Renaming(ItemSequence[Move]):
    """The plan of a renaming: one `Move` for each record, upstream first. Nothing is touched before `apply`.

    lines: the changes, in words. left: records that would be renamed but stay, with the reason, such as a payload under the new key.
    """

    def __init__(
        self,
        catalog: Catalog,
        lines: Sequence[str],
        moves: Sequence[Move],
        left: Sequence[UnrenamedRecord],
        act: Callable[[Renaming, Progress | None], RenameResult],
    ) -> None:
        super().__init__(moves)
        self.catalog = catalog
        self.lines = list(lines)
        self.left = list(left)
        self._act = act

    @property
    def follow(self) -> int:
        """The number of records that get another key only because of their upstream."""
        return sum(move.follows for move in self)

    @property
    def keys(self) -> dict[Key, Key]:
        """New key by old one."""
        return {move.old: move.new for move in self}

    def apply(self, progress: Progress | None = None) -> RenameResult:
        """Carry out the renaming; return the renamed keys, and the records that stay after all.

        Payloads are not read. A crash leaves each payload with the old record, the new one, or both; the same call does the rest. Payloads
        that are being generated, or were made anew, stay, as does everything downstream of them. progress: is called with the numbers of
        records done and in all. Raises StoreReadOnly, and the errors of the store.
        """
        return self._act(self, progress)

    def __repr__(self) -> str:
        head = f"<{in_words(self)}; nothing was touched, .apply() does it>"
        rows = [f"  {move.label}: {_arrow(move)}" for move in self[:SHOWN]]
        more = [f"  and {len(self) - SHOWN} more"] if len(self) > SHOWN else []
        return "\n".join([head, *[f"  {line}" for line in self.lines], *rows, *more, *_staying(self.left)])

    def _repr_html_(self) -> str:
        from persistable.graph.notebook import Html, card, listing

        rows = [(move.label, str(move.old), str(move.new) if move.new != move.old else "the same") for move in self[:SHOWN]]
        return Html(
            card(in_words(self), listing(["payload", "key", "new key"], rows, len(self) - len(rows), [*self.lines, *why(self.left)]))
        )


class RenameResult:
    """The result of a renaming. moved: old and new keys. left: records that stay. stamp: to undo it by, "" if nothing was done."""

    def __init__(self, catalog: Catalog, stamp: str, moved: Sequence[tuple[Key, Key]], left: Sequence[UnrenamedRecord]) -> None:
        self._catalog = catalog
        self.stamp = stamp
        self.moved = list(moved)
        self.left = list(left)

    def undo(self, progress: Progress | None = None) -> RenameResult:
        """Restore all old keys and records, as ``catalog.rename(undo=stamp).apply()`` does in any process."""
        return self._catalog.rename(undo=self.stamp).apply(progress) if self.stamp else self

    def __repr__(self) -> str:
        undo = f"; catalog.rename(undo={self.stamp!r}).apply() undoes it" if self.stamp else ""
        return "\n".join([f"<{_records(len(self.moved))} renamed{undo}>", *_staying(self.left)])


def in_words(renaming: Renaming) -> str:
    """The number of records to be renamed, in a line."""
    own = len(renaming) - renaming.follow
    text = f"{_records(own)} would be renamed"
    if renaming.follow:
        text += f", and {_records(renaming.follow)} made from {'it' if own == 1 else 'them'} would follow"
    same = sum(move.old == move.new for move in renaming)
    text += f"; {same} keep their keys" if same else ""
    return text + (f"; {len(renaming.left)} {'stays' if len(renaming.left) == 1 else 'stay'}" if renaming.left else "")


def why(left: Sequence[UnrenamedRecord]) -> list[str]:
    """The number of records that stay, by reason, in lines."""
    counts: dict[str, int] = {}
    for each in left:
        counts[each.why] = counts.get(each.why, 0) + 1
    return [f"{number} {'stays' if number == 1 else 'stay'}: {reason}" for reason, number in counts.items()]


def _records(number: int) -> str:
    return f"{number} {'record' if number == 1 else 'records'}"


def _arrow(move: Move) -> str:
    new = f"{move.new.name}/{move.new.digest[:8]}" if move.new != move.old else "keeps its key"
    return f"{move.old.name}/{move.old.digest[:8]} -> {new}"


def _staying(left: Sequence[UnrenamedRecord]) -> list[str]:
    rows = [f"  stays: {each.key}: {each.why}" for each in left[:SHOWN]]
    return rows + ([f"  and {len(left) - SHOWN} more"] if len(left) > SHOWN else [])
