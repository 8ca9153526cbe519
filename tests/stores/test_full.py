"""A disk that takes no more is StoreFull for everything that writes: never a signal, never an error in somebody else's words."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from numpy.typing import NDArray

from persistable import allocate, append, step
from persistable.errors import StoreFull
from persistable.fileio import NumpyFileIO, PickleFileIO
from persistable.stores import LayeredStore, LocalStore, ObjectStore, SQLiteStore, Store


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of 2 MB, for temporary files too."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=1777", "tmpfs", str(place)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("may not mount")
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


@pytest.mark.parametrize("io", [NumpyFileIO(), PickleFileIO()])
def test_where_descriptors_run_short_payloads_are_read(tmp_path: Path, io: Any) -> None:
    import resource

    size = 200_000
    one = step(io=io)(_numbers).step(size).bind(LocalStore(tmp_path))
    one.generate()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(128, 2 * used), before[1]))
    try:
        held = []
        for _ in range(max(128, 2 * used) + 100):
            one.reset_payload()
            held.append(one.payload)
            one.load(verify=False)
        assert all(int(each[-1]) == size - 1 for each in held)
        held[-1][0] = 7
        assert held[0][0] == 0
        saved = tmp_path / f"x{io.suffix}"
        io.save(held[0], saved)
        assert int(io.load(saved)[-1]) == size - 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _numbers(n: int) -> NDArray[np.int64]:
    return np.arange(n)
