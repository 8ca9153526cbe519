"""The GCS emulator on a port of its own choosing, threaded, telling what it was asked to create: python gcs_emulator.py PORT_FILE LOG.

A program of its own, because the emulator has to be given another `http.server.HTTPServer`, and shares that with everyone.
"""

import http.server
import sys
from pathlib import Path

from gcp_storage_emulator import server as emulator
from processes import announce


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
        super().do_POST()


emulator.RequestHandler = Recording
emulator.server.HTTPServer = Threaded
emulator.create_server("127.0.0.1", 0, in_memory=True).run()
