"""An HTTP server of a test, in a thread of its process."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any


class Quiet:
    """A base of handlers of requests that print nothing."""

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening(handler: Callable[..., Any]) -> Iterator[int]:
    """A running server whose requests `handler` answers; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
