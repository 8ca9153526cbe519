"""The first look of a process at a node whose upstream is stored: a process for each figure, which has seen none of its code or records."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from harness import HERE, LIMIT, MORE, OURS, Goal, Job, Line
from lines import buckets

UPSTREAM = 60
KINDS = ("folder", "SQLite", "S3")
LINE = Line(
    name="status-first",
    title=f"first look of a process at a node with {UPSTREAM} nodes upstream, all stored",
    loop="one look in a new process that has imported everything, opened the store and looked at a node of other code; median of 21",
    values=True,
    sizes=tuple(range(len(KINDS))),
    size_label=KINDS.__getitem__,
    headline=0,
    goals=(Goal("<= 1.25 x limit", 1.25, "limit"),),
)
_PROCESSES = 21


def _register(name: str, act: str, call: str, role: str) -> None:
    @LINE.add(name, call, role)
    def _(job: Job) -> Any:
        url, options = _stored(job)
        asked = json.dumps([act, url, options])
        return lambda: statistics.median(_in_a_new_process(asked) for _ in range(_PROCESSES))


_register("one bulk read", "read", "store.get_many(paths): the records of the node and of all that is upstream of it, not parsed", LIMIT)
_register("persistable", "status", "node.status", OURS)
_register("persistable, its payload", "payload", "node.payload", MORE)
_register("the code alone", "code", "fingerprints of the three functions that the nodes are made by", MORE)


def _stored(job: Job) -> tuple[str, dict[str, str]]:
    """Where a node with so much upstream is stored."""
    from lines import steps
    from persistable import open_store, run

    options: dict[str, str] = {}
    url = job.folder
    if KINDS[job.size] == "SQLite":
        url = f"sqlite:///{job.folder}/store.db"
    elif KINDS[job.size] == "S3":
        url, options = "s3://bench/first", {"endpoint_url": buckets.endpoint(job), **buckets.OPTIONS}
    run(steps.diamonds(UPSTREAM).bind(open_store(url, **options)))
    return url, options


def _in_a_new_process(asked: str) -> float:
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); from lines.first_look import look; look(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, asked], env=os.environ, capture_output=True, text=True, check=True)
    return int(done.stdout) / 1e3


def look(asked: str) -> None:
    """Print the nanoseconds that it takes in this process."""
    from lines import steps
    from persistable import open_store, step
    from persistable.nodes.lineage import walk
    from persistable.nodes.own_code import code_of_node

    @step
    def other(n: int) -> int:
        return n

    name, url, options = json.loads(asked)
    store = open_store(url, **options)
    other.step(other.step(0)).bind(store).status  # noqa: B018 - imports, and the connection
    node = steps.diamonds(UPSTREAM).bind(store)
    nodes = list(walk(node))
    paths = [f"{each.key}.record.json" for each in nodes]
    makers = list({each.key.name: each for each in nodes}.values())
    acts: dict[str, Callable[[], object]] = {
        "read": lambda: store.get_many(paths),
        "status": lambda: node.status,
        "payload": lambda: node.payload,
        "code": lambda: [code_of_node(each) for each in makers],
    }
    start = time.perf_counter_ns()
    found = acts[name]()
    print(time.perf_counter_ns() - start)
    assert found
