"""What a cluster may do to jobs: put them back into the queue, end them, not have what they ask for. On a real one of one node."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from tests.executors.sharing_calls import check_that_short_nodes_share_calls
from tests.executors.talking import check_that_it_gets_here

from persistable import run, step
from persistable.errors import ExecutorUnavailable, NotEnforceable, TimedOut, WorkerDied
from persistable.executors import SlurmExecutor
from persistable.executors.resources import Resources
from persistable.testing import executor_tasks as tasks

pytestmark = pytest.mark.xdist_group("slurm")
PATIENCE = 90.0


def eventually(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def in_queue(*words: str) -> list[list[str]]:
    """Fields of the jobs that wait or run."""
    command = ["squeue", "--me", "--noheader", "--array", *words]
    return [line.split() for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()]


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.name not in ("jobs", "drivers"))


def test_a_job_that_gives_way_to_another_goes_on_where_it_was(slurm_cluster: Path, tmp_path: Path) -> None:
    traces, gate = tmp_path / "traces", tmp_path / "gate"
    traces.mkdir()

    def begin_and_wait(folder: str, gate: str) -> int:
        tasks.leave_trace(folder, 0)
        tasks.wait_for(Path(gate))
        return len(list(Path(folder).iterdir()))

    with SlurmExecutor(slurm_cluster / "low", partition="low") as low, SlurmExecutor(slurm_cluster / "main") as main:
        patient = low.submit_for(Resources(cpus=2), begin_and_wait, str(traces), str(gate))
        eventually(lambda: len(list(traces.iterdir())) == 1)
        assert main.submit_for(Resources(cpus=2), tasks.double, 4).result(PATIENCE) == 8
        gate.touch()
        eventually(lambda: in_queue("--partition=low", "--format=%T") == [["PENDING"]] or patient.done())
        for (number,) in in_queue("--partition=low", "--states=PENDING", "--format=%i"):
            # Slurm lets what it has put back wait for two minutes. Begun in the second in which it was ended, the node would refuse it, for
            # it takes the job's credential for the one that it has revoked.
            subprocess.run(["scontrol", "update", f"JobId={number}", "StartTime=now+2"], check=True)
        assert patient.result(PATIENCE) == 2
    assert not left(slurm_cluster / "low")


def test_resources_become_those_of_the_job_and_calls_elements_of_one_array(slurm_cluster: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with SlurmExecutor(slurm_cluster / "jobs", max_jobs=4, options={"comment": "asked"}) as executor:
        wanted = Resources(cpus=2, memory=300 << 20, time=100)
        pending = [executor.submit_for(wanted, tasks.signal_and_wait, str(tmp_path / str(number)), str(gate)) for number in range(3)]
        eventually(lambda: len(in_queue("--format=%i")) == 3)
        rows = in_queue("--format=%C|%m|%l|%k|%P")
        assert rows == [["2|300M|3:00|asked|main"]] * 3
        arrays = {row[0].partition("_")[0] for row in in_queue("--format=%i")}
        assert len(arrays) <= 2, "those that came while the first was sent are one array"
        assert executor.stop(pending[-1])
        gate.touch()
        assert [Path(future.result(PATIENCE)).name for future in pending[:-1]] == ["0", "1"]
    assert not left(slurm_cluster / "jobs")


def test_a_job_that_is_cancelled_by_hand_fails_with_what_slurm_says(slurm_cluster: Path, tmp_path: Path) -> None:
    with SlurmExecutor(slurm_cluster / "jobs") as executor:
        future = executor.submit(tasks.signal_and_wait, str(tmp_path / "begun"), str(tmp_path / "gate"))
        tasks.wait_for(tmp_path / "begun", PATIENCE)
        subprocess.run(["scancel", *(row[0] for row in in_queue("--format=%i"))], check=True)
        error = future.exception(PATIENCE)
    assert isinstance(error, WorkerDied)
    assert "CANCELLED" in str(error)


def test_a_controller_that_does_not_answer_for_a_while_is_waited_for(
    slurm_cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From before the job is in the queue until it is to be stopped: what nobody has seen there is not taken to be gone."""
    (tmp_path / "bin").mkdir()
    for name in ("squeue", "scancel"):
        program = tmp_path / "bin" / name
        unless_down = f'[ ! -e {tmp_path}/down ] || {{ echo "Unable to contact slurm controller" >&2; exit 1; }}'
        program.write_text(f'#!/bin/sh\n{unless_down}\nexec {which(name)} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "down").touch()
    with SlurmExecutor(slurm_cluster / "jobs") as executor:
        other = executor.submit(tasks.signal_and_wait, str(tmp_path / "begun"), str(tmp_path / "gate"))
        future = executor.submit(tasks.tick_in_a_subprocess, str(tmp_path / "ticks"))
        for name in ("begun", "ticks"):
            tasks.wait_for(tmp_path / name, PATIENCE)
        time.sleep(11)  # longer than it takes until a job that is not in the queue is given up
        assert not future.done() and not other.done()
        threading.Timer(2.0, (tmp_path / "down").unlink).start()
        assert executor.stop(future)
        size = (tmp_path / "ticks").stat().st_size
        time.sleep(0.3)
        assert (tmp_path / "ticks").stat().st_size == size
        (tmp_path / "gate").touch()
        assert other.result(PATIENCE) == str(tmp_path / "begun")
    assert not left(slurm_cluster / "jobs")


def test_time_is_enforced_by_the_run(slurm_cluster: Path, tmp_path: Path) -> None:
    @step(resources=Resources(time=1.0))
    def slow(n: int) -> int:
        time.sleep(100)
        return n

    with SlurmExecutor(slurm_cluster / "jobs") as executor:
        result = run(slow.step(1), store=tmp_path / "data", executor=executor, errors="return")
    (failure,) = result.failures
    assert isinstance(failure.error, TimedOut)
    assert not in_queue("--states=RUNNING,PENDING")


_DRIVER = """
import sys
from persistable import run, step
from persistable.events import Started
from persistable.executors import SlurmExecutor
from persistable.testing import executor_tasks as tasks

jobs, folder, gate, data, said = sys.argv[1:]

def hook(event):
    if isinstance(event, Started):
        with open(said, "a") as file:
            print("submitted", file=file)

@step
def slow(n: int) -> int:
    tasks.leave_trace(folder, n)
    tasks.wait_for(__import__("pathlib").Path(gate))
    return n * n

with SlurmExecutor(jobs, max_jobs=3) as executor:
    print(run([slow.step(n) for n in range(3)], store=data, executor=executor, hooks=[hook]))
"""


def test_jobs_of_a_killed_driver_are_taken_over_also_those_that_wait(slurm_cluster: Path, tmp_path: Path) -> None:
    traces, gate, jobs = tmp_path / "traces", tmp_path / "gate", slurm_cluster / "jobs"
    traces.mkdir()
    (tmp_path / "driver.py").write_text(_DRIVER)
    places = (str(place) for place in (tmp_path / "driver.py", jobs, traces, gate, tmp_path / "data"))
    command = [sys.executable, *places]
    first = subprocess.Popen([*command, str(tmp_path / "first")], stderr=subprocess.DEVNULL)
    eventually(lambda: len(list(traces.iterdir())) == 2 and len(in_queue("--format=%i")) == 3)
    first.kill()
    first.wait()
    second = subprocess.Popen([*command, str(tmp_path / "second")], stdout=subprocess.PIPE, text=True)
    eventually(lambda: (tmp_path / "second").exists() and len((tmp_path / "second").read_text().splitlines()) == 3)
    assert len(in_queue("--format=%i")) == 3, "what waits or runs is not sent again"
    gate.touch()
    said, _ = second.communicate(timeout=PATIENCE)
    assert "3 done" in said, said
    assert tasks.traces(traces) == {0: 1, 1: 1, 2: 1}
    assert not left(jobs)


def test_a_store_that_nodes_do_not_see_is_refused_by_the_first_job(slurm_cluster: Path, tmp_path: Path) -> None:
    @step
    def square(n: int) -> int:
        return n * n

    data = tmp_path / "data"
    data.mkdir()
    interpreter = tmp_path / "elsewhere"
    hiding = f'mount -t tmpfs none {data} && exec {sys.executable} "$@"'
    interpreter.write_text(f"#!/bin/sh\nexec unshare --mount sh -c '{hiding}' sh \"$@\"\n")
    interpreter.chmod(0o755)
    with SlurmExecutor(slurm_cluster / "jobs", python=str(interpreter)) as executor:
        result = run(square.step(3), store=data, executor=executor, errors="return")
    (failure,) = result.failures
    assert isinstance(failure.error, NotEnforceable)
    assert str(data) in str(failure.error)
    assert not list(data.rglob("*/reach/*"))


def test_what_does_not_fit_is_one_clear_error_before_any_work(slurm_cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExecutorUnavailable, match="no node in this partition"):
        SlurmExecutor(slurm_cluster / "jobs", partition="none").submit(tasks.double, 1)
    with pytest.raises(ExecutorUnavailable, match="no job can be put into /proc/jobs"):
        SlurmExecutor("/proc/jobs").submit(tasks.double, 1)
    with SlurmExecutor(slurm_cluster / "jobs", options={"no_such_option": 1}) as executor:
        error = executor.submit(tasks.double, 1).exception(PATIENCE)
        assert isinstance(error, ExecutorUnavailable)
        assert "no-such-option" in str(error)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ExecutorUnavailable, match="there is no sinfo on the path"):
        SlurmExecutor(slurm_cluster / "jobs").submit(tasks.double, 1)
    assert not left(slurm_cluster / "jobs")


def test_what_nodes_print_log_and_report_gets_here(slurm_cluster: Path, tmp_path: Path, capsys: Any, caplog: Any) -> None:
    check_that_it_gets_here(SlurmExecutor(slurm_cluster / "jobs"), tmp_path / "data", capsys, caplog)


def test_short_nodes_share_calls(slurm_cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_that_short_nodes_share_calls(SlurmExecutor(slurm_cluster / "jobs"), tmp_path / "data", monkeypatch)


def test_a_job_that_is_held_is_named(slurm_cluster: Path, caplog: pytest.LogCaptureFixture) -> None:
    with SlurmExecutor(slurm_cluster / "a %u folder", options={"hold": True}) as executor:
        pending = [executor.submit(tasks.double, number) for number in (4, 5)]
        eventually(lambda: caplog.messages)
        time.sleep(2)
        numbers = [row[0] for row in in_queue("--format=%i")]
        assert all(f"job {number} (JobHeldUser)" in " ".join(caplog.messages) for number in numbers), caplog.messages
        assert len(caplog.messages) <= 2, "it is said once"
        subprocess.run(["scontrol", "release", *numbers], check=True)
        assert [future.result(PATIENCE) for future in pending] == [8, 10]
    assert not left(slurm_cluster / "a %u folder")
