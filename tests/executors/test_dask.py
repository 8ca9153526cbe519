"""The contract on a cluster of its own and on somebody else's, and what is particular to Dask."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from servers.needs import need

from persistable import run, step
from persistable.errors import Infeasible, WorkerDied
from persistable.executors import DaskExecutor
from persistable.executors.base import Executor
from persistable.executors.resources import Resources
from persistable.testing import ExecutorContract
from persistable.testing import executor_tasks as tasks

PATIENCE = 120.0


@pytest.fixture(autouse=True, scope="module")
def _packages() -> None:
    need("distributed", "psutil")


class TestOwnCluster(ExecutorContract):
    script: ClassVar[str] = "from persistable.executors import DaskExecutor; executor = DaskExecutor(n_workers=2)"
    too_much: ClassVar[Resources | None] = Resources(memory=2**60)
    patience: ClassVar[float] = PATIENCE
    at_least_once: ClassVar[bool] = True

    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        with DaskExecutor(n_workers=2) as executor:
            yield executor


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Somebody else's cluster: two processes of two threads, which declare a GPU and a licence each."""
    from distributed import LocalCluster

    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            resources={"GPU": 2, "licence": 1},
            memory_limit="4GiB",
            scheduler_kwargs={"allowed_failures": 1},  # so that giving a task up does not depend on how quickly workers are replaced
        ) as cluster,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("TEST_DASK_SCHEDULER", cluster.scheduler_address)
        yield cluster


@pytest.mark.usefixtures("cluster")
class TestAnothersCluster(ExecutorContract):
    script: ClassVar[str] = (
        "import os; from persistable.executors import DaskExecutor; executor = DaskExecutor(os.environ['TEST_DASK_SCHEDULER'])"
    )
    too_much: ClassVar[Resources | None] = Resources(gpus=3)
    patience: ClassVar[float] = PATIENCE

    @pytest.fixture
    def executor(self, cluster: Any) -> Iterator[Executor]:
        with DaskExecutor(cluster.scheduler_address) as executor:
            yield executor


# ------------------------------------------------------------------ its own cluster


def listening() -> dict[int, set[str]]:
    """The ports on which this process and its children listen, with the addresses."""
    import psutil

    me = psutil.Process()
    found: dict[int, set[str]] = {}
    for process in (me, *me.children(recursive=True)):
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                found.setdefault(connection.laddr.port, set()).add(connection.laddr.ip)
    return found


def test_a_cluster_is_made_at_first_use_and_listens_on_the_loopback_only() -> None:
    before = listening()
    executor = DaskExecutor(n_workers=1)
    assert executor.isolates and not executor.can_stop and executor.workers == 1
    assert set(listening()) == set(before)
    with executor:
        pid = executor.submit(os.getpid).result(PATIENCE)
        assert pid != os.getpid()
        new = {port: addresses for port, addresses in listening().items() if port not in before}
        assert new
        assert set().union(*new.values()) == {"127.0.0.1"}
        assert 8787 not in new
    wait_until_gone(pid)
    assert not set(listening()) - set(before)


def wait_until_gone(*pids: int) -> None:
    import psutil

    deadline = time.monotonic() + PATIENCE
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        assert time.monotonic() < deadline, f"of {pids} some are still there"
        time.sleep(0.05)


def test_two_clusters_beside_each_other_do_not_clash() -> None:
    with DaskExecutor(n_workers=1) as one, DaskExecutor(n_workers=1) as other:
        assert one.submit(tasks.double, 2).result(PATIENCE) == 4
        assert other.submit(tasks.double, 3).result(PATIENCE) == 6
        assert one.submit(os.getpid).result(PATIENCE) != other.submit(os.getpid).result(PATIENCE)


def test_what_had_ended_on_a_process_before_it_dies_is_not_lost(tmp_path: Path) -> None:
    """One process, where each innocent is followed by a guilty one at once: outcomes not fetched yet are not those of the guilty one."""
    with DaskExecutor(n_workers=1) as executor:
        pending = [executor.submit(tasks.leave_trace_or_exit, str(tmp_path), number, number | 1) for number in range(8)]
        for number, future in enumerate(pending):
            if number % 2:
                assert isinstance(future.exception(PATIENCE), WorkerDied)
            else:
                assert future.result(PATIENCE) == number
    found = tasks.traces(tmp_path)
    assert found.keys() == set(range(8)) and all(found[number] == 1 for number in range(1, 8, 2)), "a guilty one begins once"


def test_workers_leave_when_the_process_that_made_them_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\n"
        "from persistable.executors import DaskExecutor\n"
        "executor = DaskExecutor(n_workers=1)\n"
        "print(executor.submit(os.getpid).result(), executor.submit(os.getppid).result(), flush=True)\n"
        "time.sleep(300)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    with subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 2
        process.send_signal(signal.SIGKILL)
    wait_until_gone(*pids)


def test_a_script_that_forgets_to_shut_down_leaves_nobody_behind(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "from persistable.executors import DaskExecutor\n"
        "executor = DaskExecutor(n_workers=1)\n"
        "print(executor.submit(os.getpid).result(), flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    wait_until_gone(int(done.stdout))


def test_a_file_of_the_users_that_is_called_like_dask_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dask.py").write_text("raise SystemExit('not me')")
    monkeypatch.chdir(tmp_path)
    with DaskExecutor(n_workers=1) as executor:
        assert executor.submit(os.getcwd).result(PATIENCE) == str(tmp_path)


def test_a_run_on_dask(tmp_path: Path) -> None:
    @step
    def square(n: int) -> int:
        return n * n

    @step
    def total(parts: list[int]) -> int:
        return sum(parts)

    @step
    def doomed(n: int) -> int:
        os._exit(n)

    node, lost = total.step([square.step(n) for n in range(5)]), doomed.step(3)
    with DaskExecutor(n_workers=2) as executor:
        result = run(node, lost, executor=executor, store=tmp_path, errors="return")
        assert result[node].payload == 30
        assert [failure.key for failure in result.failures] == [lost.key]
        again = run(node, executor=executor, store=tmp_path)
        assert again[node].payload == 30


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="n_workers is 0"):
        DaskExecutor(n_workers=0)


# ------------------------------------------------------------------ somebody else's


def test_a_client_is_used_and_not_closed(cluster: Any) -> None:
    from distributed import Client

    with Client(cluster, set_as_default=False) as client:
        with DaskExecutor(client) as executor:
            assert executor.workers == 4
            assert not executor.isolates
            assert executor.submit(tasks.double, 2).result(PATIENCE) == 4
        assert client.submit(tasks.double, 3).result(PATIENCE) == 6


def test_more_may_be_under_way_than_there_are_threads_now(cluster: Any) -> None:
    with DaskExecutor(cluster.scheduler_address, n_workers=50) as executor:
        assert executor.workers == 50
        assert list(executor.map(tasks.double, range(100), timeout=PATIENCE)) == [2 * number for number in range(100)]


def test_declared_resources_are_respected(cluster: Any, tmp_path: Path) -> None:
    """Two workers with one licence each: of four tasks that want one, no more than two are ever at work."""
    with DaskExecutor(cluster.scheduler_address) as executor:
        gate = tmp_path / "gate"
        begun = [tmp_path / f"begun{number}" for number in range(4)]
        pending = [executor.submit_for(Resources(licence=1), tasks.signal_and_wait, str(file), str(gate)) for file in begun]
        deadline = time.monotonic() + PATIENCE
        while sum(file.exists() for file in begun) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
        assert sum(file.exists() for file in begun) == 2
        gate.touch()
        assert {future.result(PATIENCE) for future in pending} == {str(file) for file in begun}


def test_what_no_worker_declares_is_refused_with_what_there_is(cluster: Any) -> None:
    with DaskExecutor(cluster.scheduler_address) as executor:
        for resources, wanted, most in (
            (Resources(gpus=3), {"gpus": 3}, {"gpus": 2.0}),
            (Resources(licence=2), {"licence": 2}, {"licence": 1.0}),
            (Resources(memory=2**40), {"memory": 2**40}, {"memory": float(4 * 2**30)}),
        ):
            with pytest.raises(Infeasible, match="no worker of this Dask cluster") as caught:
                executor.submit_for(resources, tasks.double, 1)
            assert caught.value.wanted == wanted
            assert caught.value.available == most
        fits = Resources(cpus=16, memory=2**20, gpus=1, licence=1, undeclared=5)
        assert executor.submit_for(fits, tasks.double, 1).result(PATIENCE) == 2


def test_a_task_that_keeps_killing_workers_is_given_up(cluster: Any) -> None:
    with DaskExecutor(cluster.scheduler_address) as executor:
        error = executor.submit(os._exit, 1).exception(PATIENCE)
        assert isinstance(error, WorkerDied)
        assert error.exitcode is None
        assert executor.submit(tasks.double, 2).result(PATIENCE) == 4
