"""The jobs of one driver as folders, on a file system that workers and the process attending to them share.

jobs/NAME/     the files of a job, the name of its driver, and the identities of its calls
drivers/NAME   the owner of a driver; locked while a process attends to its jobs
"""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import platform
import signal
import time
from collections.abc import Callable, Collection, KeysView, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from persistable.executors.remote.files import FolderFiles
from persistable.executors.remote.request import DRIVER, REQUEST, TAKEN, Answer, answers_in
from persistable.params.process_identity import started

_IDENTITIES = "identities"
_OWNER = "owner"
_LEFT = 600.0  # seconds after which jobs are taken over from a driver on another host, which may still run
_TRIES, _PAUSE = 100, 0.05  # tries and seconds between them for an ended process to be gone


class Owner(NamedTuple):
    """A driver: a process of a host."""

    host: str
    pid: int
    start: str

    @classmethod
    def here(cls) -> Owner:
        """Return this process."""
        return cls(platform.node(), os.getpid(), started(os.getpid()))


class Orphan(NamedTuple):
    """A driver whose jobs no process attends to. left: seconds since one did."""

    name: str
    owner: Owner
    left: float

    def is_gone(self) -> bool:
        """Tell whether its process has ended. On another host that is not known: it is given time to reconnect."""
        if self.owner.host == platform.node():
            return started(self.owner.pid) != self.owner.start
        return self.left > _LEFT


class Adopted(NamedTuple):
    """A job taken over: the identities of its calls, and the numbers of those that are answered."""

    name: str
    identities: Sequence[str | None]
    answered: Sequence[int]


class JobFolders:
    """Folders of jobs by name. name: of the driver, which it keeps when it reconnects. host: the one that runs the jobs, if several hosts
    may share the folder; empty if it does not matter.
    """

    def __init__(self, root: Path, name: str, owner: Owner, host: str = "") -> None:
        """Attend to the jobs of a driver. Raises OSError if that is impossible."""
        self._jobs, self._drivers = root / "jobs", root / "drivers" / host
        for folder in (root, self._jobs, root / "drivers", self._drivers):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._name = name
        self._lock = _taken(self._drivers / name)
        os.truncate(self._lock, 0)
        os.pwrite(self._lock, pickle.dumps((*owner, os.getpid())), 0)
        self._known: dict[str, set[str]] = {folder.name: set() for folder in self._of(name)}

    @property
    def names(self) -> KeysView[str]:
        """The names of the jobs."""
        return self._known.keys()

    def folder(self, name: str) -> Path:
        """Return the folder of a job."""
        return self._jobs / name

    def make(self, name: str, request: bytes, identities: Sequence[str | None]) -> None:
        """Make the folder of a job, with all files that its worker needs."""
        files = FolderFiles(self.folder(name))
        try:
            files.make()
            files.put(_OWNER, self._name.encode())
            files.put(_IDENTITIES, pickle.dumps(list(identities)))
            files.put(REQUEST, request)
        except OSError:
            files.remove()
            raise
        self._known[name] = set()

    def answers(self, name: str) -> tuple[list[Answer], bool]:
        """Return the new answers, and whether the worker has begun a call."""
        files = FolderFiles(self.folder(name))
        names = files.names()
        return answers_in(files, names, self._known[name]), any(each.startswith(TAKEN) for each in names)

    def withdraw(self, name: str, numbers: Collection[int]) -> list[int]:
        """Take back calls of a job, and return those that it had not begun."""
        files = FolderFiles(self.folder(name))
        return [number for number in numbers if files.create(f"{TAKEN}{number}", DRIVER) or files.get(f"{TAKEN}{number}") == DRIVER]

    def remove(self, name: str) -> None:
        """Remove the files of a job."""
        if self._known.pop(name, None) is not None:
            FolderFiles(self.folder(name)).remove()

    def orphans(self) -> list[Orphan]:
        """Return the drivers whose jobs no process attends to."""
        found: list[Orphan] = []
        for file in sorted(path for path in self._drivers.iterdir() if path.is_file()):
            try:
                lock = _locked(file)
            except OSError:
                continue  # a process does, as for our own
            try:
                owner = Owner(*pickle.loads(file.read_bytes())[:3])
                found.append(Orphan(file.name, owner, time.time() - file.stat().st_mtime))
            except (OSError, EOFError, pickle.UnpicklingError):
                continue
            finally:
                os.close(lock)
        return found

    def adopt(self, drivers: Collection[str], has_ended: Callable[[Path], bool]) -> list[Adopted]:
        """Take over the jobs of other drivers that wait or run, and remove those that have ended."""
        found: list[Adopted] = []
        for driver in drivers:
            try:
                lock = _locked(self._drivers / driver)
            except OSError:
                continue  # another process was first
            for folder in self._of(driver):
                files = FolderFiles(folder)
                if has_ended(folder):
                    files.remove()
                    continue
                files.put(_OWNER, self._name.encode())
                self._known[folder.name] = set()
                answers, _ = self.answers(folder.name)
                found.append(Adopted(folder.name, pickle.loads(files.get(_IDENTITIES)), [answer.number for answer in answers]))
            (self._drivers / driver).unlink()
            os.close(lock)
        return found

    def close(self) -> None:
        """Stop attending to the jobs. A driver without jobs leaves no files."""
        os.utime(self._lock)
        if not self._known:
            (self._drivers / self._name).unlink(missing_ok=True)
        os.close(self._lock)

    def _of(self, driver: str) -> list[Path]:
        found: list[Path] = []
        for folder in sorted(self._jobs.iterdir()):
            with suppress(FileNotFoundError):
                if (folder / _OWNER).read_text() == driver:
                    found.append(folder)
        return found


def tail(file: Path, size: int = 1 << 16) -> str:
    """Return the end of a file as text; nothing if there is none."""
    with suppress(FileNotFoundError), open(file, "rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - size))
        return stream.read().decode(errors="replace")
    return ""


def _taken(file: Path) -> int:
    """Lock the file of a driver. A process that holds the lock, since it has not noticed its lost connection, is ended."""
    for _ in range(_TRIES):
        try:
            return _locked(file)
        except BlockingIOError:
            with suppress(EOFError, pickle.UnpicklingError, ProcessLookupError):
                os.kill(pickle.loads(file.read_bytes())[3], signal.SIGTERM)
            time.sleep(_PAUSE)
    return _locked(file)


def _locked(file: Path) -> int:
    """Lock a file, created if missing. Raises BlockingIOError if another process holds the lock."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise BlockingIOError(error.errno, f"{file} is in use") from error
        raise
    return descriptor
