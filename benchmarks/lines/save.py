"""Saving a large array."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from harness import LIMIT, OURS, PEER, RELEASED_ROLE, Goal, Job, Line
from lines import arrays
from lines.arrays import MEGABYTE

LINE = Line(
    name="save",
    title="save 512 MiB array",
    loop="an array in memory to a new file; the file of the call before is removed outside the loop; nobody calls fsync",
    unit="ms",
    sizes=(5 * MEGABYTE, 51 * MEGABYTE, 512 * MEGABYTE),
    sizes_quick=(5 * MEGABYTE, 51 * MEGABYTE),
    size_label=arrays.label,
    rounds=9,
    goals=(Goal("<= 1.1 x numpy.save", 1.1, "limit"),),
    slope_of="bytes",
)


def _clean(folder: str) -> Callable[[], None]:
    """Leave the folder as it was made, without what the call before wrote."""

    def clean() -> None:
        for entry in os.scandir(folder):
            shutil.rmtree(entry.path) if entry.is_dir() else os.unlink(entry.path)

    return clean


def _whole_file(job: Job, save: Callable[[Any, str], object]) -> Any:
    array, path = arrays.array_of(job.size), os.path.join(job.folder, "array")
    return (lambda: save(array, path)), _clean(job.folder)


@LINE.add("numpy.save", "numpy.save(file, array): no digest, not atomic", LIMIT)
def bare(job: Job) -> Any:
    import numpy as np

    return _whole_file(job, lambda array, path: np.save(path + ".npy", array))


@LINE.add("joblib.dump", "joblib.dump(array, path): no digest, not atomic", PEER)
def joblib_dump(job: Job) -> Any:
    import joblib

    return _whole_file(job, joblib.dump)


@LINE.add("pickle 5", "pickle.dump(array, file, protocol=5): no digest, not atomic", PEER)
def pickle_dump(job: Job) -> Any:
    def save(array: Any, path: str) -> None:
        with open(path, "wb") as file:
            pickle.dump(array, file, 5)

    return _whole_file(job, save)


@LINE.add("diskcache", "cache[n] = array: pickled in memory, then written to a file of its own", PEER)
def diskcache_set(job: Job) -> Any:
    import diskcache

    array, numbers = arrays.array_of(job.size), count()
    cache = diskcache.Cache(job.folder, size_limit=1 << 40)

    def save() -> None:
        cache[next(numbers)] = array

    return save, cache.clear


@LINE.add("exca", "next(Given(infra={'folder': folder}).process([n])), MapInfra; read back as a map", PEER)
def exca_map(job: Job) -> Any:
    array, numbers = arrays.array_of(job.size), count()
    node = arrays.exca_map(job.folder, lambda: array)
    return (lambda: node(next(numbers))), _clean(job.folder)


@LINE.add("labtech", "lab.run_task(Given(n=n)), PickleCache, runner_backend='serial'", PEER)
def labtech_lab(job: Job) -> Any:
    run, numbers = arrays.labtech_lab(job.folder, arrays.array_of(job.size)), count()
    return (lambda: run(next(numbers))), _clean(job.folder)


@LINE.add("pipefunc", "pipeline('payload', n=n), cache_type='disk'", PEER)
def pipefunc_disk(job: Job) -> Any:
    pipeline, numbers = arrays.pipefunc_pipeline(job.folder, arrays.array_of(job.size)), count()
    return (lambda: pipeline("payload", n=next(numbers))), _clean(job.folder)


@LINE.add("released persistable", "Given(Path(folder), P(n=n), None).generate()", RELEASED_ROLE)
def released(job: Job) -> Any:
    Given, numbers = arrays.payload_class(), count()
    Given.given = arrays.array_of(job.size)
    folder = Path(job.folder, "data")
    params = Given.params_class
    return (lambda: Given(folder, params(n=next(numbers)), None).generate()), _clean(job.folder)


@LINE.add("persistable", "Given(folder, n=n).generate(): claim, hash while writing, record, map what was written", OURS)
def ours(job: Job) -> Any:
    Given, numbers = arrays.payload_class(), count()
    Given.given = arrays.array_of(job.size)
    folder = os.path.join(job.folder, "data")
    return (lambda: Given(folder, n=next(numbers)).generate()), _clean(job.folder)
