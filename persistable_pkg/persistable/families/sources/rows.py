"""Rows of a table, or documents of a collection, as inputs, each identified by its content."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, ClassVar, cast

from blake3 import blake3

from persistable.errors import InvalidName
from persistable.families.sources import content as contents
from persistable.families.sources.inputs import Values, changed, vanished
from persistable.fileio.base import FileIO
from persistable.params.encoding import encode
from persistable.params.masking import masked

_AT_ONCE = 1000
_TABLES = {
    "postgres": "persistable.families.sources.postgres:PostgresTable",
    "postgresql": "persistable.families.sources.postgres:PostgresTable",
    "mongodb": "persistable.families.sources.mongo:MongoDocuments",
    "mongodb+srv": "persistable.families.sources.mongo:MongoDocuments",
    "oci": "persistable.families.sources.oci:RegistryTags",
}
"""The `Table` class by URL scheme, created with the URL and the options of the `Source`."""


class Table(ABC):
    """A table of rows. Picklable. url: for people, without secrets. key: the columns that identify a row. columns: those of the payload."""

    url: str
    key: tuple[str, ...]
    columns: str | Sequence[str] | None
    has_key: ClassVar[bool] = False
    """True if the table has a fixed key, which need not be named."""

    @abstractmethod
    def stamps(self) -> Iterator[tuple[Values, Any]]:
        """The key of every row, in order, and a stamp that changes with the row; None without a stamp."""

    @abstractmethod
    def rows(self, wanted: Sequence[Values]) -> Iterator[tuple[Values, Any, Any]]:
        """Key, stamp and content of those that exist. A content is plain values: a dict by column, or the value of one column."""


class Rows:
    """The rows of a table. has_format: each is one value, of bytes or text, that a format reads."""

    at_once = 1

    def __init__(self, table: Table) -> None:
        self._table = table
        self._identity = f"{table.url} {table.key!r} {table.columns!r}"
        self.has_format = False

    @property
    def fields(self) -> tuple[str, ...]:
        return self._table.key

    def stamps(self) -> Mapping[Values, Any]:
        found: dict[Values, Any] = {}
        for values, stamp in self._table.stamps():
            if values in found or None in values:
                why = "is that of several rows" if values in found else "has no value"
                raise InvalidName(
                    f"the key {self._named(values)} of {self._table.url} {why}; name columns by key= that tell rows apart", name=""
                )
            found[values] = stamp
        return found

    def contents(self, stamps: Mapping[Values, Any]) -> Mapping[Values, str]:
        """The tokens of several contents, in few queries. Rows that no longer exist are left out."""
        found: dict[Values, str] = {}
        unknown: list[Values] = []
        for values, stamp in stamps.items():
            token = contents.known(self._identity, repr(values), stamp)
            if token is None:
                unknown.append(values)
            else:
                found[values] = token
        for first in range(0, len(unknown), _AT_ONCE):
            for values, stamp, row in self._table.rows(unknown[first : first + _AT_ONCE]):
                found[values] = self._token(values, row)
                contents.remember(self._identity, repr(values), stamp, found[values])
        return found

    def is_sure(self, values: Values, stamp: Any) -> bool:
        """Tell whether `content` returned the token of the content at the time of the listing, not of one put there since."""
        return contents.known(self._identity, repr(values), stamp) is not None

    def content(self, values: Values, stamp: Any) -> str:
        found = self.contents({values: stamp}).get(values)
        if found is None:
            raise vanished(self.shown(values))
        return found

    def _token(self, values: Values, row: Any) -> str:
        return blake3(encode(row, self.shown(values))).hexdigest()

    def load(self, values: Values, content: str, io: FileIO[Any]) -> Any:
        found = next(self._table.rows([values]), None)
        if found is None:
            raise vanished(self.shown(values))
        row = found[2]
        if self._token(values, row) != content:
            raise changed(self.shown(values))
        if not self.has_format:
            return row
        data = row.encode() if isinstance(row, str) else row
        if not isinstance(data, bytes):
            raise TypeError(f"io of Source reads bytes or text, and {self.shown(values)} is of type {type(row).__name__}; name one column")
        return io.loads(data)

    def _named(self, values: Values) -> str:
        return ", ".join(f"{field}={value!r:.60}" for field, value in zip(self.fields, values, strict=True))

    def shown(self, values: Values) -> str:
        return f"{self._table.url} ({self._named(values)})"

    def only(self, values: Values) -> Rows:
        return self


def rows_at(url: str, scheme: str, options: dict[str, Any]) -> Rows | None:
    """The rows of the table that a URL without fields names; None where no table is known for its scheme."""
    where = _TABLES.get(scheme)
    if where is None:
        return None
    module, _, name = where.partition(":")
    made = getattr(import_module(module), name)
    if not made.has_key and "key" not in options:
        raise TypeError(
            f"{masked(url)} is a table: say which column tells its rows apart, Source(url, key={'id'!r}), or write a path with fields"
        )
    from persistable.stores.options import check_options

    check_options(masked(url), made, options, of_store=False)
    return Rows(made(url, **options))


def names_of(given: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """The columns that an option names."""
    return None if given is None else (given,) if isinstance(given, str) else tuple(given)


def plain(value: Any) -> Any:
    """A value in the same form on every machine: times with a zone in UTC, views as bytes."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, memoryview):
        return value.tobytes()
    if isinstance(value, list):
        return [plain(each) for each in cast("Sequence[Any]", value)]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in cast("dict[str, Any]", value).items()}
    return value
