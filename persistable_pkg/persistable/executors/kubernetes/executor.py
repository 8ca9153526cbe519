"""The executor for Kubernetes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from persistable.errors import NotEnforceable
from persistable.executors.kubernetes.api import API
from persistable.executors.kubernetes.engine import KubernetesEngine
from persistable.executors.kubernetes.manifests import Pods
from persistable.executors.remote.executor import RemoteExecutor
from persistable.executors.remote.files import FolderFiles, SharedFiles, StoreFiles
from persistable.executors.remote.request import Request
from persistable.executors.resources import Resources
from persistable.stores.base import Store
from persistable.stores.reach import folder_of


class KubernetesExecutor(RemoteExecutor):
    """Tasks in pods of a Kubernetes cluster. Needs the extra ``kubernetes`` here, and in the image the same Python and persistable as here.

    image: has Python, persistable and the modules of your nodes. namespace, context, kubeconfig: by default those of ``kubectl``; in a pod,
    its own cluster and namespace. workers: maximum number of pods at a time. python: the interpreter in the image.

    environment: variables, in plain text. secrets: variables from keys of Secrets, ``{"AWS_SECRET_ACCESS_KEY": "bucket/secret"}``.
    secrets_from: Secrets of which each key becomes a variable. service_account, node_selector: of the pods. volumes: by the path where they
    are mounted, ``{"/data": {"persistentVolumeClaim": {"claimName": "data"}}}``. pull_policy, pull_secrets: of the image. pod: other fields
    of the specification of pods, such as ``{"tolerations": [...]}``.

    resources: for tasks that request none; none by default. gpu: the name of a GPU in the cluster. patience: seconds for which a pod may
    wait for a node or its image while no other runs. deadline: seconds after which the cluster ends a pod, even without this process.

    files: a store or its URL, or a folder that is mounted at the same path in pods, for tasks and results that are too large for a Secret
    (700 kB) or a log (1 MiB). Payloads of a run are in its store and do not need it.
    """

    name: ClassVar[str] = "kubernetes"

    def __init__(
        self,
        image: str,
        *,
        namespace: str | None = None,
        context: str | None = None,
        kubeconfig: str | os.PathLike[str] | None = None,
        workers: int = 16,
        python: str = "python",
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        secrets_from: Sequence[str] = (),
        service_account: str | None = None,
        node_selector: Mapping[str, str] | None = None,
        volumes: Mapping[str, Mapping[str, Any]] | None = None,
        pull_policy: str | None = None,
        pull_secrets: Sequence[str] = (),
        pod: Mapping[str, Any] | None = None,
        resources: Resources | None = None,
        gpu: str = "nvidia.com/gpu",
        patience: float = 300.0,
        deadline: float | None = None,
        files: Store | str | os.PathLike[str] | None = None,
    ) -> None:
        if not image:
            raise ValueError("give the name of an image that has Python, persistable and what your nodes import")
        if workers < 1:
            raise ValueError(f"workers is {workers}; give 1 or more")
        for name, place in (secrets or {}).items():
            if place.count("/") != 1:
                raise ValueError(f"secrets[{name!r}] is not the place of a secret; give the name of a Secret and a key in it: 'name/key'")
        self._image = image
        self._volumes = dict(volumes or {})
        pods = Pods(
            image=image,
            python=python,
            environment=dict(environment or {}),
            secrets=dict(secrets or {}),
            secrets_from=tuple(secrets_from),
            service_account=service_account,
            node_selector=dict(node_selector or {}),
            volumes=self._volumes,
            pull_policy=pull_policy,
            pull_secrets=tuple(pull_secrets),
            resources=resources,
            deadline=deadline,
            gpu=gpu,
            more=dict(pod or {}),
        )
        connect = partial(API, None if kubeconfig is None else os.fspath(kubeconfig), context, namespace)
        engine = KubernetesEngine(connect, pods, workers, patience, None if files is None else _place_of(files))
        super().__init__(engine, Request(()))

    def check_store(self, store: Store) -> None:
        folder = folder_of(store)
        if folder is None:
            return
        if any(folder.is_relative_to(path) for path in self._volumes):
            super().check_store(store)  # another folder may be mounted at that path
            return
        raise NotEnforceable(
            f"{store.url} is a folder of this machine, which pods cannot see; use a store that both reach, such as s3://bucket/folder, or "
            f"mount the folder in pods at the same path: KubernetesExecutor(..., volumes={{{str(folder)!r}: ...}})",
            key=None,
            executor=self.name,
            wanted=store.url,
        )

    def __repr__(self) -> str:
        return f"KubernetesExecutor({self._image!r})"


def _place_of(files: Store | str | os.PathLike[str]) -> Callable[[str], SharedFiles]:
    """Return a function that makes the files of a job from its name."""
    from persistable.stores import open_store

    store = files if not isinstance(files, str | os.PathLike) else open_store(files)
    inside = store.local_path("jobs")
    if inside is None:
        return lambda name: StoreFiles(store, f".persistable/jobs/{name}")
    folder = inside.parent

    def make(name: str) -> FolderFiles:
        place = FolderFiles(folder / name)
        place.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return place

    return make
