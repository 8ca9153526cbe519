"""Formats as a node uses them: chosen, kept in the record, and exact on first and later access."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from persistable import Persistable, Record
from persistable.fileio import (
    ArrowFileIO,
    BundleFileIO,
    CompressedFileIO,
    CsvFileIO,
    FigureFileIO,
    JsonFileIO,
    NumpyFileIO,
    ParquetFileIO,
    PickleFileIO,
    TextFileIO,
    ZarrFileIO,
)

FRAME = pd.DataFrame(
    {"n": pd.array([1, 2], dtype="int16"), "when": pd.to_datetime(["2024-01-01", "2024-06-01"]), "who": ["a", "b"]},
    index=pd.Index([10, 20], name="id"),
)


def node(io: Any, payload: Any, name: str = "thing") -> type[Persistable[Any, None]]:
    class Thing(Persistable[Any, None]):
        payload_name = name

        def _generate_payload(self, **_: Any) -> Any:
            return payload

    Thing.io = io
    return Thing


@pytest.mark.parametrize(
    "io",
    [
        PickleFileIO(),
        PickleFileIO(compress="zstd"),
        ParquetFileIO(),
        ArrowFileIO(),
        CsvFileIO(),
        CompressedFileIO(CsvFileIO()),
        CompressedFileIO(ParquetFileIO(), "gzip"),
    ],
    ids=repr,
)
def test_a_frame_is_the_same_frame_on_first_and_later_access(tmp_path: Path, io: Any) -> None:
    Frame = node(io, FRAME)  # noqa: N806 - it is a class
    first = Frame(tmp_path).generate()
    for payload in (first.payload, Frame(tmp_path).load().payload):
        pd.testing.assert_frame_equal(payload, FRAME, check_exact=True)
    record = first.record
    assert record is not None and record.files[0].path.endswith(io.suffix)


def test_the_record_knows_the_format_so_that_another_choice_later_still_loads(tmp_path: Path) -> None:
    old = node(CsvFileIO(), FRAME)
    old(tmp_path).generate()
    new = node(ParquetFileIO(), FRAME)
    pd.testing.assert_frame_equal(new(tmp_path).load().payload, FRAME)
    assert old(tmp_path).key == new(tmp_path).key


def test_auto_chooses_by_the_declared_payload_type(tmp_path: Path) -> None:
    class Table(Persistable[pd.DataFrame, None]):
        io = "auto"

        def _generate_payload(self, **_: Any) -> pd.DataFrame:
            return FRAME

    class Array(Persistable[NDArray[np.float64], None]):
        io = "auto"

        def _generate_payload(self, **_: Any) -> NDArray[np.float64]:
            return np.ones(3)

    class Words(Persistable[str, None]):
        io = "auto"

        def _generate_payload(self, **_: Any) -> str:
            return "ä\r\n"

    class Anything(Persistable[Any, None]):
        io = "auto"

        def _generate_payload(self, **_: Any) -> Any:
            return {1, 2}

    for kind, io in ((Table, ParquetFileIO), (Array, NumpyFileIO), (Words, TextFileIO), (Anything, PickleFileIO)):
        made = kind(tmp_path)
        assert type(made.payload_io) is io
        made.generate()
        record: Record | None = made.record
        assert record is not None and record.fileio["io"] == io.__name__


def test_a_wrong_io_says_what_is_meant(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="give a FileIO object"):
        node("csv", FRAME)(tmp_path).generate()


def test_a_bundle_a_figure_and_a_zarr_folder_come_back_as_what_they_say(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.add_subplot().plot([1, 2])
    parts = BundleFileIO(parts={"table": CsvFileIO(), "facts": JsonFileIO()})
    bundle = node(parts, {"facts": {"n": 2}, "table": FRAME}, "bundle")
    for made in (bundle(tmp_path).generate(), bundle(tmp_path).load()):
        pd.testing.assert_frame_equal(made.payload["table"], FRAME)
        assert made.payload["facts"] == {"n": 2}
    picture = node(FigureFileIO("svg"), figure, "picture")
    first, later = picture(tmp_path).generate().payload, picture(tmp_path).load().payload
    assert type(first) is type(later) and first == later and b"<svg" in first.data
    grid = node(ZarrFileIO(), np.arange(6.0).reshape(2, 3), "grid")
    assert np.array_equal(grid(tmp_path).generate().payload, grid(tmp_path).load().payload)
    assert bundle(tmp_path).exists() and picture(tmp_path).exists() and grid(tmp_path).exists()


def test_a_format_of_ones_own_needs_a_suffix_dump_and_load(tmp_path: Path) -> None:
    from persistable.fileio import FileIO

    class Reversed(FileIO[str]):
        suffix = ".rev"

        def dump(self, payload: str, file: Any) -> None:
            file.write(payload[::-1].encode())

        def load(self, file: Any) -> str:
            return file.read().decode()[::-1]

    made = node(Reversed(), "abc")
    assert made(tmp_path).generate().payload == made(tmp_path).load().payload == "abc"
    assert next((tmp_path / "thing").glob("*.rev")).read_bytes() == b"cba"
