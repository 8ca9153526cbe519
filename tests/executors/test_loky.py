"""FuturesExecutor over loky, and loky's own error told as ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.needs import need

from persistable.errors import WorkerDied
from persistable.executors import FuturesExecutor
from persistable.testing import ExecutorContract
from persistable.testing import executor_tasks as tasks


class TestOverLoky(ExecutorContract):
    sends_notes = False
    script = """
from loky import get_reusable_executor
from persistable.executors import FuturesExecutor
executor = FuturesExecutor(get_reusable_executor(2))
"""

    @pytest.fixture
    def executor(self) -> Iterator[FuturesExecutor]:
        need("loky")
        import loky

        inner = loky.ProcessPoolExecutor(2)
        yield FuturesExecutor(inner)
        inner.shutdown(kill_workers=True)


def test_a_dead_worker_is_told_alike() -> None:
    need("loky")
    import loky

    inner = loky.ProcessPoolExecutor(1)
    try:
        assert isinstance(FuturesExecutor(inner).submit(tasks.kill_own_process, 9).exception(60), WorkerDied)
    finally:
        inner.shutdown(kill_workers=True)
