"""A node that names no store finds what its last run put into the store that this run named."""

import os
import pickle
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from persistable import Family, Pipeline, Status, open_store, plan, run, step

made: list[str] = []


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made.clear()


@pytest.fixture(autouse=True)
def store() -> None:
    """Instead of the enclosing store of the other modules: none."""


@step
def base(n: int) -> int:
    made.append(f"base {n}")
    return n


@step
def doubled(x: int, k: int = 2) -> int:
    made.append(f"doubled {x}")
    return k * x


@step
def total(xs: list[int]) -> int:
    return sum(xs)


def test_so_do_its_upstream_and_what_asks_about_it() -> None:
    b = base.step(1)
    node = doubled.step(b)
    result = run(node, store="data")
    assert node.payload == 2 and b.payload == 1 and made == ["base 1", "doubled 1"]
    assert node.status is Status.DONE and b.status is Status.DONE and plan(node).counts == {"reuse": 1}
    assert run(node).counts["reused"] == 1 and result[node].payload == 2
    assert os.listdir() == ["data"]


def test_upstream_that_the_run_had_no_need_to_look_at() -> None:
    run(doubled.step(base.step(1)), store="data")
    b = base.step(1)
    run(doubled.step(b), store="data")
    assert b.payload == 1 and made == ["base 1", "doubled 1"] and os.listdir() == ["data"]


def test_families_their_upstream_and_parts() -> None:
    bases = base.over(n=[1, 2, 3])
    family = doubled.over(bases)
    part = family[:2]
    held = family[1]
    run(family, store="data")
    count = len(made)
    assert family.best().payload == 6 and held.payload == 2 and family[2].payload == 4
    assert family.status() == {Status.DONE: 3} == bases.status()
    assert list(family.to_frame().payload) == [2, 4, 6] and [payload for _, payload in part.payloads()] == [2, 4]
    assert part.best().payload == 4 and bases[3].payload == 3
    assert total.step(list(family.nodes)).upstream["xs.0"].payload == 2
    assert len(made) == count and os.listdir() == ["data"]


def test_families_of_nodes_large_ones_and_pipelines() -> None:
    nodes = {"a": base.step(1), "b": base.step(2)}
    family = Family.of(nodes)
    large = base.over(n=range(600))
    node = doubled.step(nodes["a"])
    Pipeline(family=family, large=large, node=node).run(store="data")
    count = len(made)
    assert family.best() is nodes["b"] and large.best().payload == 599 and large[7].payload == 7 and node.payload == 2
    assert run(large).counts["reused"] == 600
    assert len(made) == count and os.listdir() == ["data"]


def test_the_last_run_counts_an_enclosing_store_and_one_that_is_named_win() -> None:
    node = base.step(1)
    run(node, store="one")
    run(node, store="two")
    assert node.store.url == open_store("two").url
    run(node)
    assert node.store.url == open_store("two").url
    with open_store("three"):
        assert node.store.url == open_store("three").url
        mine = doubled.step(node)
    run(mine, store="two")
    assert mine.store.url == open_store("three").url == node.store.url  # that run put what it is made from there as well
    plan(node, store="one")
    assert node.store.url == open_store("three").url and node.bind("one").store.url == open_store("one").url


def test_the_enclosing_store_of_a_run_is_remembered_as_well() -> None:
    node = base.step(1)
    with open_store("data"):
        run(node)
    assert node.payload == 1 and made == ["base 1"]


def test_it_is_no_part_of_what_a_node_is() -> None:
    node = base.step(1)
    before = pickle.dumps(node.params_tree), node.key
    run(node, store="data")
    again: Any = pickle.loads(cloudpickle.dumps(node))
    assert (pickle.dumps(node.params_tree), node.key) == before
    assert again.store.url == open_store("persistable-data").url
    assert base.step(1).store.url == open_store("persistable-data").url


def test_other_processes_too() -> None:
    node = doubled.step(base.step(3))
    run(node, store="data", executor="processes", max_workers=1)
    assert node.payload == 6 and made == [] and os.listdir() == ["data"]


@step
def inside(n: int) -> int:
    return n


@step
def around(n: int) -> int:
    return int(run(inside.step(n))[inside.step(n)].payload)


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_a_run_within_a_node_takes_the_store_of_that_node(executor: str, tmp_path: Path) -> None:
    assert run(around.step(1), store=tmp_path / "here", executor=executor).counts["done"] == 1
    assert inside.step(1).bind(open_store(tmp_path / "here")).exists() and not (tmp_path / "persistable-data").exists()
