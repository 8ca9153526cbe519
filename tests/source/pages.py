"""A real HTTP server whose pages have validators, and that answers HEAD."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple

from servers.listening import Quiet, listening


class Page(NamedTuple):
    """What lies at a path, and the headers that tell it from others."""

    body: bytes
    headers: dict[str, str]


class Pages:
    """Pages by path. `seen`: method and path of each request so far. `connections`: ports of clients. `heads`: whether HEAD is answered.

    `most`: how many requests were under way at a moment, at most; each then takes `delay` seconds.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.pages: dict[str, Page] = {}
        self.seen: list[tuple[str, str]] = []
        self.authorizations: list[str | None] = []
        self.connections: set[int] = set()
        self.heads = True
        self.delay = 0.0
        self.most = 0
        self.under_way = 0
        self.turn = threading.Lock()

    def put(self, path: str, body: bytes, **headers: str) -> None:
        self.pages[path] = Page(body, {name.replace("_", "-"): value for name, value in headers.items()})


@contextmanager
def serving() -> Iterator[Pages]:
    class Handler(Quiet, BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else the end of an answer waits for what the client says of its beginning

        def _answer(self) -> None:
            with site.turn:
                site.connections.add(self.client_address[1])
                site.under_way += 1
                site.most = max(site.most, site.under_way)
            time.sleep(site.delay)
            try:
                self._tell()
            finally:
                with site.turn:
                    site.under_way -= 1

        def _tell(self) -> None:
            site.seen.append((self.command, self.path))
            site.authorizations.append(self.headers.get("Authorization"))
            page = site.pages.get(self.path)
            self.send_response(405 if self.command == "HEAD" and not site.heads else 200 if page else 404)
            for name, value in (page.headers if page else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(page.body) if page else 0))
            self.end_headers()
            if page and self.command == "GET":
                try:
                    self.wfile.write(page.body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

        do_GET = do_HEAD = _answer  # noqa: N815 - the server's names

    with listening(Handler) as port:
        site = Pages(port)
        yield site
