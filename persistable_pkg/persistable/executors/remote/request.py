"""A job as files: the request that its worker reads, and the answers that it writes.

request        the calls: a line with the versions of its sender, then a pickle
taken.NUMBER   the owner of a call, `WORKER` to perform it or `DRIVER` to take it back: created exclusively, so that only one owns it
answer.POSITION the answer to a call, in the order in which they were written
"""

from __future__ import annotations

import pickle
import platform
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from persistable.errors import ExecutorUnavailable
from persistable.executors.remote.files import JobFiles

REQUEST = "request"
TAKEN = "taken."
ANSWER = "answer."
WORKER, DRIVER = b"worker", b"driver"
"""Contents of a file of `TAKEN`."""


REFUSED, NOTE = -1, -2
"""Numbers of answers that belong to no single call: an error of all calls, and a note (see `persistable.executors.notes`)."""


class Answer(NamedTuple):
    """The answer to a call: its position in the request, its seconds (None if they include the import of modules, which the next call does
    not repeat), and its packed result or error (see `calls.perform`).
    """

    number: int
    seconds: float | None
    went_well: bool
    parts: Sequence[bytes]


class Request(NamedTuple):
    """Calls, packed, to be performed in this order by one process.

    path: folders from which modules are imported before all others. environment: variables for the calls. seen: files that must exist,
    since the results of the calls are stored beside them.
    """

    calls: Sequence[Sequence[bytes]]
    path: Sequence[str] = ()
    environment: dict[str, str] = {}  # noqa: RUF012 - never changed
    seen: Sequence[str] = ()


class Versions(NamedTuple):
    """Versions of Python and of this package; jobs are sent between equal ones only."""

    python: str
    persistable: str

    def __str__(self) -> str:
        return f"Python {self.python} and persistable {self.persistable}"


def versions() -> Versions:
    """Return the versions of this process; of Python the part that functions sent by value depend on."""
    from persistable import __version__

    return Versions(".".join(platform.python_version_tuple()[:2]), __version__)


def written(request: Request) -> bytes:
    """Return the content of the file `REQUEST`."""
    return f"{versions().python} {versions().persistable}\n".encode() + pickle.dumps(tuple(request), 5)


def read(data: bytes) -> Request:
    """Return the request in the bytes of `written`. Raises ExecutorUnavailable if its sender has other versions than this process."""
    head, _, body = data.partition(b"\n")
    theirs = Versions(*head.decode().split(" ", 1))
    if theirs != versions():
        raise versions_differ(theirs, versions(), "worker", platform.node())
    return Request(*pickle.loads(body))


def versions_differ(here: Versions, there: Versions, executor: str, place: str) -> ExecutorUnavailable:
    """Return the error for jobs of `here` that cannot be performed by the versions `there`."""
    return ExecutorUnavailable(
        f"jobs are sent by {here}, and {place} has {there}; install the same there, or name another interpreter there by python=",
        key=None,
        executor=executor,
        place=place,
    )


def answers_in(files: JobFiles, names: Iterable[str], known: set[str]) -> list[Answer]:
    """Return the answers in those of `names` that are not in `known`, and add their names to it."""
    new = sorted((name for name in names if name.startswith(ANSWER) and name not in known), key=_number)
    found = [Answer(*pickle.loads(files.get(name))) for name in new]
    known.update(new)  # only after all are read, so that a failure reads them again
    return found


def _number(name: str) -> int:
    return int(name.rpartition(".")[2])
