"""Formats of several files: folders, bundles, zarr."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from persistable.errors import MalformedFile, PayloadNotRepresentable
from persistable.fileio import BundleFileIO, CompressedFileIO, CsvFileIO, FolderFileIO, JsonFileIO, NumpyFileIO, PickleFileIO, ZarrFileIO
from persistable.fileio.parts import checked_name
from persistable.testing.fileio import FileIOContract, exactly_equal

_names = st.text("abcXYZ .-_äß", min_size=1, max_size=8).filter(lambda name: name not in (".", ".."))


@pytest.fixture(scope="module", autouse=True)
def _trees() -> Any:
    yield
    shutil.rmtree(_ROOT, ignore_errors=True)


_ROOT = Path(tempfile.mkdtemp(prefix="trees-"))


def _tree(files: dict[tuple[str, ...], bytes]) -> Path:
    root = Path(tempfile.mkdtemp(dir=_ROOT))
    for parts, data in files.items():
        path = root.joinpath(*parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError:  # a file where a folder should be, in this draw
            continue
    for folder, folders, names in os.walk(root, topdown=False):
        if not folders and not names and Path(folder) != root:
            Path(folder).rmdir()
    return root


trees = st.dictionaries(st.lists(_names, min_size=1, max_size=3).map(tuple), st.binary(max_size=20), min_size=1, max_size=5).map(_tree)


def _odd_tree(kind: str) -> Path:
    root = _tree({("a.txt",): b"a"})
    if kind == "link":
        (root / "link").symlink_to("a.txt")
    elif kind == "folder link":
        (root / "link").symlink_to("/tmp", target_is_directory=True)
    elif kind == "empty folder":
        (root / "empty").mkdir()
    elif kind == "executable":
        (root / "a.txt").chmod(0o755)
    elif kind == "backslash":
        (root / "a\\b").write_bytes(b"")
    elif kind == "no file":
        (root / "a.txt").unlink()
    elif kind == "pipe":
        os.mkfifo(root / "pipe")
    return root


class TestFolder(FileIOContract):
    def io(self) -> FolderFileIO:
        return FolderFileIO()

    def payloads(self) -> st.SearchStrategy[Any]:
        return trees

    def refused(self) -> list[Any]:
        kinds = ("link", "folder link", "empty folder", "executable", "backslash", "no file", "pipe")
        return [*map(_odd_tree, kinds), Path("/nowhere/at/all"), "text", str(_tree({("a",): b""})), _tree({("a",): b""}) / "a"]


_arrays = hnp.arrays(
    st.sampled_from(["?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "c8", "c16"]), hnp.array_shapes(min_dims=0, min_side=0, max_side=4)
)


class TestZarr(FileIOContract):
    samples = 10

    def io(self) -> ZarrFileIO:
        return ZarrFileIO()

    def payloads(self) -> st.SearchStrategy[Any]:
        return st.recursive(_arrays, lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3), max_leaves=4)

    def refused(self) -> list[Any]:
        zero = np.zeros(1)
        return [
            [zero],
            {"a": [1]},
            {1: zero},
            {"a/b": zero},
            {"": zero},
            {"zarr.json": zero},
            np.array(["x"]),
            np.array([None]),
            np.ma.masked_array([1]),
        ]


class TestZarrChunked(TestZarr):
    def io(self) -> ZarrFileIO:
        return ZarrFileIO(chunks=[2, 2])

    def payloads(self) -> st.SearchStrategy[Any]:
        return hnp.arrays("f8", (5, 3))


_bundle = {"values": NumpyFileIO(), "facts": JsonFileIO(indent=1), "table": CsvFileIO(), "inner": BundleFileIO({"text": PickleFileIO()})}


class TestBundle(FileIOContract):
    samples = 15

    def io(self) -> BundleFileIO:
        return BundleFileIO(_bundle)

    def payloads(self) -> st.SearchStrategy[Any]:
        tables = hnp.arrays("i2", 3).map(lambda values: pd.DataFrame({"a": values}))
        facts = st.dictionaries(st.text("ab"), st.integers())
        inner = st.text().map(lambda text: {"text": text})
        return st.tuples(hnp.arrays("f4", 3), facts, tables, inner).map(lambda values: dict(zip(_bundle, values, strict=True)))

    def refused(self) -> list[Any]:
        good = {"values": np.zeros(1), "facts": {}, "table": pd.DataFrame({"a": [1]}), "inner": {"text": "x"}}
        return [{}, None, {**good, "more": 1}, {**good, "facts": (1,)}, {**good, "inner": {"other": 1}}, list(good.items())]


class TestBundleCompressed(TestBundle):
    def io(self) -> Any:
        return CompressedFileIO(BundleFileIO(_bundle))


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    """Files of the earlier payload do not stay among those of the new one."""
    target = tmp_path / "t"
    FolderFileIO().save(_tree({("old",): b"1", ("sub", "x"): b"2"}), target)
    new = _tree({("new",): b"3"})
    FolderFileIO().save(new, target)
    assert [path.name for path in target.rglob("*")] == ["new"]
    assert os.listdir(tmp_path) == ["t"]
    FolderFileIO().save(new, "memory://replaced/t")
    FolderFileIO().save(_tree({("b",): b"4"}), "memory://replaced/t")
    assert [path.name for path in FolderFileIO().load("memory://replaced/t").iterdir()] == ["b"]


def test_a_bundle_is_ordinary_files(tmp_path: Path) -> None:
    payload = {"values": np.arange(3.0), "facts": {"a": 1}}
    format_ = BundleFileIO({"values": NumpyFileIO(), "facts": JsonFileIO()})
    format_.save(payload, tmp_path / "b")
    assert sorted(os.listdir(tmp_path / "b")) == ["facts.json", "values.npy"]
    assert np.load(tmp_path / "b" / "values.npy").tolist() == [0.0, 1.0, 2.0]
    (tmp_path / "b" / "facts.json").unlink()
    with pytest.raises(MalformedFile, match=r"no facts\.json"):
        format_.load(tmp_path / "b")


def test_equal_payloads_make_equal_bytes() -> None:
    payload = {"values": np.arange(3.0), "facts": {"a": 1}}
    format_ = CompressedFileIO(BundleFileIO({"values": NumpyFileIO(), "facts": JsonFileIO()}), "gzip")
    assert format_.dumps(payload) == format_.dumps(dict(payload))


@pytest.mark.parametrize("name", ["", "/a", "../a", "a/../b", "a//b", "a/", "./a", "a\\b", "a\0"])
def test_no_part_leaves_its_folder(name: str) -> None:
    with pytest.raises(ValueError, match="part"):
        checked_name(name)


def test_a_zip_with_a_part_outside_is_malformed(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil", "x")
    with pytest.raises(MalformedFile):
        FolderFileIO().load(tmp_path / "evil.zip")
    assert not (tmp_path.parent / "evil").exists()


def test_zarr_itself_opens_the_folder(tmp_path: Path) -> None:
    import zarr

    ZarrFileIO(chunks=[10]).save({"x": np.arange(25), "deep": {"y": np.ones(3)}}, tmp_path / "z.zarr")
    group = zarr.open_group(tmp_path / "z.zarr", mode="r")
    assert group["x"][20:].tolist() == [20, 21, 22, 23, 24]
    assert group["deep/y"].shape == (3,)


def test_a_refusal_inside_a_bundle_names_the_part() -> None:
    with pytest.raises(PayloadNotRepresentable, match="'facts': JsonFileIO"):
        BundleFileIO({"facts": JsonFileIO()}).check({"facts": (1,)})


def test_folders_equal_by_content() -> None:
    assert exactly_equal(_tree({("a", "b"): b"1"}), _tree({("a", "b"): b"1"}))
    assert not exactly_equal(_tree({("a", "b"): b"1"}), _tree({("a", "b"): b"2"}))
