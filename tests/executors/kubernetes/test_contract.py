"""The contract of executors against a stand-in for a cluster whose pods are processes of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
from servers.kubernetes.standin import StandIn

from persistable.executors import KubernetesExecutor
from persistable.executors.base import Executor
from persistable.testing import ExecutorContract


@pytest.mark.xdist_group("kubernetes")
class TestKubernetes(ExecutorContract):
    many: ClassVar[int] = 50
    deadly: ClassVar[int] = 10
    rounds: ClassVar[int] = 8

    @pytest.fixture
    def executor(self, kubernetes_standin: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
        config = kubernetes_standin.kubeconfig()
        made = f"KubernetesExecutor('test', kubeconfig={str(config)!r})"
        type(self).script = f"from persistable.executors import KubernetesExecutor; executor = {made}"
        with KubernetesExecutor("test", kubeconfig=config, workers=2, files=tmp_path_factory.mktemp("large")) as executor:
            yield executor
