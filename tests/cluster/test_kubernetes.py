"""A real Kubernetes of one node, and an image made for it that has this Python and this library."""

from __future__ import annotations

import time

import pytest
from servers.kubernetes.cluster import Cluster

pytestmark = pytest.mark.cluster


def test_this_library_runs_in_a_pod(kubernetes_cluster: Cluster) -> None:
    from kubernetes import client, config

    api = config.new_client_from_config(str(kubernetes_cluster.kubeconfig))
    core, batch = client.CoreV1Api(api), client.BatchV1Api(api)
    program = "import persistable, s3fs; print(persistable.__version__)"
    container = {"name": "c", "image": kubernetes_cluster.image, "imagePullPolicy": "Never", "command": ["python3", "-c", program]}
    spec = {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    batch.create_namespaced_job("default", {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "first"}, "spec": spec})
    end = time.monotonic() + 120
    while not (found := core.list_namespaced_pod("default", label_selector="job-name=first").items) or found[0].status.phase != "Succeeded":
        assert time.monotonic() < end, found and found[0].status
        time.sleep(0.2)
    import persistable

    assert core.read_namespaced_pod_log(found[0].metadata.name, "default").strip() == persistable.__version__
    batch.delete_namespaced_job("first", "default", propagation_policy="Background")
