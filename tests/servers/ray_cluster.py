"""A real Ray cluster of several nodes, all of them on this machine. It binds every interface, so tests run inside `tests/lonet`."""

from __future__ import annotations

import contextlib
import inspect
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from servers.needs import free_port, need

START = 150.0  # seconds that a cluster may take to start
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
        with _patience():
            node = self.cluster.add_node(object_store_memory=MEMORY, **_ports(), **options)
        self.cluster.wait_for_nodes()
        return node

    def kill(self, node: Any) -> None:
        """What a power cut does to a node."""
        self.cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        import ray

        ray.shutdown()
        self.cluster.shutdown()


def _started() -> Any:
    """A head with as few processes as there can be."""
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 2, "include_dashboard": False, "include_log_monitor": False, "object_store_memory": MEMORY, **_ports()}
    with _patience():
        return Cluster(initialize_head=True, head_node_args=options)


def _ports() -> dict[str, int]:
    names = "metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port"
    return {name: free_port() for name in names}


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Ray 2.60 gives a node 15 seconds to learn its agents' ports, and then dies, and 30 to be there: too few on a busy machine.

    No setting makes that longer. So the ports are given, the one that cannot be is said in the file where the node looks for it, and
    whether the node is there is asked for `START` seconds.
    """
    from ray._private import services

    with pytest.MonkeyPatch.context() as ray:
        ray.setattr(services, "get_node", _patient(services.get_node), raising=False)
        ray.setattr(services, "start_raylet", _told(services.start_raylet), raising=False)
        yield


def _patient(ask: Callable[..., Any]) -> Callable[..., Any]:
    def wait(*arguments: Any) -> Any:
        until = time.monotonic() + START
        while True:
            try:
                return ask(*arguments)
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    return wait


def _told(start: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(start)

    def tell(*arguments: Any, **options: Any) -> Any:
        given = signature.bind(*arguments, **options).arguments
        port = Path(given["session_dir"], f"dashboard_agent_listen_port_{given['node_id']}")
        port.write_text(str(given["dashboard_agent_listen_port"]))
        return start(*arguments, **options)

    return tell


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


@pytest.fixture(scope="module", params=["ray", "dask"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Any]:
    """An executor whose workers are elsewhere: on the cluster of Ray, or on one of Dask."""
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
        from persistable.executors import RayExecutor

        with RayExecutor() as executor:
            yield executor
    else:
        need("distributed", "psutil")
        from persistable.executors import DaskExecutor

        with DaskExecutor(n_workers=2) as executor:
            yield executor
