"""Memory: what saving takes on top of the payload, and what many processes that load the same payload take together."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import LIMIT, MORE, OURS, PEER, RELEASED_ROLE, Goal, Job, Line
from lines import arrays
from lines.arrays import MEGABYTE

SAVING = Line(
    name="memory-saving",
    title="peak extra memory while saving 4 GiB",
    loop="peak of private memory (RssAnon, sampled every millisecond) over what was held right before the call, the payload included",
    unit="MiB",
    sizes=(40 * MEGABYTE, 400 * MEGABYTE, 4096 * MEGABYTE),
    sizes_quick=(40 * MEGABYTE, 400 * MEGABYTE),
    size_label=arrays.label,
    values=True,
    goals=(Goal("<= 64 MiB", 64.0), Goal("<= 64 MiB with allocate", 64.0, "=persistable, allocate")),
    slope_of="bytes",
)
LOADERS = Line(
    name="memory-loaders",
    title="8 processes that load one 1 GB payload",
    loop="sum of Pss of 8 forked workers after each loaded the payload and summed it, and while all of them hold it",
    unit="MB",
    sizes=(10_000_000, 100_000_000, 1_000_000_000),
    sizes_quick=(10_000_000, 100_000_000),
    size_label=lambda size: f"{size / 1e6:g} MB",
    values=True,
    goals=(Goal("<= 1.1 x payload", 1.1, "limit"),),
    slope_of="bytes",
)
LINES = [SAVING, LOADERS]

FEW = {"sizes": SAVING.sizes[:2], "why_not": "at a tenth of the size, see below"}


def _anonymous() -> int:
    """Private memory of this process in bytes."""
    with open("/proc/self/status") as file:
        return next(int(text.split()[1]) for text in file if text.startswith("RssAnon")) * 1024


class _Peak:
    """Samples private memory in a thread of its own while a block runs."""

    def __enter__(self) -> _Peak:
        self._over = threading.Event()
        self.before = self.highest = _anonymous()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.001):
            self.highest = max(self.highest, _anonymous())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def extra(self) -> float:
        return max(0, self.highest - self.before) / MEGABYTE


def _while(job: Job, save: Callable[[Any], object], warm: bool = True) -> Callable[[], float]:
    """The extra memory of `save(array)`, its code being warm."""
    if warm:
        save(arrays.array_of(1 << 20))
    array = arrays.array_of(job.size)

    def measured() -> float:
        with _Peak() as peak:
            save(array)
        return peak.extra

    return measured


@SAVING.add("numpy.save", "numpy.save(path, array)", LIMIT)
def bare(job: Job) -> Any:
    import numpy as np

    return _while(job, lambda array: np.save(os.path.join(job.folder, "array.npy"), array))


@SAVING.add("joblib.dump", "joblib.dump(array, path)", **FEW)
def joblib_dump(job: Job) -> Any:
    import joblib

    return _while(job, lambda array: joblib.dump(array, os.path.join(job.folder, "array")))


@SAVING.add("pickle 5", "pickle.dump(array, file, protocol=5)", **FEW)
def pickle_dump(job: Job) -> Any:
    def save(array: Any) -> None:
        with open(os.path.join(job.folder, "array"), "wb") as file:
            pickle.dump(array, file, 5)

    return _while(job, save)


@SAVING.add("diskcache", "cache['array'] = array", **FEW)
def diskcache_set(job: Job) -> Any:
    import diskcache

    cache = diskcache.Cache(job.folder, size_limit=1 << 40)
    return _while(job, lambda array: cache.set("array", array))


@SAVING.add("exca", "next(Given(infra=...).process([n])), MapInfra", **FEW)
def exca_map(job: Job) -> Any:
    held: list[Any] = [arrays.array_of(1 << 20)]
    node = arrays.exca_map(job.folder, lambda: held[-1])
    node(0)

    def save(array: Any) -> None:
        held.append(array)
        node(1)

    return _while(job, save, warm=False)


@SAVING.add("labtech", "lab.run_task(Given(n=n)), PickleCache, runner_backend='serial'", **FEW)
def labtech_lab(job: Job) -> Any:
    return _while(job, lambda array: arrays.labtech_lab(job.folder, array)(array.size))


@SAVING.add("pipefunc", "pipeline('payload', n=n), cache_type='disk'", **FEW)
def pipefunc_disk(job: Job) -> Any:
    return _while(job, lambda array: arrays.pipefunc_pipeline(job.folder, array)("payload", n=array.size))


@SAVING.add("released persistable", "Given(Path(folder), P(n=n), None).generate()", RELEASED_ROLE, **FEW)
def released(job: Job) -> Any:
    Given = arrays.payload_class()

    def save(array: Any) -> None:
        Given.given = array
        Given(Path(job.folder), Given.params_class(array.size), None).generate()

    return _while(job, save)


@SAVING.add("persistable", "Given(folder, n=n).generate(), a plain array", OURS)
def ours(job: Job) -> Any:
    Given = arrays.payload_class()

    def save(array: Any) -> None:
        Given.given = array
        Given(job.folder, n=array.size).generate()

    return _while(job, save)


@SAVING.add("persistable, allocate", "the same with self.allocate(n), filled in the generation: the payload itself is counted too", MORE)
def ours_allocate(job: Job) -> Any:
    Given = arrays.payload_class()

    class Allocated(Given):  # type: ignore[misc, valid-type]
        def _generate_payload(self, **_: Any) -> Any:
            array = self.allocate(self.params.n)
            array[:] = 1.0
            return array

    Allocated(job.folder, n=1 << 17).generate()

    def measured() -> float:
        with _Peak() as peak:
            Allocated(job.folder, n=job.size // 8).generate()
        return peak.extra

    return measured


# loading, many times


@contextmanager
def _forked(count: int, load: Callable[[], Any]) -> Any:
    """The ids of `count` forked processes that hold what `load` gave, summed once."""
    ready, said = os.pipe()
    stop, go_on = os.pipe()
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            try:
                os.close(go_on)
                array = load()
                assert array.sum() >= 0
                os.write(said, b"+")
                os.read(stop, 1)  # until the parent closes its end
                del array
            finally:
                os._exit(0)
        children.append(child)
    os.close(said)
    try:
        done = b""
        while len(done) < count and (more := os.read(ready, count)):
            done += more
        if len(done) < count:
            raise RuntimeError(f"{count - len(done)} of {count} workers died while loading")
        yield children
    finally:
        os.close(go_on)
        for child in children:
            os.waitpid(child, 0)
        os.close(ready)
        os.close(stop)


def _pss(process: int) -> int:
    """Proportional set size in bytes: private memory, and of what is shared its share."""
    with open(f"/proc/{process}/smaps_rollup") as file:
        return next(int(text.split()[1]) for text in file if text.startswith("Pss:")) * 1024


def _together(load: Callable[[], Any]) -> Callable[[], float]:
    def measured() -> float:
        with _forked(8, load) as processes:
            return sum(_pss(process) for process in processes) / 1e6

    return measured


@LOADERS.add("payload once", "its size", LIMIT)
def once(job: Job) -> Any:
    return lambda: job.size / 1e6


@LOADERS.add("joblib, mapped", "joblib.load(path, mmap_mode='c')", PEER)
def joblib_mapped(job: Job) -> Any:
    import joblib

    path = os.path.join(job.folder, "array")
    joblib.dump(arrays.array_of(job.size), path)
    return _together(lambda: joblib.load(path, mmap_mode="c"))


@LOADERS.add("joblib", "joblib.load(path)", PEER)
def joblib_read(job: Job) -> Any:
    import joblib

    path = os.path.join(job.folder, "array")
    joblib.dump(arrays.array_of(job.size), path)
    return _together(lambda: joblib.load(path))


@LOADERS.add("exca", "next(Given(infra=...).process([3])), MapInfra, which maps", PEER)
def exca_mapped(job: Job) -> Any:
    node = arrays.exca_map(job.folder, lambda: arrays.array_of(job.size))
    node(3)
    return _together(lambda: node(3))


@LOADERS.add("diskcache", "Cache(folder)['array']", PEER)
def diskcache_get(job: Job) -> Any:
    import diskcache

    cache = diskcache.Cache(job.folder, size_limit=1 << 40)
    cache["array"] = arrays.array_of(job.size)
    cache.close()
    return _together(lambda: diskcache.Cache(job.folder)["array"])


@LOADERS.add("released persistable", "Given(Path(folder), P(n=3), None).load()", RELEASED_ROLE)
def released_load(job: Job) -> Any:
    Given = arrays.payload_class()
    Given.given = arrays.array_of(job.size)
    folder, params = Path(job.folder), Given.params_class
    Given(folder, params(n=3), None).generate()
    Given.given = None

    def load() -> Any:
        node = Given(folder, params(n=3), None)
        node.load()
        return node.payload

    return _together(load)


def _ours(job: Job, verify: bool) -> Any:
    Given, folder = arrays.payload_class(), job.folder
    Given.given = arrays.array_of(job.size)
    Given(folder, n=3).generate()
    Given.given = None
    return _together(lambda: Given(folder, n=3).load(verify=verify).payload)


LOADERS.add("persistable", "Given(folder, n=3).load(), verified in each process", OURS)(lambda job: _ours(job, True))
LOADERS.add("persistable, not verified", "Given(folder, n=3).load(verify=False)", MORE)(lambda job: _ours(job, False))
