"""Bytes at paths in a table of a PostgreSQL database.

Each call is one statement, or one transaction, so that it is done whole or not at all. A large item is sent in rows of some megabytes
before the row of its path, which names them, so that no transaction stays open while a payload is written, and a restart of the server
in between costs only a retry. A retry has no further effect: each row has a random stamp, which shows whether an earlier try wrote it.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from persistable.errors import StoreError, StoreUnavailable, need
from persistable.params.secret import Secret
from persistable.stores.base import Bytes, Stat, byte_view, check_path, check_paths
from persistable.stores.changes import Changes
from persistable.stores.chunked import ChunkedUpload, random_number
from persistable.stores.database import LAST, DatabaseStore, Item, portions
from persistable.stores.postgres.address import address_of
from persistable.stores.postgres.errors import too_long
from persistable.stores.postgres.layout import CHUNK, LONGEST, PRUNED, Layout

if TYPE_CHECKING:
    from persistable.stores.postgres.connections import Connection

KEPT = 100_000
"""Deleted records that are remembered, about: a reader whose token is older lists all records."""
PRUNED_EVERY = 10_000
"""Deletions between two prunings, on average."""
_Statement = tuple[bytes, tuple[Any, ...]]


class PostgresStore(DatabaseStore["Body"]):
    """A table of a PostgreSQL database (13 or later), and two beside it named after it. They are made at the first write.

    The URL is that of libpq: ``postgresql://user@host:port/database``, with ``?table=`` (persistable) and ``?schema=`` (that of the search
    path), and settings such as ``sslmode=require``, ``service=`` or several hosts.

    The password is found where libpq looks: ``$PGPASSWORD``, ``~/.pgpass``, a service file. ``password=`` takes a `Secret`, or a text,
    which is pickled with the store, as is one in the URL: give it so only if other processes may get it. `url` never has it.

    ``timeout``: seconds to wait for a server that was reached before and is no longer reachable.
    """

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

    def _rows(self, query: bytes, path: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        """The rows of a query; none where there is no table."""
        return self._do(lambda connection: connection.execute(query, values, binary=True).fetchall(), path) or ()

    def _items(self, paths: Iterable[str]) -> dict[str, Item]:
        wanted = check_paths(dict.fromkeys(paths))
        return {path: Item(*row) for path, *row in self._rows(self._layout.get, wanted[0], wanted)} if wanted else {}

    def _chunks(self, path: str, body: Any, start: int, stop: int) -> Sequence[bytes]:
        return [data for (data,) in self._rows(self._layout.chunks, path, body, start, stop)]

    def stat_many(self, paths: Iterable[str]) -> dict[str, Stat]:
        wanted = check_paths(dict.fromkeys(paths))
        return {path: Stat(*row) for path, *row in self._rows(self._layout.stat, wanted[0], wanted)} if wanted else {}

    def _page(self, first: str, last: str, most: int) -> Sequence[tuple[str, Stat]]:
        return [(path, Stat(*row)) for path, *row in self._rows(self._layout.page, "", first, last, most)]

    def record_changes(self, tokens: Collection[str | None]) -> Changes | None:
        """The changes since the earliest of `tokens`; all records where one is None, too old, or of another server or table."""
        from psycopg.errors import InsufficientPrivilege

        def look(connection: Connection) -> Changes | None:
            try:
                found = connection.execute(self._layout.horizon).fetchone()
            except InsufficientPrivilege:  # a server may refuse to identify itself
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

    # --- writing

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        self.change_many(items)

    def change_many(self, *stages: Mapping[str, Bytes], delete: Iterable[str] = ()) -> None:
        """Make all changes in one transaction: all of them, or none."""
        gone = check_paths(delete)
        items: dict[str, Bytes] = {}
        for stage in stages:
            items.update(stage)
        small, large = self._split(items)
        stamp = random_number()
        bodies: dict[str, Body] = {}
        try:
            for path, data in large.items():
                bodies[path] = self._sent(path, data)
            statements: list[_Statement] = [(self._layout.put_many, (stamp, *some)) for some in _columns(small)]
            statements += [(self._layout.put_large, body.row(stamp)) for body in bodies.values()]
            if gone:
                statements.append((self._layout.delete, (gone,)))
            if statements:
                counts = self._all(statements, next(iter(items), gone[0] if gone else ""), make=bool(items))
                self._check_whole(list(bodies), counts[len(statements) - len(bodies) - bool(gone) :])
                self._prune(counts[-1] if gone else 0)
        except BaseException as error:
            self._drop(bodies.values(), error)
            raise

    def _all(self, statements: Sequence[_Statement], path: str, make: bool) -> Sequence[int]:
        """Execute the statements in one transaction; the number of rows of each."""

        def work(connection: Connection) -> Sequence[int]:
            if len(statements) == 1:
                return [connection.execute(*statements[0]).rowcount]
            with connection.pipeline(), connection.transaction():
                done = [connection.execute(*each) for each in statements]
            return [cursor.rowcount for cursor in done]

        return self._do(work, path, make=make) or [0] * len(statements)

    def _split(self, items: Mapping[str, Bytes]) -> tuple[dict[str, Bytes], dict[str, memoryview]]:
        """Split items into those whose bytes are in their row, and those that are too large for that."""
        small: dict[str, Bytes] = {}
        large: dict[str, memoryview] = {}
        self._check_paths(items)
        for path, data in items.items():
            view = byte_view(data)
            if view.nbytes > CHUNK:
                large[path] = view
            else:
                small[path] = data if isinstance(data, bytes) else bytes(view)
        return small, large

    def _check_paths(self, paths: Iterable[str]) -> Sequence[str]:
        found = check_paths(paths)
        for path in found:
            if len(path) > LONGEST // 4 and len(path.encode()) > LONGEST:
                raise too_long(self._url, path, LONGEST)
        return found

    def _sent(self, path: str, data: memoryview) -> Body:
        body = Body(self, path)
        try:
            body.write(data)
            body.flush_all()
        except BaseException:
            self._drop([body])
            raise
        body.is_committing = True
        return body

    def _prune(self, deleted: int) -> None:
        """Forget the oldest deletions, at random times; `deleted`: those of this call. After an error, a later call does it."""
        if random.random() * PRUNED_EVERY < deleted:
            with suppress(StoreError):
                self._do(partial(_execute, self._layout.prune, (KEPT,)), "")

    def _check_whole(self, paths: Iterable[str], counts: Sequence[int]) -> None:
        for path, count in zip(paths, counts, strict=False):
            if count != 1:
                message = f"{self._url} ({path}): the server has lost a part of it meanwhile; write it again"
                raise StoreUnavailable(message, url=self._url, path=path)

    def create_many(self, items: Mapping[str, Bytes]) -> set[str]:
        return self._create(items, alone=False)[0]

    def create_fresh(self, items: Mapping[str, Bytes]) -> tuple[set[str], set[str]]:
        return self._create(items, alone=True)

    def _create(self, items: Mapping[str, Bytes], alone: bool) -> tuple[set[str], set[str]]:
        """Create items; the created paths, and, if `alone`, those of them with no other path of the same base."""
        small, large = self._split(items)
        if not items:
            return set(), set()
        stamp, created = random_number(), set[str]()
        bodies = [self._sent(path, data) for path, data in large.items()]
        statements: list[_Statement] = [(self._layout.create_many, (stamp, *some)) for some in _columns(small)]
        statements += [(self._layout.create_large, body.row(stamp)) for body in bodies]
        tries = 0

        def work(connection: Connection) -> tuple[set[str], set[str]]:
            nonlocal tries
            tries += 1
            if tries > 1:  # the previous try may have succeeded, and its answer been lost
                created.update(path for (path,) in connection.execute(self._layout.mine, (list(items), stamp)))
            for query, values in statements:
                created.update(path for (path,) in connection.execute(query, values))
            if not alone or not created:
                return created, set()
            bases = {path: path[:end] for path in created if (end := path.find(".", path.rfind("/") + 1)) > 0}
            # a separate statement, so that it sees all paths that were there after these had been created
            return created, {path for (path,) in connection.execute(self._layout.alone, (list(bases), list(bases.values())))}

        try:
            done = self._do(work, next(iter(items)), make=True) or (set(), set())
        except BaseException as error:
            self._drop(bodies, error)
            raise
        self._drop([body for body in bodies if body.place not in created], StoreError("", url="", path=""))
        return done

    def upload(self, path: str) -> Body:
        return Body(self, path)

    def commit(self, body: Body) -> None:
        body.is_committing = True
        self._check_whole([body.place], self._all([(self._layout.put_large, body.row(random_number()))], body.place, make=True))

    def send(self, body: int, number: int, path: str, data: bytes | memoryview) -> None:
        """Write one row of a large item."""

        def work(connection: Connection) -> None:
            connection.execute(self._layout.add_chunk, (body, number, path if number == 0 else None, data))

        self._do(work, path, make=True)

    def start(self, body: int, number: int, path: str, data: bytes) -> Future[None]:
        """Run `send` in the background."""
        return self.threads().submit(self.send, body, number, path, data)

    def _drop(self, bodies: Iterable[Body], error: BaseException | None = None) -> None:
        """Remove rows of aborted uploads. Where that fails, or an upload may be committed after all, `clear_temporary` does so later."""
        is_definite = isinstance(error, StoreError) and not isinstance(error, StoreUnavailable)
        for body in bodies:
            if body.count and (is_definite or not body.is_committing):
                with suppress(StoreError):
                    body.settle()
                    self._do(partial(_execute, self._layout.drop_chunks, (body.number,)), body.place)

    def abort(self, body: Body, error: BaseException) -> None:
        self._drop([body], error)

    def delete(self, path: str) -> bool:
        check_path(path)
        count = self._do(partial(_execute, self._layout.delete, ([path],)), path) or 0
        self._prune(count)
        return bool(count)

    def clear_temporary(self, path: str) -> None:
        self._do(partial(_execute, self._layout.clear, (check_path(path), path + LAST)), path)


class Body(ChunkedUpload):
    """An upload of an item, in rows of the same number."""

    def __init__(self, store: PostgresStore, path: str) -> None:
        self.number = random_number()
        super().__init__(path, CHUNK, lambda count, data: store.start(self.number, count, path, data))

    def row(self, stamp: int) -> tuple[Any, ...]:
        """The values for the statements that put or create the row of its path."""
        return self.place, self.size, stamp, self.number, self.number, self.count


def _execute(query: bytes, values: tuple[Any, ...], connection: Connection) -> int:
    return connection.execute(query, values).rowcount


def _columns(items: Mapping[str, Bytes]) -> Iterable[tuple[list[str], list[Bytes]]]:
    """Paths and bytes, in batches for one statement each."""
    for some in portions(items.items(), lambda item: len(item[0]) + len(item[1])):
        yield [path for path, _ in some], [data for _, data in some]
