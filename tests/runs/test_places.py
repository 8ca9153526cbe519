"""Results, where one key stands at several places: in two stores, or at two paths of a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.runs.test_running import add, fails, number, passing

from persistable import Project, Workflow, Workspace, events, open_store, run, seed, step, stored
from persistable.errors import RunFailed
from persistable.fileio import JsonFileIO
from persistable.records.key import Key
from persistable.runs.targets import SMALLEST
from persistable.stores import Store


def bound(store: Store, make: Any) -> Any:
    """What `make` makes, in that store."""
    with store:
        return make()


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Store, Store]:
    return open_store(tmp_path / "one"), open_store(tmp_path / "two")


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_one_node_in_two_stores_is_two_in_the_result(stores: tuple[Store, Store], executor: str) -> None:
    here, there = (bound(store, lambda: number.step(1)) for store in stores)
    here.load_generate()
    result = run(here, there, executor=executor)
    assert (result.status(here), result.status(there)) == ("reused", "done")
    assert result.counts == {"done": 1, "reused": 1, "failed": 0, "skipped": 0, "cancelled": 0, "stale": 0}
    assert len(result) == len(list(result)) == len(result.rows()) == len(result.values()) == 2
    assert set(result) == {here.key} and here.key in result and here in result and there in result
    assert {node.store.url for node in result.values()} == {store.url for store in stores}
    assert {(key, node.store.url) for key, node in result.items()} == {(here.key, store.url) for store in stores}
    assert (result[here].store.url, result[there].store.url) == (stores[0].url, stores[1].url)
    assert result[here.key].payload == 1 and result.status(here.key) in ("done", "reused")
    assert {row["store"]: row["status"] for row in result.rows()} == {stores[0].url: "reused", stores[1].url: "done"}
    assert result.to_frame()["at"].tolist() == [None, None]
    assert result.records[here] == here.record != there.record == result.records[there]
    assert list(result.records) == [here.key]
    assert repr(result) == "<RunResult: 1 done, 1 reused>"


def test_a_node_of_a_third_store_is_a_stranger_and_one_of_none_is_found(stores: tuple[Store, Store], tmp_path: Path) -> None:
    here, there = (bound(store, lambda: number.step(1)) for store in stores)
    third, nowhere = bound(open_store(tmp_path / "three"), lambda: number.step(1)), number.step(1)
    nowhere._node_store = None  # as if made outside any store
    result = run(here, store=stores[1])
    assert third not in result and there not in result and nowhere in result
    with pytest.raises(KeyError):
        result.status(third)
    assert result[third].store.url.endswith("three") and not result[third].exists()
    assert result[nowhere].store.url == stores[0].url and result.status(nowhere) == "done" and result.records[nowhere] == here.record
    both = run(here, there, store=stores[1])
    assert (both[nowhere].store.url, both.status(nowhere), both[nowhere.key].store.url) == (stores[1].url, "done", stores[1].url)


def test_failures_and_what_waits_for_them_keep_apart(stores: tuple[Store, Store], tmp_path: Path) -> None:
    log = str(tmp_path / "there")

    def flow() -> Any:
        return add.step(only_with.step(log), number.step(1))

    here = bound(stores[0], flow)
    Path(log).touch()
    run(here)
    Path(log).unlink()
    there = bound(stores[1], flow)
    base_here, base_there = here.upstream["parts.0"], there.upstream["parts.0"]
    result = run(here, there, base_here, errors="return")
    assert [result.status(node) for node in (here, there, base_here, base_there)] == ["reused", "skipped", "reused", "failed"]
    assert result.counts == {"done": 1, "reused": 2, "failed": 1, "skipped": 1, "cancelled": 0, "stale": 0}
    assert result.failures[base_there] is result.failures[base_there.key] is result.failures[0]
    with pytest.raises(KeyError, match="is not among the failures"):
        result.failures[base_here]
    assert result.skipped == {there.key: base_there.key}
    errors = {(row["store"], row["name"]): row["error"] for row in result.rows()}
    assert errors[stores[0].url, "add"] is errors[stores[0].url, "only_with"] is None
    assert str(errors[stores[1].url, "add"]).startswith("waits for only_with(path=") and "no file" in str(
        errors[stores[1].url, "only_with"]
    )
    with pytest.raises(RunFailed, match="1 of 5 nodes failed, and 1 that"):
        run(here, there, base_here)


@step
def only_with(path: str) -> int:
    if not Path(path).exists():
        raise ValueError("no file")
    return 1


def test_both_of_one_key_may_fail(stores: tuple[Store, Store]) -> None:
    here, there = (bound(store, lambda: fails.step(1)) for store in stores)
    result = run(here, there, errors="return")
    assert result.counts["failed"] == len(result.failures) == 2
    assert result.failures[here].node.store.url == stores[0].url and result.failures[there].node.store.url == stores[1].url
    left = run(here, there, failed="skip")
    assert left.counts["skipped"] == 2 and left.skipped == {here.key: here.key}


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_what_is_not_persisted_reaches_those_in_both_stores(stores: tuple[Store, Store], executor: str) -> None:
    large = b"x" * 200_000

    def flow() -> Any:
        return [size.step(passing.step(large), add.step(number.step(i))) for i in range(3)]

    here, there = (bound(store, flow) for store in stores)
    result = run(here, there, here[0].upstream["of"], executor=executor, max_workers=2)
    assert result.counts["done"] == len(result) == 2 * (1 + 3 * 3)
    assert [result[node].payload for node in (*here, *there)] == [200_000 + i for i in range(3)] * 2
    assert result[here[0].upstream["of"]].payload == large


@step
def size(of: bytes, more: int) -> int:
    return len(of) + more


def test_members_of_a_large_family_keep_apart_by_store(stores: tuple[Store, Store]) -> None:
    names = range(SMALLEST)
    here, there = (bound(store, lambda: number.over(n=names)) for store in stores)
    run(here[3], here[4])
    result = run(here, there, here[5])
    assert result.counts == {"done": 2 * SMALLEST - 2, "reused": 2, "failed": 0, "skipped": 0, "cancelled": 0, "stale": 0}
    assert len(result) == len(result.rows()) == 2 * SMALLEST
    assert (result.status(here[3]), result.status(there[3]), result.status(here[5])) == ("reused", "done", "done")
    assert result[there[3]].store.url == stores[1].url and result[there[3].key].payload == 3
    assert sum(row["store"] == stores[1].url for row in result.rows()) == SMALLEST


def test_a_large_family_that_is_asked_for_twice_counts_once(tmp_path: Path) -> None:
    family = number.over(n=range(SMALLEST))
    assert len(run(family, [family])) == SMALLEST
    fresh = number.over(n=range(SMALLEST, 2 * SMALLEST))
    project = Project({"family": fresh, "last": add.step(1)}, stages={"a": ["family"], "b": ["last", "family"]}, store=tmp_path / "data")
    assert project.run().counts == {"done": SMALLEST + 1, "reused": 0, "failed": 0, "skipped": 0, "cancelled": 0, "stale": 0}


@step(io=JsonFileIO())
def total(data: pd.DataFrame) -> int:
    return int(data["x"].sum())


class Sums(Workflow):
    data = seed(pd.DataFrame)
    whole = total.step(data)
    more = add.step(whole)


class SumFiles(Workspace[Sums]):
    data = stored("in/{subject}.csv")
    whole = stored("out/{subject}.json")


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_subjects_with_the_same_data_count_each(tmp_path: Path, executor: str) -> None:
    for subject, value in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / "data/in").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"data/in/{subject}.csv").write_text(f"x,y\n{value},2\n")
    ws = SumFiles(tmp_path / "data")
    a, b, c = (ws[subject].node("whole") for subject in "abc")
    assert a.key == b.key != c.key and a.place != b.place
    told: list[Any] = []
    ws.run("whole", ids=["a"])
    result = ws.run("whole", executor=executor, hooks=[told.append])
    assert [result.status(node) for node in (a, b, c)] == ["reused", "done", "done"]
    rows = {row["at"]: row["status"] for row in result.rows() if row["name"] == "total"}
    assert rows == {"out/a.json": "reused", "out/b.json": "done", "out/c.json": "done"}
    assert [result[node].place for node in (a, b)] == [a.place, b.place] and result[a.key].payload == 1
    assert (result.records[a], result.records[b]) == (a.record, b.record) and a.record != b.record
    assert sum(result.counts.values()) == 3 and len(result) == len(result.rows()) == 5  # inputs have rows, and are not counted
    assert [event.counts for event in told if isinstance(event, events.RunFinished)] == [result.counts]


def test_an_earlier_stage_counts_once_at_its_place(stores: tuple[Store, Store]) -> None:
    here, there = (bound(store, lambda: number.step(1)) for store in stores)
    first, second = run(here), run(here, there)
    result = second.after(first)
    assert (result.status(here), result.status(there), len(result)) == ("done", "done", 2)
    family = bound(stores[0], lambda: number.over(n=range(SMALLEST)))
    third = run(here).after(run(family))
    assert len(third) == len(list(third)) == SMALLEST and third.status(Key(*here.key)) == "reused"
