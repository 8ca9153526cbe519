"""Records with their lineage and payloads in one archive or folder: opened in place, published, imported again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rocrate
from rocrate.rocrate import ROCrate
from servers.needs import absent
from servers.validator import installed
from stores.test_contract_reading import Plain, Ranged, serving

from persistable import Catalog, Persistable, Pipeline, Source, Workflow, Workspace, open_store, run, seed, step, stored
from persistable.errors import MalformedBundle, PayloadCorrupted, PayloadUntrusted, StoreError, StoreReadOnly, UnknownKey
from persistable.fileio import NumpyFileIO, TextFileIO
from persistable.records.record import Record
from persistable.stores import MemoryStore, new_signing_key


@dataclass(frozen=True)
class PointsParams:
    n: int


class Points(Persistable[np.ndarray, PointsParams]):
    io = NumpyFileIO()

    def _generate_payload(self, **_: Any) -> np.ndarray:
        return np.arange(self.params.n, dtype=np.float64)


@step(persist=False)
def halved(points: np.ndarray) -> np.ndarray:
    return points / 2


@step(io=TextFileIO())
def report(points: np.ndarray, title: str = "sum # 1") -> str:
    return f"{title}: {points.sum()}"


@step
def words(book: str) -> int:
    return len(book.split())


@step
def pieces(n: int) -> Any:
    for number in range(n):
        yield number, np.full(3, number)


LICENSE = "https://creativecommons.org/licenses/by/4.0/"
FINAL = report.step(halved.step(Points(n=100)))


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    run(FINAL, report.step(Points(n=3)), pieces.step(3), store=tmp_path / "data")
    return Catalog(tmp_path / "data", index=None)


def opened(where: Any) -> Catalog:
    return Catalog(where, index=None)


def keys(catalog: Catalog) -> list[str]:
    return sorted(str(entry.key) for entry in catalog)


# export, and opened in place


def test_an_archive_is_a_store(catalog: Catalog, tmp_path: Path) -> None:
    done = catalog.export(tmp_path / "paper.zip", FINAL, license=LICENSE)
    assert (done.records, done.missing) == (2, [])
    assert "2 records" in repr(done)
    paper = opened(tmp_path / "paper.zip")
    assert keys(paper) == sorted([str(FINAL.key), str(Points(n=100).key)]), "and what is upstream, through what is not persisted"
    assert FINAL.bind(paper.store).load().payload == "sum # 1: 2475.0"
    np.testing.assert_array_equal(Points(tmp_path / "paper.zip", n=100).load().payload, np.arange(100.0))
    assert paper.find(Points, n=100)[0].record.data == catalog[Points(n=100).key].record.data
    with pytest.raises(StoreReadOnly, match=r"paper\.zip"):
        Points(tmp_path / "paper.zip", n=5).generate()


@pytest.mark.parametrize("what", ["nothing", "key", "text", "entry", "entries", "list", "pipeline", "family", "not kept"])
def test_what_can_be_exported(catalog: Catalog, what: str, tmp_path: Path) -> None:
    node = Points(n=100)
    asked: dict[str, Any] = {
        "nothing": None,
        "key": node.key,
        "text": node.key.digest[:10],
        "entry": catalog[node.key],
        "entries": catalog.find(Points, where="n > 50"),
        "list": [node, catalog[node.key], str(node.key)],
        "pipeline": Pipeline(one=FINAL),
        "family": Points.over(n=[3, 100]),
        "not kept": halved.step(node),
    }
    catalog.export(tmp_path / "a.zip", asked[what])
    number = {"nothing": 5, "pipeline": 2, "family": 2}.get(what, 1)
    assert len(opened(tmp_path / "a.zip")) == number


def test_what_is_not_stored_cannot_be(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(UnknownKey):
        catalog.export(tmp_path / "a.zip", Points(n=4))
    with pytest.raises(UnknownKey):
        catalog.export(tmp_path / "a.zip", Points.over(n=[3, 4]))
    with pytest.raises(ValueError, match="payloads='some'"):
        catalog.export(tmp_path / "a.zip", payloads="some")  # type: ignore[arg-type]
    assert not (tmp_path / "a.zip").exists()


def test_the_same_content_is_the_same_bytes(catalog: Catalog, tmp_path: Path) -> None:
    catalog.export(tmp_path / "a.zip")
    opened(tmp_path / "data").export(tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    opened(tmp_path / "a.zip").export(tmp_path / "c.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "c.zip").read_bytes(), "also of what was exported"


def test_payloads_that_are_files_as_they_are(catalog: Catalog, tmp_path: Path) -> None:
    """Anybody can read it without this package: the paths are those of the store, and payloads are not compressed."""
    catalog.export(tmp_path / "a.zip", Points(n=100))
    (fact,) = catalog[Points(n=100).key].files
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert archive.getinfo(fact.path).compress_type == zipfile.ZIP_STORED
        assert archive.read(fact.path) == (tmp_path / "data" / fact.path).read_bytes()


def test_collected_items_come_along(catalog: Catalog, tmp_path: Path) -> None:
    catalog.export(tmp_path / "a.zip", pieces.step(3))
    found = pieces.step(3).bind(open_store(tmp_path / "a.zip")).load().payload
    assert [int(found[number][0]) for number in (0, 1, 2)] == [0, 1, 2]
    other = opened(tmp_path / "other")
    assert len(other.import_(tmp_path / "a.zip").imported) == 1
    assert int(pieces.step(3).bind(other.store).load().payload[2][1]) == 2


def test_records_alone(catalog: Catalog, tmp_path: Path) -> None:
    done = catalog.export(tmp_path / "a.zip", payloads="none")
    assert done.records == 5 and done.missing == []
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert not [name for name in archive.namelist() if name.endswith((".npy", ".txt"))]
    records = opened(tmp_path / "a.zip")
    assert keys(records) == keys(catalog)
    again = records.export(tmp_path / "b.zip")
    assert len(again.missing) == 5 and "5 without their payloads" in repr(again)
    other = opened(tmp_path / "other")
    imported = other.import_(tmp_path / "a.zip")
    assert len(imported.bare) == 5 and "without payload" in repr(imported)
    assert keys(other) == keys(catalog)
    full = other.import_(catalog.store.url)
    assert len(full.imported) == 5, "the payloads come to the records"
    assert FINAL.bind(other.store).load().payload == "sum # 1: 2475.0"
    assert len(other.import_(tmp_path / "a.zip").kept) == 5


def test_sources_alone(tmp_path: Path) -> None:
    store = open_store(tmp_path / "data")
    Points(store, n=4).put(np.arange(4.0))
    run(report.step(Points(n=4)), store=store)
    catalog = opened(store)
    catalog.export(tmp_path / "a.zip", payloads="sources")
    paper = open_store(tmp_path / "a.zip")
    assert Points(n=4).bind(paper).load().payload.sum() == 6.0
    assert not paper.exists(catalog[report.step(Points(n=4)).key].files[0].path)


@pytest.mark.parametrize("payloads", ["all", "sources", "none"])
def test_inputs_that_lie_elsewhere_come_along(payloads: Any, tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    for book, text in (("emma", "Emma Woodhouse, handsome"), ("moby", "Call me")):
        (tmp_path / "books" / f"{book}.txt").write_text(text)
    books = Source(f"{tmp_path}/books/{{book}}.txt", io=TextFileIO())
    counts = words.over(books)
    run(counts, store=tmp_path / "data")
    catalog = opened(tmp_path / "data")
    done = catalog.export(tmp_path / "a.zip", counts, payloads=payloads, anonymous=True)
    paper = opened(tmp_path / "a.zip")
    assert done.records == (2 if payloads == "none" else 4)
    if payloads != "none":
        entry = paper[books["moby"].key]
        assert (entry.made, entry.params["key"], entry.record.host) == ("put", {"book": "moby"}, "")
        (file,) = entry.files
        assert paper.store.get(file.path) == b"Call me"
        assert opened(tmp_path / "other").import_(tmp_path / "a.zip").imported
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert str(tmp_path).encode() not in b"".join(archive.read(name) for name in archive.namelist()), "its path is no part of it"
    moby, source = counts["moby"], books["moby"]
    (tmp_path / "books" / "moby.txt").write_text("Call me something else")
    done = catalog.export(tmp_path / "b.zip", moby, payloads=payloads)
    assert done.missing == ([] if payloads == "none" else [source.key]), "it is not what the key was made from any more"


def test_who_signed_what_is_exported(tmp_path: Path) -> None:
    (private, public), (_, other) = new_signing_key(), new_signing_key()
    store = open_store(tmp_path / "data", sign=private, trust=[public])
    run(FINAL, store=store)
    opened(store).export(tmp_path / "a.zip", anonymous=True)
    trusted = open_store(tmp_path / "a.zip", trust=[public])
    assert FINAL.bind(trusted).load().payload == "sum # 1: 2475.0"
    assert len(opened(tmp_path / "mine").import_(trusted).imported) == 2
    for refused in (open_store(tmp_path / "a.zip", trust=[other]), open_store(_unsigned(tmp_path), trust=[public])):
        with pytest.raises(PayloadUntrusted):
            FINAL.bind(refused).load()
        with pytest.raises(PayloadUntrusted):
            opened(tmp_path / "other").import_(refused)
        assert not (tmp_path / "other").exists()
    guarded = open_store(tmp_path / "guarded", sign=private, trust=[public])
    with pytest.raises(PayloadUntrusted):
        opened(guarded).import_(_unsigned(tmp_path))
    assert len(opened(guarded).import_(_unsigned(tmp_path), sign=True).imported) == 2


def _unsigned(folder: Path) -> Path:
    run(FINAL, store=folder / "open")
    opened(folder / "open").export(folder / "unsigned.zip")
    return folder / "unsigned.zip"


def test_an_interrupted_export_leaves_nothing(catalog: Catalog, tmp_path: Path) -> None:
    def interrupt(done: int, _total: int) -> None:
        raise KeyboardInterrupt

    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        catalog.export(tmp_path / "out" / "a.zip", progress=interrupt)
    assert os.listdir(tmp_path / "out") == []
    with pytest.raises(KeyboardInterrupt):
        catalog.export(tmp_path / "out", progress=interrupt)
    assert _all_files(tmp_path / "out") == {}
    catalog.export(tmp_path / "site", Points(n=3))
    before = keys(opened(tmp_path / "site"))
    with pytest.raises(KeyboardInterrupt):
        catalog.export(tmp_path / "site", progress=interrupt)
    assert [key for key in keys(opened(tmp_path / "site")) if key in before] == before, "the earlier export can still be read"
    catalog.export(tmp_path / "site", Points(n=3))
    assert keys(opened(tmp_path / "site")) == before


def test_a_killed_export_into_a_folder_can_be_made_again(catalog: Catalog, tmp_path: Path) -> None:
    killed = (
        "import os, sys\nfrom persistable import Catalog\n"
        "Catalog(sys.argv[1], index=None).export(sys.argv[2], progress=lambda done, total: os._exit(9))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", killed, tmp_path / "data", tmp_path / "site"], env=environment, timeout=100)
    assert done.returncode == 9
    assert _all_files(tmp_path / "site") and keys(opened(tmp_path / "site")) == []
    catalog.export(tmp_path / "site")
    assert keys(opened(tmp_path / "site")) == keys(catalog)


def test_anonymous_records(catalog: Catalog, tmp_path: Path) -> None:
    import socket

    node = Points(tmp_path / "data", n=100)
    node.accept_code("the same")
    catalog.export(tmp_path / "a.zip", anonymous=True, payloads="none")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        text = b"".join(archive.read(name) for name in archive.namelist()).decode()
    host = socket.gethostname()
    assert f'"{host}"' not in text
    assert str(tmp_path) not in text and os.path.expanduser("~") not in text
    for entry in opened(tmp_path / "a.zip"):
        record = entry.record
        assert (record.host, "platform" in record.to_dict(), record.to_dict().get("untracked")) == ("", False, None)
        assert record.head == catalog[entry].record.head
    other = opened(tmp_path / "other")
    other.import_(tmp_path / "data")
    assert len(other.import_(tmp_path / "a.zip").kept) == 5, "the payloads are the same"


class Called(Persistable[int, PointsParams]):
    def __init__(self, data_dir: Any, params: PointsParams, log: str = "") -> None:
        super().__init__(data_dir, params)

    def _generate_payload(self, **_: Any) -> int:
        return self.params.n


def test_anonymous_calls(tmp_path: Path) -> None:
    node = Called(str(tmp_path / "data"), PointsParams(3), log="/home/ann/log.txt").generate()
    catalog = opened(tmp_path / "data")
    catalog.export(tmp_path / "a.zip", anonymous=True)
    entry = opened(tmp_path / "a.zip")[node.key]
    record = entry.record
    assert record.call is not None and record.call["args"][0] == "data" and record.call["kwargs"] == {"log": "log.txt"}
    assert b"/home/ann" not in record.data and str(tmp_path).encode() not in record.data
    assert record.project is None
    assert opened(tmp_path / "a.zip").node(node.key).load().payload == 3


def test_a_signed_record_keeps_its_bytes(catalog: Catalog, tmp_path: Path) -> None:
    entry = catalog[Points(n=100).key]
    signed = entry.record.revise({}, {"signature": {"by": "a key", "signature": "abc"}})
    (tmp_path / "data" / f"{entry.key}.record.json").write_bytes(signed.data)
    done = catalog.export(tmp_path / "a.zip", anonymous=True)
    assert done.named == [entry.key] and "1 signed" in repr(done)
    assert open_store(tmp_path / "a.zip").get(f"{entry.key}.record.json") == signed.data


def test_a_damaged_payload_is_not_exported(catalog: Catalog, tmp_path: Path) -> None:
    file = tmp_path / "data" / catalog[Points(n=100).key].files[0].path
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(PayloadCorrupted, match="not exported"):
        catalog.export(tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]


def test_a_missing_payload_is_told(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "data" / catalog[Points(n=100).key].files[0].path).unlink()
    done = catalog.export(tmp_path / "a.zip")
    assert done.missing == [Points(n=100).key] and done.records == 5


def test_progress_is_told(catalog: Catalog, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    catalog.export(tmp_path / "a.zip", progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] == sum(entry.size or 0 for entry in catalog)
    told.clear()
    opened(tmp_path / "other").import_(tmp_path / "a.zip", progress=lambda done, total: told.append((done, total)))
    assert len(told) == 5 and told[-1][0] == told[-1][1]


# import


def test_import_keeps_and_reports(catalog: Catalog, tmp_path: Path) -> None:
    catalog.export(tmp_path / "a.zip")
    other = opened(tmp_path / "other")
    Points(tmp_path / "other", n=100).put(np.zeros(100))
    done = other.import_(tmp_path / "a.zip")
    assert (len(done.imported), done.kept, done.conflicts) == (4, [], [Points(n=100).key])
    assert "other bytes" in repr(done)
    assert Points(tmp_path / "other", n=100).load().payload.sum() == 0
    done = other.import_(tmp_path / "a.zip", replace=True)
    assert (done.imported, len(done.kept), done.conflicts) == ([Points(n=100).key], 4, [])
    assert Points(tmp_path / "other", n=100).load().payload.sum() == 4950
    left = [path for path in other.store.list("points") if str(Points(n=100).key) in path]
    assert len(left) == 2, "nothing of the old"


def test_import_heals_what_is_damaged(catalog: Catalog, tmp_path: Path) -> None:
    catalog.export(tmp_path / "a.zip")
    file = tmp_path / "data" / catalog[Points(n=100).key].files[0].path
    file.unlink()
    assert len(catalog.import_(tmp_path / "a.zip").imported) == 1
    assert file.exists()


def test_a_record_alone_replaces_nothing(catalog: Catalog, tmp_path: Path) -> None:
    catalog.export(tmp_path / "a.zip", payloads="none")
    other = opened(tmp_path / "other")
    Points(tmp_path / "other", n=100).put(np.zeros(100))
    assert other.import_(tmp_path / "a.zip", replace=True).conflicts == [Points(n=100).key]
    assert Points(tmp_path / "other", n=100).load().payload.sum() == 0


def _all_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("what", ["npy", "record", "manifest", "items", "missing", "swapped"])
def test_a_damaged_bundle_writes_nothing(catalog: Catalog, what: str, method: int, tmp_path: Path) -> None:
    catalog.export(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    key = str(Points(n=100).key)
    npy = next(name for name in files if name.startswith(key) and name.endswith(".npy"))
    if what == "npy":
        files[npy] = files[npy][:-1] + b"x"
    elif what == "record":
        files[f"{key}.record.json"] = files[f"{key}.record.json"].replace(b'"n":100', b'"n":101')
    elif what == "manifest":
        files[".persistable/manifest.json"] = files[".persistable/manifest.json"][:-20]
    elif what == "items":
        item = next(name for name in files if ".items/1." in name)
        files[item] = files[item][:-1] + b"x"
    elif what == "missing":
        del files[npy]
    elif what == "swapped":
        other = next(name for name in files if name.startswith(str(Points(n=3).key)) and name.endswith(".npy"))
        files[npy], files[other] = files[other], files[npy]
    with zipfile.ZipFile(tmp_path / "b.zip", "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    other_catalog = opened(tmp_path / "other")
    with pytest.raises(MalformedBundle, match=r"refused|manifest"):
        other_catalog.import_(tmp_path / "b.zip")
    assert not (tmp_path / "other").exists()


def test_a_flipped_byte_anywhere_writes_nothing_or_imports_all(tmp_path: Path) -> None:
    Points(tmp_path / "data", n=5).generate()
    opened(tmp_path / "data").export(tmp_path / "a.zip")
    whole = (tmp_path / "a.zip").read_bytes()
    for place in range(0, len(whole), 13):
        (tmp_path / "b.zip").write_bytes(whole[:place] + bytes([whole[place] ^ 0x04]) + whole[place + 1 :])
        store = MemoryStore()
        other = opened(store)
        try:
            done = other.import_(tmp_path / "b.zip")
        except (MalformedBundle, StoreError):
            assert list(store.list()) == []
        else:
            assert len(done.imported) == 1
            assert Points(n=5).bind(store).load().payload.sum() == 10


def test_killed_in_the_middle_nothing_is_half(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was copied when the import ended is whole, and the next one brings the rest."""
    catalog.export(tmp_path / "a.zip")
    store = MemoryStore()
    put, left = store.put, [7]

    def dying(path: str, data: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        put(path, data)

    monkeypatch.setattr(store, "put", dying)
    with pytest.raises(KeyboardInterrupt):
        opened(store).import_(tmp_path / "a.zip")
    monkeypatch.undo()
    for entry in opened(store):
        assert all(store.exists(file.path) for file in entry.files)
    opened(store).import_(tmp_path / "a.zip")
    assert keys(opened(store)) == keys(catalog)


@pytest.mark.parametrize("source", ["nowhere", "notes.txt", "sqlite:///nowhere.db", "empty"])
def test_an_import_from_what_is_no_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """A path with a mistake in it is a store that holds nothing; that is no answer to an import."""
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("mine")
    Path("empty").mkdir()
    with pytest.raises(StoreError, match="correct the path"):
        Catalog("mine").import_(source)
    assert not Path("nowhere").exists() and not Path("nowhere.db").exists()


def test_no_import_from_itself(catalog: Catalog) -> None:
    with pytest.raises(StoreError, match="itself"):
        catalog.import_(catalog.store)


# folders


@pytest.mark.parametrize("handler", [Plain, Ranged])
def test_a_published_folder(catalog: Catalog, handler: type[Plain], tmp_path: Path) -> None:
    catalog.export(f"{tmp_path}/site/", FINAL)
    with serving(tmp_path, handler) as url:
        np.testing.assert_array_equal(Points(f"{url}/site", n=100).load().payload, np.arange(100.0))
        site = opened(f"{url}/site/")
        assert keys(site) == sorted([str(FINAL.key), str(Points(n=100).key)])
        assert site.find(Points, where="n = 100")[0].params == {"n": 100}
        catalog.export(tmp_path / "site")
        assert keys(site) == keys(catalog)
        other = opened(tmp_path / "other")
        assert len(other.import_(f"{url}/site").imported) == 5
        catalog.export(tmp_path / "paper.zip", FINAL)
        assert FINAL.bind(open_store(f"{url}/paper.zip")).load().payload == "sum # 1: 2475.0"
        Points(tmp_path / "more", n=9).generate()
        with pytest.raises(StoreReadOnly):
            site.import_(tmp_path / "more")
        with pytest.raises(StoreError, match="no published folder"):
            keys(opened(f"{url}/nowhere"))
        with pytest.raises(FileNotFoundError):
            Points(f"{url}/site", n=7).load()


def test_a_folder_is_exported_anew(catalog: Catalog, tmp_path: Path) -> None:
    catalog.export(tmp_path / "site")
    catalog.export(tmp_path / "site", Points(n=100))
    assert keys(opened(tmp_path / "site")) == [str(Points(n=100).key)]
    assert sorted(_all_files(tmp_path / "site")) == sorted(
        [
            ".nojekyll",
            ".persistable/manifest.json",
            ".persistable/store.json",
            f"{Points(n=100).key}.record.json",
            catalog[Points(n=100).key].files[0].path,
            "ro-crate-metadata.json",
        ]
    )


def test_a_foreign_folder_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    Points(tmp_path / "store", n=1).generate()
    for folder in ("mine", "store", "data"):
        before = _all_files(tmp_path / folder)
        with pytest.raises(StoreError, match=r"no export has put there|itself"):
            catalog.export(tmp_path / folder)
        assert _all_files(tmp_path / folder) == before


@pytest.mark.parametrize("where", ["paper.zip", "site"])
def test_below_a_store_of_ones_own(catalog: Catalog, where: str, tmp_path: Path) -> None:
    catalog.export(tmp_path / where, Points(n=100))
    with serving(tmp_path, Ranged) as url:
        store = open_store([str(tmp_path / "mine"), f"{url}/{where}"])
        assert [layer.readonly for layer in store.layers] == [False, True]  # type: ignore[attr-defined]
        assert FINAL.bind(store).load_generate().payload == "sum # 1: 2475.0"
        assert FINAL.bind(open_store(tmp_path / "mine")).exists()
        assert keys(opened(store)) == sorted([str(FINAL.key), str(Points(n=100).key)])


@pytest.mark.parametrize("source", ["sqlite", "layers", "memory"])
@pytest.mark.parametrize("target", ["sqlite", "layers"])
def test_of_and_into_every_kind_of_store(source: str, target: str, tmp_path: Path) -> None:
    def store(kind: str, name: str) -> Any:
        folder = tmp_path / name
        folder.mkdir()
        layers = [f"memory://{folder}", str(folder / "slow")]
        return open_store({"sqlite": f"sqlite:///{folder}/a.db", "memory": f"memory://{folder}", "layers": layers}[kind])

    theirs, mine = store(source, "theirs"), store(target, "mine")
    run(FINAL, pieces.step(3), store=theirs)
    opened(theirs).export(tmp_path / "a.zip")
    assert len(opened(mine).import_(tmp_path / "a.zip").imported) == 3
    assert FINAL.bind(mine).load().payload == "sum # 1: 2475.0"
    assert len(opened(mine).import_(theirs).kept) == 3


class Sums(Workflow):
    raw = seed(str)
    report = report.step(Points(n=3), title=raw)


class Files(Workspace[Sums]):
    raw = stored("raw/{workflow_id}.txt")
    report = stored("reports/{workflow_id}.txt")


def test_payloads_at_readable_paths(tmp_path: Path) -> None:
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "one.txt").write_text("First")
    Files(tmp_path / "data").run()
    catalog = opened(tmp_path / "data")
    done = catalog.export(tmp_path / "a.zip")
    assert done.records == 1 and done.missing == []
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.read("reports/one.txt") == b"First: 3.0"
    paper, other = opened(tmp_path / "a.zip"), opened(tmp_path / "other")
    assert {entry.at for entry in paper} == {"reports/one.txt"}
    assert len(other.import_(tmp_path / "a.zip").imported) == 1
    assert (tmp_path / "other" / "reports" / "one.txt").read_text() == "First: 3.0"
    assert len(other.import_(tmp_path / "a.zip").kept) == 1
    (tmp_path / "third" / "reports").mkdir(parents=True)
    (tmp_path / "third" / "reports" / "one.txt").write_text("mine")
    third = opened(tmp_path / "third")
    done_there = third.import_(tmp_path / "a.zip")
    assert (len(done_there.imported), len(done_there.conflicts)) == (0, 1)
    assert (tmp_path / "third" / "reports" / "one.txt").read_text() == "mine"
    assert len(third.import_(tmp_path / "a.zip", replace=True).imported) == 1
    assert (tmp_path / "third" / "reports" / "one.txt").read_text() == "First: 3.0"
    done_view = other.view(tmp_path / "view", by="{name}")
    assert "report.txt" in done_view.links


# buckets


def test_to_and_from_a_bucket(catalog: Catalog, s3_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = s3_bucket.options
    monkeypatch.setenv("AWS_ENDPOINT_URL", options["endpoint_url"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", options["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", options["secret"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    big = Points(tmp_path / "data", n=5_000_000).generate()
    catalog.export(f"{s3_bucket.url}/paper.zip")
    catalog.export(f"{s3_bucket.url}/site/", FINAL)
    assert keys(opened(f"{s3_bucket.url}/paper.zip")) == keys(catalog)
    from upath import UPath

    bucket = UPath(s3_bucket.url, **options)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")  # a UPath has its own
    catalog.export(bucket / "again.zip", FINAL)
    catalog.export(open_store(s3_bucket.url + "/store", **options), FINAL)
    for where in (open_store(bucket / "again.zip"), open_store(bucket / "store")):
        assert FINAL.bind(where).load().payload == "sum # 1: 2475.0"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", options["key"])
    assert keys(opened(f"{s3_bucket.url}/site")) == sorted([str(FINAL.key), str(Points(n=100).key)])
    other = opened(tmp_path / "other")
    assert len(other.import_(f"{s3_bucket.url}/paper.zip").imported) == 6
    np.testing.assert_array_equal(Points(tmp_path / "other", n=5_000_000).load().payload, big.payload)


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Two payloads of 150 MB go to an archive and come back within some megabytes."""
    done = subprocess.run(
        [sys.executable, "-c", _BOUNDED, str(tmp_path)], capture_output=True, text=True, timeout=250,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path)
    assert json.loads(done.stdout) < 110e6


_BOUNDED = """
import json, resource, sys
import numpy as np
from persistable import Catalog, step
from persistable.fileio import BytesFileIO

@step(io=BytesFileIO())
def blob(n: int) -> bytes:
    return b""

folder = sys.argv[1]
from blake3 import blake3
from persistable.records.record import Record
piece = bytes(1 << 20)
for n in (1, 2):
    node = blob.step(n=n, ).bind(folder + "/data")
    node.generate()
    record = node.record
    (file,) = record.files
    hasher = blake3()
    with open(f"{folder}/data/{file.path}", "wb") as out:
        for _ in range(150):
            out.write(piece)
            hasher.update(piece)
    revised = record.revise({"files": [["", file.path, 150 << 20, hasher.hexdigest()]]}, {})
    open(f"{folder}/data/{node.key}.record.json", "wb").write(revised.data)
catalog = Catalog(folder + "/data", index=None)
other = Catalog(folder + "/other", index=None)
len(catalog), len(other)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
catalog.export(folder + "/a.zip")
done = other.import_(folder + "/a.zip")
assert len(done.imported) == 2
print(json.dumps((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024))
"""


# RO-Crate


@pytest.fixture(scope="session")
def validator() -> Path:
    """A Python with the validator of RO-Crates."""
    try:
        return installed()
    except subprocess.CalledProcessError as error:
        absent(f"the validator of RO-Crates cannot be had: {error.stderr}")


@pytest.mark.parametrize("what", ["everything", "nothing", "records", "site"])
def test_the_description_validates(catalog: Catalog, validator: Path, what: str, tmp_path: Path) -> None:
    if what == "nothing":
        opened(tmp_path / "none").export(tmp_path / "a.zip", license=LICENSE, author="A. Author")
    elif what == "site":
        catalog.export(tmp_path / "a", license=LICENSE, author="A. Author")
    else:
        catalog.export(tmp_path / "a.zip", payloads="all" if what == "everything" else "none", license=LICENSE, author="A. Author")
    target = tmp_path / ("a" if what == "site" else "a.zip")
    runner, context = Path(__file__).with_name("validate_crate.py"), Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld"
    done = subprocess.run([validator, runner, target, context], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["checks"] > 50
    # of persons and publishers it has what it was told, a name
    assert [issue for issue in found["issues"] if not re.search("publisher|author|Person|ORCID", issue)] == []


def test_the_description_is_read_by_others(catalog: Catalog, tmp_path: Path) -> None:
    catalog.export(tmp_path / "a.zip", name="Sums", description="Of points.", license=LICENSE)
    crate = ROCrate(tmp_path / "a.zip")
    assert (crate.name, crate.description) == ("Sums", "Of points.")
    files = {entity.id: entity for entity in crate.data_entities}
    (fact,) = catalog[Points(n=100).key].files
    assert files[fact.path]["contentSize"] == str(fact.size)
    assert files[fact.path]["name"] == "points(n=100)"
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert set(files) == set(archive.namelist()) - {"ro-crate-metadata.json", ".persistable/manifest.json"}
    action = crate.dereference(f"#{report.step(Points(n=3)).key}")
    assert action["object"]["name"] == "points(n=3)"
    assert "report" in action["instrument"]["name"]


def test_times_are_those_of_the_results(catalog: Catalog, tmp_path: Path) -> None:
    catalog.export(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        records = [Record.parse(archive.read(name)) for name in archive.namelist() if name.endswith(".record.json")]
        graph = json.loads(archive.read("ro-crate-metadata.json"))["@graph"]
    root = next(entity for entity in graph if entity["@id"] == "./")
    from datetime import datetime

    newest = max(record.started + record.seconds for record in records)
    assert abs(datetime.fromisoformat(root["datePublished"]).timestamp() - newest) < 1


# whose code is not there


_GONE = """
import sys
import numpy as np
from persistable import Catalog, run, step
from persistable.fileio import NumpyFileIO

@step(io=NumpyFileIO())
def numbers(n: int) -> np.ndarray:
    return np.arange(n)

@step
def pickled(numbers: np.ndarray) -> set:
    return set(numbers.tolist())

run(pickled.step(numbers.step(n=4)), store="data")
Catalog("data", index=None).export("paper.zip")
"""


def test_payloads_of_classes_that_are_not_there(tmp_path: Path) -> None:
    """Formats that hold data are read; a pickle, which could run anything, is not."""
    (tmp_path / "gone_study.py").write_text(_GONE)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", "import gone_study"], cwd=tmp_path, env=environment, check=True, timeout=120)
    paper = opened(tmp_path / "paper.zip")
    np.testing.assert_array_equal(paper.find("numbers")[0].payload, np.arange(4))
    with pytest.raises(PayloadUntrusted, match="trust="):
        paper.find("pickled")[0].payload
    assert len(opened(tmp_path / "other").import_(tmp_path / "paper.zip").imported) == 2, "to copy it runs nothing"
