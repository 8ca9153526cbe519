"""``a >> b``: new nodes, wired by name or in order, and errors that name the nodes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persistable import Persistable, open_store, step
from persistable.errors import InputMissing, LineageCycle

ran: list[str] = []


@step
def fetch(url: str) -> list[int]:
    ran.append("fetch")
    return [1, 2, 3]


@step
def clean(data: list[int], threshold: int = 1) -> list[int]:
    ran.append("clean")
    return [each for each in data if each > threshold]


@step
def stats(data: list[int]) -> int:
    ran.append("stats")
    return sum(data)


@step
def plot(data: list[int]) -> str:
    ran.append("plot")
    return "*" * len(data)


@step
def join(first: Any, second: Any) -> Any:
    ran.append("join")
    return (first, second)


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Any:
    ran.clear()
    with open_store(tmp_path / "store") as store:
        yield store


def test_a_chain_with_a_fork_and_a_join_runs_each_node_once_in_order() -> None:
    report = fetch.step(url="u") >> clean.step(threshold=1) >> [stats.step(), plot.step()] >> join.step()
    assert ran == []  # nothing runs while a graph is built
    assert report.payload == (5, "**")
    assert ran[:2] == ["fetch", "clean"] and sorted(ran[2:4]) == ["plot", "stats"] and ran[4:] == ["join"]
    assert list(report.upstream) == ["first", "second"]


def test_neither_side_is_changed() -> None:
    a, b = fetch.step("u"), clean.step()
    before = a.key
    c = a >> b
    assert a.key == before and repr(b) == "<clean, open: data>" and c.upstream["data"] is a
    assert (a >> b).key == c.key == clean.step(a).key


def test_inputs_are_filled_in_order_or_by_name() -> None:
    a, b = fetch.step("a"), fetch.step("b")
    assert ([a, b] >> join.step()).key == join.step(a, b).key
    assert ((a, b) >> join.step()).key == join.step(a, b).key
    assert ({"second": a, "first": b} >> join.step()).key == join.step(b, a).key
    assert (a >> join.step(second=b)).key == join.step(a, b).key
    assert (a >> join.step(first=b)).key == join.step(b, a).key
    first = step(name="first")(lambda: 1).step()
    assert ([a, first] >> join.step()).key == join.step(first, a).key  # a node named as an input goes there
    assert (b >> (a >> join.step())).key == join.step(a, b).key


def test_a_join_may_take_any_number() -> None:
    @step
    def starred(*parts: int) -> int:
        return sum(parts)

    @step
    def listed(parts: list[int]) -> int:
        return sum(parts)

    @step(merge=sum)
    def merged(total: int, scale: int = 1) -> int:
        return total * scale

    numbers = [step(name=f"n{i}")(lambda i: i).step(i) for i in range(4)]
    for joined in (numbers >> starred.step(), numbers >> listed.step(), numbers >> merged.step()):
        assert joined.payload == 6
    assert (numbers[:1] >> starred.step()).payload == 0
    assert starred.step().payload == 0  # a node already, which may be given more
    assert (numbers >> merged.step(scale=2)).payload == 12


def test_a_fork_into_a_list_goes_on() -> None:
    ends = fetch.step("u") >> [clean.step(threshold=0), clean.step(threshold=2)] >> [join.step(), join.step()]
    assert isinstance(ends, list) and [end.payload for end in ends] == [([1, 2, 3], [3])] * 2
    assert ([fetch.step("u")] >> clean.step()).key == clean.step(fetch.step("u")).key


@dataclass
class ScaleParams:
    factor: int


class Scaled(Persistable[list[int], ScaleParams]):
    data: Persistable[Any, Any]

    def _generate_payload(self, **_: Any) -> list[int]:
        return [each * self.params.factor for each in self.data.payload]


class Total(Persistable[int, None]):
    parts: list[Persistable[Any, Any]]

    def _generate_payload(self, **_: Any) -> int:
        return sum(sum(part.payload) for part in self.parts)


def test_classes_compose_as_functions_do(tmp_path: Path) -> None:
    open_node = Scaled(tmp_path, factor=2)
    node = fetch.step("u") >> open_node
    assert isinstance(node, Scaled)
    assert node.payload == [2, 4, 6]
    assert node.key == Scaled(tmp_path, factor=2, data=fetch.step("u")).key
    assert repr(open_node) == "<scaled, open: data>"
    assert (fetch.step("u") >> [Scaled(tmp_path, factor=2), Scaled(tmp_path, factor=3)] >> Total(tmp_path)).payload == 30
    assert (fetch.step("u") >> Scaled(tmp_path, factor=2) >> stats.step()).payload == 12


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (lambda a, b: a >> 3, TypeError, r"3 \(int\) is no node"),
        (lambda a, b: 3 >> b, TypeError, r"3 \(int\) is no node"),
        (lambda a, b: a >> stats, TypeError, r"<step .*stats> \(Step\) is no node"),
        (lambda a, b: a >> Scaled, TypeError, "Scaled"),
        (lambda a, b: [a, "x"] >> join.step(), TypeError, r"'x' \(str\) is no node"),
        (lambda a, b: np.ones(2) >> b, TypeError, "is no node"),
        (lambda a, b: a >> [], TypeError, "an empty list stands after >>"),
        (lambda a, b: [] >> b, TypeError, "an empty list stands before >> clean"),
        (lambda a, b: a >> a, LineageCycle, "fetch >> fetch: a node cannot be upstream of itself"),
        (lambda a, b: (a >> b) >> a, LineageCycle, "clean >> fetch: fetch is upstream of clean already"),
        (lambda a, b: a >> clean.step(a), TypeError, "fetch >> clean: clean has no open input left"),
        (lambda a, b: b >> stats.step(), InputMissing, "clean >> stats: clean still needs data"),
        (lambda a, b: {"wrong": a} >> b, TypeError, "clean has no open input 'wrong'; open are: data"),
        (lambda a, b: [a, a, a] >> join.step(), TypeError, r"join takes 2 nodes \(first, second\), so there is no place for fetch"),
    ],
)
def test_what_cannot_be_joined_is_refused_by_name(build: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        build(fetch.step("u"), clean.step())
