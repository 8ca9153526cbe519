"""The S3 server (moto) on a port of its own choosing: python s3_server.py PORT_FILE [--host ADDRESS].

A real S3 decides ``If-None-Match`` and ``If-Match`` atomically. Moto looks first and writes afterwards, so that two requests at the same
moment may both find nothing and both succeed. Here all requests that change something are served one after the other.

``GET /_requests/BUCKET`` tells how many requests of each kind came for a bucket, see `kind_of`, and counts anew from there.
"""

import json
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable
from io import BytesIO
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from processes import announce
from werkzeug.serving import make_server
from werkzeug.wsgi import get_input_stream

COUNTS = "/_requests/"


class Counted:
    """A WSGI application whose requests are counted by bucket and kind."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._lock = threading.Lock()
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if path.startswith(COUNTS):
            with self._lock:
                counts = self._counts.pop(path.removeprefix(COUNTS), Counter())
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(counts).encode()]
        bucket, _, key = path.lstrip("/").partition("/")
        with self._lock:
            self._counts[bucket][kind_of(environ, key)] += 1
        return self._application(environ, start_response)


def kind_of(environ: dict[str, Any], key: str) -> str:
    """The kind of a request: of one object get, head, put, create (if nothing is there) or delete; list, delete_many, part, multipart."""
    method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
    if not key:
        return {"GET": "list", "POST": "delete_many"}.get(method, f"bucket_{method.lower()}")
    if "uploadId=" in query or "uploads" in query:
        return "part" if method == "PUT" else "multipart"
    if method == "PUT":
        return "create" if environ.get("HTTP_IF_NONE_MATCH") == "*" else "put"
    return str(method.lower())


class OneChangeAtATime:
    """A WSGI application that serves what only reads at any time, and the rest under one lock."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self._application(environ, start_response)
        # taken off the wire first: a client that stalls in the middle of its body must not hold the lock
        environ["wsgi.input"] = BytesIO(get_input_stream(environ).read())
        with self._lock:
            return self._application(environ, start_response)


if __name__ == "__main__":
    application = Counted(OneChangeAtATime(DomainDispatcherApplication(create_backend_app)))
    server = make_server(
        sys.argv[3] if sys.argv[2:3] == ["--host"] else "127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler
    )
    announce(sys.argv[1], server.server_port)
    server.serve_forever()
