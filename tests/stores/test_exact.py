"""A URL means the key that it spells, or is refused."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest
from servers.fixtures import Bucket

from persistable import Source, Upload, open_store, run, step
from persistable.errors import PersistableError
from persistable.fileio import TextFileIO

ODD = [
    "q?x.txt", "q#x.txt", "q%20x.txt", "q%3Fx.txt", "q x.txt", "größe.txt",
    "a//x.txt", "/x.txt", "x.txt/", "../x.txt", "a/../x.txt", "./x.txt", "q*x.txt",
    "q[1].txt", "q?versionId=7", "q{x}.txt", "q&x=1.txt", "q+x.txt", "q:x.txt", "q;x.txt", "q~x.txt", "?x", "#x", "q\\x.txt",
]  # fmt: skip


@step
def words() -> str:
    return "words"


def keys(bucket: Bucket) -> dict[str, str]:
    found = bucket.client.list_objects_v2(Bucket=bucket.name).get("Contents", ())
    return {each["Key"]: bucket.client.get_object(Bucket=bucket.name, Key=each["Key"])["Body"].read().decode() for each in found}


@pytest.fixture
def bucket(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for name, value in (
        ("AWS_ENDPOINT_URL", s3_bucket.options["endpoint_url"]),
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
    ):
        monkeypatch.setenv(name, value)
    return s3_bucket


@pytest.mark.parametrize("how", ["upload", "save", "store"])
def test_a_bucket_gets_the_key_that_is_spelt(bucket: Bucket, how: str) -> None:
    written = 0
    for odd in ODD:
        url = f"s3://{bucket.name}/out/{odd}"
        with suppress(PersistableError):
            if how == "upload":
                run(words.step() >> Upload(url, io=TextFileIO(), options=bucket.options), errors="raise")
            elif how == "save":
                TextFileIO().save("words", url)
                assert TextFileIO().load(url) == "words"
            else:
                open_store(url, **bucket.options).put("x", b"words")
                url = url.rstrip("/") + "/x"
            written += 1
            assert keys(bucket) == {f"out/{url.partition('/out/')[2]}": "words"}, odd
        for key in keys(bucket):
            assert key == f"out/{url.partition('/out/')[2]}", odd
            bucket.client.delete_object(Bucket=bucket.name, Key=key)
    assert written >= 10


@pytest.mark.parametrize("how", ["upload", "save"])
def test_memory_gets_the_path_that_is_spelt(how: str) -> None:
    fs = fsspec.filesystem("memory")
    for odd in ODD:
        url = f"memory://exact-{how}/out/{odd}"
        with suppress(PersistableError):
            if how == "upload":
                run(words.step() >> Upload(url, io=TextFileIO()))
            else:
                TextFileIO().save("words", url)
        if how == "save":
            assert fs.find(f"/exact-{how}") in ([], [f"/exact-{how}/out/{odd}"]), odd
            if fs.exists(f"/exact-{how}"):
                fs.rm(f"/exact-{how}", recursive=True)
        else:
            store = open_store("memory://exact-upload/out")
            assert list(store.list()) in ([], [odd]), odd
            for path in list(store.list()):
                store.delete(path)


@pytest.mark.skipif(os.name == "nt", reason="names of files")
def test_a_folder_gets_the_file_that_is_spelt(tmp_path: Path) -> None:
    for odd in ["q?x.txt", "q#x.txt", "q%20x.txt", "q x.txt", "q*x.txt", "q[1].txt", "größe.txt"]:
        with suppress(PersistableError):
            run(words.step() >> Upload(str(tmp_path / odd), io=TextFileIO()))
            assert (tmp_path / odd).read_text() == "words"
        with suppress(PersistableError):
            TextFileIO().save("words", f"file://{tmp_path}/b{odd}")
            assert (tmp_path / f"b{odd}").read_text() == "words"
        assert {each.name for each in tmp_path.iterdir()} <= {odd, f"b{odd}"}
        for each in tmp_path.iterdir():
            each.unlink()


def test_a_source_reads_the_keys_that_are_there(bucket: Bucket) -> None:
    names = ["q?x", "q#x", "q%20x", "q x", "größe", "q*x", "q[1]", "q+x", "q&x=1", "a//x"]
    for name in names:
        bucket.client.put_object(Bucket=bucket.name, Key=f"in/{name}.txt", Body=name.encode())
    found = Source(f"s3://{bucket.name}/in/{{name}}.txt", **bucket.options)
    with suppress(PersistableError):
        for name, node in found.items():
            assert node.payload == name
    for odd in ("q?x", "q#x", "q%20x", "q*x", "q[1]"):
        bucket.client.put_object(Bucket=bucket.name, Key=f"{odd}/one.txt", Body=odd.encode())
        with suppress(PersistableError):
            assert Source(f"s3://{bucket.name}/{odd}/{{name}}.txt", options=bucket.options)["one"].payload == odd
