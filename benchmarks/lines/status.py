"""The status of a node whose upstream is stored: all of that is read, and judged, at each look."""

from __future__ import annotations

from typing import Any

from harness import LIMIT, MORE, OURS, Goal, Job, Line

LINE = Line(
    name="status-upstream",
    title="status and STALE check of a node with 60 nodes upstream, all stored",
    loop="node.status: own record, sizes of its files, and the code and records of all that is upstream; the node is made outside",
    sizes=(6, 60, 600),
    size_label=lambda size: f"{size:,} upstream",
    headline=1,
    rounds=40,
    rounds_quick=10,
    seconds=0.02,
    goals=(Goal("<= 1.25 x limit", 1.25, "limit"),),
    slope_of="nodes upstream",
)


@LINE.add("one bulk read", "store.get_many(paths): the records of the node and of all that is upstream of it, not parsed", LIMIT)
def bare(job: Job) -> Any:
    node = _stored(job, "diamonds")
    from persistable.nodes.lineage import walk

    store, paths = node.store, [f"{each.key}.record.json" for each in walk(node)]
    return lambda: store.get_many(paths)


@LINE.add("persistable", "node.status, diamonds of four nodes one after another", OURS)
def diamonds(job: Job) -> Any:
    node = _stored(job, "diamonds")
    return lambda: node.status


@LINE.add("persistable, a chain", "node.status, each node made from the one before", MORE)
def chain(job: Job) -> Any:
    node = _stored(job, "chain")
    return lambda: node.status


@LINE.add("persistable, all direct", "node.status, made from all the others at once", MORE)
def wide(job: Job) -> Any:
    node = _stored(job, "wide")
    return lambda: node.status


@LINE.add("persistable, another object", "node.bind(store).status: what was found out about one object of a node serves others", MORE)
def another(job: Job) -> Any:
    node = _stored(job, "diamonds")
    store = node.store
    return lambda: node.bind(store).status


def _stored(job: Job, shape: str) -> Any:
    """A node with so many upstream, in which everything is stored."""
    from lines import steps
    from persistable import run

    node = getattr(steps, shape)(job.size).bind(job.folder)
    run(node)
    assert node.status.value == "done"
    return node
