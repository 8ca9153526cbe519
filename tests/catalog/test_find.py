"""Find by class, name, params of every depth, status and an expression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import Enum
from pathlib import Path
from shutil import copytree
from typing import Annotated, Any

import numpy as np
import pytest

from persistable import Catalog, Persistable, PersistableParams, formerly, omit_when, run, step, untracked
from persistable.catalog import entries
from persistable.errors import InvalidName, InvalidQuery, MistypedParam, UnknownKey, UnknownParam


class Kernel(Enum):
    RBF = "rbf"
    LINEAR = "linear"


@dataclass(frozen=True)
class Optimizer:
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)


@dataclass(frozen=True)
class PointsParams(PersistableParams):
    n: int
    seed: int = 1
    optimizer: Optimizer = field(default_factory=Optimizer)
    kernel: Kernel = Kernel.RBF
    day: date = date(2026, 1, 1)
    noise: Annotated[float, omit_when(0.0)] = 0.0
    size: Annotated[int, formerly("n_rows")] = 10
    n_jobs: Annotated[int, untracked] = 1
    tag: str | None = None


class Points(Persistable[np.ndarray, PointsParams]):
    def _generate_payload(self, **_: Any) -> np.ndarray:
        return np.arange(self.params.n)


@step
def mean(points: Any, k: float = 1.0) -> float:
    return float(points.mean()) * k


@step(persist=False)
def halved(points: Any) -> Any:
    return points / 2


@step
def broken(k: int = 1) -> int:
    raise ValueError("no")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    nodes: list[Any] = [Points(n=n, noise=0.5 if n == 40 else 0.0) for n in (10, 20, 30, 40)]
    nodes[1] = Points(n=20, optimizer=Optimizer(lr=0.5), kernel=Kernel.LINEAR, day=date(2026, 2, 2), tag="x'y\"z")
    run(*[mean.step(node, k=2.0) for node in nodes], mean.step(halved.step(nodes[0])), store=folder)
    return folder


@pytest.fixture
def catalog(stored: Path, tmp_path: Path) -> Catalog:
    copytree(stored, tmp_path / "data")
    return Catalog(tmp_path / "data", index=tmp_path / "index.db")


def ns(entries: Any) -> list[int]:
    return sorted(entry.params["n"] for entry in entries)


def test_everything_is_found_without_a_question(catalog: Catalog) -> None:
    assert len(catalog.find()) == 9 == len(catalog)
    created = [entry.created or 0.0 for entry in catalog.find()]
    assert created == sorted(created, reverse=True)


def test_by_class_step_and_name(catalog: Catalog) -> None:
    assert ns(catalog.find(Points)) == ns(catalog.find("points")) == ns(catalog.find(name="points")) == [10, 20, 30, 40]
    assert len(catalog.find(mean)) == 5
    assert ns(catalog.find(Points, n=10)) == [10]
    assert not catalog.find("nothing")


def test_a_condition_in_the_place_of_a_name_is_told_where_it_goes(catalog: Catalog) -> None:
    with pytest.raises(InvalidName, match=r"find\('n>20'\): no payload can be called that; a condition is where='n>20'"):
        catalog.find("n>20")


def test_params_are_typed(catalog: Catalog) -> None:
    assert ns(catalog.find("points", n=10)) == [10]
    assert not catalog.find("points", n=10.0)
    assert not catalog.find("points", n="10")
    assert ns(catalog.find(Points, noise=0)) == [10, 20, 30], "as at construction"
    with pytest.raises(MistypedParam, match=r"Points\.n"):
        catalog.find(Points, n="ten")
    with pytest.raises(UnknownParam, match="did you mean 'seed'"):
        catalog.find(Points, sed=1)
    with pytest.raises(InvalidQuery, match="untracked"):
        catalog.find(Points, n_jobs=1)


def test_params_of_any_depth(catalog: Catalog) -> None:
    assert ns(catalog.find(Points, optimizer=Optimizer(lr=0.5))) == [20]
    assert ns(catalog.find(Points, params={"optimizer.lr": 0.5})) == [20]
    assert ns(catalog.find("points", params={"optimizer.betas": (0.9, 0.99), "kernel": Kernel.RBF})) == [10, 30, 40]
    assert ns(catalog.find("points", params={"optimizer.betas.1": 0.99})) == [10, 20, 30, 40]
    assert not catalog.find("points", params={"optimizer.betas": [0.9, 0.99]})
    assert ns(catalog.find(Points, day=date(2026, 2, 2))) == [20]
    assert ns(catalog.find(Points, tag="x'y\"z")) == [20]
    assert ns(catalog.find(Points, tag=None)) == [10, 30, 40]


def test_fields_left_out_and_renamed(catalog: Catalog) -> None:
    assert ns(catalog.find(Points, noise=0.0)) == [10, 20, 30]
    assert ns(catalog.find(Points, noise=0.5)) == [40]
    assert ns(catalog.find(Points, size=10)) == [10, 20, 30, 40]
    assert ns(catalog.find("points", params={"n_rows": 10})) == [10, 20, 30, 40]


def test_by_upstream(catalog: Catalog, tmp_path: Path) -> None:
    found = catalog.find(mean, points=Points(n=10))
    assert [entry.params for entry in found] == [{"k": 2.0}]


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("n > 10", [20, 30, 40]),
        ("n > 10 and n <= 30", [20, 30]),
        ("n = 10 or n = 40", [10, 40]),
        ("not n = 10", [20, 30, 40]),
        ("n <> 10", [20, 30, 40]),
        ("n in (10, 30, 31)", [10, 30]),
        ("n not in (10, 30)", [20, 40]),
        ("n between 15 and 30", [20, 30]),
        ("n * 2 > 70 - 1", [40]),
        ("-n < -30", [40]),
        ("optimizer.lr = 0.5", [20]),
        ("optimizer.betas[1] > 0.9 and optimizer.lr < 0.2", [10, 30, 40]),
        ("optimizer.betas.0 = 0.9 and n = 10", [10]),
        ("optimizer = 'Optimizer' and n = 10", [10]),
        ("kernel = 'LINEAR'", [20]),
        ("day >= '2026-02-01'", [20]),
        ("tag = 'x''y\"z'", [20]),
        ("tag is null", [10, 30, 40]),
        ("tag is not null", [20]),
        ("tag like 'x%'", [20]),
        ("tag not like 'y%'", [20]),
        ("noise > 0", [40]),
        ("name = 'points' and status = 'done' and size > 0", [10, 20, 30, 40]),
        ("created > '2020-01-01' and n = 10", [10]),
        ("created < '2020-01-01'", []),
        ("made = 'generated' and n = 10", [10]),
        ("lower(kernel) = 'linear'", [20]),
        ("abs(n - 20) <= 10", [10, 20, 30]),
        ("n = 10 -- and so on", [10]),
        ("tag > 1", []),
        ("tag > 'a'", [20]),
        ("n < 'a'", []),
        ("-1 < n and n <= (10)", [10]),
        ("tag between 0 and 5", []),
        ("tag between 'a' and 'z'", [20]),
    ],
)
def test_expressions(catalog: Catalog, where: str, wanted: list[int]) -> None:
    assert ns(catalog.find("points", where=where)) == wanted
    assert ns(catalog.find(Points, where=where)) == wanted


def test_expressions_over_upstream(catalog: Catalog) -> None:
    assert len(catalog.find("mean", where="upstream.points.n > 10 and k = 2")) == 3
    assert len(catalog.find(mean, where="upstream.points.n = 10")) == 1
    assert len(catalog.find(mean, where="upstream.points.upstream.points.n = 10")) == 1, "through what is not persisted"
    assert len(catalog.find(mean, where="upstream.points.optimizer.lr = 0.5")) == 1
    key = catalog.find(Points, n=30)[0].key
    assert len(catalog.find(mean, where=f"upstream.points = '{key}'")) == 1
    with pytest.raises(InvalidQuery, match="points"):
        catalog.find(mean, where="upstream.pionts.n = 1")
    for where in ("n > 50 and upstream.points.n = 10 and seconds > 3", "k = 2.0", "not upstream.points.n = 10"):
        assert len(catalog.find("points", where=where)) == 0, "columns of others are null"
    assert len(catalog.find("points", where="n > 0 and upstream.points.n is null")) == 4


@pytest.mark.parametrize(
    "where",
    [
        "", "n =", "n = 1; drop table records", "n in (select 1)", "exists (select 1)", "load_extension('x') = 1", "m = 1", "n = \"abc\"",
        "optimizer.l = 1", "(select count(*) from records) > 1", "case when n then 1 end", "n = 1 union select 1", "randomblob(10) is null",
        "n collate nocase = 1", "cast(n as text) = '1'", "created > 'yesterday'", "n = ?", "n = :x", "n = 1 order by n", "1 = 1 limit 1",
        "n like 'a' escape 'b'", "distinct n", "count(*) > 1", "n = 1 /*", "records.n = 1", "n is distinct from 3 and sqlite_version() = 1",
    ],
)  # fmt: skip
def test_nothing_else_is_an_expression(catalog: Catalog, where: str) -> None:
    with pytest.raises(InvalidQuery):
        catalog.find("points", where=where)
    assert len(catalog) == 9


def test_errors_say_what_there_is(catalog: Catalog) -> None:
    with pytest.raises(InvalidQuery, match=r"did you mean 'optimizer\.lr'") as caught:
        catalog.find("points", where="optimizer.rl = 1")
    assert caught.value.part == "optimizer.rl"
    with pytest.raises(InvalidQuery, match=r"something is missing\. Line 1, Col: 3\."):
        catalog.find("points", where="n >")
    with pytest.raises(InvalidQuery, match="single quotes: 'abc'"):
        catalog.find("points", where='kernel = "abc"')
    with pytest.raises(InvalidQuery, match=r"node\.status"):
        catalog.find(status="stale")


def test_the_least_integer_and_a_hundred_alternatives(tmp_path: Path) -> None:
    """SQLite fails at ``abs`` of the former, and at brackets around the latter."""
    run(*[Points(n=n) for n in (-(2**63), -1, 1, 2)], store=tmp_path)
    catalog = Catalog(tmp_path)
    assert sorted(ns(catalog.find("points", where="abs(n) = 1"))) == [-1, 1]
    assert ns(catalog.find("points", where="abs(n) > 2")) == [-(2**63)]
    assert sorted(ns(catalog.find("points", where=" or ".join(f"n = {n}" for n in range(1, 300))))) == [1, 2]
    assert ns(catalog.find("points", where=" and ".join(f"n <> {n}" for n in range(2, 300)) + " and n > 0")) == [1]


def test_lazy_and_sliced(catalog: Catalog, tmp_path: Path) -> None:
    found = catalog.find(Points)
    newest = [entry.key for entry in found]
    assert found[0].key == newest[0] and found[-1].key == newest[-1]
    assert [entry.key for entry in found[1:3]] == newest[1:3]
    assert [entry.key for entry in found[1:][:2]] == newest[1:3]
    assert [entry.key for entry in found[-2:]] == newest[-2:]
    assert len(found[2:]) == 2 and len(found[2:100]) == 2 and not found[7:]
    with pytest.raises(IndexError):
        found[4]
    Points(tmp_path / "data", n=50).generate()
    assert len(found) == 5 and found[0].params["n"] == 50


def test_slices_of_slices_hold_nothing_beyond_their_end(catalog: Catalog) -> None:
    found = catalog.find()
    for empty in (found[5:2], found[:3][4:], found[2:2]):
        assert (len(empty), list(empty), empty.rows(), empty.page(0, 10), bool(empty)) == (0, [], [], ([], 0), False)


def test_entries_that_come_and_go_while_others_are_read(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "PAGE", 2)
    wanted = [entry.key for entry in catalog.find()]
    seen = []
    for number, entry in enumerate(catalog.find()):
        seen.append(entry.key)
        if number == 1:  # newest first, so these would be at the beginning
            run(*[Points(n=n) for n in (1, 2, 3)], store=catalog.store)
            assert len(catalog.find()) == len(wanted) + 3
    assert seen == wanted
    seen = []
    for entry in catalog.find():
        seen.append(entry.key)
        entry.node().delete()
        assert entry.key not in catalog
    assert seen[3:] == wanted and not catalog.find()


def test_half_a_surrogate_pair(tmp_path: Path) -> None:
    half = "a\udc80"
    run(Points(n=1, tag=half), store=tmp_path / "data")
    catalog = Catalog(tmp_path / "data", index=None)
    assert len(catalog.find(Points, tag=half)) == 1
    for backend in ("pandas", "polars"):
        assert list(catalog.find().to_frame(backend)["tag"]) == [r"a\udc80"]
    for ask in (lambda: len(catalog.find(where=f"tag = '{half}'")), lambda: catalog[half]):
        with pytest.raises(InvalidQuery, match="holds half a surrogate pair"):
            ask()
    assert half not in catalog


def test_failures_are_asked_for(catalog: Catalog, tmp_path: Path) -> None:
    node = broken.step(k=3)
    run(node, store=tmp_path / "data", errors="return")
    assert len(catalog) == 9
    (found,) = catalog.find(status="failed")
    assert (found.key, found.status, found.params) == (node.key, "failed", {"k": 3})
    assert "ValueError" in found.failure.error  # type: ignore[union-attr]
    assert [entry.key for entry in catalog.find(broken, status="failed", k=3)] == [node.key]


def test_a_failed_retry_leaves_the_record(catalog: Catalog, tmp_path: Path) -> None:
    entry = catalog.find(Points, n=10)[0]
    path = tmp_path / "data" / f"{entry.key}.failed.json"
    path.write_text('{"error": "x"}')
    assert not catalog.find(status="failed")
    assert ns(catalog.find(Points)) == [10, 20, 30, 40]


def test_frames(catalog: Catalog) -> None:
    frame = catalog.find(Points, where="n < 40").to_frame()
    assert len(frame) == 3
    row = frame.set_index("n").loc[20]
    assert (row["optimizer.lr"], row["optimizer"], row["optimizer.betas"], row["kernel"]) == (0.5, "Optimizer", (0.9, 0.99), Kernel.LINEAR)
    assert str(frame["created"].dtype).startswith("datetime64")
    assert list(frame.columns[:4]) == ["key", "name", "status", "size"]
    polars = catalog.find(mean).to_frame("polars")
    assert polars.height == 5 and set(polars["k"].to_list()) == {1.0, 2.0}
    assert len(catalog.find("nothing").to_frame()) == 0


def test_entries_show_themselves(catalog: Catalog) -> None:
    assert "points(n=20" in repr(catalog.find(Points, n=20))
    text = catalog.find(Points)._repr_html_()
    assert "<table" in text and "y&quot;z" in text
    assert "Optimizer(lr=0.5" in catalog.find(Points, n=20)[0]._repr_html_()
    assert "<table" in catalog._repr_html_()


def test_entries_that_differ_only_upstream_are_told_apart(catalog: Catalog) -> None:
    text = catalog.find(mean)._repr_html_()
    assert "<th>points</th>" in text and "points(n=20" in text and "points(n=40" in text
    assert "points=points(n=20" in catalog.find()._repr_html_()


def test_an_entry_by_key_digest_and_file(catalog: Catalog, tmp_path: Path) -> None:
    node = Points(tmp_path / "data", n=10)
    file = catalog[node.key].files[0].path
    for text in (
        node.key, node, str(node.key), node.key.digest, node.key.digest[:9], f"points/{node.key.digest[:6]}", file,
        tmp_path / "data" / file,
        str(tmp_path / "data" / file), f"{node.key}.record.json",
    ):  # fmt: skip
        assert catalog[text].key == node.key, text
    assert node.key in catalog and "nothing" not in catalog
    with pytest.raises(UnknownKey, match="did you mean 'points'") as caught:
        catalog["point/0ad1"]
    assert caught.value.nearest == ["points"]
    with pytest.raises(UnknownKey, match="beginning of"):
        catalog["points/"]
    with pytest.raises(UnknownKey):
        catalog[tmp_path / "elsewhere.txt"]
    near = node.key.digest[:8] + ("0" if node.key.digest[8] != "0" else "1")
    with pytest.raises(UnknownKey, match=f"nearest is {node.key}"):
        catalog[f"points/{near}"]


def test_lineage_both_ways(catalog: Catalog, tmp_path: Path) -> None:
    node = Points(tmp_path / "data", n=10)
    last = mean.step(halved.step(node))
    names = [(entry.name, entry.status) for entry in catalog.lineage(last)]
    assert names == [("halved", "absent"), ("points", "done")]
    assert {entry.name for entry in catalog.downstream(node.key)} == {"mean"}
    assert len(catalog.downstream(node.key)) == 2
    entry = catalog[last.key]
    assert entry.upstream["points"].params == {} and entry.upstream["points"].upstream["points"].key == node.key
    assert [each.key for each in catalog[node.key].downstream] == [mean.step(node, k=2.0).key]


def test_a_node_and_a_payload_back(catalog: Catalog, tmp_path: Path) -> None:
    entry = catalog.find(mean, points=Points(n=20, optimizer=Optimizer(lr=0.5), kernel=Kernel.LINEAR, day=date(2026, 2, 2), tag="x'y\"z"))[
        0
    ]
    node = entry.node()
    assert node.key == entry.key and node.upstream["points"].params.optimizer == Optimizer(lr=0.5)
    assert node.status.value == "done" and entry.payload == node.payload == 19.0
    assert catalog.node(str(entry.key)).key == entry.key
    assert np.array_equal(catalog.find(Points, n=10)[0].payload, np.arange(10))


ASKED: dict[str, tuple[Callable[[Catalog], Any], type[Exception], str]] = {
    "a number for a key": (lambda catalog: catalog[3], TypeError, "^3 names no record: give a key"),
    "bytes for a key": (lambda catalog: catalog.lineage(b"x"), TypeError, "^b'x' names no record"),
    "a class for a node": (lambda catalog: catalog.nearest(Points), TypeError, "takes a node, not <class"),
    "a key for a node": (lambda catalog: catalog.adopt("x.npy", "points/0ad1"), TypeError, "'points/0ad1' is no node"),
    "one name": (lambda catalog: catalog.rename(name="ab"), ValueError, r"name='ab': .* name=\(old, new\)"),
    "three names": (lambda catalog: catalog.rename(name=("a", "b", "c")), ValueError, "give the old name and the new one"),
    "an age to come": (lambda catalog: catalog.gc(older_than=-1), ValueError, "older_than=-1: give an age of 0 or more"),
    "a day to come": (lambda catalog: catalog.gc(older_than=timedelta(days=-1)), ValueError, "give an age of 0 or more"),
    "no class": (lambda catalog: catalog.import_released(".", classes=[int]), TypeError, "classes holds <class 'int'>; give subclasses"),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_is_of_the_wrong_kind_is_named(catalog: Catalog, name: str) -> None:
    ask, error, says = ASKED[name]
    with pytest.raises(error, match=says):
        ask(catalog)
