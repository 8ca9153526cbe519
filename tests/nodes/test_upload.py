"""Upload: a payload written to the outside world."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from servers.fixtures import Bucket

from nodes.test_in_file import LARGE
from persistable import Persistable, open_store
from persistable.errors import InputMissing, InvalidName, ParamsError, PayloadNotRepresentable, StoreError
from persistable.fileio import BundleFileIO, BytesFileIO, CsvFileIO, FileIO, FolderFileIO, JsonFileIO, NumpyFileIO, PickleFileIO, TextFileIO
from persistable.nodes.transfer import Upload
from persistable.params.secret import Secret


class Given(Persistable[Any, None]):
    """Its payload is what `value` says, in the format `io`; `version` is its identity."""

    value: Any = None

    def _generate_payload(self, **_: Any) -> Any:
        return self.value


def given(value: Any, io: FileIO[Any] | None = None, persisted: bool = True, where: Any = "data", name: str = "given") -> Given:
    cls = Given if persisted else type("Given", (Given,), {"is_persisted": False, "_generate_payload": lambda self: value})
    node = cls(where, payload_io=io, payload_name=name)
    node.value = value
    return node


class Once(BytesFileIO):
    """Bytes that may be stored and never decoded."""

    def load(self, file: Any) -> bytes:
        raise AssertionError("decoded")

    def loads(self, data: Any) -> bytes:
        raise AssertionError("decoded")


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "small", "large"])
def test_a_payload_goes_to_a_path(data: bytes, tmp_path: Path) -> None:
    target = tmp_path / "out" / "data.bin"
    node = Upload(target, source=given(data, BytesFileIO()))
    assert node.payload == str(target)
    assert target.read_bytes() == data
    assert [path.name for path in target.parent.iterdir()] == ["data.bin"]


def test_a_relative_path_counts_from_where_the_node_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = Upload("out.bin", source=given(b"x", BytesFileIO(), where=tmp_path / "data"), data_dir=tmp_path / "data")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert node.payload == "out.bin"
    assert (tmp_path / "out.bin").read_bytes() == b"x"


def test_it_happens_at_each_run_and_is_never_stored() -> None:
    node = Upload("out.bin", source=given(b"x", BytesFileIO()), data_dir="data")
    assert node.payload == "out.bin"
    Path("out.bin").unlink()
    twin = Upload("out.bin", source=given(b"x", BytesFileIO()), data_dir="data")
    assert twin.payload == "out.bin" and Path("out.bin").exists()
    assert not twin.exists()
    assert not any("upload" in path for path in open_store("data").list())


def test_it_takes_its_upstream_from_the_left() -> None:
    upload = Upload("out.json", io=JsonFileIO())
    with pytest.raises(InputMissing, match="source"):
        upload.payload
    node = given({"a": 1}) >> upload
    assert node.payload == "out.json"
    assert JsonFileIO().load("out.json") == {"a": 1}


@pytest.mark.parametrize("persisted", [True, False])
def test_another_format_is_written_on_request(persisted: bool) -> None:
    array = np.arange(5)
    Upload("out.npy", io=NumpyFileIO(), source=given(array, PickleFileIO(), persisted)).payload
    np.testing.assert_array_equal(np.load("out.npy"), array)
    Upload("out.pickle", source=given(array, PickleFileIO(), persisted)).payload
    np.testing.assert_array_equal(PickleFileIO().load("out.pickle"), array)


@pytest.mark.parametrize("where", ["data", "sqlite:///store.db"])
def test_bytes_in_the_wanted_format_are_copied_without_decoding(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = given(LARGE, BytesFileIO(), where=where)
    source.payload
    monkeypatch.setattr(BytesFileIO, "load", Once.load)
    monkeypatch.setattr(BytesFileIO, "loads", Once.loads)
    Upload("out.bin", source=source).payload
    assert Path("out.bin").read_bytes() == LARGE


def test_what_the_bytes_cannot_hold_goes_along() -> None:
    import pandas as pd

    frame = pd.DataFrame({"a": pd.Series([1, 2], dtype="int8"), "b": ["x", "y"]})
    Upload("out.csv", source=given(frame, CsvFileIO())).payload
    pd.testing.assert_frame_equal(CsvFileIO().load("out.csv"), frame)
    Upload("other.csv", io=CsvFileIO(), source=given(frame, PickleFileIO())).payload
    pd.testing.assert_frame_equal(CsvFileIO().load("other.csv"), frame)


@pytest.mark.parametrize("copied", [True, False])
def test_a_format_of_several_files_becomes_a_folder_and_leaves_nothing_of_an_earlier_one(copied: bool) -> None:
    io = BundleFileIO({"a": TextFileIO(), "b": JsonFileIO()})
    Path("out").mkdir()
    Path("out", "old.txt").write_text("old")
    Upload("out", io=io, source=given({"a": "text", "b": [1]}, io if copied else PickleFileIO())).payload
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.txt", "b.json"]
    assert io.load("out") == {"a": "text", "b": [1]}


class Breaking(FileIO[Any]):
    suffix = ".bin"

    def dump(self, payload: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError("the cable was cut")

    def load(self, file: Any) -> Any:
        return file.read()


@pytest.mark.parametrize("target", ["out.bin", "memory://{name}/out.bin"])
def test_a_failed_upload_leaves_what_was_there(target: str, tmp_path: Path) -> None:
    target = target.format(name=tmp_path.name)
    Upload(target, source=given(b"before", BytesFileIO())).payload
    with pytest.raises(PayloadNotRepresentable, match="cable"):
        Upload(target, io=Breaking(), source=given(b"after", BytesFileIO())).payload
    folder, _, name = target.rpartition("/")
    assert open_store(folder or ".").get(name) == b"before"


def test_damaged_bytes_are_not_uploaded(tmp_path: Path) -> None:
    source = given(LARGE, BytesFileIO())
    source.payload
    assert source.record is not None
    Path("data", source.record.files[0].path).write_bytes(LARGE[::-1])
    with pytest.raises(Exception, match="digest"):
        Upload("out.bin", source=source).payload
    assert not Path("out.bin").exists()


def array_node(where: str) -> Persistable[NDArray[np.int64], None]:
    return given(np.arange(200_000), NumpyFileIO(), where=where)


@pytest.mark.parametrize("payload", ["file", "folder"])
def test_s3(s3_bucket: Bucket, payload: str, tmp_path: Path) -> None:
    check_bucket(s3_bucket, payload, tmp_path)


@pytest.mark.parametrize("payload", ["file", "folder"])
def test_gcs(gcs_bucket: Bucket, payload: str, tmp_path: Path) -> None:
    check_bucket(gcs_bucket, payload, tmp_path)


def check_bucket(bucket: Bucket, payload: str, tmp_path: Path) -> None:
    url = f"{bucket.url}/deep/out"
    if payload == "file":
        Upload(url + ".npy", source=array_node("data"), options=bucket.options).payload
        Upload(url + ".npy", source=array_node("data"), options=bucket.options).payload
        store = open_store(bucket.url, **bucket.options)
        assert list(store.list()) == ["deep/out.npy"]
        (tmp_path / "back.npy").write_bytes(store.get("deep/out.npy"))
        np.testing.assert_array_equal(np.load(tmp_path / "back.npy"), np.arange(200_000))
        return
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "a.txt").write_text("a")
    (tree / "below" / "b.txt").write_text("b")
    store = open_store(bucket.url, **bucket.options)
    store.put("deep/out/stale.txt", b"stale")
    store.put("deep/outside.txt", b"another's")
    Upload(url, source=given(tree, FolderFileIO()), options=bucket.options).payload
    assert sorted(store.list()) == ["deep/out/a.txt", "deep/out/below/b.txt", "deep/outside.txt"]


def test_credentials_come_from_secrets_and_are_kept_nowhere(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    monkeypatch.setenv("TEST_S3_SECRET", "testing-s3cr3t")
    options = {**s3_bucket.options, "secret": Secret("TEST_S3_SECRET")}
    upload = Upload(f"{s3_bucket.url}/out.bin", source=given(b"x", BytesFileIO()), options=options)
    upload.payload
    assert s3_bucket.client.get_object(Bucket=s3_bucket.name, Key="folder/out.bin")["Body"].read() == b"x"
    assert b"s3cr3t" not in pickle.dumps(upload)
    assert "s3cr3t" not in repr(upload) + repr(upload.key) + upload._repr_html_() + repr(upload.params_tree)


def test_an_error_that_quotes_a_secret_is_told_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_S3_SECRET", "b4d-bucket-name")

    class Telling(FileIO[Any]):
        suffix = ".bin"

        def dump(self, payload: Any, file: Any) -> None:
            raise OSError(f"no access with {os.environ['TEST_S3_SECRET']}")

        def load(self, file: Any) -> Any:
            return file.read()

    assert Secret("TEST_S3_SECRET").reveal() == "b4d-bucket-name"
    upload = Upload("memory://there/out.bin", io=Telling(), source=given(b"x"))
    with pytest.raises(StoreError, match=r"no access with <TEST_S3_SECRET>") as caught:
        upload.payload
    assert "b4d-bucket" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("sftp://me:pw-in-url@host/x.bin", ParamsError),
        ("https://token-in-url@host/x.bin", ParamsError),
        ("gs://bucket", ParamsError),
        ("folder/", ParamsError),
        ("", ParamsError),
        ("zip://a::s3://b/c.zip", ParamsError),
        (7, TypeError),
    ],
)
def test_targets_that_cannot_be_are_refused_when_the_node_is_made(target: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        Upload(target)
    assert "pw-in-url" not in str(caught.value) and "token-in-url" not in str(caught.value)


def test_a_name_that_leaves_its_folder_is_refused() -> None:
    with pytest.raises(InvalidName):
        Upload("memory://there/..", source=given(b"x", BytesFileIO())).payload
