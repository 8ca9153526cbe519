"""Bytes of payloads: hashed while written, verified while read, mapped, and never half there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from store_kinds import opened

from persistable import Persistable, open_store
from persistable.errors import PayloadNotRepresentable, StoreFull, StoreReadOnly
from persistable.fileio import BytesFileIO, FolderFileIO, NumpyFileIO, PickleFileIO
from persistable.records.files import SMALL, read, write
from persistable.records.key import Key

KEY = Key("x", "0" * 32)
sizes = st.one_of(st.integers(0, 100), st.integers(SMALL - 2, SMALL + 2), st.just(3 * SMALL + 7))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["folder", "memory", "sqlite"]), sizes)
def test_what_is_written_is_what_is_read_and_its_digest_is_that_of_the_bytes(kind: str, size: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = opened(kind, Path(folder))
        payload = os.urandom(size)
        written = write(store, "x/a.t", BytesFileIO(), payload)
        (fact,) = written.files
        assert fact.size == size and fact.digest == blake3(payload).hexdigest() == blake3(store.get(fact.path)).hexdigest()
        assert read(store, KEY, written.files, BytesFileIO()) == payload
        store.close()


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    class Breaks(BytesFileIO):
        def dump(self, payload: bytes, file: Any) -> None:
            for _ in range(3):
                file.write(payload)
            raise RuntimeError("half way")

    store = open_store(tmp_path)
    for size in (10, SMALL):
        with pytest.raises(PayloadNotRepresentable, match="RuntimeError: half way"):
            write(store, "x/a.t", Breaks(), bytes(size))
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("io", [PickleFileIO(), NumpyFileIO()])
def test_a_large_array_is_mapped_private_and_writable_or_read_only_as_asked(tmp_path: Path, io: Any) -> None:
    store = open_store(tmp_path)
    array = np.arange(1_000_000, dtype=np.float64)
    written = write(store, "x/a.t", io, array)
    mine = read(store, KEY, written.files, io)
    mine[0] = -1
    assert read(store, KEY, written.files, io)[0] == 0
    fixed = read(store, KEY, written.files, io, writable=False)
    assert not fixed.flags.writeable and mine.flags.writeable
    maps = Path("/proc/self/maps").read_text()
    assert written.files[0].path in maps


def test_a_file_without_a_digest_remembered_is_hashed_again_after_a_change(tmp_path: Path) -> None:
    from persistable.errors import PayloadCorrupted

    store = open_store(tmp_path)
    written = write(store, "x/a.t", PickleFileIO(), np.zeros(1_000_000))
    for _ in range(2):
        read(store, KEY, written.files, PickleFileIO())
    path = tmp_path / written.files[0].path
    data = bytearray(path.read_bytes())
    data[5_000_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(PayloadCorrupted):
        read(store, KEY, written.files, PickleFileIO())
    assert read(store, KEY, written.files, PickleFileIO(), verify=False).shape == (1_000_000,)


def test_a_folder_is_several_files_each_verified(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "a.txt").write_text("a")
    (source / "deep" / "b.bin").write_bytes(bytes(2 * SMALL))

    class Folder(Persistable[Path, None]):
        io = FolderFileIO()

        def _generate_payload(self, **_: Any) -> Path:
            return source

    for where in (tmp_path / "data", f"sqlite:///{tmp_path}/x.db"):
        node = Folder(where).generate()
        assert node.record is not None and {file.part for file in node.record.files} >= {"a.txt", "deep/b.bin"}
        assert (node.payload / "a.txt").read_text() == "a"
        assert (Folder(where).load().payload / "deep" / "b.bin").stat().st_size == 2 * SMALL


class Big(Persistable[np.ndarray, None]):
    def _generate_payload(self, **_: Any) -> np.ndarray:
        return np.ones(500_000)


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_a_clear_error_and_neither_the_work_nor_the_old_payload_is_lost(small_disk: Path) -> None:
    class Some(Persistable[np.ndarray, None]):
        payload_name = "some"
        size = 10

        def _generate_payload(self, **_: Any) -> np.ndarray:
            return np.ones(self.size)

    Some(small_disk).generate()
    Some.size = 500_000
    node = Some(small_disk)
    with pytest.raises(StoreFull, match="free some space"):
        node.generate()
    assert node.payload.shape == (500_000,)
    Some.size = 10
    assert Some(small_disk).load().payload.shape == (10,)
    kept = ".create."  # the file that claims of this process are links to, until it ends
    left = [path.name for path in small_disk.rglob("*") if path.name.endswith((".tmp", ".claim"))]
    assert not [name for name in left if not name.startswith(kept)]


def test_allocating_on_a_full_disk_is_an_error_not_a_crash(small_disk: Path) -> None:
    code = f"""
import numpy as np
from persistable import Persistable
from persistable.errors import StoreFull
class Big(Persistable[np.ndarray, None]):
    def _generate_payload(self, **_):
        array = self.allocate((1_000_000,), float)
        array[:] = 1
        return array
try: Big({str(small_disk)!r}).generate()
except StoreFull as error: print("full")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "full", (done.returncode, done.stderr)


def test_a_folder_that_may_not_be_written_is_a_clear_error_and_the_payload_stays_in_memory(tmp_path: Path) -> None:
    code = f"""
import os, sys
from persistable import Persistable, open_store
from persistable.errors import PayloadNotRepresentable, StoreReadOnly
class Some(Persistable[int, None]):
    def _generate_payload(self, **_): return 1
Some("memory://first").generate()  # all is imported now: after the next line this interpreter's own files may be out of reach
os.setgid(65534); os.setuid(65534)
try: Some({str(tmp_path / "data")!r}).generate()
except StoreReadOnly as error: print("read-only", error)
"""
    (tmp_path / "data").mkdir(mode=0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o055)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("read-only"), done.stderr
    with pytest.raises(StoreReadOnly):
        Big(open_store(tmp_path / "data", readonly=True)).generate()
