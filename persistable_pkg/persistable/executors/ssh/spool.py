"""The jobs of one driver on one host: their folders, and the processes of their workers."""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from persistable.executors.remote.folders import Adopted, JobFolders, Orphan, Owner, tail
from persistable.executors.remote.request import Answer
from persistable.executors.ssh import supervision


class State(NamedTuple):
    """The news of a job since the last report, as `Report` has it."""

    name: str
    answers: Sequence[Answer]
    ended: bool
    exitcode: int | None
    output: str


class Spool:
    """Jobs by name. name: the driver's, which it comes back with after its connection was lost."""

    def __init__(self, root: Path, name: str, owner: Owner) -> None:
        """Attend to the jobs of a driver. Raises OSError where that cannot be."""
        self._folders = JobFolders(root, name, owner, platform.node())
        self._told: set[str] = set()

    def launch(self, jobs: Sequence[tuple[str, bytes, Sequence[str | None]]]) -> None:
        """Write the files of jobs, and start their workers: of all, or of none. Those that are there already are left alone."""
        new = [job for job in jobs if job[0] not in self._folders.names]
        try:
            for name, request, identities in new:
                self._folders.make(name, request, identities)
            for name, _, _ in new:
                supervision.start(self._folders.folder(name))
        except OSError:
            for name, _, _ in new:
                supervision.kill(self._folders.folder(name))
                self._folders.remove(name)
            raise

    def news(self) -> Iterator[State]:
        """Give what is new of each job; of one that has ended, this is given once."""
        for name in self._folders.names - self._told:
            folder = self._folders.folder(name)
            ended = supervision.has_ended(folder)  # before the answers, so that none comes after
            answers, _ = self._folders.answers(name)
            if ended:
                self._told.add(name)
                yield State(name, answers, True, supervision.exit_status(folder), tail(folder / supervision.OUTPUT))
            elif answers:
                yield State(name, answers, False, None, "")

    def supervisors(self) -> list[int]:
        """Return the process ids of those that wait for jobs under way."""
        found = [supervision.of(self._folders.folder(name)) for name in self._folders.names - self._told]
        return [process.supervisor for process in found if process is not None]

    def withdraw(self, name: str, numbers: Collection[int]) -> list[int]:
        """Take back calls of a job; returns those that it had not begun."""
        return self._folders.withdraw(name, numbers)

    def kill(self, names: Collection[str]) -> None:
        """End jobs with all that they started."""
        for name in names:
            if name in self._folders.names:
                supervision.kill(self._folders.folder(name))

    def forget(self, name: str) -> None:
        """Remove the files of a job."""
        self._told.discard(name)
        self._folders.remove(name)

    def orphans(self) -> list[Orphan]:
        """Return the drivers whose jobs nobody attends to."""
        return self._folders.orphans()

    def adopt(self, drivers: Collection[str]) -> list[Adopted]:
        """Take over the jobs of other drivers that run, and remove those that have ended."""
        return self._folders.adopt(drivers, supervision.has_ended)

    def close(self) -> None:
        """Attend to them no more."""
        self._folders.close()
