"""Arrays as npy and safetensors."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from persistable.errors import MalformedFile
from persistable.fileio import NumpyFileIO, SafetensorsFileIO
from persistable.testing.fileio import FileIOContract

_shapes = hnp.array_shapes(min_dims=0, min_side=0, max_side=5)
_dtypes = st.one_of(
    hnp.scalar_dtypes(),
    hnp.unicode_string_dtypes(),
    hnp.byte_string_dtypes(),
    hnp.array_dtypes(),
    st.just(np.dtype([("größe", ">i4"), ("日", "f8")])),
).filter(lambda dtype: dtype.itemsize > 0)
arrays = _dtypes.flatmap(lambda dtype: hnp.arrays(dtype, _shapes, fill=st.nothing()))
numbers = hnp.arrays(st.sampled_from(["?", "u1", "i1", "<u2", "<i4", "<i8", "<f2", "<f4", "<f8", "<c8"]), _shapes)


class TestNumpy(FileIOContract):
    def io(self) -> NumpyFileIO:
        return NumpyFileIO()

    def payloads(self) -> st.SearchStrategy[Any]:
        return arrays

    def refused(self) -> list[Any]:
        aligned = np.dtype([("a", "i1"), ("b", "f8")], align=True)
        noted = np.dtype("f8", metadata={"unit": "m"})
        return [
            np.array([1, "a"], dtype=object), np.array([(1, "a")], dtype=[("a", int), ("b", object)]), np.matrix([1]), np.ma.masked_array([1]),  # noqa: E501
            np.rec.array([(1, 2)], dtype=[("a", int), ("b", int)]), np.float64(1.0), [1.0], None, np.zeros(2, aligned), np.zeros(2, noted),
        ]  # fmt: skip

    def large(self) -> Any:
        return np.ones((1 << 12, 1 << 12))[:, ::2]


class TestNumpyRead(TestNumpy):
    def io(self) -> NumpyFileIO:
        return NumpyFileIO(mmap=False)

    def large(self) -> Any:
        return np.asfortranarray(np.ones((1 << 12, 1 << 11)))


class TestSafetensors(FileIOContract):
    def io(self) -> SafetensorsFileIO:
        return SafetensorsFileIO()

    def payloads(self) -> st.SearchStrategy[Any]:
        return st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"])).filter(lambda name: name != "__metadata__"), numbers, max_size=5
        )

    def refused(self) -> list[Any]:
        zero = np.zeros(1)
        return [
            zero, {1: zero}, {"__metadata__": zero}, {"a": [1]}, {"a": np.zeros(1, ">f8")}, {"a": np.zeros(1, "c16")}, {"a": np.zeros(1, "U1")},  # noqa: E501
            {"\ud800": zero}, {"a": np.array([None])}, {"a": np.ma.masked_array([1])},
        ]  # fmt: skip

    def large(self) -> Any:
        return {"a": np.ones((1 << 11, 1 << 12))[:, ::2], "b": np.ones(1 << 22)}


@given(arrays)
@settings(max_examples=100, deadline=None)
def test_files_are_those_of_numpy(array: Any) -> None:
    written = NumpyFileIO().dumps(array)
    read = np.load(io.BytesIO(written))
    assert (read.dtype, read.shape, read.tobytes()) == (array.dtype, array.shape, array.tobytes())
    file = io.BytesIO()
    np.save(file, array)
    again = NumpyFileIO().loads(file.getvalue())
    assert (again.dtype, again.shape, again.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_fortran_order_is_kept() -> None:
    array = np.asfortranarray(np.arange(12).reshape(3, 4))
    assert NumpyFileIO().loads(NumpyFileIO().dumps(array)).flags.f_contiguous


def test_pickled_objects_are_not_loaded() -> None:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(MalformedFile, match="pickled objects"):
        NumpyFileIO().loads(file.getvalue())


def test_large_files_are_mapped_copy_on_write(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    NumpyFileIO().save(np.zeros(1 << 18), path)
    array = NumpyFileIO().load(path)
    assert type(array) is np.ndarray
    array[:] = 1
    assert not NumpyFileIO().load(path).any()


def test_an_allocated_array_is_committed_in_place(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    allocation = NumpyFileIO().allocation(str(path))
    assert allocation is not None
    array = allocation.array((1000, 300), "f4")
    array[:] = 2
    assert not allocation.seal(array[1:])
    assert not allocation.seal(array.copy())
    assert allocation.seal(array)
    array[:] = 3
    for loaded in (np.load(path), NumpyFileIO().load(path)):
        assert loaded.shape == (1000, 300) and loaded.dtype == np.dtype("f4") and (loaded == 2).all()


def test_the_safetensors_package_reads_and_writes_the_same_files(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    payload = {"b": np.arange(5, dtype="i2"), "a": np.arange(6.0).reshape(2, 3), "flag": np.array([True])}
    SafetensorsFileIO().save(payload, tmp_path / "a.safetensors")
    theirs = load_file(tmp_path / "a.safetensors")
    assert theirs.keys() == payload.keys()
    assert all((theirs[name] == payload[name]).all() and theirs[name].dtype == payload[name].dtype for name in payload)
    save_file(payload, tmp_path / "b.safetensors", metadata={"made": "elsewhere"})
    ours = SafetensorsFileIO().load(tmp_path / "b.safetensors")
    assert all((ours[name] == payload[name]).all() for name in payload)
