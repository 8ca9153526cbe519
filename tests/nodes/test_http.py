"""HttpGet against a real server on this machine."""

from __future__ import annotations

import gzip
import logging
import os
import subprocess
import sys
import textwrap
import time
import traceback
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from servers.needs import free_port, need

from nodes.site import Site, answer, conditional, one_after_the_other, page
from persistable.errors import HttpFailed, MalformedFile, ParamsError, SecretMissing, UnknownFormat, UnknownParam
from persistable.fileio import BytesFileIO, FolderFileIO, JsonFileIO, TextFileIO
from persistable.nodes.transfer import HttpGet
from persistable.params.secret import Secret
from persistable.records.failure import Failure

BODY = bytes(range(256)) * 2000


def get(site: Site, path: str = "/data.bin", *arguments: Any, where: Any = "data", **options: Any) -> HttpGet[Any]:
    return HttpGet(site.url + path, *arguments, **{"data_dir": where, "delay": 0.01, "timeout": 20.0, **options})


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("httpx")
    monkeypatch.chdir(tmp_path)


# getting


@pytest.mark.parametrize("where", ["data", "sqlite:///store.db", "memory://http-test"])
def test_the_body_is_the_payload_and_is_fetched_once(site: Site, where: str) -> None:
    site.pages["/data.bin"] = page(BODY, Content_Type="application/x-test", ETag='"v1"')
    node = get(site, where=where)
    assert node.payload == BODY
    assert get(site, where=where).payload == BODY
    assert site.count("/data.bin") == 1
    assert node.record is not None
    notes = node.record.notes
    assert notes == {
        "url": f"{site.url}/data.bin",
        "status": 200,
        "etag": '"v1"',
        "content_type": "application/x-test",
        "transferred": len(BODY),
    }


def test_identity_is_the_url_and_as_of_and_what_is_read() -> None:
    base = HttpGet("https://example.org/x")
    same = HttpGet("https://example.org/x", timeout=3, attempts=9, headers={"User-Agent": "me"}, expect=(200, 203), max_bytes=5)
    assert same.key == base.key
    others = [
        HttpGet("https://example.org/y"),
        HttpGet("https://example.org/x", "2026-01-01"),
        HttpGet("https://example.org/x", date(2026, 1, 1)),
        HttpGet("https://example.org/x", io=TextFileIO()),
        HttpGet("https://example.org/x", headers={"accept": "text/csv"}),
    ]
    assert len({base.key, *(other.key for other in others)}) == 6
    assert HttpGet("https://example.org/x", headers={"Accept": "text/csv"}).key == others[-1].key
    assert HttpGet("https://example.org/x", io=BytesFileIO()).key == base.key
    assert base.replace(as_of="2026-01-01").key == others[1].key


def test_the_format_reads_the_body(site: Site) -> None:
    site.pages["/data.json"] = page(b'{"a": [1, 2]}')
    assert get(site, "/data.json", io=JsonFileIO()).payload == {"a": [1, 2]}
    assert get(site, "/data.json", io="auto").payload == {"a": [1, 2]}
    assert get(site, "/data.json", io=".txt").payload == '{"a": [1, 2]}'
    assert get(site, "/data.json").payload == b'{"a": [1, 2]}'


def test_a_body_of_another_format_is_not_stored(site: Site) -> None:
    site.pages["/data.json"] = page(b"<html>please log in</html>")
    node = get(site, "/data.json", io="auto")
    with pytest.raises(MalformedFile):
        node.payload
    assert not node.exists()


def test_a_redirect_is_followed(site: Site) -> None:
    site.pages["/old"] = page(b"", 302, Location="/new?ticket=temporary")
    site.pages["/new"] = page(b"here")
    node = get(site, "/old")
    assert node.payload == b"here"
    assert node.record is not None and node.record.notes["url"] == f"{site.url}/new"


def test_a_circle_of_redirects_ends(site: Site) -> None:
    site.pages["/old"] = page(b"", 302, Location="/old")
    with pytest.raises(HttpFailed, match="TooManyRedirects"):
        get(site, "/old").payload


def test_a_compressed_body_is_unpacked(site: Site) -> None:
    packed = gzip.compress(BODY)
    site.pages["/data.bin"] = page(packed, Content_Encoding="gzip")
    node = get(site)
    assert node.payload == BODY
    assert node.record is not None and node.record.notes["transferred"] == len(packed)
    assert site.seen[0].headers["accept-encoding"] == "gzip"


def test_a_damaged_compressed_body_is_fetched_again_and_never_stored(site: Site) -> None:
    packed = gzip.compress(BODY)
    site.pages["/data.bin"] = one_after_the_other(page(packed[:-9], Content_Encoding="gzip"), page(packed, Content_Encoding="gzip"))
    assert get(site).payload == BODY
    site.pages["/bad.bin"] = page(packed[:-9], Content_Encoding="gzip")
    with pytest.raises(HttpFailed, match="not a complete gzip stream"):
        get(site, "/bad.bin", attempts=2).payload


# refusals


@pytest.mark.parametrize("status", [404, 403, 400, 204])
def test_another_status_is_an_error_told_at_once_and_recorded(site: Site, status: int) -> None:
    site.pages["/data.bin"] = page(b"", status)
    node = get(site)
    with pytest.raises(HttpFailed) as caught:
        node.payload
    assert (caught.value.status, caught.value.url, caught.value.transient) == (status, f"{site.url}/data.bin", False)
    assert str(status) in str(caught.value) and f"{site.url}/data.bin" in str(caught.value)
    assert site.count("/data.bin") == 1
    assert not node.exists() and node.status.name == "FAILED"


def test_other_statuses_can_be_expected(site: Site) -> None:
    site.pages["/data.bin"] = page(b"part", 203)
    assert get(site, expect=(200, 203)).payload == b"part"


def test_another_content_type_is_an_error(site: Site) -> None:
    site.pages["/data.csv"] = page(b"<html>", Content_Type="text/html; charset=utf-8")
    with pytest.raises(HttpFailed, match="text/html, expected is text/csv") as caught:
        get(site, "/data.csv", content_type="text/csv").payload
    assert caught.value.status == 200
    assert get(site, "/data.csv", content_type=["image/*", "text/*"]).payload == b"<html>"


def test_a_body_that_is_too_large_is_refused(site: Site) -> None:
    site.pages["/data.bin"] = page(BODY)
    with pytest.raises(HttpFailed, match="max_bytes"):
        get(site, max_bytes=len(BODY) - 1).payload
    assert get(site, max_bytes=len(BODY)).payload == BODY
    site.pages["/bomb"] = page(gzip.compress(bytes(1 << 20)), Content_Encoding="gzip")
    with pytest.raises(HttpFailed, match="max_bytes"):
        get(site, "/bomb", max_bytes=1 << 19).payload


def test_a_server_that_says_nothing_is_given_up(site: Site) -> None:
    site.pages["/data.bin"] = lambda handler: site.stopped.wait(60)
    with pytest.raises(HttpFailed, match=r"nothing came for 0\.2 s") as caught:
        get(site, timeout=0.2, attempts=2).payload
    assert caught.value.status is None and caught.value.transient
    deadline = time.monotonic() + 30
    while site.count("/data.bin") < 2:  # the server may notice later than the client gives up
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_server_that_is_not_there_is_an_error(site: Site) -> None:
    with pytest.raises(HttpFailed, match="ConnectError") as caught:
        HttpGet(f"http://127.0.0.1:{free_port()}/x", data_dir="data", attempts=2, delay=0.01).payload
    assert "tried 2 times" in caught.value.__notes__


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("ftp-ish",), ParamsError, "no URL"),
        (("ftp://host/x",), ParamsError, "https:// only"),
        (("file:///etc/hosts",), ParamsError, "https:// only"),
        (("http://[::1",), ParamsError, "no URL: Invalid IPv6 URL"),
        (("https://me:pw-in-url@host/x",), ParamsError, "https://host/x"),
        (("https://token-in-url@host/x",), ParamsError, "https://host/x"),
        (("https://host/x?key={key}",), UnknownParam, "key"),
        (("https://{key}/x",), ParamsError, "host"),
        ((b"https://host",), TypeError, "string"),
    ],
)
def test_urls_that_cannot_be_are_refused_when_the_node_is_made(arguments: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        HttpGet(*arguments)
    assert "pw-in-url" not in str(caught.value) and "token-in-url" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"headers": {"Authorization": "Bearer plain"}}, ParamsError, "Authorization"),
        ({"headers": {"X-Api-Key": "plain"}}, ParamsError, "X-Api-Key"),
        ({"headers": {"Range": "bytes=0-1"}}, ParamsError, "Range"),
        ({"headers": {"X-N": 3}}, TypeError, "X-N"),
        ({"secrets": {"key": Secret("KEY")}}, UnknownParam, "key"),
        ({"secrets": {"key": "plain"}}, TypeError, "Secret"),
        ({"auth": ("me", "plain")}, TypeError, "Secret"),
        ({"attempts": 0}, ValueError, "attempts"),
        ({"io": FolderFileIO()}, TypeError, "several"),
        ({"io": "auto"}, UnknownFormat, "known"),
        ({"io": 3}, TypeError, "FileIO"),
        ({"time_out": 3}, UnknownParam, r"takes no 'time_out'; did you mean 'timeout'\?"),
    ],
)
def test_options_that_cannot_be_are_refused_when_the_node_is_made(options: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        HttpGet("https://host/x", **options)
    assert "plain'" not in str(caught.value)


# trying again


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_passing_trouble_is_tried_again(site: Site, status: int) -> None:
    site.pages["/data.bin"] = one_after_the_other(page(b"", status), page(b"", status), page(BODY))
    assert get(site).payload == BODY
    assert site.count("/data.bin") == 3


def test_the_server_says_how_long_to_wait(site: Site) -> None:
    site.pages["/data.bin"] = one_after_the_other(page(b"", 429, Retry_After="1"), page(BODY))
    started = time.monotonic()
    assert get(site).payload == BODY
    assert time.monotonic() - started >= 0.9


@pytest.mark.parametrize("as_date", [False, True])
def test_a_server_that_asks_for_an_hour_is_not_waited_for(site: Site, as_date: bool) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True) if as_date else "3600"
    site.pages["/data.bin"] = page(b"", 503, Retry_After=later)
    with pytest.raises(HttpFailed, match=r"asks to wait for 3\d\d\d s") as caught:
        get(site).payload
    assert site.count("/data.bin") == 1 and not caught.value.transient


def test_a_body_that_is_cut_off_is_never_stored(site: Site) -> None:
    site.pages["/data.bin"] = lambda handler: answer(handler, 200, BODY[:1000], claimed=len(BODY))
    node = get(site, attempts=2)
    with pytest.raises(HttpFailed) as caught:
        node.payload
    assert caught.value.transient and site.count("/data.bin") == 2
    assert not node.exists()
    site.pages["/data.bin"] = one_after_the_other(site.pages["/data.bin"], page(BODY))
    assert node.payload == BODY


def ranged(body: bytes, etag: str, cut: int) -> Any:
    """Cuts the body off after `cut` bytes, again and again, and goes on from where it is asked to."""

    def respond(handler: Any) -> None:
        asked = handler.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and handler.headers.get("If-Range") == etag else 0
        rest = body[start:]
        given = {"ETag": etag, **({"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {})}
        answer(handler, 206 if start else 200, rest[:cut], claimed=len(rest), **given)

    return respond


def test_a_body_that_is_cut_off_is_resumed_where_it_was(site: Site) -> None:
    site.pages["/data.bin"] = ranged(BODY, '"v1"', 200_000)
    node = get(site)
    assert node.payload == BODY
    assert [seen.headers.get("range") for seen in site.seen] == [None, "bytes=200000-", "bytes=400000-"]
    assert node.record is not None and node.record.notes["status"] == 200


def test_a_later_process_resumes_too(site: Site) -> None:
    site.pages["/data.bin"] = ranged(BODY, '"v1"', 300_000)
    with pytest.raises(HttpFailed):
        get(site, attempts=1).payload
    assert get(site, attempts=1).payload == BODY
    assert site.seen[-1].headers["range"] == "bytes=300000-"


def test_a_body_that_changed_meanwhile_is_begun_anew(site: Site) -> None:
    new = BODY[::-1]
    site.pages["/data.bin"] = one_after_the_other(ranged(BODY, '"v1"', 300_000), ranged(new, '"v2"', len(new)))
    assert get(site).payload == new


def test_a_server_that_resumes_elsewhere_is_not_believed(site: Site) -> None:
    wrong = lambda handler: answer(handler, 206, BODY[7:], ETag='"v1"', Content_Range=f"bytes 7-{len(BODY) - 1}/{len(BODY)}")  # noqa: E731
    site.pages["/data.bin"] = one_after_the_other(ranged(BODY, '"v1"', 300_000), wrong, page(BODY))
    assert get(site).payload == BODY


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
def test_nothing_is_resumed_without_a_strong_etag(site: Site, etag: str | None) -> None:
    given = {"ETag": etag} if etag else {}
    cut = lambda handler: answer(handler, 200, BODY[:1000], claimed=len(BODY), **given)  # noqa: E731
    site.pages["/data.bin"] = one_after_the_other(cut, page(BODY, **given))
    assert get(site).payload == BODY
    assert "range" not in site.seen[-1].headers


# asking again


@pytest.mark.parametrize("where", ["data", "sqlite:///store.db"])
@pytest.mark.parametrize("validators", [{"ETag": '"v1"'}, {"ETag": 'W/"v1"'}, {"Last_Modified": "Sat, 21 Nov 2026 08:00:00 GMT"}])
def test_what_did_not_change_is_taken_over(site: Site, validators: dict[str, str], where: str) -> None:
    site.pages["/data.bin"] = conditional(BODY, **validators)
    first = get(site, "/data.bin", "monday", where=where)
    assert first.payload == BODY
    second = get(site, "/data.bin", "tuesday", where=where)
    assert second.payload == BODY
    assert site.count("/data.bin") == 2
    assert second.record is not None
    assert second.record.notes["status"] == 304 and second.record.notes["taken_from"] == str(first.key)
    first.delete()
    assert get(site, "/data.bin", "wednesday", where=where).payload == BODY, "the chain goes on from tuesday"
    third = get(site, "/data.bin", "wednesday", where=where).record
    assert third is not None and third.notes["taken_from"] == str(second.key)


def test_what_changed_is_fetched(site: Site) -> None:
    site.pages["/data.bin"] = conditional(BODY, ETag='"v1"')
    assert get(site, "/data.bin", "monday").payload == BODY
    site.pages["/data.bin"] = conditional(b"new", ETag='"v2"')
    assert get(site, "/data.bin", "tuesday").payload == b"new"
    assert site.seen[-1].headers["if-none-match"] == '"v1"'


def test_generating_again_asks_whether_anything_changed(site: Site) -> None:
    site.pages["/data.bin"] = conditional(BODY, ETag='"v1"')
    node = get(site)
    assert node.payload == BODY
    assert node.generate().payload == BODY
    node.reset_payload()
    assert node.load().payload == BODY
    assert node.record is not None and node.record.notes["status"] == 304


def test_nothing_is_asked_on_the_word_of_a_payload_that_is_gone_or_damaged(site: Site) -> None:
    site.pages["/data.bin"] = conditional(BODY, ETag='"v1"')
    first = get(site, "/data.bin", "monday")
    assert first.payload == BODY and first.record is not None
    file = Path("data", first.record.files[0].path)
    file.write_bytes(BODY[::-1])
    assert get(site, "/data.bin", "tuesday").payload == BODY
    assert [("if-none-match" in seen.headers) for seen in site.seen] == [False, True, False]
    file.unlink()
    get(site, "/data.bin", "tuesday").delete()
    assert get(site, "/data.bin", "wednesday").payload == BODY
    assert "if-none-match" not in site.seen[-1].headers


def test_what_is_not_persisted_leaves_nothing(site: Site) -> None:
    site.pages["/data.bin"] = page(BODY, ETag='"v1"')
    assert get(site).generate(persist=False).payload == BODY
    assert [path for path in Path("data").rglob("*") if path.is_file()] == []


# large bodies

LARGE = textwrap.dedent(
    """
    import sys, tracemalloc
    from persistable.fileio import FileIO
    from persistable.nodes.transfer import HttpGet

    class Length(FileIO[int]):
        suffix = ".bin"
        def dump(self, payload, file): raise NotImplementedError
        def load(self, file):
            total = 0
            while piece := file.read(1 << 16):
                total += len(piece)
            return total

    HttpGet(sys.argv[1] + "/small", io=Length(), data_dir=sys.argv[2]).payload
    tracemalloc.start()
    print(HttpGet(sys.argv[1] + "/large", io=Length(), data_dir=sys.argv[2]).payload)
    print(tracemalloc.get_traced_memory()[1] >> 20)
    """
)


@pytest.mark.parametrize("packed", [False, True])
def test_a_large_body_is_never_in_memory(site: Site, packed: bool) -> None:
    size = 64 << 20
    piece = bytes(1 << 20)

    def large(handler: Any) -> None:
        if packed:
            answer(handler, 200, gzip.compress(bytes(size), 1), Content_Encoding="gzip")
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(size))
        handler.end_headers()
        for _ in range(size // len(piece)):
            handler.wfile.write(piece)

    site.pages["/large"] = large
    site.pages["/small"] = page(bytes(3 << 20))
    done = subprocess.run([sys.executable, "-c", LARGE, site.url, "data"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    length, most = done.stdout.split()
    assert int(length) == size
    assert int(most) < 24, f"{most} MB at once, for a body of 64 MB"


# secrets

VALUE = "s3cr3t/+ value=&"


@pytest.fixture
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_API_KEY", VALUE)


def spellings() -> list[str]:
    from base64 import b64encode
    from urllib.parse import quote, quote_plus

    return [VALUE, quote(VALUE), quote(VALUE, safe=""), quote_plus(VALUE), "s3cr3t", b64encode(f"me:{VALUE}".encode()).decode()]


def secret_options() -> dict[str, Any]:
    return {
        "secrets": {"key": Secret("TEST_API_KEY")},
        "headers": {"Authorization": Secret("TEST_API_KEY", "Bearer {}"), "X-Custom": Secret("TEST_API_KEY")},
    }


def everything_in(folder: Path) -> bytes:
    return b"\n".join(str(path).encode() + path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.usefixtures("_secret")
def test_secrets_reach_the_server_and_nothing_else(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.pages["/data.bin"] = page(b"payload", ETag='"v1"')
    with caplog.at_level(logging.DEBUG):
        node = get(site, "/data.bin?key={key}&n=1", **secret_options())
        assert node.payload == b"payload"
    from urllib.parse import parse_qs

    assert parse_qs(site.seen[0].path.partition("?")[2])["key"] == [VALUE]
    assert site.seen[0].headers["authorization"] == f"Bearer {VALUE}"
    assert site.seen[0].headers["x-custom"] == VALUE
    import pickle

    kept = everything_in(Path("data")) + pickle.dumps(node) + repr(node).encode() + caplog.text.encode() + node._repr_html_().encode()
    assert "HTTP Request" in caplog.text
    for spelling in spellings():
        assert spelling.encode() not in kept


@pytest.mark.usefixtures("_secret")
def test_the_key_does_not_depend_on_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    before = HttpGet("https://host/x?key={key}", secrets={"key": Secret("TEST_API_KEY")}).key
    monkeypatch.setenv("TEST_API_KEY", "another")
    assert HttpGet("https://host/x?key={key}", secrets={"key": Secret("TEST_API_KEY")}).key == before


def echo(status: int) -> Any:
    return lambda handler: answer(handler, status, handler.path.encode())


@pytest.mark.usefixtures("_secret")
@pytest.mark.parametrize("trouble", ["status", "redirect", "cut", "timeout", "refused", "protocol", "header"])
def test_errors_and_their_records_hold_no_secret(
    site: Site, trouble: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = site.url + "/x?key={key}"
    pages = {
        "status": echo(403),
        "redirect": lambda handler: answer(handler, 302, Location=handler.path),
        "cut": lambda handler: answer(handler, 200, b"x", claimed=9),
        "timeout": lambda handler: site.stopped.wait(60),
        "protocol": lambda handler: answer(handler, 302, Location="foo:" + handler.path),
        "header": page(b"x"),
    }
    if trouble == "refused":
        url = f"http://127.0.0.1:{free_port()}/x?key={{key}}"
    else:
        site.pages["/x"] = pages[trouble]
    if trouble == "header":
        monkeypatch.setenv("TEST_API_KEY", VALUE + "\r\nX-Evil: 1")
    options = {**secret_options(), "attempts": 2, "timeout": 0.3 if trouble == "timeout" else 20.0, "delay": 0.01}
    node: HttpGet[Any] = HttpGet(url, data_dir="data", **options)
    with caplog.at_level(logging.DEBUG), pytest.raises(HttpFailed) as caught:
        node.payload
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__) + caplog.text
    assert caught.value.__cause__ is None
    context = caught.value.__context__
    while context is not None:
        told += repr(context)
        context = context.__context__
    failed = Path("data", node.key.path + ".failed.json").read_bytes()
    assert Failure.parse(failed, node.key).error == "persistable.errors.HttpFailed"
    for spelling in spellings():
        assert spelling not in told
        assert spelling.encode() not in everything_in(Path("data"))


@pytest.mark.usefixtures("_secret")
def test_another_host_does_not_get_the_secret_headers(site: Site) -> None:
    from nodes.site import serving

    with serving() as other:
        other.pages["/there"] = page(b"there")
        site.pages["/data.bin"] = page(b"", 302, Location=f"{other.url}/there")
        node = get(site, headers={**secret_options()["headers"], "X-Plain": "1"}, auth=None)
        assert node.payload == b"there"
        assert other.seen[0].headers["x-plain"] == "1"
        assert not {"authorization", "x-custom"} & other.seen[0].headers.keys()


@pytest.mark.usefixtures("_secret")
def test_basic_authentication(site: Site) -> None:
    from base64 import b64encode

    site.pages["/data.bin"] = page(b"in")
    assert get(site, auth=("me", Secret("TEST_API_KEY"))).payload == b"in"
    assert site.seen[0].headers["authorization"] == "Basic " + b64encode(f"me:{VALUE}".encode()).decode()
    assert b"s3cr3t" not in everything_in(Path("data"))


def test_a_secret_that_is_not_set_is_an_error_that_names_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_API_KEY", raising=False)
    with pytest.raises(SecretMissing, match="TEST_API_KEY"):
        get(site, "/x?key={key}", secrets={"key": Secret("TEST_API_KEY")}).payload
    assert site.seen == []


def test_making_nodes_imports_no_http_library() -> None:
    code = (
        "import sys; from persistable.nodes.transfer import HttpGet, Upload; HttpGet('https://h/x').key; Upload('s3://b/x');"
        "print([m for m in ('httpx', 'fsspec', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert done.stdout.strip() == "[]", done.stderr
