"""Rows of a PostgreSQL table as inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from persistable.errors import StoreError
from persistable.families.sources.inputs import Values
from persistable.families.sources.rows import Table, names_of, plain
from persistable.params.secret import Secret
from persistable.stores.postgres.address import address_of
from persistable.stores.postgres.layout import literal, quoted

if TYPE_CHECKING:
    from persistable.stores.postgres.connections import Connection, Connections

_STAMP = "ARRAY[tableoid::text, xmin::text, ctid::text]"
"""An expression for the version of a row, which every update changes."""

_FORMS = "-c DateStyle=ISO -c IntervalStyle=postgres -c TimeZone=UTC"
"""Settings of a session under which values have the same text form, independent of server and client."""


class PostgresTable(Table):
    """A table or view, named by ``?table=``.

    key: the column, or columns, that identify a row. columns: those of the payload, a dict by column; one name: its value. Default: all but
    the key. stamp: a column that changes with each change of a row; by default the server's version of the row, which views lack. password,
    timeout: as for `PostgresStore`.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | Sequence[str],
        columns: str | Sequence[str] | None = None,
        stamp: str | None = None,
        schema: str | None = None,
        table: str | None = None,
        password: str | Secret | None = None,
        timeout: float = 20.0,
    ) -> None:
        address = address_of(url, schema, table)
        if address.named is None:
            raise StoreError(f"{address.url} names no table; write it behind the database, ?table=spectra", url=address.url, path="")
        self.url = address.url
        self.key = names_of(key) or ()
        self.columns = columns
        self._columns = names_of(columns)
        self._is_one = isinstance(columns, str)
        self._stamp = stamp
        self._place = f"{quoted(address.schema)}.{quoted(address.table)}" if address.schema is not None else quoted(address.table)
        self._settings = {**address.settings, "options": f"{address.settings.get('options', '')} {_FORMS}".strip()}
        self._secrets: dict[str, str | Secret] = {**address.secrets, **({"password": password} if password is not None else {})}
        self._timeout = timeout
        self._held: Connections | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": None}

    def _connections(self) -> Connections:
        from persistable.stores.postgres.connections import Connections

        if self._held is None:
            self._held = Connections(self._settings, self._secrets, self.url, None, self._timeout)
        return self._held

    def stamps(self) -> Iterator[tuple[Values, Any]]:
        key = self._names(self.key)

        def look(connection: Connection) -> list[tuple[Values, Any]]:
            query = f"SELECT {self._stamped(connection)}, {key} FROM {self._place} ORDER BY {key}"
            return [(tuple(map(plain, values)), _hashable(stamp)) for stamp, *values in connection.execute(query.encode())]

        yield from self._connections().do(look, "") or ()

    def rows(self, wanted: Sequence[Values]) -> Iterator[tuple[Values, Any, Any]]:
        count = len(self.key)
        places = ", ".join([f"({', '.join(['%s'] * count)})"] * len(wanted))

        def look(connection: Connection) -> list[tuple[Values, Any, Any]]:
            columns = self._columns or self._others(connection)
            what = f"{self._stamped(connection)}, {self._names((*self.key, *columns))} FROM {self._place} WHERE ({self._names(self.key)})"
            values = [each for key in wanted for each in key]
            found = connection.execute(f"SELECT {what.replace('%', '%%')} IN ({places})".encode(), values)
            return [(*_split(row, count), self._payload(columns, row[1 + count :])) for row in found]

        yield from self._connections().do(look, "") or ()

    def _payload(self, columns: Sequence[str], row: Sequence[Any]) -> Any:
        values = [plain(value) for value in row]
        return values[0] if self._is_one else dict(zip(columns, values, strict=True))

    def _stamped(self, connection: Connection) -> str:
        """An expression for the stamp of a row."""
        if self._stamp is not None:
            return quoted(self._stamp)
        kind = connection.execute(f"SELECT relkind::text FROM pg_class WHERE oid = to_regclass({literal(self._place)})".encode()).fetchone()
        return _STAMP if kind is not None and kind[0] in "rpm" else "NULL"

    def _others(self, connection: Connection) -> tuple[str, ...]:
        """The columns of the table, except those of the key."""
        query = f"SELECT attname FROM pg_attribute WHERE attrelid = to_regclass({literal(self._place)}) AND attnum > 0 AND NOT attisdropped"
        return tuple(name for (name,) in connection.execute(f"{query} ORDER BY attname".encode()) if name not in self.key)

    @staticmethod
    def _names(columns: Sequence[str]) -> str:
        return ", ".join(map(quoted, columns))


def _split(row: Sequence[Any], count: int) -> tuple[Values, Any]:
    return tuple(map(plain, row[1 : 1 + count])), _hashable(row[0])


def _hashable(stamp: Any) -> Any:
    return tuple(cast("Sequence[Any]", stamp)) if isinstance(stamp, list) else stamp
