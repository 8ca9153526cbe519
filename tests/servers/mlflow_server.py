"""A tracking server of MLflow with a SQLite file."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers.needs import free_port, need
from servers.processes import stop, unmeasured

_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@contextmanager
def running(folder: Path, seconds: float = 180.0) -> Iterator[str]:
    """The URL of a server that keeps everything in `folder`."""
    need("mlflow", "sqlalchemy", "alembic", "graphene", "flask_cors")
    port = free_port()
    where = ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--default-artifact-root", f"{folder}/artifacts"]
    command = [sys.executable, "-m", "mlflow", "server", *where, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**unmeasured(), **_QUIET})
    try:
        deadline = time.monotonic() + seconds
        while not _answers(f"http://127.0.0.1:{port}/health"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"MLflow's server is not ready:\n{(folder / 'log').read_text()[-3000:]}")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(server)


def _answers(url: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
