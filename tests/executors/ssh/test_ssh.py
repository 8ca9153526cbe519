"""What may happen to hosts, connections and drivers, on a real sshd."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from servers.fixtures import SSHServer, running_sshd
from servers.switched import Switch
from tests.executors.sharing_calls import check_that_short_nodes_share_calls
from tests.executors.talking import check_that_it_gets_here

from persistable import run, step
from persistable.errors import ConfigError, ExecutorUnavailable, NotEnforceable, WorkerDied
from persistable.executors import SSHExecutor
from persistable.executors.resources import Resources
from persistable.executors.ssh.executor import SSHHost, host_of
from persistable.project import services
from persistable.testing import executor_tasks as tasks

pytestmark = pytest.mark.xdist_group("ssh")
PATIENCE = 60.0

_DRIVER = """
import sys
from pathlib import Path
from persistable import run, step
from persistable.events import Started
from persistable.executors import SSHExecutor

place, options, folder, data, said = sys.argv[1], eval(sys.argv[2]), *sys.argv[3:]

def hook(event):
    if isinstance(event, Started):
        with open(said, "a") as file:
            print("submitted", file=file)

@step
def slow(n: int) -> int:
    import time, uuid
    Path(folder, f"{n}.{uuid.uuid4().hex}").touch()
    while not Path(folder, "gate").exists():
        time.sleep(0.02)
    return n * n

with SSHExecutor(place, **options) as executor:
    result = run([slow.step(n) for n in range(4)], store=data, executor=executor, hooks=[hook])
    print(result)
"""


def _jobs(server: SSHServer) -> list[str]:
    """What is left in the folder of jobs."""
    folder = server.folder / "jobs"
    return sorted(path.name for path in [*(folder / "jobs").iterdir(), *(folder / "drivers").glob("*/*")])


def _owners(server: SSHServer) -> dict[str, str]:
    """The jobs there are, and whose they are."""
    return {path.parent.name: path.read_text() for path in (server.folder / "jobs" / "jobs").glob("*/owner")}


def _eventually(condition: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_jobs_of_a_killed_driver_go_on_and_the_next_takes_them_over(ssh_server: SSHServer, tmp_path: Path) -> None:
    traces = tmp_path / "traces"
    traces.mkdir()
    script = tmp_path / "driver.py"
    script.write_text(_DRIVER)
    command = [sys.executable, str(script), ssh_server.place, repr(ssh_server.options), str(traces), str(tmp_path / "data")]
    first = subprocess.Popen([*command, str(tmp_path / "first")], stderr=subprocess.DEVNULL)
    _eventually(lambda: len(list(traces.iterdir())) == 2)
    begun = _owners(ssh_server)
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = subprocess.Popen([*command, str(tmp_path / "second")], stdout=subprocess.PIPE, text=True)
    _eventually(lambda: (tmp_path / "second").exists() and len((tmp_path / "second").read_text().splitlines()) == 3)
    _eventually(lambda: _owners(ssh_server).keys() == begun.keys())  # what runs is not started again
    assert _owners(ssh_server) != begun
    (traces / "gate").touch()
    said, _ = second.communicate(timeout=PATIENCE)
    assert second.returncode == 0
    assert "4 done" in said, said
    (traces / "gate").unlink()
    assert tasks.traces(traces) == {0: 1, 1: 1, 2: 1, 3: 1}
    assert not _jobs(ssh_server)


def test_a_lost_connection_is_survived(ssh_server: SSHServer, tmp_path: Path) -> None:
    switch = Switch(("127.0.0.1", ssh_server.port))
    gate = tmp_path / "gate"
    options: dict[str, Any] = {**ssh_server.options, "known_hosts": None}
    try:
        with SSHExecutor(f"{ssh_server.user}@127.0.0.1:{switch.endpoint.rpartition(':')[2]}", **options) as executor:
            running = executor.submit(tasks.signal_and_wait, str(tmp_path / "begun"), str(gate))
            tasks.wait_for(tmp_path / "begun", PATIENCE)
            switch.cut()
            waiting = executor.submit(tasks.double, 21)
            gate.touch()
            time.sleep(0.5)
            assert not running.done()
            switch.is_down = False
            assert running.result(PATIENCE) == str(tmp_path / "begun")
            assert waiting.result(PATIENCE) == 42
            long = executor.submit(tasks.tick_in_a_subprocess, str(tmp_path / "ticks"))
            tasks.wait_for(tmp_path / "ticks", PATIENCE)
            switch.cut()
            switch.is_down = False
            assert executor.stop(long)
            size = (tmp_path / "ticks").stat().st_size
            time.sleep(0.3)
            assert (tmp_path / "ticks").stat().st_size == size
    finally:
        switch.close()
    assert not _jobs(ssh_server)


def test_one_session_of_a_connection_is_enough_and_other_users_cannot_read(tmp_path: Path) -> None:
    def look() -> dict[str, int]:
        jobs = Path(root)
        modes = {str(path): stat.S_IMODE(path.stat().st_mode) for path in [jobs, *jobs.rglob("*")]}
        assert os.environ["TOKEN"] == "hunter2"
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                assert b"hunter2" not in process.read_bytes(), process
            except (FileNotFoundError, ProcessLookupError):
                continue
        return modes

    with running_sshd(tmp_path, most_sessions=1) as server:
        root = str(server.folder / "jobs")
        with SSHExecutor(server.place, **server.options, environment={"TOKEN": "hunter2"}) as executor:
            modes = executor.submit(look).result(PATIENCE)
            assert [*executor.map(tasks.double, range(50))] == [2 * number for number in range(50)]
        assert {oct(mode) for mode in modes.values()} == {"0o700", "0o600"}, modes
        assert not _jobs(server)


def test_what_does_not_fit_is_one_clear_error_before_any_work(ssh_server: SSHServer, tmp_path: Path) -> None:
    def error_of(place: str = ssh_server.place, **given: Any) -> str:
        executor = SSHExecutor(place, **{**ssh_server.options, **given})
        with pytest.raises(ExecutorUnavailable) as caught:
            run(square.step(3), store=tmp_path / "data", executor=executor)
        assert caught.value.executor == "ssh" and caught.value.place
        return str(caught.value)

    @step
    def square(n: int) -> int:
        return n * n

    stranger = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)], check=True)
    (tmp_path / "none").touch()
    (tmp_path / "other/persistable").mkdir(parents=True)
    (tmp_path / "other/persistable/__init__.py").write_text("__version__ = '1.0'")
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    assert "there is no connection" in error_of("nowhere.invalid")
    assert "there is no connection" in error_of("127.0.0.1:1")
    assert "it refuses the user or the key" in error_of(client_keys=[str(stranger)], agent_path=None)
    assert "its host key is not known" in error_of(known_hosts=str(tmp_path / "none"))
    assert "/no/python does not run there" in error_of(python="/no/python")
    assert "persistable cannot be imported" in error_of(python=str(bare))
    assert "persistable 1.0; install the same there" in error_of(path=[str(tmp_path / "other")])
    assert "no job can be put into /proc/jobs" in error_of(folder="/proc/jobs")
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert not _jobs(ssh_server)


def _elsewhere(tmp_path: Path, hidden: Path, size: str) -> str:
    """An interpreter that sees an empty file system of that size in place of a folder, as on another host."""
    hidden.mkdir(exist_ok=True)
    script = tmp_path / "elsewhere"
    script.write_text(
        f'#!/bin/sh\nexec unshare --mount sh -c \'mount -t tmpfs -o size={size} none "$0" && exec {sys.executable} "$@"\' {hidden} "$@"\n'
    )
    script.chmod(0o755)
    return str(script)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_folder_of_this_machine_is_refused_where_it_is_another_there(ssh_server: SSHServer, tmp_path: Path) -> None:
    @step
    def square(n: int) -> int:
        return n * n

    data = tmp_path / "data"
    options: dict[str, Any] = {**ssh_server.options, "python": _elsewhere(tmp_path, data, "1M")}
    with SSHExecutor(ssh_server.place, **options) as executor:
        for targets in ([square.step(2)], square.over(n=list(range(600)))):
            with pytest.raises(NotEnforceable, match="cannot put them there"):
                run(targets, store=data, executor=executor)
    assert not [path for path in data.rglob("*") if path.is_file() and not path.name.startswith(".create.")]  # for the next write


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk_there_is_said(ssh_server: SSHServer, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    options: dict[str, Any] = {**ssh_server.options, "python": _elsewhere(tmp_path, jobs, "64k"), "folder": str(jobs)}
    with SSHExecutor(ssh_server.place, **options) as executor:
        error = executor.submit(tasks.echo_arguments, os.urandom(1 << 20)).exception(PATIENCE)
        assert isinstance(error, ExecutorUnavailable)
        assert "No space left" in str(error)
        assert executor.submit(tasks.double, 4).result(PATIENCE) == 8


def test_output_is_seen_here_and_goes_with_the_error_of_a_dead_worker(ssh_server: SSHServer, capfd: pytest.CaptureFixture[str]) -> None:
    def speak_and_die() -> None:
        print("its last words", flush=True)
        os._exit(7)

    def speak() -> None:
        print("all is well")

    with SSHExecutor(ssh_server.place, **ssh_server.options) as executor:
        error = executor.submit(speak_and_die).exception(PATIENCE)
        assert isinstance(error, WorkerDied)
        assert error.exitcode == 7
        assert "its last words" in str(error)
        executor.submit(speak).result(PATIENCE)
    assert "all is well" in capfd.readouterr().err


def test_slots_are_given_to_those_who_ask_for_cpus(ssh_server: SSHServer, tmp_path: Path) -> None:
    with SSHExecutor(ssh_server.place, **ssh_server.options) as executor:
        gate = tmp_path / "gate"
        wide = executor.submit_for(Resources(cpus=2), tasks.signal_and_wait, str(tmp_path / "wide"), str(gate))
        tasks.wait_for(tmp_path / "wide", PATIENCE)
        other = executor.submit(tasks.double, 1)
        time.sleep(0.3)
        assert not other.running() and not other.done()
        gate.touch()
        assert wide.result(PATIENCE)
        assert other.result(PATIENCE) == 2


def test_a_project_names_the_hosts() -> None:
    with services.executor_for({"kind": "ssh", "hosts": ["one", "two"], "workers": 2}, None, "executor") as executor:
        assert repr(executor) == "SSHExecutor(['one', 'two'])"
    with services.executor_for({"kind": "slurm", "workers": 3, "partition": "short"}, None, "executor") as executor:
        assert type(executor).__name__ == "SlurmExecutor"
    with pytest.raises(ConfigError, match="hosts"), services.executor_for("ssh", None, "executor"):
        pass


def test_what_nodes_print_log_and_report_gets_here(ssh_server: SSHServer, tmp_path: Path, capsys: Any, caplog: Any) -> None:
    check_that_it_gets_here(SSHExecutor(ssh_server.place, **ssh_server.options), tmp_path / "data", capsys, caplog)


@pytest.mark.parametrize("kind", ["folder", "database"])
def test_short_nodes_share_calls(kind: str, ssh_server: SSHServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "data" if kind == "folder" else f"sqlite:///{tmp_path}/results.db"
    check_that_short_nodes_share_calls(SSHExecutor(ssh_server.place, **ssh_server.options), store, monkeypatch)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ("host", {"": "host"}),
        ("me@host:2222", {"": "host", "username": "me", "port": 2222}),
        ("me@team@host", {"": "host", "username": "me@team"}),
        ("fe80::1%eth0", {"": "fe80::1%eth0"}),
        ("me@[::1]:22", {"": "::1", "username": "me", "port": 22}),
        ("[::1]", {"": "::1"}),
    ],
)
def test_names_and_addresses_of_hosts(given: str, options: dict[str, object]) -> None:
    connect: Any = host_of(given, None, "python3", (), {}).connect
    assert {"": connect.args[0], **connect.args[1]} == options


def test_what_is_no_host_and_no_number_of_slots_is_refused() -> None:
    for wrong in ("host:abc", "", "me@", "[::1", "host:"):
        with pytest.raises(ValueError, match="is no host; give a name"):
            SSHExecutor(wrong)
    for hosts, slots in (("a", 0), ([SSHHost("a", slots=-1)], None)):
        with pytest.raises(ValueError, match=r"slots of a is .*; give 1 or more"):
            SSHExecutor(hosts, slots=slots)
