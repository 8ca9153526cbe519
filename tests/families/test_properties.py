"""Whatever the grid: as many members as combinations of distinct axes, and each the node that one would make by hand."""

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.families.flows import Outliers, Points, add, made_of, number

from persistable import Family

values: Any = st.one_of(
    st.integers(-5, 5),
    st.floats(allow_nan=False, width=16),
    st.text(max_size=3),
    st.booleans(),
    st.none(),
    st.lists(st.integers(0, 2), max_size=2),
)


def different(items: list[Any]) -> list[Any]:
    """Those that are no equals of one before."""
    found: list[Any] = []
    for item in items:
        if all(item != known for known in found):
            found.append(item)
    return found


axes: Any = st.lists(values, max_size=4).map(different)
whole: Any = st.lists(st.integers(-50, 50), max_size=4, unique=True)


@settings(max_examples=60, deadline=None)
@given(axes, axes)
def test_a_grid_has_the_product_of_its_axes_and_each_key_finds_its_node(first: list[Any], second: list[Any]) -> None:
    family = made_of.over(first, size=second)
    by_hand = [made_of.step(a, size=b).key for a, b in itertools.product(first, second)]
    assert len(family) == len(first) * len(second) == len(family.nodes)
    assert [node.key for node in family.nodes] == by_hand
    keys = list(family)
    assert len(set(keys)) == len(keys) and [family[key].key for key in keys] == by_hand
    assert [node.key for node in family.values()] == by_hand and len(set(by_hand)) == len(by_hand)
    assert all(key in family for key in keys)


@settings(max_examples=60, deadline=None)
@given(whole, whole, whole)
def test_equal_axes_are_aligned_and_others_crossed(first: list[int], second: list[int], third: list[int]) -> None:
    family = add.over(a=number.over(n=first), b=number.over(n=second), c=third)
    if first == second:
        pairs: Any = [(n, n) for n in first]
        assert len(family) == len(first) * len(third)
    else:
        pairs = itertools.product(first, second)
        assert len(family) == len(first) * len(second) * len(third)
    by_hand = [add.step(number.step(a), number.step(b), c).key for (a, b), c in itertools.product(pairs, third)]
    assert [node.key for node in family.nodes] == by_hand


@settings(max_examples=60, deadline=None)
@given(whole, whole, st.data())
def test_parts_are_made_of_the_members_of_the_whole(ks: list[int], ns: list[int], data: st.DataObject) -> None:
    family = Outliers.over(k=ks, points=Points.over(n=ns))
    some = data.draw(st.lists(st.sampled_from(ks), unique=True)) if ks else []
    low, high = data.draw(st.integers(-60, 60)), data.draw(st.integers(-60, 60))
    part: Family[float] = family.sel(k=some, n=slice(low, high))
    between = [n for n in ns if low <= n <= high]
    assert list(part) == list(itertools.product(some, between))
    assert [part[key].key for key in part] == [family[key].key for key in part] == [node.key for node in part.nodes]
    places = slice(data.draw(st.one_of(st.none(), st.integers(-6, 6))), data.draw(st.one_of(st.none(), st.integers(-6, 6))))
    assert list(family[places]) == list(itertools.product(ks[places], ns))
    assert [node.key for node in family[places].nodes] == [family[key].key for key in itertools.product(ks[places], ns)]
    if some and between:
        assert part.sel(k=some[0], n=between[-1]).key == Outliers(k=some[0], points=Points(n=between[-1])).key


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=5, unique=True))
def test_rows_are_members_one_by_one(rows: list[tuple[int, int]]) -> None:
    family = Points.among([{"n": n, "seed": seed} for n, seed in rows])
    assert list(family) == rows and [node.key for node in family.nodes] == [Points(n=n, seed=seed).key for n, seed in rows]
    columns = Points.among({"n": [n for n, _ in rows], "seed": [seed for _, seed in rows]})
    assert [family[row].key for row in rows] == [node.key for node in columns.nodes]
