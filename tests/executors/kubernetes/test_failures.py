"""What may go wrong on a cluster, and what is said then; nothing is ever left there."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from servers.kubernetes.schemas import complaints
from servers.kubernetes.standin import StandIn, standing_in, wait_until
from servers.needs import free_port, need
from tests.executors.sharing_calls import check_that_short_nodes_share_calls
from tests.executors.talking import check_that_it_gets_here

from persistable import run, step
from persistable.errors import ExecutorUnavailable, Infeasible, NotEnforceable, RunError, TimedOut, WorkerDied
from persistable.executors import KubernetesExecutor
from persistable.executors.kubernetes.diagnosis import state_of
from persistable.executors.kubernetes.engine import KubernetesEngine
from persistable.executors.kubernetes.owner import is_gone, owner_now
from persistable.executors.remote.engine import Job
from persistable.executors.resources import Resources
from persistable.runs.targets import SMALLEST
from persistable.testing import executor_tasks as tasks

pytestmark = pytest.mark.xdist_group("kubernetes")
PATIENCE = 90.0


@pytest.fixture(params=[(1, 20), (1, 31)], ids=["1.20", "1.31"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StandIn]:
    yield from _cluster(tmp_path, request.param)


@pytest.fixture
def new_cluster(tmp_path: Path) -> Iterator[StandIn]:
    yield from _cluster(tmp_path, (1, 31))


def _cluster(folder: Path, version: tuple[int, int]) -> Iterator[StandIn]:
    need("kubernetes", "kubernetes_validate")
    with standing_in(folder / "cluster", version=version) as standin:
        yield standin
        wait_until(lambda: not left(standin))


def left(cluster: StandIn) -> list[str]:
    """Everything of ours that is there."""
    return [name for (_, name), thing in list(cluster.objects.items()) if "persistable/driver" in thing["metadata"].get("labels", {})]


def executor_on(cluster: StandIn, image: str = "test", **options: Any) -> KubernetesExecutor:
    return KubernetesExecutor(image, kubeconfig=cluster.kubeconfig(), **{"workers": 2, **options})


def _a_pod(cluster: StandIn) -> str:
    return str(wait_until(cluster.running)[0])


def test_the_description_of_the_api_is_heeded() -> None:
    need("kubernetes_validate")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "data": {"a": "Yg=="}}
    assert not complaints(secret, "Secret")
    assert complaints({**secret, "date": {}}, "Secret")
    assert complaints({**secret, "data": {"a": 1}}, "Secret")


def test_what_fails_for_the_moment_is_tried_again(new_cluster: StandIn) -> None:
    for pattern, fault in (
        ("POST .*selfsubjectaccessreviews", 503),
        ("POST .*/configmaps", 429),
        ("POST .*/secrets", 500),
        ("POST .*/secrets", "cut"),
        ("POST .*/jobs", 429),
        ("GET .*/pods$", 500),
        ("GET .*watch", 500),
        ("GET .*/log", 500),
        ("DELETE .*/jobs", 429),
        ("DELETE .*/secrets", "cut"),
    ):
        new_cluster.faults.append((pattern, fault))
    with executor_on(new_cluster) as executor:
        assert executor.submit(tasks.double, 4).result(PATIENCE) == 8
    assert not new_cluster.faults


def test_a_creation_whose_answer_was_lost_is_one_creation(new_cluster: StandIn) -> None:
    create = new_cluster.create
    lost = []

    def create_and_lose(resource: str, thing: Any) -> Any:
        made = create(resource, thing)
        if resource == "jobs" and not lost:
            lost.append(thing)
            raise ConnectionResetError
        return made

    new_cluster.create = create_and_lose  # type: ignore[method-assign]
    with executor_on(new_cluster) as executor:
        assert executor.submit(tasks.double, 4).result(PATIENCE) == 8
    assert lost


def test_a_watch_that_is_cut_or_too_old_begins_again(new_cluster: StandIn, tmp_path: Path) -> None:
    new_cluster.cut_watches_after = 1
    with executor_on(new_cluster) as executor:
        assert [executor.submit(tasks.double, n).result(PATIENCE) for n in range(3)] == [0, 2, 4]
        new_cluster.cut_watches_after = None
        waiting = executor.submit(tasks.signal_and_wait, str(tmp_path / "begun"), str(tmp_path / "gate"))
        tasks.wait_for(tmp_path / "begun")
        new_cluster.forget_history()
        (tmp_path / "gate").touch()
        assert waiting.result(PATIENCE)
    assert len([each for each in new_cluster.requests if each.endswith("?watch")]) > 4


def test_images_that_cannot_be_had(new_cluster: StandIn) -> None:
    new_cluster.images = {"gone": "ImagePullBackOff", "never": "ErrImageNeverPull"}
    for image, patience in (("gone", 3), ("never", 100)):
        with executor_on(new_cluster, image, patience=patience) as executor:
            error = executor.submit(tasks.double, 4).exception(PATIENCE)
            assert isinstance(error, ExecutorUnavailable), error
            assert f"'{image}'" in str(error) and new_cluster.images[image] in str(error) and "image=" in str(error)


def test_a_secret_that_is_not_there(new_cluster: StandIn) -> None:
    with executor_on(new_cluster, secrets_from=["nothing"], patience=3) as executor:
        error = executor.submit(tasks.double, 4).exception(PATIENCE)
        assert isinstance(error, ExecutorUnavailable)
        assert 'secret "nothing" not found' in str(error)


def test_no_node_for_it(new_cluster: StandIn) -> None:
    with executor_on(new_cluster, node_selector={"disk": "fast"}, patience=3) as executor:
        error = executor.submit_for(Resources(cpus=2, memory=1 << 30), tasks.double, 4).exception(PATIENCE)
        assert isinstance(error, Infeasible)
        assert "node_selector" in str(error) and error.wanted == {"cpus": 2.0, "memory": float(1 << 30)}


def test_no_interpreter_in_the_image(new_cluster: StandIn) -> None:
    with executor_on(new_cluster, python="/nowhere/python") as executor:
        error = executor.submit(tasks.double, 4).exception(PATIENCE)
        assert isinstance(error, ExecutorUnavailable)
        assert "python=" in str(error)
    with executor_on(new_cluster, python="false") as executor:
        error = executor.submit(tasks.double, 4).exception(PATIENCE)
        assert isinstance(error, ExecutorUnavailable)
        assert "exit status 1 before any work" in str(error)


@pytest.mark.parametrize(("end", "word"), [("evict", "Evicted"), ("out_of_memory", "OOMKilled"), ("delete", "deleted")])
def test_a_pod_that_is_ended_from_outside(cluster: StandIn, tmp_path: Path, end: str, word: str) -> None:
    with executor_on(cluster) as executor:
        lost = executor.submit(tasks.signal_and_wait, str(tmp_path / "begun"), str(tmp_path / "gate"))
        tasks.wait_for(tmp_path / "begun")
        pod = _a_pod(cluster)
        {"evict": cluster.evict, "out_of_memory": cluster.out_of_memory, "delete": lambda name: cluster.delete("pods", name, 0.1)}[end](pod)
        error = lost.exception(PATIENCE)
        assert isinstance(error, WorkerDied), error
        assert word in str(error)
        assert error.exitcode == (-9 if end == "out_of_memory" else error.exitcode)
        assert executor.submit(tasks.double, 4).result(PATIENCE) == 8


def test_a_deadline_of_the_cluster(new_cluster: StandIn) -> None:
    with executor_on(new_cluster, deadline=1) as executor:
        error = executor.submit(time.sleep, 100).exception(PATIENCE)
        assert isinstance(error, TimedOut), error
        assert error.seconds == 1


def test_bad_input_is_one_error_before_any_work(new_cluster: StandIn, tmp_path: Path) -> None:
    new_cluster.forbidden = {"create jobs"}
    (tmp_path / "empty").write_text("apiVersion: v1\nkind: Config\n")
    config = new_cluster.kubeconfig()
    closed = tmp_path / "closed"
    closed.write_text(config.read_text().replace(new_cluster.url, f"http://127.0.0.1:{free_port()}"))
    for options, word in (
        ({"kubeconfig": config}, "may not create jobs"),
        ({"kubeconfig": new_cluster.kubeconfig(token="wrong")}, "does not know us"),
        ({"kubeconfig": config, "context": "other"}, "other"),
        ({"kubeconfig": tmp_path / "none"}, "none"),
        ({"kubeconfig": tmp_path / "empty"}, "no cluster"),
        ({"kubeconfig": closed}, "cannot be reached"),
    ):
        with pytest.raises(ExecutorUnavailable, match=word):
            KubernetesExecutor("test", **options).submit(tasks.double, 1)
    new_cluster.forbidden = set()
    with pytest.raises(ExecutorUnavailable, match=r'namespaces "nowhere" not found'):
        KubernetesExecutor("test", kubeconfig=config, namespace="nowhere").submit(tasks.double, 1)
    assert not [each for each in new_cluster.requests if "/jobs" in each or "/secrets" in each]
    for wrong in ({"image": ""}, {"image": "x", "workers": 0}, {"image": "x", "secrets": {"A": "b"}}):
        with pytest.raises(ValueError, match="give"):
            KubernetesExecutor(**wrong)  # type: ignore[arg-type]


@step
def number(n: int) -> int:
    print(f"the number is {n}")
    return n


@step
def total(parts: list[int]) -> int:
    return sum(parts)


def test_a_folder_that_pods_cannot_see_is_refused(new_cluster: StandIn, tmp_path: Path) -> None:
    with executor_on(new_cluster) as executor, pytest.raises(NotEnforceable, match="pods cannot see"):
        run(number.step(1), store=tmp_path / "store", executor=executor)
    assert not [each for each in new_cluster.requests if "/jobs" in each]


def test_a_run_with_a_folder_that_pods_mount(cluster: StandIn, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    node = total.step([number.step(n) for n in range(4)])
    volumes = {str(tmp_path): {"hostPath": {"path": str(tmp_path)}}}
    with executor_on(cluster, volumes=volumes) as executor:
        assert run(node, store=tmp_path / "store", executor=executor)[node].payload == 6
    assert "the number is 3" in capfd.readouterr().out


def test_what_nodes_print_log_and_report_gets_here(new_cluster: StandIn, tmp_path: Path, capsys: Any, caplog: Any) -> None:
    volumes = {str(tmp_path): {"hostPath": {"path": str(tmp_path)}}}
    check_that_it_gets_here(executor_on(new_cluster, volumes=volumes), tmp_path / "data", capsys, caplog)


def test_several_jobs_of_a_new_cluster_are_one_indexed_job(new_cluster: StandIn, tmp_path: Path) -> None:
    with executor_on(new_cluster, workers=3) as executor:
        futures = [executor.submit(tasks.signal_and_wait, str(tmp_path / f"begun{n}"), str(tmp_path / "gate")) for n in range(6)]
        wait_until(lambda: len(new_cluster.running()) == 3)
        (tmp_path / "gate").touch()
        assert len({future.result(PATIENCE) for future in futures}) == 6
    indexed = [
        thing for _, kind, event, thing in new_cluster.history if (kind, event) == ("jobs", "ADDED") and "completionMode" in thing["spec"]
    ]
    assert indexed
    assert sum(job["spec"]["completions"] for job in indexed) <= 6


def test_what_is_stopped_of_an_indexed_job_harms_no_other(new_cluster: StandIn, tmp_path: Path) -> None:
    with executor_on(new_cluster, workers=3) as executor:
        futures = [executor.submit(tasks.signal_and_wait, str(tmp_path / f"begun{n}"), str(tmp_path / "gate")) for n in range(3)]
        wait_until(lambda: len(new_cluster.running()) == 3)
        assert executor.stop(futures[1])
        (tmp_path / "gate").touch()
        assert futures[0].result(PATIENCE) and futures[2].result(PATIENCE)


def test_secrets_go_by_reference(new_cluster: StandIn) -> None:
    new_cluster.secret("bucket", key="k1", secret="hidden-value")
    with executor_on(new_cluster, secrets={"MY_SECRET": "bucket/secret"}, secrets_from=["bucket"], environment={"PLAIN": "p"}) as executor:
        for name, value in (("MY_SECRET", "hidden-value"), ("key", "k1"), ("PLAIN", "p")):
            assert executor.submit(os.getenv, name).result(PATIENCE) == value
    specs = [str(thing) for _, kind, _, thing in new_cluster.history if kind in ("jobs", "pods")]
    assert specs
    assert not any("hidden-value" in spec for spec in specs)


def test_what_is_too_large_needs_a_place(new_cluster: StandIn, tmp_path: Path) -> None:
    with executor_on(new_cluster) as executor:
        error = executor.submit(len, bytes(2 << 20)).exception(PATIENCE)
        assert isinstance(error, RunError)
        assert "files=" in str(error)
        error = executor.submit(bytes, 2 << 20).exception(PATIENCE)
        assert isinstance(error, RunError)
        assert "files=" in str(error)
        assert len(executor.submit(bytes, 500_000).result(PATIENCE)) == 500_000
    with executor_on(new_cluster, files=tmp_path / "files") as executor:
        assert executor.submit(len, bytes(2 << 20)).result(PATIENCE) == 2 << 20
        assert len(executor.submit(bytes, 2 << 20).result(PATIENCE)) == 2 << 20
    assert not list((tmp_path / "files").rglob("*answers*"))


_SCRIPT = """
import sys, time
from pathlib import Path
from persistable import run, step
from persistable.executors import KubernetesExecutor

folder = Path(sys.argv[1])

@step
def slow(n: int) -> int:
    with open(folder / "begun", "a") as file:
        file.write("x")
    while not (folder / "gate").exists():
        time.sleep(0.05)
    return n

node = slow.step(3)
executor = KubernetesExecutor("test", kubeconfig=sys.argv[2], volumes={str(folder): {"hostPath": {"path": str(folder)}}})
with executor:
    print(run(node, store=folder / "store", executor=executor)[node].payload)
"""


@pytest.fixture
def program(new_cluster: StandIn, tmp_path: Path) -> list[str]:
    (tmp_path / "script.py").write_text(_SCRIPT)
    return [sys.executable, str(tmp_path / "script.py"), str(tmp_path), str(new_cluster.kubeconfig())]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def test_the_next_run_goes_on_where_a_killed_one_was(new_cluster: StandIn, tmp_path: Path, program: list[str]) -> None:
    first = subprocess.Popen(program, env=_environment())
    tasks.wait_for(tmp_path / "begun", 60)
    first.kill()
    first.wait()
    assert new_cluster.running()
    second = subprocess.Popen(program, env=_environment(), stdout=subprocess.PIPE, text=True)
    wait_until(lambda: len([each for each in new_cluster.requests if each.startswith("PATCH")]) >= 1)
    time.sleep(1)
    (tmp_path / "gate").touch()
    assert second.communicate(timeout=PATIENCE)[0] == "3\n"
    assert (tmp_path / "begun").read_text() == "x"


def test_what_a_killed_run_left_is_removed_by_another(new_cluster: StandIn, tmp_path: Path, program: list[str]) -> None:
    first = subprocess.Popen(program, env=_environment())
    tasks.wait_for(tmp_path / "begun", 60)
    first.kill()
    first.wait()
    with executor_on(new_cluster) as executor:
        assert executor.submit(tasks.double, 4).result(PATIENCE) == 8


def test_ctrl_c_leaves_nothing(new_cluster: StandIn, tmp_path: Path, program: list[str]) -> None:
    process = subprocess.Popen(program, env=_environment(), stderr=subprocess.PIPE, text=True)
    tasks.wait_for(tmp_path / "begun", 60)
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=PATIENCE)[1]
    assert process.returncode != 0


def test_short_nodes_share_calls(new_cluster: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = {str(tmp_path): {"hostPath": {"path": str(tmp_path)}}}
    check_that_short_nodes_share_calls(executor_on(new_cluster, volumes=volumes), tmp_path / "data", monkeypatch)


def test_a_large_family_is_few_jobs(new_cluster: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a store that commits many together, of which a folder of this machine is mounted in pods."""

    @step
    def short(n: int) -> int:
        time.sleep(0.01)
        return n

    jobs: list[Job] = []
    launch = KubernetesEngine.launch

    def counted(self: KubernetesEngine, some: Sequence[Job]) -> None:
        jobs.extend(some)
        launch(self, some)

    monkeypatch.setattr(KubernetesEngine, "launch", counted)
    volumes = {str(tmp_path): {"hostPath": {"path": str(tmp_path)}}}
    with executor_on(new_cluster, volumes=volumes) as executor:
        result = run(short.over(n=range(SMALLEST)), store=f"sqlite:///{tmp_path}/results.db", executor=executor)
    assert result.counts["done"] == SMALLEST
    assert len(jobs) < SMALLEST / 10


@pytest.mark.parametrize(("told", "meant"), [(0, 0), (3, 3), (128, 128), (137, -9), (143, -15), (255, 255)])
def test_a_status_that_no_signal_has_is_one(told: int, meant: int) -> None:
    pod = {"status": {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": told}}}]}}
    assert state_of(pod).exitcode == meant


def test_a_process_of_the_same_number_in_another_container_is_not_this_one() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    mine = json.loads(owner_now(1000.0))
    assert not is_gone(json.dumps(mine), 1000.0)
    dead = {**mine, "pid": gone.pid}
    assert is_gone(json.dumps(dead), 1000.0)
    elsewhere = json.dumps({**dead, "host": platform.node()})  # a container that has the host's name, and processes of its own
    assert not is_gone(elsewhere, 1100.0) and is_gone(elsewhere, 1200.0)
