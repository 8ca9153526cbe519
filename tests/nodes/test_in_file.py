"""A payload that lies in a file already is committed without passing through memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from servers.needs import absent

from persistable import Persistable
from persistable.errors import MalformedFile, PayloadNotRepresentable
from persistable.fileio import BundleFileIO, BytesFileIO, FileIO, FolderFileIO, JsonFileIO, NumpyFileIO, TextFileIO
from persistable.records.files import SMALL, ExistingFile

LARGE = b"0123456789abcdef" * (SMALL // 8)


class Found(Persistable[Any, None]):
    """Its payload is what lies at `source` after `make(scratch)`."""

    make: Any = None
    io: Any = BytesFileIO()
    keep: Any = None

    def _generate_payload(self, **untracked: Any) -> Any:
        return ExistingFile(self.make(self.scratch))

    def _validate_payload(self, payload: Any) -> None:
        assert not isinstance(payload, ExistingFile)
        if self.keep is not None:
            self.keep.append(payload)
        if payload == b"bad":
            raise ValueError("bad")


def node(where: Any, make: Any, io: FileIO[Any] | None = None, persisted: bool = True) -> Found:
    cls = Found if persisted else type("Found", (Found,), {"is_persisted": False})
    made = cls(where) if where is not None else cls()
    made.make, made.keep = make, []
    if io is not None:
        made.io = io
    return made


def write(data: bytes) -> Any:
    def make(scratch: Path) -> Path:
        (scratch / "body").write_bytes(data)
        return scratch / "body"

    return make


@pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("where", ["folder", "memory://", "sqlite:///x.db"])
def test_a_file_becomes_the_payload_in_any_store(where: str, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = node(where.replace("memory://", f"memory://{tmp_path.name}"), write(data))
    assert made.payload == data and made.keep == [data]
    assert made.record is not None and made.record.size == len(data)
    again = node(where, lambda scratch: pytest.fail("generated twice"))
    again._node_store = made.store
    assert again.load().payload == data
    if where == "folder":
        assert not (tmp_path / "folder" / ".persistable" / "scratch" / made.key.path).exists()
        assert [path.name for path in (tmp_path / "folder" / made.key.name).iterdir() if path.name.endswith(".tmp")] == []


def test_a_large_file_is_moved_not_copied(tmp_path: Path) -> None:
    numbers: list[int] = []

    def make(scratch: Path) -> Path:
        path: Path = write(LARGE)(scratch)
        path.chmod(0o700)
        numbers.append(path.stat().st_ino)
        return path

    made = node(tmp_path / "data", make)
    made.payload
    assert made.record is not None
    stored = tmp_path / "data" / made.record.files[0].path
    assert stored.stat().st_ino == numbers[0]
    assert stored.stat().st_mode & 0o100 == 0


@pytest.mark.parametrize("link", [os.link, os.symlink], ids=["hard", "symbolic"])
def test_a_file_that_somebody_else_can_still_write_to_is_copied(tmp_path: Path, link: Any) -> None:
    source = tmp_path / "source"
    source.write_bytes(LARGE)

    def make(scratch: Path) -> Path:
        link(source, scratch / "body")
        return scratch / "body"

    made = node(tmp_path / "data", make)
    made.payload
    source.write_bytes(b"changed")
    made.reset_payload()
    assert made.load().payload == LARGE


def test_a_file_of_another_file_system_is_copied(tmp_path: Path) -> None:
    if not os.access("/dev/shm", os.W_OK) or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        absent("there is no second file system here")
    import tempfile

    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        made = node(tmp_path / "data", lambda scratch: write(LARGE)(Path(elsewhere)))
        assert made.payload == LARGE
    made.reset_payload()
    assert made.load().payload == LARGE


def folder(scratch: Path) -> Path:
    root = scratch / "tree"
    shutil.rmtree(root, ignore_errors=True)
    (root / "deep").mkdir(parents=True)
    (root / "small.txt").write_bytes(b"small")
    (root / "deep" / "large.bin").write_bytes(LARGE)
    return root


@pytest.mark.parametrize("where", ["folder", "memory://"])
def test_a_folder_becomes_a_folder(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = node(where.replace("memory://", f"memory://{tmp_path.name}"), folder, FolderFileIO())
    for payload in (made.payload, made.load().payload):
        assert (payload / "small.txt").read_bytes() == b"small" and (payload / "deep" / "large.bin").read_bytes() == LARGE
    assert made.record is not None and [file.part for file in made.record.files] == ["deep/large.bin", "small.txt"]


def test_a_folder_that_a_store_cannot_hold_is_refused(tmp_path: Path) -> None:
    def make(scratch: Path) -> Path:
        root = folder(scratch)
        (root / "empty").mkdir()
        return root

    with pytest.raises(PayloadNotRepresentable, match="empty"):
        node(tmp_path, make, FolderFileIO()).payload


def test_a_folder_becomes_a_bundle(tmp_path: Path) -> None:
    def make(scratch: Path) -> Path:
        (scratch / "parts").mkdir(exist_ok=True)
        (scratch / "parts" / "a.txt").write_bytes(b"text")
        (scratch / "parts" / "b.json").write_bytes(b"[1, 2]")
        return scratch / "parts"

    made = node(tmp_path, make, BundleFileIO({"a": TextFileIO(), "b": JsonFileIO()}))
    assert made.payload == {"a": "text", "b": [1, 2]}
    made.reset_payload()
    assert made.load().payload == {"a": "text", "b": [1, 2]}


@pytest.mark.parametrize("data", [b"no array", LARGE], ids=["small", "large"])
def test_a_file_of_another_format_is_never_committed(tmp_path: Path, data: bytes) -> None:
    made = node(tmp_path, write(data), NumpyFileIO())
    with pytest.raises(MalformedFile):
        made.payload
    assert not made.exists() and made.status.name == "FAILED"
    assert [path for path in made.store.list(made.key.name) if "failed" not in path] == []


def test_validation_sees_what_the_format_reads_and_comes_before_the_commit(tmp_path: Path) -> None:
    made = node(tmp_path, write(b"bad"))
    with pytest.raises(ValueError, match="bad"):
        made.payload
    assert not made.exists()


def test_without_a_store_the_format_reads_the_file_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = node("data", write(LARGE), persisted=False)
    assert made.payload == LARGE and made.keep == [LARGE]
    tree = node("data", folder, FolderFileIO(), persisted=False).payload
    assert (tree / "deep" / "large.bin").read_bytes() == LARGE
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []
