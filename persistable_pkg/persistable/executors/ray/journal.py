"""Traces that a batch of tasks leaves on the node it runs on, so that its process may die and nothing is lost or done twice.

A batch begins by creating its log, which only one can do: either the worker, or whoever wants that it never begins. Each outcome is
appended before the next task begins. The log outlives the process, not the node.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import struct
import tempfile
import time
from typing import Any, NamedTuple

from persistable.fileio.base import need

COOKIE = "PERSISTABLE_RAY_BATCH"
"""Environment variable by which everything that a task started is found, also after its parent died."""

_HALT, _CLOSED = 0, 1  # the first two bytes: no further task shall begin; the worker is done with it
_LENGTH = struct.Struct("<I")
_VOID = b"V"  # all that a log holds that was made so that its batch never begins
_CREATION = 2.0  # seconds from a log's creation to its first line, unless its process died between the two
_PATIENCE = 10.0  # seconds for a process to stop or go after SIGSTOP or SIGKILL


class Home(NamedTuple):
    """Where the logs of an executor lie: in the driver's own folder on every node that sees it, else in one with the same name."""

    folder: str | None
    token: str

    def here(self) -> str:
        """The folder as seen from this process; it need not exist."""
        if self.folder is not None and os.path.isdir(self.folder):
            return self.folder
        return os.path.join(tempfile.gettempdir(), self.token)


class Found(NamedTuple):
    """The known facts of a batch. `state` is one of

    absent     no log here: it never began, or began elsewhere
    void       no log, and now it can never begin here
    elsewhere  it began on `node`, whose processes cannot be seen from here
    open       a task is running, or about to end
    closed     the worker has done with it
    dead       its process is gone, and all that it started

    `done` are the outcomes so far, empty where one was too large to be written; the task at position ``len(done)`` is the last that began,
    or could. `orphan`: its process went because its node did.
    """

    state: str
    done: list[bytes]
    orphan: bool = False
    node: str = ""


_previous: list[str] = []
_facts: dict[str, Any] = {}


class Log:
    """The worker's side."""

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path

    @classmethod
    def begin(cls, home: Home, name: str, node: str) -> Log | None:
        """The log of a batch that begins now; None if it must not."""
        folder = home.here()
        os.makedirs(folder, mode=0o700, exist_ok=True)
        path = os.path.join(folder, name)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return None
        if _facts.get("pid") != os.getpid():
            _facts.update(_process())
        head = json.dumps({**_facts, "node": node}).encode()
        os.write(descriptor, b"\0\0" + _LENGTH.pack(len(head)) + head)
        while _previous:  # its outcomes have reached the driver: Ray delivers them before it gives this worker something new
            with contextlib.suppress(OSError):
                os.unlink(_previous.pop())
        return cls(descriptor, path)

    def append(self, outcome: bytes) -> None:
        os.write(self._descriptor, _LENGTH.pack(len(outcome)) + outcome)

    def halted(self) -> bool:
        return os.pread(self._descriptor, 1, _HALT) == b"\1"

    def close(self) -> None:
        os.pwrite(self._descriptor, b"\1", _CLOSED)
        os.close(self._descriptor)
        _previous.append(self._path)


def halt(home: Home, name: str) -> Found:
    """No task of the batch begins any more, but for the one at position ``len(done)``, which may run already."""
    path = os.path.join(home.here(), name)
    if not os.path.exists(path):
        return Found("absent", [])
    head = _head(path)
    if head is None:
        return Found("void", [])
    try:
        _write_at(path, _HALT)
        _, closed, done = _read(path)
    except FileNotFoundError:  # removed after its time: what it held is on its way to the driver
        return Found("closed", [], node=head["node"])
    return Found("closed" if closed else "open", done, node=head["node"])


def end(home: Home, name: str, position: int) -> Found:
    """The task at this position does not run any more when this returns, nor does any after it begin.

    If it was running, its process is killed with all that it started; a task before it that runs is left alone.
    """
    path = os.path.join(home.here(), name)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    try:
        with open(path, "xb") as file:
            file.write(_VOID)
        return Found("void", [])
    except FileExistsError:
        pass
    found = halt(home, name)
    head = _head(path)
    if head is None or found.state == "closed" or len(found.done) != position:
        return found
    if head["host"] != host():
        return found._replace(state="elsewhere")
    with _frozen(head) as process:
        found = halt(home, name)
        if found.state == "closed" or len(found.done) != position:
            return found
        _kill(process, head, name)
    return found._replace(state="dead")


def bury(home: Home, name: str) -> Found:
    """The outcomes of a batch whose process died; nothing that it started lives when this returns."""
    path = os.path.join(home.here(), name)
    head = _head(path)
    if head is None:
        return Found("void" if os.path.exists(path) else "absent", [])
    if head["host"] != host():
        return Found("elsewhere", [], node=head["node"])
    psutil = need("psutil", "psutil", "ray", "RayExecutor")
    _kill(_live(psutil, head["pid"], head["created"]), head, name)
    orphan = _live(psutil, head["raylet"], head["raylet_created"]) is None
    try:
        _, closed, done = _read(path)
        os.unlink(path)
    except FileNotFoundError:
        return Found("absent", [])
    return Found("closed" if closed else "dead", done, orphan, head["node"])


def clear(home: Home) -> None:
    """Remove whatever logs there are."""
    shutil.rmtree(home.here(), ignore_errors=True)


def host() -> str:
    """This machine, its boot and its process namespace: where a process id means something."""
    parts = [platform.node()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            parts.append(os.readlink(path) if path.endswith("pid") else _text(path))
        except OSError:
            pass
    return "/".join(parts)


def _text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def _process() -> dict[str, Any]:
    psutil = need("psutil", "psutil", "ray", "RayExecutor")
    me = psutil.Process()
    raylet = me.parent()
    return {
        "pid": me.pid,
        "created": me.create_time(),
        "raylet": raylet.pid if raylet else 0,
        "raylet_created": raylet.create_time() if raylet else 0.0,
        "group": os.getpgid(0) == me.pid,
        "host": host(),
    }


def _write_at(path: str, place: int) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(descriptor, b"\1", place)
    finally:
        os.close(descriptor)


def _head(path: str) -> dict[str, Any] | None:
    """Who writes this log; None if nobody does or ever will."""
    deadline = time.monotonic() + _CREATION
    while True:
        try:
            head = _read(path)[0]
        except FileNotFoundError:
            return None
        if head:
            return head
        with open(path, "rb") as file:
            void = file.read(1) == _VOID
        if void or time.monotonic() > deadline:
            return None
        time.sleep(0.001)


def _read(path: str) -> tuple[dict[str, Any], bool, list[bytes]]:
    with open(path, "rb") as file:
        content = file.read()
    parts: list[bytes] = []
    place = 2
    while place + _LENGTH.size <= len(content):
        (length,) = _LENGTH.unpack_from(content, place)
        place += _LENGTH.size
        if place + length > len(content):
            break  # the process died while it wrote
        parts.append(content[place : place + length])
        place += length
    return json.loads(parts[0]) if parts else {}, content[1:2] == b"\1", parts[1:]


def _live(psutil: Any, pid: int, created: float) -> Any:
    """The process, unless it is gone or its number was given to another."""
    try:
        process = psutil.Process(pid)
        return process if abs(process.create_time() - created) < 2 and _runs(process) else None
    except psutil.NoSuchProcess:
        return None


def _reused(psutil: Any, pid: int) -> bool:
    try:
        return _runs(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def _runs(process: Any) -> bool:
    """Tell whether it still does anything: a zombie does not, and may stay where nobody waits for it."""
    try:
        return process.is_running() and process.status() not in ("zombie", "dead")
    except Exception:  # noqa: BLE001 - psutil's errors, which all say that it is gone or was never ours
        return False


@contextlib.contextmanager
def _frozen(head: dict[str, Any]) -> Any:
    """The process that writes the log, or None; it makes no step inside the block."""
    psutil = need("psutil", "psutil", "ray", "RayExecutor")
    process = _live(psutil, head["pid"], head["created"])
    if process is None:
        yield None
        return
    try:
        process.suspend()
        deadline = time.monotonic() + _PATIENCE
        while process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE) and time.monotonic() < deadline:
            time.sleep(0.0005)
        yield process
    except psutil.NoSuchProcess:
        yield None
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


def _kill(process: Any, head: dict[str, Any], name: str) -> None:
    """End the worker, if it lives, and all that its tasks started; return when they are gone."""
    psutil = need("psutil", "psutil", "ray", "RayExecutor")
    doomed: dict[int, Any] = {}
    if process is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            doomed.update((child.pid, child) for child in process.children(recursive=True))
        doomed[process.pid] = process
    if head["group"] and (process is not None or not _reused(psutil, head["pid"])):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(head["pid"], signal.SIGKILL)
    while True:
        for victim in doomed.values():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                victim.kill()
        deadline = time.monotonic() + _PATIENCE
        while any(map(_runs, doomed.values())) and time.monotonic() < deadline:
            time.sleep(0.002)
        more = {each.pid: each for each in _descendants(psutil, name) if each.pid not in doomed}
        if not more:
            return
        doomed = more


def _descendants(psutil: Any, name: str) -> list[Any]:
    """Processes that were started while the batch ran, wherever they have got to."""
    found: list[Any] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(COOKIE) == name and _runs(process):
                found.append(process)
        except (psutil.Error, OSError):
            pass
    return found
