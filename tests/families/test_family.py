"""Families: which members there are, under which keys, and that they are the nodes one would make by hand."""

import math
import pickle
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.families.flows import Counted, Outliers, Points, add, joined, made_of, number, scaled, total

from persistable import Family, open_store, run, step
from persistable.errors import InputMissing, MissingParam, UnknownMember, UnknownParam, UntrackableParam
from persistable.stores import Store


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[Store]:
    """The store of nodes that name none: a folder."""
    with open_store(tmp_path / "store") as store:
        yield store


def test_a_grid_crosses_its_axes_in_the_order_of_the_arguments() -> None:
    sweep = Outliers.over(k=[1.0, 2.0, 3.0], points=Points.over(n=[100, 1000]))
    assert len(sweep) == 6 and sweep.shape == (3, 2)
    assert [axis.name for axis in sweep.axes] == ["k", "n"]
    assert list(sweep) == [(1.0, 100), (1.0, 1000), (2.0, 100), (2.0, 1000), (3.0, 100), (3.0, 1000)]
    assert sweep[2.0, 100].key == Outliers(k=2.0, points=Points(n=100)).key
    assert [node.key for node in sweep.values()] == [Outliers(k=k, points=Points(n=n)).key for k, n in sweep]
    assert repr(sweep) == "<Family outliers: k (3) \N{MULTIPLICATION SIGN} n (2)>"
    assert repr(sweep.nodes) == f"<6 nodes of {sweep!r}>"


def test_on_one_axis_the_value_is_the_key() -> None:
    family = scaled.over([1, 2], factor=[1, 2])
    points = Points.over(n=range(3), seed=7)
    assert list(points) == [0, 1, 2] and points[2].key == Points(n=2, seed=7).key
    assert list(family) == [(1, 1), (1, 2), (2, 1), (2, 2)]  # a list by position is an axis as well
    assert 2 in points and 3 not in points and (1, 1) in family and (1, 3) not in family and 1 not in family
    assert points.get(5) is None


def test_arguments_of_steps_go_by_position_or_name_and_families_by_member() -> None:
    points = Points.over(n=[3, 4])
    for family in (scaled.over(points, [1, 2]), scaled.over(points, factor=[1, 2]), scaled.over(raw=points, factor=[1, 2])):
        assert list(family) == [(3, 1), (3, 2), (4, 1), (4, 2)]
        assert family[4, 2].key == scaled.step(Points(n=4), factor=2).key
    starred = joined.over(1.0, [2.0, 3.0], extra=[4.0])
    assert [axis.name for axis in starred.axes] == ["parts.1", "extra"]
    assert starred[3.0, 4.0].key == joined.step(1.0, 3.0, extra=4.0).key


@pytest.mark.parametrize(
    ("value", "values"),
    [
        ([1, 2], [1, 2]),
        (range(2, 8, 3), [2, 5]),
        (np.array([1.5, 2.5]), [1.5, 2.5]),
        (np.arange(2, dtype="i1"), [0, 1]),
        (np.array(["2020", "2021"], dtype="M8[Y]"), [np.datetime64("2020", "Y"), np.datetime64("2021", "Y")]),
        ([[64, 64]], [[64, 64]]),
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}]),
    ],
)
def test_lists_ranges_and_arrays_are_axes(value: Any, values: list[Any]) -> None:
    family = made_of.over("x", size=value)
    assert [node.key for node in family.nodes] == [made_of.step("x", size=each).key for each in values]
    assert [family[key].key for key in family] == [node.key for node in family.nodes]
    assert [family[each].key for each in values] == [node.key for node in family.nodes]


@pytest.mark.parametrize("value", ["ab", (1, 2), {"a": 1}, np.eye(2), 3, None, {1, 2}])
def test_anything_else_is_one_value(value: Any) -> None:
    family = made_of.over("x", size=value)
    assert len(family) == 1 and list(family) == [()] and family[()].key == made_of.step("x", size=value).key


@step
def times(n: int, factor: float = 1.0) -> float:
    return n * factor


@pytest.mark.parametrize("factor", [{1, 2}, "x", True])
def test_what_is_not_an_axis_is_checked_at_the_call(factor: Any) -> None:
    for wrong in (lambda: times.over([1, 2], factor), lambda: times.over(n=[1, 2], factor=factor), lambda: times.over(1, factor=factor)):
        with pytest.raises(TypeError, match=r"times\.factor is"):
            wrong()


def test_lists_and_dicts_among_the_values_are_found_as_they_are_or_as_tuples() -> None:
    family = made_of.over("x", size=[[64, 64], [32, 32]])
    assert list(family) == [(64, 64), (32, 32)]
    assert family[[32, 32]].key == family[32, 32].key == made_of.step("x", size=[32, 32]).key


def test_dicts_of_the_same_items_are_one_value() -> None:
    family = made_of.over("x", size=[{"b": 1, "a": [2]}, {"a": 0}])
    assert list(family) == [(("a", (2,)), ("b", 1)), (("a", 0),)]
    assert family[{"a": [2], "b": 1}].key == made_of.step("x", size={"b": 1, "a": [2]}).key
    with pytest.raises(ValueError, match="twice"):
        made_of.over("x", size=[{"b": 1, "a": 2}, {"a": 2, "b": 1}])


def test_values_that_cannot_be_hashed_are_found_by_place() -> None:
    arrays = [np.zeros(2), np.ones(2)]
    family = made_of.over("x", size=arrays)
    assert list(family) == [0, 1] and family[1].key == made_of.step("x", size=arrays[1]).key


def test_values_that_are_equal_have_no_keys_of_their_own() -> None:
    with pytest.raises(ValueError, match=r"k is 1(\.0)? twice, at 0 and 2"):
        Outliers.over(k=[1, 2, 1.0], points=Points(n=1))
    for equal in ([True, 1.0], [1, 1.0], [0.0, -0.0], [(1, 2), (1.0, 2)]):
        with pytest.raises(ValueError, match="different params but equal in Python"):
            made_of.over("x", size=equal)


def test_a_label_finds_the_member_of_its_identity() -> None:
    ints, floats = Points.over(n=[1, 2]), Outliers.over(k=[1.0, 2.0], points=Points(n=1))
    for find in (ints.__getitem__, lambda label: ints.sel(n=label), lambda label: Points.over(n=range(3)).sel(n=label)):
        for wrong in (True, 1.0, np.float64(1), np.True_):
            with pytest.raises(UnknownMember):
                find(wrong)
        assert find(np.int64(1)).key == Points(n=1).key
    assert floats[1].key == floats[1.0].key == floats.sel(k=1).key  # given for a float, 1 is 1.0
    with pytest.raises(UnknownMember):
        floats[True]
    nodes = Outliers.over(points=Points.over(n=[1, 2]), k=[1.0, 2.0])
    with pytest.raises(UnknownMember):
        nodes[1.0, 1.0]
    assert nodes[1, 1].key == nodes[1, 1.0].key


def test_an_axis_of_nodes_is_one_of_upstream() -> None:
    few, many = Points(n=1), Points(n=100)
    family = Outliers.over(points=[few, many], k=[1.0, 2.0])
    assert family[many, 2.0].key == Outliers(points=many, k=2.0).key
    table = family.to_frame()
    assert table["points"].tolist() == [few.label, few.label, many.label, many.label]
    assert table["points.n"].tolist() == [1, 1, 100, 100]


def test_a_family_without_values_has_no_members() -> None:
    family = Points.over(n=[])
    assert len(family) == 0 and list(family) == list(family.nodes) == []
    assert len(run(family)) == 0 and len(family.to_frame()) == 0 and sum(family.status().values()) == 0


# axes that are one, and axes that are not


def test_families_that_share_an_axis_are_aligned_on_it() -> None:
    points = Points.over(n=[1, 2, 3])
    same = add.over(a=number.over(n=[1, 2, 3]), b=number.over(n=[1, 2, 3], fail_at=5))
    assert list(same) == [1, 2, 3] and same[2].key == add.step(number.step(2), number.step(2, fail_at=5)).key
    for family in (
        Outliers.over(points=points, others=points, k=[1.0]),
        Outliers.over(points=points, others=Points.over(n=[1, 2, 3], seed=5), k=[1.0]),
        Outliers.over(points=points, others=Points.over(n=range(1, 4)), k=[1.0]),
    ):
        assert list(family) == [(1, 1.0), (2, 1.0), (3, 1.0)]


def test_through_a_middle_family_too() -> None:
    points = Points.over(n=[1, 2])
    sums = scaled.over(points, factor=[5, 6])
    family = add.over(a=points, b=sums, c=[0, 1])
    assert [axis.name for axis in family.axes] == ["n", "factor", "c"] and len(family) == 8
    assert family[2, 6, 1].key == add.step(Points(n=2), scaled.step(Points(n=2), factor=6), c=1).key


def test_other_values_or_types_make_another_axis_and_clashing_names_get_a_prefix() -> None:
    family = Outliers.over(n=[1, 2], points=Points.over(n=[10, 20, 30]), k=1.0)
    assert [axis.name for axis in family.axes] == ["n", "points.n"] and len(family) == 6
    assert family[2, 30].key == Outliers(n=2, k=1.0, points=Points(n=30)).key
    assert family.sel(n=2, **{"points.n": 30}).key == family[2, 30].key
    two = add.over(a=number.over(n=[1, 2]), b=number.over(n=[1.0, 2.0]))
    assert [axis.name for axis in two.axes] == ["a.n", "b.n"] and len(two) == 4
    further = add.over(a=two, b=number.over(n=[1, 2]))
    assert [axis.name for axis in further.axes] == ["a.n", "b.n"] and len(further) == 4  # a prefix does not make it another axis


def test_renamed_axes_are_crossed() -> None:
    points = Points.over(n=[1, 2])
    family = Outliers.over(points=points, others=points.rename(n="m"), k=1.0)
    assert list(family) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert family.sel(n=1, m=2).key == Outliers(points=Points(n=1), others=Points(n=2), k=1.0).key
    with pytest.raises(UnknownParam, match="no axis 'q'"):
        points.rename(q="r")
    crossed = points.rename(n="m")
    grid = Outliers.over(points=points, others=crossed, k=[1.0, 2.0])
    with pytest.raises(ValueError, match="would have two axes 'k'"):  # one of which no label would reach
        grid.rename(n="k")
    assert [axis.name for axis in grid.rename(n="m", m="n").axes] == ["m", "n", "k"]
    with pytest.raises(ValueError, match="would have two axes 'seed'"):  # also of one axis of two
        Points.among([{"n": 1, "seed": 2}]).rename(n="seed")


# params that go together


@pytest.mark.parametrize("rows", [[{"n": 1, "seed": 2}, {"n": 1, "seed": 4}], {"n": [1, 1], "seed": [2, 4]}])
def test_among_varies_params_together(rows: Any) -> None:
    points = Points.among(rows)
    assert list(points) == [(1, 2), (1, 4)] and points[1, 4].key == Points(n=1, seed=4).key
    assert [axis.name for axis in points.axes] == ["n+seed"]
    assert points.sel(n=1, seed=4).key == points[1, 4].key
    assert list(points.sel(seed=[4])) == [(1, 4)] and len(points.sel(n=1)) == 2 and points.sel(**{"n+seed": (1, 2)}).key == points[1, 2].key
    family = Outliers.over(points=points, k=[1.0, 2.0])
    assert list(family) == [((1, 2), 1.0), ((1, 2), 2.0), ((1, 4), 1.0), ((1, 4), 2.0)]
    frame = family.to_frame()
    assert frame["n"].tolist() == [1] * 4 and frame["seed"].tolist() == [2, 2, 4, 4]
    with pytest.raises(UnknownMember, match=r"no seed is 3 .*the nearest is 2"):
        points.sel(seed=3)


def test_among_of_a_step_takes_fixed_values_and_further_axes() -> None:
    family = add.among([{"a": 1, "b": 2}, {"a": 3, "b": 4}], c=[5, 6])
    assert family[(3, 4), 5].key == add.step(3, 4, 5).key and len(family) == 4


@pytest.mark.parametrize("rows", [[], [{}], {}, {"n": 3}, "n", [1]])
def test_among_refuses_what_are_no_rows(rows: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Points.among(rows)


def test_rows_must_be_alike() -> None:
    with pytest.raises(ValueError, match="row 1 has seed where the first has n"):
        Points.among([{"n": 1}, {"seed": 1}])
    with pytest.raises(ValueError, match="n has 2, seed has 1"):
        Points.among({"n": [1, 2], "seed": [1]})


def test_nodes_that_exist_make_a_family() -> None:
    a, b = Points(n=1), scaled.step([1], factor=2)
    family: Family[Any] = Family.of({"a": a, "b": b}, axis="model")
    assert family["a"] is a and family.sel(model="b") is b and list(family) == ["a", "b"]
    with pytest.raises(TypeError, match="mapping from key to node"):
        Family.of({"a": 1})  # type: ignore[arg-type]
    with pytest.raises(InputMissing):
        Family.of({"a": scaled.step()})


# parts


def test_sel_takes_labels_lists_and_slices() -> None:
    sweep = add.over(a=[1, 2, 3], b=[10, 20, 30])
    assert sweep.sel(a=2, b=30) is sweep[2, 30]
    assert list(sweep.sel(a=2)) == [10, 20, 30] and sweep.sel(a=2)[20].key == sweep[2, 20].key
    assert list(sweep.sel(a=[3, 1], b=[20])) == [(3, 20), (1, 20)]
    assert list(sweep.sel(b=slice(15, None), a=1)) == [20, 30]
    assert list(sweep.sel(b=slice(None, 20)).sel(a=3)) == [10, 20]
    assert list(sweep.sel()) == list(sweep)
    assert [node.key for node in sweep.sel(a=[3, 1], b=20).values()] == [add.step(3, 20).key, add.step(1, 20).key]


def test_slices_go_by_place() -> None:
    sweep = add.over(a=[1, 2, 3], b=[10, 20])
    assert list(sweep[1:]) == [(2, 10), (2, 20), (3, 10), (3, 20)] and list(sweep[::-2]) == [(3, 10), (3, 20), (1, 10), (1, 20)]
    assert [node.key for node in sweep.nodes[1:4]] == [node.key for node in sweep.values()][1:4]
    assert sweep.nodes[-1].key == add.step(3, 20).key and sweep[1:][0:1].nodes[0].key == add.step(2, 10).key
    with pytest.raises(IndexError):
        sweep.nodes[6]
    wide = Points.over(n=range(1000))
    assert list(wide[::-1][:2]) == [999, 998] and wide[10:20:5][15].key == Points(n=15).key and len(wide[5:5]) == 0


def test_a_part_is_an_upstream_like_any_other() -> None:
    points = Points.over(n=[1, 2, 3])
    family = Outliers.over(points=points.sel(n=[2, 3]), k=[1.0])
    assert list(family) == [(2, 1.0), (3, 1.0)] and family[3, 1.0].key == Outliers(points=Points(n=3), k=1.0).key
    assert list(Outliers.over(points=Points.over(n=[1, 2], seed=[8, 9]).sel(seed=9), k=1.0)) == [1, 2]


# what is wrong is said


def test_a_wrong_key_names_the_axis_and_the_nearest_value() -> None:
    sweep = Outliers.over(k=[1.0, 2.0], points=Points.over(n=[100, 1000]))
    with pytest.raises(UnknownMember, match=r"^no n is 900 \(there are 2: 100, 1000\); the nearest is 1000$") as caught:
        sweep[1.0, 900]
    assert isinstance(caught.value, KeyError) and (caught.value.axis, caught.value.label, caught.value.nearest) == ("n", 900, 1000)
    with pytest.raises(UnknownMember, match="the nearest is 'moby'"):
        made_of.over(["moby", "emma"])["mobi"]
    for many, words in ((5, "0, 1, 2, 3, 4"), (6, "0, 1, 2, 3, 4, ..., 5")):
        with pytest.raises(UnknownMember, match=rf"\(there are {many}: {words}\)"):
            number.over(n=range(many))[9]
    with pytest.raises(UnknownMember, match=r"is a tuple \(k, n\), not 1.0; sel\(k=...\)"):
        sweep[1.0]
    with pytest.raises(UnknownParam, match="has no axis 'm'; its axes are k, n"):
        sweep.sel(m=1)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value) and again.axis == "n"


def test_names_are_checked_where_the_family_is_declared() -> None:
    with pytest.raises(UnknownParam, match="did you mean 'k'"):
        Outliers.over(kk=[1.0], points=Points.over(n=[1]))
    with pytest.raises(MissingParam, match="needs n"):
        Points.over(seed=[1])
    with pytest.raises(UnknownParam, match="no 'facto'"):
        scaled.over([1], facto=[2])
    with pytest.raises(UnknownParam, match="positional"):
        scaled.over([1], [2], [3])


# lazily


def test_nothing_is_made_before_it_is_asked_for() -> None:
    Counted.made = 0
    family = Counted.over(number=range(1_000_000))
    assert len(family) == 1_000_000 and 999_999 in family and len(family.sel(number=slice(0, 9))) == 10
    repr(family), family._repr_html_()
    huge = Counted.over(number=range(5, 10**12, 5))  # which nobody could search from one end to the other
    for label, nearest in ((12, 10), (0, 5), (1e15, 10**12 - 5), (7.6, 10), (10.0, 10), (True, 5), ("10", None), (math.nan, None)):
        with pytest.raises(UnknownMember) as caught:
            huge[label]
        assert caught.value.nearest == nearest
    assert huge.indices_of(np.int64(10), huge.axes) == [1]
    assert Counted.made == 0
    node = family[5]
    assert family[5] is node and family.nodes[5] is node and family[3:].nodes[2] is node
    assert Counted.made == 1
    assert [each.payload_name for each in family[7:9].values()] == ["counted-7", "counted-8"]
    assert Counted.made == 3


def test_a_million_members_take_the_memory_of_their_axes() -> None:
    number.step(1), number.over(n=[1])  # whatever is made once
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    family = add.over(a=number.over(n=range(1000)), b=list(range(1000)), c=range(10))
    assert len(family) == 10_000_000
    family[500, 500, 5], family.sel(n=5, c=3)[7]
    for _, node in zip(range(2000), family.nodes, strict=False):
        assert node.key
    tracemalloc.reset_peak()
    for _, key in zip(range(2000), family, strict=False):
        assert family[key].key
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 2_000_000


# stores


def test_members_are_kept_where_the_family_was_declared(tmp_path: Path) -> None:
    with open_store(tmp_path / "a") as a:
        family = scaled.over(Points.over(n=[1]), factor=[2])
    with open_store(tmp_path / "b"):
        assert family[1, 2].store == a and family[1, 2].upstream["raw"].store == a
    named = Points.over(data_dir=tmp_path / "c", n=[1])
    assert named[1].store == open_store(tmp_path / "c") == Points.over(tmp_path / "c", n=[1])[1].store
    bound = named.bind(tmp_path / "d")
    assert bound[1].store == open_store(tmp_path / "d") and named[1].store == open_store(tmp_path / "c")
    given = Points(tmp_path / "e", n=1)
    assert Family.of({"x": given}).bind(tmp_path / "f")["x"].store == open_store(tmp_path / "f")
    assert given.store == open_store(tmp_path / "e")


def test_families_pickle() -> None:
    family = pickle.loads(pickle.dumps(Outliers.over(k=[1.0, 2.0], points=Points.over(n=[1, 2])).sel(k=[2.0])))
    assert family[2.0, 1].key == Outliers(k=2.0, points=Points(n=1)).key


# all members at once


def test_a_family_where_a_node_takes_many_is_all_its_members() -> None:
    sweep = Outliers.over(k=[1.0, 2.0], points=Points.over(n=[1, 2]))
    nodes = [Outliers(k=k, points=Points(n=n)) for k in (1.0, 2.0) for n in (1, 2)]
    for node in (total.step(parts=sweep), total.step(sweep), sweep >> total.step(), total.over(parts=[sweep])[sweep]):
        assert node.key == total.step(parts=nodes).key
    assert total.step(sweep).payload == 9.0
    assert joined.step(0.5, sweep, more=sweep).key == joined.step(0.5, nodes, more=nodes).key

    assert Most(scores=sweep).payload == 4.0 and Most(scores=sweep).key == Most(scores=nodes).key
    with pytest.raises(UntrackableParam, match=r"a family is many nodes, .*list\(family\.values\(\)\)"):
        total.step(parts=[sweep])


class Most(Outliers):
    payload_name = "most"
    scores: list[Outliers]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, points=Points(n=0), **kwargs)

    def _generate_payload(self) -> float:
        return max(score.payload for score in self.scores)
