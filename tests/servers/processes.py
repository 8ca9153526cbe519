"""Server processes of the tests: each chooses its port itself, says which, and is surely gone at the end."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent


@contextmanager
def serving(script: str, folder: Path, *arguments: str) -> Iterator[int]:
    """Run a server script of this folder; the port it listens on.

    The script binds port 0 and calls `announce` with what it got: a port chosen here could be taken by somebody else before it is bound.
    """
    port_file, log_file = folder / "port", folder / "log"
    with log_file.open("wb") as log:
        command = [sys.executable, str(HERE / script), str(port_file), *arguments]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=unmeasured())
    try:
        yield int(said(server, port_file, log_file))
    finally:
        stop(server)


def announce(port_file: str, port: int) -> None:
    """Say, in a server process, which port it listens on. The file is whole from the moment it exists."""
    Path(port_file + ".new").write_text(str(port))
    os.replace(port_file + ".new", port_file)


def said(server: subprocess.Popen[bytes], file: Path, log: Path, seconds: float = 120.0) -> str:
    """What a server wrote into a file when it was ready. RuntimeError with its log if it ends, or takes too long."""
    deadline = time.monotonic() + seconds
    while not file.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            state = "is not ready" if server.returncode is None else f"ended with {server.returncode}"
            raise RuntimeError(f"{server.args!r} {state}:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.02)
    return file.read_text()


def stop(server: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    """End a server; at once if it does not end when it is asked."""
    server.terminate()
    try:
        server.wait(seconds)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def unmeasured() -> dict[str, str]:
    """The environment without what makes coverage measure a process: servers run no code of ours, and are ended without notice."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
