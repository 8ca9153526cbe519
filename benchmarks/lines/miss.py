"""A miss: a tiny payload is looked for, generated and stored."""

from __future__ import annotations

import os
import pickle
from itertools import count
from pathlib import Path
from typing import Any

from harness import LIMIT, MORE, OURS, RELEASED_ROLE, Goal, Job, Line
from lines import tiny

LINE = Line(
    name="miss",
    title="miss, tiny payload",
    loop="from new params to the stored payload; nobody calls fsync (diskcache: SQLite with WAL and synchronous=NORMAL, its default)",
    sizes=(100, 1_000, 10_000),
    sizes_quick=(100, 1_000),
    size_label=lambda size: f"{size:,} stored",
    headline=0,
    rounds=60,
    rounds_quick=10,
    calls=10,
    each=True,
    many_files=True,
    goals=(Goal("<= 4 x limit", 4.0, "limit"), Goal("ahead of joblib", 1.0, "joblib")),
    slope_of="payloads stored before in the same folder",
)
FEW = {"sizes": (100,), "why_not": "at the smallest size only"}


def _each(job: Job, store: Any) -> Any:
    """`store` called with a number never seen before; first so often as payloads should lie there already."""
    numbers = count()
    for _ in range(job.size):
        store(next(numbers))
    return lambda: store(next(numbers))


@LINE.add("one temp file + rename", "pickle.dumps, open, write, close, os.replace", LIMIT)
def bare(job: Job) -> Any:
    folder, dumps = job.folder, pickle.dumps

    def store(n: int) -> None:
        path = f"{folder}/{n}"
        with open(path + ".tmp", "wb") as file:
            file.write(dumps({"a": 1}))
        os.replace(path + ".tmp", path)

    return _each(job, store)


@LINE.add("diskcache memoize", "f(n), f decorated with Cache(folder).memoize()")
def diskcache_memoize(job: Job) -> Any:
    return _each(job, tiny.diskcache_cache(job.folder).memoize()(tiny.plain))


@LINE.add("diskcache set", "cache[('tiny', n, 1.0)] = payload: no look-up before, the key is made by the user")
def diskcache_set(job: Job) -> Any:
    cache = tiny.diskcache_cache(job.folder)

    def store(n: int) -> None:
        cache["tiny", n, 1.0] = {"a": 1}

    return _each(job, store)


@LINE.add("joblib", "f(n), f decorated with Memory(folder, verbose=0).cache", **FEW)
def joblib_memory(job: Job) -> Any:
    return _each(job, tiny.joblib_function(job.folder))


@LINE.add("pipefunc", "pipeline('payload', n=n), cache_type='disk', the memory cache off; not written atomically", **FEW)
def pipefunc_disk(job: Job) -> Any:
    pipeline = tiny.pipefunc_pipeline(job.folder)
    return _each(job, lambda n: pipeline("payload", n=n))


@LINE.add("labtech", "lab.run_task(Tiny(n=n)), runner_backend='serial', progress off; not written atomically", **FEW)
def labtech_lab(job: Job) -> Any:
    return _each(job, tiny.labtech_runner(job.folder))


@LINE.add("exca", "Tiny(n=n, infra={'folder': folder}).process(), TaskInfra in this process", **FEW)
def exca_task(job: Job) -> Any:
    task = tiny.exca_task(job.folder)
    return _each(job, lambda n: task(n).process())


@LINE.add("released persistable", "Tiny(Path(folder), P(n=n), None).load_generate(); not written atomically", RELEASED_ROLE, **FEW)
def released(job: Job) -> Any:
    Tiny = tiny.ours()
    params, folder = Tiny.params_class, Path(job.folder)
    return _each(job, lambda n: Tiny(folder, params(n=n), None).load_generate())


@LINE.add("persistable", "Tiny(folder, n=n).load_generate(): look-up, claim, payload, record, claim released", OURS)
def ours(job: Job) -> Any:
    Tiny, folder = tiny.ours(), job.folder
    return _each(job, lambda n: Tiny(folder, n=n).load_generate())


@LINE.add("persistable, generate()", "Tiny(folder, n=n).generate(): the same without looking first whether it is there", MORE, **FEW)
def ours_generate(job: Job) -> Any:
    Tiny, folder = tiny.ours(), job.folder
    return _each(job, lambda n: Tiny(folder, n=n).generate())


@LINE.add("persistable, application that logs", "Tiny(folder, n=n).load_generate(), after import logging, numpy", MORE, **FEW)
def ours_logging(job: Job) -> Any:
    import logging  # noqa: F401

    import numpy  # noqa: F401, ICN001

    return ours(job)
