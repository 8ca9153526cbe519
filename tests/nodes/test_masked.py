"""No password of a URL is shown."""

import pickle
import traceback
from base64 import b64decode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from servers.listening import Quiet, listening

from persistable import HttpGet, Source, Upload, run, step
from persistable.errors import PersistableError
from persistable.fileio import FolderFileIO, JsonFileIO, NumpyFileIO
from persistable.params.masking import masked, unmasked
from persistable.stores import LayeredStore, open_store


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@host/a",
        "http://hunter2@host/a",
        "s3://key:hunter2@bucket/a",
        "sftp://user:hunter2@host/a",
        "ftp://user:hun@ter2@host/a".replace("hun@ter2", "x@hunter2"),
        "filecache::https://user:hunter2@host/a",
        "https://host/a?token=hunter2&x=1",
        "https://host/a?X-Amz-Signature=hunter2",
        "https://host/a?sig=hunter2",
        "webdav://user:hunter2@host/a?api_key=hunter2",
    ],
)
def test_what_is_secret_is_masked(url: str) -> None:
    assert "hunter2" not in masked(f"cannot reach {url} now")
    assert "host" in masked(url) or "bucket" in masked(url)


def test_stores_show_none() -> None:
    store = open_store("simplecache::https://user:hunter2@127.0.0.1:9/a")
    again = pickle.loads(pickle.dumps(store))
    for text in (store.url, repr(store), LayeredStore("memory://a", store).url, repr(again)):
        assert "hunter2" not in text
        assert "user" in text
    assert again == store
    assert store != open_store("simplecache::https://user:hunter2@127.0.0.1:9/b")
    with pytest.raises(PersistableError) as caught:
        open_store("nosuch://user:hunter2@host/a")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:hun/ter2@bucket/a",
        "s3://key:hun#ter2@bucket/a",
        "zip://x.csv::https://user:hun:ter2@host/a.zip",
        "ftp://ghp_hunter2hunter2hunter2hunter2@host/a",
        "https://host/a?endpoint_url=https%3A%2F%2Fuser%3Ahunter2%40host%2F",
        "https://host/a?next=https%3A//user%3Ahunter2@host/",
        "https://host/a#access_token=hunter2",
        "mongodb://user:hunter2@host:1,host:2/a",
        "https://user:hun@ter2@host/a",
    ],
)
def test_odd_ones_too(url: str) -> None:
    assert "ter2" not in masked(f"({url})")
    assert "host" in masked(url) or "bucket" in masked(url)
    assert unmasked(url)
    assert not unmasked(masked(url))


@pytest.mark.parametrize(
    "url",
    [
        "http://host:80/a@b",
        "http://host:8080/a:b@c",
        "sftp://user@host/a",
        "https://host/a?page_token=2&max_tokens=3",
        "a@b ://",
        "memory://a",
    ],
)
def test_what_is_no_secret_stays(url: str) -> None:
    assert masked(url) == url


SECRET = "hunter2"
URLS = [
    f"http://user:{SECRET}@127.0.0.1:9/a",
    f"http://{SECRET}@127.0.0.1:9/a",
    f"simplecache::http://user:{SECRET}@127.0.0.1:9/a",
    f"http://127.0.0.1:9/a?token={SECRET}",
    f"ftp://user:{SECRET}@127.0.0.1:9/a",
    f"s3://key:{SECRET}@bucket/a?endpoint_url=http://127.0.0.1:9",
    f"nosuch://user:{SECRET}@host/a",
]


def told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + f"{error} {error!r} {vars(error)}"


def raised_by(act: Callable[[], Any]) -> str:
    try:
        act()
    except Exception as error:  # noqa: BLE001
        shown = told(error)
        lines = [line for line in shown.splitlines() if SECRET in line and "SECRET" not in line]
        assert not lines, lines
        return shown
    return ""


@pytest.mark.parametrize("url", URLS)
def test_no_error_of_files_sources_and_uploads_tells(url: str) -> None:
    shown = [
        raised_by(lambda: NumpyFileIO().load(url + ".npy")),
        raised_by(lambda: JsonFileIO().save([1], url + ".json")),
        raised_by(lambda: FolderFileIO().load(url)),
        raised_by(lambda: list(Source(url + "/{x}.txt", keys=["a"]))),
        raised_by(lambda: list(Source(url + "/{x}.txt"))),
        raised_by(lambda: Source(url + "/{x}.txt", io="none")),
        raised_by(lambda: Upload(url)),
        raised_by(lambda: open_store(url).get("x")),
        raised_by(lambda: open_store(url, nosuchoption=1).get("x")),
        raised_by(lambda: HttpGet(url)),
    ]
    assert any(shown)


def test_nor_does_what_a_failing_node_leaves(tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Any] = []
    for executor in ("inline", "threads"):
        result = run(reads.step(url=1), store=tmp_path, executor=executor, errors="return", hooks=[heard.append])
        (failure,) = result.failures
        node = reads.step(url=1).bind(tmp_path)
        texts = [str(failure), repr(failure), failure.traceback, told(failure.error), str(node.explain()), repr(heard), repr(result)]
        texts += [result._repr_html_(), node._repr_html_()]
        assert all(SECRET not in text for text in texts), [text for text in texts if SECRET in text]
    assert "http://user:***@" in failure.traceback
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()
    assert SECRET not in capsys.readouterr().err + caplog.text


@step
def reads(url: int) -> Any:
    secret = "ter2"
    raise ConnectionError(f"cannot reach http://user:hun{secret}@127.0.0.1:9/")


def test_nor_does_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from persistable.cli.main import main

    monkeypatch.chdir(tmp_path)
    for url in URLS:
        for verb in (["ls"], ["show", "x/0123"], ["rm", "x/0123", "--yes"]):
            main([*verb, "--store", url])
    out, err = capsys.readouterr()
    assert "***" in err
    assert SECRET not in out + err


def test_another_password_is_another_connection() -> None:
    """Stores that differ in the password only are one place, and each asks with its own."""
    asked: list[str] = []

    class Asked(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode())
            self.send_response(200)
            self.send_header("Content-Length", "1")
            self.end_headers()
            self.wfile.write(b"1")

        do_HEAD = do_GET  # noqa: N815

    with listening(Asked) as port:
        place = f"127.0.0.1:{port}/a"
        stores = [open_store(f"http://user:{password}@{place}") for password in ("one", "two")]
        assert stores[0] == stores[1]
        for number, password in ((0, "one"), (1, "two"), (0, "one")):
            asked.clear()
            assert stores[number].get("x") == b"1"
            assert set(asked) == {f"user:{password}"}
