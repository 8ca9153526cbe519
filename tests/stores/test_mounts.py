"""File systems of other machines: found by patched mounts and calls, and no place for SQLite."""

import ctypes
import os
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from persistable import step
from persistable.errors import StoreError
from persistable.params import mounts
from persistable.params.mounts import network_of
from persistable.stores import LayeredStore, LocalStore, MemoryStore, ObjectStore, SQLiteStore, open_store


@step
def square(n: int) -> int:
    return n * n


@pytest.mark.skipif(sys.platform != "linux", reason="what Linux tells of devices")
@pytest.mark.parametrize(
    ("kind", "told"),
    [*[(kind, kind) for kind in ("nfs", "nfs4", "cifs", "fuse.sshfs")], *[(kind, None) for kind in ("ext4", "tmpfs", "overlay", "9p", "")]],
)
def test_the_device_of_the_nearest_folder_tells(kind: str, told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(mounts, "kind_of", lambda device: asked.append(device) or kind)
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    for place in (tmp_path, tmp_path / "not/there/yet", tmp_path / "near/a"):
        assert network_of(str(place)) == told
    assert asked == [os.stat(tmp_path).st_dev] * 3


def test_without_proc_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.open", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError()))
    assert mounts.kind_of(os.stat("/").st_dev) == ""
    assert network_of("/home") is None


def test_on_macos_statfs_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[bytes] = []

    def statfs(path: bytes, buffer: Any) -> int:
        asked.append(path)
        buffer[72:78] = b"smbfs\0"
        return 0

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(statfs=statfs))
    assert network_of(str(tmp_path / "not/there/yet")) == "smbfs"
    assert asked == [os.fsencode(os.path.realpath(tmp_path))]


@pytest.mark.parametrize(("drive", "kind"), [(4, "smbfs"), (3, None)])
def test_on_windows_the_drive_is_asked(monkeypatch: pytest.MonkeyPatch, drive: int, kind: str | None) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=SimpleNamespace(GetDriveTypeW=lambda _: drive)), raising=False)
    assert network_of("data") == kind


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "lustre"])
def test_an_sqlite_file_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    file = tmp_path / "items.db"
    square.step(2).bind(SQLiteStore(file)).load_generate()
    before = set(tmp_path.iterdir())
    monkeypatch.setattr(mounts, "kind_of", lambda _: kind)
    store = SQLiteStore(file)
    for ask in (lambda: square.step(2).bind(store).load(), lambda: square.step(3).bind(store).load_generate(), lambda: list(store.list())):
        with pytest.raises(StoreError, match="network=True") as raised:
            ask()
        assert kind in str(raised.value)
    assert set(tmp_path.iterdir()) <= before
    told = open_store(f"sqlite:///{file}", network=True)
    assert square.step(2).bind(told).load().payload == 4
    assert square.step(2).bind(pickle.loads(pickle.dumps(told))).load().payload == 4


class Racing(MemoryStore):
    exclusive = False


def test_info_says_whether_a_store_creates_exclusively(tmp_path: Path) -> None:
    for store in (LocalStore(tmp_path), SQLiteStore(tmp_path / "x.db"), MemoryStore(), ObjectStore(f"file://{tmp_path}/o")):
        told = store.info()
        assert told.pop("client", "fsspec") == "fsspec"
        assert told == {"store": type(store).__name__, "url": store.url, "exclusive": True, "in_memory": isinstance(store, MemoryStore)}
    layers = LayeredStore(LocalStore(tmp_path), Racing("slow"))
    assert not layers.info()["exclusive"]
    assert [layer["exclusive"] for layer in layers.info()["layers"]] == [True, False]
    assert LayeredStore(Racing("fast"), LocalStore(tmp_path)).info()["exclusive"]
    assert not open_store(Racing("slow"), readonly=True).info()["exclusive"]
    import fsspec

    class Plain(fsspec.AbstractFileSystem):  # type: ignore[misc]
        protocol = "plain"
        cachable = False

    assert not ObjectStore(Plain(), "x").info()["exclusive"]
