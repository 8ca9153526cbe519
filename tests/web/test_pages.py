"""What the pages say: as HTML, as JSON, and as a static site."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import numpy as np
import pytest
from tests.web.conftest import Page

from persistable import Catalog, open_store, plan, progress, run, step
from persistable.errors import InvalidQuery, StoreError
from persistable.fileio import PickleFileIO
from persistable.project import Project
from persistable.stores import new_signing_key
from persistable.web import export, serve
from persistable.web.activity import Activity
from persistable.web.app import page_at
from persistable.web.links import Address, ServerLinks
from persistable.web.page import Site
from persistable.web.render import FOLDER, as_html, as_json, assets
from persistable.web.trust import TooLarge


def every_page(page: Page) -> list[str]:
    """Every kind of page, one or more of each."""
    scores = [str(entry.key) for entry in page.catalog.find("score")]
    kinds = ("payload", "lineage", "explain")
    keys = [page.key(name) for name in page.catalog.names() if name != "broken"]
    failed = page.key("broken", status="failed")
    return [
        "/", "/?name=score", "/?status=failed", "/running", "/storage", "/sweep", "/sweep?name=score", "/sweep?name=points",
        "/sweep?name=table",
        f"/diff?a={scores[0]}&b={scores[1]}", f"/payload/{failed}", f"/explain/{failed}", f"/lineage/{page.key('points')}?downstream=1",
        *(f"/{kind}/{key}" for kind in kinds for key in keys),
    ]  # fmt: skip


class Checker(HTMLParser):
    """Finds elements that are not closed, and what a policy without inline scripts and styles would not allow."""

    VOID = ("meta", "link", "br", "img", "input", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert "style" not in found and tag != "style" and not any(name.startswith("on") for name in found), (tag, attrs)
        assert tag != "script" or found.get("src"), "an inline script"
        self.links += [value for name in ("href", "src") if (value := found.get(name))]
        self.ids += [value for value in [found.get("id")] if value]
        if tag not in self.VOID and tag not in ("option",):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("option",):
            assert self.open.pop() == tag, tag


def checked(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    assert not checker.open and len(set(checker.ids)) == len(checker.ids)
    return checker


def test_every_page_is_whole_and_its_links_lead_somewhere(page: Page) -> None:
    links: set[str] = set()
    for path in every_page(page):
        links.update(link for link in checked(page.html(path)).links if link.startswith("/"))
    assert len(links) > 60
    for link in sorted(links):
        assert page.client.get(link).status_code == 200, link


def test_every_page_is_json_too_by_its_ending_and_by_what_is_accepted(page: Page) -> None:
    for path in every_page(page):
        before, _, query = path.partition("?")
        ending = f"{before if before != '/' else '/index'}.json" + (f"?{query}" if query else "")
        by_ending = page.client.get(ending)
        assert by_ending.headers["content-type"] == "application/json", ending
        assert by_ending.json().keys() == page.json(path).keys()


def test_filters_are_those_of_find_and_ls(page: Page) -> None:
    where = "C > 0.5 and model.trees = 100"
    asked = {"name": "score", "where": where, "status": "done"}
    found = page.client.get("/index.json", params=asked).json()
    entries = page.catalog.find("score", where=where, status="done")
    assert [row["key"] for row in found["rows"]] == [str(entry.key) for entry in entries] and found["total"] == len(entries) == 2
    assert found["rows"][0]["label"] == entries[0].label and found["filters"] == asked
    text = page.client.get("/", params=asked).text
    assert "<option selected>score" in text and "C &gt; 0.5 and model.trees = 100" in text
    assert all(row["status"] == "failed" for row in page.json("/?status=failed")["rows"])
    sizes = [row["size"] for row in page.json("/?sort=size")["rows"]]
    assert sizes == sorted(sizes, reverse=True)
    names = [row["name"] for row in page.json("/?sort=name")["rows"]]
    assert names == sorted(names)


def test_a_wrong_filter_is_said_beside_the_form(page: Page) -> None:
    for query in ("where=nonsense+%3D", "where=colour%3D1&name=score", "status=odd", "name=a%2Fb"):
        text = page.html(f"/?{query}", 400)
        assert 'class="error"' in text and "<form" in text
        assert page.json(f"/?{query}", 400)["error"]


def test_pages_of_a_long_list(tmp_path: Path) -> None:
    @step
    def number(n: int) -> int:
        return n

    run(number.over(n=list(range(120))), store=tmp_path)
    with serve(tmp_path) as server:
        import httpx

        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers={"authorization": f"Bearer {server.url[-43:]}"}) as client:
            seen = [row["key"] for place in (1, 2, 3) for row in client.get(f"/index.json?name=number&page={place}").json()["rows"]]
            assert len(seen) == len(set(seen)) == 120
            assert client.get("/index.json?page=99").json()["page"] == 3 and client.get("/index.json?page=-1").json()["page"] == 1
            assert "page=2" in client.get("/?name=number").text and 'rel="prev"' in client.get("/?page=3").text


# payloads


def test_previews_by_format(page: Page) -> None:
    def preview(name: str, **find: str) -> dict[str, object]:
        found: dict[str, object] = page.json(f"/payload/{page.key(name, **find)}")["preview"]
        return found

    table = preview("features")
    assert table["kind"] == "table" and table["shape"] == [400, 3] and len(table["rows"]) == 10  # type: ignore[arg-type]
    assert [column["name"] for column in table["columns"]] == ["", "value", "mean", "sign"]  # type: ignore[attr-defined]
    assert preview("points", where="n = 400")["histogram"]["min"] < 0  # type: ignore[index]
    assert preview("picture") == {"kind": "image", "format": "png", "part": False}
    assert str(preview("report")["text"]).startswith("# scores")
    assert {item["name"] for item in preview("score")["items"]} == {"accuracy", "loss"}  # type: ignore[attr-defined]
    assert page.client.get(f"/image/{page.key('picture')}").content.startswith(b"\x89PNG")
    assert page.client.get(f"/image/{page.key('points')}").status_code == 404
    text = page.html(f"/payload/{page.key('points', where='n = 400')}")
    assert '<svg class="chart"' in text and "histogram of values" in text


@step(io=PickleFileIO())
def odd(number: int) -> Any:
    return [
        np.array([1.0, np.nextafter(1.0, 2.0)]),
        np.arange(2**63 - 3, 2**63, dtype=np.uint64),
        10**5000,
        {"long": 10**5000, "short": 5},
    ][number]


def test_numbers_that_are_hard_to_show_are_shown(tmp_path: Path) -> None:
    with open_store(tmp_path / "data") as store:
        nodes = [odd.step(number) for number in range(4)]
        run(nodes)
    site = Site(Catalog(store), Activity())
    pages = [page_at(site, f"payload/{node.key}", {"read": "class"}) for node in nodes]
    found = [json.loads(as_json(page))["preview"] for page in pages]
    assert [preview["kind"] for preview in found] == ["array", "array", "text", "items"]
    assert found[0]["histogram"] is None and found[0]["values"][0] == 1.0  # there are no thirty bins between two neighbours
    assert found[2]["text"].startswith("0x") and [item["text"][:2] for item in found[3]["items"]] == ["0x", "5"]
    for page in pages:
        assert as_html(page, ServerLinks(Address.of("payload")))


def test_a_payload_says_all_that_its_record_tells(page: Page) -> None:
    entry = page.catalog.find("score", where="C = 10 and model.trees = 50")[0]
    text = page.html(f"/payload/{entry.key}")
    for part in (entry.label, str(entry.key), "Forest(trees=50, depth=(4, 8))", "pageflow:score", "JsonFileIO", entry.files[0].digest):
        assert part in text.replace("&#34;", '"'), part
    found = page.json(f"/payload/{entry.key}")
    assert found["upstream"]["features"]["key"] == page.key("features") and found["record"]["made"] == "generated"
    assert [each["name"] for each in found["downstream"]] == ["report"]
    assert "<h2>Output</h2>" not in text and re.search(r"scaled by [0-9.]+ &lt;b&gt;", page.html(f"/payload/{page.key('noisy')}"))
    failed = page.json(f"/payload/{page.key('broken', status='failed')}")
    assert (
        failed["failure"]["text"].startswith("ValueError: ")
        and failed["preview"] is None
        and "pageflow.py" in failed["failure"]["traceback"]
    )


def test_lineage_is_drawn_from_records_alone(page: Page) -> None:
    key = page.key("report")
    found = page.json(f"/lineage/{key}")
    assert (
        len(found["nodes"]) == 12 and len(found["edges"]) == 19 and found["nodes"][-1] == {"key": key, "name": "report", "status": "done"}
    )
    text = page.html(f"/lineage/{key}")
    assert "<svg" in text and f'<a href="/payload/{page.key("features")}">' in text
    down = page.json(f"/lineage/{page.key('features')}?downstream=1")
    assert {node["name"] for node in down["nodes"]} == {"features", "score", "report"}


def test_the_difference_of_two(page: Page) -> None:
    one, other = (page.catalog.find("score", where=f"C = {c} and model.trees = 50")[0] for c in (1, 10))
    found = page.json(f"/diff?a={one.key}&b={other.key}")
    assert found["params"] == {"C": [1.0, 10.0]} and found["payloads"]["outcome"] == "different"
    assert "accuracy" in page.html(f"/diff?a={one.key}&b={other.key}")
    tables = page.key("table")
    assert "class" in page.json(f"/diff?a={tables}&b={tables}")["note"]
    page.html("/diff", 404)


def test_a_failure_has_no_difference_from_anything(page: Page) -> None:
    site = Site(page.catalog, Activity())
    failed, other = page.key("broken", status="failed"), page.key("points")
    assert page_at(site, "diff", {"a": other, "b": failed}).status == 404
    assert page_at(site, f"payload/{failed}", {}).shown["before"] is None


def test_a_sweep_is_a_matrix_of_the_params_that_differ(page: Page) -> None:
    found = page.json("/sweep?name=score")
    assert (found["x"], found["y"], found["by"]) == ("C", "model.trees", "payload.accuracy")
    assert found["columns"] == ["0.1", "1.0", "10.0"] and found["rows"] == ["50", "100", "200"]
    assert found["cells"][0][2]["value"] == pytest.approx(0.98) and found["cells"][0][2]["statuses"] == {"done": 1}
    turned = page.json("/sweep?name=score&x=model.trees&y=C&by=status")
    assert turned["columns"] == found["rows"] and turned["cells"][2][0]["value"] is None
    assert page.json("/sweep?name=score&x=nothing&by=nothing")["x"] == "C"
    assert page.json("/sweep?name=broken")["total"] == 2
    assert ">0.98<" in page.html("/sweep?name=score")


def test_storage_by_name(page: Page) -> None:
    found = page.json("/storage")
    assert {row["name"]: row["count"] for row in found["names"]}["score"] == 9 and found["size"] == sum(
        row["size"] for row in found["names"]
    )


def test_explain_says_why(page: Page) -> None:
    assert "it is stored" in page.html(f"/explain/{page.key('report')}")
    found = page.json(f"/explain/{page.key('broken', status='failed')}")
    assert found["status"] == "failed" and "attempt 1 raised ValueError" in found["why"][0]


def test_upstream_that_is_gone_is_absent(tmp_path: Path) -> None:
    @step
    def one(n: int = 1) -> int:
        return n

    @step
    def two(one: int) -> int:
        return one + 1

    below = two.step(one.step())
    run(below, store=tmp_path)
    gone = below.upstream["one"]
    assert gone.bind(tmp_path).delete()
    found = page_at(Site(Catalog(tmp_path), Activity()), f"payload/{gone.key}", {})
    assert found.status == 200 and found.facts["status"] == "absent" and [each["name"] for each in found.facts["downstream"]] == ["two"]


# a run as it goes


def until(file: Path) -> None:
    """Wait until there is such a file."""
    for _ in range(6000):
        if file.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{file} does not come")


@step
def slow(n: int, folder: str) -> int:
    progress(3, 4)
    (Path(folder) / "begun").touch()
    until(Path(folder) / "may_end")
    return n


def test_a_run_of_this_process_shows_what_it_is_at(tmp_path: Path) -> None:
    import httpx

    begun, may_end = tmp_path / "begun", tmp_path / "may_end"
    with serve(tmp_path / "data") as server:
        client = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers={"authorization": f"Bearer {server.url[-43:]}"})
        assert client.get("/running.json").json()["run"] is None
        work = threading.Thread(target=lambda: run([slow.step(n=n, folder=str(tmp_path)) for n in (1, 2)], store=tmp_path / "data"))
        work.start()
        try:
            until(begun)
            found = client.get("/running.json").json()
            text = client.get("/running").text
        finally:
            may_end.touch()
            work.join(60)
        ended = client.get("/running.json").json()["run"]
        client.close()
    assert found["run"]["total"] == 2 and found["run"]["ended"] is None
    (row,) = found["running"]
    assert row["label"].startswith("slow(n=1") and (row["done"], row["total"]) == (3, 4) and row["pid"]
    assert "slow(n=1" in text and "75 %" in text and 'hx-trigger="every 2s"' in text
    assert ended["ended"] and ended["counts"]["done"] == 2


# the static site, and what is shipped


def test_the_static_site_works_from_its_files(page: Page, tmp_path: Path) -> None:
    done = export(page.catalog, tmp_path / "site")
    assert done.payloads == len(page.catalog) and done.pages > 50
    for file in done.folder.rglob("*.html"):
        text = file.read_text()
        for link in checked(text).links:
            target = urlsplit(link)
            assert not target.scheme or target.scheme == "data", link
            assert target.scheme or (file.parent / unquote(target.path)).exists(), (file, link)
        assert "<form" not in text and "token" not in text and "htmx.min.js" not in text
        json.loads(file.with_suffix(".json").read_text())
    assert (done.folder / f"image/{page.key('picture')}").read_bytes().startswith(b"\x89PNG")
    (done.folder / "mine.txt").touch()
    (done.folder / "persistable-site.txt").open("a").write("../outside\n")
    (tmp_path / "outside").touch()
    left = Catalog("memory://nothing")
    assert export(left, done.folder).payloads == 0
    assert not list(done.folder.glob("payload/**/*.html")) and (done.folder / "mine.txt").exists() and (tmp_path / "outside").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    with pytest.raises(StoreError, match="holds other files"):
        export(page.catalog, tmp_path / "other")


def test_all_that_is_shipped_is_small_and_vendored_with_its_licence() -> None:
    sizes = {name: len(data) for name, (_, data) in assets().items()}
    templates = sum(path.stat().st_size for path in (FOLDER / "templates").iterdir())
    assert sum(sizes.values()) + templates < 200_000
    about = (FOLDER / "static/htmx.txt").read_text()
    version = re.search(r'version:"([\d.]+)"', (FOLDER / "static/htmx.min.js").read_text())
    assert version is not None and f"htmx.org@{version[1]}" in about and "Zero-Clause BSD" in about


# stores of every kind, and payloads that are not as they should be


@step
def half(n: int) -> dict[str, float]:
    return {"half": n / 2}


@step
def frames(n: int) -> object:
    import pandas as pd

    return pd.DataFrame({"n": range(n)})


@step
def parts(n: int) -> Iterator[tuple[str, list[int]]]:
    for number in range(n):
        yield f"part-{number}", [number] * number


def facts_of(catalog: Catalog, path: str, **query: str) -> Any:
    """What the page at `path` says, written as HTML too."""
    made = page_at(Site(catalog, Activity()), path, query)
    checked(as_html(made, ServerLinks(Address.of(path, **query))))
    return json.loads(as_json(made))


@pytest.mark.parametrize("url", ["memory://pages", "sqlite:///{folder}/store.db", "{folder}/plain"])
def test_every_kind_of_store_has_its_pages(url: str, tmp_path: Path) -> None:
    store = open_store(url.format(folder=tmp_path))
    node = half.step(3)
    run(node, store=store)
    catalog = Catalog(store)
    for path in ("index", f"payload/{node.key}", f"lineage/{node.key}", f"explain/{node.key}", "running", "storage", "sweep"):
        assert "error" not in {name for name, value in facts_of(catalog, path).items() if value}, path
    assert facts_of(catalog, f"payload/{node.key}")["preview"]["items"] == [{"name": "half", "value": 1.5, "text": "1.5"}]


def test_damage_is_said_and_harms_no_page(tmp_path: Path) -> None:
    one, two = half.step(1), half.step(2)
    run(one, two, store=tmp_path)
    (tmp_path / f"{one.key}.record.json").write_bytes(b"{garbage")
    next((tmp_path / "half").glob(f"{two.key.digest}.*.pickle")).unlink()
    catalog = Catalog(tmp_path)
    assert {row["status"] for row in facts_of(catalog, "index")["rows"]} == {"corrupt", "done"}
    broken = facts_of(catalog, f"payload/{one.key}")
    assert broken["status"] == "corrupt" and "damaged" in broken["damage"] and broken["preview"] is None
    gone = facts_of(catalog, f"payload/{two.key}")
    assert gone["preview"]["kind"] == "error" and "gone" in gone["preview"]["note"] + " gone"
    assert facts_of(catalog, f"explain/{two.key}")["status"] == "corrupt"
    assert facts_of(catalog, f"payload/half/{'0' * 32}")["error"]


def test_a_signed_pickle_is_read_where_its_signer_is_trusted_and_else_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, public = new_signing_key()
    node, strange = frames.step(3), frames.step(4)
    run(node, store=open_store(tmp_path, sign=private, trust=[public]))
    run(strange, store=tmp_path)
    monkeypatch.setattr("persistable.web.trust.is_imported", lambda _: False)
    catalog = Catalog(open_store(tmp_path, trust=[public]))
    assert facts_of(catalog, f"payload/{node.key}")["preview"]["kind"] == "table"
    refused = facts_of(catalog, f"payload/{strange.key}")
    assert refused["status"] == "untrusted" and refused["preview"] is None and "trust" in refused["damage"]
    assert facts_of(Catalog(tmp_path), f"payload/{node.key}")["preview"]["kind"] == "closed", "a store that trusts nobody by name"


def test_items_are_listed_and_not_read(tmp_path: Path) -> None:
    node = parts.step(3)
    run(node, store=tmp_path)
    found = facts_of(Catalog(tmp_path), f"payload/{node.key}")["preview"]
    assert found["kind"] == "items" and [item["name"] for item in found["items"]] == ["part-0", "part-1", "part-2"]


def test_a_large_payload_shows_its_first_rows(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persistable.web.preview.payload_of", _too_large)
    for name, kind in (("points", "array"), ("features", "table"), ("report", "note"), ("noisy", "note")):
        found = facts_of(page.catalog, f"payload/{page.key(name)}")["preview"]
        assert found["kind"] == kind and found.get("part", False) is (kind != "note"), name


def _too_large(*_: object) -> object:
    raise TooLarge


def test_notebooks_show_the_components_of_the_page(tmp_path: Path) -> None:
    result = run(half.over(n=[1, 2]), store=tmp_path, errors="return")
    catalog = Catalog(tmp_path)
    shown = [result._repr_html_(), plan(half.step(5), store=tmp_path)._repr_html_(), catalog._repr_html_(), catalog.savings()._repr_html_()]
    shown += [catalog.find()[0]._repr_html_(), half.step(1).bind(tmp_path)._repr_html_()]
    for text in shown:
        assert text.count("<style>") == 1 and text.startswith('<div class="p-view">') and "<script" not in text
        assert "background:" not in text.partition("</style>")[2], "no style but that of the components"
    assert 'class="p-badge p-good">done</span>' in shown[0] and 'class="p-badge p-busy">generate</span>' in shown[1]
    assert 'class="p-digest"' in shown[0] and "half(n=1)" in shown[0] and 'class="p-n"' in shown[3]


# ------------------------------------------------------------------ of a project

FLOW = """
from persistable import step


@step
def points(n: int) -> list[float]:
    return [1.0] * n


@step
def size(points: list[float], scale: float = 1.0) -> float:
    if scale > 5:
        raise ValueError("too large")
    return len(points) * scale


sizes = size.over(points.step(n=3), scale=[1.0, 2.0, 9.0])
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    (tmp_path / "page_flow.py").write_text(FLOW)
    (tmp_path / "persistable.toml").write_text(
        'store = "data"\n[targets.points]\nuse = "page_flow:points"\nparams = { n = 3 }\n'
        '[targets.sizes]\nuse = "page_flow:sizes"\n[targets.gone]\nuse = "page_flow:gone"\n'
        '[stages]\nprepare = ["points"]\nall = ["points", "sizes"]\n'
    )
    monkeypatch.chdir(tmp_path)
    return Project.load(tmp_path)


def test_a_project_has_a_page_of_its_targets(project: Project, tmp_path: Path) -> None:
    project.run("points", "sizes", errors="return")
    with serve(project) as server:
        client = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers={"authorization": f"Bearer {server._token}"})
        text, found = client.get("/targets").text, client.get("/targets.json").json()["targets"]
        assert 'href="/targets"' in client.get("/").text
    checked(text)
    assert [(row["name"], row["stages"], row["states"]) for row in found] == [
        ("points", ["prepare", "all"], {"done": 1}),
        ("sizes", ["all"], {"done": 2, "failed": 1}),
        ("gone", [], None),
    ]
    assert found[0]["shown"] == "points(n=3)" and "gone" in found[2]["error"]
    assert "points(n=3)" in text and "p-bad" in text
    with serve(tmp_path / "data") as server:
        client = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers={"authorization": f"Bearer {server._token}"})
        assert client.get("/targets").status_code == 404 and 'href="/targets"' not in client.get("/").text


def test_a_site_of_what_is_chosen(page: Page, tmp_path: Path) -> None:
    site = tmp_path / "site"
    where = "C > 0.5 and model.trees = 100"
    chosen = page.catalog.find("score", where=where)
    done = export(page.catalog, site, name="score", where=where)
    assert done.payloads == len(chosen) == 2
    files = {str(file.relative_to(site)) for file in site.rglob("*.html")}
    keys = {f"payload/{entry.key}.html" for entry in chosen}
    assert {file for file in files if file.startswith("payload/")} == keys
    assert "running.html" not in files and "storage.html" not in files
    listed = json.loads((site / "index.json").read_text())
    assert [row["key"] for row in listed["rows"]] == [str(entry.key) for entry in chosen] and listed["names"] == []
    for file in files:
        for link in checked((site / file).read_text()).links:
            if not link.startswith(("data:", "http")):
                assert (site / file).parent.joinpath(unquote(link.partition("#")[0])).exists(), (file, link)
    with pytest.raises(InvalidQuery):
        export(page.catalog, tmp_path / "never", where="nonsense =")
    assert not (tmp_path / "never").exists()


def test_a_claim_of_another_process_says_since_when(tmp_path: Path) -> None:
    before = time.time() - 1
    code = "import sys, time; from persistable import run, step\n@step\ndef slow(n: int) -> int:\n    time.sleep(100)\n    return n\n"
    code += "run(slow.step(n=1), store=sys.argv[1])"
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    try:
        catalog = Catalog(tmp_path)
        deadline = time.monotonic() + 120
        while not (rows := page_at(Site(catalog, Activity()), "running", {}).facts["running"]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        other.kill()
        other.wait()
    assert rows[0]["pid"] == other.pid and before <= rows[0]["since"] <= time.time()


@step
def count(values: list[int]) -> int:
    return len(values)


def test_a_thousand_differences_are_a_small_page(tmp_path: Path) -> None:
    """As JSON they are all there."""
    nodes = [count.step(list(range(first, first + 3000))) for first in (0, 1)]
    run(*nodes, store=tmp_path)
    made = page_at(Site(Catalog(tmp_path), Activity()), "diff", {"a": str(nodes[0].key), "b": str(nodes[1].key)})
    text = as_html(made, ServerLinks(Address.of("diff")))
    assert len(text) < 40_000 and "And 2800 more" in text
    assert len(json.loads(as_json(made))["params"]) == 3000
