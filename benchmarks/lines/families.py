"""Families of tiny items on one SQLite file: everything from the values that vary to payloads that are stored, or known to be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from itertools import count
from typing import Any

from harness import LIMIT, MORE, OURS, PEER, Goal, Job, Line

_SIZES: dict[str, Any] = {
    "unit": "us",
    "sizes": (1_000, 10_000, 100_000),
    "sizes_quick": (1_000, 10_000),
    "size_label": lambda size: f"{size:,} items",
    "rounds_quick": 2,
    "calls": 1,
    "per_item": True,
    "slope_of": "items",
}
HIT = Line(
    name="family-hit",
    title="family of 100,000 tiny items, all stored, per item",
    loop="from the values to knowing that all are there, or to all payloads, divided by their number; new objects each time, stores open",
    rounds=5,
    goals=(Goal("<= 5 us", 5.0),),
    **_SIZES,
)
MISS = Line(
    name="family-miss",
    title="family of 100,000 tiny items, none stored, per item",
    loop="from the values to all payloads stored, each of them for itself, in a new folder, divided by their number",
    rounds=3,
    goals=(Goal("<= 30 us", 30.0),),
    **_SIZES,
)
READ = Line(
    name="family-read",
    title="payloads of 20,000 members, in a table and as one node's list input, per member",
    loop="from the family to the table, or to the payload made of all and committed, divided by their number; all members are stored",
    rounds=5,
    goals=(Goal("<= 2 x payloads()", 2.0, "limit"),),
    **{**_SIZES, "sizes": (2_000, 20_000), "sizes_quick": (2_000,)},
)
LINES = [HIT, MISS, READ]


def _anew(job: Job, act: Callable[[str], object]) -> Any:
    """`act` in a folder that is new each time; the one before is removed, which is not timed."""
    numbers = count()
    places: list[str] = []

    def before() -> None:
        for place in places:
            shutil.rmtree(place, ignore_errors=True)
        places[:] = [f"{job.folder}/{next(numbers)}"]
        os.makedirs(places[0])

    return lambda: act(places[0]), before


def _exca(size: int) -> Callable[[str], object]:
    from lines.exca_tasks import Items

    return lambda folder: list(Items(infra={"folder": folder}).process(range(size)))


@HIT.add("exca", "list(Items(infra={'folder': folder}).process(numbers)), MapInfra in this process: payloads", PEER)
def exca_hit(job: Job) -> Any:
    work = _exca(job.size)
    work(job.folder)
    return lambda: work(job.folder), lambda: None


@MISS.add("exca", "list(Items(infra={'folder': folder}).process(numbers)), MapInfra in this process", PEER)
def exca_miss(job: Job) -> Any:
    return _anew(job, _exca(job.size))


@MISS.add(
    "pipefunc",
    "pipeline.map({'n': numbers}, run_folder=folder, parallel=False, storage='file_array')",
    PEER,
    sizes=(1_000, 10_000),
    rounds=2,
    why_not="up to 10,000 only",
)
def pipefunc_miss(job: Job) -> Any:
    from pipefunc import PipeFunc, Pipeline

    pipeline = Pipeline([PipeFunc(lambda n: n * 2.0, "out", mapspec="n[i] -> out[i]")])
    numbers = list(range(job.size))
    return _anew(job, lambda folder: pipeline.map({"n": numbers}, folder, parallel=False, storage="file_array", show_progress=False))


def _family(folder: str, size: int) -> Any:
    from lines.steps import twice
    from persistable import open_store

    return twice.over(n=range(size)).bind(open_store(f"sqlite:///{folder}/families.db"))


@HIT.add("persistable", "run(twice.over(n=range(size))): finds that there is nothing to do", OURS)
def ours_hit(job: Job) -> Any:
    from persistable import run

    run(_family(job.folder, job.size))
    return lambda: run(_family(job.folder, job.size)), lambda: None


@HIT.add("persistable, payloads", "list(twice.over(n=range(size)).payloads()): each verified", MORE)
def ours_payloads(job: Job) -> Any:
    from persistable import run

    run(_family(job.folder, job.size))
    return lambda: list(_family(job.folder, job.size).payloads()), lambda: None


@HIT.add("persistable, status", "twice.over(n=range(size)).status()", MORE)
def ours_status(job: Job) -> Any:
    from persistable import run

    run(_family(job.folder, job.size))
    return lambda: _family(job.folder, job.size).status(), lambda: None


@MISS.add("persistable", "run(twice.over(n=range(size))): claimed, generated, validated, read back, recorded", OURS)
def ours_miss(job: Job) -> Any:
    from persistable import run

    return _anew(job, lambda folder: run(_family(folder, job.size)))


@READ.add("persistable, payloads", "list(family.payloads()): each verified", LIMIT)
def read_payloads(job: Job) -> Any:
    from persistable import run

    run(_family(job.folder, job.size))
    return lambda: list(_family(job.folder, job.size).payloads()), lambda: None


@READ.add("persistable, to_frame", "family.to_frame(payload=True)", OURS)
def read_frame(job: Job) -> Any:
    from persistable import run

    run(_family(job.folder, job.size))
    return lambda: _family(job.folder, job.size).to_frame(payload=True), lambda: None


@READ.add("persistable, list input", "summed.step(family, n).generate(): a node that takes all payloads as a list; made outside", MORE)
def read_list(job: Job) -> Any:
    from lines.steps import summed
    from persistable import run

    run(_family(job.folder, job.size))
    numbers = count()
    nodes: list[Any] = []

    def before() -> None:
        family = _family(job.folder, job.size)
        nodes[:] = [summed.step(family, next(numbers)).bind(family.nodes[0].store)]

    return lambda: nodes[0].generate(), before
