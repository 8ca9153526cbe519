"""Keys: of a node with a large array among its params, and of many nodes that share their upstream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import LIMIT, MORE, OURS, PEER, RELEASED_ROLE, Goal, Job, Line, Skip
from lines import arrays
from lines.arrays import MEGABYTE

SIZES = (5 * MEGABYTE, 51 * MEGABYTE, 512 * MEGABYTE)

ARRAY = Line(
    name="key-array",
    title="key of a node with a 512 MiB array param",
    loop="a new node (or call) over an array in memory, to its key; nothing is stored or looked up",
    unit="ms",
    sizes=SIZES,
    sizes_quick=SIZES[:2],
    size_label=arrays.label,
    rounds=9,
    goals=(Goal(">= 11 x faster than joblib.hash", 1 / 11, "joblib.hash"),),
    slope_of="bytes",
)
LADDER = Line(
    name="key-ladder",
    title="key of a ladder of 60 diamonds",
    loop="make all nodes, 3 to a diamond (left and right over the last, a join over both), and ask the last for its key",
    unit="ms",
    sizes=(6, 12, 60, 600),
    sizes_quick=(6, 12, 60),
    size_label=lambda size: f"{size} diamonds",
    headline=2,
    rounds=9,
    goals=(Goal("< 5 ms", 5.0),),
    slope_of="diamonds",
)
LINES = [ARRAY, LADDER]


@ARRAY.add("BLAKE3 alone", "blake3(array, max_threads=AUTO).digest()", LIMIT)
def hash_alone(job: Job) -> Any:
    from blake3 import blake3

    array = memoryview(arrays.array_of(job.size)).cast("B")
    return lambda: blake3(array, max_threads=blake3.AUTO).digest()


@ARRAY.add("joblib.hash", "joblib.hash(array), MD5: what joblib's Memory does with an argument")
def joblib_hash(job: Job) -> Any:
    import joblib

    array = arrays.array_of(job.size)
    return lambda: joblib.hash(array)


@ARRAY.add(
    "diskcache",
    "diskcache.core.args_to_key(...) and Disk.put: the key holds the whole pickled array",
    PEER,
    sizes=SIZES[:1],
    why_not="SQLite takes no such key",
)
def diskcache_key(job: Job) -> Any:
    import diskcache

    array = arrays.array_of(job.size)
    disk = diskcache.Cache(job.folder).disk
    return lambda: disk.put(diskcache.core.args_to_key(("f",), (array,), {}, False, ()))


@ARRAY.add(
    "pipefunc",
    "pipefunc.cache.to_hashable(array): a tuple of all numbers",
    PEER,
    sizes=SIZES[:1],
    why_not="a tuple of 67 million numbers",
    rounds=2,
)
def pipefunc_key(job: Job) -> Any:
    from pipefunc.cache import to_hashable

    array = arrays.array_of(job.size)
    return lambda: to_hashable(array)


@ARRAY.add("labtech", "Node(array)")
def labtech_key(job: Job) -> Any:
    from labtech.exceptions import TaskError

    from lines.labtech_tasks import OfArray

    array = arrays.array_of(job.size)
    try:
        OfArray(array)
    except TaskError as error:
        raise Skip("takes no arrays as params") from error
    return lambda: OfArray(array).cache_key


@ARRAY.add("exca", "Node(array=array).infra.uid()")
def exca_key(job: Job) -> Any:
    from lines.exca_tasks import OfArray

    one, other = arrays.array_of(job.size), arrays.array_of(job.size)
    other[len(other) // 2] = -1
    infra = {"folder": job.folder}
    try:
        same = OfArray(array=one, infra=infra).infra.uid() == OfArray(array=other, infra=infra).infra.uid()
    except Exception as error:
        raise Skip(f"takes no arrays as params ({type(error).__name__})") from error
    if same:
        raise Skip("wrong: different arrays have one key")
    return lambda: OfArray(array=one, infra=infra).infra.uid()


def _array_class() -> Any:
    from persistable import Persistable, PersistableParams

    @dataclass
    class P(PersistableParams):
        array: Any

    class Node(Persistable[int, P]):
        def _generate_payload(self, **_: Any) -> int:
            return 1

    Node.params_class = P
    return Node


@ARRAY.add("released persistable", "Node(Path(folder), P(array), None).persist_hash", RELEASED_ROLE)
def released_key(job: Job) -> Any:
    Node, folder = _array_class(), Path(job.folder)
    one, other = arrays.array_of(job.size), arrays.array_of(job.size)
    other[len(other) // 2] = -1
    if Node(folder, Node.params_class(one), None).persist_hash == Node(folder, Node.params_class(other), None).persist_hash:
        raise Skip("wrong: different arrays have one key")
    return lambda: Node(folder, Node.params_class(one), None).persist_hash


@ARRAY.add("persistable", "Node(folder, array=array).key", OURS)
def ours_key(job: Job) -> Any:
    Node, array = _array_class(), arrays.array_of(job.size)
    other = array.copy()
    other[len(other) // 2] = -1
    assert Node(job.folder, array=array).key != Node(job.folder, array=other).key
    del other
    return lambda: Node(job.folder, array=array).key


# the ladder

FEW = {"sizes": (6, 12), "why_not": "doubles with each diamond"}


def _ladder(diamonds: int, base: Any, side: Callable[[Any, int], Any], join: Callable[[Any, Any], Any]) -> Any:
    last = base
    for _ in range(diamonds):
        last = join(side(last, 0), side(last, 1))
    return last


def _ladder_classes() -> Any:
    from persistable import Persistable, PersistableParams

    @dataclass
    class P(PersistableParams):
        n: int = 0

    class Base(Persistable[int, P]):
        def _generate_payload(self, **_: Any) -> int:
            return 1

    class Side(Base):
        of: Base | None = None

    class Join(Base):
        left: Base | None = None
        right: Base | None = None

    return P, Base, Side, Join


@LADDER.add("labtech", "tasks as params of tasks; last.cache_key", **FEW)
def labtech_ladder(job: Job) -> Any:
    from lines.labtech_tasks import Base, Join, Side

    return lambda: (
        _ladder(job.size, Base(n=0), lambda last, n: Side(of=last, n=n), lambda left, right: Join(left=left, right=right)).cache_key
    )


@LADDER.add("exca", "configurations nested in configurations; last.infra.uid()", sizes=(6,), why_not="doubles with each diamond", rounds=3)
def exca_ladder(job: Job) -> Any:
    from lines.exca_tasks import Node

    infra = {"folder": job.folder}
    return lambda: _ladder(
        job.size,
        Node(infra=infra),
        lambda last, n: Node(left=last, n=n, infra=infra),
        lambda left, right: Node(left=left, right=right, infra=infra),
    ).infra.uid()


@LADDER.add("released persistable", "dependencies; last.persist_hash", RELEASED_ROLE, **FEW)
def released_ladder(job: Job) -> Any:
    P, Base, Side, Join = _ladder_classes()
    folder, p = Path(job.folder), (P(n=0), P(n=1))

    return lambda: (
        _ladder(
            job.size,
            Base(folder, p[0], None),
            lambda last, n: Side(folder, p[n], [last], payload_name=f"side{n}"),
            lambda left, right: Join(folder, p[0], [left, right]),
        ).persist_hash
    )


@LADDER.add("persistable", "nodes as upstream; last.key", OURS)
def ours_ladder(job: Job) -> Any:
    P, Base, Side, Join = _ladder_classes()
    folder, p = job.folder, (P(n=0), P(n=1))

    return lambda: (
        _ladder(
            job.size,
            Base(folder, p[0]),
            lambda last, n: Side(folder, p[n], of=last),
            lambda left, right: Join(folder, p[0], left=left, right=right),
        ).key
    )


@LADDER.add(
    "persistable, as released", "the same, written as for the released one, with tracked_persistable_dependencies", MORE, sizes=(6, 12, 60)
)
def ours_ladder_dependencies(job: Job) -> Any:
    P, Base, Side, Join = _ladder_classes()
    folder, p = job.folder, (P(n=0), P(n=1))

    return lambda: (
        _ladder(
            job.size,
            Base(folder, p[0], None),
            lambda last, n: Side(folder, p[n], [last], payload_name=f"side{n}"),
            lambda left, right: Join(folder, p[0], [left, right]),
        ).persist_hash
    )
