"""A published folder behind servers that fail, lie, or change their files meanwhile: errors of stores, by name."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes.site import Site, answer, one_after_the_other, page
from nodes.site import serving as serving_site

from persistable import open_store
from persistable.errors import MalformedBundle, StoreError, StoreTooNew, StoreUnavailable
from persistable.stores import HTTPStore, http
from persistable.stores.manifest import PATH, read_manifest
from stores.test_contract_reading import Ranged, published, serving


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(http, "_DELAY", 0.001)
    with serving_site() as made:
        yield made


def store(site: Site) -> HTTPStore:
    made = open_store(f"{site.url}/site")
    assert isinstance(made, HTTPStore)
    return made


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (401, StoreError, "may not be read"),
        (403, StoreError, "may not be read"),
        (500, StoreUnavailable, "answers 500"),
        (503, StoreUnavailable, "answers 503"),
        (418, StoreError, "check the address"),
    ],
)
def test_a_status_becomes_an_error_of_stores(site: Site, status: int, kind: type[StoreError], text: str) -> None:
    site.pages["/site/a"] = page(b"no", status)
    for call in (store(site).get, store(site).read):
        with pytest.raises(kind, match=text) as caught:
            call("a")
        assert type(caught.value) is kind and f"{site.url}/site/a" in str(caught.value)


def test_what_may_pass_is_tried_again(site: Site) -> None:
    site.pages["/site/a"] = one_after_the_other(page(b"", 503), page(b"", 502), page(b"bytes"))
    assert store(site).get("a") == b"bytes"
    assert site.count("/site/a") == 3


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_DELAY", 0.001)
    from servers.needs import free_port

    with pytest.raises(StoreUnavailable, match="cannot be had now: ConnectError"):
        open_store(f"http://127.0.0.1:{free_port()}/site").get("a")


def test_an_answer_that_is_cut_off(site: Site) -> None:
    site.pages["/site/a"] = lambda handler: answer(handler, 200, b"some", claimed=100)
    for call in (store(site).get, store(site).read):
        with pytest.raises(StoreUnavailable, match="cut off"):
            call("a")


def test_a_page_for_people_in_place_of_a_file(site: Site) -> None:
    """Some servers say that all is well where there is nothing."""
    pieces: list[bytes] = []
    from persistable.stores.manifest import ManifestEntry, write_manifest

    write_manifest([("there.html", ManifestEntry(4, "0" * 64))], "a test", pieces.append)
    site.pages[f"/site/{PATH}"] = page(b"".join(pieces))
    for path in ("/site/absent", "/site/there.html"):
        site.pages[path] = page(b"<html>", content_type="text/html; charset=utf-8")
    assert store(site).get("there.html") == b"<html>"
    for call in (store(site).get, store(site).read):
        with pytest.raises(FileNotFoundError):
            call("absent")


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (b"<html>", MalformedBundle, "damaged"),
        (b"", MalformedBundle, "damaged"),
        (b'{"manifest":1,"files":[\n["../evil",1,"0"]', MalformedBundle, "an invalid path"),
        (b'{"manifest":1,"files":[\n["a",-1,"0"]', MalformedBundle, "sizes"),
        (b'{"manifest":1,"files":[\n["a"]', MalformedBundle, "means nothing"),
        (b'{"manifest":1,"folders":[', MalformedBundle, "means nothing"),
        (b'{"manifest":2,"files":[', StoreTooNew, "format 2"),
    ],
)
def test_manifests_that_are_none(site: Site, data: bytes, kind: type[StoreError], text: str) -> None:
    from zlib import crc32

    whole = data + b'\n],"check":"%08x"}\n' % crc32(data) if data.startswith(b"{") else data
    site.pages[f"/site/{PATH}"] = page(whole)
    with pytest.raises(kind, match=text):
        list(store(site).list())
    with pytest.raises(kind):
        read_manifest(whole, "a")


def test_the_manifest_is_asked_for_once_and_by_its_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published({"a": b"1", "b": b"2"}, tmp_path / "site")
    asked: list[tuple[str, bool]] = []

    class Counting(Ranged):
        def do_GET(self) -> None:  # noqa: N802
            asked.append((self.path, "if-none-match" in self.headers))
            super().do_GET()

    with serving(tmp_path, Counting) as url:
        made = open_store(f"{url}/site")
        assert all(made.exists(path) for path in ("a", "b")) and not made.exists("c")
        assert asked == [(f"/site/{PATH}", False)]
        assert sorted(made.list()) == ["a", "b"]
        assert asked[1:] == [(f"/site/{PATH}", True)]
        published({"c": b"3"}, tmp_path / "site")
        assert list(made.list()) == ["c"]
        monkeypatch.setattr(http, "CURRENT", 0.0)
        published({"d": b"3"}, tmp_path / "site")
        assert made.exists("d") and not made.exists("c")


@pytest.mark.parametrize("what", ["file", "archive"])
def test_what_is_replaced_while_it_is_read(tmp_path: Path, what: str) -> None:
    import zipfile

    def write(letter: bytes) -> None:
        data = letter * 40_000_000
        if what == "file":
            (tmp_path / "large").write_bytes(data)
        else:
            with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
                archive.writestr("large", data)

    write(b"1")
    with serving(tmp_path, Ranged) as url:
        made = open_store(url if what == "file" else f"{url}/a.zip")
        with made.read("large") as file:
            assert file.read(10) == b"1" * 10
            write(b"2")
            file.seek(39_000_000)
            with pytest.raises(StoreError, match="replaced"):
                file.read(10)


def test_passwords_are_not_shown(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    site.pages["/site/a"] = page(b"no", 403)
    where = site.url.replace("://", "://me:hush@")
    made = open_store(f"{where}/site")
    with pytest.raises(StoreError) as caught:
        made.get("a")
    assert "hush" not in str(caught.value) + made.url + repr(made) + caplog.text
    assert site.seen[-1].headers["authorization"].startswith("Basic ")


def test_the_query_of_a_url_goes_with_each_file_and_is_not_shown(site: Site) -> None:
    site.pages["/site/a/b"] = page(b"bytes")
    made = open_store(f"{site.url}/site/?sig=hush&v=1")
    assert made.get("a/b") == b"bytes" and site.seen[-1].path == "/site/a/b?sig=hush&v=1"
    assert made.url == f"{site.url}/site?sig=***&v=1"


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="timeout"):
        open_store("https://example.org/site", timeout=-1)
    with pytest.raises(TypeError, match="timeuot"):
        open_store("https://example.org/site", timeuot=1)
