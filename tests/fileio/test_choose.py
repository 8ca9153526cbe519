"""A format by declared type, by suffix, by registration, by its record."""

from __future__ import annotations

import pathlib
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, BinaryIO, NewType, Optional, Union

import matplotlib.figure
import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr

from persistable import step
from persistable.errors import UnknownFormat
from persistable.fileio import (
    ArrowFileIO,
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
    TextFileIO,
    YamlFileIO,
    fileio_for,
    fileio_from_spec,
    register_fileio,
    registry,
)
from persistable.params import extensions

Name = NewType("Name", str)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (np.ndarray, NumpyFileIO()), (npt.NDArray[np.float64], NumpyFileIO()), (np.ndarray[Any, np.dtype[np.int8]], NumpyFileIO()),
        (npt.NDArray[np.object_], PickleFileIO()), (npt.NDArray[Any], NumpyFileIO()),
        (pd.DataFrame, ParquetFileIO()), (pd.Series, ParquetFileIO()), (pl.DataFrame, ParquetFileIO()), (pl.Series, ParquetFileIO()),
        (pa.Table, ArrowFileIO()), (str, TextFileIO()), (bytes, BytesFileIO()), (matplotlib.figure.Figure, FigureFileIO()),
        (Path, FolderFileIO()), (type(Path()), FolderFileIO()),
        (int, JsonFileIO()), (float, JsonFileIO()), (bool, JsonFileIO()), (None, JsonFileIO()), (type(None), JsonFileIO()),
        (dict, JsonFileIO()), (list, JsonFileIO()), (dict[str, int], JsonFileIO()), (list[dict[str, list[float]]], JsonFileIO()),
        (dict[int, str], PickleFileIO()), (dict[int, np.ndarray], PickleFileIO()), (list[tuple[int, ...]], PickleFileIO()), (tuple, PickleFileIO()),  # noqa: E501
        (set[int], PickleFileIO()), (bytearray, PickleFileIO()), (Any, PickleFileIO()), (int | None, PickleFileIO()), (Optional[str], PickleFileIO()),  # noqa: E501, UP045
        (Union[str, bytes], PickleFileIO()), (object, PickleFileIO()), (FileIO, PickleFileIO()), (list[int | str], PickleFileIO()),  # noqa: UP007
        (Annotated[pd.DataFrame, "note"], ParquetFileIO()), (Name, TextFileIO()), (complex, PickleFileIO()), ("", None),
    ],
)  # fmt: skip
def test_by_type(kind: Any, expected: FileIO[Any] | None) -> None:
    if expected is None:
        with pytest.raises(UnknownFormat):
            fileio_for(kind)
    else:
        assert fileio_for(kind) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (".csv", CsvFileIO()), ("a/b.c/x.CSV", CsvFileIO()), (".csv.zst", CompressedFileIO(CsvFileIO())), ("x.y.json.gz", CompressedFileIO(JsonFileIO(), "gzip")),  # noqa: E501
        (Path("data-001.parquet"), ParquetFileIO()), ("s3://bucket/v1.2/x.npy", NumpyFileIO()), (".yml", YamlFileIO()), ("f.svg", FigureFileIO("svg")),  # noqa: E501
        ("C:\\data\\x.txt", TextFileIO()), (".pkl", PickleFileIO()), (".pickle", PickleFileIO()),
    ],
)  # fmt: skip
def test_by_suffix(name: Any, expected: FileIO[Any]) -> None:
    assert fileio_for(name) == expected


@pytest.mark.parametrize("name", [".xyz", "README", "x.zst", "", "a.csv/b"])
def test_an_unknown_suffix_lists_the_known(name: str) -> None:
    with pytest.raises(UnknownFormat, match=r"\.csv, .*\.parquet"):
        fileio_for(name)


class Shape:
    pass


class Square(Shape):
    pass


class ShapeFileIO(FileIO[Shape]):
    suffix = ".shape"

    def dump(self, payload: Shape, file: BinaryIO) -> None:
        file.write(b"shape")

    def load(self, file: Any) -> Shape:
        return Shape()


@pytest.fixture(autouse=True)
def _unregister(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions, "registered", {})
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setattr(registry, "_suffixes", dict(registry._suffixes))


def test_users_register_types_and_suffixes_which_win_over_the_built_in_choice() -> None:
    register_fileio(ShapeFileIO, types=[Shape, dict[str, Shape]], suffixes=[".shape", ".csv"])
    assert fileio_for(Shape) == fileio_for(dict[str, Shape]) == fileio_for("x.shape") == fileio_for(".csv") == ShapeFileIO()
    assert fileio_for("x.shape.gz") == CompressedFileIO(ShapeFileIO(), "gzip")
    assert fileio_for(Square) == PickleFileIO(), "a class stands for itself"
    register_fileio(lambda: CsvFileIO(index=False), types=[Shape, pd.DataFrame], suffixes=[".csv"], replace=True)
    assert fileio_for(Shape) == fileio_for(pd.DataFrame) == fileio_for(".csv") == CsvFileIO(index=False)
    with pytest.raises(ValueError, match="dot"):
        register_fileio(ShapeFileIO, suffixes=["shape"])


def test_a_type_may_be_registered_by_name() -> None:
    register_fileio(ShapeFileIO, types=[f"{Shape.__module__}:Shape"])
    assert fileio_for(Shape) == ShapeFileIO()


def test_asking_imports_no_package() -> None:
    import subprocess

    code = (
        "import sys; from persistable.fileio import fileio_for\n"
        "fileio_for('.parquet'), fileio_for('.npy'), fileio_for(dict[str, int]), fileio_for('.csv.zst'), fileio_for('.pdf'), fileio_for('.zarr')\n"  # noqa: E501
        "print(*({'numpy', 'pandas', 'pyarrow', 'matplotlib', 'zstandard', 'zarr', 'polars'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split() == []


@pytest.mark.parametrize("name", ["NoSuchFileIO", "no_such_module:X", "persistable.fileio.csv:Nope", "json:JSONDecoder"])
def test_a_spec_of_something_else_is_unknown(name: str) -> None:
    with pytest.raises(UnknownFormat, match=name.rpartition(":")[2]):
        fileio_from_spec({"io": name, "options": {}})


def test_every_public_name_is_there() -> None:
    from persistable import fileio

    assert set(dir(fileio)) >= set(fileio.__all__)
    for name in fileio.__all__:
        assert getattr(fileio, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = fileio.NoSuchThing


def test_dicts_of_arrays_and_record_batches_have_formats_that_others_read(tmp_path: Path) -> None:
    for kind in (dict[str, np.ndarray], dict[str, npt.NDArray[np.float32]], dict[str, npt.NDArray[Any]]):
        assert type(fileio_for(kind)).__name__ == "SafetensorsFileIO", kind
    for kind in (
        dict[str, npt.NDArray[np.object_]],
        dict[str, npt.NDArray[np.datetime64]],
        dict[int, np.ndarray],
        dict[str, list[np.ndarray]],
    ):
        assert type(fileio_for(kind)).__name__ == "PickleFileIO", kind
    batch = pa.RecordBatch.from_pydict({"a": [1, None], "b": ["x", "y"]})
    batch = batch.replace_schema_metadata({"made": "here"})
    assert type(fileio_for(pa.RecordBatch)).__name__ == "ArrowFileIO"
    for io in (fileio_for(".arrow"), fileio_for(".parquet")):
        for given in (batch, batch[:0], batch[1:]):
            file = tmp_path / f"x{io.suffix}"
            io.save(given, file)
            loaded = io.load(file)
            assert type(loaded) is pa.RecordBatch and loaded.equals(given, check_metadata=True), io

    @step(io="auto")
    def weights(n: int) -> dict[str, npt.NDArray[np.float64]]:
        return {"w": np.arange(float(n))}

    node = weights.step(3).bind(tmp_path / "store")
    assert node.payload["w"].tolist() == [0.0, 1.0, 2.0] and next((tmp_path / "store").rglob("*.safetensors"))


class Tensor:
    """As the one of torch is known: by module and name."""

    __module__, __qualname__ = "torch", "Tensor"


def _rows(section: str) -> list[list[str]]:
    """The cells of its table; a bar inside code is no border."""
    coded = [re.sub("`[^`]*`", lambda found: found[0].replace("|", "\0"), line) for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("\0", "|") for cell in line.strip("|").split("|")] for line in coded[2:]]


def test_the_page_says_of_every_type_and_suffix_what_the_code_does() -> None:
    from sklearn.linear_model import LinearRegression

    by_kind, by_type = (Path(__file__).parents[2] / "docs/howto/formats.md").read_text().split("\n## By type\n")
    names = {
        "np": np, "NDArray": npt.NDArray, "pd": pd, "pl": pl, "pa": pa, "xr": xr, "torch": SimpleNamespace(Tensor=Tensor),
        "pathlib": pathlib, "matplotlib": matplotlib, "LinearRegression": LinearRegression, "Any": Any,
    }  # fmt: skip
    types = [(kind, cell) for cells, cell in _rows(by_type.split("\n## ")[0]) for kind in re.findall("`([^`]*)`", cells)]
    assert len(types) > 25
    for kind, expected in types:
        assert f"`{type(fileio_for(eval(kind, names))).__name__}`" == expected, kind

    formats = [(re.findall("`([^`]*)`", cells), suffix, install) for _, cells, suffix, install in _rows(by_kind)]
    assert {name for named, _, _ in formats for name in named} == {*registry._MODULES} - {"CompressedFileIO", "ScalarFileIO"}
    for named, suffixes, install in formats:
        for suffix in re.findall(r"`(\.\w+)`", suffixes):
            assert type(fileio_for(suffix)).__name__ in named, suffix
        needed = {extra for name in named for _, _, extra in registry.format_class(name).needs}
        extras = {extra for each in re.findall(r"`persistable\[([\w,]+)\]`", install) for extra in each.split(",")}
        assert needed <= {*extras, *(["zarr"] if "xarray" in extras else [])}, named
