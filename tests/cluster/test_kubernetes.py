"""A real Kubernetes of one node: real pods of an image made for it generate real payloads, which they put into a bucket."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from servers.kubernetes.cluster import Cluster
from servers.kubernetes.standin import wait_until

from persistable import run, step
from persistable.errors import ExecutorUnavailable, Infeasible, TimedOut, WorkerDied
from persistable.executors import KubernetesExecutor
from persistable.executors.base import Executor
from persistable.executors.resources import Resources
from persistable.testing import ExecutorContract
from persistable.testing import executor_tasks as tasks

pytestmark = pytest.mark.cluster


@pytest.fixture
def options(kubernetes_cluster: Cluster) -> dict[str, Any]:
    return {
        "image": kubernetes_cluster.image,
        "kubeconfig": kubernetes_cluster.kubeconfig,
        "python": "python3",
        "pull_policy": "Never",
        "workers": 2,
    }


@pytest.fixture
def api(kubernetes_cluster: Cluster) -> Iterator[Any]:
    from kubernetes import client, config

    with config.new_client_from_config(str(kubernetes_cluster.kubeconfig)) as api:
        yield client.CoreV1Api(api)


class TestKubernetes(ExecutorContract):
    """The core of the contract; what it is about the executor and not about the cluster is tried on a stand-in."""

    many: ClassVar[int] = 6
    deadly: ClassVar[int] = 3
    patience: ClassVar[float] = 120.0

    @pytest.fixture
    def executor(self, options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
        # a folder of the node, which is this machine
        base = str(tmp_path_factory.getbasetemp())
        volumes = {base: {"hostPath": {"path": base}}}
        with KubernetesExecutor(**options, volumes=volumes, files=tmp_path_factory.mktemp("large")) as executor:
            yield executor


for _name in [name for name in dir(TestKubernetes) if name.startswith("test_")]:
    if _name not in {
        "test_it_is_an_executor_and_says_what_it_can",
        "test_values_come_back_as_they_were",
        "test_a_large_array_arrives_and_comes_back",
        "test_many_tiny_tasks_come_back_in_order",
        "test_an_error_that_cannot_be_pickled_fails_its_own_task",
        "test_a_task_that_takes_its_process_down_fails_alone",
        "test_a_killed_process_is_named_by_its_signal",
        "test_workers_work_at_the_same_time",
        "test_stop_ends_what_runs_and_what_that_has_started",
    }:
        setattr(TestKubernetes, _name, None)


def test_payloads_are_generated_in_pods(options: dict[str, Any], pods_s3: str, api: Any) -> None:
    @step
    def where(n: int) -> dict[str, Any]:
        import numpy as np

        print(f"number {n} in a pod")
        return {"host": platform.node(), "array": np.arange(n), "secret": "AWS_SECRET_ACCESS_KEY" in os.environ}

    @step
    def total(parts: list[dict[str, Any]]) -> int:
        return int(sum(part["array"].sum() for part in parts))

    import boto3

    boto3.client("s3", endpoint_url=pods_s3, aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1").create_bucket(
        Bucket="results"
    )
    credentials = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    api.create_namespaced_secret("default", {"metadata": {"name": "bucket"}, "stringData": credentials})
    from persistable.stores import open_store

    with pytest.MonkeyPatch.context() as patch:
        for name, value in credentials.items():
            patch.setenv(name, value)
        store = open_store("s3://results/folder", endpoint_url=pods_s3)
        parts = [where.step(n) for n in (3, 4)]
        node = total.step(parts)
        with KubernetesExecutor(**options, secrets_from=["bucket"]) as executor:
            result = run(node, store=store, executor=executor)
            assert result[node].payload == 9
        for part in parts:
            found = part.payload
            assert found["host"].startswith("persistable-job-")
            assert found["secret"]
    assert_nothing_left(api)


def assert_nothing_left(api: Any) -> None:
    def left() -> list[str]:
        found = [
            *api.list_namespaced_pod("default").items,
            *api.list_namespaced_secret("default").items,
            *api.list_namespaced_config_map("default").items,
        ]
        return [each.metadata.name for each in found if (each.metadata.labels or {}).get("app.kubernetes.io/managed-by") == "persistable"]

    wait_until(lambda: not left(), 60)


def test_failures_say_what_happened(options: dict[str, Any], api: Any) -> None:
    def hog(megabytes: int) -> int:
        return len(bytearray(megabytes << 20))

    with KubernetesExecutor(**options, deadline=1) as executor:
        error = executor.submit(time.sleep, 100).exception(120)
        assert isinstance(error, TimedOut), error
    with KubernetesExecutor(**options, patience=8) as executor:
        error = executor.submit_for(Resources(cpus=0.1, memory=128 << 20), hog, 2000).exception(120)
        assert isinstance(error, WorkerDied), error
        assert "OOMKilled" in str(error) and error.exitcode == -9
        error = executor.submit_for(Resources(cpus=500), tasks.double, 1).exception(120)
        assert isinstance(error, Infeasible), error
        assert "Insufficient cpu" in str(error)
        gone = executor.submit_for(Resources(cpus=0.3), time.sleep, 100)
        pod = wait_until(
            lambda: [each.metadata.name for each in api.list_namespaced_pod("default").items if each.status.phase == "Running"]
        )[0]
        api.delete_namespaced_pod(pod, "default", grace_period_seconds=1)
        error = gone.exception(120)
        assert isinstance(error, WorkerDied), error
    with KubernetesExecutor(**{**options, "image": "test.local/nothing:1"}) as executor:
        error = executor.submit(tasks.double, 1).exception(120)
        assert isinstance(error, ExecutorUnavailable), error
        assert "ErrImageNeverPull" in str(error)
    assert_nothing_left(api)


def test_bad_input_is_one_error_before_any_work(options: dict[str, Any], kubernetes_cluster: Cluster) -> None:
    for wrong, word in (
        ({"kubeconfig": kubernetes_cluster.powerless}, "may not"),
        ({"namespace": "nowhere"}, "nowhere"),
        ({"context": "other"}, "other"),
    ):
        executor = KubernetesExecutor(**{**options, **wrong})
        with pytest.raises(ExecutorUnavailable, match=word):
            executor.submit(tasks.double, 1)
