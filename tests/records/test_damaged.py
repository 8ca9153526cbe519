"""Damaged bytes: never served, also in part, and said in words of ours."""

from __future__ import annotations

import os
import random
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persistable import Persistable, step
from persistable.errors import FormatError, PayloadCorrupted, PayloadNotRepresentable, PersistableError
from persistable.fileio import (
    ArrowFileIO,
    BundleFileIO,
    BytesFileIO,
    CompressedFileIO,
    CsvFileIO,
    FigureFileIO,
    FileIO,
    FolderFileIO,
    JsonFileIO,
    NumpyFileIO,
    ParquetFileIO,
    PickleFileIO,
    SafetensorsFileIO,
    ScalarFileIO,
    TextFileIO,
    YamlFileIO,
    ZarrFileIO,
)
from persistable.stores import open_store

FRAME = pd.DataFrame({"a": np.arange(5000), "b": np.linspace(0, 1, 5000), "c": ["x", "yy"] * 2500})
IN_PARTS: list[tuple[FileIO[Any], Any]] = [
    (NumpyFileIO(), np.arange(20_000.0).reshape(5000, 4)),
    (ArrowFileIO(), FRAME),
    (ParquetFileIO(), FRAME),
    (ParquetFileIO("none"), FRAME),
]


def made(io: FileIO[Any], payload: Any, name: str) -> Any:
    return step(io=io, name=name)(lambda: payload).step()


@pytest.mark.parametrize(("io", "payload"), IN_PARTS, ids=lambda value: repr(value) if isinstance(value, FileIO) else "")
@pytest.mark.parametrize("url", ["data", "sqlite:///s.db", "memory://damaged"])
def test_a_flipped_byte_is_never_served_in_part(
    url: str, io: FileIO[Any], payload: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    node = made(io, payload, "damaged").bind(open_store(url))
    node.generate()
    (fact,) = node.record.files
    sound = node.store.get(fact.path)
    draw = random.Random(1)
    for _ in range(12):
        damaged = bytearray(sound)
        damaged[draw.randrange(len(sound))] ^= 1 << draw.randrange(8)
        node.store.put(fact.path, bytes(damaged))
        with pytest.raises(PayloadCorrupted):
            node.part(slice(0, 4900))
    with pytest.warns(UserWarning, match="again"):
        node.load_generate()
    assert len(node.part(slice(3, 6))) == 3
    node.store.delete(node.record.files[0].path)
    with pytest.raises(PayloadCorrupted, match="missing although its record is there"):
        node.part(slice(3, 6))


def test_a_file_is_verified_once(tmp_path: Path) -> None:
    node = made(NumpyFileIO(), np.arange(1 << 20), "once").bind(tmp_path)
    node.generate()
    path = tmp_path / node.record.files[0].path
    old = path.stat().st_mtime_ns - 10**10
    os.utime(path, ns=(old, old))
    for _ in range(3):
        assert node.part(slice(5, 7)).tolist() == [5, 6]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(PayloadCorrupted):
        node.part(slice(0, 1))


def test_a_layer_with_a_sound_copy_heals_a_part(tmp_path: Path) -> None:
    store = open_store([str(tmp_path / "fast"), str(tmp_path / "slow")])
    node = made(NumpyFileIO(), np.arange(1000), "layered").bind(store)
    node.generate()
    path = tmp_path / "fast" / node.record.files[0].path
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    assert node.part(slice(990, 1000)).tolist() == list(range(990, 1000))


ALL: list[tuple[FileIO[Any], Any]] = [
    (PickleFileIO(), {"a": np.arange(40), "b": {"x": (1, 2)}, "s": {3}}),
    (PickleFileIO(compress="zstd"), {"a": np.arange(40)}),
    (NumpyFileIO(), np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])),
    (ParquetFileIO(), FRAME.head(50)),
    (ArrowFileIO(), FRAME.head(50)),
    (CsvFileIO(), FRAME.head(20)),
    (CompressedFileIO(CsvFileIO(), "gzip"), FRAME.head(20)),
    (CompressedFileIO(JsonFileIO()), {"a": [1, 2.5, None]}),
    (JsonFileIO(), {"a": [1, 2.5, None]}),
    (YamlFileIO(), {"a": [1, 2.5, None], "b": "x: y"}),
    (TextFileIO(), "é text"),
    (BytesFileIO(), b"bytes"),
    (SafetensorsFileIO(), {"w": np.arange(4, dtype="f4"), "v": np.ones((2, 2))}),
    (ZarrFileIO(), {"a": np.arange(12).reshape(3, 4), "b": {"c": np.ones(3)}}),
    (ScalarFileIO("float"), 2.5),
    (ScalarFileIO("bool"), True),
    (BundleFileIO({"t": CsvFileIO(), "j": JsonFileIO()}), {"t": FRAME.head(3), "j": [1]}),
]


@pytest.mark.parametrize(("io", "payload"), ALL, ids=lambda value: type(value).__name__ if isinstance(value, FileIO) else "")
def test_any_bytes_give_a_payload_or_an_error_of_ours(io: FileIO[Any], payload: Any) -> None:
    schema = io.schema(payload)
    io = io if schema is None else io.with_schema(schema)
    sound = io.dumps(payload)
    draw = random.Random(7)
    for number in range(120):
        damaged = bytearray(sound)
        if number % 3 == 0:
            del damaged[draw.randrange(len(damaged)) :]
        for _ in range(0 if number % 3 == 0 else 1 + number % 7):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        for read in (io.loads, lambda data: io.load(BytesIO(data)), lambda data: io.load_part(BytesIO(data), slice(0, 2), None)):
            try:
                read(bytes(damaged))
            except (PersistableError, MemoryError):
                pass


class NeedsTwo:
    """Pickled as many exceptions are: by the one text that it has made of its arguments."""

    def __init__(self, a: int, b: int) -> None:
        self.text = f"{a}, {b}"

    def __reduce__(self) -> Any:
        return NeedsTwo, (self.text,)


class Stubborn:
    def __reduce__(self) -> Any:
        raise ZeroDivisionError("no state")


class BadFormat(FileIO[Any]):
    suffix = ".bad"

    def dump(self, payload: Any, file: Any) -> None:
        if payload == "unwritable":
            raise ArithmeticError("cannot count")
        file.write(b"x")

    def load(self, file: Any) -> Any:
        raise ArithmeticError("cannot read")


@pytest.mark.parametrize(
    ("io", "payload", "kind", "cause"),
    [
        (None, NeedsTwo(1, 2), FormatError, TypeError),
        (None, Stubborn(), PayloadNotRepresentable, ZeroDivisionError),
        (BadFormat(), "unwritable", PayloadNotRepresentable, ArithmeticError),
        (BadFormat(), "unreadable", FormatError, ArithmeticError),
        (FigureFileIO(), 3, PayloadNotRepresentable, None),
        (FolderFileIO(), "no path", PayloadNotRepresentable, None),
    ],
)
def test_errors_of_libraries_are_said_by_ours(io: Any, payload: Any, kind: type[Exception], cause: Any, tmp_path: Path) -> None:
    class Library(Persistable[Any, None]):
        def _generate_payload(self, **_: Any) -> Any:
            return payload

    node = Library(tmp_path, payload_io=io)
    with pytest.raises(kind) as raised:
        node.generate()
    assert cause is None or isinstance(raised.value.__cause__, cause)
    assert str(node.key) in "\n".join([str(raised.value), *raised.value.__notes__])
    assert raised.value.format  # type: ignore[attr-defined]
