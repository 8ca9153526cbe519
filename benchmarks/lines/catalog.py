"""The catalog: its index brought up to date and made anew, and questions to it; beside signac."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import LIMIT, MORE, OURS, PEER, Goal, Job, Line, Skip

SIZES = (10_000, 100_000, 1_000_000)


def _line(name: str, title: str, loop: str, **options: Any) -> Line:
    return Line(
        name=f"catalog-{name}",
        title=title,
        loop=loop,
        sizes=SIZES,
        sizes_quick=(10_000,),
        size_label=lambda size: f"{size:,} records",
        rounds=7,
        many_files=True,
        slope_of="records",
        **options,
    )


FIND = _line(
    "find", "find by two params", "the whole question: index looked at and found current, and the entries that match; the index is made outside", unit="ms",
    seconds=0.02, goals=(Goal("<= 20 ms", 20.0),),
)  # fmt: skip
CURRENT = _line(
    "current", "index brought up to date, nothing changed", "what each question does first", unit="ms", seconds=0.02, goals=(Goal("<= 50 ms", 50.0),)
)
ONE_MORE = _line(
    "one-more", "index brought up to date, one record more", "the record is put outside", unit="ms", seconds=0.0, goals=(Goal("<= 2 s", 2000.0),)
)
REBUILD = _line(
    "rebuild", "index made anew, per record", "all records read, and the index written", unit="us", per_item=True, seconds=0.0,
    goals=(Goal("<= 50 us: 20,000 a second", 50.0),),
)  # fmt: skip
LS = Line(
    name="catalog-ls",
    title="persistable ls over 10,000 records, whole process",
    loop="a process: start, look whether the index is current, list, exit; the index is there",
    unit="ms",
    sizes=(10_000,),
    size_label=lambda size: f"{size:,} records",
    rounds=9,
    seconds=0.0,
    goals=(Goal("<= 250 ms", 250.0),),
)
NEAREST = Line(
    name="catalog-nearest",
    title="one changed leaf among 500 stored results, told by explain()",
    loop="node.explain() as text, of a node with one param changed: the nearest record and what differs; no payload is read",
    unit="ms",
    sizes=(500,),
    size_label=lambda size: f"{size:,} records",
    rounds=9,
    seconds=0.05,
    goals=(Goal("<= 50 ms", 50.0),),
)
LINES = (FIND, CURRENT, ONE_MORE, REBUILD, LS, NEAREST)

KINDS: dict[str, Callable[[Job], str]] = {
    "persistable": lambda job: f"{job.folder}/store",
    "persistable, SQLite": lambda job: f"sqlite:///{job.folder}/store.db",
}


def catalog_of(job: Job, url: str) -> Any:
    """The catalog of a store with as many records as the job says, its index up to date."""
    from lines import records
    from persistable import Catalog, open_store

    store = open_store(url)
    records.fill(store, Path(job.folder), job.size)
    _settle(store, job)
    catalog = Catalog(store, index=f"{job.folder}/index.db")
    catalog.current()
    return catalog


def _settle(store: Any, job: Job) -> None:
    """As after two seconds: what is younger is listed again at each question."""
    import time

    time.sleep(2.2)


def _find(url: Callable[[Job], str]) -> Callable[[Job], Any]:
    def setup(job: Job) -> Any:
        catalog = catalog_of(job, url(job))
        return lambda: list(catalog.find("fit", n=4, seed=job.size // 2000))

    return setup


def _current(url: Callable[[Job], str]) -> Callable[[Job], Any]:
    def setup(job: Job) -> Any:
        return catalog_of(job, url(job)).current

    return setup


def _one_more(url: Callable[[Job], str]) -> Callable[[Job], Any]:
    def setup(job: Job) -> Any:
        from lines import records

        catalog = catalog_of(job, url(job))
        more = records.files(Path(job.folder), job.size, 2 * job.size)

        def put() -> None:
            catalog.store.put_many(dict([next(more), next(more)]))

        return catalog.current, put

    return setup


def _rebuild(url: Callable[[Job], str]) -> Callable[[Job], Any]:
    def setup(job: Job) -> Any:
        return catalog_of(job, url(job)).rebuild

    return setup


for _name, _url in KINDS.items():
    _role = OURS if _name == "persistable" else MORE
    FIND.add(_name, 'list(catalog.find("fit", n=4, seed=...)): one entry', _role)(_find(_url))
    CURRENT.add(_name, "catalog.current()", _role)(_current(_url))
    ONE_MORE.add(_name, "catalog.current() after one record more", _role)(_one_more(_url))
    REBUILD.add(_name, "catalog.rebuild()", _role)(_rebuild(_url))


def _changed(job: Job, url: str) -> tuple[Any, Any]:
    """A catalog, and a node that differs from what is stored there in one param."""
    from lines import records

    os.environ["PERSISTABLE_CACHE"] = f"{job.folder}/cache"  # the index that explain() uses
    catalog = catalog_of(job, url)
    node = records.Fit(catalog.store, **{**records.params(job.size // 2), "alpha": 2.0})
    assert "alpha: 2.0, stored 0." in str(node.explain())
    return catalog, node


def _explain(url: Callable[[Job], str]) -> Callable[[Job], Any]:
    def setup(job: Job) -> Any:
        _, node = _changed(job, url(job))
        return lambda: str(node.explain())

    return setup


def _nearest(job: Job) -> Any:
    catalog, node = _changed(job, KINDS["persistable"](job))
    return lambda: catalog.nearest(node)


def _diff(job: Job) -> Any:
    catalog, node = _changed(job, KINDS["persistable"](job))
    near = catalog.nearest(node).record.key
    other = next(entry.key for entry in catalog.find("fit") if entry.key != near)
    return lambda: str(catalog.diff(near, other, payloads=False))


for _name, _url in KINDS.items():
    NEAREST.add(_name, "str(node.explain())", OURS if _name == "persistable" else MORE)(_explain(_url))
NEAREST.add("persistable, nearest", "catalog.nearest(node)", MORE)(_nearest)
NEAREST.add("persistable, diff", "str(catalog.diff(a, b, payloads=False)): params, code, versions and facts of two", MORE)(_diff)


def _signac(job: Job) -> Any:
    """A project of signac with as many jobs of the same params, of which it keeps a cache."""
    import signac  # type: ignore[import-not-found]

    from lines import records

    if job.size > 10_000:
        raise Skip("making that many jobs takes too long")
    project = signac.init_project(job.folder + "/signac")
    for number in range(job.size):
        project.open_job(records.params(number)).init()
    project.update_cache()
    return project


@FIND.add("signac", "list(project.find_jobs({...})), the cache made before", PEER)
def _signac_find(job: Job) -> Any:
    project = _signac(job)
    return lambda: list(project.find_jobs({"n": 4, "seed": job.size // 2000}))


@REBUILD.add("signac", "project.update_cache() without one, in a new project object", PEER)
def _signac_rebuild(job: Job) -> Any:
    import signac

    folder = _signac(job).path
    cache = Path(folder, ".signac", "statepoint_cache.json.gz")
    return lambda: signac.get_project(folder).update_cache(), lambda: cache.unlink(missing_ok=True)


@LS.add("signac", "signac find, all jobs", PEER)
def _signac_ls(job: Job) -> Any:
    folder = _signac(job).path
    command = [str(Path(sys.executable).with_name("signac")), "find"]
    return lambda: subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


@LS.add("bare interpreter", "python -c pass", LIMIT)
def _bare(_: Job) -> Any:
    return lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)


def _ls(*words: str) -> Callable[[Job], Any]:
    def setup(job: Job) -> Any:
        from lines import records
        from persistable import open_store

        records.fill(open_store(f"{job.folder}/store"), Path(job.folder), job.size)
        _settle(None, job)
        environment = {**os.environ, "PERSISTABLE_CACHE": f"{job.folder}/cache"}
        command = [sys.executable, "-m", "persistable", "ls", "--store", f"{job.folder}/store", *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)

    return setup


LS.add("persistable", "persistable ls", OURS)(_ls())
LS.add("persistable, one name", "persistable ls fit --where 'n = 4'", MORE)(_ls("fit", "--where", "n = 4"))
