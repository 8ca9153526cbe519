"""A tree of links with readable names: made anew by the same call, safe on every platform, and of nothing but its own."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persistable import Catalog, Persistable, run, step
from persistable.catalog.share import view as views
from persistable.catalog.share.links import MARK, Links
from persistable.errors import InvalidQuery, StoreError
from persistable.fileio import NumpyFileIO, TextFileIO
from persistable.stores.base import check_path


@dataclass(frozen=True)
class PointsParams:
    n: int
    tag: str = "plain"
    scale: float = 0.5


class Points(Persistable[np.ndarray, PointsParams]):
    io = NumpyFileIO()

    def _generate_payload(self, **_: Any) -> np.ndarray:
        return np.arange(self.params.n)


@step(io=TextFileIO())
def model(points: np.ndarray, alpha: float) -> str:
    return f"{points.sum() * alpha}"


@step
def pieces(n: int) -> Any:
    for number in range(n):
        yield number, np.full(3, number)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    run([model.step(Points(n=n), alpha=alpha) for n in (10, 20) for alpha in (0.1, 1.0)], store=tmp_path / "data")
    return Catalog(tmp_path / "data", index=None)


def tree(folder: Path) -> dict[str, str]:
    """Each file and what it holds."""
    return {
        str(path.relative_to(folder)).replace(os.sep, "/"): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MARK
    }


def test_a_tree_by_params(catalog: Catalog, tmp_path: Path) -> None:
    done = catalog.view(tmp_path / "by-params", "model", by="{alpha}/{upstream.points.n}")
    assert tree(tmp_path / "by-params") == {"0.1/10.txt": "4.5", "0.1/20.txt": "19.0", "1.0/10.txt": "45.0", "1.0/20.txt": "190.0"}
    assert all((tmp_path / "by-params" / path).is_symlink() for path in done.links)
    assert not os.path.isabs(os.readlink(tmp_path / "by-params" / "0.1/10.txt")), "so that both can be moved together"
    assert done.links["0.1/10.txt"] == model.step(Points(n=10), alpha=0.1).key
    assert (done.made, done.kept, done.removed) == (4, 0, 0)
    assert "made 4 links" in repr(done)
    again = catalog.view(tmp_path / "by-params", model, by="{alpha}/{upstream.points.n}")
    assert (again.made, again.kept, again.removed) == (0, 4, 0)


def test_it_is_made_anew(catalog: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "view"
    catalog.view(folder, model, by="{alpha}/{upstream.points.n}")
    node = model.step(Points(n=10), alpha=0.1).bind(catalog.store)
    node.delete()
    model.step(Points(n=10), alpha=2.0).bind(catalog.store).generate()
    points = Points(catalog.store, n=20)
    points.generate()
    done = catalog.view(folder, model, by="{alpha}/{upstream.points.n}")
    assert (done.made, done.kept, done.removed) == (1, 3, 1)
    assert sorted(tree(folder)) == ["0.1/20.txt", "1.0/10.txt", "1.0/20.txt", "2.0/10.txt"]
    done = catalog.view(folder, model, by="{upstream.points.n}", where="alpha = 1.0")
    assert sorted(tree(folder)) == ["10.txt", "20.txt"]
    assert sorted(os.listdir(folder)) == [MARK, "10.txt", "20.txt"], "no empty folders are left"
    model.step(Points(n=10), alpha=1.0).bind(catalog.store).generate()
    catalog.view(folder, model, by="{upstream.points.n}", where="alpha = 1.0")
    assert tree(folder)["10.txt"] == "45.0", "a link leads to what is there now"


def test_a_dry_run_touches_nothing(catalog: Catalog, tmp_path: Path) -> None:
    done = catalog.view(tmp_path / "view", model, by="{alpha}/{upstream.points.n}", dry_run=True)
    assert done.made == 4 and len(done.links) == 4 and "would make" in repr(done)
    assert not (tmp_path / "view").exists()


def test_names_that_would_be_one_are_told_apart(catalog: Catalog, tmp_path: Path) -> None:
    done = catalog.view(tmp_path / "view", model, by="{alpha}")
    assert len(done.links) == len(tree(tmp_path / "view")) == 4
    for path, key in done.links.items():
        assert path.endswith(f"~{key.digest[:10]}.txt")
    assert catalog.view(tmp_path / "view", model, by="{alpha}").kept == 4


@pytest.mark.parametrize(
    ("by", "path"),
    [
        ("{name}-{n}", "points-10.npy"),
        ("{params.n}", "10.npy"),
        ("n={n:05d}", "n=00010.npy"),
        ("{scale:.2f}/{tag}", "0.50/plain.npy"),
        ("{made}/{status}/{digest}", f"generated/done/{Points(n=10).key.digest}.npy"),
        ("{key}", f"points-{Points(n=10).key.digest}.npy"),
        ("{{n}}{n}", "{n}10.npy"),
    ],
)
def test_fields(catalog: Catalog, by: str, path: str, tmp_path: Path) -> None:
    assert list(catalog.view(tmp_path / "view", catalog.find(Points, n=10), by=by).links) == [path]


@pytest.mark.parametrize(
    "by", ["", "plain", "{}", "{0}", "{n!r}", "{n", "/{n}", "../{n}", "{n}/../x", "{n}/", "{m}", "{tag:d}", "{a[0]}", "a//{n}"]
)
def test_what_is_no_path_by_params(catalog: Catalog, by: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidQuery):
        catalog.view(tmp_path / "view", Points, by=by)
    assert not (tmp_path / "view").exists()


def test_an_unknown_field_names_the_nearest(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(InvalidQuery, match=r"did you mean 'upstream\.points\.scale'"):
        catalog.view(tmp_path / "view", model, by="{upstream.points.skale}")


HARMFUL = [
    "../../evil",
    "/etc/evil",
    "a/b",
    "con",
    "nul.txt",
    ".hidden.tmp",
    "",
    " ",
    "...",
    "a\0b",
    "x" * 400,
    "ü\\ö",
    "a:b*?",
    "\u202e",
    "a.",
    "-",
]


def test_harmful_values_stay_in_the_folder(tmp_path: Path) -> None:
    for tag in HARMFUL:
        Points(tmp_path / "data", n=1, tag=tag).generate()
    catalog = Catalog(tmp_path / "data", index=None)
    done = catalog.view(tmp_path / "view", Points, by="{tag}")
    assert len(done.links) == len(HARMFUL) == len(list((tmp_path / "view").iterdir())) - 1
    assert sorted(os.listdir(tmp_path)) == ["data", "view"]
    for path in done.links:
        check_path(path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=150))
def test_any_text_becomes_a_name(text: str) -> None:
    check_path(views._safe(views._UNSAFE.sub("-", text)) + ".npy")


def test_items_and_payloads_of_several_files(tmp_path: Path) -> None:
    run(pieces.step(3), store=tmp_path / "data")
    catalog = Catalog(tmp_path / "data", index=None)
    done = catalog.view(tmp_path / "view", by="{name}/{n}")
    assert len(done.links) == 4
    assert all((tmp_path / "view" / path).is_file() for path in done.links)


def test_what_is_not_there_is_told(catalog: Catalog, tmp_path: Path) -> None:
    entry = catalog.find(model)[0]
    (tmp_path / "data" / entry.files[0].path).unlink()
    done = catalog.view(tmp_path / "view", model, by="{alpha}/{upstream.points.n}")
    assert done.missing == [entry.key] and done.made == 3 and "not stored" in repr(done)


# nothing that is somebody else's


def test_a_foreign_folder_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("dear")
    with pytest.raises(StoreError, match="no view has made"):
        catalog.view(folder, model, by="{alpha}/{upstream.points.n}")
    with pytest.raises(StoreError, match="is a file"):
        catalog.view(folder / "thesis.txt", model, by="{alpha}/{upstream.points.n}")
    assert tree(folder) == {"thesis.txt": "dear"}
    (tmp_path / "empty").mkdir()
    catalog.view(tmp_path / "empty", model, by="{alpha}/{upstream.points.n}")


def test_in_the_store_itself_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    for folder in (tmp_path / "data", tmp_path / "data" / "view"):
        with pytest.raises(StoreError, match="in the store"):
            catalog.view(folder, model, by="{alpha}/{upstream.points.n}")


def test_files_that_people_put_there_stay(catalog: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "view"
    catalog.view(folder, model, by="{alpha}/{upstream.points.n}")
    (folder / "0.1" / "notes.txt").write_text("mine")
    (folder / "1.0" / "10.txt").unlink()
    (folder / "1.0" / "10.txt").write_text("mine too")
    with pytest.raises(StoreError, match=r"1\.0/10\.txt there was not made"):
        catalog.view(folder, model, by="{alpha}/{upstream.points.n}")
    catalog.view(folder, model, by="x/{alpha}/{upstream.points.n}")
    assert {path: text for path, text in tree(folder).items() if path[:1] != "x"} == {"0.1/notes.txt": "mine", "1.0/10.txt": "mine too"}
    (folder / "x" / "0.1" / "10.txt").unlink()
    (folder / "y").mkdir()
    (folder / "y" / "10.txt").write_text("mine again")
    before = tree(folder)
    with pytest.raises(StoreError, match=r"y/10\.txt there was not made"):
        catalog.view(folder, model, by="y/{upstream.points.n}", where="alpha = 0.1")
    assert tree(folder) == before


def test_links_that_lead_out_of_the_view_are_not_followed(catalog: Catalog, tmp_path: Path) -> None:
    folder, outside = tmp_path / "view", tmp_path / "outside"
    catalog.view(folder, model, by="{alpha}/{upstream.points.n}")
    outside.mkdir()
    for path in (folder / "0.1").iterdir():
        os.symlink(os.path.realpath(path), outside / path.name)
        path.unlink()
    (folder / "0.1").rmdir()
    os.symlink(outside, folder / "0.1")
    catalog.view(folder, model, by="{upstream.points.n}", where="alpha = 1.0")
    assert sorted(os.listdir(outside)) == ["10.txt", "20.txt"]
    with pytest.raises(StoreError, match="behind a link"):
        catalog.view(folder, model, by="{alpha}/{upstream.points.n}-new")


@pytest.mark.parametrize("damage", ["{", "[]", '{"links": {"../../evil": ["link"]}}', '{"links": {"a": null}}', '{"links": 1}'])
def test_a_damaged_or_crafted_mark_removes_nothing(catalog: Catalog, damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "view"
    folder.mkdir(parents=True)
    os.symlink(tmp_path / "data", tmp_path / "a" / "evil")
    (folder / MARK).write_text(damage)
    with pytest.raises(StoreError, match="damaged"):
        catalog.view(folder, model, by="{alpha}/{upstream.points.n}")
    assert (tmp_path / "a" / "evil").is_symlink()


def test_killed_in_the_middle_the_next_call_finishes(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, link = tmp_path / "view", Links._link
    for after in range(4):
        left = [after]

        def dying(self: Any, place: Path, target: Path, left: list[int] = left) -> list[Any]:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return link(self, place, target)

        monkeypatch.setattr(Links, "_link", dying)
        with pytest.raises(KeyboardInterrupt):
            catalog.view(folder, model, by=f"{after}/{{alpha}}/{{upstream.points.n}}")
        monkeypatch.undo()
    catalog.view(folder, model, by="{alpha}/{upstream.points.n}")
    assert sorted(tree(folder)) == ["0.1/10.txt", "0.1/20.txt", "1.0/10.txt", "1.0/20.txt"]
    assert sorted(os.listdir(folder)) == [MARK, "0.1", "1.0"]


# where there are no links


@pytest.mark.parametrize("without", ["symbolic", "any"])
def test_hard_links_and_copies(catalog: Catalog, without: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(os, "symlink", refused)
    if without == "any":
        monkeypatch.setattr(os, "link", refused)
    folder = tmp_path / "view"
    catalog.view(folder, model, by="{alpha}/{upstream.points.n}")
    assert len(tree(folder)) == 4 and not any(path.is_symlink() for path in folder.rglob("*"))
    assert catalog.view(folder, model, by="{alpha}/{upstream.points.n}").kept == 4
    (folder / "0.1" / "10.txt").unlink()
    (folder / "0.1" / "10.txt").write_text("mine")
    catalog.view(folder, model, by="{upstream.points.n}", where="alpha = 1.0")
    assert tree(folder) == {"10.txt": "45.0", "20.txt": "190.0", "0.1/10.txt": "mine"}


def test_a_store_without_files_of_this_machine(tmp_path: Path) -> None:
    run(Points(n=3), store=f"memory://{tmp_path.name}")
    with pytest.raises(StoreError, match="no files of this machine"):
        Catalog(f"memory://{tmp_path.name}").view(tmp_path / "view", Points, by="{n}")
    assert not (tmp_path / "view").exists()


def test_layers_with_a_folder(tmp_path: Path) -> None:
    layers = [f"memory://{tmp_path.name}-fast", str(tmp_path / "slow")]
    run(Points(n=3), store=layers)
    done = Catalog(layers, index=None).view(tmp_path / "view", Points, by="{n}")
    assert list(done.links) == ["3.npy"]
    assert json.loads((tmp_path / "view" / MARK).read_text())["by"] == "{n}"


def test_in_any_layer_of_the_store_is_refused(tmp_path: Path) -> None:
    layers = [tmp_path / "fast", tmp_path / "slow"]
    run(Points(n=3), store=layers)
    for layer in layers:
        with pytest.raises(StoreError, match="in the store"):
            Catalog(layers, index=None).view(layer / "view", Points, by="{n}")
