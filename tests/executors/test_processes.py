"""ProcessExecutor: the contract, and what is special about a pool of our own."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from persistable.errors import RemoteError, WorkerDied
from persistable.executors import ProcessExecutor
from persistable.executors.resources import Resources
from persistable.testing import ExecutorContract
from persistable.testing import executor_tasks as tasks

PACKAGE = Path(__file__).parents[2] / "persistable_pkg"
PATIENCE = 60.0


class TestProcessExecutor(ExecutorContract):
    script = "from persistable.executors import ProcessExecutor; executor = ProcessExecutor(2)"
    too_much = Resources(cpus=100_000)

    @pytest.fixture
    def executor(self) -> Iterator[ProcessExecutor]:
        with ProcessExecutor(2) as executor:
            yield executor


@pytest.fixture
def executor() -> Iterator[ProcessExecutor]:
    with ProcessExecutor(2) as executor:
        yield executor


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # gone, before or while it is read
        return False
    return state not in "ZX"


def script(folder: Path, text: str) -> subprocess.Popen[str]:
    file = folder / "script.py"
    file.write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    return subprocess.Popen(
        [sys.executable, str(file)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


# --- starting


def test_workers_are_started_when_there_is_work_and_no_more_than_asked_for(executor: ProcessExecutor) -> None:
    before = threading.active_count()
    assert ProcessExecutor(5).workers == 5
    assert threading.active_count() == before
    assert len({executor.submit(tasks.process_id).result(PATIENCE) for _ in range(10)}) <= 2
    assert os.getpid() not in {executor.submit(tasks.process_id).result(PATIENCE) for _ in range(10)}


@pytest.mark.parametrize("workers", [0, -3])
def test_at_least_one_worker_is_needed(workers: int) -> None:
    with pytest.raises(ValueError, match="max_workers"):
        ProcessExecutor(workers)


def test_by_default_there_is_one_for_each_usable_cpu() -> None:
    assert ProcessExecutor().workers == len(os.sched_getaffinity(0))


def test_workers_have_the_environment_they_were_given() -> None:
    with ProcessExecutor(1, environment={"COLOUR": "green"}) as executor:
        assert executor.submit(os.getenv, "COLOUR").result(PATIENCE) == "green"
        assert executor.submit(os.getenv, "PATH").result(PATIENCE) == os.environ["PATH"]


def test_workers_import_from_where_this_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here_today.py").write_text("def answer(): return 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from only_here_today import answer

    with ProcessExecutor(1) as executor:
        assert executor.submit(answer).result(PATIENCE) == 42


def imported_here_only(folder: Path, name: str) -> Any:
    (folder / f"{name}.py").write_text("def answer(): return 42\n")
    sys.path.insert(0, str(folder))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(folder))


def test_a_function_that_workers_cannot_import_fails_its_task(executor: ProcessExecutor, tmp_path: Path) -> None:
    executor.submit(tasks.double, 1).result(PATIENCE)
    answer = imported_here_only(tmp_path, "not_there_for_workers").answer
    with pytest.raises(ModuleNotFoundError, match="not_there_for_workers"):
        executor.submit(answer).result(PATIENCE)
    assert executor.submit(tasks.double, 2).result(PATIENCE) == 4


def test_workers_that_cannot_start_fail_the_tasks_and_are_not_tried_for_ever(capfd: pytest.CaptureFixture[str]) -> None:
    with ProcessExecutor(2, environment={"PYTHONHOME": "/nowhere"}) as executor:
        for future in [executor.submit(tasks.double, number) for number in range(5)]:
            with pytest.raises(WorkerDied, match="ended before they could begin"):
                future.result(PATIENCE)
    assert "encodings" in capfd.readouterr().err


def test_an_interpreter_that_is_not_there_fails_the_tasks(executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(WorkerDied, match="/nowhere/python"):
        executor.submit(tasks.double, 1).result(PATIENCE)
    monkeypatch.undo()
    assert executor.submit(tasks.double, 1).result(PATIENCE) == 2


def test_a_program_from_standard_input_works() -> None:
    program = "from persistable.executors import ProcessExecutor\nwith ProcessExecutor(1) as e: print(e.submit(lambda: 6 * 7).result(60))"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    done = subprocess.run([sys.executable, "-"], input=program, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout == "42\n", done.stderr


# --- what tasks do and leave


def test_what_a_task_prints_is_seen_here(executor: ProcessExecutor, capfd: pytest.CaptureFixture[str]) -> None:
    executor.submit(print, "printed over there").result(PATIENCE)
    assert capfd.readouterr().out == "printed over there\n"


def test_an_error_tells_where_in_the_worker_it_was_raised(executor: ProcessExecutor) -> None:
    error = executor.submit(tasks.fail, "no").exception(PATIENCE)
    assert isinstance(error, ValueError)
    assert isinstance(error.__cause__, RemoteError)
    assert "in fail" in str(error.__cause__) and "worker process" in str(error.__cause__)


def test_arrays_arrive_aligned_and_as_writable_as_they_were(executor: ProcessExecutor) -> None:
    import numpy as np

    free, frozen = np.arange(100_000.0), np.arange(200_001, dtype=np.int8)
    frozen.flags.writeable = False
    told = executor.submit(lambda *arrays: [(a.flags.writeable, a.flags.aligned, a.ctypes.data % 64) for a in arrays], free, frozen)
    assert told.result(PATIENCE) == [(True, True, 0), (False, True, 0)]
    back = executor.submit(lambda: np.arange(300_000)).result(PATIENCE)
    back[0] = 7
    assert back[:2].tolist() == [7, 1]


def test_modules_registered_to_go_by_value_do(executor: ProcessExecutor, tmp_path: Path) -> None:
    import cloudpickle

    executor.submit(tasks.double, 1).result(PATIENCE)
    goes_by_value = imported_here_only(tmp_path, "goes_by_value")
    cloudpickle.register_pickle_by_value(goes_by_value)
    try:
        assert executor.submit(goes_by_value.answer).result(PATIENCE) == 42
    finally:
        cloudpickle.unregister_pickle_by_value(goes_by_value)


def test_a_task_that_forks_and_returns_twice_answers_once(executor: ProcessExecutor, tmp_path: Path) -> None:
    executor.submit(os.fork).result(PATIENCE)
    assert list(executor.map(tasks.leave_trace, [str(tmp_path)] * 20, range(20), timeout=PATIENCE)) == list(range(20))
    assert tasks.traces(tmp_path) == dict.fromkeys(range(20), 1)


def test_a_pool_of_forks_within_a_task_ends_without_a_word(executor: ProcessExecutor, capfd: pytest.CaptureFixture[str]) -> None:
    """It ends its workers by SIGTERM, which would raise KeyboardInterrupt in each if they took our handler along."""

    def pooled(numbers: list[int]) -> list[int]:
        from multiprocessing import get_context

        with get_context("fork").Pool(2) as pool:
            return pool.map(abs, numbers)

    assert [executor.submit(pooled, [-1, -2, -3]).result(60) for _ in range(3)] == [[1, 2, 3]] * 3
    executor.shutdown()
    assert "Traceback" not in capfd.readouterr().err


def test_what_a_task_forks_is_stopped_as_any_process_is_from_its_first_moment(executor: ProcessExecutor) -> None:
    def ends() -> set[int]:
        found: set[int] = set()
        for _ in range(100):
            child = os.fork()
            if child == 0:
                time.sleep(2)
                os._exit(0)
            os.kill(child, signal.SIGTERM)
            found.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return found

    assert executor.submit(ends).result(60) == {-signal.SIGTERM}


def test_a_dead_worker_is_noticed_though_a_fork_of_it_lives(executor: ProcessExecutor) -> None:
    def fork_and_die() -> None:
        if os.fork() == 0:
            time.sleep(PATIENCE)
        os._exit(5)

    error = executor.submit(fork_and_die).exception(PATIENCE)
    assert isinstance(error, WorkerDied)
    assert error.exitcode == 5


def test_many_tasks_that_take_their_process_down_fail_alone(executor: ProcessExecutor, tmp_path: Path) -> None:
    victims = set(range(5, 200, 20))
    pending = [executor.submit(tasks.leave_trace_or_exit, str(tmp_path), n, n if n in victims else -1) for n in range(200)]
    died = {number for number, future in enumerate(pending) if isinstance(future.exception(PATIENCE), WorkerDied)}
    assert died == victims
    assert tasks.traces(tmp_path) == dict.fromkeys(range(200), 1)


def test_an_idle_worker_that_is_killed_is_replaced(executor: ProcessExecutor) -> None:
    first = executor.submit(tasks.process_id).result(PATIENCE)
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: not alive(first))
    assert executor.map(tasks.double, range(20), timeout=PATIENCE)
    assert executor.submit(tasks.process_id).result(PATIENCE) != first


def test_chunks_are_mapped_like_single_calls(executor: ProcessExecutor) -> None:
    assert list(executor.map(pow, range(10), [2] * 9, chunksize=4, timeout=PATIENCE)) == [number**2 for number in range(9)]
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(pow, [1], [1], chunksize=0)


# --- stopping and cancelling


def test_what_was_sent_ahead_can_be_cancelled(executor: ProcessExecutor, tmp_path: Path) -> None:
    list(executor.map(tasks.double, range(200), timeout=PATIENCE))  # so short that tasks are now sent ahead
    gate, folder = tmp_path / "gate", tmp_path / "traces"
    folder.mkdir()
    blocking = [executor.submit(tasks.signal_and_wait, str(tmp_path / f"begun{number}"), str(gate)) for number in range(2)]
    for number in range(2):
        tasks.wait_for(tmp_path / f"begun{number}", PATIENCE)
    pending = [executor.submit(tasks.leave_trace, str(folder), number) for number in range(30)]
    assert all(future.cancel() and future.cancelled() for future in pending[5:])
    gate.touch()
    assert not futures.wait([*blocking, *pending], timeout=PATIENCE).not_done
    assert tasks.traces(folder) == dict.fromkeys(range(5), 1)


def test_a_stopped_task_cleans_up_first(executor: ProcessExecutor, tmp_path: Path) -> None:
    def hold_a_folder(begun: str) -> None:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            Path(folder, "big").touch()
            tasks.signal_and_wait(begun, "/nowhere")

    with ProcessExecutor(1, grace=PATIENCE) as executor:
        future = executor.submit(hold_a_folder, str(tmp_path / "begun"))
        tasks.wait_for(tmp_path / "begun", PATIENCE)
        assert executor.stop(future)
    assert [entry.name for entry in tmp_path.iterdir()] == ["begun"]


def test_stop_returns_when_all_that_the_task_has_started_is_gone(executor: ProcessExecutor, tmp_path: Path) -> None:
    """The end of a process that has much memory takes a while after it was killed."""
    program = """import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
memory = b"1" * (1 << 28)
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
os.rename(sys.argv[1], sys.argv[2])
time.sleep(100)
"""

    def start(half: str, whole: str) -> None:
        with subprocess.Popen([sys.executable, "-c", program, half, whole]):
            time.sleep(100)

    future = executor.submit(start, str(tmp_path / "half"), str(tmp_path / "pid"))
    tasks.wait_for(tmp_path / "pid", PATIENCE)
    pid = int((tmp_path / "pid").read_text())
    assert alive(pid)
    assert executor.stop(future)
    assert not alive(pid)


def test_two_threads_stop_one_task(executor: ProcessExecutor, tmp_path: Path) -> None:
    future = executor.submit(tasks.signal_and_wait, str(tmp_path / "begun"), str(tmp_path / "gate"))
    tasks.wait_for(tmp_path / "begun", PATIENCE)
    with futures.ThreadPoolExecutor(2) as threads:
        assert any(threads.map(executor.stop, [future, future], timeout=PATIENCE))
    with pytest.raises(futures.CancelledError):
        future.result(0)


def test_callbacks_may_stop_and_shut_down(executor: ProcessExecutor, tmp_path: Path) -> None:
    long = executor.submit(tasks.signal_and_wait, str(tmp_path / "begun"), str(tmp_path / "gate"))
    tasks.wait_for(tmp_path / "begun", PATIENCE)
    stopped: futures.Future[bool] = futures.Future()

    def end_it_all(_: futures.Future[int]) -> None:
        stopped.set_result(executor.stop(long))
        executor.shutdown()

    executor.submit(tasks.double, 1).add_done_callback(end_it_all)
    assert stopped.result(PATIENCE)
    with pytest.raises(futures.CancelledError):
        long.result(PATIENCE)


def test_a_callback_that_raises_harms_nothing(executor: ProcessExecutor, caplog: pytest.LogCaptureFixture) -> None:
    def leave(_: futures.Future[int]) -> None:
        raise SystemExit(3)

    gate = executor.submit(time.sleep, 0.2)
    gate.add_done_callback(leave)
    assert gate.result(PATIENCE) is None
    assert executor.submit(tasks.double, 2).result(PATIENCE) == 4
    assert "sleep" in caplog.text


def test_no_descriptors_or_processes_are_left(tmp_path: Path) -> None:
    def open_now() -> int:
        return len(os.listdir("/proc/self/fd"))

    before, pids = open_now(), set[int]()
    with ProcessExecutor(2) as executor:
        for number in range(4):
            pids.add(executor.submit(tasks.process_id).result(PATIENCE))
            future = executor.submit(tasks.signal_and_wait, str(tmp_path / f"begun{number}"), str(tmp_path / "gate"))
            tasks.wait_for(tmp_path / f"begun{number}", PATIENCE)
            assert executor.stop(future)
            assert isinstance(executor.submit(os._exit, 1).exception(PATIENCE), WorkerDied)
    assert open_now() == before
    assert not any(alive(pid) for pid in pids)


# --- the end

BUSY = """
import os, sys, time
from pathlib import Path
from typing import Any
from persistable.executors import ProcessExecutor

def task(number):
    import subprocess
    child = subprocess.Popen(["sleep", "300"])
    Path(f"pids{number}.part").write_text(f"{os.getpid()} {child.pid}")
    os.rename(f"pids{number}.part", f"pids{number}")
    time.sleep(300)

executor = ProcessExecutor(2)
pending = [executor.submit(task, number) for number in range(5)]
while not (os.path.exists("pids0") and os.path.exists("pids1")):
    time.sleep(0.01)
"""


def pids_of(folder: Path) -> list[int]:
    return [int(pid) for number in range(2) for pid in (folder / f"pids{number}").read_text().split()]


def test_a_program_that_forgets_to_shut_down_ends_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    process = script(tmp_path, BUSY + "print('end')")
    told, complaints = process.communicate(timeout=PATIENCE)
    assert (process.returncode, told, complaints) == (0, "end\n", "")
    assert eventually(lambda: not any(alive(pid) for pid in pids_of(tmp_path)))
    assert not (tmp_path / "pids2").exists()


@pytest.mark.parametrize("forked", [False, True])
def test_a_killed_program_leaves_nothing(tmp_path: Path, forked: bool) -> None:
    # a fork of the program inherits its descriptors, and must not keep the workers alive with them
    fork = "fork = os.fork()\nif fork == 0:\n    time.sleep(60)\n    os._exit(0)\n" if forked else "fork = 0\n"
    process = script(tmp_path, BUSY + fork + "print(fork, flush=True)\ntime.sleep(300)")
    assert process.stdout is not None
    fork_pid = int(process.stdout.readline())
    pids = pids_of(tmp_path)
    assert all(alive(pid) for pid in pids)
    process.kill()
    process.wait(PATIENCE)
    try:
        assert eventually(lambda: not any(alive(pid) for pid in pids))
        assert bool(fork_pid) == (fork_pid != 0 and alive(fork_pid))
    finally:
        if fork_pid:
            os.kill(fork_pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)


def test_a_killed_program_ends_workers_that_hold_the_interpreter(tmp_path: Path) -> None:
    # no thread of the worker runs during such a call: the kernel has to do it
    process = script(
        tmp_path,
        """
import time
from persistable.executors import ProcessExecutor

def task():
    import os
    open("pid", "w").write(f"{os.getpid()} ")
    (10 ** 7) ** (10 ** 7)

executor = ProcessExecutor(1)
executor.submit(task)
time.sleep(300)
""",
    )
    file = tmp_path / "pid"
    assert eventually(lambda: file.exists() and file.read_text().endswith(" "))
    pid = int(file.read_text())
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert eventually(lambda: not alive(pid))


def test_an_executor_that_nobody_holds_finishes_and_ends_its_workers() -> None:
    executor = ProcessExecutor(1)
    pid = executor.submit(tasks.process_id).result(PATIENCE)
    last = executor.submit(tasks.double, 4)
    del executor
    gc.collect()
    assert last.result(PATIENCE) == 8
    assert eventually(lambda: not alive(pid))


def test_a_fork_of_the_program_can_neither_use_nor_harm_the_executor(tmp_path: Path) -> None:
    process = script(
        tmp_path,
        """
import os
from persistable.executors import ProcessExecutor

with ProcessExecutor(1) as executor:
    before = executor.submit(os.getpid).result(60)
    fork = os.fork()
    if fork == 0:
        try:
            executor.submit(os.getpid)
        except RuntimeError:
            executor.shutdown()
            raise SystemExit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == 7
    assert executor.submit(os.getpid).result(60) == before
print("done")
""",
    )
    told, complaints = process.communicate(timeout=PATIENCE)
    assert told == "done\n", complaints


def test_ctrl_c_reaches_the_program_and_not_its_workers(tmp_path: Path) -> None:
    process = script(
        tmp_path,
        """
import os, signal, time
from persistable.executors import ProcessExecutor

def task():
    time.sleep(0.5)
    return "unharmed"

with ProcessExecutor(1) as executor:
    executor.submit(int).result(60)
    future = executor.submit(task)
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print(future.result(60))
""",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    told, complaints = process.communicate(timeout=PATIENCE)
    assert told == "unharmed\n", complaints
