"""A real Ray cluster of several nodes, all of them on this machine. It binds every interface, so tests run inside `tests/lonet`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from servers.needs import need

MEMORY = 200 << 20  # bytes of each node's object store
# and no worker is killed because other tests, or others on this machine, need much memory
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_memory_monitor_refresh_ms": "0",
}


class RayCluster:
    """A head with two CPUs that this process is connected to, and nodes that come and go."""

    def __init__(self) -> None:
        import ray

        self.cluster = _started()
        self.address: str = self.cluster.address
        ray.init(address=self.address, logging_level="ERROR", log_to_driver=False)

    def add(self, **options: Any) -> Any:
        """A further node."""
        node = self.cluster.add_node(object_store_memory=MEMORY, **options)
        self.cluster.wait_for_nodes()
        return node

    def kill(self, node: Any) -> None:
        """What a power cut does to a node."""
        self.cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        import ray

        ray.shutdown()
        self.cluster.shutdown()


def _started(tries: int = 3) -> Any:
    """A head, on ports that nobody else has. Ray gives each start 30 seconds, which a busy machine may need more than once."""
    import psutil
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": MEMORY, "dashboard_agent_listen_port": 0}
    before = {child.pid for child in psutil.Process().children()}
    for left in reversed(range(tries)):
        try:
            return Cluster(initialize_head=True, head_node_args=options)
        except Exception as error:
            if "timed out" not in str(error) or not left:
                raise
        for child in psutil.Process().children():
            if child.pid not in before:
                child.kill()
                child.wait(20)
    raise AssertionError("no try left")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    """A running cluster; programs that are started find it by ``$RAY_ADDRESS``."""
    need("ray")
    before = {name: os.environ.get(name) for name in (*ENVIRONMENT, "RAY_TMPDIR", "RAY_ADDRESS")}
    folder = tempfile.mkdtemp(prefix="ray-")  # short, since sockets have short names; by default all Rays of a machine share one
    os.environ.update(ENVIRONMENT, RAY_TMPDIR=folder)
    cluster: RayCluster | None = None
    try:
        cluster = RayCluster()
        os.environ["RAY_ADDRESS"] = cluster.address
        yield cluster
    finally:
        if cluster is not None:
            cluster.close()
        shutil.rmtree(folder, ignore_errors=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
