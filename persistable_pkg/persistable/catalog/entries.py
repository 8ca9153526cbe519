"""`Entries`, the result of `find`: the matching entries, queried at each access."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from persistable.catalog import lookup
from persistable.catalog.criteria import Criteria, condition
from persistable.catalog.entry import COLUMNS, Entry, value_of
from persistable.catalog.query import Condition, first_layer_only
from persistable.errors import need
from persistable.fileio.json import encodable
from persistable.params.building import did_you_mean
from persistable.params.trees import leaves_of

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog

PAGE = 1000
"""Entries that are read from the index at once."""
_SHOWN = 50
"""Most entries that a notebook shows."""
ORDERS = {
    "age": "ORDER BY r.created DESC, r.id DESC",
    "size": "ORDER BY r.size DESC, r.name, r.id DESC",
    "name": "ORDER BY r.name, r.created DESC, r.id DESC",
}


class Entries(Sequence[Entry]):
    """The matching entries, newest first. Each access queries the store as it is then."""

    def __init__(self, catalog: Catalog, asked: Criteria, first: int = 0, stop: int | None = None, order: str = "age") -> None:
        self._catalog = catalog
        self._asked = asked
        self._first = first
        self._stop = stop
        self._order = order

    def ordered(self, by: Literal["age", "size", "name"]) -> Entries:
        """The same entries: the youngest first, the largest first, or by name. Raises ValueError for any other order."""
        if by not in ORDERS:
            raise ValueError(f"ordered({by!r}): {', '.join(ORDERS)}")
        return Entries(self._catalog, self._asked, self._first, self._stop, by)

    def _where(self) -> Condition:
        return first_layer_only(condition(self._asked, self._catalog.current()), self._catalog.is_layered)

    def check(self) -> None:
        """Raise InvalidQuery for a column that does not exist."""
        self._where()

    def __len__(self) -> int:
        where = self._where()
        number: int = self._catalog.index.rows(f"SELECT count(*) {where.source} WHERE {where.sql}", where.values)[0][0]
        return max(0, (number if self._stop is None else min(number, self._stop)) - self._first)

    def __bool__(self) -> bool:
        return bool(self[:1]._ids())

    def __iter__(self) -> Iterator[Entry]:
        ids = self._ids()  # all at once: entries may come and go while pages are read
        for first in range(0, len(ids), PAGE):
            yield from self._of_ids(ids[first : first + PAGE])

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Entries: ...
    def __getitem__(self, index: int | slice) -> Entry | Entries:
        if isinstance(index, slice):
            if index.step not in (None, 1):
                raise ValueError("entries are sliced without a step; list(...) them first")
            length = len(self) if (index.start or 0) < 0 or (index.stop or 0) < 0 else None
            first = _from_start(index.start or 0, length)
            stop = None if index.stop is None else self._first + _from_start(index.stop, length)
            stop = stop if self._stop is None else self._stop if stop is None else min(stop, self._stop)
            return Entries(self._catalog, self._asked, self._first + first, stop, self._order)
        at = index if index >= 0 else len(self) + index
        if at >= 0 and (self._stop is None or self._first + at < self._stop):
            for row in self._rows(COLUMNS, self._first + at, self._first + at + 1):
                return Entry(self._catalog, row)
        raise IndexError(f"there is no entry {index}: {len(self)} match")

    def _rows(self, columns: str, first: int, stop: int | None) -> list[tuple[Any, ...]]:
        where = self._where()
        query = f"SELECT {columns} {where.source} WHERE {where.sql} {ORDERS[self._order]} LIMIT ? OFFSET ?"
        return self._catalog.index.rows(query, (*where.values, -1 if stop is None else max(0, stop - first), first))

    def _ids(self) -> list[int]:
        return [number for (number,) in self._rows("r.id", self._first, self._stop)]

    def _of_ids(self, ids: Sequence[int]) -> list[Entry]:
        """The entries with these ids that are still there."""
        found = lookup.by_rows(self._catalog, self._catalog.index, ids)
        return [found[number] for number in ids if number in found]

    def page(self, first: int, many: int) -> tuple[list[Entry], int]:
        """The entries from `first` on, at most `many`, and the total number; the query runs once, and only these are read whole."""
        ids = self._ids()
        return self._of_ids(ids[first : first + many]), len(ids)

    def rows(self) -> list[tuple[Any, ...]]:
        """The columns `COLUMNS` of all entries, as plain rows: for lists of thousands, which need no objects."""
        return self._rows(COLUMNS, self._first, self._stop)

    def to_frame(self, backend: str = "pandas") -> Any:
        """A pandas or polars frame of the entries: key, name, status, facts, and each param in a column, nested ones under dotted names.

        Halves of surrogate pairs in text, which neither library can hold, are written as escapes.
        """
        if backend not in ("pandas", "polars"):
            raise ValueError(f"backend={backend!r}: pandas or polars")
        library: Any = need(backend, backend, backend, "to_frame()")
        columns = _columns(list(self))
        if backend == "pandas":
            frame = library.DataFrame(columns)
            frame["created"] = library.to_datetime(frame["created"], unit="s", utc=True)
            return frame
        frame = library.DataFrame(columns, strict=False)
        return frame.with_columns(library.from_epoch(frame["created"].cast(library.Float64) * 1e6, time_unit="us").alias("created"))

    def __repr__(self) -> str:
        number = len(self)
        lines = [f"  {entry.label}  {entry.key or entry.at}" for entry in self[:10]]
        more = [f"  and {number - 10} more"] if number > 10 else []
        none = "" if number else self._none()
        return "\n".join([f"<{number} {'entry' if number == 1 else 'entries'} in {self._catalog.store.url}{none}>", *lines, *more])

    def _none(self) -> str:
        """The reason why nothing matches, if that is the name."""
        name, names = self._asked.name, self._catalog.names()
        return "" if name is None or name in names else f"; nothing is called {name!r}{did_you_mean(name, names)}"

    def _repr_html_(self) -> str:
        from persistable.catalog.entry_text import entries_html

        shown = list(self[:_SHOWN])
        upstream = lookup.upstream_of_all(self._catalog, shown)
        return entries_html(shown, upstream, len(self), f"0 entries in {self._catalog.store.url}{self._none()}")


def _from_start(place: int, length: int | None) -> int:
    return place if place >= 0 or length is None else max(0, length + place)


_FACTS: dict[str, Callable[[Entry], Any]] = {
    "key": lambda entry: None if entry.key is None else str(entry.key),
    "name": lambda entry: entry.name,
    "status": lambda entry: entry.status,
    "size": lambda entry: entry.size,
    "seconds": lambda entry: entry.seconds,
    "created": lambda entry: entry.created,
    "host": lambda entry: entry.host,
}


def _columns(entries: list[Entry]) -> dict[str, list[Any]]:
    """Facts and params by column, all of one length."""
    columns: dict[str, list[Any]] = {name: [fact(entry) for entry in entries] for name, fact in _FACTS.items()}
    for number, entry in enumerate(entries):
        for path, tree in leaves_of(entry.params_tree):
            name = f"params.{path}" if path in _FACTS else path
            columns.setdefault(name, [None] * len(entries))[number] = _cell(value_of(tree))
    return columns


def _cell(value: Any) -> Any:
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) and not encodable(value) else value
