"""Executors, which carry the jobs of a run: this process, threads, processes, Ray, Dask, SSH, Slurm, Kubernetes, or any of
`concurrent.futures`.

Each is imported when first used.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from persistable.executors.base import Executor
    from persistable.executors.dask.executor import DaskExecutor
    from persistable.executors.futures import FuturesExecutor
    from persistable.executors.inline import InlineExecutor
    from persistable.executors.kubernetes.executor import KubernetesExecutor
    from persistable.executors.processes.executor import ProcessExecutor
    from persistable.executors.ray.executor import RayExecutor
    from persistable.executors.slurm.executor import SlurmExecutor
    from persistable.executors.ssh.executor import SSHExecutor
    from persistable.executors.threads import ThreadExecutor

_HOME = {
    "DaskExecutor": "dask.executor",
    "Executor": "base",
    "FuturesExecutor": "futures",
    "InlineExecutor": "inline",
    "KubernetesExecutor": "kubernetes.executor",
    "ProcessExecutor": "processes.executor",
    "RayExecutor": "ray.executor",
    "SSHExecutor": "ssh.executor",
    "SlurmExecutor": "slurm.executor",
    "ThreadExecutor": "threads",
}
__all__ = [
    "DaskExecutor",
    "Executor",
    "FuturesExecutor",
    "InlineExecutor",
    "KubernetesExecutor",
    "ProcessExecutor",
    "RayExecutor",
    "SSHExecutor",
    "SlurmExecutor",
    "ThreadExecutor",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> "Any":
        if name not in _HOME:
            raise AttributeError(f"module 'persistable.executors' has no attribute {name!r}")
        from importlib import import_module

        found = getattr(import_module(f"persistable.executors.{_HOME[name]}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
