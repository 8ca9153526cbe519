"""A warm key of layers, a folder or memory over a bucket, beside the nearest layer alone."""

from __future__ import annotations

import os
from typing import Any

from harness import LIMIT, OURS, Goal, Job, Line
from lines.buckets import OPTIONS, endpoint

_HIT: dict[str, Any] = {
    "loop": "from params to payload, a new object each time; stores open, the payload was read before",
    "sizes": (100,),
    "size_label": lambda size: f"{size:,} stored",
    "rounds": 30,
    "rounds_quick": 10,
    "seconds": 0.01,
    "goals": (Goal("<= 1.1 x the nearest layer alone", 1.1, "limit"),),
}
FOLDER = Line(name="layers-folder", title="warm hit in a folder over S3", **_HIT)
MEMORY = Line(name="layers-memory", title="warm hit in memory over S3", **_HIT)
LINES = [FOLDER, MEMORY]


def _hit(job: Job, near: str, over: bool) -> Any:
    from lines.steps import twice
    from persistable import open_store, run

    far = open_store("s3://bench/far", endpoint_url=endpoint(job), **OPTIONS) if over else None
    store = open_store([near, far] if far is not None else near)
    run([twice.step(n) for n in range(job.size)], store=store)
    twice.step(3).bind(store).load()
    return lambda: twice.step(3).bind(store).load().payload


@FOLDER.add("folder", "node.load(), the store a folder", LIMIT)
def folder(job: Job) -> Any:
    return _hit(job, os.path.join(job.folder, "near"), over=False)


@FOLDER.add("persistable", "node.load(), the store that folder over a bucket", OURS)
def folder_over(job: Job) -> Any:
    return _hit(job, os.path.join(job.folder, "near"), over=True)


@MEMORY.add("memory", "node.load(), the store memory", LIMIT)
def memory(job: Job) -> Any:
    return _hit(job, "memory://near", over=False)


@MEMORY.add("persistable", "node.load(), the store memory over a bucket", OURS)
def memory_over(job: Job) -> Any:
    return _hit(job, "memory://near", over=True)
