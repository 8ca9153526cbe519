"""SlurmExecutor keeps the promises of every executor, on a real cluster of one node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from persistable.executors import SlurmExecutor
from persistable.executors.resources import Resources
from persistable.testing import ExecutorContract


@pytest.mark.xdist_group("slurm")
class TestSlurmExecutor(ExecutorContract):
    many: ClassVar[int] = 200
    deadly: ClassVar[int] = 20
    rounds: ClassVar[int] = 4
    too_much: ClassVar[Resources | None] = Resources(cpus=1000)

    @pytest.fixture
    def executor(self, slurm_cluster: Path) -> Iterator[SlurmExecutor]:
        type(self).script = f"from persistable.executors import SlurmExecutor; executor = SlurmExecutor({str(slurm_cluster / 'jobs')!r})"
        with SlurmExecutor(slurm_cluster / "jobs") as executor:
            yield executor
