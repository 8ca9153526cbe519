"""A record is data, not a program: what a planted one cannot make a load do."""

from __future__ import annotations

import json
import pickle
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

from persistable import Persistable, Record, Status, accept_code, plan, run, step
from persistable.errors import MalformedFile, PayloadCorrupted, PayloadUntrusted
from persistable.fileio import (
    BundleFileIO,
    BytesFileIO,
    CompressedFileIO,
    CsvFileIO,
    FileIO,
    FolderFileIO,
    JsonFileIO,
    NumpyFileIO,
    PickleFileIO,
    TextFileIO,
    ZarrFileIO,
)
from persistable.stores import open_store

RAN: list[str] = []


def ran(*words: Any, **more: Any) -> Any:
    RAN.append("ran")
    return BytesFileIO()


class Evil(FileIO[Any]):
    suffix = ".evil"

    def __init__(self, word: str = "") -> None:
        RAN.append("made")
        self.word = word

    def dump(self, payload: Any, file: Any) -> None:
        file.write(b"")

    def load(self, file: Any) -> Any:
        RAN.append("loaded")


class Bomb:
    def __reduce__(self) -> Any:
        return ran, ()


def node(io: Any, payload: Any = None, name: str = "thing") -> Any:
    return step(io=io, name=name)(lambda: payload).step()


def plant(asked: Any, url: Any, spec: Any, data: bytes, **head: Any) -> None:
    """Put a record and payload there that name `spec`, as whoever can write to the store could."""
    store = open_store(url)
    asked.bind(store).generate()
    record = store.get(asked.key.path + ".record.json")
    found = Record.parse(record)
    path = f"{asked.key.path}.planted.bin"
    store.put(path, data)
    files = [["", path, len(data), blake3(data).hexdigest()]]
    store.put(asked.key.path + ".record.json", found.revise({"io": spec, "files": files, **head}, {}).to_bytes())


HERE = __name__
PICKLED = PickleFileIO().dumps(Bomb())
PLANTED: list[tuple[Any, bytes]] = [
    ({"io": "PickleFileIO", "options": {}}, PICKLED),
    ({"io": "CompressedFileIO", "options": {"inner": {"io": "PickleFileIO", "options": {}}, "codec": "gzip"}}, b""),
    ({"io": "BundleFileIO", "options": {"parts": {"a": {"io": "PickleFileIO", "options": {}}}}}, PICKLED),
    ({"io": f"{HERE}:Evil", "options": {}}, b""),
    ({"io": f"{HERE}:ran", "options": {"word": "x"}}, b""),
    ({"io": "os:system", "options": {"command": "true"}}, b""),
    ({"io": "persistable.fileio.pickle:PickleFileIO", "options": {}}, PICKLED),
    ({"io": "BundleFileIO", "options": {"parts": {"a": {"io": f"{HERE}:ran", "options": {}}}}}, b""),
    ({"io": "JsonFileIO", "options": {"indent": {"io": f"{HERE}:ran", "options": {}}}}, b""),
    ({"io": "NewerFileIO", "options": {}}, b""),
]


@pytest.fixture(autouse=True)
def _nothing_ran() -> Any:
    RAN.clear()
    yield
    assert not RAN


@pytest.mark.parametrize(("spec", "data"), PLANTED, ids=lambda value: str(value)[:70] if isinstance(value, dict) else "")
@pytest.mark.parametrize("url", ["data", "sqlite:///s.db", "memory://trust"])
def test_a_record_cannot_choose_a_format_that_runs_code(
    spec: Any, data: bytes, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = node(TextFileIO(), "text", "of_text")
    plant(asked, url, spec, data)
    there = asked.bind(url)
    with pytest.raises(PayloadUntrusted, match="payload_io") as raised:
        there.load()
    assert raised.value.key == asked.key
    for ask in (lambda: there.bind(url).payload, lambda: there.part(slice(0, 1)), lambda: there.load(verify=False)):
        with pytest.raises(PayloadUntrusted):
            ask()
    below = step(io=JsonFileIO(), name="below")(lambda text: text.upper()).step(there)
    (failure,) = run(below, store=url, errors="return").failures
    assert "PayloadUntrusted" in str(failure)
    assert there.generate().payload == "text"  # heals it
    assert there.load().payload == "text"


@pytest.mark.parametrize(
    "spec",
    [None, [], "TextFileIO", {}, {"io": 1}, {"io": "TextFileIO", "options": []}, {"io": "CsvFileIO", "options": {"index": 1, "no": 2}},
     {"io": "TextFileIO", "options": {"encoding": "no such"}},
     {"io": "BundleFileIO", "options": {"parts": {"../x": {"io": "TextFileIO", "options": {}}}}},
     {"io": "BundleFileIO", "options": {"parts": 3}}],
)  # fmt: skip
def test_a_format_that_means_nothing_is_corrupt_and_heals(spec: Any, tmp_path: Path) -> None:
    asked = node(JsonFileIO(), [1], "of_json")
    plant(asked, tmp_path, spec, b"[1]")
    there = asked.bind(tmp_path)
    with pytest.raises(PayloadCorrupted):
        there.load()
    with pytest.warns(UserWarning, match="again"):
        assert there.bind(tmp_path).payload == [1]


def test_safe_formats_are_read_whatever_is_declared(tmp_path: Path) -> None:
    asked = node(JsonFileIO(), [1], "of_json")
    plant(asked, tmp_path, {"io": "TextFileIO", "options": {}}, b"words")
    assert asked.bind(tmp_path).payload == "words"


def test_what_is_declared_is_read_also_inside_others(tmp_path: Path) -> None:
    for number, (io, payload) in enumerate(
        [
            (None, {1, 2}),
            (CompressedFileIO(PickleFileIO(), "gzip"), {1, 2}),
            (BundleFileIO({"a": PickleFileIO(), "b": JsonFileIO()}), {"a": {1}, "b": [1]}),
        ]
    ):
        asked = node(io, payload, f"declared_{number}").bind(tmp_path)
        assert asked.payload == payload == asked.bind(tmp_path).load().payload
    # another option, or fewer wrappers, are still the declared format
    plant(
        node(CompressedFileIO(PickleFileIO(), "gzip"), 1, "unwrapped"),
        tmp_path,
        {"io": "PickleFileIO", "options": {}},
        PickleFileIO().dumps(7),
    )
    assert node(CompressedFileIO(PickleFileIO(), "gzip"), 1, "unwrapped").bind(tmp_path).payload == 7


def test_a_way_out_that_works(tmp_path: Path) -> None:
    class Made(Persistable[Any, None]):
        io = JsonFileIO()

        def _generate_payload(self, **_: Any) -> Any:
            return [1]

    asked = Made(tmp_path)
    plant(asked, tmp_path, {"io": "PickleFileIO", "options": {}}, PickleFileIO().dumps([7]))
    with pytest.raises(PayloadUntrusted):
        Made(tmp_path).load()
    assert Made(tmp_path, payload_io=PickleFileIO()).load().payload == [7]


def test_auto_counts_as_what_it_chooses(tmp_path: Path) -> None:
    class Made(Persistable[set[int], None]):
        io = "auto"

        def _generate_payload(self, **_: Any) -> Any:
            return {1}

    assert Made(tmp_path).payload == {1}
    assert Made(tmp_path).load().payload == {1}


def test_a_format_of_a_users_own_may_move_to_another_module(tmp_path: Path) -> None:
    class Lines(TextFileIO):
        pass

    asked = node(Lines(), "a", "lines")
    plant(asked, tmp_path, {"io": "elsewhere:" + Lines.__qualname__, "options": {}}, b"b")
    assert asked.bind(tmp_path).payload == "b"


@pytest.mark.parametrize("name", ["../../outside", "/outside", "a/../../../outside", "..", "", "a//b", "a\\..\\b", "a/./b", "\0", "a/"])
@pytest.mark.parametrize(
    ("io", "payload"), [(FolderFileIO(), None), (ZarrFileIO(), np.arange(3)), (BundleFileIO({"a": TextFileIO()}), {"a": "x"})]
)
@pytest.mark.parametrize("url", ["data", "memory://names"])
def test_names_of_parts_stay_inside(name: str, io: Any, payload: Any, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a.txt").write_text("x")
    asked = node(io, tmp_path / "tree" if payload is None else payload, f"parts_{type(io).__name__.lower()}")
    store = open_store(url)
    asked.bind(store).generate()
    path = asked.key.path + ".record.json"
    record = Record.parse(store.get(path))
    files = [[name, *fact[1:]] for fact in record.files[:1]] + [list(fact) for fact in record.files[1:]]
    store.put(path, record.revise({"files": files}, {}).to_bytes())
    with pytest.raises(PayloadCorrupted):
        asked.bind(store).load()
    assert not list(tmp_path.rglob("outside*"))


def test_a_payload_is_no_other_folder_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a.txt").write_text("x")
    asked = node(FolderFileIO(), tmp_path / "tree", "folder_of_all")
    store = open_store(tmp_path / "data")
    asked.bind(store).generate()
    path = asked.key.path + ".record.json"
    record = Record.parse(store.get(path))
    (fact,) = record.files
    deep = f"{fact.part}"
    for part in (f"x/y/z/{deep}", f"{fact.path}"):
        store.put(path, record.revise({"files": [[part, *fact[1:]]]}, {}).to_bytes())
        if part == fact.path:
            continue
        with pytest.raises(PayloadCorrupted):
            asked.bind(store).load()


def test_members_of_a_zip_stay_inside(tmp_path: Path) -> None:
    for name, mode in (("../outside.txt", 0o644), ("/outside.txt", 0o644), ("link", 0o120777)):
        file = BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, "x")
        with pytest.raises(MalformedFile):
            FolderFileIO().loads(file.getvalue())
    assert not list(tmp_path.parent.glob("outside*"))


def test_a_folder_with_a_symlink_is_no_payload(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a.txt").write_text("x")
    (tmp_path / "tree/passwd").symlink_to("/etc/passwd")
    with pytest.raises(MalformedFile, match="symlink"):
        FolderFileIO().load(tmp_path / "tree")
    with pytest.raises(MalformedFile, match="symlink"):
        BundleFileIO({"passwd": TextFileIO()}).load(tmp_path / "tree")


def test_no_safe_format_unpickles(tmp_path: Path) -> None:
    """The pickle itself as a file of each safe format."""
    from persistable import fileio
    from persistable.fileio.trust import SAFE

    objects = BytesIO()
    np.save(objects, np.array([Bomb()], dtype=object), allow_pickle=True)
    yaml = b"!!python/object/apply:os.system ['true']"
    made = {
        "BundleFileIO": {"parts": {"a": TextFileIO()}}, "CompressedFileIO": {"inner": TextFileIO()}, "ScalarFileIO": {"kind": "int"},
    }  # fmt: skip
    for name in sorted(SAFE - {"BytesFileIO", "TextFileIO", "CsvFileIO"}):
        io = getattr(fileio, name)(**made.get(name, {}))
        for data in (PICKLED, pickle.dumps(Bomb()), objects.getvalue(), yaml):
            with pytest.raises(MalformedFile):
                io.loads(data)
    assert json.loads(json.dumps(CsvFileIO().spec())) and NumpyFileIO().spec()["io"] in SAFE


@step(io=TextFileIO())
def worded(n: int) -> str:
    return "text"


@step(io=JsonFileIO())
def shouted(text: str) -> str:
    return text.upper()


@pytest.mark.parametrize(("spec", "data"), PLANTED[:2] + PLANTED[3:5], ids=lambda value: str(value)[:70] if isinstance(value, dict) else "")
@pytest.mark.parametrize("url", ["data", "sqlite:///s.db"])
def test_everything_says_of_it_what_a_load_does(spec: Any, data: bytes, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = worded.step(1)
    plant(asked, url, spec, data)
    there = asked.bind(url)
    with pytest.raises(PayloadUntrusted) as raised:
        _ = there.payload
    said = str(raised.value)
    assert there.status is Status.FOREIGN
    assert said in there.explain()
    assert "refuse" in there.explain()
    family = worded.over(n=[1, 2])
    below = shouted.step(asked)
    run(worded.step(2), store=url)
    for target in (asked, below, family):
        assert said in str(plan(target, store=url))
        for executor in ("inline", "threads"):
            result = run(target, store=url, executor=executor, errors="return")
            assert type(result.failures[0].error) is PayloadUntrusted
            assert result.failures[0].node.key == asked.key
    assert dict(family.bind(url).status()) == {Status.FOREIGN: 1, Status.DONE: 1}
    assert [node.bind(url).status for node in family.nodes] == [Status.FOREIGN, Status.DONE]
    assert accept_code(family, reason="it is mine", store=url) == 0
    assert there.generate().status is Status.DONE
    assert run(family, store=url)[asked].payload == "text"


def test_a_format_that_means_nothing_is_corrupt_everywhere(tmp_path: Path) -> None:
    asked = worded.step(1)
    plant(asked, tmp_path, {"io": 1}, b"text")
    family = worded.over(n=[1]).bind(tmp_path)
    assert asked.bind(tmp_path).status is Status.CORRUPT
    assert dict(family.status()) == {Status.CORRUPT: 1}
    assert "means nothing" in str(plan(asked, store=tmp_path))
    assert run(family, store=tmp_path)[asked].payload == "text"
    assert asked.bind(tmp_path).status is Status.DONE
