"""ProcessExecutor: the contract, and what is special about a pool of our own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from persistable.executors import ProcessExecutor
from persistable.resources import Resources
from persistable.testing import ExecutorContract


class TestProcessExecutor(ExecutorContract):
    script = "from persistable.executors import ProcessExecutor; executor = ProcessExecutor(2)"
    too_much = Resources(cpus=100_000)

    @pytest.fixture
    def executor(self) -> Iterator[ProcessExecutor]:
        with ProcessExecutor(2) as executor:
            yield executor
