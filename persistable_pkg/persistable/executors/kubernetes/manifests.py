"""Objects of the API that an executor creates, as JSON."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from persistable.executors.kubernetes.api import Json
from persistable.executors.resources import Resources

DRIVER = "persistable/driver"
"""Label of all objects of a driver: the name of its ConfigMap."""
OWNER = "persistable/owner"
"""Annotation of that ConfigMap: the process that owns the driver, see `owner`."""
IDENTITIES = "persistable/identities"
"""Annotation of a Job: the identities of its calls, for each of its members."""
MOUNTED = "/persistable/job"
BEGUN = "/persistable/begun"
CONTAINER = "worker"
_GRACE = 60  # seconds beyond the time of a task in which its driver should have stopped it


@dataclass(frozen=True)
class Pods:
    """Settings of pods that are the same for all jobs; see `KubernetesExecutor`."""

    image: str
    python: str = "python"
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets_from: Sequence[str] = ()
    service_account: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict[str, str])
    volumes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    pull_policy: str | None = None
    pull_secrets: Sequence[str] = ()
    resources: Resources | None = None
    deadline: float | None = None
    gpu: str = "nvidia.com/gpu"
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])


def driver(name: str, owner: str) -> Json:
    """Return the ConfigMap that owns all objects of a driver: they are deleted with it."""
    labels = {DRIVER: name, "app.kubernetes.io/managed-by": "persistable"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels, "annotations": {OWNER: owner}}}


def secret(name: str, driven: Json, files: Mapping[str, bytes]) -> Json:
    """Return the Secret with the files of jobs, which is mounted in their pods."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(name, driven),
        "type": "Opaque",
        "data": {key: base64.b64encode(content).decode("ascii") for key, content in files.items()},
    }


def job(
    name: str, driven: Json, pods: Pods, resources: Resources | None, files: Sequence[str], identities: Sequence[Sequence[str | None]]
) -> Json:
    """Return the Job for the Secret of the same name, with these files: an Indexed one for several members, each with its identities."""
    members = len(identities)
    resources = resources or pods.resources
    template = {"metadata": {"labels": _labels(driven)}, "spec": _pod(name, pods, resources, files, members > 1)}
    spec: dict[str, Any] = {"backoffLimit": 0, "template": template}
    if members > 1:
        spec = {
            "completionMode": "Indexed",
            "completions": members,
            "parallelism": members,
            "backoffLimitPerIndex": 0,
            "template": template,
        }
    metadata = {**_metadata(name, driven), "annotations": {IDENTITIES: json.dumps(identities)}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _metadata(name: str, driven: Json) -> dict[str, Any]:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": driven["metadata"]["name"], "uid": driven["metadata"]["uid"]}
    return {"name": name, "labels": _labels(driven), "ownerReferences": [owner]}


def _labels(driven: Json) -> dict[str, str]:
    return {DRIVER: driven["metadata"]["name"], "app.kubernetes.io/managed-by": "persistable"}


def _pod(name: str, pods: Pods, resources: Resources | None, files: Sequence[str], indexed: bool) -> dict[str, Any]:
    mounts = [{"name": "job", "mountPath": MOUNTED, "readOnly": True}]
    # file NUMBER.NAME of the Secret is NAME in the folder NUMBER
    items = [{"key": each, "path": each.replace(".", "/", 1)} for each in files]
    volumes: list[dict[str, Any]] = [{"name": "job", "secret": {"secretName": name, "items": items, "defaultMode": 0o400}}]
    for number, (path, source) in enumerate(pods.volumes.items()):
        mounts.append({"name": f"volume-{number}", "mountPath": path})
        volumes.append({"name": f"volume-{number}", **source})
    place = f"{MOUNTED}/{'$(JOB_COMPLETION_INDEX)' if indexed else 0}"
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": pods.image,
        "command": [pods.python, "-m", "persistable.executors.kubernetes.pod", place, BEGUN],
        "terminationMessagePath": BEGUN,
        "env": [*_variables(pods)],
        "envFrom": [{"secretRef": {"name": each}} for each in pods.secrets_from],
        "resources": _amounts(resources, pods.gpu),
        "volumeMounts": mounts,
    }
    if pods.pull_policy is not None:
        container["imagePullPolicy"] = pods.pull_policy
    spec: dict[str, Any] = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container], "volumes": volumes}
    if pods.service_account is not None:
        spec |= {"serviceAccountName": pods.service_account}
        del spec["automountServiceAccountToken"]  # a named account is meant to be mounted
    if pods.node_selector:
        spec["nodeSelector"] = dict(pods.node_selector)
    if pods.pull_secrets:
        spec["imagePullSecrets"] = [{"name": each} for each in pods.pull_secrets]
    seconds = [
        each for each in (pods.deadline, resources.time + _GRACE if resources is not None and resources.time is not None else None) if each
    ]
    if seconds:
        spec["activeDeadlineSeconds"] = max(1, math.ceil(min(seconds)))
    found: dict[str, Any] = merged(spec, pods.more)
    return found


def _variables(pods: Pods) -> list[dict[str, Any]]:
    plain = [{"name": name, "value": value} for name, value in pods.environment.items()]
    references: list[dict[str, Any]] = []
    for name, place in pods.secrets.items():
        of, _, key = place.partition("/")
        references.append({"name": name, "valueFrom": {"secretKeyRef": {"name": of, "key": key}}})
    return [{"name": "PYTHONUNBUFFERED", "value": "1"}, *plain, *references]


def _amounts(resources: Resources | None, gpu: str) -> dict[str, dict[str, str]]:
    if resources is None:
        return {}
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    if resources.cpus:
        requests["cpu"] = f"{math.ceil(resources.cpus * 1000)}m"
    if resources.memory is not None:
        requests["memory"] = limits["memory"] = str(resources.memory)
    if resources.gpus:
        requests[gpu] = limits[gpu] = str(math.ceil(resources.gpus))
    return {"requests": requests, **({"limits": limits} if limits else {})}


def merged(into: Any, more: Any) -> Any:
    """Return `into` merged with `more`, which takes precedence; lists are joined."""
    if isinstance(into, Mapping) and isinstance(more, Mapping):
        first, second = cast("Json", into), cast("Json", more)
        return {**first, **{key: merged(first[key], value) if key in first else value for key, value in second.items()}}
    if isinstance(into, list) and isinstance(more, list | tuple):
        return [*into, *cast("list[Any]", more)]
    return more
