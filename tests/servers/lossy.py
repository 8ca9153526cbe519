"""A way to a server on which an answer can be lost: the request arrives and is obeyed, and the connection breaks before the answer.

Or the request is lost: the connection breaks before anything arrives. Or it is refused, by a status that asks for patience.
"""

import http.client
import http.server
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from servers.listening import Quiet, listening

_OF_THE_CONNECTION = {"connection", "expect", "transfer-encoding", "content-length"}


class Way:
    """Where to reach the server through the proxy, and what went by: method and path of each request, and whether its answer was lost."""

    def __init__(self, lose: Callable[[str, str], bool], drop: Callable[[str, str], bool], refuse: Callable[[str, str], int]) -> None:
        self.endpoint = ""
        self.authorization = ""  # of the latest request
        self.lose = lose
        self.drop = drop
        self.refuse = refuse
        self.seen: list[tuple[str, str, bool]] = []


@contextmanager
def lossy(
    endpoint: str,
    lose: Callable[[str, str], bool] = lambda _method, _path: False,
    drop: Callable[[str, str], bool] = lambda _method, _path: False,
    refuse: Callable[[str, str], int] = lambda _method, _path: 0,
) -> Iterator[Way]:
    """A proxy in front of `endpoint`; `lose(method, path)` decides for each request whether its answer is lost, `drop` if it is itself.

    `refuse` gives the status that it is answered with instead, 0 for none.
    """
    way = Way(lose, drop, refuse)
    host = endpoint.removeprefix("http://")

    class Proxy(Quiet, BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            way.authorization = self.headers.get("Authorization", "")
            if way.drop(self.command, self.path):
                way.seen.append((self.command, self.path, True))
                self.close_connection = True
                return
            status = way.refuse(self.command, self.path)
            if status:
                way.seen.append((self.command, self.path, True))
                self.send_response_only(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_CONNECTION}
            server = http.client.HTTPConnection(host, timeout=60)  # the Host header stays: it is part of the signature
            try:
                server.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
                answer = server.getresponse()
                content = answer.read()
            finally:
                server.close()
            lost = way.lose(self.command, self.path)
            way.seen.append((self.command, self.path, lost))
            self.close_connection = True
            if lost:
                return
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in _OF_THE_CONNECTION:
                    self.send_header(name, value)
            # what answers a HEAD tells the length of a body that it has not
            self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _forward  # noqa: N815 - the names of the base class

    with listening(Proxy) as port:
        way.endpoint = f"http://127.0.0.1:{port}"
        yield way
