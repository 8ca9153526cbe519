"""One flow on any engine: what is computed does not depend on it.

Usage: python flow.py ENGINE [STORE]    (inline, threads, processes, ray, dask, ssh, slurm or kubernetes; the store is ./data by default)

For ssh, name the hosts: HOSTS="node1 node2" python flow.py ssh
For kubernetes, name an image, and as JSON what is to be mounted: IMAGE=registry/flow:1 python flow.py kubernetes s3://bucket/flow
"""

import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from persistable import Command, rng, run, step
from persistable.executors import (
    DaskExecutor,
    InlineExecutor,
    KubernetesExecutor,
    ProcessExecutor,
    RayExecutor,
    SlurmExecutor,
    SSHExecutor,
    ThreadExecutor,
)

ENGINES: dict[str, Callable[[], Executor]] = {
    "inline": InlineExecutor,
    "threads": lambda: ThreadExecutor(2),
    "processes": lambda: ProcessExecutor(2),
    "ray": RayExecutor,
    "dask": lambda: DaskExecutor(n_workers=2),
    "ssh": lambda: SSHExecutor(os.environ["HOSTS"].split(), python=sys.executable),
    "slurm": lambda: SlurmExecutor("jobs"),
    "kubernetes": lambda: KubernetesExecutor(os.environ["IMAGE"], volumes=json.loads(os.environ.get("VOLUMES", "{}"))),
}


@step
def walk(start: int, steps: int) -> NDArray[np.float64]:
    """Random walk."""
    return start + rng.normal(size=steps).cumsum()


@step
def ends(walks: list[NDArray[np.float64]]) -> str:
    """Where the walks end, one a line."""
    return "\n".join(f"{walk[-1]:.3f}" for walk in walks) + "\n"


@step
def summary(walks: list[NDArray[np.float64]], farthest: str) -> dict[str, float | list[float]]:
    """Mean distance, and the farthest ends."""
    return {"mean": round(float(np.mean([abs(walk[-1]) for walk in walks])), 3), "farthest": [float(line) for line in farthest.split()]}


walks = [walk.step(start, steps=1000) for start in range(6)]
farthest = Command("sort -g {{ ends }} | tail -n 2 > {{ output }}", ends=ends.step(walks), outputs="farthest.txt")
report = summary.step(walks, farthest)

if __name__ == "__main__":
    engine, store, *_ = [*sys.argv[1:], "data"]
    with ENGINES[engine]() as executor:
        print(run(report, store=store, executor=executor))
    for node in (*walks, farthest, report):
        record = node.record
        print(node.key, *(file.digest for file in record.files) if record is not None else ())
    print(report.payload)
