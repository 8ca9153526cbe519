"""`Engine`: the interface between `RemoteExecutor` and a service that runs jobs, such as hosts behind SSH or a Slurm cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from persistable.executors.remote.request import Answer
from persistable.executors.resources import Resources

CALL_OVERHEADS = 5
"""Target duration of a job, in multiples of its overhead."""


@dataclass(eq=False, slots=True)
class Job:
    """One process on another machine, and the calls that it performs one after the other.

    name: lower-case letters, digits and hyphens, unique. request: content of its file. identities: of its calls, for another driver to
    recognise them; None for calls that cannot be taken over. modules: those of this package with the called functions. place: data of the
    engine, such as a host or a number. open: numbers of the calls that are neither answered nor taken back.
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
    """State of a job, and its new answers.

    began: its process runs or has run. ended: it runs no more and will not again. exitcode: its exit status, or minus the number of the
    signal that ended it; None if unknown. reason: why it ended, if the engine knows more than the exit status. output: the end of its
    output, if it ended without all answers. error: for all calls without an answer, if none of them should be retried in another job; None
    for WorkerDied, and only for those that it had begun.
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
    """A service that runs jobs. `open` is called by the thread that submits first, all else by one thread; errors name their place."""

    name: ClassVar[str]
    overhead: ClassVar[float]
    """Seconds that a job costs besides its calls; determines the number of calls in a job."""
    takes_back: ClassVar[bool] = True
    """A call that a running job has not begun can be taken back at any time. If not, only calls with an identity share a job: they
    belong to a run, which stops all of them or none."""
    most_bytes: ClassVar[int] = 16 << 20
    """Bytes of the calls of a job, beyond the first."""
    interval: ClassVar[float]
    """Seconds between two polls while jobs are in flight."""

    @abstractmethod
    def open(self, wake: Callable[[], None]) -> None:
        """Connect, and raise one clear error if that fails, or if the interpreter or a version there is unsuitable.

        wake: may be called from any thread, to request an immediate poll.
        """

    @property
    @abstractmethod
    def slots(self) -> int:
        """Number of jobs that run at a time."""

    @abstractmethod
    def check(self, resources: Resources) -> None:
        """Raise Infeasible for resources that can never be available here."""

    def room(self, resources: Resources | None, under_way: Collection[Job]) -> int:
        """Return the number of jobs with these resources that may be launched beside those in flight; by default, resources are ignored."""
        return max(0, self.slots - len(under_way))

    @abstractmethod
    def launch(self, jobs: Sequence[Job]) -> None:
        """Begin jobs that all have the same resources. Raises if none was begun."""

    @abstractmethod
    def poll(self, jobs: Collection[Job]) -> Iterable[Report]:
        """Return reports of the news of these jobs, without blocking."""

    @abstractmethod
    def withdraw(self, job: Job, numbers: Sequence[int]) -> Collection[int]:
        """Take back calls of a job that it has not begun, and return those that it will never begin."""

    @abstractmethod
    def kill(self, jobs: Sequence[Job]) -> None:
        """End jobs with all processes that they started; returns when these are gone, and `poll` reports how they ended."""

    @abstractmethod
    def forget(self, job: Job) -> None:
        """Remove the files of a job that has ended."""

    @property
    def places(self) -> Sequence[tuple[str, object]]:
        """The hosts on each of which a short call can check that a store is reachable: names, and the `place` of jobs there."""
        return ()

    def adopt(self) -> Iterable[Job]:
        """Take over the unfinished jobs of drivers that are gone, and return them."""
        return ()

    @abstractmethod
    def close(self) -> None:
        """Disconnect, and remove the files of this driver there."""
