"""Keys, names in records and stores of earlier versions: what may not change by accident."""

from __future__ import annotations

import json
import pickle
import re
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import persistable
from persistable import HttpGet, Upload
from persistable.errors import StaleCodeWarning
from persistable.fileio import FileIO, fileio_from_spec
from persistable.nodes.code import class_reference
from persistable.records.listing import entries
from persistable.stores import open_store

GOLDEN = Path(__file__).parents[1] / "golden"
STORES = sorted(path.stem for path in GOLDEN.glob("*.zip"))
sys.path.insert(0, str(GOLDEN))

MOVED = {
    "workspace.scaled": "a scalar seed is read by ScalarFileIO, which was named by its module",
    "workspace.top": "it follows from workspace.scaled",
}
"""Keys that are not those of commit 78461ab, and why."""


@pytest.fixture
def golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    import golden_nodes

    return golden_nodes


@pytest.fixture(params=STORES)
def unpacked(request: pytest.FixtureRequest, golden: Any, tmp_path: Path) -> Any:
    with zipfile.ZipFile(GOLDEN / f"{request.param}.zip") as archive:
        archive.extractall(tmp_path)
    return golden


def test_keys_are_those_of_any_version(golden: Any) -> None:
    versions = json.loads((GOLDEN / "keys.json").read_text())
    first, now = versions["78461ab"], {name: str(node.key) for name, node in golden.keyed_nodes().items()}
    assert now == {name: key for keys in versions.values() for name, key in keys.items()}
    assert {name for name, key in now.items() if first.get(name) != key} == MOVED.keys()


def same(a: Any, b: Any) -> bool:
    if isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b)
        return True
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, (dict, list)):
        pairs = zip(a.values() if isinstance(a, dict) else a, b.values() if isinstance(b, dict) else b, strict=True)
        return len(a) == len(b) and all(same(left, right) for left, right in pairs)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("url", ["folder", "sqlite:///items.db"])
def test_a_store_of_an_earlier_version_is_read(unpacked: Any, url: str) -> None:
    nodes = unpacked.stored_nodes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StaleCodeWarning)  # what the code is like is a matter of other tests
        for name, node in nodes.items():
            payload = node.bind(url).load().payload
            if name == "figure":
                assert payload.data.startswith(b"<?xml")
            elif name == "folder":
                assert (payload / "inner/b.txt").read_text() == "b"
            else:
                assert same(unpacked.FORMATS[name][1], payload), name
        items = unpacked.squares.step(3).bind(url).load().payload
        assert dict(items) == {0: 0, 1: 1, 2: 4, ("a", 1): -1}
        with open_store(url):
            for member in (*unpacked.plus.over(a=[1, 2, 3]).nodes, *unpacked.plus.over(unpacked.squares.step(3).members).nodes):
                assert member.load().payload.endswith("+1")
        assert len(list(entries(open_store(url)))) >= len(nodes) + 8
        if open_store(url).exists(".persistable/store.json"):  # else from before there was one, and less was written
            put = unpacked.given.step(1 << 60).bind(url).load()
            assert (put.payload, put.record.made) == ({"put": "in"}, "put")
            assert put.record.params == {"n": {"$int": str(1 << 60)}}
            rows = unpacked.appended.step(3).bind(url).load().payload
            assert rows.to_dict("list") == {"n": [0, 10, 1, 11, 2, 12], "who": ["a", "b"] * 3}
            assert list(unpacked.appended.step(3).bind(url).part(rows=slice(2, 4))["n"]) == [1, 11]
            assert unpacked.fails.step(1).bind(url).status.name == "FAILED"
    failing = unpacked.fails.step(1).bind("folder")
    assert failing.status.name == "FAILED"


def test_a_workspace_of_an_earlier_version_is_read(unpacked: Any) -> None:
    one = unpacked.Files("workspace")["1"]
    assert (one.top, one.loud) == (3, "HEY\n True 1")
    assert one.scaled.to_dict("list") == {"a": [3], "b": [6]}


OURS = re.compile(r'"(persistable\.[^"]*)"')


def test_records_name_no_module_of_ours(golden: Any, tmp_path: Path) -> None:
    nodes = golden.keyed_nodes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        golden.Files("workspace").run()
        targets = [nodes[name] for name in ("source", "source.read", "command.plain", "secret", "collected.item")]
        targets += [golden.plus.step(persistable.any_of(nodes["command.plain"])), golden.plus.step(persistable.optional(nodes["source"]))]
        persistable.run(golden.squares.step(3), store="data")
        persistable.run(*targets, store="data")
    texts = [path.read_text() for path in tmp_path.rglob("*.record.json")]
    assert len(texts) > 10
    assert {name for text in texts for name in OURS.findall(text)} == set()


def node_classes(cls: type) -> Iterator[type]:
    for below in cls.__subclasses__():
        yield below
        yield from node_classes(below)


def test_classes_in_records_are_found_where_they_are_named(golden: Any) -> None:
    named = {class_reference(type(node)) for node in golden.keyed_nodes().values()}
    assert {"persistable:Command", "persistable:HttpGet", "persistable:Upload"} <= named
    ours = [cls for cls in node_classes(persistable.Persistable) if cls.__module__ == "persistable"]
    assert {"Command", "HttpGet", "Upload", "Item", "Input", "FileSeed", "GivenSeed", "_Optional", "_AnyOf"} <= {c.__name__ for c in ours}
    for cls in [*ours, persistable.Secret]:
        assert pickle.loads(pickle.dumps(cls)) is cls
        assert getattr(persistable, cls.__qualname__) is cls


def test_roles_of_classes_named_by_the_package_are_known() -> None:
    get = HttpGet("https://example.org/x")
    assert (get >> Upload("https://example.org/y")).upstream == {"source": get}


def test_every_format_has_a_name_of_its_own() -> None:
    from persistable import fileio

    for name in fileio.__all__:
        cls = getattr(fileio, name)
        if isinstance(cls, type) and issubclass(cls, FileIO) and name not in ("FileIO", "PartsFileIO"):
            assert cls.__dict__["name"] == name
    mine = type("Mine", (fileio.CsvFileIO,), {"__module__": "mine", "__qualname__": "Mine"})
    assert mine().spec()["io"] == "mine:Mine"
    assert fileio_from_spec({"io": "persistable.workspace.scalars:ScalarFileIO", "options": {"kind": "int"}}) == fileio.ScalarFileIO("int")
    assert fileio.ScalarFileIO("int").spec()["io"] == "ScalarFileIO"
