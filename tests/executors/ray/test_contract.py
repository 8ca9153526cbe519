"""RayExecutor keeps the promises of every executor, on a real cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
from servers.ray_cluster import RayCluster

from persistable.executors import RayExecutor
from persistable.executors.resources import Resources
from persistable.testing import ExecutorContract


@pytest.mark.xdist_group("ray")
class TestRayExecutor(ExecutorContract):
    script: ClassVar[str] = "from persistable.executors import RayExecutor; executor = RayExecutor()"
    knows_exit_status: ClassVar[bool] = False
    at_least_once: ClassVar[bool] = True
    too_much: ClassVar[Resources | None] = Resources(cpus=1000)

    @pytest.fixture
    def executor(self, ray_cluster: RayCluster) -> Iterator[RayExecutor]:
        with RayExecutor() as executor:
            yield executor
