"""The savings by stored payloads: by name, the seconds that generation took and the bytes that they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistable.catalog.item_sequence import ItemSequence
from persistable.catalog.query import Condition, first_layer_only
from persistable.errors import need
from persistable.records.units import duration_in_words, size_in_words

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Saving:
    """All payloads of one name: their number, the seconds that generation took, and their bytes."""

    name: str
    """The name of the payloads."""
    count: int
    """Their number."""
    seconds: float
    """The seconds that generation of all of them took."""
    size: int
    """The bytes of all of them."""

    @property
    def seconds_per_byte(self) -> float:
        """Seconds of generation that each stored byte saves; infinite for payloads of no bytes."""
        return self.seconds / self.size if self.size else float("inf")


class Savings(ItemSequence[Saving]):
    """The bytes stored and the seconds that generation took, by name; most seconds first."""

    @property
    def seconds(self) -> float:
        """Seconds of generation of all payloads."""
        return sum(row.seconds for row in self)

    @property
    def size(self) -> int:
        """Bytes of all payloads."""
        return sum(row.size for row in self)

    def to_frame(self, backend: str = "pandas") -> Any:
        """A pandas or polars frame: name, count, seconds, size, seconds_per_byte."""
        if backend not in ("pandas", "polars"):
            raise ValueError(f"backend={backend!r}: pandas or polars")
        columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in self] for name in _COLUMNS}
        library: Any = need(backend, backend, backend, "to_frame()")
        return library.DataFrame(columns)

    def __repr__(self) -> str:
        head = f"<{size_in_words(self.size)} kept, which took {duration_in_words(self.seconds)} to make>"
        return "\n".join([head, *("  " + "  ".join(cells) for cells in self._cells())])

    def _cells(self) -> list[list[str]]:
        return [[row.name, str(row.count), duration_in_words(row.seconds), size_in_words(row.size), _per_megabyte(row)] for row in self]

    def _repr_html_(self) -> str:
        from persistable.graph.notebook import listing, number

        rows = [(name, *map(number, cells)) for name, *cells in self._cells()]
        return listing(["name", "payloads", "took", "size", "per MB"], rows)


_COLUMNS = ("name", "count", "seconds", "size", "seconds_per_byte")


def _per_megabyte(row: Saving) -> str:
    return f"{duration_in_words(row.seconds_per_byte * 1e6)} per MB" if row.size else ""


def savings(catalog: Catalog) -> Savings:
    """The savings of the store of `catalog`."""
    index = catalog.current()
    where = first_layer_only(Condition("r.status = 'done'"), catalog.is_layered)
    query = (
        "SELECT r.name, count(*), coalesce(sum(r.seconds), 0), coalesce(sum(r.size), 0) FROM records r "
        f"WHERE {where.sql} GROUP BY r.name ORDER BY 3 DESC, 1"
    )
    return Savings([Saving(*row) for row in index.rows(query, where.values)])
