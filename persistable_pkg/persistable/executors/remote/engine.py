"""`Engine`: the interface between `RemoteExecutor` and a place that runs jobs, such as hosts behind SSH or a Slurm cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from persistable.executors.remote.request import Answer
from persistable.executors.resources import Resources

WORTH = 5
"""Times its overhead that a job should work."""


@dataclass(eq=False, slots=True)
class Job:
    """One process elsewhere, and the calls that it performs one after the other.

    name: lower-case letters, digits and hyphens, unique. request: content of its file. identities: by which another driver recognises its
    calls; None for those that nobody can ask for again. modules: of this package, which hold the functions that are called. place: whatever
    the engine wants to remember, such as a host or a number. open: numbers of the calls that are neither answered nor taken back.
    """

    name: str
    resources: Resources | None
    request: bytes
    identities: Sequence[str | None]
    modules: Collection[str] = ()
    place: object = None
    open: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self.open = set(range(len(self.identities)))


class Report(NamedTuple):
    """State of a job, and what is new of it.

    began: its process runs or has run. ended: it runs no more and will not again. exitcode: its exit status, or minus the number of the
    signal that ended it; None if unknown. reason: why it ended, where the engine knows more than the exit status. output: the end of what
    it printed, where it ended without all answers. error: of all calls without an answer, where it makes no sense to try any of them in
    another job; None for WorkerDied, and that only for those that it had begun.
    """

    job: Job
    answers: Sequence[Answer] = ()
    began: bool = False
    ended: bool = False
    exitcode: int | None = None
    reason: str = ""
    output: str = ""
    error: Exception | None = None


class Engine(ABC):
    """A service that runs jobs. `open` is called by who submits first, all else by one thread; errors say where they happened."""

    name: ClassVar[str]
    overhead: ClassVar[float]
    """Seconds that a job costs besides its calls; decides how many calls share one."""
    takes_back: ClassVar[bool] = True
    """A call that a running job has not begun can be taken back at any time. Where not, only calls with an identity share a job: these are
    of a run, which stops all of them or none."""
    most_bytes: ClassVar[int] = 16 << 20
    """Bytes of the calls of a job, beyond the first."""
    interval: ClassVar[float]
    """Seconds between two polls while jobs are under way."""

    @abstractmethod
    def open(self, wake: Callable[[], None]) -> None:
        """Connect, and raise one clear error where that, or an interpreter or version there, does not do.

        wake: may be called from any thread, to be polled at once.
        """

    @property
    @abstractmethod
    def slots(self) -> int:
        """Number of jobs that run at a time."""

    @abstractmethod
    def check(self, resources: Resources) -> None:
        """Raise Infeasible for what can never be had here."""

    def room(self, resources: Resources | None, under_way: Collection[Job]) -> int:
        """Return how many more jobs with these resources may be launched beside those under way; by default, whatever they need."""
        return max(0, self.slots - len(under_way))

    @abstractmethod
    def launch(self, jobs: Sequence[Job]) -> None:
        """Begin jobs that all have the same resources. Raises if none was begun."""

    @abstractmethod
    def poll(self, jobs: Collection[Job]) -> Iterable[Report]:
        """Return what is new of these jobs, without waiting for anything to happen."""

    @abstractmethod
    def withdraw(self, job: Job, numbers: Sequence[int]) -> Collection[int]:
        """Take back calls of a job that it has not begun; returns those that it will never begin."""

    @abstractmethod
    def kill(self, jobs: Sequence[Job]) -> None:
        """End jobs with all processes that they started; returns when these are gone, and `poll` says how they ended."""

    @abstractmethod
    def forget(self, job: Job) -> None:
        """Remove the files of a job that has ended."""

    @property
    def places(self) -> Sequence[tuple[str, object]]:
        """The hosts on each of which it can be told, by a short call, whether a store is reached: names, and the `place` of jobs there."""
        return ()

    def adopt(self) -> Iterable[Job]:
        """Return jobs of drivers that are gone which have not ended: from now on they are this one's."""
        return ()

    @abstractmethod
    def close(self) -> None:
        """Disconnect, and remove what this driver keeps there."""
