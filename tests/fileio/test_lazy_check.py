"""What holds no content of its own is no payload: iterators, open files, and what is not computed yet."""

from __future__ import annotations

import concurrent.futures
import csv
import io
import itertools
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persistable import Persistable
from persistable.errors import PayloadNotRepresentable
from persistable.fileio import JsonFileIO, NumpyFileIO, ParquetFileIO, PickleFileIO, ZarrFileIO
from persistable.fileio.lazy_check import check_content

FRAME = pd.DataFrame({"a": [1, 2]})
ITERATORS: dict[str, Callable[[], Any]] = {
    "map": lambda: map(str, [1]),
    "zip": lambda: zip([1], [2], strict=True),
    "filter": lambda: filter(None, [1]),
    "enumerate": lambda: enumerate([1]),
    "reversed": lambda: reversed([1]),
    "iter of list": lambda: iter([1]),
    "iter of dict": lambda: iter({1: 2}),
    "iter of items": lambda: iter({1: 2}.items()),
    "iter of set": lambda: iter({1}),
    "iter of range": lambda: iter(range(3)),
    "iter of text": lambda: iter("ab"),
    "callable": lambda: iter(int, 1),
    "chain": lambda: itertools.chain([1]),
    "count": itertools.count,
    "cycle": lambda: itertools.cycle([1]),
    "islice": lambda: itertools.islice([1], 1),
    "product": lambda: itertools.product([1], [2]),
    "generator": lambda: (i for i in [1]),
    "csv": lambda: csv.reader(io.StringIO("a")),
    "cursor": lambda: sqlite3.connect(":memory:").cursor(),
    "socket": socket.socket,
    "future": concurrent.futures.Future,
    "text file": lambda: open(__file__),  # noqa: SIM115 - left open on purpose
    "binary file": lambda: open(__file__, "rb"),  # noqa: SIM115
    "scandir": Path(__file__).parent.iterdir,
}


def zarr_array(folder: Path) -> Any:
    zarr = pytest.importorskip("zarr")
    return zarr.create_array(folder / "a.zarr", shape=(3,), dtype="i4")


def zarr_group(folder: Path) -> Any:
    return pytest.importorskip("zarr").open_group(folder / "g.zarr", mode="w")


def dataset(folder: Path) -> Any:
    FRAME.to_parquet(folder / "t.parquet")
    return pytest.importorskip("pyarrow.dataset").dataset(folder / "t.parquet")


def xarray_dataset(folder: Path) -> Any:
    xr = pytest.importorskip("xarray")
    xr.Dataset({"a": ("x", np.arange(3))}).to_zarr(folder / "x.zarr", mode="w", consolidated=False)
    return xr.open_zarr(folder / "x.zarr", chunks=None, consolidated=False)


def h5(folder: Path) -> Any:
    file = pytest.importorskip("h5py").File(folder / "x.h5", "w")
    return file.create_dataset("a", data=np.arange(3))


LAZY: dict[str, tuple[Callable[[Path], Any], str]] = {
    "zarr array": (zarr_array, r"array\[\.\.\.\]"),
    "zarr group": (zarr_group, "group"),
    "dask array": (lambda _: pytest.importorskip("dask.array").ones(3), r"\.compute\(\)"),
    "dask frame": (lambda _: pytest.importorskip("dask.dataframe").from_pandas(FRAME, 1), r"\.compute\(\)"),
    "dask series": (lambda _: pytest.importorskip("dask.dataframe").from_pandas(FRAME, 1).a, r"\.compute\(\)"),
    "dask bag": (lambda _: pytest.importorskip("dask.bag").from_sequence([1]), r"\.compute\(\)"),
    "delayed": (lambda _: pytest.importorskip("dask").delayed(int)(3), r"\.compute\(\)"),
    "polars": (lambda _: pytest.importorskip("polars").DataFrame({"a": [1]}).lazy(), r"\.collect\(\)"),
    "pyarrow": (dataset, r"\.to_table\(\)"),
    "xarray": (xarray_dataset, r"\.load\(\)"),
    "h5py": (h5, r"dataset\[\(\)\]"),
}


def refused(payload: Any, says: str, folder: Path) -> None:
    for io_ in (None, JsonFileIO(), ParquetFileIO(), ZarrFileIO(), NumpyFileIO()):

        class Made(Persistable[Any, None]):
            payload_name = "made"

            def _generate_payload(self, **_: Any) -> Any:
                return {"deep": [payload]} if isinstance(payload, Iterator) else payload

        with pytest.raises(PayloadNotRepresentable, match=says):
            Made(folder / "data", payload_io=io_).generate()
    for held in (payload, [payload], {"a": {"b": [(payload,)]}}):
        with pytest.raises(PayloadNotRepresentable):
            PickleFileIO().dumps(held)
    assert not list((folder / "data").rglob("*.record.json"))


@pytest.mark.parametrize("name", ITERATORS)
def test_iterators_and_open_files_are_refused(name: str, tmp_path: Path) -> None:
    refused(ITERATORS[name](), "return|result", tmp_path)


@pytest.mark.parametrize("name", LAZY)
def test_what_is_not_computed_is_refused_with_the_call_that_does(name: str, tmp_path: Path) -> None:
    make, says = LAZY[name]
    refused(make(tmp_path), says, tmp_path)


class Counter:
    """An iterator whose class says how it is kept."""

    def __init__(self) -> None:
        self.n = 0

    def __iter__(self) -> Counter:
        return self

    def __next__(self) -> int:
        self.n += 1
        return self.n

    def __getstate__(self) -> dict[str, int]:
        return {"n": self.n}


def test_what_holds_its_content_is_kept() -> None:
    memory = io.StringIO("text")
    for payload in (None, [1, {"a": (2,)}], np.arange(3), FRAME, memory, io.BytesIO(b"x"), int, len, range(3), slice(1), {1}, Counter()):
        check_content(payload, "PickleFileIO")
        PickleFileIO().loads(PickleFileIO().dumps(payload))


def test_a_memory_map_of_another_file_is_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.arange(5))
    data = PickleFileIO().dumps(np.load(tmp_path / "other.npy", mmap_mode="r"))
    (tmp_path / "other.npy").unlink()
    assert PickleFileIO().loads(data).tolist() == [0, 1, 2, 3, 4]
