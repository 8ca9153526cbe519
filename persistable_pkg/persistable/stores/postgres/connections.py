"""The connections of one process to a PostgreSQL server, with a check for the tables of a store there."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar, cast

import psycopg
from psycopg import pq

from persistable.errors import StoreError, StoreReadOnly
from persistable.params.secret import Secret, revealed
from persistable.stores.database import DatabaseConnector, Server
from persistable.stores.postgres.errors import explained, is_passing
from persistable.stores.postgres.layout import OLDEST, VERSION, Layout

_T = TypeVar("_T")
Connection = psycopg.Connection[tuple[Any, ...]]
_MOST = 8
"""Connections of a process to one database, at most: a server has a hundred for all."""
_IDLE = 4
_DEFAULTS = {"connect_timeout": "10", "tcp_user_timeout": "30000", "keepalives_idle": "30"}
"""Settings of libpq, unless the URL, a service or the environment has others: no call may block forever if a host is gone."""


class Pool(Server):
    """The connections to one database, each used by one thread at a time."""

    name = "postgres"

    def __init__(self, settings: Mapping[str, str]) -> None:
        super().__init__()
        self._settings = settings
        self._idle: list[Connection] = []
        self._gate = threading.BoundedSemaphore(_MOST)
        self.tables: set[str] = set()
        """Names of the tables that are known to exist."""

    @contextmanager
    def connection(self) -> Generator[Connection]:
        """Lend a connection to the block; it is closed if it is in a transaction or busy at the end."""
        with self._gate:
            held = self._take()
            try:
                yield held
            finally:
                if not held.closed and held.info.transaction_status is pq.TransactionStatus.IDLE and len(self._idle) < _IDLE:
                    self._idle.append(held)
                else:
                    held.close()

    def _take(self) -> Connection:
        while self._idle:
            with suppress(IndexError):
                held = self._idle.pop()
                if not held.closed:
                    return held
        made = psycopg.connect(**self._settings, autocommit=True)  # type: ignore[arg-type]
        self.reached = True
        return made

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()


class Connections(DatabaseConnector[Pool]):
    """The link to a database, with retries. layout: that of a store's table, if it is for one."""

    trouble = psycopg.Error

    def __init__(
        self, settings: Mapping[str, str], secrets: Mapping[str, str | Secret], url: str, layout: Layout | None, timeout: float
    ) -> None:
        super().__init__(url, timeout)
        self._settings = settings
        self._secrets = secrets
        self._layout = layout

    def _connect(self) -> tuple[object, Callable[[], Pool]]:
        environment = {name: value for name, value in os.environ.items() if name.startswith("PG")}
        serviced = "service" in self._settings or "PGSERVICE" in environment
        defaults = {name: value for name, value in _DEFAULTS.items() if not serviced and f"PG{name.upper()}" not in environment}
        settings = {**defaults, **self._settings, **{name: revealed(value) for name, value in self._secrets.items()}}
        return (frozenset(settings.items()), frozenset(environment.items())), partial(Pool, settings)

    def do(self, work: Callable[[Connection], _T], path: str, *, make: bool = False) -> _T | None:
        """Do `work` on a connection, again where the server became unreachable; None where there is no table to read.

        make: `work` writes, so tables are made where there are none. `work` has to make sure that a repetition has no further effect.
        """

        def act(pool: Pool) -> _T | None:
            with pool.connection() as connection:
                layout = self._layout
                if layout is not None and layout.items not in pool.tables and not self._find(connection, pool, layout, make):
                    return None
                return work(connection)

        return self.call_with_retries(act, path, make)

    def _at_once(self, server: Pool, error: Exception) -> bool:
        layout = self._layout
        if not isinstance(error, psycopg.errors.UndefinedTable) or layout is None or layout.items not in server.tables:
            return False
        server.tables.discard(layout.items)  # dropped since: look for it again
        return True

    def _passes(self, error: Exception) -> bool:
        return is_passing(cast("psycopg.Error", error))

    def _explained(self, error: Exception, path: str, writing: bool) -> StoreError:
        return explained(cast("psycopg.Error", error), self._url, path, writing)

    def _before_pause(self, server: Pool) -> None:
        server.close()  # idle connections are broken as well

    def _find(self, connection: Connection, pool: Pool, layout: Layout, make: bool) -> bool:
        """Look for the tables, and make missing ones if `make`; True if they exist."""
        found = connection.execute(layout.look).fetchone()
        if found is None and make:
            with connection.transaction():
                # two processes that make them at once would fail; with the lock, the second one finds them
                connection.execute(b"SELECT pg_advisory_xact_lock(hashtext('persistable'), hashtext(%s))", (layout.items,))
                if connection.execute(layout.look).fetchone() is None:
                    self._check_version(connection)
                    connection.execute(layout.make)
            found = connection.execute(layout.look).fetchone()
        if found is None:
            return False
        if found[0] != VERSION:
            raise StoreError(
                f"{self._url}: the table {layout.table} there is not one of a store of this version ({found[0] or 'no comment'}); "
                "name another by ?table=",
                url=self._url,
                path="",
            )
        pool.tables.add(layout.items)
        return True

    def _check_version(self, connection: Connection) -> None:
        if connection.info.server_version < OLDEST:
            version = connection.info.server_version // 10000
            message = f"{self._url}: the server is PostgreSQL {version}, a store needs {OLDEST // 10000} or later"
            raise StoreReadOnly(message, url=self._url, path="")
