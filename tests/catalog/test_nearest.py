"""The nearest stored relative, and what differs, down to the single param of whatever is upstream."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from persistable import Catalog, Persistable, PersistableParams, run, step
from persistable.catalog.index import change_detection
from persistable.errors import PayloadNotFound
from persistable.params.trees import absent


@dataclass(frozen=True)
class Inner:
    lr: float = 0.1
    names: tuple[str, ...] = ("a",)


@dataclass(frozen=True)
class PointsParams(PersistableParams):
    n: int = 1000
    seed: int = 1
    inner: Inner = field(default_factory=Inner)


class Points(Persistable[int, PointsParams]):
    def _generate_payload(self, **_: Any) -> int:
        return self.params.n


@step(persist=False)
def halved(points: int) -> float:
    return points / 2


@step
def total(halves: float, k: int = 1) -> float:
    return halves * k


@step
def number(n: int, k: int = 0) -> int:
    return n


def make(n: int = 1000, k: int = 1, **more: Any) -> Any:
    return total.step(halved.step(Points(n=n, **more)), k=k)


def test_differences_are_single_params_of_what_is_upstream(tmp_path: Path) -> None:
    run(make(2000), make(3000, k=7), store=tmp_path)
    found = Catalog(tmp_path, index=tmp_path / "index.db").nearest(make(1000))
    assert found is not None and found.record.key == make(2000).key
    assert found.differences == {"halves.points.n": (1000, 2000)}
    told = make(1000).bind(tmp_path).explain()
    assert told.differences == found.differences and told.nearest == found.record
    assert "halves.points.n: 1000, stored 2000" in told
    with pytest.raises(PayloadNotFound, match=r"halves\.points\.n: 1000, stored 2000") as caught:
        make(1000).bind(tmp_path).load()
    assert caught.value.differences == found.differences


def test_nested_params_and_what_only_one_has(tmp_path: Path) -> None:
    run(make(inner=Inner(0.5, ("a", "b"))), store=tmp_path)
    near = Catalog(tmp_path, index=None).nearest(make())
    assert near is not None
    assert near.differences == {"halves.points.inner.lr": (0.1, 0.5), "halves.points.inner.names.1": (absent, "b")}
    assert "halves.points.inner.names.1: nothing, stored 'b'" in make().bind(tmp_path).explain()


def test_another_thing_upstream_is_its_key(tmp_path: Path) -> None:
    one, other = number.step(n=3), Points(n=3)
    run(total.step(one), store=tmp_path)
    near = Catalog(tmp_path, index=None).nearest(total.step(other))
    assert near is not None and near.differences == {"halves": (str(other.key), str(one.key))}


def test_nothing_of_the_name_is_stored(tmp_path: Path) -> None:
    assert Catalog(tmp_path, index=None).nearest(make()) is None
    assert "nothing of this name is stored" in make().bind(tmp_path).explain()


def test_among_more_than_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index knows all of them, and is used once it is there and current."""
    monkeypatch.setenv("PERSISTABLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(change_detection, "SETTLED", -1.0)
    monkeypatch.setattr("persistable.nodes.nearest.SEARCHED", 20)
    monkeypatch.setattr("persistable.nodes.explain.SEARCHED", 20)
    monkeypatch.setattr("persistable.catalog.nearest.COMPARED", 30)
    nodes = [number.step(n=n, k=n % 7) for n in range(200)]
    run(*nodes, store=tmp_path / "data")
    wanted = number.step(n=100, k=8).bind(tmp_path / "data")
    assert not (tmp_path / "cache").exists()
    catalog = Catalog(tmp_path / "data")
    near = catalog.nearest(wanted)
    assert near is not None and near.differences == {"k": (8, 100 % 7)}
    assert wanted.explain().differences == near.differences
    assert Catalog.known(catalog.store) is not None
    run(number.step(n=1000), store=tmp_path / "data")
    assert Catalog.known(catalog.store) is None, "it would have to be brought up to date first"
    assert len(wanted.explain().differences) in (1, 2)


def test_a_diamond_is_compared_once(tmp_path: Path) -> None:
    def ladder(n: int) -> Any:
        node: Any = number.step(n=n)
        for _ in range(40):
            node = both.step(node, [node])
        return total.step(node)

    run(ladder(1), store=tmp_path)
    near = Catalog(tmp_path, index=None).nearest(ladder(2))
    assert near is not None and list(near.differences.values()).count((2, 1)) == 1


@step(persist=False)
def both(a: Any, b: Any) -> int:
    return 1


def test_of_several_the_one_whose_numbers_are_nearest(tmp_path: Path) -> None:
    run(*[number.step(n=n) for n in (1, 50, 200, 10**400)], store=tmp_path)
    for catalog in (Catalog(tmp_path, index=None), None):
        near = catalog.nearest(number.step(n=199)) if catalog is not None else number.step(n=199).bind(tmp_path).explain()
        assert near is not None and near.differences == {"n": (199, 200)}
