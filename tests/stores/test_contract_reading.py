"""Stores that are only read keep what every store promises of reading: archives, wherever they lie, and published folders."""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from servers.listening import listening

from persistable import open_store
from persistable.stores import HTTPStore, LocalStore, Store, ZipStore
from persistable.stores.manifest import PATH, ManifestEntry, write_manifest
from persistable.testing import ReadContract


def archived(items: Mapping[str, bytes], file: Path, method: int = zipfile.ZIP_STORED) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w", method) as archive:
        for path, data in items.items():
            archive.writestr(path, data)
    return file


def published(items: Mapping[str, bytes], folder: Path) -> Path:
    """`items` as files of a folder, with their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    LocalStore(folder).put_many(items)
    pieces: list[bytes] = []
    write_manifest([(path, ManifestEntry(len(data), blake3(data).hexdigest())) for path, data in items.items()], "a test", pieces.append)
    LocalStore(folder).put(PATH, b"".join(pieces))
    return folder


class Plain(SimpleHTTPRequestHandler):
    """The standard library's: no ranges, no tags."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass


class Ranged(Plain):
    """Gives ranges and tags, as most servers of static files do."""

    def do_GET(self) -> None:
        place = Path(self.translate_path(self.path))
        if not place.is_file():
            self.send_error(404)
            return
        data = place.read_bytes()
        found = place.stat()
        tag = f'"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"'
        if self.headers.get("if-none-match") == tag:
            self.send_response(304)
            self.send_header("ETag", tag)
            self.end_headers()
            return
        wanted = self.headers.get("range")
        first, last = 0, len(data) - 1
        if wanted is not None:
            begins, _, ends = wanted.removeprefix("bytes=").partition("-")
            first, last = int(begins), min(int(ends), last)
            if first > last:
                self.send_response(416)
                self.send_header("ETag", tag)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.send_response(206 if wanted is not None else 200)
        self.send_header("ETag", tag)
        if wanted is not None:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(data[first : last + 1])


@contextmanager
def serving(folder: Path, handler: type[Plain] = Plain) -> Iterator[str]:
    with listening(functools.partial(handler, directory=str(folder))) as port:
        yield f"http://127.0.0.1:{port}"


class TestZip(ReadContract):
    method = zipfile.ZIP_STORED

    def build_store(self, items: Mapping[str, bytes], folder: Path) -> Store:
        return open_store(archived(items, folder / "a.zip", self.method))


class TestCompressedZip(TestZip):
    method = zipfile.ZIP_DEFLATED


class TestZipInABucket(ReadContract):
    @pytest.fixture(autouse=True)
    def _bucket(self, s3_bucket: Any) -> None:
        self.bucket = s3_bucket

    def build_store(self, items: Mapping[str, bytes], folder: Path) -> Store:
        self.bucket.client.upload_file(str(archived(items, folder / "a.zip")), self.bucket.name, "folder/a.zip")
        return open_store(f"{self.bucket.url}/a.zip", **self.bucket.options)


class OfAServer(ReadContract):
    handler: type[Plain] = Plain

    @pytest.fixture(autouse=True)
    def _server(self, tmp_path: Path) -> Iterator[None]:
        with serving(tmp_path, self.handler) as self.url:
            yield


class TestHTTP(OfAServer):
    handler = Ranged

    def build_store(self, items: Mapping[str, bytes], folder: Path) -> Store:
        published(items, folder / "site")
        return open_store(f"{self.url}/site/")


class TestHTTPWithoutRanges(TestHTTP):
    handler = Plain


class TestZipBehindHTTP(OfAServer):
    handler = Ranged

    def build_store(self, items: Mapping[str, bytes], folder: Path) -> Store:
        archived(items, folder / "a.zip")
        return open_store(f"{self.url}/a.zip?download=1")


class TestZipBehindHTTPWithoutRanges(TestZipBehindHTTP):
    handler = Plain


def test_which_store_a_place_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for where in ("paper.zip", tmp_path / "paper.ZIP", f"file://{tmp_path}/paper.zip", "https://example.org/a/paper.zip?x=1"):
        assert isinstance(open_store(where), ZipStore), where
    for where in ("https://example.org/site", "http://example.org", "https://example.org/site.zip/inner"):
        assert isinstance(open_store(where), HTTPStore), where
    (tmp_path / "folder.zip").mkdir()
    assert isinstance(open_store("folder.zip"), LocalStore)
    assert open_store("paper.zip").url == f"file://{tmp_path}/paper.zip"
    assert open_store(open_store("paper.zip").url) == open_store("paper.zip")
    assert open_store("https://me:hush@example.org/site/").url == "https://me:***@example.org/site"
