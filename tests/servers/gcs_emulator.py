"""The GCS emulator on a port of its own choosing, threaded, telling what it was asked to create: python gcs_emulator.py PORT_FILE LOG.

A program of its own, because the emulator has to be given another `http.server.HTTPServer`, and shares that with everyone.

Uploads in one request are mended on the way in. The emulator ignores ``ifGenerationMatch=0``, which decides who creates an object: that is
added here, atomically, as the real server does it. And it reads the content with a parser of e-mails, to which a carriage return at the
very end belongs to the line end before the boundary.
"""

import http.server
import json
import sys
import threading
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from gcp_storage_emulator import server as emulator
from gcp_storage_emulator.exceptions import NotFound
from processes import announce

creating = threading.Lock()


class Threaded(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def server_activate(self) -> None:
        super().server_activate()
        announce(sys.argv[1], self.server_port)


class Recording(emulator.RequestHandler):
    def do_POST(self) -> None:  # noqa: N802 - the server's name
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
