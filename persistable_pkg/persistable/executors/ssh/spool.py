"""The jobs of one driver on one host: their folders, and the processes of their workers."""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from persistable.executors.remote.folders import Adopted, JobFolders, Owner, tail
from persistable.executors.remote.request import Answer
from persistable.executors.ssh import supervision


class State(NamedTuple):
    """The news of a job since the last report, with the fields of `Report`."""

    name: str
    answers: Sequence[Answer]
    ended: bool
    exitcode: int | None
    output: str


class Spool(JobFolders):
    """Folders of jobs, and the processes of their workers on this host."""

    def __init__(self, root: Path, name: str, owner: Owner) -> None:
        super().__init__(root, name, owner, platform.node())
        self._told: set[str] = set()

    def launch(self, jobs: Sequence[tuple[str, bytes, Sequence[str | None]]]) -> None:
        """Write the files of jobs, and start their workers: of all, or of none. Existing jobs are left unchanged."""
        new = [job for job in jobs if job[0] not in self.names]
        try:
            for name, request, identities in new:
                self.make(name, request, identities)
            for name, _, _ in new:
                supervision.start(self.folder(name))
        except OSError:
            for name, _, _ in new:
                supervision.kill(self.folder(name))
                self.remove(name)
            raise

    def news(self) -> Iterator[State]:
        """Return the new state of each job that has news; the end of a job is reported once."""
        for name in self.names - self._told:
            folder = self.folder(name)
            ended = supervision.has_ended(folder)  # before the answers, so that none is missed
            answers, _ = self.answers(name)
            if ended:
                self._told.add(name)
                yield State(name, answers, True, supervision.exit_status(folder), tail(folder / supervision.OUTPUT))
            elif answers:
                yield State(name, answers, False, None, "")

    def supervisors(self) -> list[int]:
        """Return the process ids of the supervisors of jobs in flight."""
        found = [supervision.of(self.folder(name)) for name in self.names - self._told]
        return [process.supervisor for process in found if process is not None]

    def kill(self, names: Collection[str]) -> None:
        """End jobs with all their processes."""
        for name in names:
            if name in self.names:
                supervision.kill(self.folder(name))

    def forget(self, name: str) -> None:
        """Remove the files of a job."""
        self._told.discard(name)
        self.remove(name)

    def adopt_running(self, drivers: Collection[str]) -> list[Adopted]:
        """Take over the jobs of other drivers that run, and remove those that have ended."""
        return self.adopt(drivers, supervision.has_ended)
