"""A call on an engine that is stopped: an answer that came before counts, one that ending its processes brought about does not.

An engine that cannot be asked for a moment is asked again.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import CancelledError
from typing import ClassVar

import pytest

from persistable.executors.calls import perform_to_bytes
from persistable.executors.remote.engine import Engine, Job, Report
from persistable.executors.remote.executor import RemoteExecutor
from persistable.executors.remote.request import Answer, Request, read
from persistable.executors.resources import Resources
from persistable.testing import executor_tasks as tasks


class OneJob(Engine):
    """Runs one job, which answers when it is told to, or when it is killed, as a call does whose subprocess was ended first."""

    name: ClassVar[str] = "one"
    overhead: ClassVar[float] = 0.1
    interval: ClassVar[float] = 3600.0

    def __init__(self) -> None:
        self.launched: list[Job] = []
        self.answers: list[Answer] = []
        self.killed = False
        self.troubles: list[OSError] = []

    def open(self, wake: Callable[[], None]) -> None:
        pass

    @property
    def slots(self) -> int:
        return 1

    def check(self, resources: Resources) -> None:
        pass

    def room(self, resources: Resources | None, under_way: Collection[Job]) -> int:
        return 1 - len(under_way)

    def launch(self, jobs: Sequence[Job]) -> None:
        self.launched += jobs

    def poll(self, jobs: Collection[Job]) -> Iterable[Report]:
        if self.troubles:
            raise self.troubles.pop()
        return [Report(job, list(self.answers), True, self.killed) for job in jobs]

    def withdraw(self, job: Job, numbers: Sequence[int]) -> Collection[int]:
        return ()

    def kill(self, jobs: Sequence[Job]) -> None:
        self.answer()
        self.killed = True

    def answer(self) -> None:
        (job,) = self.launched
        self.answers = [Answer(0, 0.1, *perform_to_bytes(read(job.request).calls[0]))]

    def forget(self, job: Job) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("before", [True, False])
def test_an_answer_counts_if_it_came_before_the_stop(before: bool) -> None:
    engine = OneJob()
    with RemoteExecutor(engine, Request(())) as executor:
        future = executor.submit(tasks.double, 4)
        while not engine.launched:
            time.sleep(0.01)
        if before:
            engine.answer()
        assert executor.stop(future) is not before
        if before:
            assert future.result(10) == 8 and not engine.killed
        else:
            with pytest.raises(CancelledError):
                future.result(10)
        engine.killed = True


def test_files_that_cannot_be_read_for_a_moment_are_read_later(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(OneJob, "interval", 0.02)
    engine = OneJob()
    engine.troubles = [OSError(errno.ESTALE, "Stale file handle"), OSError(errno.EIO, "Input/output error")]
    with RemoteExecutor(engine, Request(())) as executor:
        future = executor.submit(tasks.double, 4)
        end = time.monotonic() + 10
        while (not engine.launched or engine.troubles) and time.monotonic() < end:
            time.sleep(0.01)
        engine.answer()
        assert future.result(10) == 8
        engine.killed = True
    assert [record.message for record in caplog.records] == [
        "jobs of the one executor cannot be looked at, which is tried again: [Errno 5] Input/output error"
    ]
