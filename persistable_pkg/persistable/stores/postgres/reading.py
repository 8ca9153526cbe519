"""The reading half of `PostgresStore`: everything that changes nothing."""

from __future__ import annotations

import errno
import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from persistable.errors import StoreError
from persistable.params.secret import Secret
from persistable.stores.base import HIDDEN, BaseStore, Stat, check_paths, check_prefix
from persistable.stores.changes import Changes
from persistable.stores.chunked import BlockReader
from persistable.stores.postgres.address import address_of, driver
from persistable.stores.postgres.layout import CHUNK, Layout

if TYPE_CHECKING:
    from persistable.stores.postgres.connections import Connection

_PAGE = 10_000
_LAST = "\U0010ffff" * 64  # after every name


class TableReader(BaseStore):
    """A table as a store that is read. It takes what `PostgresStore` does."""

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

    def __getstate__(self) -> dict[str, Any]:
        held = {name: value for name, value in self.__dict__.items() if name not in ("_connections", "_layout", "_do")}
        return {**held, "was_reached": self._connections.reached}

    def __setstate__(self, state: dict[str, Any]) -> None:
        was_reached = state.pop("was_reached", False)
        self.__dict__.update(state)
        self._reset()
        self._connections.was_reached = was_reached

    def _reset(self) -> None:
        driver(self._url)
        from persistable.stores.postgres.connections import Connections

        self._layout = Layout(self._schema, self._table)
        self._connections = Connections(self._settings, self._secrets, self._url, self._layout, self.timeout)
        self._do = self._connections.do

    def close(self) -> None:
        self._connections.close()

    def get(self, path: str) -> bytes:
        found = self.get_many([path])
        if path not in found:
            raise self._absent(path)
        return found[path]

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for path, (size, data, body) in self._rows(paths).items():
            try:
                found[path] = data if body is None else b"".join(self._chunks(path, body, 0, size))
            except StoreError as error:
                if not isinstance(error, _Replaced):
                    raise
                with suppress(FileNotFoundError):
                    found[path] = self.get(path)  # put anew since it was looked up
        return found

    def _rows(self, paths: Iterable[str]) -> dict[str, tuple[int, bytes, int | None]]:
        """Size, bytes and number of the rows with its bytes, of each path that is there."""
        wanted = check_paths(dict.fromkeys(paths))

        def look(connection: Connection) -> dict[str, tuple[int, bytes, int | None]]:
            return {path: row for path, *row in connection.execute(self._layout.get, (wanted,), binary=True)}  # type: ignore[misc]

        return (self._do(look, wanted[0]) or {}) if wanted else {}

    def _chunks(self, path: str, body: int, first: int, last: int) -> Sequence[bytes]:
        """The bytes of a large item from one place up to another."""
        start = first // CHUNK
        stop = -(-last // CHUNK)

        def look(connection: Connection) -> Sequence[bytes]:
            return [data for (data,) in connection.execute(self._layout.chunks, (body, start, stop), binary=True)]

        found = self._do(look, path) or ()
        if len(found) != stop - start:
            message = f"{self._url} ({path}) was replaced or deleted while it was being read; read it again"
            raise _Replaced(message, url=self._url, path=path)
        whole = list(found)
        whole[-1] = whole[-1][: last - (stop - 1) * CHUNK]
        whole[0] = whole[0][first - start * CHUNK :]
        return whole

    def _part(self, path: str, body: int, first: int, last: int) -> bytes:
        return b"".join(self._chunks(path, body, first, last))

    def read(self, path: str) -> BinaryIO:
        row = self._rows([path]).get(path)
        if row is None:
            raise self._absent(path)
        size, data, body = row
        if body is None:
            return io.BytesIO(data)

        def start(first: int, stop: int) -> Future[bytes]:
            return self._connections.pool.threads().submit(self._part, path, body, first, stop)

        return io.BufferedReader(BlockReader(size, start), 1 << 18)

    def read_range(self, path: str, first: int, last: int) -> bytes:
        row = self._rows([path]).get(path)
        if row is None:
            raise self._absent(path)
        size, data, body = row
        last = min(last, size)
        if last <= first:
            return b""
        return data[first:last] if body is None else self._part(path, body, first, last)

    def _absent(self, path: str) -> FileNotFoundError:
        return FileNotFoundError(errno.ENOENT, "nothing is stored here", f"{self._url} ({path})")

    def stat(self, path: str) -> Stat | None:
        return self.stat_many([path]).get(path)

    def stat_many(self, paths: Iterable[str]) -> dict[str, Stat]:
        wanted = check_paths(dict.fromkeys(paths))

        def look(connection: Connection) -> dict[str, Stat]:
            return {path: Stat(size, stamp) for path, size, stamp in connection.execute(self._layout.stat, (wanted,), binary=True)}

        return (self._do(look, wanted[0]) or {}) if wanted else {}

    def record_changes(self, tokens: Collection[str | None]) -> Changes | None:
        """The changes since the earliest of `tokens`; all that there is where they are of another server, or of none."""
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
            there = [(path, Stat(size, stamp)) for path, size, stamp in connection.execute(self._layout.changed, (since,), binary=True)]
            now = {path for path, _ in there}
            gone = [path for (path,) in connection.execute(self._layout.gone, (since,)) if path not in now] if known else []
            return Changes(f"{server}:{horizon}", not known, there, gone)

        return self._do(look, "")

    def list(self, prefix: str = "") -> Iterator[str]:
        return (path for path, _ in self.scan(prefix))

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        return self._scanned(check_prefix(prefix))

    def _scanned(self, prefix: str) -> Iterator[tuple[str, Stat]]:
        # "0" follows "/", so that a folder is all from one to the other; the hidden one is cut out of the whole
        for first, last in [(f"{prefix}/", f"{prefix}0")] if prefix else [("", f"{HIDDEN}/"), (f"{HIDDEN}/\U0010ffff", _LAST)]:
            page = self._page(first, last)
            yield from page
            while len(page) == _PAGE:  # by pages: no query stays open while the caller works
                page = self._page(page[-1][0], last)
                yield from page

    def _page(self, first: str, last: str) -> Sequence[tuple[str, Stat]]:
        def look(connection: Connection) -> Sequence[tuple[str, Stat]]:
            rows = connection.execute(self._layout.page, (first, last, _PAGE), binary=True)
            return [(path, Stat(size, stamp)) for path, size, stamp in rows]

        return self._do(look, "") or ()


class _Replaced(StoreError):
    """The rows of a large item are not there any more."""
