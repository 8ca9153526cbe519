"""Loading large payloads: mapped at once, verified, and read to the end."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import LIMIT, MORE, OURS, PEER, RELEASED_ROLE, Goal, Job, Line
from lines import arrays
from lines.arrays import MEGABYTE

SIZES = (5 * MEGABYTE, 51 * MEGABYTE, 512 * MEGABYTE)

MAPPED = Line(
    name="load-unverified",
    title="load 512 MiB, not verified",
    loop="from params or path to an array (nothing of it read); files in the page cache; the array of the call before is gone",
    unit="ms",
    sizes=SIZES,
    sizes_quick=SIZES[:2],
    size_label=arrays.label,
    rounds=9,
    goals=(Goal("< 1 ms", 1.0),),
    slope_of="bytes",
)
VERIFIED = Line(
    name="load-verified",
    title="load 512 MiB, digest verified",
    loop="from params or path to an array; files in the page cache; ours hashes the file each time (its mtime is changed outside the loop)",
    unit="ms",
    sizes=SIZES,
    sizes_quick=SIZES[:2],
    size_label=arrays.label,
    rounds=9,
    goals=(Goal(">= 0.8 x the hash alone (<= 1.25 x its time)", 1.25, "limit"), Goal("<= 0.4 x joblib.load", 0.4, "joblib.load")),
    slope_of="bytes",
)
READ = Line(
    name="load-and-sum",
    title="load 512 MiB and sum it",
    loop="from params or path to array.sum(), so that a map pays for the pages it leaves to later",
    unit="ms",
    sizes=SIZES,
    sizes_quick=SIZES[:2],
    size_label=arrays.label,
    rounds=7,
    goals=(),
    slope_of="bytes",
)
LINES = [MAPPED, VERIFIED, READ]


def nothing() -> None:
    """Before a call: calls are timed one by one."""


def _bare_map(job: Job) -> Callable[[], Any]:
    import mmap

    import numpy as np

    path = os.path.join(job.folder, "raw")
    arrays.array_of(job.size).tofile(path)

    def load() -> Any:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return np.frombuffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY))
        finally:
            os.close(descriptor)

    return load


def _joblib(job: Job, mode: str | None) -> Callable[[], Any]:
    import joblib

    path = os.path.join(job.folder, "array")
    joblib.dump(arrays.array_of(job.size), path)
    return lambda: joblib.load(path, mmap_mode=mode)


def _numpy(job: Job, mode: Any) -> Callable[[], Any]:
    import numpy as np

    path = os.path.join(job.folder, "array.npy")
    np.save(path, arrays.array_of(job.size))
    return lambda: np.load(path, mmap_mode=mode)


def _pickle(job: Job) -> Callable[[], Any]:
    path = os.path.join(job.folder, "array")
    with open(path, "wb") as file:
        pickle.dump(arrays.array_of(job.size), file, 5)

    def load() -> Any:
        with open(path, "rb") as file:
            return pickle.load(file)

    return load


def _diskcache(job: Job) -> Callable[[], Any]:
    import diskcache

    cache = diskcache.Cache(job.folder, size_limit=1 << 40)
    cache["array"] = arrays.array_of(job.size)
    return lambda: cache["array"]


def _exca(job: Job) -> Callable[[], Any]:
    node = arrays.exca_map(job.folder, lambda: arrays.array_of(job.size))
    node(3)
    return lambda: node(3)


def _labtech(job: Job) -> Callable[[], Any]:
    run = arrays.labtech_lab(job.folder, arrays.array_of(job.size))
    run(3)
    return lambda: run(3)


def _pipefunc(job: Job) -> Callable[[], Any]:
    pipeline = arrays.pipefunc_pipeline(job.folder, arrays.array_of(job.size))
    pipeline("payload", n=3)
    return lambda: pipeline("payload", n=3)


def _released(job: Job) -> Callable[[], Any]:
    Given = arrays.payload_class()
    folder, params = Path(job.folder), Given.params_class
    Given.given = arrays.array_of(job.size)
    Given(folder, params(n=3), None).generate()
    Given.given = None

    def load() -> Any:
        node = Given(folder, params(n=3), None)
        node.load()
        return node.payload

    return load


def _ours(job: Job, verify: bool, make: Callable[[int], Any] = arrays.array_of) -> Callable[[], Any]:
    Given, folder = arrays.payload_class(), job.folder
    Given.given = make(job.size)
    Given(folder, n=3).generate()
    Given.given = None
    return lambda: Given(folder, n=3).load(verify=verify).payload


def _touch(job: Job) -> Callable[[], None]:
    """Give payload files other times, so that a digest remembered for the unchanged file no longer counts."""
    files = [file for file in Path(job.folder).rglob("*") if file.is_file() and file.stat().st_size >= job.size]
    assert files, "no payload file found"

    def touch() -> None:
        for file in files:
            os.utime(file)

    return touch


MAPPED.add("mmap alone", "os.open, mmap.mmap (private), os.close, numpy.frombuffer", LIMIT)(lambda job: _bare_map(job))
MAPPED.add("numpy.load, mapped", "numpy.load(path, mmap_mode='c')")(lambda job: _numpy(job, "c"))
MAPPED.add("joblib.load, mapped", "joblib.load(path, mmap_mode='c'): arrays outside of DataFrames only")(lambda job: _joblib(job, "c"))
MAPPED.add("joblib.load", "joblib.load(path), its default")(lambda job: (_joblib(job, None), nothing))
MAPPED.add("exca", "next(Given(infra={'folder': folder}).process([3])), MapInfra, which maps")(lambda job: _exca(job))
MAPPED.add("diskcache", "cache['array']")(lambda job: (_diskcache(job), nothing))
MAPPED.add("labtech", "lab.run_task(Given(n=3)), PickleCache, runner_backend='serial'")(lambda job: (_labtech(job), nothing))
MAPPED.add("pipefunc", "pipeline('payload', n=3), cache_type='disk'")(lambda job: (_pipefunc(job), nothing))
MAPPED.add("released persistable", "node = Given(Path(folder), P(n=3), None); node.load(); node.payload", RELEASED_ROLE)(
    lambda job: (_released(job), nothing)
)
MAPPED.add("persistable", "Given(folder, n=3).load(verify=False).payload", OURS)(lambda job: _ours(job, False))
MAPPED.add("persistable, dict of 8 arrays", "the same, payload a dict of arrays of that size together", MORE)(
    lambda job: _ours(job, False, lambda size: {f"a{i}": arrays.array_of(size // 8) for i in range(8)})
)
MAPPED.add("persistable, DataFrame", "the same, payload a DataFrame of 8 columns", MORE)(lambda job: _ours(job, False, _frame))
MAPPED.add("persistable, estimator", "the same, payload a fitted NearestNeighbors(algorithm='brute')", MORE)(
    lambda job: _ours(job, False, _estimator)
)


def _frame(size: int) -> Any:
    import pandas as pd

    return pd.DataFrame(arrays.array_of(size).reshape(-1, 8), columns=list("abcdefgh"))


def _estimator(size: int) -> Any:
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(algorithm="brute").fit(arrays.array_of(size).reshape(-1, 8))


@VERIFIED.add("BLAKE3 alone", "blake3(array, max_threads=AUTO).digest(), the array in memory", LIMIT)
def hash_alone(job: Job) -> Any:
    from blake3 import blake3

    array = memoryview(arrays.array_of(job.size)).cast("B")
    return lambda: blake3(array, max_threads=blake3.AUTO).digest()


@VERIFIED.add("BLAKE3 of the file", "blake3(max_threads=AUTO).update_mmap(path).digest()", MORE)
def hash_file(job: Job) -> Any:
    from blake3 import blake3

    path = os.path.join(job.folder, "raw")
    arrays.array_of(job.size).tofile(path)
    return lambda: blake3(max_threads=blake3.AUTO).update_mmap(path).digest()


VERIFIED.add("joblib.load", "joblib.load(path): verifies nothing", PEER)(lambda job: (_joblib(job, None), nothing))
VERIFIED.add("numpy.load", "numpy.load(path): verifies nothing", PEER)(lambda job: (_numpy(job, None), nothing))
VERIFIED.add("pickle 5", "pickle.load(file): verifies nothing", PEER)(lambda job: (_pickle(job), nothing))


@VERIFIED.add("persistable", "Given(folder, n=3).load().payload", OURS)
def ours_verified(job: Job) -> Any:
    load = _ours(job, True)
    return load, _touch(job)


@VERIFIED.add("persistable, file unchanged", "the same again: this process has verified that file before", MORE)
def ours_unchanged(job: Job) -> Any:
    load = _ours(job, True)
    time.sleep(2.1)  # a file changed in the last two seconds is not taken for unchanged
    load()
    return load


def _sum(load: Callable[[], Any]) -> Any:
    return (lambda: load().sum()), nothing


READ.add("mmap alone", "mmap, sum", LIMIT)(lambda job: _sum(_bare_map(job)))
READ.add("numpy.load", "numpy.load(path).sum()")(lambda job: _sum(_numpy(job, None)))
READ.add("joblib.load", "joblib.load(path).sum()")(lambda job: _sum(_joblib(job, None)))
READ.add("joblib.load, mapped", "joblib.load(path, mmap_mode='c').sum()")(lambda job: _sum(_joblib(job, "c")))
READ.add("exca", "next(Given(infra={'folder': folder}).process([3])).sum(), MapInfra, which maps")(lambda job: _sum(_exca(job)))
READ.add("diskcache", "cache['array'].sum()")(lambda job: _sum(_diskcache(job)))
READ.add("persistable", "Given(folder, n=3).load(verify=False).payload.sum()", OURS)(lambda job: _sum(_ours(job, False)))


@READ.add("persistable, verified", "Given(folder, n=3).load().payload.sum(), hashed each time", MORE)
def ours_read_verified(job: Job) -> Any:
    load = _ours(job, True)
    return (lambda: load().sum()), _touch(job)
