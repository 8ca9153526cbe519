"""A small file that is damaged, however, is as good as none: no key is blocked, and nothing that looks at it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from persistable import Catalog, Status, append, appended, open_store, run, step
from persistable.fileio import NumpyFileIO
from persistable.fileio.journal import Journal
from persistable.records import claim_watch, listing, owners
from persistable.records.failure import Failure
from persistable.records.items_in_progress import Unsealed, base_of
from persistable.stores import LocalStore

pytestmark = pytest.mark.filterwarnings("ignore")
GARBAGE = [
    b"", b"{", b"[]", b"{}", b"null", b"1", b'"x"', b"\xff\xfe", b"\0" * 300, b"[" * 100_000, b'{"a":' * 50_000, b"1" * 10_000,
    b'{"pid": "x"}', b'{"host": 1, "pid": true, "token": []}', b'{"attempt": "x"}', b'{"attempt": 1e400}', b"x" * 3_000_000,
    b'{"key": "../x", "token": "../..", "folder": "../../etc", "python": 1, "quick": 2, "parts": 3}',
]  # fmt: skip


@step
def items(fail: bool = False) -> Any:
    for number in range(3):
        yield number, number
        if number == 1 and os.environ.get("FAILS"):
            raise OSError("cut off")


@step
def fails() -> int:
    if os.environ.get("FAILS"):
        raise OSError("it fails")
    return 1


@step(io=NumpyFileIO())
def rows() -> Any:
    import numpy as np

    while appended() < 30:
        append(np.arange(10.0) + int(appended()))
        if os.environ.get("FAILS") and appended() >= 20:
            raise OSError("cut off")
    return appended()


def damaged(content: bytes, every: int = 1) -> Iterator[bytes]:
    """`content` with each bit flipped, cut at each place, and quite different things."""
    for bit in range(0, 8 * len(content), every):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)
    for length in range(0, len(content), 17 * every):
        yield content[:length]
    yield from GARBAGE


def dead_claim(path: str) -> bytes:
    """What a process that was killed has left."""
    code = "from persistable.records import owners; import sys; sys.stdout.buffer.write(owners.mine())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).stdout


def small_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Any, Path]]:
    """Node, and its file, of each kind."""
    monkeypatch.setenv("FAILS", "1")
    store = LocalStore(tmp_path)
    made: dict[str, tuple[Any, Path]] = {}
    for name, node, path in (
        ("failure", fails.step(), "{}.failed.json"),
        ("claim", fails.step(), "{}.claim"),
        ("beat", fails.step(), "{}.beat"),
        ("begun", items.step(), f"{base_of(items.step().key)}/begun.json"),
        ("note", items.step(), ""),
        ("journal", rows.step(), ".persistable/scratch/{}/appended/blocks"),
    ):
        bound: Any = node.bind(store)
        if name in ("claim", "beat"):
            store.put(f"{node.key.path}.{name}", dead_claim(node.key.path) if name == "claim" else b"12")
        elif not (tmp_path / path.format(node.key.path)).is_file():
            with pytest.raises(OSError, match=r"fails|cut off"):
                bound.generate()
        file = tmp_path / path.format(node.key.path)
        if name == "note":
            file = next((tmp_path / base_of(node.key)).glob("*/0.json"))
        assert file.is_file(), name
        made[name] = (bound, file)
    return made


@pytest.mark.parametrize("kind", ["failure", "claim", "beat", "begun", "note", "journal"])
def test_whatever_is_in_a_small_file_its_key_is_not_blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    node, file = small_files(tmp_path, monkeypatch)[kind]
    content = file.read_bytes()
    if kind != "claim":
        (tmp_path / f"{node.key.path}.claim").unlink(missing_ok=True)
    monkeypatch.delenv("FAILS")
    monkeypatch.setattr(claim_watch, "_GRACE", 0.01)

    def expected(payload: Any) -> bool:
        if kind == "journal":
            return bool((payload[:10] == range(10)).all() and payload.shape == (30,))
        return (sorted(payload.keys()) == [0, 1, 2]) if kind in ("begun", "note") else payload == 1

    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for number, bad in enumerate(damaged(content, {"failure": 37, "begun": 7, "claim": 7}.get(kind, 1))):
        file.write_bytes(bad)
        assert isinstance(node.status, Status)
        str(node.explain())
        if number % 101 and bad not in GARBAGE:
            continue
        again = node.bind(LocalStore(tmp_path))
        list(listing.entries(LocalStore(tmp_path)))
        list(Catalog(tmp_path, index=None).find(status="failed"))
        act = number % 3
        if act == 0:
            assert expected(again.load_generate().payload)
        elif act == 1:
            assert run(again, errors="raise")[again].payload is not None
        again.delete()
        assert again.status in (Status.ABSENT, Status.RUNNING, Status.FAILED), bad
        assert expected(again.payload)
        again.delete()
        for path, data in kept.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def test_no_flipped_bit_of_a_claim_passes_for_another_owner() -> None:
    content = owners.mine()
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        facts = owners.facts_of(bytes(flipped))
        assert not facts or {name: facts.get(name) for name in ("host", "pid", "start", "token")} == {
            name: json.loads(content)[name] for name in ("host", "pid", "start", "token")
        }


def test_no_flipped_bit_of_what_was_begun_passes(tmp_path: Path) -> None:
    begun = Unsealed("b", "x/" + "0" * 32, "12345678", "x/y.items", "3.11", "abc", {"f": "1"})
    content = begun.to_bytes()
    assert Unsealed.parse("b", content) == begun
    for bad in damaged(content):
        assert Unsealed.parse("b", bad) is None


def test_any_damage_to_a_failure_gives_a_failure(tmp_path: Path) -> None:
    from persistable.records.key import Key

    key = Key("x", "0" * 32)
    content = Failure(key, "E", "m", "t", 3, {"a": 1}, "h", 1.0, 2.0, {"n": 1}).to_bytes()
    assert Failure.parse(content, key).attempt == 3
    for bad in damaged(content):
        found = Failure.parse(bad, key)
        assert found.attempt + 1 > 1 and isinstance(found.message + found.error + found.traceback, str) and found.key == key
        assert isinstance(found.params, dict) and isinstance(found.notes, dict)


def test_any_damage_to_the_journal_of_rows_leaves_whole_blocks(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin({"descr": "'<f8'", "shape": [], "start": 128})
    for number in range(3):
        from zlib import crc32

        with journal.path.open("ab") as file:
            file.write(bytes([number]) * 80)
        journal.add(10, 128 + 80 * (number + 1), crc32(bytes([number]) * 80))
    blocks, data = (tmp_path / "blocks").read_bytes(), journal.path.read_bytes()
    for bad in damaged(blocks):
        (tmp_path / "blocks").write_bytes(bad)
        journal.path.write_bytes(data)
        found = Journal(tmp_path)
        assert found.rows in (0, 10, 20, 30) and found.end in (0, 128 + 8 * found.rows)
        assert found.facts in (None, {"descr": "'<f8'", "shape": [], "start": 128})


@pytest.mark.parametrize("kind", ["folder", "sqlite"])
@pytest.mark.parametrize("content", [b"{}", b"", b"[" * 100_000], ids=len)
def test_items_made_anew_over_a_damaged_record_stay(tmp_path: Path, kind: str, content: bytes) -> None:
    """What the new commit makes void is what was there before, and none of its own items."""
    with open_store(tmp_path / "data" if kind == "folder" else f"sqlite:///{tmp_path}/data.db") as store:
        for make in (lambda node: node.payload, lambda node: node.generate().payload, lambda node: run(node, progress=False)[node].payload):
            run(items.step(), store=store, progress=False)
            (place,) = [path for path in store.list("") if path.endswith(".record.json")]
            store.put(place, content)
            assert dict(make(items.step().bind(store))) == {0: 0, 1: 1, 2: 2}
            again = items.step().bind(store)
            assert again.status is Status.DONE and dict(again.payload) == {0: 0, 1: 1, 2: 2}
            assert len([path for path in store.list("") if ".items/" in path]) == 3  # and what was there is gone
