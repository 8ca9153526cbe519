"""Receivers that are really there: an HTTP server that follows a script, one that never answers, and an SMTP server."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """What the server says to one request: a status, headers, and how long it takes about it. Status 0 hangs up."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    gate: threading.Event | None = None


@dataclass
class Received:
    at: float
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Sink:
    """Answers with the script's answers, then with 200."""

    def __init__(self, *script: Answer | int) -> None:
        self.script = [Answer(item) if isinstance(item, int) else item for item in script]
        self.received: list[Received] = []
        self._lock = threading.Lock()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sink._answer(self)

            def do_GET(self) -> None:
                sink._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        with self._lock:
            self.received.append(Received(time.monotonic(), handler.path, dict(handler.headers.items()), body))
            answer = self.script.pop(0) if self.script else Answer()
        if answer.gate is not None:
            answer.gate.wait(60)
        if answer.status == 0:
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        try:
            handler.send_response(answer.status)
            for name, value in answer.headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", "2")
            handler.end_headers()
            handler.wfile.write(b"ok")
        except OSError:  # the other side gave up
            pass

    def __enter__(self) -> Sink:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@contextmanager
def black_hole() -> Iterator[str]:
    """The URL of somebody who accepts connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


@contextmanager
def mailbox(refusals: int = 0) -> Iterator[tuple[int, list[Message]]]:
    """The port of an SMTP server that lets anyone log in, and what arrives there; the first `refusals` messages are refused for now."""
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult

    arrived: list[Message] = []
    left = [refusals]

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            if left[0]:
                left[0] -= 1
                return "451 try again later"
            arrived.append(message_from_bytes(envelope.content, policy=default))
            return "250 OK"

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    controller = Controller(
        Handler(), hostname="127.0.0.1", port=port, auth_require_tls=False, authenticator=lambda *_: AuthResult(success=True)
    )
    controller.start()
    try:
        yield port, arrived
    finally:
        controller.stop()
