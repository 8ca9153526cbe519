"""The contract of cancelling, stopping and shutting down, as tests: part of `ExecutorContract`."""

from __future__ import annotations

import time
from concurrent import futures
from pathlib import Path
from typing import ClassVar

import pytest

from persistable.executors.base import Executor
from persistable.testing import executor_tasks as tasks


class EndingContract:
    """The tests, see `ExecutorContract`."""

    patience: ClassVar[float] = 60.0
    """Seconds after which an expected event counts as missing."""
    immediate: ClassVar[bool] = False
    """`submit` returns when the task is done, so none is ever waiting or running."""
    rounds: ClassVar[int] = 20
    """Number of times that a task which may be about to end is stopped."""

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
        if self.immediate or not executor.can_stop:
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
        if not executor.can_stop:
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
        if not executor.can_stop:
            return
        gate = tmp_path / "gate"
        doomed = executor.submit(tasks.signal_and_wait, str(tmp_path / "begun"), str(gate))
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
        if not executor.can_stop:
            return
        for number in range(self.rounds):
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
        if self.immediate or executor.can_stop:
            return
        gate = tmp_path / "gate"
        future = executor.submit(tasks.signal_and_wait, str(tmp_path / "begun"), str(gate))
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
        for number, future in enumerate(waiting):  # not `wait`, which overlooks futures that a ThreadPoolExecutor cancels
            assert future.cancelled() or future.result(self.patience) == 2 * number

    def test_the_with_block_shuts_down(self, executor: Executor) -> None:
        with executor as entered:
            assert entered is executor
            future = executor.submit(tasks.double, 3)
        assert future.done() and future.result() == 6
        with pytest.raises(RuntimeError):
            executor.submit(tasks.double, 3)

    def _goes_on(self, executor: Executor) -> None:
        pending = [executor.submit(tasks.double, number) for number in range(10)]
        assert [future.result(self.patience) for future in pending] == [2 * number for number in range(10)]

    def _block(self, executor: Executor, folder: Path, gate: Path) -> list[futures.Future[str]]:
        """Keep every worker busy until the file `gate` exists."""
        begun = [folder / f"begun{number}" for number in range(executor.workers)]
        blocking = [executor.submit(tasks.signal_and_wait, str(file), str(gate)) for file in begun]
        for file in begun:
            tasks.wait_for(file, self.patience)
        return blocking
