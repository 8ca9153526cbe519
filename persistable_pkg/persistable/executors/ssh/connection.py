"""A connection by asyncssh, with one event loop, in one thread, for all connections."""

from __future__ import annotations

import asyncio
import shlex
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from persistable.errors import ExecutorUnavailable, need
from persistable.executors.remote.request import Versions, versions, versions_differ

if TYPE_CHECKING:
    import asyncssh
    from asyncssh import SSHClientConnection

T = TypeVar("T")

_SECONDS = 30.0  # to establish a connection
_CHUNK = 1 << 18
_SERVE = (
    "import sys; print('python', '%d.%d' % sys.version_info[:2], sys.executable, flush=True); "
    "import persistable; print('persistable', persistable.__version__, flush=True); "
    "from persistable.executors.ssh.server import main; sys.exit(main())"
)


class SSHConnection:
    """Byte stream to and from a job server on a host, which ends when this is closed or lost. options: of `asyncssh.connect`."""

    def __init__(self, host: str, options: Mapping[str, Any], python: str, path: Sequence[str]) -> None:
        self._host = host
        self._options = options
        self._command = f"env {shlex.quote('PYTHONPATH=' + ':'.join(path))} {_word(python)}" if path else _word(python)
        self._python = python
        self._connection: asyncssh.SSHClientConnection | None = None
        self._process: asyncssh.SSHClientProcess[bytes] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._closed = False

    def start(self, received: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        """Connect, and start the server. `received` and `lost` are called by another thread, `lost` once, with the reason."""
        try:
            _wait(self._start(received, lost))
        except BaseException:
            self.close()
            raise

    def send(self, data: bytes) -> None:
        """Send bytes, in this order."""
        _loop().call_soon_threadsafe(self._write, data)

    def close(self) -> None:
        """Close it. Harmless if it is lost or closed."""
        self._closed = True
        _wait(self._close())

    async def _start(self, received: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        self._connection = connection = await self._connect()
        self._process = process = await connection.create_process(f"{self._command} -c {shlex.quote(_SERVE)}", encoding=None)
        await self._check(process)
        self._reader = asyncio.ensure_future(self._read(process, received, lost))

    async def _connect(self) -> asyncssh.SSHClientConnection:
        asyncssh = need("asyncssh", "asyncssh", "ssh", "SSHExecutor")
        given = {"keepalive_interval": 15, "login_timeout": _SECONDS, "connect_timeout": _SECONDS, **self._options}
        try:
            connection: SSHClientConnection = await asyncssh.connect(self._host, **given)
        except asyncssh.HostKeyNotVerifiable as error:
            raise self._unavailable(
                f"its host key is not known, or not the one that is known ({error}); connect once by `ssh {self._host}`, and compare it"
            ) from error
        except asyncssh.PermissionDenied as error:
            raise self._unavailable(f"it refuses the user or the key ({error}); `ssh {self._host}` must work without a password") from error
        except (OSError, asyncssh.Error) as error:
            raise self._unavailable(f"there is no connection ({str(error) or type(error).__name__})") from error
        return connection

    async def _check(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        """Raise ExecutorUnavailable unless the interpreter and the persistable there have the same versions as here."""
        python, installed = await _line(process, "python"), await _line(process, "persistable")
        if installed:
            there = Versions(python[0], installed[0])
            if there != versions():
                raise versions_differ(versions(), there, "ssh", self._host)
            return
        errors = (await process.stderr.read()).decode(errors="replace").strip()
        if not python:
            why = errors[-500:] or f"exit status {process.exit_status}"
            raise self._unavailable(f"{self._python} does not run there ({why}); name an interpreter by python=")
        why = errors.splitlines()[-1] if errors else f"exit status {process.exit_status}"
        raise self._unavailable(
            f"persistable cannot be imported by {python[1]} there ({why}); install it there: "
            f"{python[1]} -m pip install persistable=={versions().persistable}, or name another interpreter by python="
        )

    async def _read(
        self, process: asyncssh.SSHClientProcess[bytes], received: Callable[[bytes], None], lost: Callable[[str], None]
    ) -> None:
        reason = "the job server has ended"
        try:
            while data := await process.stdout.read(_CHUNK):
                received(data)
            message = (await process.stderr.read()).decode(errors="replace").strip()
            reason = f"{reason}: {message[-500:]}" if message else reason
        except Exception as error:  # noqa: BLE001 - after any error, the connection is lost
            reason = str(error) or type(error).__name__
        lost(reason)

    def _write(self, data: bytes) -> None:
        if self._process is not None and not self._closed:
            try:
                self._process.stdin.write(data)
            except (OSError, ValueError):  # lost, which the reader reports
                pass

    async def _close(self) -> None:
        if self._process is not None:
            self._process.close()
        if self._connection is not None:
            self._connection.close()
            await self._connection.wait_closed()

    def _unavailable(self, text: str) -> ExecutorUnavailable:
        return ExecutorUnavailable(f"no job can be sent to {self._host} by SSH: {text}", key=None, executor="ssh", place=self._host)


def _word(path: str) -> str:
    """Return a path as a word of a shell there, which expands `~`."""
    return f'"$HOME"/{shlex.quote(path[2:])}' if path.startswith("~/") else shlex.quote(path)


async def _line(process: asyncssh.SSHClientProcess[bytes], word: str) -> list[str]:
    """Return the words after `word` in the next line that begins with it, skipping output of a login shell; none at the end."""
    while line := await process.stdout.readline():
        words = line.decode(errors="replace").split()
        if words and words[0] == word:
            return words[1:]
    return []


_guard = threading.Lock()
_running: list[asyncio.AbstractEventLoop] = []


def _loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of all connections, which runs in its own thread."""
    with _guard:
        if not _running:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="persistable-ssh-loop", daemon=True).start()
            _running.append(loop)
        return _running[0]


def _wait(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result(2 * _SECONDS)
