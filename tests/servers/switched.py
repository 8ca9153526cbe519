"""A way to a server that can be cut and opened again: while it is cut, every connection is refused by hanging up."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Switch:
    """Where to reach the server, and whether it can be reached."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[socket.socket] = []
        self.is_down = False
        self.asked = 0
        """Pieces of requests that went through."""
        self.port: int = self._listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break what is under way, and refuse what comes."""
        self.is_down = True
        for each in self._pairs:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            if self.is_down:
                caller.close()
                continue
            server = socket.create_connection(self._target)
            self._pairs += [caller, server]
            for one, other in ((caller, server), (server, caller)):
                threading.Thread(target=self._pass, args=(one, other, one is caller), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, is_request: bool) -> None:
        with suppress(OSError):
            while piece := one.recv(1 << 16):
                self.asked += is_request
                other.sendall(piece)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)


@contextmanager
def switched(endpoint: str) -> Iterator[Switch]:
    """A switch in front of `endpoint`."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    switch = Switch((host, int(port)))
    try:
        yield switch
    finally:
        switch.close()
