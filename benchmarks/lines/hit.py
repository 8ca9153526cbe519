"""A warm hit of a tiny payload: everything from params to payload, with a new object each time."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

from harness import LIMIT, MORE, OURS, RELEASED_ROLE, Goal, Job, Line
from lines import tiny

LINE = Line(
    name="hit",
    title="warm hit, tiny payload",
    loop="from params to payload, a new object each time (where there are objects); stores and caches are open, nothing is held in memory",
    sizes=(100, 1_000, 10_000),
    sizes_quick=(100, 1_000),
    size_label=lambda size: f"{size:,} stored",
    headline=0,
    rounds=60,
    rounds_quick=10,
    seconds=0.01,
    many_files=True,
    goals=(Goal("<= 3 x limit", 3.0, "limit"), Goal("level with diskcache (<= 1.1 x)", 1.1, "diskcache memoize")),
    slope_of="payloads stored in the same folder",
)
FEW = {"sizes": (100,), "why_not": "at the smallest size only"}


@LINE.add("open + unpickle", "with open(path, 'rb') as file: pickle.load(file)", LIMIT)
def bare(job: Job) -> Any:
    paths = [os.path.join(job.folder, str(n)) for n in range(job.size)]
    for path in paths:
        Path(path).write_bytes(pickle.dumps({"a": 1}, 5))
    path, load = paths[3], pickle.load

    def hit() -> Any:
        with open(path, "rb") as file:
            return load(file)

    return hit


@LINE.add("diskcache memoize", "f(3), f decorated with Cache(folder).memoize()")
def diskcache_memoize(job: Job) -> Any:
    cached = tiny.diskcache_cache(job.folder).memoize()(tiny.plain)
    for n in range(job.size):
        cached(n)
    return lambda: cached(3)


@LINE.add("diskcache get", "cache[('tiny', 3, 1.0)]: the key is made by the user")
def diskcache_get(job: Job) -> Any:
    cache = tiny.diskcache_cache(job.folder)
    for n in range(job.size):
        cache["tiny", n, 1.0] = {"a": 1}
    return lambda: cache["tiny", 3, 1.0]


@LINE.add("joblib", "f(3), f decorated with Memory(folder, verbose=0).cache", **FEW)
def joblib_memory(job: Job) -> Any:
    cached = tiny.joblib_function(job.folder)
    for n in range(job.size):
        cached(n)
    return lambda: cached(3)


@LINE.add("pipefunc", "pipeline('payload', n=3), cache_type='disk', the memory cache off", **FEW)
def pipefunc_disk(job: Job) -> Any:
    pipeline = tiny.pipefunc_pipeline(job.folder)
    for n in range(job.size):
        pipeline("payload", n=n)
    return lambda: pipeline("payload", n=3)


@LINE.add("labtech", "lab.run_task(Tiny(n=3)), runner_backend='serial', progress off", **FEW)
def labtech_lab(job: Job) -> Any:
    run = tiny.labtech_runner(job.folder)
    for n in range(job.size):
        run(n)
    return lambda: run(3)


@LINE.add("exca", "Tiny(n=3, infra={'folder': folder}).process(), TaskInfra in this process", **FEW)
def exca_task(job: Job) -> Any:
    task = tiny.exca_task(job.folder)
    for n in range(job.size):
        task(n).process()
    return lambda: task(3).process()


@LINE.add("released persistable", "node = Tiny(Path(folder), P(n=3), None); node.load(); node.payload", RELEASED_ROLE, **FEW)
def released(job: Job) -> Any:
    Tiny = tiny.ours()
    params, folder = Tiny.params_class, Path(job.folder)
    for n in range(job.size):
        Tiny(folder, params(n=n), None).generate()

    def hit() -> Any:
        node = Tiny(folder, params(n=3), None)
        node.load()
        return node.payload

    return hit


@LINE.add("persistable", "Tiny(folder, n=3).load().payload: construct, key, record, its checksum, payload, its digest", OURS)
def ours(job: Job) -> Any:
    Tiny, folder = tiny.ours(), job.folder
    for n in range(job.size):
        Tiny(folder, n=n).generate()
    return lambda: Tiny(folder, n=3).load().payload


@LINE.add("persistable, .payload", "Tiny(folder, n=3).payload: the same through load_generate", MORE, **FEW)
def ours_payload(job: Job) -> Any:
    Tiny, folder = tiny.ours(), job.folder
    Tiny(folder, n=3).generate()
    return lambda: Tiny(folder, n=3).payload


@LINE.add("persistable, application that logs", "Tiny(folder, n=3).load().payload, after import logging, numpy", MORE, **FEW)
def ours_logging(job: Job) -> Any:
    import logging  # noqa: F401

    import numpy  # noqa: F401, ICN001

    return ours(job)
