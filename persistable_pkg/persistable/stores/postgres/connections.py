"""The connections of one process to a PostgreSQL server: work done on them, again where the server went away meanwhile."""

from __future__ import annotations

import atexit
import os
import random
import threading
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg import pq

from persistable.errors import StoreError, StoreReadOnly
from persistable.params.secret import Secret, revealed
from persistable.stores.postgres.layout import OLDEST, VERSION, Layout
from persistable.stores.postgres.trouble import explained, is_passing, kind_of

_T = TypeVar("_T")
Connection = psycopg.Connection[tuple[Any, ...]]
_MOST = 8
"""Connections of a process to one database, at most: a server has a hundred for all."""
_IDLE = 4
_THREADS = 4
_DEFAULTS = {"connect_timeout": "10", "tcp_user_timeout": "30000", "keepalives_idle": "30"}
"""Settings of libpq, unless the URL, a service or the environment says otherwise: nobody waits for ever for a host that is gone."""
_LONGEST_PAUSE = 1.0

_pools: dict[object, Pool] = {}
_lock = threading.Lock()
# what a process was forked with: kept, because letting go of a connection says good-bye on the parent's socket
_inherited: list[object] = []


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _inherited.append(dict(_pools))
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _close_all() -> None:
    for pool in list(_pools.values()):
        pool.close()


class Pool:
    """The connections to one database, each used by one thread at a time."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = settings
        self._idle: list[Connection] = []
        self._gate = threading.BoundedSemaphore(_MOST)
        self._threads: ThreadPoolExecutor | None = None
        self.reached = False
        """Tell whether there was a connection before: one that is refused may then be due to a restart of the server."""
        self.tables: set[str] = set()
        """Those that are known to be there."""

    @contextmanager
    def connection(self) -> Generator[Connection]:
        """A connection for the block; one that is in the middle of something at its end is closed."""
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

    def threads(self) -> ThreadPoolExecutor:
        """Threads for what goes on while the caller works."""
        with _lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="persistable-postgres")
            return self._threads

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()


class Connections:
    """The way to a database. layout: that of a store's table there, if it is for one.

    timeout: seconds for which a server that went away is waited for.
    """

    def __init__(
        self, settings: Mapping[str, str], secrets: Mapping[str, str | Secret], url: str, layout: Layout | None, timeout: float
    ) -> None:
        self._settings = settings
        self._secrets = secrets
        self._url = url
        self._layout = layout
        self._timeout = timeout
        self._pool: tuple[int, Pool] | None = None
        self.was_reached = False

    @property
    def pool(self) -> Pool:
        """The connections of this process, shared by all stores with equal settings."""
        held = self._pool
        if held is None or held[0] != os.getpid():
            held = self._pool = (os.getpid(), self._shared())
            held[1].reached = held[1].reached or self.was_reached
        return held[1]

    def _shared(self) -> Pool:
        environment = {name: value for name, value in os.environ.items() if name.startswith("PG")}
        serviced = "service" in self._settings or "PGSERVICE" in environment
        defaults = {name: value for name, value in _DEFAULTS.items() if not serviced and f"PG{name.upper()}" not in environment}
        settings = {**defaults, **self._settings, **{name: revealed(value) for name, value in self._secrets.items()}}
        identity = (frozenset(settings.items()), frozenset(environment.items()))
        with _lock:
            return _pools.setdefault(identity, Pool(settings))

    @property
    def reached(self) -> bool:
        """Tell whether the server was reached, by this process or the one that the store comes from."""
        return self.was_reached or (self._pool is not None and self._pool[1].reached)

    def close(self) -> None:
        if self._pool is not None and self._pool[0] == os.getpid():
            self._pool[1].close()

    def do(self, work: Callable[[Connection], _T], path: str, *, make: bool = False) -> _T | None:
        """`work` on a connection, again where the server went away; None where there is no table to read.

        make: it writes, so the tables are made where there are none. Whatever `work` has done is done once: it has to see to that.
        """
        deadline, pause = 0.0, 0.02
        while True:
            pool = self.pool
            try:
                with pool.connection() as connection:
                    layout = self._layout
                    if layout is not None and layout.items not in pool.tables and not self._find(connection, pool, layout, make):
                        return None
                    return work(connection)
            except psycopg.Error as error:
                if isinstance(error, psycopg.errors.UndefinedTable) and self._layout is not None and self._layout.items in pool.tables:
                    pool.tables.discard(self._layout.items)  # dropped since: it is looked for again
                    continue
                now = time.monotonic()
                deadline = deadline or now + self._timeout
                if not is_passing(error) or not pool.reached or now + pause > deadline:
                    quiet = kind_of(error) == "unreachable"  # there is nothing in its traceback that helps
                    raise explained(error, self._url, path, make) from (None if quiet else error)
                pool.close()  # the others are broken as well
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _find(self, connection: Connection, pool: Pool, layout: Layout, make: bool) -> bool:
        """Look for the tables, and make them if that is asked for; True if they are there."""
        found = connection.execute(layout.look).fetchone()
        if found is None and make:
            with connection.transaction():
                # two that make them at once would get in each other's way; the other finds them
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
