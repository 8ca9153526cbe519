"""The GCS emulator on a port of its own choosing, threaded, telling what it was asked to create: python gcs_emulator.py PORT_FILE LOG.

A program of its own, because the emulator has to be given another `http.server.HTTPServer`, and shares that with everyone.

Uploads in one request are mended on the way in. The emulator ignores ``ifGenerationMatch=0``, which decides who creates an object: that is
added here, atomically, as the real server does it. And it reads the content with a parser of e-mails, to which a carriage return at the
very end belongs to the line end before the boundary. To what is read it adds the generation, as the real server does.

``GET /_requests/BUCKET`` tells how many requests of each kind came for a bucket, see `kind_of`, and counts anew from there.
"""

import http.server
import json
import re
import sys
import threading
from collections import Counter, defaultdict
from contextlib import suppress
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from gcp_storage_emulator import server as emulator
from gcp_storage_emulator.exceptions import NotFound
from processes import announce

COUNTS = "/_requests/"
creating = threading.Lock()
counting = threading.Lock()
counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
_BUCKET = re.compile(r"/b/([^/?]+)")


def kind_of(method: str, path: str) -> str:
    """The kind of a request: of one object get, head (what is told of it), put, create (if nothing is there), part, delete; list, batch."""
    place, _, query = path.partition("?")
    if place.startswith("/batch"):
        return "batch"
    if place.startswith("/upload"):
        started = "create" if "ifGenerationMatch=0" in query else "put"
        return started if method == "POST" and "uploadType=multipart" in query else "part"
    if "/o/" in place:
        if method != "GET":
            return method.lower()
        return "get" if place.startswith("/download") or "alt=media" in query else "head"
    return "list" if place.endswith("/o") else f"bucket_{method.lower()}"


class Threaded(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def server_activate(self) -> None:
        super().server_activate()
        announce(sys.argv[1], self.server_port)


class Recording(emulator.RequestHandler):
    _read = ""

    def do_GET(self) -> None:  # noqa: N802 - the server's name
        if not self.path.startswith(COUNTS):
            self._count(self.path)
            self._read = self.path if kind_of("GET", self.path) == "get" else ""
            super().do_GET()
            return
        with counting:
            told = json.dumps(counts.pop(self.path.removeprefix(COUNTS), Counter())).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def end_headers(self) -> None:
        place, self._read = self._read.partition("?")[0], ""
        if place:
            with suppress(NotFound):
                bucket, _, name = place.partition("/b/")[2].partition("/o/")
                self.send_header("X-Goog-Generation", str(self.storage.get_file_obj(bucket, unquote(name))["generation"]))
        super().end_headers()

    def do_DELETE(self) -> None:  # noqa: N802
        self._count(self.path)
        super().do_DELETE()

    def do_PUT(self) -> None:  # noqa: N802
        self._count(self.path)
        super().do_PUT()

    def _count(self, named: str) -> None:
        """Count this request, of which `named` tells the bucket."""
        bucket = _BUCKET.search(named)
        with counting:
            counts[bucket[1] if bucket is not None else ""][kind_of(self.command, self.path)] += 1

    def do_POST(self) -> None:  # noqa: N802
        if self.path.startswith("/batch"):  # its body names the bucket
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._count(body.decode(errors="replace"))
            connection, self.rfile = self.rfile, BytesIO(body)
            try:
                super().do_POST()
            finally:
                self.rfile = connection
            return
        self._count(self.path)
        with Path(sys.argv[2]).open("a") as log:
            log.write(self.path + "\n")
        query = parse_qs(urlsplit(self.path).query)
        if query.get("uploadType") != ["multipart"]:
            super().do_POST()
            return
        end = b"\n--%s--" % str(self.headers.get_boundary()).encode()
        body = self.rfile.read(int(self.headers["Content-Length"])).removesuffix(end) + b"\r" + end
        if query.get("ifGenerationMatch") != ["0"]:
            self._upload(body)
            return
        with creating:
            if self._exists(json.loads(body.split(b"\n\n", 2)[1].partition(b"\n--")[0])["name"]):
                self.send_response(HTTPStatus.PRECONDITION_FAILED)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self._upload(body)

    def _upload(self, body: bytes) -> None:
        self.headers.replace_header("Content-Length", str(len(body)))
        connection, self.rfile = self.rfile, BytesIO(body)
        try:
            super().do_POST()
        finally:
            self.rfile = connection

    def _exists(self, name: str) -> bool:
        bucket = urlsplit(self.path).path.split("/b/")[1].split("/")[0]
        try:
            self.storage.get_file_obj(bucket, name)
        except NotFound:
            return False
        return True


emulator.RequestHandler = Recording
emulator.server.HTTPServer = Threaded
emulator.create_server("127.0.0.1", 0, in_memory=True).run()
