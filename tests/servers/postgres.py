"""A PostgreSQL server on 127.0.0.1 and a free port, which can be stopped, killed and started again."""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from refusals import PASSWORD

from servers.needs import absent, free_port, need
from servers.processes import unmeasured

_numbers = itertools.count()
_SETTINGS = {"listen_addresses": "127.0.0.1", "fsync": "off", "max_connections": "100"}
_LOCKED = "host all locked 127.0.0.1/32 scram-sha-256\n"


class PostgresServer:
    """The server. Everybody is let in without a password, but the user `locked`, whose password is PASSWORD."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._user: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        self._server: subprocess.Popen[bytes] | None = None
        self.port = 0
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"],
            check=True, stdout=subprocess.DEVNULL, cwd=folder, **self._user,
        )  # fmt: skip
        access = folder / "data" / "pg_hba.conf"
        access.write_text(_LOCKED + access.read_text())
        self._start_anywhere()
        with self.admin() as admin:
            admin.execute(f"CREATE ROLE locked LOGIN PASSWORD '{PASSWORD}'")
            admin.execute("CREATE DATABASE works")
            admin.execute("GRANT CREATE ON DATABASE works TO locked")

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/works"

    def admin(self, database: str = "postgres") -> Any:
        """A connection that goes around the code under test."""
        import psycopg

        return psycopg.connect(f"postgresql://postgres@127.0.0.1:{self.port}/{database}", autocommit=True)

    def _start_anywhere(self) -> None:
        for attempt in range(5):
            self.port = free_port()
            try:
                self.start()
            except RuntimeError:  # somebody took it before it was bound
                if attempt == 4:
                    raise
            else:
                return

    def start(self) -> None:
        settings = [f"-c{name}={value}" for name, value in {**_SETTINGS, "unix_socket_directories": str(self._folder)}.items()]
        log = self._folder / "log"
        with log.open("ab") as out:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data", f"-p{self.port}", *settings],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self._folder, env=unmeasured(), **self._user,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL is not ready:\n{log.read_text(errors='replace')[-3000:]}")
            with suppress(Exception):
                self.admin().close()
                return
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT hangs up on everybody, SIGKILL is a crash."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(60)
            self._server = None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL server."""
    need("psycopg")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        absent("PostgreSQL is not installed (postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="persistable-postgres-"))  # not below pytest's folder, which nobody else may enter
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    server = None
    try:
        server = PostgresServer(found[-1].parent, folder)
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Schema:
    """An empty schema of its own: the URL of a store in it, and a connection around the code under test."""

    url: str
    name: str
    admin: Any
    server: PostgresServer

    def rows(self, table: str = "persistable") -> list[Any]:
        found: list[Any] = self.admin.execute(f'SELECT * FROM "{self.name}"."{table}"').fetchall()
        return found


@pytest.fixture
def postgres_schema(postgres_server: PostgresServer) -> Iterator[Schema]:
    """An empty schema in the database `works`."""
    name = f"s{os.getpid()}_{next(_numbers)}"
    with postgres_server.admin("works") as admin:
        admin.execute(f"CREATE SCHEMA {name}")
    with postgres_server.admin("works") as admin:
        yield Schema(f"{postgres_server.url}?schema={name}", name, admin, postgres_server)
    with postgres_server.admin("works") as admin:
        admin.execute(f"DROP SCHEMA {name} CASCADE")
