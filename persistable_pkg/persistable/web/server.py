"""The server of the local page: on the loopback address, behind a token that is drawn when it starts."""

from __future__ import annotations

import secrets
import socket
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

from persistable.catalog.catalog import Catalog
from persistable.errors import need
from persistable.project.project import Project
from persistable.web.activity import Activity
from persistable.web.app import application
from persistable.web.guard import Guard
from persistable.web.page import Site

if TYPE_CHECKING:
    from uvicorn import Server as UvicornServer

ADDRESS = "127.0.0.1"


class Server:
    """The page of a catalog. `url` holds the token: keep it secret. Read-only, and reachable from this machine alone.

    Its socket listens from the beginning. `run` serves until it is interrupted, `start` in a thread until `close`.
    """

    def __init__(self, catalog: Catalog, port: int = 0, project: Project | None = None) -> None:
        uvicorn = need("uvicorn", "uvicorn", "serve", "the local page")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((ADDRESS, port))
            self._socket.listen(128)
        except BaseException:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self._token = secrets.token_urlsafe(32)
        self.activity = Activity()
        guarded: Any = Guard(application(Site(catalog, self.activity, project)), self._token, f"persistable-{self.port}")
        config = uvicorn.Config(
            guarded, log_config=None, access_log=False, server_header=False, date_header=False, lifespan="off", ws="none"
        )
        self._server: UvicornServer = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The URL of the first page, with the token."""
        return f"http://{ADDRESS}:{self.port}/?token={self._token}"

    def run(self) -> None:
        """Serve until the process is interrupted."""
        self.activity.start()
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self.close()

    def start(self) -> Server:
        """Serve in a thread of this process, so that runs of the same process show their progress."""
        if self._thread is None:
            self.activity.start()
            self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="persistable page", daemon=True)
            self._thread.start()
        return self

    def close(self) -> None:
        """Stop serving."""
        self.activity.stop()
        self._server.should_exit = True
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(10)
            self._thread = None
        self._socket.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Server on http://{ADDRESS}:{self.port}/>"


def serve(store: Any = None, *, port: int = 0) -> Server:
    """Serve the local page of a store, a `Catalog` or a `Project`, from a thread of this process until `close`; its `url` opens it.

    store: a path, URL or store; without one the enclosing or default store. The targets of a project have a page, too. port: 0 for one
    that is free. Raises MissingExtra without ``persistable[serve]``, OSError for a port that is taken.
    """
    project = store if isinstance(store, Project) else None
    catalog = store if isinstance(store, Catalog) else Catalog(store if project is None else project.store)
    return Server(catalog, port, project).start()
