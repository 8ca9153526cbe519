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
from persistable.stores import LayeredStore, LocalStore, MemoryStore, ObjectStore, SQLiteStore, mounts, open_store
from persistable.stores.mounts import network_of


@step
def square(n: int) -> int:
    return n * n


MOUNTS = """\
/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
//nas/share /mnt/the\\040share cifs rw 0 0
me@host: /mnt/ssh fuse.sshfs rw 0 0
tmpfs /home/local tmpfs rw 0 0
overlay /over overlay rw 0 0
server:/x /over nfs rw 0 0
drvfs /mnt/c 9p rw 0 0
broken
"""


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "_mounts", lambda: MOUNTS)
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.mark.usefixtures("mounted")
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *[("/home/me/data", "nfs4"), ("/home", "nfs4"), ("/homes/me", None), ("/home/local/x", None), ("/var", None), ("/", None)],
        *[("/mnt/the share/a", "cifs"), ("/mnt/ssh", "fuse.sshfs"), ("/over/x", "nfs"), ("/mnt/c/x", None)],
    ],
)
def test_the_longest_mount_point_tells(path: str, kind: str | None) -> None:
    assert network_of(path) == kind


@pytest.mark.usefixtures("mounted")
def test_a_link_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "_mounts", lambda: f"/dev/vda / ext4\nserver:/x {tmp_path}/far nfs rw\n")
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    assert network_of(str(tmp_path / "near/a")) == "nfs"


def test_without_proc_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.open", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError()))
    assert mounts._mounts() == ""  # pyright: ignore[reportPrivateUsage]
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
    monkeypatch.setattr(mounts, "_mounts", lambda: f"/dev/vda / ext4 rw\nserver:/x {tmp_path} {kind} rw\n")
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
