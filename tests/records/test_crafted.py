"""Records that somebody made up: each is corrupt, the rest of the store is served, and nothing but files of that key is removed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from persistable import Record, run, step
from persistable.errors import PayloadCorrupted
from persistable.fileio import JsonFileIO
from persistable.records import items_in_progress
from persistable.records.listing import entries
from persistable.records.record import sealed
from persistable.stores import open_store

DEEP = "[" * 100_000 + "]" * 100_000


@step(io=JsonFileIO())
def number(n: int) -> int:
    return n


def lines(record: Record) -> list[str]:
    return record.unsealed().decode().split("\n")


def head_with(**members: Any) -> Any:
    def change(record: Record) -> bytes:
        first, *rest = lines(record)
        head = json.loads(first.rstrip(",") + "}")
        head.update(members)
        return "\n".join([json.dumps({k: v for k, v in head.items() if v != "gone"})[:-1] + ",", *rest]).encode()

    return change


def member(text: str) -> Any:
    return lambda record: record.unsealed() + f",\n{text}".encode()


def without(name: str) -> Any:
    def change(record: Record) -> bytes:
        first, *rest = lines(record)
        more = {key: value for key, value in json.loads("{" + "\n".join(rest) + "}").items() if key != name}
        return f"{first}\n{json.dumps(more)[1:-1]}".encode()

    return change


CRAFTED = {
    "empty": lambda record: b"",
    "no line": lambda record: b'{"record":1',
    "a list": lambda record: b"[1,2],\n1",
    "no json": lambda record: b"{{{{,\n}",
    "not UTF-8": lambda record: record.unsealed().replace(b'"made":"generated"', b'"made":"\xff\xfe"'),
    "head not UTF-8": lambda record: record.unsealed().replace(b'"record":1', b'"record":"\xff\xfe"'),
    "deep head": lambda record: record.unsealed().replace(b'"record":1', b'"record":' + DEEP.encode()),
    "deep params": member(f'"params":{DEEP}'),
    "params as deep as JSON reads": member('"params":' + '{"a":' * 900 + "1" + "}" * 900),
    "huge int": member(f'"attempts":{"9" * 5000}'),
    "huge int in head": lambda record: record.unsealed().replace(b'"record":1', b'"record":' + b"9" * 5000),
    "many attempts": member('"attempts":99999999999999999999999'),
    "infinite": member('"started":1e999'),
    "not a number": member('"seconds":NaN'),
    "after all dates": member('"started":1e18'),
    "before all": member('"started":-1e18'),
    "started as text": member('"started":"now"'),
    "params as list": member('"params":[1]'),
    "upstream as text": member('"upstream":"x"'),
    "upstream of numbers": member('"upstream":{"a":1}'),
    "upstream of no key": member('"upstream":{"a":"../../x"}'),
    "lineage of text": member('"lineage":{"a":"b"}'),
    "versions of numbers": member('"versions":{"a":1}'),
    "host": member('"host":[1]'),
    "no host": without("host"),
    "no params": without("params"),
    "no version": without("version"),
    "files as text": head_with(files="x"),
    "files of texts": head_with(files=["abcd"]),
    "size as text": head_with(files=[["", "number/x", "8", "d"]]),
    "negative size": head_with(files=[["", "number/x", -8, "d"]]),
    "path as number": head_with(files=[["", 3, 8, "d"]]),
    "io as list": head_with(io=[]),
    "token": head_with(token=1),
    "class": head_with(**{"class": None}),
    "code": head_with(code={"quick": 1, "python": 2}),
    "code as text": head_with(code="x"),
    "items": head_with(items=["a"]),
    "key as number": head_with(key=3),
    "no key": head_with(key="gone"),
    "no files": head_with(files="gone"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_record_is_corrupt_and_the_rest_is_served(name: str, tmp_path: Path) -> None:
    store = open_store(tmp_path / "data")
    nodes = [number.step(n).bind(store).generate() for n in range(3)]
    path = nodes[0].key.path + ".record.json"
    before = nodes[0].record
    assert before is not None
    store.put(path, sealed(CRAFTED[name](before)))
    found = {entry.key: entry.record for entry in entries(store)}
    assert found.keys() == {node.key for node in nodes}
    assert found[nodes[0].key] is None
    assert all(found[node.key] for node in nodes[1:])
    assert "n" in number.step(7).bind(store).explain()
    with pytest.raises(PayloadCorrupted):
        Record.parse(store.get(path)).checked()
    healed = number.step(0).bind(store).generate()
    assert healed.payload == 0
    assert healed.record is not None


def test_ls_shows_the_rest(tmp_path: Path) -> None:
    pytest.importorskip("cyclopts")
    store = open_store(tmp_path / "data")
    nodes = [number.step(n).bind(store).generate() for n in range(len(CRAFTED) + 1)]
    for change, node in zip(CRAFTED.values(), nodes[1:], strict=True):
        assert node.record is not None
        store.put(node.key.path + ".record.json", sealed(change(node.record)))
    done = subprocess.run(
        [sys.executable, "-m", "persistable", "ls", "--store", str(tmp_path / "data"), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(nodes[0].key) in done.stdout


@pytest.mark.parametrize("url", ["data", "sqlite:///s.db", "memory://crafted"])
def test_delete_removes_only_files_of_that_key(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store(url)
    victim, evil = number.step(1).bind(store).generate(), number.step(2).bind(store).generate()
    made, crafted = victim.record, evil.record
    assert made is not None and crafted is not None
    others = [made.files[0].path, victim.key.path + ".record.json", "number/precious.txt", "other/precious.txt"]
    for path in others[2:]:
        store.put(path, b"x")
    files = [["", path, 1, "d"] for path in others]
    for items in (None, [victim.key.name, 1, 1, "d"], ["other", 1, 1, "d"], [victim.key.path, 1, 1, "d"]):
        head = {"files": files, **({} if items is None else {"items": items})}
        store.put(evil.key.path + ".record.json", crafted.revise(head, {}).to_bytes())
        assert number.step(2).bind(store).delete()
        assert all(store.exists(path) for path in others)
        store.put(evil.key.path + ".record.json", crafted.revise(head, {}).to_bytes())
        number.step(2).bind(store).generate()  # replaces what that record names
        assert all(store.exists(path) for path in others)
    assert number.step(1).bind(store).load().payload == 1


@step
def numbered(n: int) -> Iterator[tuple[int, int]]:
    yield from enumerate(range(n))


@pytest.mark.parametrize("folder", ["number", "number/..", ""])
def test_a_note_of_items_that_names_files_of_another_removes_none(tmp_path: Path, folder: str) -> None:
    store = open_store(tmp_path)
    run(number.step(1), store=store)
    node, code = numbered.step(2).bind(store), SimpleNamespace(python="3.11", quick="q", parts={})
    begun = items_in_progress.begin(store, node.key, "01234567", code)._replace(folder=folder)
    store.put(f"{begun.base}/begun.json", begun.to_bytes())
    node.delete()
    assert dict(node.load_generate().payload) == {0: 0, 1: 1}
    assert number.step(1).bind(store).load().payload == 1
