"""A real HTTP server for the tests: what lies at each path is a function of the request, and every request is remembered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple

from servers.listening import Quiet, listening


class Seen(NamedTuple):
    """One request: the path with its query, and its headers in lower case."""

    path: str
    headers: dict[str, str]


class Site:
    """Pages by path; each is called with the handler and answers. `seen` are the requests so far."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.pages: dict[str, Callable[[Any], None]] = {}
        self.seen: list[Seen] = []
        self.stopped = threading.Event()

    def count(self, path: str) -> int:
        return sum(seen.path.partition("?")[0] == path for seen in self.seen)


@contextmanager
def serving() -> Iterator[Site]:
    class Handler(Quiet, BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.seen.append(Seen(self.path, {name.lower(): value for name, value in self.headers.items()}))
            page = site.pages.get(self.path.partition("?")[0])
            try:
                page(self) if page else answer(self, 404, b"nothing here")
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    with listening(Handler) as port:
        site = Site(port)
        try:
            yield site
        finally:
            site.stopped.set()


def answer(handler: Any, status: int, body: bytes = b"", claimed: int | None = None, **headers: str) -> None:
    """Answer whole; `claimed` is another Content-Length than the true one, after which the connection is closed."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    if status != 304:
        handler.send_header("Content-Length", str(len(body) if claimed is None else claimed))
    handler.end_headers()
    handler.wfile.write(body)
    if claimed is not None:
        handler.close_connection = True


def page(body: bytes, status: int = 200, **headers: str) -> Callable[[Any], None]:
    """Always this answer."""
    return lambda handler: answer(handler, status, body, **headers)


def one_after_the_other(*pages: Callable[[Any], None]) -> Callable[[Any], None]:
    """The first answer to the first request, and so on; the last one stays."""
    left = list(pages)

    def respond(handler: Any) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler)

    return respond


def conditional(body: bytes, **validators: str) -> Callable[[Any], None]:
    """304 to whoever names these validators (ETag, Last_Modified), else the body with them."""

    def respond(handler: Any) -> None:
        same_tag = "ETag" in validators and handler.headers.get("If-None-Match") == validators["ETag"]
        same_time = "Last_Modified" in validators and handler.headers.get("If-Modified-Since") == validators["Last_Modified"]
        if same_tag or same_time:
            answer(handler, 304, **validators)
        else:
            answer(handler, 200, body, **validators)

    return respond
