"""Workspaces of very many ids: what they ask of the store, how many nodes are there at a time, and that these are the same ones."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from servers.fixtures import Bucket
from tests.workspace.flows import Numbers, Times, called, calls, plus, total

from persistable import Status, Workflow, Workspace, run, seed, step, stored
from persistable.families.workspaces import overview
from persistable.families.workspaces.graph import made
from persistable.fileio import JsonFileIO
from persistable.nodes.node import Persistable
from persistable.nodes.step import StepNode
from persistable.stores import LocalStore, ObjectStore

CALLS = frozenset(
    [
        *("get", "get_many", "put", "put_many", "exists", "stat", "stat_many", "create", "create_many"),
        "change_many",
        "delete",
        "list",
        "read",
    ]
)


class Counting:
    """Counts the calls of a store, but for those that it makes itself while it is asked for many."""

    calls: ClassVar[Counter[str]] = Counter()
    inside: ClassVar[int] = 0
    asked: ClassVar[Callable[[], object] | None] = None

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return partial(_counted, name, found) if name in CALLS else found


def _counted(name: str, call: Callable[..., Any], *args: Any) -> Any:
    if not Counting.inside:
        Counting.calls[name] += 1
        if Counting.asked is not None:
            Counting.asked()
    Counting.inside += 1
    try:
        return call(*args)
    finally:
        Counting.inside -= 1


class CountingFolder(Counting, LocalStore):
    pass


class CountingBucket(Counting, ObjectStore):
    pass


def calls_of(act: Callable[[], object]) -> int:
    """How often the store is asked for something."""
    Counting.calls.clear()
    act()
    return Counting.calls.total()


@step(io=JsonFileIO())
def twice(number: int, by: int) -> int:
    called("twice")
    return number * by


@step(io=JsonFileIO(), persist=True)
def less(number: int, other: int) -> int:
    return number - other


class Flow(Workflow):
    number = seed(int)
    by = seed(int)
    first = twice.step(number, by=by)
    between = plus.step(first, 5)
    second = less.step(between, other=first)
    third = Times(number=second)


class FlowFiles(Workspace[Flow]):
    number = stored("number/{workflow_id}")
    by = stored("by")
    first = stored("first/{workflow_id}.json")
    second = stored("second/{workflow_id}.json")
    third = stored("third/{workflow_id}.json")


IDS = [f"{number:03}" for number in range(24)]


@pytest.fixture(params=["local", "s3"])
def large(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FlowFiles]:
    """Many ids, nothing computed."""
    store: Any
    if request.param == "s3":
        bucket: Bucket = request.getfixturevalue("s3_bucket")
        store = CountingBucket(bucket.url, **bucket.options)
    else:
        store = CountingFolder(tmp_path / "data")
    with store:
        store.put_many({f"number/{name}": name.encode() for name in IDS} | {"by": b"3"})
        yield FlowFiles(store)


def test_the_store_is_asked_for_many_at_once(large: FlowFiles) -> None:
    few = 12  # whatever the number of ids
    list(large)
    assert calls_of(large.status) <= few
    assert calls_of(large.plan) <= few
    assert large.status().counts["third"] == {Status.ABSENT: len(IDS)}
    one = calls_of(lambda: large.run(ids=IDS[:1]))
    assert calls_of(lambda: large.run(ids=IDS[1:-1])) > few, "nothing is counted"
    # what is left to do is one id, and costs what one costs
    assert calls_of(large.run) <= one + few
    for act in (large.status, large.plan, large.run, lambda: run(large)):
        assert calls_of(act) <= few
    assert large.run().counts == {"reused": 3 * len(IDS), "done": 0, "failed": 0, "skipped": 0, "cancelled": 0, "stale": 0}
    assert calls() == sorted([f"plus-{3 * number}-5" for number in range(len(IDS))] + ["times-2"] * len(IDS) + ["twice"] * len(IDS))


def test_what_has_changed_is_found_by_asking_for_many_at_once(large: FlowFiles) -> None:
    large.run()
    large.store.put("number/007", b"1000")
    large.store.put("second/011.json", b"by hand")
    large.store.delete("third/013.json")
    assert calls_of(large.status) <= 30
    found = {name: [status.value for status in row.values()][2:] for name, row in large.status().items()}
    changed = {"007": ["absent"] * 3, "011": ["done", "absent", "done"], "013": ["done", "done", "absent"]}
    assert found == {name: changed.get(name, ["done"] * 3) for name in IDS}
    assert large.plan().counts == {"reuse": 3 * len(IDS) - 5, "generate": 5 + 2}  # with what is not stored
    assert large.run().counts["done"] == 5 + 2
    assert large["007"].third == 10


def test_status_has_the_nodes_of_some_ids_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CountingFolder(tmp_path)
    store.put_many({f"number/{name}": name.encode() for name in IDS} | {"by": b"3"})
    ws = FlowFiles(store)
    ws.run()
    monkeypatch.setattr(overview, "BATCH", 5)
    there: list[int] = []
    gc.collect()
    monkeypatch.setattr(Counting, "asked", lambda: there.append(sum(issubclass(type(each), StepNode) for each in gc.get_objects())))
    before = sum(issubclass(type(each), StepNode) for each in gc.get_objects())
    assert ws.status().counts["third"] == {Status.DONE: len(IDS)}
    assert len(there) >= 2 * len(IDS) / 5
    assert max(there) - before <= 2 * 5 * 4


def test_two_ids_of_the_same_content_are_two_files(tmp_path: Path) -> None:
    ws = FlowFiles(tmp_path)
    for name in ("a", "b", "c"):
        ws.put(name, number=1)
    ws.put(by=2)
    ws.run(ids=["a", "b"])
    (tmp_path / "first" / "a.json").write_text("something longer")
    assert {name: row["first"].value for name, row in ws.status().items()} == {"a": "absent", "b": "done", "c": "absent"}
    assert ws.plan().counts["generate"] == 5  # of c all, among them what is not stored


# nodes


class Odd(Workflow):
    """What is made in full: nodes in lists, params that can change, classes with a say in what they are."""

    start = seed(int)
    other = seed(int, default=4)
    summed = total.step([start, other, plus.step(start, 2)])
    of_list = plus.step(start, b=[1, 2])
    times = Times(number=plus.step(start, 3), by=5)
    again = plus.step(times, b=other)
    constant = plus.step(1, 2)
    both = plus.step(start, b=start)


@pytest.mark.parametrize("workflow", [Flow, Numbers, Odd])
def test_nodes_made_one_after_the_other_are_those_made_in_full(workflow: type[Workflow]) -> None:
    for value in (1, 2, 3):
        names = list(workflow._seed_members)
        instance = workflow(**{name: value + place for place, name in enumerate(names)})
        nodes: dict[Any, Any] = {}
        for name, definition in workflow._graph.definitions.items():
            nodes[name] = instance.node(name) if name in names else made(definition, nodes)
        for name in workflow._graph.members:
            node: Any = instance.node(name)
            full = nodes[name]
            assert node.key == full.key
            assert {role: each.key for role, each in node.upstream.items()} == {role: each.key for role, each in full.upstream.items()}
            assert repr(node.params) == repr(full.params)
            assert repr(node) == repr(full)
            assert node.__dict__.keys() - {"is_persisted", "_store"} == full.__dict__.keys() - {"is_persisted", "_store"}
            node._node_check_params()


@step(persist=False)
def collected(number: int, into: list[int], by_name: dict[str, int]) -> list[int]:
    into.append(number)
    by_name["number"] = number
    return [*into, *by_name.values()]


class Collecting(Workflow):
    number = seed(int)
    many = collected.step(number, [], {})


def test_what_one_id_changes_in_its_arguments_is_its_own() -> None:
    assert [Collecting(number=number).many for number in (1, 2, 3)] == [[1, 1], [2, 2], [3, 3]]


def test_one_node_as_two_seeds_says_nothing_of_other_instances() -> None:
    class Pair(Workflow):
        a = seed(int)
        b = seed(int)
        sum = plus.step(a, b=b)

    same: Persistable[int, Any] = plus.step(1, 1)
    assert Pair(a=same, b=same).sum == 4
    assert Pair(a=1, b=20).sum == 21
    assert Pair(a=20, b=1).node("sum").key != Pair(a=1, b=20).node("sum").key
