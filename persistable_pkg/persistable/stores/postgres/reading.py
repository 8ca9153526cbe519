"""The reading half of `PostgresStore`: everything that changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from persistable.errors import need
from persistable.params.secret import Secret
from persistable.stores.base import Stat, check_paths
from persistable.stores.changes import Changes
from persistable.stores.database import DatabaseStore, Item, SomeBody
from persistable.stores.postgres.address import address_of
from persistable.stores.postgres.layout import CHUNK, PRUNED, Layout

if TYPE_CHECKING:
    from persistable.stores.postgres.connections import Connection


class TableReader(DatabaseStore[SomeBody]):
    """A table as a store that is read. It takes what `PostgresStore` does."""

    chunk = CHUNK
    not_pickled = ("_link", "_layout", "_do")

    def __init__(
        self, url: str, *, schema: str | None = None, table: str | None = None, password: str | Secret | None = None, timeout: float = 20.0
    ) -> None:
        address = address_of(url, schema, table)
        self._url = address.url
        self._settings = address.settings
        self._secrets: dict[str, str | Secret] = {**address.secrets, **({"password": password} if password is not None else {})}
        self._schema, self._table = address.schema, address.table
        self.timeout = timeout
        self._reset()

    @property
    def url(self) -> str:
        return self._url

    def _reset(self) -> None:
        need("psycopg", "psycopg", "postgres", self._url)
        from persistable.stores.postgres.connections import Connections

        self._layout = Layout(self._schema, self._table)
        self._link = link = Connections(self._settings, self._secrets, self._url, self._layout, self.timeout)
        self._do = link.do

    def _items(self, paths: Iterable[str]) -> dict[str, Item]:
        wanted = check_paths(dict.fromkeys(paths))

        def look(connection: Connection) -> dict[str, Item]:
            return {path: Item(*row) for path, *row in connection.execute(self._layout.get, (wanted,), binary=True)}

        return (self._do(look, wanted[0]) or {}) if wanted else {}

    def _chunks(self, path: str, body: Any, start: int, stop: int) -> Sequence[bytes]:
        def look(connection: Connection) -> Sequence[bytes]:
            return [data for (data,) in connection.execute(self._layout.chunks, (body, start, stop), binary=True)]

        return self._do(look, path) or ()

    def stat_many(self, paths: Iterable[str]) -> dict[str, Stat]:
        wanted = check_paths(dict.fromkeys(paths))

        def look(connection: Connection) -> dict[str, Stat]:
            return {path: Stat(size, stamp) for path, size, stamp in connection.execute(self._layout.stat, (wanted,), binary=True)}

        return (self._do(look, wanted[0]) or {}) if wanted else {}

    def _page(self, first: str, last: str, most: int) -> Sequence[tuple[str, Stat]]:
        def look(connection: Connection) -> Sequence[tuple[str, Stat]]:
            rows = connection.execute(self._layout.page, (first, last, most), binary=True)
            return [(path, Stat(size, stamp)) for path, size, stamp in rows]

        return self._do(look, "") or ()

    def record_changes(self, tokens: Collection[str | None]) -> Changes | None:
        """The changes since the earliest of `tokens`; all that there is where they are of another server, too old, or of none."""
        from psycopg.errors import InsufficientPrivilege

        def look(connection: Connection) -> Changes | None:
            try:
                found = connection.execute(self._layout.horizon).fetchone()
            except InsufficientPrivilege:  # of a server that lets nobody ask who it is
                return None
            if found is None:
                return None
            server, horizon = found
            parts = [(token or "").rpartition(":") for token in tokens]
            known = bool(parts) and all(each == server for each, _, _ in parts)
            since = str(min(int(number) for _, _, number in parts)) if known else "0"
            gone: set[str] = {path for (path,) in connection.execute(self._layout.gone, (since,))} if known else {PRUNED}
            if PRUNED in gone:
                known, since, gone = False, "0", set[str]()
            there = [(path, Stat(size, stamp)) for path, size, stamp in connection.execute(self._layout.changed, (since,), binary=True)]
            return Changes(f"{server}:{horizon}", not known, there, list(gone.difference(path for path, _ in there)))

        return self._do(look, "")
