"""A disk that takes no more is StoreFull for everything that writes: never a signal, never an error in somebody else's words."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from numpy.typing import NDArray
from servers.needs import absent

from persistable import allocate, append, step
from persistable.errors import StoreFull
from persistable.fileio import ArrowFileIO, BundleFileIO, FileIO, NumpyFileIO, PickleFileIO, SafetensorsFileIO
from persistable.stores import LayeredStore, LocalStore, ObjectStore, SQLiteStore, Store


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of 2 MB, for temporary files too."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=1777", "tmpfs", str(place)], capture_output=True, check=False)
    if done.returncode:
        absent("this user may not mount a file system")
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setenv("XDG_STATE_HOME", str(place))
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@step(io=NumpyFileIO())
def filled(n: int) -> NDArray[np.float64]:
    array: NDArray[np.float64] = allocate((n,), "f8")
    array[:] = 1.0  # a signal, where there is no room
    return array


@step(io=PickleFileIO())
def pickled(n: int) -> NDArray[np.float64]:
    array: NDArray[np.float64] = allocate((n,), "f8")
    array[:] = 1.0
    return array


@step(io=NumpyFileIO())
def appended(n: int) -> Any:
    for _ in range(n // 10_000):
        append(np.ones(10_000))


@step(io=NumpyFileIO())
def plain(n: int) -> NDArray[np.float64]:
    return np.ones(n)


def stores(small: Path, tmp_path: Path) -> dict[str, Store]:
    return {
        "folder": LocalStore(small / "a"),
        "sqlite": SQLiteStore(small / "x.db"),
        "sqlite elsewhere": SQLiteStore(tmp_path / "x.db"),
        "layered": LayeredStore(small / "b", small / "c"),
        "bucket": ObjectStore(fsspec.filesystem("memory"), f"/{tmp_path.name}"),
    }


@pytest.mark.filterwarnings("ignore::persistable.errors.LayerSkippedWarning")
@pytest.mark.parametrize("where", ["folder", "sqlite", "sqlite elsewhere", "layered", "bucket"])
def test_what_is_generated(small: Path, tmp_path: Path, where: str) -> None:
    for make in (filled, pickled, appended, plain):
        if make is plain and where in ("bucket", "sqlite elsewhere"):
            continue
        store = stores(small, tmp_path)[where]
        with pytest.raises(StoreFull, match="no room") as caught:
            make.step(1_000_000).bind(store).generate()
        assert caught.value.url
        for each in small.iterdir():
            subprocess.run(["rm", "-rf", str(each)], check=True)
        (close := store.close)()
        del close
    (tmp_path / "more").mkdir()
    assert float(filled.step(100).bind(LocalStore(tmp_path / "more")).payload.sum()) == 100


class Quota(MemoryFileSystem):  # type: ignore[misc]
    """Says what a file system over its quota says."""

    protocol = "quota"
    number = errno.EDQUOT

    def pipe_file(self, *_: Any, **__: Any) -> None:
        raise OSError(self.number, os.strerror(self.number))

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "rb":
            raise OSError(self.number, os.strerror(self.number))
        return super().open(path, mode, **options)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_quotas_of_file_systems(number: int) -> None:
    fs = Quota()
    fs.number = number
    store = ObjectStore(fs, "/full")
    for call in (lambda: store.put("a", b"1"), lambda: store.put_many({"a": b"1"}), lambda: store.create("a", b"1")):
        with pytest.raises(StoreFull, match="no room"):
            call()


@contextmanager
def few_descriptors() -> Iterator[int]:
    """How many payloads to hold so that there are more than descriptors."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = max(128, 2 * len(os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, before[1]))
    try:
        yield allowed + 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


SIZE = 200_000


def _numbers(n: int) -> NDArray[np.int64]:
    return np.arange(n)


def _allocated(n: int) -> NDArray[np.int64]:
    array: NDArray[np.int64] = allocate((n,), "i8")
    array[:] = np.arange(n)
    return array


def _appended(n: int) -> Any:
    for start in range(0, n, n // 4):
        append(np.arange(start, start + n // 4))


def _table(n: int) -> Any:
    import pyarrow as pa  # type: ignore[import-untyped]

    return pa.table({"x": np.arange(n)})


def _frame(n: int) -> Any:
    import pandas as pd

    return pd.DataFrame({"x": np.arange(n), "y": np.arange(n)})


def _tensors(n: int) -> dict[str, NDArray[np.int64]]:
    return {"x": np.arange(n)}


KINDS: dict[str, tuple[Any, FileIO[Any], Callable[[Any], Any]]] = {
    "npy": (_numbers, NumpyFileIO(), lambda array: array[-1]),
    "pickle": (_numbers, PickleFileIO(), lambda array: array[-1]),
    "pickled frame": (_frame, PickleFileIO(), lambda frame: frame["x"].iloc[-1]),
    "allocated npy": (_allocated, NumpyFileIO(), lambda array: array[-1]),
    "allocated pickle": (_allocated, PickleFileIO(), lambda array: array[-1]),
    "appended": (_appended, NumpyFileIO(), lambda array: array[-1]),
    "arrow table": (_table, ArrowFileIO(), lambda table: table["x"][-1].as_py()),
    "arrow frame": (_frame, ArrowFileIO(), lambda frame: frame["x"].iloc[-1]),
    "safetensors": (_tensors, SafetensorsFileIO(), lambda tensors: tensors["x"][-1]),
    "parts": (lambda n: {"a": _numbers(n)}, BundleFileIO({"a": NumpyFileIO()}), lambda parts: parts["a"][-1]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_where_descriptors_run_short_payloads_are_read(tmp_path: Path, kind: str) -> None:
    make, io, last = KINDS[kind]
    one = step(io=io, name="one")(make).step(SIZE).bind(LocalStore(tmp_path))
    one.generate()
    with few_descriptors() as many:
        held = []
        for number in range(many):
            one.reset_payload()
            held.append(one.payload)
            one.load(verify=False)
            if number % 40 == 0:  # also where it is made
                held.append(one.generate().payload)
        assert {int(last(each)) for each in held} == {SIZE - 1}
        if isinstance(held[0], np.ndarray):
            held[-1][0] = 7
            assert held[0][0] == 0
        saved = tmp_path / f"x{io.suffix}"
        io.save(held[0], saved)
        assert int(last(io.load(saved))) == SIZE - 1


@pytest.mark.parametrize("io", [NumpyFileIO(), PickleFileIO()])
def test_where_descriptors_run_short_more_is_generated(tmp_path: Path, io: FileIO[Any]) -> None:
    store = LocalStore(tmp_path)
    node = step(io=io, name="node")(_allocated).step(SIZE).bind(store)
    with few_descriptors() as many:
        held = [node.generate().payload for _ in range(many)]
        held[0][0] = 7
        assert {int(array[-1]) for array in held} == {SIZE - 1} and {int(array[0]) for array in held[1:]} == {0}
