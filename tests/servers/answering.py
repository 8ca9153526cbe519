"""A server of a few lines: a function gives status, headers and body for each request."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler

from servers.listening import Quiet, listening

Answer = tuple[int, Mapping[str, str], bytes]


@contextmanager
def answering(answer: Callable[[str, str, Message], Answer]) -> Iterator[str]:
    """A running server; its host and port. answer: is given method, path with query, and headers."""

    class Handler(Quiet, BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            status, headers, body = answer(self.command, self.path, self.headers)
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = _answer  # noqa: N815 - the names of the base class

    with listening(Handler) as port:
        yield f"127.0.0.1:{port}"
