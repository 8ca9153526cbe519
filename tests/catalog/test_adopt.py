"""Files made elsewhere, and folders of earlier versions, become payloads: read, found valid, marked, and never taken by mistake."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, field
from enum import Enum
from hashlib import md5
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from store_kinds import each_url

from persistable import Catalog, Persistable, PersistableParams, formerly, open_store, run, step
from persistable.errors import MalformedFile, PayloadCorrupted, PayloadExists, StoreError, UnknownFormat
from persistable.fileio import BundleFileIO, JsonFileIO, NumpyFileIO, TextFileIO


@dataclass
class PointsParams(PersistableParams):
    n: int


class Points(Persistable[Any, PointsParams]):
    io = NumpyFileIO()

    def _generate_payload(self) -> Any:
        return np.zeros(self.params.n)

    def _validate_payload(self, payload: Any) -> None:
        assert len(payload) == self.params.n


class Pickled(Persistable[Any, PointsParams]):
    def _generate_payload(self) -> Any:
        return np.zeros(self.params.n)


@step(io=JsonFileIO())
def total(points: Any) -> float:
    return float(sum(points))


@step(persist=False)
def aside(points: Any) -> float:
    return 0.0


@step(io=BundleFileIO({"count": JsonFileIO(), "words": TextFileIO()}))
def several(n: int) -> Any:
    return {"count": n, "words": "w"}


url = each_url("folder", "sqlite")


@pytest.mark.parametrize("size", [3, 200_000])
def test_a_file_becomes_the_payload(url: str, tmp_path: Path, size: int) -> None:
    file = tmp_path / "old.npy"
    np.save(file, np.arange(float(size)))
    before = file.read_bytes()
    catalog, node = Catalog(url), Points(n=size)
    entry = catalog.adopt(file, node)
    assert entry.key == node.key and entry.made == "adopted"
    record = entry.record
    assert record.made == "adopted" and record.by_hand and record.notes == {"adopted": "old.npy"}
    assert record.files[0].size == len(before) and catalog.store.get(record.files[0].path) == before
    assert (node.bind(url).load().payload == np.arange(float(size))).all()
    file.write_bytes(b"written to by its owner")
    assert catalog.verify().corrupt == []
    run(total.step(node), store=url)
    assert total.step(node).bind(url).payload == float(np.arange(float(size)).sum())
    assert [each.key for each in catalog.find(where="made = 'adopted'")] == [node.key]
    assert node.bind(url).status.name == "DONE"


def test_moved_when_asked(tmp_path: Path) -> None:
    np.save(tmp_path / "old.npy", np.arange(200_000.0))
    Catalog(tmp_path / "data").adopt(tmp_path / "old.npy", Points(n=200_000), move=True)
    assert len(Points(tmp_path / "data", n=200_000).load().payload) == 200_000


def test_what_is_there_stays(url: str, tmp_path: Path) -> None:
    np.save(tmp_path / "old.npy", np.ones(3))
    catalog, node = Catalog(url), Points(n=3)
    node.bind(url).generate()
    with pytest.raises(PayloadExists, match="replace=True") as raised:
        catalog.adopt(tmp_path / "old.npy", node)
    assert raised.value.key == node.key and isinstance(raised.value, FileExistsError)
    assert catalog[node.key].made == "generated"
    assert catalog.adopt(str(tmp_path / "old.npy"), node, replace=True).payload.tolist() == [1, 1, 1]


def test_the_format_is_that_of_the_file(url: str, tmp_path: Path) -> None:
    np.save(tmp_path / "old.npy", np.ones(3))
    entry = Catalog(url).adopt(tmp_path / "old.npy", Pickled(n=3))
    assert entry.record.fileio["io"] == "NumpyFileIO" and Pickled(url, n=3).load().payload.tolist() == [1, 1, 1]
    (tmp_path / "old.data").write_text("[1, 2, 3]")
    with pytest.raises(UnknownFormat):
        Catalog(url).adopt(tmp_path / "old.data", Pickled(n=4))
    assert Catalog(url).adopt(tmp_path / "old.data", Pickled(n=4), io=JsonFileIO()).payload == [1, 2, 3]


def test_a_folder_of_several_files(url: str, tmp_path: Path) -> None:
    BundleFileIO({"count": JsonFileIO(), "words": TextFileIO()}).save({"count": 2, "words": "ww"}, tmp_path / "old")
    entry = Catalog(url).adopt(tmp_path / "old", several.step(2))
    assert entry.payload == {"count": 2, "words": "ww"} and (tmp_path / "old").is_dir()


def test_what_is_not_valid_is_refused(url: str, tmp_path: Path) -> None:
    catalog = Catalog(url)
    np.save(tmp_path / "old.npy", np.ones(4))
    with pytest.raises(AssertionError):
        catalog.adopt(tmp_path / "old.npy", Points(n=3))
    (tmp_path / "bad.npy").write_bytes(b"no array")
    with pytest.raises((MalformedFile, PayloadCorrupted)):
        catalog.adopt(tmp_path / "bad.npy", Points(n=3))
    with pytest.raises(FileNotFoundError):
        catalog.adopt(tmp_path / "none.npy", Points(n=3))
    with pytest.raises(StoreError, match="not persisted"):
        catalog.adopt(tmp_path / "old.npy", aside.step(Points(n=3)))
    assert len(catalog) == 0 and (tmp_path / "old.npy").exists() and (tmp_path / "bad.npy").exists()


def test_it_is_never_generated_by_itself(tmp_path: Path) -> None:
    np.save(tmp_path / "old.npy", np.ones(3))
    entry = Catalog(tmp_path / "data").adopt(tmp_path / "old.npy", Points(n=3))
    (tmp_path / "data" / entry.files[0].path).write_bytes(b"damaged")
    with pytest.raises(PayloadCorrupted) as raised:
        _ = Points(tmp_path / "data", n=3).payload
    assert any("by hand" in note for note in raised.value.__notes__)


# folders of earlier versions


class Mode(Enum):
    FAST = "fast"


def released(folder: Path, name: str, tree: dict[str, Any], payload: Any, digest: str = "") -> Path:
    """Write a payload as versions 1.1 to 1.3 did."""
    folder.mkdir(exist_ok=True)
    stem = f"{name}({digest or md5(str({name: tree}).encode()).hexdigest()})"
    with (folder / f"{stem}.persistable").open("wb") as file:
        pickle.dump(payload, file)
    with (folder / f"{stem}.params.json").open("w") as text:
        json.dump(tree, text)
    return folder / f"{stem}.persistable"


@dataclass
class InnerParams(PersistableParams):
    rate: float = 0.5


@dataclass
class ModelParams(PersistableParams):
    path: Path
    mode: Mode = Mode.FAST
    sizes: tuple[int, ...] = (1, 2)
    inner: InnerParams = field(default_factory=InnerParams)
    limit: int | None = None
    size: Annotated[int, formerly("n_rows")] = 3
    added: int = 0


class Model(Persistable[Any, ModelParams]):
    io = JsonFileIO()

    def _generate_payload(self) -> Any:
        raise AssertionError("nothing is generated")


OLD_MODEL = {"path": "/a/b", "mode": "FAST", "sizes": (1, 2), "inner": {"rate": 0.5}, "limit": None, "n_rows": 3}


def test_a_folder_of_an_earlier_version(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    file = released(folder, "points", {"n": 3}, np.ones(3))
    model = released(folder, "model", {**OLD_MODEL, "points": {"n": 3}}, {"a": 1})
    (folder / "points.log").write_text("---- NEW PERSISTABLE SESSION ----")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    catalog = Catalog(url)
    done = catalog.import_released(folder, classes=[Points, Model])
    params = ModelParams(path=Path("/a/b"))
    points = Points(url, n=3)
    node = Model(url, params, [points])
    assert done.imported == {file: points.key, model: node.key} and done.left == [] and done.kept == []
    assert points.load().payload.tolist() == [1, 1, 1] and node.load().payload == {"a": 1}
    assert catalog[node.key].made == "adopted" and catalog[node.key].record.notes == {"adopted": model.name}
    assert [entry.key for entry in catalog.lineage(node.key)] == [points.key]
    again = catalog.import_released(folder, classes=[Points, Model])
    assert set(again.kept) == {points.key, node.key} and not again.imported
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    good = released(folder, "points", {"n": 2}, np.ones(2))
    wrong = {
        released(folder, "unknown", {"n": 2}, 1): "none of the classes given",
        released(folder, "points", {"n": 3, "gone": 1}, np.ones(3)): "no param gone",
        released(folder, "points", {"n": 4}, np.ones(4), digest="0" * 32): "md5",
        released(folder, "points", {"n": 5}, np.ones(4)): "AssertionError",
        released(folder, "points", {"n": "many"}, np.ones(3)): "does not take its params",
        released(folder, "model", {**OLD_MODEL, "inner": {"speed": 1}}, 1): "no param speed",
        released(folder, "model", {**OLD_MODEL, "others": {"n": 1}}, 1): "no param others",
    }
    (folder / "notes.txt").write_text("x")
    (folder / f"points({'1' * 32}).persistable").write_bytes(b"x")
    broken = released(folder, "points", {"n": 6}, np.ones(6))
    broken.with_name(broken.stem + ".params.json").write_text("[")
    cut = released(folder, "points", {"n": 7}, np.ones(7))
    cut.write_bytes(cut.read_bytes()[:50])
    done = Catalog(tmp_path / "data").import_released(folder, classes=[Points, Model])
    assert list(done.imported) == [good]
    told = {each.file: each.why for each in done.left}
    assert all(why in told[file] for file, why in wrong.items()), told
    assert len(told) == len(wrong) + 4 and "md5" in repr(done)
    with pytest.raises(FileNotFoundError):
        Catalog(tmp_path / "data").import_released(tmp_path / "none", classes=[Points])


def test_under_another_name_and_in_another_format(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    file = released(folder, "my_points", {"n": 2}, None)
    np.save(folder / "x.npy", np.ones(2))
    (folder / "x.npy").replace(file)
    data = open_store(tmp_path / "data")
    done = Catalog(data).import_released(folder, classes={"my_points": Points})
    assert done.left == [] and Points(data, n=2, payload_name="my_points").load().payload.tolist() == [1, 1]
