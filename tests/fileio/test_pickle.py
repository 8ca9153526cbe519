"""The container: any payload, mapped, whole or refused."""

from __future__ import annotations

import gc
import os
import pickle
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from persistable.errors import FormatError, MalformedFile, PayloadNotRepresentable
from persistable.fileio import PickleFileIO
from persistable.fileio.base import open_buffer
from persistable.testing.fileio import FileIOContract, exactly_equal

_arrays = st.one_of(
    hnp.arrays(
        st.sampled_from(["f8", "<i2", ">i4", "c16", "?", "M8[ns]", "U3", "S2", "f2"]), hnp.array_shapes(min_dims=0, min_side=0, max_side=5)
    ),
    hnp.arrays(np.dtype([("a", "i4"), ("b", "f8", (2,))]), hnp.array_shapes(max_side=3)),
)
_leaves = st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.binary(), st.booleans(), _arrays)
payloads = st.recursive(
    _leaves, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner), st.tuples(inner, inner)), max_leaves=8
)


class TestPickle(FileIOContract):
    def io(self) -> PickleFileIO:
        return PickleFileIO()

    def payloads(self) -> st.SearchStrategy[Any]:
        return payloads

    def refused(self) -> list[Any]:
        return [threading.Lock(), {"deep": [threading.Lock()]}, (n for n in range(3))]

    def large(self) -> Any:
        return {"array": np.ones((8, 1 << 20)), "strided": np.ones((1 << 11, 1 << 10, 8))[:, ::2], "bytes": b"x" * (8 << 20)}


class TestPickleRead(TestPickle):
    def io(self) -> PickleFileIO:
        return PickleFileIO(mmap=False)


class TestPickleCompressed(TestPickle):
    def io(self) -> PickleFileIO:
        return PickleFileIO(compress="zstd", level=1)


@given(payloads)
@settings(max_examples=50, deadline=None)
def test_the_documented_layout_is_all_a_reader_needs(payload: Any) -> None:
    """A reader written from the docstring alone, by standard pickle, gets the payload."""
    data = PickleFileIO().dumps(payload)
    magic, version, flags, _, start, length, table, count, size, _, crc = struct.unpack("<8sHHIQQQQQII", data[:64])
    assert (magic, version, flags, size) == (b"\x93PERSIST", 1, 0, len(data))
    places = [struct.unpack_from("<QQ", data, table + 16 * number) for number in range(count)]
    assert all(place % 64 == 0 for place, _ in places)
    import zlib

    assert crc == zlib.crc32(data[:60] + data[start : start + length] + data[table : table + 16 * count])
    buffers = [data[place : place + size] for place, size in places]
    assert exactly_equal(pickle.loads(data[start : start + length], buffers=buffers), payload)


@pytest.mark.parametrize("loads_from", [bytes, bytearray])
def test_arrays_of_any_layout_follow_the_buffer(loads_from: type) -> None:
    frozen = np.arange(6.0)
    frozen.flags.writeable = False
    fortran = np.asfortranarray(np.arange(12).reshape(3, 4))
    frozen_fortran = fortran.copy(order="F")
    frozen_fortran.flags.writeable = False
    payload = {
        "strided": np.arange(100.0).reshape(10, 10)[::2, 1::3],
        "backwards": np.arange(5)[::-1],
        "permuted": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
        "broadcast": np.broadcast_to(np.arange(3), (4, 3)),
        "frozen": frozen,
        "fortran": fortran,
        "frozen_fortran": frozen_fortran,
        "records": np.rec.array([(1, 2.0)], dtype=[("x", int), ("y", float)]),
        "matrix": np.matrix([[1, 2]]),
        "scalar array": np.array(3),
    }
    loaded = PickleFileIO().loads(loads_from(PickleFileIO().dumps(payload)))
    for name, array in payload.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert (type(loaded[name]), loaded[name].dtype) == (type(array), array.dtype)
        assert loaded[name].flags.writeable is (loads_from is bytearray), name
    assert loaded["fortran"].flags.f_contiguous
    assert loaded["frozen_fortran"].flags.f_contiguous


def test_loading_copies_nothing() -> None:
    data = bytearray(PickleFileIO().dumps({"a": np.arange(1000)}))
    array = PickleFileIO().loads(data)["a"]
    before = bytes(data)
    array[0] = 77
    assert bytes(data) != before


def test_objects_inside_one_array_and_shared_arrays_stay_shared() -> None:
    array = np.arange(5)
    a, b = PickleFileIO().loads(PickleFileIO().dumps([array, array]))
    assert a is b
    objects = np.array(["x", None, 1.5], dtype=object)
    assert PickleFileIO().loads(PickleFileIO().dumps(objects)).tolist() == objects.tolist()


def test_frames_and_estimators_are_mapped(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(np.random.default_rng(0).random((100_000, 4)), columns=list("abcd"))
    PickleFileIO().save(frame, tmp_path / "f.pickle")
    loaded = PickleFileIO().load(tmp_path / "f.pickle")
    pd.testing.assert_frame_equal(loaded, frame)
    loaded.iloc[0, 0] = 5.0
    pd.testing.assert_frame_equal(PickleFileIO().load(tmp_path / "f.pickle"), frame)


def test_a_class_of_one_script_loads_in_another(tmp_path: Path) -> None:
    """Classes, functions and lambdas of __main__ go by value."""
    writer = (
        "import sys; from persistable.fileio import PickleFileIO\n"
        "class Model:\n    def __init__(self): self.k = 3\n    def twice(self): return 2 * self.k\n"
        "def outer(n):\n    class Inner:\n        value = n\n    return Inner()\n"
        "PickleFileIO().save([Model(), lambda x: x + 1, outer(5)], sys.argv[1])\n"
    )
    reader = (
        "import sys; from persistable.fileio import PickleFileIO\n"
        "model, more, inner = PickleFileIO().load(sys.argv[1])\n"
        "assert (model.twice(), more(1), inner.value) == (6, 2, 5)\n"
    )
    for code in (writer, reader):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "m.pickle")], check=True)


def test_a_class_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone_module.py").write_text("class Gone: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import gone_module  # type: ignore[import-not-found]

    data = PickleFileIO().dumps(gone_module.Gone())
    del gone_module.Gone
    with pytest.raises(FormatError, match="Gone") as caught:
        PickleFileIO().loads(data)
    assert not isinstance(caught.value, MalformedFile)
    assert isinstance(caught.value.__cause__, AttributeError)
    monkeypatch.delitem(sys.modules, "gone_module")
    (tmp_path / "gone_module.py").unlink()
    with pytest.raises(FormatError, match="gone_module"):
        PickleFileIO().loads(data)


def test_every_byte_of_header_stream_and_table_is_checked() -> None:
    data = PickleFileIO().dumps({"a": np.arange(3), "b": [1, "two"]})
    _, _, table, count = struct.unpack_from("<QQQQ", data, 16)
    for position in range(table + 16 * count):
        broken = bytearray(data)
        broken[position] ^= 0x10
        with pytest.raises(MalformedFile):
            PickleFileIO().loads(broken)
    for size in range(len(data)):
        with pytest.raises(MalformedFile):
            PickleFileIO().loads(data[:size])


def test_what_cannot_be_pickled_is_named() -> None:
    with pytest.raises(PayloadNotRepresentable, match="lock"):
        PickleFileIO().dumps(threading.Lock())


def test_an_allocated_array_is_committed_in_place(tmp_path: Path) -> None:
    path = tmp_path / "a.pickle"
    allocation = PickleFileIO().allocation(str(path))
    assert allocation is not None
    big, small = allocation.array((300, 1000), np.float64), allocation.array((10,), "i4")
    assert not big.any()
    big[:] = 3.0
    small[:] = 1
    payload = {"big": big, "view": big[2:5], "row": big[7], "small": small, "other": np.arange(3), "strided": big[:, ::500], "text": "x"}
    assert allocation.seal(payload)
    size = path.stat().st_size
    assert size < big.nbytes + 40_000, "the arrays are there once"
    big[:] = 9.0  # whoever still holds the array changes memory, not the file
    loaded = PickleFileIO().load(path)
    assert (loaded["big"] == 3.0).all() and loaded["big"].shape == (300, 1000)
    assert (loaded["view"] == 3.0).all() and loaded["view"].shape == (3, 1000)
    assert loaded["strided"].tolist() == [[3.0, 3.0]] * 300
    assert (loaded["row"].shape, loaded["small"].tolist(), loaded["other"].tolist()) == ((1000,), [1] * 10, [0, 1, 2])
    for cut in (0, 63, 4096, size // 2, size - 1):
        with pytest.raises(MalformedFile):
            PickleFileIO().loads(path.read_bytes()[:cut])


def test_an_allocation_that_is_not_used_seals_nothing(tmp_path: Path) -> None:
    allocation = PickleFileIO().allocation(str(tmp_path / "a.pickle"))
    assert allocation is not None
    array = allocation.array((10,), float)
    assert not allocation.seal({"copy": array.copy()})
    allocation.close()
    with pytest.raises(MalformedFile):
        PickleFileIO().load(tmp_path / "a.pickle")
    with pytest.raises(TypeError, match="references"):
        allocation.array((2,), object)
    assert PickleFileIO(compress="zstd").allocation(str(tmp_path / "b")) is None


def test_an_empty_array_may_be_allocated(tmp_path: Path) -> None:
    allocation = PickleFileIO().allocation(str(tmp_path / "a.pickle"))
    assert allocation is not None
    assert allocation.array((0, 3), float).shape == (0, 3)


_FOUR_GB = """
import sys, numpy as np
from persistable.fileio import PickleFileIO
def anonymous():
    return next(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Anonymous"))
allocation = PickleFileIO().allocation(sys.argv[1])
array = allocation.array((1 << 29,), np.float64)
for start in range(0, len(array), 1 << 24):
    array[start : start + (1 << 24)] = start
assert allocation.seal({"x": array})
peak = anonymous()
del array, allocation
loaded = PickleFileIO().load(sys.argv[1])["x"]
assert loaded[-1] == len(loaded) - (1 << 24) and loaded.nbytes == 1 << 32
print(max(peak, anonymous()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="private memory is read from /proc")
def test_four_gigabytes_need_little_private_memory(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path)
    assert free.f_bavail * free.f_frsize > 5 << 30, "this test needs 5 GB of disk"
    run = subprocess.run([sys.executable, "-c", _FOUR_GB, str(tmp_path / "x.pickle")], capture_output=True, text=True, check=True)
    (tmp_path / "x.pickle").unlink()
    assert int(run.stdout) < 200_000, f"{run.stdout} kB"


def test_a_map_outlives_its_file_and_goes_with_its_arrays(tmp_path: Path) -> None:
    path = tmp_path / "x.pickle"
    PickleFileIO().save(np.ones(1 << 18), path)
    array = PickleFileIO().load(path)
    path.unlink()
    assert array.sum() == 1 << 18
    if sys.platform == "linux":
        assert str(path) in Path("/proc/self/maps").read_text()
        del array
        gc.collect()
        assert str(path) not in Path("/proc/self/maps").read_text()


def test_a_reader_of_a_view_reads_as_a_file() -> None:
    file = open_buffer(memoryview(bytearray(range(100))))
    assert file.read(3) == bytes(range(3))
    file.seek(-2, 2)
    assert (file.read(), file.read(), file.tell()) == (bytes((98, 99)), b"", 100)
