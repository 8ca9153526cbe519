"""ThreadExecutor: the contract, and what is special about threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from persistable.errors import Infeasible
from persistable.executors import ThreadExecutor
from persistable.executors.resources import Resources
from persistable.testing import ExecutorContract


class TestThreadExecutor(ExecutorContract):
    sends_notes = False
    script = "from persistable.executors import ThreadExecutor; executor = ThreadExecutor(2)"
    too_much = Resources(cpus=100_000)

    @pytest.fixture
    def executor(self) -> Iterator[ThreadExecutor]:
        with ThreadExecutor(3) as executor:
            yield executor


def test_it_has_as_many_workers_as_were_asked_for() -> None:
    with ThreadExecutor(7) as seven, ThreadExecutor() as some:
        assert seven.workers == 7
        assert some.workers > 1


@pytest.mark.parametrize("workers", [0, -1])
def test_at_least_one_worker_is_needed(workers: int) -> None:
    with pytest.raises(ValueError, match="max_workers"):
        ThreadExecutor(workers)


def test_more_memory_than_the_machine_has_is_refused_with_both_amounts() -> None:
    with ThreadExecutor(1) as executor, pytest.raises(Infeasible, match="memory") as caught:
        executor.submit_for(Resources(memory=1 << 60), int)
    assert caught.value.wanted["memory"] == 1 << 60
    assert 0 < caught.value.available["memory"] < 1 << 60


def test_counters_and_time_are_not_looked_at() -> None:
    with ThreadExecutor(1) as executor:
        assert executor.submit_for(Resources(cpus=0.5, time=1e-9, db=1000), int, "7").result(10) == 7
