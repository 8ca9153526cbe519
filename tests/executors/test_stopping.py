"""Tasks that are stopped at the moment at which they end: no other task is lost with them."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError
from pathlib import Path

from persistable.executors import ProcessExecutor
from persistable.testing import executor_tasks as tasks


def test_a_task_that_follows_one_that_ended_while_it_was_stopped_is_done(tmp_path: Path) -> None:
    for attempt in range(25):
        with ProcessExecutor(2) as executor:
            for number in range(20):
                folder = tmp_path / f"{attempt}-{number}"
                folder.mkdir()
                pending = [executor.submit(tasks.leave_trace, str(folder), task) for task in range(5)]
                time.sleep(0.0005 * (number % 5))
                stopped = executor.stop(pending[2])
                for task, future in enumerate(pending):
                    if task == 2 and stopped:
                        assert isinstance(future.exception(30), CancelledError) if not future.cancelled() else True
                    else:
                        assert future.result(30) == task
