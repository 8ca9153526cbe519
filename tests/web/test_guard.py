"""Who may read the page, and what cannot be asked of it."""

from __future__ import annotations

import http.client
import os
import pickle
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.web.conftest import Page
from tests.web.pageflow_text import HOSTILE

from persistable import Catalog, run, step
from persistable.errors import FormatError
from persistable.fileio import PickleFileIO
from persistable.fileio.pickle_plain import PlainPickleFileIO
from persistable.web import serve


def asked(page: Page, path: str, host: str | None = None, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """The answer to one request that is written as it is: no path is made canonical, no cookie kept."""
    connection = http.client.HTTPConnection("127.0.0.1", page.server.port, timeout=30)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", host or f"127.0.0.1:{page.server.port}")
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    answer.text = answer.read().decode(errors="replace")  # type: ignore[attr-defined]
    connection.close()
    return answer


def test_the_url_opens_the_catalog_and_gives_a_cookie_for_the_rest(page: Page) -> None:
    first = asked(page, f"/?token={page.token}")
    assert first.status == 200 and "<table" in first.text and "Catalog" in first.text  # type: ignore[attr-defined]
    cookie = first.getheader("set-cookie") or ""
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert asked(page, "/storage", cookie=cookie.partition(";")[0]).status == 200
    assert page.token not in first.text, "no page holds the token"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {}),
        ("/storage.json", {}),
        ("/static/page.css", {}),
        ("/?token=", {}),
        ("/?token=wrong", {}),
        ("/?token={token}x", {}),
        ("/?token={token}&token={token}", {}),
        ("/", {"authorization": "Bearer wrong"}),
        ("/", {"cookie": "persistable-{port}=wrong"}),
        ("/", {"cookie": "persistable={token}"}),
        ("/?token=wrong", {"cookie": "persistable-{port}={token}"}),
    ],
)
def test_without_the_token_nothing_is_answered(page: Page, path: str, headers: dict[str, str]) -> None:
    known = {"token": page.token, "port": page.server.port}
    answer = asked(page, path.format(**known), **{name: value.format(**known) for name, value in headers.items()})
    assert answer.status == 403 and "set-cookie" not in answer.headers and "points" not in answer.text  # type: ignore[attr-defined]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "[::1]", "127.0.0.1:80@evil.example", " "])
def test_another_name_that_points_here_is_refused(page: Page, host: str) -> None:
    assert asked(page, f"/?token={page.token}", host=host).status in (400, 403)


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "LOCALHOST"])
def test_a_tunnel_to_this_machine_is_let_in(page: Page, host: str) -> None:
    assert asked(page, f"/?token={page.token}", host=host).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_written(page: Page, method: str) -> None:
    before = sorted(page.catalog.store.list())
    assert asked(page, f"/?token={page.token}", method=method).status == 405
    assert sorted(page.catalog.store.list()) == before


def test_every_answer_says_what_a_browser_may_do_with_it(page: Page) -> None:
    image = f"/image/{page.key('picture')}"
    for path in ("/", "/storage.json", "/static/page.js", "/nothing", image, f"/payload/{page.key('hostile')}"):
        headers = page.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe-eval" not in policy and "script-src 'unsafe-inline'" not in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store" and "server" not in headers
    assert (
        page.client.get(image).headers["content-type"] == "image/png"
        and "sandbox" in page.client.get(image).headers["content-security-policy"]
    )
    assert asked(page, "/").getheader("content-security-policy"), "a refusal too"
    assert page.client.head("/").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2f..%2fetc%2fpasswd", "/static//etc/passwd", "/../../etc/passwd",
        "/payload/../../etc/passwd", "/payload/..%2f..%2f/{digest}", "/payload/points/../{digest}", "/image/%2e%2e/{digest}",
        "/payload/.persistable/store", "/payload/points/{digest}/", "/payload/points/{digest}.npy", "/diff?a=../../etc/passwd&b=x",
        "/payload/%00/{digest}", "/sweep?name=../data", "/explain/etc/passwd",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_records(page: Page, path: str) -> None:
    digest = page.key("points").rpartition("/")[2]
    answer = asked(page, path.format(digest=digest), authorization=f"Bearer {page.token}")
    assert answer.status == 404, answer.text  # type: ignore[attr-defined]
    assert "root:" not in answer.text and "import" not in answer.text  # type: ignore[attr-defined]


def test_hostile_text_stays_text_on_every_page(page: Page) -> None:
    key, failed = page.key("hostile"), page.key("broken", status="failed")
    asked_for = {"where": f"text = '{HOSTILE.replace(chr(39), chr(39) * 2)}'"}
    paths = [
        "/",
        "/?name=hostile",
        "/?status=failed",
        f"/payload/{key}",
        f"/payload/{failed}",
        f"/explain/{failed}",
        f"/lineage/{key}",
        "/running",
    ]
    paths += [f"/?{httpx.QueryParams(asked_for)}", f"/?{httpx.QueryParams(name=HOSTILE, where=HOSTILE, status=HOSTILE, sort=HOSTILE)}"]
    for path in paths:
        text = page.client.get(path).text
        assert "<script>alert" not in text and "<img src=x" not in text and "<b>here</b>" not in text, path

    assert "&lt;script&gt;alert" in page.html(f"/payload/{key}") and "&lt;b&gt;here&lt;/b&gt;" in page.html(f"/payload/{failed}")


def test_secrets_of_the_process_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGE_PASSWORD", "hunter2-hunter2")
    from persistable import Secret

    @step(name="leaky")
    def leaky(k: int = 1) -> str:
        raise RuntimeError(f"cannot log in with {Secret('PAGE_PASSWORD').reveal()}")

    run(leaky.step(), store=tmp_path, errors="return")
    with serve(tmp_path) as server, httpx.Client(headers={"authorization": f"Bearer {server.url.partition('token=')[2]}"}) as client:
        root = f"http://127.0.0.1:{server.port}"
        (entry,) = Catalog(tmp_path).find("leaky", status="failed")
        for path in (f"/payload/{entry.key}", f"/payload/{entry.key}.json", "/running", f"/explain/{entry.key}"):
            text = client.get(root + path).text
            assert "cannot log in" in text and "hunter2" not in text


@step
def login(password: str, url: str = "https://me:s3cr3t-s3cr3t@host.example/x") -> int:
    return 1


def test_credentials_among_params_are_masked(tmp_path: Path) -> None:
    run(login.step(password="hunter2-one"), login.step(password="hunter2-two"), store=tmp_path)
    catalog = Catalog(tmp_path)
    one, two = (str(entry.key) for entry in catalog)
    with serve(catalog) as server, httpx.Client(headers={"authorization": f"Bearer {server.url.partition('token=')[2]}"}) as client:
        for path in (
            "/",
            "/?name=login",
            f"/payload/{one}",
            f"/lineage/{one}",
            f"/explain/{one}",
            f"/diff?a={one}&b={two}",
            "/sweep?name=login",
        ):
            for accept in ("text/html", "application/json"):
                text = client.get(f"http://127.0.0.1:{server.port}{path}", headers={"accept": accept}).text
                assert "login" in text and "hunter2" not in text and "s3cr3t" not in text, path
    assert "hunter2" not in catalog._repr_html_() + catalog[one].label + str(catalog.diff(one, two)) + repr(catalog.find())


# payloads that could run code


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.mark}",)


def test_a_pickle_is_read_by_its_class_only_when_that_is_asked_for(page: Page) -> None:
    key = page.key("table")
    found = page.json(f"/payload/{key}")["preview"]
    assert found["kind"] == "closed" and found["class"] == "pageflow:table" and "pageflow" not in sys.modules
    assert "read=class" in page.html(f"/payload/{key}")
    assert page.json(f"/payload/{key}?read=class")["preview"]["kind"] != "table", "nor then, where the class cannot be had"
    assert "pageflow" not in sys.modules


def test_a_pickle_of_plain_values_is_read_at_once(page: Page) -> None:
    found = page.json(f"/payload/{page.key('noisy')}")["preview"]
    assert found["kind"] == "array" and found["shape"] == [400] and sum(found["histogram"]["counts"]) == 400


def test_a_pickle_that_runs_code_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    data = PickleFileIO().dumps(Bomb(str(mark)))
    with pytest.raises(FormatError, match="only plain values"):
        PlainPickleFileIO().loads(data)
    assert not mark.exists()
    PickleFileIO().loads(data)
    assert mark.exists(), "the payload of this test does run code where it is trusted"


PLAIN = [
    None, True, 3, 2.5, "text", b"bytes", (1, 2), [1, [2]], {"a": {"b": 1}}, {1, 2}, frozenset({3}), 1 + 2j,
    np.arange(6), np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.zeros((0, 3)), np.float64(2.5),
    np.int8(3),
    np.array([True, False]), np.array(["a", "bc"]), np.arange(3, dtype=">i4"), {"x": np.arange(3.0)},
]  # fmt: skip


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_pickles_give_the_value_that_pickle_gives(value: object) -> None:
    data = PickleFileIO().dumps(value)
    found, wanted = PlainPickleFileIO().loads(data), PickleFileIO().loads(data)
    assert type(found) is type(wanted)
    np.testing.assert_equal(found, wanted)
    if isinstance(value, np.ndarray):
        assert found.dtype == value.dtype


def _build(target: bytes, state: object) -> bytes:
    """A pickle that sets `state` on a global it names."""
    return b"\x80\x05" + target + pickle.dumps(state, 5)[2:-1] + b"b."


CRAFTED = [
    pickle.dumps(np.dtype([("a", "i4")])),
    pickle.dumps(np.array([object], dtype=object)),
    pickle.dumps(np.arange(3).view(np.matrix)),
    pickle.dumps(np.datetime64("2026-01-01")),
    b"cnumpy\ndtype\n(S'O'\ntR.",
    b"cnumpy\ndtype\n(S'i8'\nS'x'\nS'y'\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb.",
    b"cos\nsystem\n(S'true'\ntR.",
    b"cbuiltins\neval\n(S'1'\ntR.",
    b"cbuiltins\ngetattr\n(c__main__\nx\nS'y'\ntR.",
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR.",
    b"P1\n.",
    _build(b"cbuiltins\nset\n", {"x": 1}),
    _build(b"cbuiltins\nset\n", (None, {"_act": 1})),
]


@pytest.mark.parametrize("stream", CRAFTED, ids=lambda stream: repr(stream)[:40])
def test_crafted_pickles_are_refused(stream: bytes) -> None:
    io = PlainPickleFileIO()
    try:
        found = io._unpickled(stream, ())
    except FormatError:
        return
    assert type(found).__name__ == "_Dtype", "a dtype by itself is a stand-in, and makes nothing"
