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
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any, ClassVar

import pytest

from persistable.errors import Infeasible, PersistableError, RemoteError, WorkerDied
from persistable.executors.base import Executor
from persistable.executors.resources import Resources
from persistable.testing import executor_tasks as tasks

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


class ExecutorContract:
    """The tests. What an executor says it can do is read from itself; class attributes say what it may cost to find out."""

    script: ClassVar[str]
    """Source text that binds the name `executor`, for a script that has no ``if __name__ == "__main__"``."""
    many: ClassVar[int] = 1000
    """Number of tiny tasks that are many."""
    deadly: ClassVar[int] = 200
    """Number of tasks under way when one of them takes its process down."""
    patience: ClassVar[float] = 60.0
    """Seconds after which something that should happen counts as never happening."""
    immediate: ClassVar[bool] = False
    """`submit` returns when the task is done, so none is ever waiting or running."""
    at_least_once: ClassVar[bool] = False
    """Tasks that a worker has performed may be performed again when it dies before all that it was given is answered."""
    knows_exit_status: ClassVar[bool] = True
    """`WorkerDied.exitcode` is not None."""
    too_much: ClassVar[Resources | None] = None
    """Resources that this executor can never have and refuses at once, if it looks at them."""

    @pytest.fixture
    def executor(self) -> Executor:
        """An executor that nobody else uses: tests shut it down. Subclasses give their own, and clean up after it."""
        raise NotImplementedError("give this class a fixture `executor` with a fresh executor")

    # --- what goes there and what comes back

    def test_it_is_an_executor_and_says_what_it_can(self, executor: Executor) -> None:
        assert Executor in type(executor).__mro__
        assert executor.name
        assert executor.workers >= 1

    def test_values_come_back_as_they_were(self, executor: Executor) -> None:
        value = {"a": [1, 2.5, None, True], ("b", 3): b"\0\xff", "c": {4, 5}, "text": "ünïcødé"}
        future = executor.submit(tasks.given, 1, value, key=value, self="s", fn="f")
        assert isinstance(future, futures.Future)
        assert future.result(self.patience) == ((1, value), {"key": value, "self": "s", "fn": "f"})
        assert future.done() and not future.running() and not future.cancelled()
        assert executor.submit(tasks.given).result(self.patience) == ((), {})

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
                assert executor.submit(tasks.given, argument).result(self.patience) == ((argument,), {})
            else:
                assert word in str(self._error_of(executor, tasks.given, argument))
        self._goes_on(executor)

    def test_leaving_the_program_fails_its_own_task(self, executor: Executor) -> None:
        error = executor.submit(tasks.leave).exception(self.patience)
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
        pair = executor.submit(tasks.say_and_wait, here, there), executor.submit(tasks.say_and_wait, there, here)
        assert {future.result(self.patience) for future in pair} == {here, there}

    def test_short_tasks_do_not_wait_behind_a_long_one(self, executor: Executor, tmp_path: Path) -> None:
        if executor.workers < 2:
            return
        assert list(executor.map(tasks.double, range(50), timeout=self.patience)) == [2 * number for number in range(50)]
        gate = tmp_path / "gate"
        long = executor.submit(tasks.say_and_wait, str(tmp_path / "begun"), str(gate))
        assert list(executor.map(tasks.double, range(50), timeout=self.patience)) == [2 * number for number in range(50)]
        assert not long.done()
        gate.touch()
        long.result(self.patience)

    def test_a_cancelled_task_never_runs(self, executor: Executor, tmp_path: Path) -> None:
        if self.immediate:
            return
        gate, folder = tmp_path / "gate", tmp_path / "traces"
        folder.mkdir()
        blocking = self._block(executor, tmp_path, gate)
        pending = [executor.submit(tasks.leave_trace, str(folder), number) for number in range(10)]
        cancelled = {number for number in reversed(range(5, 10)) if pending[number].cancel()}
        assert cancelled
        gate.touch()
        for number, future in enumerate(pending):
            if number in cancelled:
                with pytest.raises(futures.CancelledError):
                    future.result(self.patience)
            else:
                assert future.result(self.patience) == number
        assert all(future.result(self.patience) for future in blocking)
        assert not futures.wait(pending, timeout=self.patience).not_done
        assert tasks.traces(folder) == {number: 1 for number in range(10) if number not in cancelled}
        self._goes_on(executor)

    def test_stop_removes_what_waits(self, executor: Executor, tmp_path: Path) -> None:
        if self.immediate or not executor.stops:
            return
        gate, folder = tmp_path / "gate", tmp_path / "traces"
        folder.mkdir()
        blocking = self._block(executor, tmp_path, gate)
        waiting = [executor.submit(tasks.leave_trace, str(folder), number) for number in range(2)]
        assert executor.stop(waiting[0])
        with pytest.raises(futures.CancelledError):
            waiting[0].result(self.patience)
        gate.touch()
        assert waiting[1].result(self.patience) == 1
        assert all(future.result(self.patience) for future in blocking)
        assert tasks.traces(folder) == {1: 1}

    def test_stop_ends_what_runs_and_what_that_has_started(self, executor: Executor, tmp_path: Path) -> None:
        if not executor.stops:
            return
        for number, stubborn in enumerate((False, True)):
            file = tmp_path / str(number)
            future = executor.submit(tasks.tick_in_a_subprocess, str(file), stubborn)
            tasks.wait_for(file, self.patience)
            assert executor.stop(future)
            size = file.stat().st_size
            with pytest.raises(futures.CancelledError):
                future.result(self.patience)
            time.sleep(0.3)  # six ticks
            assert file.stat().st_size == size
            assert not executor.stop(future)
            self._goes_on(executor)

    def test_stopping_harms_no_other_task(self, executor: Executor, tmp_path: Path) -> None:
        if not executor.stops:
            return
        gate = tmp_path / "gate"
        doomed = executor.submit(tasks.say_and_wait, str(tmp_path / "begun"), str(gate))
        tasks.wait_for(tmp_path / "begun", self.patience)
        folder = tmp_path / "traces"
        folder.mkdir()
        others = [executor.submit(tasks.leave_trace, str(folder), number) for number in range(50)]
        assert executor.stop(doomed)
        assert [future.result(self.patience) for future in others] == list(range(50))
        assert tasks.traces(folder) == dict.fromkeys(range(50), 1)
        with pytest.raises(futures.CancelledError):
            doomed.result(0)

    def test_stopping_a_task_that_is_about_to_end_is_one_or_the_other(self, executor: Executor, tmp_path: Path) -> None:
        if not executor.stops:
            return
        for number in range(20):
            folder = tmp_path / str(number)
            folder.mkdir()
            pending = [executor.submit(tasks.leave_trace, str(folder), task) for task in range(5)]
            time.sleep(0.0005 * (number % 5))
            stopped = executor.stop(pending[2])
            for task, future in enumerate(pending):
                if task == 2 and stopped:
                    with pytest.raises(futures.CancelledError):
                        future.result(self.patience)
                else:
                    assert future.result(self.patience) == task
            found = tasks.traces(folder)
            assert found.pop(2, 0) <= 1
            assert found == dict.fromkeys([0, 1, 3, 4], 1)

    def test_stop_without_the_power_to_stop_harms_nothing(self, executor: Executor, tmp_path: Path) -> None:
        if self.immediate or executor.stops:
            return
        gate = tmp_path / "gate"
        future = executor.submit(tasks.say_and_wait, str(tmp_path / "begun"), str(gate))
        tasks.wait_for(tmp_path / "begun", self.patience)
        assert not executor.stop(future)
        gate.touch()
        assert future.result(self.patience) == str(tmp_path / "begun")

    def test_stop_of_what_has_ended_is_false(self, executor: Executor) -> None:
        future = executor.submit(tasks.double, 4)
        assert future.result(self.patience) == 8
        assert not executor.stop(future)
        assert not future.cancel()
        assert future.result() == 8

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

    def test_shutdown_waits_for_what_was_submitted(self, executor: Executor) -> None:
        pending = [executor.submit(tasks.double, number) for number in range(20)]
        executor.shutdown()
        assert all(future.done() for future in pending)
        assert [future.result() for future in pending] == [2 * number for number in range(20)]
        executor.shutdown()  # a second one is harmless

    def test_nothing_can_be_submitted_after_shutdown(self, executor: Executor) -> None:
        executor.submit(tasks.double, 1).result(self.patience)
        executor.shutdown()
        with pytest.raises(RuntimeError):
            executor.submit(tasks.double, 1)
        with pytest.raises(RuntimeError):
            list(executor.map(tasks.double, [1]))

    def test_shutdown_without_waiting_still_finishes(self, executor: Executor) -> None:
        pending = [executor.submit(tasks.double, number) for number in range(20)]
        executor.shutdown(wait=False)
        assert [future.result(self.patience) for future in pending] == [2 * number for number in range(20)]

    def test_shutdown_can_cancel_what_waits(self, executor: Executor, tmp_path: Path) -> None:
        if self.immediate:
            return
        gate = tmp_path / "gate"
        blocking = self._block(executor, tmp_path, gate)
        waiting = [executor.submit(tasks.double, number) for number in range(20)]
        executor.shutdown(wait=False, cancel_futures=True)
        assert waiting[-1].cancelled()
        gate.touch()
        assert all(future.result(self.patience) for future in blocking)
        for number, future in enumerate(waiting):  # not `wait`, which overlooks what a ThreadPoolExecutor cancels
            assert future.cancelled() or future.result(self.patience) == 2 * number

    def test_the_with_block_shuts_down(self, executor: Executor) -> None:
        with executor as entered:
            assert entered is executor
            future = executor.submit(tasks.double, 3)
        assert future.done() and future.result() == 6
        with pytest.raises(RuntimeError):
            executor.submit(tasks.double, 3)

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

    # --- the means

    def _goes_on(self, executor: Executor) -> None:
        pending = [executor.submit(tasks.double, number) for number in range(10)]
        assert [future.result(self.patience) for future in pending] == [2 * number for number in range(10)]

    def _error_of(self, executor: Executor, fn: Callable[..., Any], *args: Any) -> BaseException | None:
        try:
            return executor.submit(fn, *args).exception(self.patience)
        except (TypeError, PersistableError) as refused:  # at once is as good as later
            return refused

    def _block(self, executor: Executor, folder: Path, gate: Path) -> list[futures.Future[str]]:
        """Keep every worker busy until the gate is there."""
        begun = [folder / f"begun{number}" for number in range(executor.workers)]
        blocking = [executor.submit(tasks.say_and_wait, str(file), str(gate)) for file in begun]
        for file in begun:
            tasks.wait_for(file, self.patience)
        return blocking
