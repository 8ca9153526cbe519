"""What is special about Ray: batches, resources, the object store, connections."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest
from servers.ray_cluster import RayCluster

from persistable.errors import Infeasible, WorkerDied
from persistable.executors import RayExecutor
from persistable.executors.resources import Resources
from persistable.testing import executor_tasks as tasks

pytestmark = pytest.mark.xdist_group("ray")
PATIENCE = 60.0


@pytest.fixture
def executor(ray_cluster: RayCluster) -> Iterator[RayExecutor]:
    with RayExecutor() as executor:
        yield executor


def eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


def begun(folder: Path) -> int:
    return len(list(folder.glob("begun*")))


def warm(executor: RayExecutor) -> None:
    """Have it know that tasks are short."""
    for _ in range(2):
        assert list(executor.map(tasks.double, range(200), timeout=PATIENCE))


# --- batches


def test_short_tasks_share_batches_and_others_do_not(executor: RayExecutor) -> None:
    def batch() -> str:
        import ray

        return str(ray.get_runtime_context().get_task_id())

    warm(executor)
    together = [executor.submit(batch) for _ in range(1000)]
    alone = [executor.submit_for(Resources(time=60), batch) for _ in range(10)]
    other = [executor.submit_for(Resources(cpus=0.5), batch) for _ in range(100)]
    names = {future.result(PATIENCE) for future in together}
    assert len(names) < 500
    assert len({future.result(PATIENCE) for future in alone} - names) == 10
    assert {future.result(PATIENCE) for future in other}.isdisjoint(names)


def test_a_long_task_holds_up_no_other_of_its_batch(executor: RayExecutor, tmp_path: Path) -> None:
    warm(executor)
    gate = tmp_path / "gate"
    pending = [executor.submit(tasks.double, number) for number in range(300)]
    long = executor.submit(tasks.signal_and_wait, str(tmp_path / "begun"), str(gate))
    pending += [executor.submit(tasks.double, number) for number in range(300, 600)]
    assert [future.result(PATIENCE) for future in pending] == [2 * number for number in range(600)]
    assert not long.done()
    gate.touch()
    assert long.result(PATIENCE)


def test_those_that_die_in_a_batch_take_nobody_along(executor: RayExecutor, tmp_path: Path) -> None:
    warm(executor)
    folder = tmp_path / "traces"
    folder.mkdir()
    pending: list[futures.Future[Any]] = [executor.submit(tasks.leave_trace, str(folder), number) for number in range(100)]
    dead = [executor.submit(os._exit, 1) for _ in range(2)]
    pending += [executor.submit(tasks.leave_trace, str(folder), number) for number in range(100, 200)]
    for future in dead:
        assert isinstance(future.exception(PATIENCE), WorkerDied)
    assert [future.result(PATIENCE) for future in pending] == list(range(200))
    assert tasks.traces(folder).keys() == set(range(200))


def test_what_a_long_task_has_in_its_batch_is_answered_when_it_dies(executor: RayExecutor, tmp_path: Path) -> None:
    """It alone was running, and is known to be: those before it have been answered, those behind it are sent again, and none runs twice."""

    def wait_and_die(file: str) -> None:
        tasks.wait_for(Path(file))
        os._exit(1)

    warm(executor)
    folder, gate = tmp_path / "traces", tmp_path / "gate"
    folder.mkdir()
    pending = [executor.submit(tasks.leave_trace, str(folder), number) for number in range(100)]
    dead = executor.submit(wait_and_die, str(gate))
    pending += [executor.submit(tasks.leave_trace, str(folder), number) for number in range(100, 200)]
    assert [future.result(PATIENCE) for future in pending] == list(range(200))
    gate.touch()
    assert isinstance(dead.exception(PATIENCE), WorkerDied)
    assert tasks.traces(folder) == dict.fromkeys(range(200), 1)


def test_tasks_of_a_batch_share_no_argument(executor: RayExecutor) -> None:
    def append(items: list[int]) -> list[int]:
        items.append(1)
        return items

    warm(executor)
    items: list[int] = []
    assert [future.result(PATIENCE) for future in [executor.submit(append, items) for _ in range(50)]] == [[1]] * 50
    assert items == []


def test_a_function_is_carried_as_it_is_when_it_is_submitted_anew(executor: RayExecutor) -> None:
    factor = 1

    def scaled(x: int) -> int:
        return x * factor

    assert executor.submit(scaled, 5).result(PATIENCE) == 5
    factor = 3
    assert executor.submit(scaled, 5).result(PATIENCE) == 15


# --- cancelling and stopping


def test_tasks_with_a_time_go_to_ray_only_when_there_is_room(executor: RayExecutor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    pending = [
        executor.submit_for(Resources(time=60), tasks.signal_and_wait, str(tmp_path / f"begun{number}"), str(gate)) for number in range(5)
    ]
    eventually(lambda: begun(tmp_path) == 2)
    assert [future.running() for future in pending] == [True, True, False, False, False]
    assert pending[4].cancel()
    gate.touch()
    assert futures.wait(pending, timeout=PATIENCE).not_done == set()
    assert begun(tmp_path) == 4


def test_the_window_is_what_was_asked_for(ray_cluster: RayCluster, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    for window, at_ray in ((1, 1), (5, 5)):
        with RayExecutor(max_pending=window) as executor:
            gate.unlink(missing_ok=True)
            pending = [executor.submit(tasks.signal_and_wait, str(tmp_path / "begun"), str(gate)) for _ in range(8)]
            eventually(lambda: sum(future.running() for future in pending) == at_ray)  # noqa: B023 - called at once
            gate.touch()
            assert all(future.result(PATIENCE) for future in pending)
    with pytest.raises(ValueError, match="max_pending"):
        RayExecutor(max_pending=0)


def test_what_waits_in_the_queue_of_ray_is_stopped_there(ray_cluster: RayCluster, tmp_path: Path) -> None:
    gate, folder = tmp_path / "gate", tmp_path / "traces"
    folder.mkdir()
    with RayExecutor(max_pending=8) as executor:
        blocking = [executor.submit(tasks.signal_and_wait, str(tmp_path / f"begun{number}"), str(gate)) for number in range(2)]
        eventually(lambda: begun(tmp_path) == 2)
        waiting = [executor.submit(tasks.leave_trace, str(folder), number) for number in range(4)]
        eventually(lambda: all(future.running() for future in waiting))
        assert executor.stop(waiting[1])
        with pytest.raises(futures.CancelledError):
            waiting[1].result(0)
        gate.touch()
        assert all(future.result(PATIENCE) for future in blocking)
        assert [waiting[number].result(PATIENCE) for number in (0, 2, 3)] == [0, 2, 3]
    assert tasks.traces(folder) == {0: 1, 2: 1, 3: 1}


def test_a_program_survives_that_it_stops_what_is_on_its_way(ray_cluster: RayCluster, tmp_path: Path) -> None:
    """Ray ends the process that cancels a batch while its worker sends it back. A program of its own, since this one would be gone."""
    done = script(
        """
import time
from persistable.executors import RayExecutor
with RayExecutor() as executor:
    end = time.monotonic() + 15
    for number in range(200):
        pending = [executor.submit(abs, -place) for place in range(5)]
        time.sleep(0.0005 * (number % 5))
        stopped = executor.stop(pending[2])
        assert [future.result(60) for place, future in enumerate(pending) if place != 2 or not stopped]
        if time.monotonic() > end:
            break
print("alive")
""",
        tmp_path,
    )
    assert done.returncode == 0 and done.stdout.endswith("alive\n"), done.stdout + done.stderr  # Ray, too, may have printed something


def test_a_callback_may_stop_another_task(executor: RayExecutor, tmp_path: Path) -> None:
    long = executor.submit(tasks.signal_and_wait, str(tmp_path / "begun"), str(tmp_path / "never"))
    tasks.wait_for(tmp_path / "begun", PATIENCE)
    executor.submit(tasks.double, 1).add_done_callback(lambda _: executor.stop(long))
    with pytest.raises(futures.CancelledError):
        long.result(PATIENCE)


# --- resources


def test_resources_become_those_of_ray(executor: RayExecutor) -> None:
    def given() -> dict[str, float]:
        import ray

        found: dict[str, float] = ray.get_runtime_context().get_assigned_resources()
        return found

    assert executor.submit(given).result(PATIENCE) == {"CPU": 1.0}
    asked = Resources(cpus=0.5, memory=50 << 20, time=60, db=1)
    found = executor.submit_for(asked, given).result(PATIENCE)
    assert found["CPU"] == 0.5
    assert found["memory"] == 50 << 20
    assert "db" not in found, "no node declares such a thing"


def test_what_is_refused_is_told_with_what_there_is(executor: RayExecutor) -> None:
    with pytest.raises(Infeasible, match=r"CPU 3.*1 nodes.*CPU 2.*memory .*iB") as caught:
        executor.submit_for(Resources(cpus=3), tasks.double, 1)
    assert caught.value.wanted == {"CPU": 3}
    assert caught.value.available["CPU"] == 2
    with pytest.raises(Infeasible, match="GPU 1"):
        executor.submit_for(Resources(gpus=1), tasks.double, 1)
    with pytest.raises(Infeasible, match=r"memory 1\.07e\+09 GiB"):
        executor.submit_for(Resources(memory=1 << 60), tasks.double, 1)
    assert executor.workers == 2


# --- the object store


def stored() -> int:
    """Objects in the store of the head."""
    from ray._private.internal_api import memory_summary

    found = re.search(r"Plasma memory usage [\d.]+ \w+, (\d+) objects", memory_summary(stats_only=True))
    return int(found.group(1)) if found else 0


def settled() -> int:
    """`stored` when what others left there has gone."""
    before = -1
    while before != (found := stored()):
        before = found
        time.sleep(0.5)
    return found


def test_a_large_array_is_put_once_and_arrives_without_a_copy(executor: RayExecutor, tmp_path: Path) -> None:
    import numpy as np

    gate = tmp_path / "gate"

    def look(array: Any, number: int) -> tuple[float, bool, bool]:
        tasks.wait_for(gate)
        return float(array[number]), bool(array.flags.writeable), bool(array.flags.owndata)

    before = settled()
    array = np.arange(2_000_000, dtype=np.float64)
    pending = [executor.submit(look, array, number) for number in range(20)]
    eventually(lambda: pending[0].running() and stored() > before)
    gate.touch()
    assert [future.result(PATIENCE) for future in pending] == [(float(number), False, False) for number in range(20)]
    assert stored() == before + 1
    array = pending = None
    eventually(lambda: stored() == before)


def test_an_array_that_was_changed_is_put_again(executor: RayExecutor) -> None:
    import numpy as np

    array = np.zeros(500_000)
    assert executor.submit(tasks.measure, array).result(PATIENCE)[2] == 0
    array += 1
    assert executor.submit(tasks.measure, array).result(PATIENCE)[2] == 500_000


def test_large_bytes_arrays_of_any_layout_and_large_closures_arrive(executor: RayExecutor) -> None:
    import numpy as np

    data = os.urandom(3 << 20)
    array = np.asfortranarray(np.arange(600_000).reshape(600, 1000))
    text = "x" * (2 << 20)

    def check(given: bytes, parts: list[bytes], named: dict[str, Any], turned: Any, every: Any, long: str) -> tuple[Any, ...]:
        return (
            type(given),
            given == data == parts[0] == named["data"],
            type(parts[1]),
            bool((turned == array).all()),
            every.shape,
            len(long),
        )

    found = executor.submit(check, data, [data, bytearray(data)], {"data": data}, array, array[:, ::2], long=text).result(PATIENCE)
    assert found == (bytes, True, bytearray, True, (600, 500), 2 << 20)


def test_a_large_result_can_be_used_when_the_executor_is_gone(ray_cluster: RayCluster) -> None:
    import numpy as np

    with RayExecutor() as executor:
        results = list(executor.map(tasks.reverse, [np.arange(300_000) + number for number in range(10)]))
    assert [int(result[-1]) for result in results] == list(range(10))


# --- connections


def test_it_cannot_be_pickled(executor: RayExecutor) -> None:
    with pytest.raises(TypeError, match="RayExecutor"):
        pickle.dumps(executor)


def test_another_cluster_than_the_one_in_use_is_refused(ray_cluster: RayCluster) -> None:
    for other in (RayExecutor("local"), RayExecutor(num_cpus=3), RayExecutor("127.0.0.1:1")):
        with pytest.raises(RuntimeError, match=ray_cluster.address):
            other.submit(tasks.double, 1)
    with RayExecutor(ray_cluster.address) as same, RayExecutor("auto") as auto:
        assert same.submit(tasks.double, 1).result(PATIENCE) == auto.submit(tasks.double, 1).result(PATIENCE) == 2


def test_an_executor_nobody_holds_finishes_its_work_and_goes(ray_cluster: RayCluster) -> None:
    before = set(threading.enumerate())
    executor = RayExecutor()
    pending = [executor.submit(tasks.double, number) for number in range(10)]
    mine = set(threading.enumerate()) - before
    del executor
    assert [future.result(PATIENCE) for future in pending] == [2 * number for number in range(10)]
    eventually(lambda: not any(thread.is_alive() for thread in mine if thread.name == "persistable-ray"))


def script(source: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    file = folder / "script.py"
    file.write_text(source)
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.run(
        [sys.executable, str(file)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_program_ends_after_its_tasks(ray_cluster: RayCluster, tmp_path: Path) -> None:
    done = script(
        """
import os, time
from persistable.executors import RayExecutor
def slowly(name):
    time.sleep(0.3)
    open(f"{folder}/{name}", "x").close()
folder = os.getcwd()
executor = RayExecutor()
for number in range(6):
    executor.submit(slowly, f"trace{number}")
print("last line")
""",
        tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "last line\n"), done.stderr
    assert len(list(tmp_path.glob("trace*"))) == 6


def test_nobody_waits_for_ever_when_ray_is_shut_down_by_somebody_else(ray_cluster: RayCluster, tmp_path: Path) -> None:
    done = script(
        """
import time
from concurrent.futures import Future
from persistable.executors import RayExecutor
executor = RayExecutor()
assert executor.submit(abs, -1).result(60) == 1
long = executor.submit(time.sleep, 600)
import ray
ray.shutdown()
print(type(long.exception(60)).__name__)
try:
    executor.submit(abs, -1)
except RuntimeError as error:
    print(error)
executor.shutdown()
""",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "RunError\ncannot schedule new futures after shutdown\n"


def test_a_local_instance_is_started_late_shared_and_ended(ray_cluster: RayCluster, tmp_path: Path) -> None:
    done = script(
        """
import logging, os, sys
del os.environ["RAY_USAGE_STATS_ENABLED"]
from persistable.executors import RayExecutor
first, second = RayExecutor("local", num_cpus=1), RayExecutor("local", num_cpus=1)
assert "ray" not in sys.modules
assert first.submit(abs, -1).result(120) == 1
import ray
assert ray.is_initialized()
assert first.workers == second.workers == 1
assert second.submit(abs, -2).result(60) == 2
first.shutdown()
assert ray.is_initialized()
assert second.submit(abs, -3).result(60) == 3
second.shutdown()
assert not ray.is_initialized()
assert "RAY_USAGE_STATS_ENABLED" not in os.environ
assert not logging.getLogger("ray").handlers
assert not logging.getLogger().handlers
""",
        tmp_path,
        RAY_ADDRESS="",
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_missing_ray_is_told_with_what_installs_it(tmp_path: Path) -> None:
    done = script(
        """
import sys
sys.modules["ray"] = None
from persistable.errors import MissingExtra
from persistable.executors import RayExecutor
try:
    RayExecutor().submit(abs, 1)
except MissingExtra as error:
    print(error.extra, error)
""",
        tmp_path,
    )
    assert done.stdout.startswith("ray RayExecutor needs ray"), done.stderr
    assert "pip install 'persistable[ray]'" in done.stdout


def test_a_worker_killed_from_outside_fails_its_task_alone(executor: RayExecutor, tmp_path: Path) -> None:
    def told(file: str) -> None:
        Path(file + ".part").write_text(str(os.getpid()))
        os.rename(file + ".part", file)
        time.sleep(600)

    victim = executor.submit(told, str(tmp_path / "pid"))
    tasks.wait_for(tmp_path / "pid", PATIENCE)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    error = victim.exception(PATIENCE)
    assert isinstance(error, WorkerDied)
    assert executor.submit(tasks.double, 2).result(PATIENCE) == 4


def test_a_task_that_is_stopped_while_its_answer_is_unpacked_has_ended(executor: RayExecutor, tmp_path: Path) -> None:
    class Slow:
        def __reduce__(self) -> tuple[Any, ...]:
            return time.sleep, (2.0,)

    def end(file: str) -> Slow:
        Path(file).touch()
        return Slow()

    warm(executor)
    future = executor.submit(end, str(tmp_path / "ended"))
    tasks.wait_for(tmp_path / "ended", PATIENCE)
    time.sleep(0.5)
    assert not future.done()
    assert not executor.stop(future)
    assert future.result(PATIENCE) is None
