"""`gather`: members put together along axes, for a node that takes many."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.families.flows import Counted, Outliers, Points, add, total

from persistable import Family, Persistable, Source, open_store, run, step
from persistable.errors import UnknownMember, UnknownParam, WrongUpstream
from persistable.stores import Store


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[Store]:
    """The store of nodes that name none: a folder."""
    with open_store(tmp_path / "store") as store:
        yield store


class Spread(Persistable[float, None]):
    points: list[Points]

    def _generate_payload(self) -> float:
        return max(max(each.payload) for each in self.points)


def test_one_node_for_each_value_of_the_other_axes() -> None:
    sums = add.over([1, 2], [10, 20, 30])
    totals = total.over(sums.gather("b"))
    assert list(totals) == [1, 2] and [axis.name for axis in totals.axes] == ["a"]
    assert totals[2].key == total.step([sums[2, b] for b in (10, 20, 30)]).key
    assert run(totals).counts["done"] == 8
    assert [node.payload for node in totals.values()] == [63, 66] and totals.best() is totals[2]
    assert repr(sums.gather("b")) == "<add gathered along b: a (2)>"


@given(st.permutations(["a", "b", "c"]), st.integers(1, 3), st.lists(st.integers(1, 3), min_size=3, max_size=3))
def test_any_axes_in_any_order_of_their_names(names: list[str], number_of: int, sizes: list[int]) -> None:
    chosen = names[:number_of]
    family = Family.grid(three, (), {name: list(range(size)) for name, size in zip("abc", sizes, strict=True)})
    gathered = family.gather(*chosen)
    left = [name for name in "abc" if name not in chosen]
    for key in gathered:
        labels = dict(zip(left, key if len(left) != 1 else [key], strict=True))
        wanted = [node.key for values, node in family.items() if all(values["abc".index(name)] == labels[name] for name in left)]
        assert [node.key for node in gathered[key]] == wanted
    assert len(gathered) == len(list(gathered)) == len(total.over(gathered))


@step
def three(a: int, b: int, c: int) -> int:
    return a + b + c


def test_along_all_axes_there_is_one_member() -> None:
    sums = add.over([1, 2], [10, 20])
    every = total.over(sums.gather("b", "a"))
    assert list(every) == [()] and every[()].key == total.step(list(sums.values())).key
    assert every.run().counts["done"] == 5 and every.best().payload == 66 and len(every.to_frame()) == 1


def test_along_one_of_the_params_that_go_together() -> None:
    pairs = add.among([{"a": 1, "b": 10}, {"a": 1, "b": 20}, {"a": 2, "b": 30}])
    totals = total.over(pairs.gather("b"))
    assert list(totals) == [1, 2] and run(totals).counts["done"] == 5
    assert [node.payload for node in totals.values()] == [32, 32]


def test_a_role_that_takes_many_beside_axes_that_are_shared() -> None:
    points = Points.over(n=[3, 5], seed=[0, 1])
    spread = Spread.over(points=points.gather("seed"))
    assert spread[5].key == Spread(points=[points[5, 0], points[5, 1]]).key
    both = add.over(spread, Counted.over(points=points.sel(seed=0)))
    assert [axis.name for axis in both.axes] == ["n"]  # what is left of the axes is still the same axis


def test_members_of_a_part_and_of_a_store(tmp_path: Path) -> None:
    sums = add.over([1, 2, 3], [10, 20]).sel(a=[3, 1]).bind(tmp_path / "other")
    assert [node.params for node in sums.gather("a")[10]] == [add.step(3, 10).params, add.step(1, 10).params]
    assert all(node.store == open_store(tmp_path / "other") for node in sums.gather("a")[10])


def test_what_a_source_finds_later_is_gathered_too(tmp_path: Path) -> None:
    (tmp_path / "a-1.txt").write_text("1")
    source = Source(str(tmp_path / "{letter}-{digit}.txt"), io=".txt")
    joined = together.over(source.gather("digit"))
    assert [node.payload for node in joined.values()] == ["1"]
    (tmp_path / "a-2.txt").write_text("2")
    (tmp_path / "b-1.txt").write_text("3")
    run(joined)
    assert {key: node.payload for key, node in joined.items()} == {"a": "12", "b": "3"}


@step
def together(texts: list[str]) -> str:
    return "".join(texts)


def test_nothing_is_made_before_it_is_asked_for() -> None:
    made = add.over(range(100_000), range(10)).gather("b")
    assert len(made) == 100_000 and len(total.over(made)) == 100_000
    assert len(made[99_999]) == 10 and pickle.loads(pickle.dumps(total.over(made)))[7].key == total.over(made)[7].key


def test_errors_name_the_axes() -> None:
    sums: Family[Any] = add.over([1, 2], [10, 20])
    with pytest.raises(UnknownParam, match="has no axis 'c'; its axes are a, b"):
        sums.gather("c")
    with pytest.raises(TypeError, match=r"those of .* are a, b"):
        sums.gather()
    with pytest.raises(UnknownMember):
        sums.gather("a")[11]
    with pytest.raises(WrongUpstream, match="declare a as a list"):
        three.over(a=sums.gather("b"), b=1, c=1)
    with pytest.raises(WrongUpstream, match=r"Outliers\.points takes"):
        Outliers.over(k=1.0, points=Points.over(n=[1, 2]).gather("n"))


def test_of_unequal_sizes_and_of_none() -> None:
    unequal = add.among([*({"a": 1, "b": b} for b in range(4)), {"a": 2, "b": 0}]).gather("b")
    assert [len(unequal[a]) for a in (1, 2)] == [4, 1]
    empty = total.over(add.over([1], []).gather("b"))
    assert run(empty).counts["done"] == 1 and empty[1].payload == 0
