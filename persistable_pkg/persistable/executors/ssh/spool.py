"""The jobs of one driver on one host.

jobs/NAME/     the files of a job, and who it belongs to
drivers/NAME   what is known of a driver; locked for as long as a server attends to its jobs
"""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import signal
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from persistable.executors.remote.files import FolderFiles
from persistable.executors.remote.request import DRIVER, REQUEST, TAKEN, Answer, answers_in
from persistable.executors.ssh import supervision

_IDENTITIES = "identities"
_OWNER = "owner"
_TAIL = 1 << 16  # bytes of output that are sent
_TRIES, _PAUSE = 100, 0.05  # seconds for a server that was ended to be gone


class Owner(NamedTuple):
    """A driver: a process of a host."""

    host: str
    pid: int
    start: str


class Orphan(NamedTuple):
    """A driver whose jobs no server attends to. left: seconds since one did."""

    name: str
    owner: Owner
    left: float


class State(NamedTuple):
    """What is new of a job, as `Report` has it."""

    name: str
    answers: Sequence[Answer]
    ended: bool
    exitcode: int | None
    output: str


class Adopted(NamedTuple):
    """A job taken over: the identities of its calls, and the numbers of those that are answered."""

    name: str
    identities: Sequence[str | None]
    answered: Sequence[int]


class Spool:
    """Jobs by name. name: the driver's, which it comes back with after its connection was lost."""

    def __init__(self, root: Path, name: str, owner: Owner) -> None:
        """Attend to the jobs of a driver. Raises OSError where that cannot be, such as BlockingIOError if another server does."""
        self._jobs_root, self._drivers = root / "jobs", root / "drivers"
        for folder in (root, self._jobs_root, self._drivers):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._name = name
        self._lock = _taken(self._drivers / name)
        os.truncate(self._lock, 0)
        os.pwrite(self._lock, pickle.dumps((*owner, os.getpid())), 0)
        self._known: dict[str, set[str]] = {}
        self._told: set[str] = set()
        for folder in self._of(name):
            self._known[folder.name] = set()

    def launch(self, jobs: Sequence[tuple[str, bytes, Sequence[str | None]]]) -> None:
        """Write the files of jobs, and start their workers: of all, or of none. Those that are there already are left alone."""
        made: list[Path] = []
        try:
            for name, request, identities in jobs:
                if name in self._known:
                    continue
                folder = self._jobs_root / name
                made.append(folder)
                files = FolderFiles(folder)
                files.make()
                files.put(_OWNER, self._name.encode())
                files.put(_IDENTITIES, pickle.dumps(list(identities)))
                files.put(REQUEST, request)
            for folder in made:
                supervision.start(folder)
        except OSError:
            for folder in made:
                supervision.kill(folder)
                FolderFiles(folder).remove()
            raise
        self._known.update((folder.name, set()) for folder in made)

    def news(self) -> Iterator[State]:
        """Give what is new of each job; of one that has ended, this is given once."""
        for name, known in self._known.items():
            if name in self._told:
                continue
            folder = self._jobs_root / name
            ended = supervision.has_ended(folder)  # before the answers, so that none comes after
            files = FolderFiles(folder)
            answers = answers_in(files, files.names(), known)
            if ended:
                self._told.add(name)
                yield State(name, answers, True, supervision.exit_status(folder), _tail(folder))
            elif answers:
                yield State(name, answers, False, None, "")

    def supervisors(self) -> list[int]:
        """Return the process ids of those that wait for jobs under way."""
        found = [supervision.of(self._jobs_root / name) for name in self._known if name not in self._told]
        return [process.supervisor for process in found if process is not None]

    def withdraw(self, name: str, numbers: Collection[int]) -> list[int]:
        """Take back calls of a job; returns those that it had not begun."""
        files = FolderFiles(self._jobs_root / name)
        return [number for number in numbers if files.create(f"{TAKEN}{number}", DRIVER) or files.get(f"{TAKEN}{number}") == DRIVER]

    def kill(self, names: Collection[str]) -> None:
        """End jobs with all that they started."""
        for name in names:
            if name in self._known:
                supervision.kill(self._jobs_root / name)

    def forget(self, name: str) -> None:
        """Remove the files of a job."""
        if self._known.pop(name, None) is not None:
            self._told.discard(name)
            FolderFiles(self._jobs_root / name).remove()

    def orphans(self) -> list[Orphan]:
        """Return the drivers whose jobs no server attends to."""
        found: list[Orphan] = []
        for file in sorted(self._drivers.iterdir()):
            try:
                lock = _locked(file)
            except OSError:
                continue  # it is attended to; so is this one
            try:
                owner = Owner(*pickle.loads(file.read_bytes())[:3])
                found.append(Orphan(file.name, owner, time.time() - file.stat().st_mtime))
            except (OSError, EOFError, pickle.UnpicklingError):
                continue
            finally:
                os.close(lock)
        return found

    def adopt(self, drivers: Collection[str]) -> list[Adopted]:
        """Take over the jobs of other drivers that run, and remove those that have ended."""
        found: list[Adopted] = []
        for driver in drivers:
            try:
                lock = _locked(self._drivers / driver)
            except OSError:
                continue  # another was first
            for folder in self._of(driver):
                files = FolderFiles(folder)
                if supervision.has_ended(folder):
                    files.remove()
                    continue
                files.put(_OWNER, self._name.encode())
                self._known[folder.name] = set()
                answers = answers_in(files, files.names(), self._known[folder.name])
                found.append(Adopted(folder.name, pickle.loads(files.get(_IDENTITIES)), [answer.number for answer in answers]))
            (self._drivers / driver).unlink()
            os.close(lock)
        return found

    def close(self) -> None:
        """Attend to them no more. A driver without jobs leaves nothing."""
        os.utime(self._lock)
        if not self._known:
            (self._drivers / self._name).unlink(missing_ok=True)
        os.close(self._lock)

    def _of(self, driver: str) -> list[Path]:
        found: list[Path] = []
        for folder in sorted(self._jobs_root.iterdir()):
            with suppress(FileNotFoundError):
                if (folder / _OWNER).read_text() == driver:
                    found.append(folder)
        return found


def _taken(file: Path) -> int:
    """Lock the file of a driver. A server of it that has not noticed that its connection was lost is ended."""
    for _ in range(_TRIES):
        try:
            return _locked(file)
        except BlockingIOError:
            with suppress(EOFError, pickle.UnpicklingError, ProcessLookupError):
                os.kill(pickle.loads(file.read_bytes())[3], signal.SIGTERM)
            time.sleep(_PAUSE)
    return _locked(file)


def _locked(file: Path) -> int:
    """Lock a file, made if need be. Raises BlockingIOError where another process has."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise BlockingIOError(error.errno, f"{file} is in use") from error
        raise
    return descriptor


def _tail(folder: Path) -> str:
    with suppress(FileNotFoundError), open(folder / supervision.OUTPUT, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        return file.read().decode(errors="replace")
    return ""
