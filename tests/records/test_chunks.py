"""What is read of a large payload in a bucket is verified, and the rest of it is not read."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persistable import Record, append, appended, step
from persistable.errors import PayloadCorrupted
from persistable.fileio import ArrowFileIO, NumpyFileIO, ParquetFileIO
from persistable.records import chunks, files
from persistable.stores import open_store

ROWS = 600_000  # of eight bytes: some chunks of a megabyte


@step(io=NumpyFileIO())
def array(n: int) -> Any:
    return np.random.default_rng(0).random(n)


@step(io=ArrowFileIO())
def arrow(n: int) -> Any:
    return pd.DataFrame({"a": np.random.default_rng(0).random(n), "b": np.arange(n)})


@step(io=ParquetFileIO())
def parquet(n: int) -> Any:
    return pd.DataFrame({"a": np.random.default_rng(0).random(n), "b": np.random.default_rng(1).random(n)})


@step(io=NumpyFileIO())
def blocks(n: int) -> Any:
    for first in range(appended(), n, 100_000):
        append(np.random.default_rng(first).random(100_000))
    return appended()


MADE = [array, arrow, parquet, blocks]


@pytest.fixture
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "WHOLE", 1 << 21)


def stored(function: Any, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///s.db" if where == "sqlite" else f"memory://{tmp_path.name}")
    return function.step(ROWS).bind(store).generate()


def values(part: Any) -> Any:
    return part["a"].to_numpy() if isinstance(part, pd.DataFrame) else part


def flip(node: Any, at: float) -> None:
    """Change a byte of its file, at that share of it."""
    (file,) = node.record.files
    data = bytearray(node.store.get(file.path))
    data[int(len(data) * at)] ^= 1
    node.store.put(file.path, bytes(data))


@pytest.mark.usefixtures("_large")
@pytest.mark.parametrize("function", MADE)
@pytest.mark.parametrize("where", ["memory", "sqlite"])
def test_what_is_read_is_compared_and_no_more(function: Any, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = stored(function, where, tmp_path, monkeypatch)
    assert node.record.size > files.WHOLE
    whole = values(node.payload)
    node.reset_payload()

    def fetched(*_: Any) -> None:
        raise AssertionError("all of it was read")

    monkeypatch.setattr(files, "fetch", fetched)
    assert np.array_equal(values(node.part(slice(10, 20))), whole[10:20])
    assert np.array_equal(values(node.part(slice(ROWS - 20, ROWS))), whole[-20:])
    if function in (array, blocks):
        flip(node, 0.5)
        assert np.array_equal(node.part(slice(10, 20)), whole[10:20])  # it is not in what is read
        with pytest.raises(PayloadCorrupted, match="digest of its bytes from"):
            node.part(slice(ROWS // 2 - 50_000, ROWS // 2 + 50_000))
        with pytest.raises(PayloadCorrupted):
            node.part()


@pytest.mark.usefixtures("_large")
@pytest.mark.parametrize("function", MADE)
@pytest.mark.parametrize("at", [0.001, 0.3, 0.9999])
def test_no_flipped_byte_is_served(function: Any, at: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = stored(function, "memory", tmp_path, monkeypatch)
    flip(node, at)
    with pytest.raises(PayloadCorrupted):
        node.part()


@pytest.mark.usefixtures("_large")
@pytest.mark.parametrize("function", MADE)
@pytest.mark.parametrize("told", [None, "x", {"size": 3, "digests": []}, {"size": 1 << 20, "digests": ["x"]}, {"size": 1 << 20}])
def test_without_digests_of_chunks_it_is_compared_once_as_a_whole(
    function: Any, told: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = stored(function, "memory", tmp_path, monkeypatch)
    whole = values(node.payload)
    record = node.record
    node.store.put(record.key.path + ".record.json", record.revise({}, {"chunks": told}).to_bytes())
    calls: list[int] = []
    fetch = files.fetch

    def counted(*given: Any) -> None:
        calls.append(1)
        fetch(*given)

    monkeypatch.setattr(files, "fetch", counted)
    for _ in range(2):
        assert np.array_equal(values(node.part(slice(10, 20))), whole[10:20])
    assert len(calls) == 1
    again = function.step(ROWS + 100_000).bind(node.store).generate()
    again.store.put(again.key.path + ".record.json", again.record.revise({}, {"chunks": told}).to_bytes())
    flip(again, 0.9)
    with pytest.raises(PayloadCorrupted):
        again.part(slice(10, 20))


def test_small_payloads_and_files_of_this_machine_have_none(tmp_path: Path) -> None:
    for store in ("memory://small", tmp_path):
        record = array.step(300_000).bind(store).generate().record
        assert record is not None
        assert "chunks" not in record.to_dict()


@pytest.mark.parametrize("most", [1, 3, 2048])
@pytest.mark.parametrize("size", [0, 1, 5, 64, 65, 1000])
def test_digests_are_those_of_what_is_read(most: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "LEAF", 8)
    monkeypatch.setattr(chunks, "MOST", most)
    data = np.random.default_rng(size).bytes(size)
    chunker = chunks.Chunker()
    for at in range(0, size, 13):
        chunker.update(memoryview(data)[at : at + 13])
    found = chunks.Chunks.from_json(chunker.chunks().to_json())
    assert found is not None
    assert len(found.digests) <= most
    assert found.are_of(size)

    def damaged(at: int, expected: str, seen: str) -> Exception:
        return ValueError(at)

    file = chunks.checked(BytesIO(data), found, size, damaged)
    assert file.read() == data
    for at in range(0, size, 7):
        file.seek(at)
        assert file.read(9) == data[at : at + 9]
    for at in range(0, size, 11):
        spoilt = bytearray(data)
        spoilt[at] ^= 4
        with pytest.raises(ValueError, match=str(at // found.size * found.size)):
            chunks.checked(BytesIO(spoilt), found, size, damaged).read()


def test_a_record_with_digests_is_read_as_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "WHOLE", 1 << 21)
    node = stored(array, "memory", tmp_path, monkeypatch)
    told = Record.parse(node.store.get(node.key.path + ".record.json")).to_dict()["chunks"]
    assert told["size"] == 1 << 20
    assert len(told["digests"]) == -(-node.record.size // (1 << 20))
