"""The contract of executors, as tests. Subclass `ExecutorContract`, give it an `executor` fixture and a script, and run it with pytest.

class TestMyExecutor(ExecutorContract):
    script = "from mine import MyExecutor; executor = MyExecutor(2)"

    @pytest.fixture
    def executor(self):
        with MyExecutor(2) as executor:
            yield executor
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from persistable.errors import Infeasible, PersistableError, RemoteError, WorkerDied
from persistable.executors import notes
from persistable.executors.base import Executor
from persistable.executors.resources import Resources
from persistable.testing import executor_tasks as tasks
from persistable.testing.executor_shutdown import EndingContract

_SCRIPT = """
class Point:
    def __init__(self, x):
        self.x = x

def shifted(point, by):
    return Point(point.x + by)

class Odd(Exception):
    pass

def fail():
    raise Odd("as expected")

with open("runs", "a") as file:
    file.write("x")

with executor:
    point = executor.submit(shifted, Point(1), by=2).result(60)
    error = executor.submit(fail).exception(60)
assert isinstance(point, Point), type(point)
assert point.x == 3
assert "as expected" in str(error), error
print("script done")
"""


class ExecutorContract(EndingContract):
    """The tests. Capabilities are read from the executor itself; class attributes set the size of the tests and other facts."""

    script: ClassVar[str]
    """Source text that binds the name `executor`, for a script that has no ``if __name__ == "__main__"``."""
    many: ClassVar[int] = 1000
    """Number of tiny tasks in the test of many tasks."""
    deadly: ClassVar[int] = 200
    """Number of tasks under way when one of them ends its process."""
    at_least_once: ClassVar[bool] = False
    """Tasks that a worker has performed may be performed again when it dies before all of its results have arrived."""
    knows_exit_status: ClassVar[bool] = True
    """`WorkerDied.exitcode` is not None."""
    sends_notes: ClassVar[bool] = True
    """Tasks can send notes while they run, see `persistable.executors.notes`. Without it, text that nodes print arrives when they end."""
    too_much: ClassVar[Resources | None] = None
    """Resources that this executor can never have and refuses at once; None if it does not check them."""

    @pytest.fixture
    def executor(self) -> Executor:
        """An executor for one test alone, which may shut it down. Subclasses define their own, and clean up after it."""
        raise NotImplementedError("give this class a fixture `executor` with a fresh executor")

    # --- arguments and results

    def test_it_is_an_executor_and_says_what_it_can(self, executor: Executor) -> None:
        assert Executor in type(executor).__mro__
        assert executor.name
        assert executor.workers >= 1

    def test_values_come_back_as_they_were(self, executor: Executor) -> None:
        value = {"a": [1, 2.5, None, True], ("b", 3): b"\0\xff", "c": {4, 5}, "text": "ünïcødé"}
        future = executor.submit(tasks.echo_arguments, 1, value, key=value, self="s", fn="f")
        assert isinstance(future, futures.Future)
        assert future.result(self.patience) == ((1, value), {"key": value, "self": "s", "fn": "f"})
        assert future.done() and not future.running() and not future.cancelled()
        assert executor.submit(tasks.echo_arguments).result(self.patience) == ((), {})

    def test_what_a_task_tells_while_it_runs_arrives_in_order_and_before_its_result(self, executor: Executor) -> None:
        received: list[object] = []
        address = uuid4().hex
        with notes.received_at(address, received.append):
            result = executor.submit(tasks.tell, address, [["a", 1], ["b", b"\xff" * 200_000], ["c", 3]]).result(self.patience)
        assert result == self.sends_notes
        if result:
            assert received == [["a", 1], ["b", b"\xff" * 200_000], ["c", 3]]

    def test_lambdas_closures_and_local_classes_are_carried(self, executor: Executor) -> None:
        factor = 3

        class Local:
            def __init__(self, x: int) -> None:
                self.x = x

            def grown(self) -> Local:
                return Local(self.x * factor)

        def scaled(x: int) -> int:
            return x * factor

        added: Callable[[int], int] = lambda x: x + factor  # noqa: E731
        assert executor.submit(added, 1).result(self.patience) == 4
        assert executor.submit(scaled, 5).result(self.patience) == 15
        grown = executor.submit(Local.grown, Local(2)).result(self.patience)
        assert type(grown) is Local
        assert grown.x == 6
        assert executor.submit(Local(4).grown).result(self.patience).x == 12
        maker: Callable[[], Callable[[], int]] = lambda: lambda: factor  # noqa: E731
        assert executor.submit(maker).result(self.patience)() == 3

    def test_a_script_without_a_guard_is_not_run_again(self, tmp_path: Path) -> None:
        file = tmp_path / "script.py"
        file.write_text(self.script + "\n" + _SCRIPT)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run(
            [sys.executable, str(file)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=2 * self.patience,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.endswith("script done\n")
        assert (tmp_path / "runs").read_text() == "x"

    def test_a_large_array_arrives_and_comes_back(self, executor: Executor) -> None:
        import numpy as np

        array = np.arange(8_000_000, dtype=np.int64)
        array.flags.writeable = False
        future = executor.submit(tasks.measure, array)
        assert future.result(self.patience) == ("int64", array.shape, int(array.sum()))
        back = executor.submit(tasks.reverse, array).result(self.patience)
        assert np.array_equal(back, array[::-1])

    def test_large_arrays_both_ways_at_once_do_not_wedge(self, executor: Executor) -> None:
        import numpy as np

        arrays = [np.full(2_000_000, number, dtype=np.int32) for number in range(6)]
        for number, back in enumerate(executor.map(tasks.reverse, arrays, timeout=self.patience)):
            assert back[0] == number and back.shape == (2_000_000,)

    def test_many_tiny_tasks_come_back_in_order(self, executor: Executor) -> None:
        pending = [executor.submit(tasks.double, number) for number in range(self.many)]
        assert [future.result(self.patience) for future in pending] == [2 * number for number in range(self.many)]

    def test_many_threads_submit_at_once(self, executor: Executor) -> None:
        def submit(start: int) -> list[int]:
            pending = [executor.submit(tasks.double, number) for number in range(start, start + 20)]
            return [future.result(self.patience) for future in pending]

        with futures.ThreadPoolExecutor(8) as threads:
            found = [number for part in threads.map(submit, range(0, 160, 20)) for number in part]
        assert found == [2 * number for number in range(160)]

    # --- errors

    def test_an_error_is_raised_as_it_was(self, executor: Executor) -> None:
        future = executor.submit(tasks.fail, "a value is wrong")
        with pytest.raises(ValueError, match=r"^a value is wrong$"):
            future.result(self.patience)
        self._goes_on(executor)

    def test_an_error_with_two_arguments_fails_its_own_task(self, executor: Executor) -> None:
        error = executor.submit(tasks.fail_with_two_arguments).exception(self.patience)
        assert isinstance(error, RemoteError | tasks.TwoArguments)
        assert "attempt number 7" in str(error)
        if isinstance(error, RemoteError):
            assert error.error.endswith("executor_tasks.TwoArguments")
            assert error.text == "attempt number 7"
            assert "fail_with_two_arguments" in error.traceback
        self._goes_on(executor)

    def test_an_error_that_cannot_be_pickled_fails_its_own_task(self, executor: Executor) -> None:
        error = executor.submit(tasks.fail_with_a_lock).exception(self.patience)
        assert isinstance(error, RemoteError | tasks.HoldsLock)
        assert "it holds a lock" in str(error)
        self._goes_on(executor)

    def test_a_result_that_cannot_be_pickled_fails_its_own_task(self, executor: Executor) -> None:
        future = executor.submit(tasks.make_lock)
        if executor.shares_memory:
            assert future.result(self.patience).acquire(blocking=False)
        else:
            assert "lock" in str(future.exception(self.patience))
        self._goes_on(executor)

    def test_a_result_that_cannot_be_unpickled_fails_its_own_task(self, executor: Executor) -> None:
        future = executor.submit(tasks.make_what_fails_on_arrival)
        if executor.shares_memory:
            assert isinstance(future.result(self.patience), tasks.FailsOnArrival)
        else:
            assert "this fails on arrival" in str(future.exception(self.patience))
        self._goes_on(executor)

    def test_an_argument_that_cannot_be_pickled_or_unpickled_fails_its_own_task(self, executor: Executor) -> None:
        lock = threading.Lock()
        for argument, word in ((lock, "lock"), (tasks.FailsOnArrival(), "this fails on arrival")):
            if executor.shares_memory:
                assert executor.submit(tasks.echo_arguments, argument).result(self.patience) == ((argument,), {})
            else:
                assert word in str(self._error_of(executor, tasks.echo_arguments, argument))
        self._goes_on(executor)

    def test_leaving_the_program_fails_its_own_task(self, executor: Executor) -> None:
        error = executor.submit(tasks.raise_system_exit).exception(self.patience)
        assert isinstance(error, RemoteError)
        assert error.error == "SystemExit"
        if not self.immediate:  # there, Ctrl-C may have been meant for the caller
            error = executor.submit(tasks.interrupt).exception(self.patience)
            assert isinstance(error, RemoteError)
            assert error.error == "KeyboardInterrupt"
        self._goes_on(executor)

    # --- processes that die

    def test_a_task_that_takes_its_process_down_fails_alone(self, executor: Executor, tmp_path: Path) -> None:
        if not executor.isolates:
            return
        victim = self.deadly // 3
        pending = [executor.submit(tasks.leave_trace_or_exit, str(tmp_path), number, victim) for number in range(self.deadly)]
        for number, future in enumerate(pending):
            if number == victim:
                error = future.exception(self.patience)
                assert isinstance(error, WorkerDied), error
                assert error.exitcode == (3 if self.knows_exit_status else error.exitcode)
            else:
                assert future.result(self.patience) == number
        found = tasks.traces(tmp_path)
        assert found.keys() == set(range(self.deadly))
        assert self.at_least_once or set(found.values()) == {1}
        self._goes_on(executor)

    def test_a_killed_process_is_named_by_its_signal(self, executor: Executor) -> None:
        if not executor.isolates:
            return
        for number in (signal.SIGKILL, signal.SIGSEGV):
            error = executor.submit(tasks.kill_own_process, int(number)).exception(self.patience)
            assert isinstance(error, WorkerDied)
            if self.knows_exit_status:
                assert error.exitcode == -number
                assert number.name in str(error)
        self._goes_on(executor)

    # --- waiting, cancelling, stopping

    def test_workers_work_at_the_same_time(self, executor: Executor, tmp_path: Path) -> None:
        if executor.workers < 2:
            return
        here, there = str(tmp_path / "here"), str(tmp_path / "there")
        pair = executor.submit(tasks.signal_and_wait, here, there), executor.submit(tasks.signal_and_wait, there, here)
        assert {future.result(self.patience) for future in pair} == {here, there}

    def test_short_tasks_do_not_wait_behind_a_long_one(self, executor: Executor, tmp_path: Path) -> None:
        if executor.workers < 2:
            return
        assert list(executor.map(tasks.double, range(50), timeout=self.patience)) == [2 * number for number in range(50)]
        gate = tmp_path / "gate"
        long = executor.submit(tasks.signal_and_wait, str(tmp_path / "begun"), str(gate))
        assert list(executor.map(tasks.double, range(50), timeout=self.patience)) == [2 * number for number in range(50)]
        assert not long.done()
        gate.touch()
        long.result(self.patience)

    # --- as in the standard library

    def test_map_keeps_order_and_raises_what_a_task_raised(self, executor: Executor) -> None:
        assert list(executor.map(pow, [2, 3, 4], [5, 2, 3], timeout=self.patience, chunksize=2)) == [32, 9, 64]
        assert list(executor.map(tasks.double, [])) == []
        with pytest.raises(ValueError, match=r"^second$"):
            list(executor.map(tasks.fail_if, ["", "second", ""], timeout=self.patience))
        self._goes_on(executor)

    def test_wait_and_as_completed_work(self, executor: Executor) -> None:
        pending = {executor.submit(tasks.double, number): number for number in range(10)}
        found = {pending[future]: future.result() for future in futures.as_completed(pending, timeout=self.patience)}
        assert found == {number: 2 * number for number in range(10)}
        more = [executor.submit(tasks.double, number) for number in range(5)] + [executor.submit(tasks.fail, "no")]
        done, not_done = futures.wait(more, timeout=self.patience, return_when=futures.ALL_COMPLETED)
        assert (len(done), len(not_done)) == (6, 0)

    def test_callbacks_are_called_once_and_may_submit(self, executor: Executor) -> None:
        seen: list[Any] = []
        grown: futures.Future[int] = futures.Future()

        def submit_more(future: futures.Future[int]) -> None:
            seen.append(future.result())
            follower = executor.submit(tasks.double, future.result())
            follower.add_done_callback(lambda done: grown.set_result(done.result()))

        executor.submit(tasks.double, 1).add_done_callback(submit_more)
        assert grown.result(self.patience) == 4
        assert seen == [2]
        self._goes_on(executor)

    # --- resources

    def test_what_is_asked_for_and_there_is_given(self, executor: Executor) -> None:
        assert executor.submit_for(Resources(cpus=1), tasks.double, 2).result(self.patience) == 4
        assert executor.submit_for(None, tasks.double, 2).result(self.patience) == 4

    def test_what_no_worker_can_have_is_refused(self, executor: Executor) -> None:
        if self.too_much is None:
            return
        with pytest.raises(Infeasible) as caught:
            executor.submit_for(self.too_much, tasks.double, 1)
        assert caught.value.wanted and caught.value.available is not None
        self._goes_on(executor)

    # --- helpers

    def _error_of(self, executor: Executor, fn: Callable[..., Any], *args: Any) -> BaseException | None:
        try:
            return executor.submit(fn, *args).exception(self.patience)
        except (TypeError, PersistableError) as refused:  # at once is as good as later
            return refused
