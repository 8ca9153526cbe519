"""FuturesExecutor over the pools of the standard library."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent import futures

import pytest

from persistable.errors import WorkerDied
from persistable.executors import FuturesExecutor
from persistable.testing import ExecutorContract
from persistable.testing import executor_tasks as tasks

SPAWN = multiprocessing.get_context("spawn")


class TestOverProcesses(ExecutorContract):
    sends_notes = False
    # forked, since a spawned worker would run the script again
    script = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from persistable.executors import FuturesExecutor
executor = FuturesExecutor(ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")))
"""

    @pytest.fixture
    def executor(self) -> Iterator[FuturesExecutor]:
        with futures.ProcessPoolExecutor(2, mp_context=SPAWN) as inner:
            yield FuturesExecutor(inner)


class TestOverThreads(ExecutorContract):
    sends_notes = False
    script = """
from concurrent.futures import ThreadPoolExecutor
from persistable.executors import FuturesExecutor
executor = FuturesExecutor(ThreadPoolExecutor(2))
"""

    @pytest.fixture
    def executor(self) -> Iterator[FuturesExecutor]:
        with futures.ThreadPoolExecutor(3) as inner:
            yield FuturesExecutor(inner)


def test_what_inner_promises_is_what_it_promises() -> None:
    with futures.ThreadPoolExecutor(5) as threads, futures.ProcessPoolExecutor(3, mp_context=SPAWN) as processes:
        here, there = FuturesExecutor(threads), FuturesExecutor(processes)
        assert (here.shares_memory, here.workers, here.can_stop, here.isolates) == (True, 5, False, False)
        assert (there.shares_memory, there.workers, there.can_stop, there.isolates) == (False, 3, False, False)
        assert FuturesExecutor(OneByOne()).workers >= 1


def test_shutdown_leaves_the_inner_one_running() -> None:
    with futures.ThreadPoolExecutor(2) as inner:
        with FuturesExecutor(inner) as executor:
            assert executor.submit(tasks.double, 2).result(60) == 4
        assert inner.submit(tasks.double, 3).result(60) == 6


def test_a_broken_pool_is_told_as_a_dead_worker() -> None:
    with futures.ProcessPoolExecutor(1, mp_context=SPAWN) as inner:
        executor = FuturesExecutor(inner)
        error = executor.submit(tasks.kill_own_process, 9).exception(60)
        assert isinstance(error, WorkerDied)
        assert "kill_own_process" in str(error) and "ProcessExecutor" in str(error)
        assert error.exitcode is None
        with pytest.raises(WorkerDied):
            executor.submit(tasks.double, 1).result(60)


class OneByOne(futures.Executor):
    """The least that can be called an executor."""

    def submit(self, fn, /, *args, **kwargs):
        future = futures.Future()
        future.set_result(fn(*args, **kwargs))
        return future


def test_the_least_executor_will_do() -> None:
    with FuturesExecutor(OneByOne()) as executor:
        assert executor.submit(lambda x: x + 1, 1).result(60) == 2
        assert isinstance(executor.submit(tasks.fail, "no").exception(60), ValueError)
