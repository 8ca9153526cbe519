"""More than one node: what one declares is used, one that dies is survived, and a program outside the cluster is served as well."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers.needs import free_port, need
from servers.ray_cluster import RayCluster

from persistable.executors import RayExecutor
from persistable.executors.resources import Resources

pytestmark = pytest.mark.xdist_group("ray")
PATIENCE = 120.0


def test_a_node_that_dies_is_survived_and_what_it_declares_is_used(ray_cluster: RayCluster, tmp_path: Path) -> None:
    def where(number: int, wait: float) -> tuple[int, str]:
        import ray

        node: str = ray.get_runtime_context().get_node_id()
        Path(folder, f"{number}.{node}").touch()
        time.sleep(wait)
        return number, node

    folder = str(tmp_path)
    doomed = ray_cluster.add(num_cpus=2, resources={"db": 2})
    try:
        with RayExecutor() as executor:
            assert executor.workers == 4
            at_db = [executor.submit_for(Resources(db=1), where, -number, 0.0) for number in range(1, 5)]
            assert {future.result(PATIENCE)[1] for future in at_db} == {doomed.node_id}
            pending = [executor.submit(where, number, 0.2) for number in range(40)]
            end = time.monotonic() + PATIENCE
            while not [path for path in tmp_path.glob(f"*.{doomed.node_id}") if not path.name.startswith("-")]:
                assert time.monotonic() < end
                time.sleep(0.01)
            ray_cluster.kill(doomed)
            doomed = None
            assert [future.result(PATIENCE)[0] for future in pending] == list(range(40))
            assert {int(path.name.partition(".")[0]) for path in tmp_path.iterdir()} == {*range(-4, 0), *range(40)}
    finally:
        if doomed is not None:
            ray_cluster.kill(doomed)


_OUTSIDE = """
import os, sys, time
from concurrent.futures import CancelledError
from pathlib import Path
from persistable.errors import WorkerDied
from persistable.executors import RayExecutor
from persistable.testing import executor_tasks as tasks

folder, address = sys.argv[1:]
with RayExecutor(address) as executor:
    assert [*executor.map(tasks.double, range(300))] == [2 * number for number in range(300)]
    pending = [executor.submit(tasks.leave_trace_or_exit, folder + "/traces", number, 30) for number in range(60)]
    for number, future in enumerate(pending):
        if number == 30:
            assert isinstance(future.exception(60), WorkerDied)
        else:
            assert future.result(60) == number
    assert tasks.traces(folder + "/traces").keys() == set(range(60))

    long = executor.submit(tasks.tick_in_a_subprocess, folder + "/ticks")
    tasks.wait_for(Path(folder, "ticks"), 60)
    assert executor.stop(long)
    size = os.path.getsize(folder + "/ticks")
    try:
        long.result(0)
    except CancelledError:
        print("stopped")
    time.sleep(0.3)
    assert os.path.getsize(folder + "/ticks") == size

    import numpy as np
    assert executor.submit(tasks.measure, np.ones(400_000)).result(60)[2] == 400_000
print("done")
"""


_SERVER = """
import sys
import ray
from ray.util.client.server.server import serve

ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
server = serve("127.0.0.1", int(sys.argv[2]))
print("up", flush=True)
sys.stdin.read()
server.stop(0)
"""


def test_a_program_outside_the_cluster_is_served(ray_cluster: RayCluster, tmp_path: Path) -> None:
    """Through a Ray client the process of a stopped task is killed by a task on its node, as it is on other machines."""
    need("grpc")
    (tmp_path / "traces").mkdir()
    port = str(free_port())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    serving = [sys.executable, "-c", _SERVER, ray_cluster.address, port]
    server = subprocess.Popen(serving, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert server.stdin is not None and server.stdout is not None
    try:
        assert server.stdout.readline() == b"up\n"
        (tmp_path / "script.py").write_text(_OUTSIDE)
        command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path), f"ray://127.0.0.1:{port}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout == "stopped\ndone\n"
    finally:
        server.stdin.close()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(20)
        server.stdout.close()
