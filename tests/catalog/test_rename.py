"""Names, params and classes renamed: keys are those of the renamed classes, payloads stay, and it can be undone, whatever cuts it off."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from faults.faulty import FAULTS

from catalog.cut_off import KINDS, cut_off_at_calls, killed_at_lines
from persistable import Catalog, Persistable, Workflow, Workspace, formerly, omit_when, open_store, run, seed, step, stored
from persistable.errors import InvalidName, PayloadNotFound, PersistableWarning, StoreReadOnly, UnknownKey
from persistable.fileio import BundleFileIO, JsonFileIO, TextFileIO
from persistable.records import claims
from persistable.stores import LayeredStore, Store
from persistable.stores.base import HIDDEN
from persistable.stores.signing_keys import new_signing_key


class Kind(Enum):
    FAST = "fast"


@dataclass
class Optimizer:
    rate: float = 0.1
    kind: Any = Kind.FAST


@dataclass
class PointsParams:
    n_rows: int
    optimizer: Optimizer = field(default_factory=Optimizer)
    others: Any = ()


class Points(Persistable[list[int], PointsParams]):
    io = JsonFileIO()

    def _generate_payload(self) -> list[int]:
        return [1, 2, 3]


@dataclass
class Rates:
    lr: float = 0.1
    kind: Any = Kind.FAST


@dataclass
class NewParams:
    size: int
    optimizer: Rates = field(default_factory=Rates)
    others: Any = ()


class GaussianPoints(Persistable[list[int], NewParams]):
    io = JsonFileIO()

    def _generate_payload(self) -> list[int]:
        return [1, 2, 3]


@step(io=JsonFileIO())
def total(points: Any, k: int = 1) -> int:
    return sum(points) * k


@step(io=JsonFileIO())
def summed(values: Any) -> int:
    return sum(values)


@step(io=JsonFileIO())
def squares(n: int) -> Iterator[tuple[int, int]]:
    for each in range(n):
        yield each, each * each


@step(io=BundleFileIO({"count": JsonFileIO(), "words": TextFileIO()}))
def several(n: int) -> dict[str, Any]:
    return {"count": n, "words": "w" * n}


@step(io=JsonFileIO())
def flaky(n: int) -> int:
    if FAILS:
        raise ValueError(n)
    return n


FAILS: list[int] = []


class Doubling(Workflow):
    raw = seed(int)
    doubled = total.step([raw], k=2)


class Files(Workspace[Doubling]):
    raw = stored("raw/{workflow_id}.json")
    doubled = stored("computed/doubled-{workflow_id}.json")


CHANGES: dict[str, Any] = {
    "name": ("points", "gaussian_points"),
    "params": {"n_rows": "size", "optimizer.rate": "optimizer.lr"},
    "classes": {"PointsParams": "NewParams", "Optimizer": "Rates", f"{__name__}:Points": f"{__name__}:GaussianPoints"},
}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def data(tmp_path: Path) -> str:
    return str(tmp_path / "data")


def new_of(old: Points) -> GaussianPoints:
    optimizer = old.params.optimizer
    return GaussianPoints(size=old.params.n_rows, optimizer=Rates(optimizer.rate, optimizer.kind), others=old.params.others)


# keys


def test_keys_are_those_of_the_renamed_classes(data: str) -> None:
    olds = [Points(data, n_rows=n, optimizer=Optimizer(rate), others=others) for n, rate, others in [(1, 0.5, ()), (2, 0.1, np.arange(3))]]
    totals = [total.step(old, k=3) for old in olds]
    run(summed.step(totals), store=data)
    catalog = Catalog(data)
    before = files(Path(data))
    planned = catalog.rename(**CHANGES)
    assert files(Path(data)) == before  # dry
    assert (len(planned), planned.follow, planned.left) == (5, 3, [])
    assert "2 records would be renamed, and 3 records made from them would follow" in repr(planned)
    assert "n_rows -> size" in repr(planned) and "new key" in planned._repr_html_()  # pyright: ignore[reportPrivateUsage]
    done = planned.apply()
    news = [new_of(old).bind(data) for old in olds]
    assert {str(new.key) for new in news} == {str(key) for old, key in done.moved if old.name == "points"}
    for old, new in zip(olds, news, strict=True):
        assert planned.keys[old.key] == new.key
        assert new.load().payload == [1, 2, 3] and not old.bind(data).exists()
        assert catalog.node(new.key).key == new.key
    farthest = summed.step([total.step(new, k=3) for new in news]).bind(data)
    assert farthest.load().payload == 36
    assert [each.status.name for each in (*news, farthest)] == ["DONE"] * 3 or farthest.explain()
    assert {entry.key for entry in catalog.lineage(farthest.key)} == {each.key for each in (*news, *[total.step(new, k=3) for new in news])}
    assert catalog.verify().corrupt == [] and catalog.verify().orphans == []
    assert sorted(
        before[str(path)] for path in before if path.endswith(".json") and ".record" not in path and "store" not in path
    ) == sorted(
        content for path, content in files(Path(data)).items() if path.endswith(".json") and ".record" not in path and HIDDEN not in path
    )


def test_what_was_made_from_it_is_not_stale(data: str) -> None:
    run(summed.step([total.step(Points(data, n_rows=1), k=3)]), store=data)
    Catalog(data).rename(name=("total", "whole"), params={"k": "factor"}).apply()

    @step(io=JsonFileIO(), name="whole")
    def whole(points: Any, factor: int = 1) -> int:
        return sum(points) * factor

    node = summed.step([whole.step(Points(data, n_rows=1), factor=3)]).bind(data)
    assert node.exists() and node.load().payload == 18
    assert whole.step(Points(data, n_rows=1), factor=3).bind(data).exists()


def test_only_some(data: str) -> None:
    run([Points(data, n_rows=n) for n in range(4)], store=data)
    catalog = Catalog(data)
    assert len(catalog.rename(params={"n_rows": "size"}, where="n_rows > 1")) == 2
    assert len(catalog.rename(Points, params={"n_rows": "size"})) == 4
    assert len(catalog.rename("others", params={"n_rows": "size"})) == 0
    assert len(catalog.rename(params={"nothing": "size"})) == 0


def test_classes_by_path(data: str) -> None:
    nodes = [Points(data, n_rows=1, others=[Kind.FAST, Optimizer]), Points(data, n_rows=2)]
    run(nodes, store=data)
    catalog = Catalog(data)
    enums = catalog.rename(classes={f"{__name__}:Kind": "other.module:Speed"})
    assert len(enums) == 2 and all(move.old != move.new for move in enums)
    referred = catalog.rename(classes={f"{__name__}:Optimizer": "other.module:Optimizer"})
    assert [move.old != move.new for move in sorted(referred)] == [move.old == nodes[0].key for move in sorted(referred)]
    whole = catalog.rename(classes={f"{__name__}:": "other.module:"})
    done = whole.apply()
    records = [entry.record for entry in catalog.find()]
    assert {record.class_reference for record in records} == {"other.module:Points"}
    assert all(record.params["optimizer"]["$class"] == "other.module:Optimizer" for record in records)
    assert nodes[1].bind(data).exists()  # no key depends on where a params class lies
    done.undo()
    assert nodes[0].bind(data).load().payload == [1, 2, 3] and catalog.node(nodes[0].key).key == nodes[0].key


def test_a_role_is_renamed_as_a_param_is(data: str) -> None:
    run(total.step(Points(data, n_rows=1)), store=data)
    Catalog(data).rename("total", params={"points": "values"}).apply()

    @step(io=JsonFileIO(), name="total")
    def other(values: Any, k: int = 1) -> int:
        return sum(values) * k

    assert other.step(Points(data, n_rows=1)).bind(data).exists()


# what stays


def test_conflicts_stay_with_what_was_made_from_them(data: str) -> None:
    olds = [Points(data, n_rows=n) for n in (1, 2)]
    run([total.step(old) for old in olds], store=data)
    taken = new_of(olds[0]).bind(data).generate()
    before = Path(data, f"{taken.key}.record.json").read_bytes()
    planned = Catalog(data).rename(**CHANGES)
    assert len(planned) == 2 and {each.key for each in planned.left} == {olds[0].key, total.step(olds[0]).key}
    assert "there is a payload under its new key" in repr(planned) and "which stays" in repr(planned)
    planned.apply()
    assert Path(data, f"{taken.key}.record.json").read_bytes() == before
    assert olds[0].load().payload == [1, 2, 3] and total.step(olds[0]).bind(data).exists() and not olds[1].exists()


def test_impossible_for_what_only_a_digest_is_kept_of(data: str) -> None:
    run([total.step(Points(data, n_rows=1, others=bytes(5000))), Points(data, n_rows=2)], store=data)
    planned = Catalog(data).rename(params={"n_rows": "size"})
    assert len(planned) == 1 and len(planned.left) == 2
    assert "only the digest is known" in repr(planned)


def test_a_param_of_that_name(data: str) -> None:
    run([Points(data, n_rows=1)], store=data)
    planned = Catalog(data).rename(params={"n_rows": "others"})
    assert len(planned) == 0 and "it has a param others already" in repr(planned)


def test_made_anew_or_generated_meanwhile(data: str) -> None:
    olds = [Points(data, n_rows=n) for n in (1, 2, 3)]
    run([total.step(old) for old in olds], store=data)
    planned = Catalog(data).rename(params={"n_rows": "size"})
    olds[0].delete()
    claim = claims.take_over(open_store(data), olds[1].key.path, claims.current_frame())
    assert claim is not None
    done = planned.apply()
    claim.release()
    assert {key for key, _ in done.left} == {each.key for old in olds[:2] for each in (old, total.step(old))}
    assert {why for _, why in done.left} >= {"it has changed since", "it is being generated"}
    assert len(done.moved) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"params": {"a.b": "c.d"}},
        {"params": {"a": ""}},
        {"params": {"a.*": "a.b"}},
        {"classes": {"a:b": "c"}},
        {"classes": {"a:": "c:d"}},
    ],
)
def test_what_makes_no_sense(data: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"rename|give both|gets another name"):
        Catalog(data).rename(**wrong)
    with pytest.raises(InvalidName):
        Catalog(data).rename(name=("a", "a/b"))
    with pytest.raises(UnknownKey, match="nothing was renamed there"):
        Catalog(data).rename(undo="x")


# undo


def test_undo_in_another_process(data: str) -> None:
    run(summed.step([total.step(Points(data, n_rows=1))]), store=data)
    before = files(Path(data))
    done = Catalog(data).rename(**CHANGES).apply()
    text = (
        f"from persistable import Catalog\nplanned = Catalog({data!r}).rename(undo={done.stamp!r})\nassert len(planned) == 3\n"
        "done = planned.apply()\nassert not done.left, done"
    )
    subprocess.run([sys.executable, "-c", text], check=True)
    assert files(Path(data)) == before
    with pytest.raises(UnknownKey):
        Catalog(data).rename(undo=done.stamp)


def test_undo_leaves_what_was_made_since(data: str) -> None:
    olds = [Points(data, n_rows=n) for n in (1, 2)]
    run(olds, store=data)
    catalog = Catalog(data)
    done = catalog.rename(**CHANGES).apply()
    new_of(olds[0]).bind(data).generate()
    undone = done.undo()
    assert [key for key, _ in undone.left] == [new_of(olds[0]).key] and len(undone.moved) == 1
    assert olds[1].load().payload == [1, 2, 3]


# everything that a payload can be, in every store, and cut off anywhere


def filled(store: Store) -> None:
    """One payload of each kind, a failure of one that was made before, and a pin."""
    made = flaky.step(4)
    run(made, squares.step(3), several.step(4), store=store)
    run(total.step(squares.step(3).bind(store), k=2), store=store)
    FAILS.append(1)
    with suppress(ValueError):
        made.bind(store).generate()
    FAILS.clear()
    store.put("raw/001.json", b"21")
    assert Files(store)["001"].doubled == 42
    Catalog(store, index=None).pin(several.step(4).key, "kept")


RENAMED: dict[str, Any] = {
    "params": {"n": "number", "k": "factor"},
    "classes": {f"{__name__}:{name}": f"{__name__}:{name}_after" for name in ("squares", "several", "flaky", "total")},
}


@step(io=JsonFileIO(), name="total")
def total_after(points: Any, factor: int = 1) -> int:
    return sum(points) * factor


@step(io=JsonFileIO(), name="squares")
def squares_after(number: int) -> Iterator[tuple[int, int]]:
    for each in range(number):
        yield each, each * each


@step(io=BundleFileIO({"count": JsonFileIO(), "words": TextFileIO()}), name="several")
def several_after(number: int) -> dict[str, Any]:
    return {"count": number, "words": "w" * number}


@step(io=JsonFileIO(), name="flaky")
def flaky_after(number: int) -> int:
    return number


PAIRS: list[tuple[Any, Any, Callable[[Any], Any], Any]] = [
    (squares.step(3), squares_after.step(3), dict, {0: 0, 1: 1, 2: 4}),
    (several.step(4), several_after.step(4), lambda payload: payload, {"count": 4, "words": "wwww"}),
    (flaky.step(4), flaky_after.step(4), lambda payload: payload, 4),
    (total.step(squares.step(3), k=2), total_after.step(squares_after.step(3), factor=2), lambda payload: payload, 6),
]


def found(store: Store, node: Any, shown: Callable[[Any], Any]) -> Any:
    try:
        return shown(node.bind(store).load().payload)
    except PayloadNotFound:
        return None


def old_or_new(store: Store) -> list[tuple[bool, bool]]:
    """Of each payload, whether it is there under the old and under the new key; never under neither, and whole where it is."""
    there: list[tuple[bool, bool]] = []
    for old, new, shown, expected in PAIRS:
        values = [found(store, node, shown) for node in (old, new)]
        assert expected in values and all(value in (None, expected) for value in values), (old, values)
        there.append((values[0] is not None, values[1] is not None))
    assert Files(store)["001"].doubled == 42 if not there[0][1] else True
    return there


def contents(store: Store) -> dict[str, bytes]:
    paths = [path for prefix in ("", f"{HIDDEN}/placed", f"{HIDDEN}/pins", f"{HIDDEN}/placing") for path in store.list(prefix)]
    return {path: store.get(path) for path in paths if ".claim" not in path and not path.endswith(".beat")}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_payload(tmp_path: Path, kind: str) -> None:
    store = KINDS[kind][1](tmp_path)
    filled(store)
    before = contents(store)
    catalog = Catalog(store, index=None)
    done = catalog.rename(**RENAMED).apply()
    assert done.left == [] and len(done.moved) == 5
    assert old_or_new(store) == [(False, True)] * 4
    assert catalog.verify().orphans == [] and catalog.verify().corrupt == [] and catalog.verify().missing == []
    assert flaky_after.step(4).bind(store).store.exists(f"{flaky_after.step(4).key}.failed.json")
    assert [pin.key for pin in catalog.pins()] == [several_after.step(4).key]
    placed = next(entry for entry in catalog.find("total") if entry.at)
    assert placed.payload == 42 and placed.params["factor"] == 2
    assert done.undo().left == []
    assert contents(store) == before


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
def test_cut_off_at_any_call(tmp_path: Path, kind: str, fault: str) -> None:
    calls = range(FAULTS.index(fault) % 3, 400, 3 if kind in ("folder", "memory") else 9)
    parts = prepared, lambda catalog: catalog.rename(**RENAMED).apply, recovers
    assert cut_off_at_calls(tmp_path, kind, fault, calls, *parts) > 3


def prepared(store: Store, act: str = "rename") -> dict[str, bytes]:
    filled(store)
    before = contents(store)
    if act == "undo":
        Catalog(store, index=None).rename(**RENAMED).apply()
    return before


def recovers(store: Store, before: dict[str, bytes], number: int) -> None:
    """The same call does the rest, or undoing gives back what was."""
    old_or_new(store)
    catalog = Catalog(store, index=None)
    if number % 2:
        assert catalog.rename(**RENAMED).apply().left == []
        assert old_or_new(store) == [(False, True)] * 4
    stamps = sorted({path.split("/")[2] for path in store.list(f"{HIDDEN}/renamed")}, reverse=True)
    for stamp in stamps:
        assert catalog.rename(undo=stamp).apply().left == []
    assert old_or_new(store) == [(True, False)] * 4
    now = contents(store)
    assert {path: now.get(path) for path in before} == before
    catalog.close()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("url", ["folder", "sqlite"])
@pytest.mark.parametrize("act", ["rename", "undo"])
def test_killed_at_any_line(tmp_path: Path, url: str, act: str) -> None:
    def acted(catalog: Catalog) -> None:
        if act == "undo":
            stamp = next(iter(catalog.store.list(f"{HIDDEN}/renamed"))).split("/")[2]
            catalog.rename(undo=stamp).apply()
        else:
            catalog.rename(**RENAMED).apply()

    assert killed_at_lines(tmp_path, url, 12, 1 / 3, partial(prepared, act=act), acted, recovers) > 6


# signed, layered, read only


def test_signed_records_are_signed_anew_or_stay(tmp_path: Path) -> None:
    private, public = new_signing_key()
    signed = open_store(tmp_path / "data", sign=private, trust=[public])
    node = Points(n_rows=1).bind(signed).generate()
    reading = open_store(tmp_path / "data", trust=[public])
    for store, why in ((open_store(tmp_path / "data"), "it is signed"), (reading, "only read")):
        planned = Catalog(store, index=None).rename(params={"n_rows": "size"})
        assert len(planned) == 0 and why in repr(planned)
    done = Catalog(signed, index=None).rename(params={"n_rows": "size"}).apply()
    assert len(done.moved) == 1
    (entry,) = Catalog(reading, index=None).find()
    assert entry.record.trusted and entry.record.params["size"] == 1
    done.undo()
    assert node.bind(reading).load().payload == [1, 2, 3]


def test_layers_that_are_only_read_stay(tmp_path: Path) -> None:
    shared = open_store(tmp_path / "shared")
    run(Points(n_rows=1), store=shared)
    layered = open_store([str(tmp_path / "own"), open_store(tmp_path / "shared", readonly=True)])
    assert isinstance(layered, LayeredStore)
    run(total.step(Points(n_rows=2)), store=layered)
    before = files(tmp_path / "shared")
    planned = Catalog(layered, index=None).rename(params={"n_rows": "size"})
    assert [move.old.name for move in planned] == ["points", "total"] and len(planned.left) == 1
    assert "only read" in repr(planned)
    planned.apply()
    assert files(tmp_path / "shared") == before
    with pytest.raises(StoreReadOnly):
        Catalog(open_store(tmp_path / "shared", readonly=True), index=None).rename(params={"n_rows": "size"}).apply()


# a thousand results kept


@dataclass
class Sweep:
    n_rows: int


def test_a_thousand_results_kept_through_an_added_and_a_renamed_param(data: str) -> None:
    class Table(Persistable[int, Sweep]):
        io = JsonFileIO()
        payload_name = "table"

        def _generate_payload(self) -> int:
            return 7

    run([Table(data, n_rows=n) for n in range(1000)], store=data)

    @dataclass
    class Marked:
        size: Annotated[int, formerly("n_rows")]
        noise: Annotated[float, omit_when(0.0)] = 0.0

    Marked.__name__ = "Sweep"

    class Tabled(Persistable[int, Marked]):
        io = JsonFileIO()
        payload_name = "table"

        def _generate_payload(self) -> int:
            raise AssertionError("nothing is generated")

    assert all(Tabled(data, size=n).exists() for n in range(1000))

    @dataclass
    class Moved:
        size: int
        noise: Annotated[float, omit_when(0.0)] = 0.0

    Moved.__name__ = "Sweep"

    class Renamed(Persistable[int, Moved]):
        io = JsonFileIO()
        payload_name = "table"

        def _generate_payload(self) -> int:
            raise AssertionError("nothing is generated")

    Renamed.__qualname__ = Table.__qualname__
    assert not Renamed(data, size=3).exists()
    done = Catalog(data).rename("table", params={"n_rows": "size"}, classes={"Sweep": "Sweep"}).apply()
    assert len(done.moved) == 1000 and done.left == []
    assert all(Renamed(data, size=n).exists() for n in range(1000))
    with pytest.warns(PersistableWarning, match="code that has changed"):  # its code has changed, which renaming does not hide
        assert Renamed(data, size=3).load().payload == 7


def test_a_params_class_of_another_name_is_looked_for_in_the_class(data: str) -> None:
    node = GaussianPoints(data, size=3).generate()
    (move,) = Catalog(data).rename(params={"size": "n_rows"})
    assert move.old == node.key and move.new != node.key


def test_a_pin_is_there_from_before_the_commit_to_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cut off right after the commit is done, as far as a later call can see: nothing would bring the pin along then."""
    store = open_store(tmp_path / "store")
    filled(store)

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("persistable.catalog.evolve.moves.commits.remove", cut)
        for _ in range(20):
            with suppress(KeyboardInterrupt):
                Catalog(store, index=None).rename(**RENAMED).apply()
    assert several_after.step(4).key in [pin.key for pin in Catalog(store, index=None).pins()]
    Catalog(store, index=None).rename(**RENAMED).apply()
    assert [pin.key for pin in Catalog(store, index=None).pins()] == [several_after.step(4).key]
