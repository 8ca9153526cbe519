"""Executors, which run the tasks of a run: in this process, threads, processes, on Ray, Dask, SSH, Slurm, Kubernetes, or any executor of
`concurrent.futures`.

Each is imported when first used.
"""

from persistable import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
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

_HOMES = {
    "base": ("Executor",),
    "dask.executor": ("DaskExecutor",),
    "futures": ("FuturesExecutor",),
    "inline": ("InlineExecutor",),
    "kubernetes.executor": ("KubernetesExecutor",),
    "processes.executor": ("ProcessExecutor",),
    "ray.executor": ("RayExecutor",),
    "slurm.executor": ("SlurmExecutor",),
    "ssh.executor": ("SSHExecutor",),
    "threads": ("ThreadExecutor",),
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, _HOMES)
