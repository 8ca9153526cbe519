"""The pages in a real browser: at desktop and phone width, light and dark, by keyboard, and as files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.web.conftest import Page

from persistable.web import export

MODES = {
    "desktop, light": (1280, "light"),
    "desktop, dark": (1280, "dark"),
    "500 pixels, light": (500, "light"),
    "phone, dark": (390, "dark"),
}

CONTRAST = """() => {
  const parse = (text) => {
    const found = text.match(/[\\d.]+/g).map(Number);
    return text.startsWith("rgb") ? [found[0], found[1], found[2], found[3] ?? 1] : null;
  };
  const over = (top, below) => [0, 1, 2].map((n) => top[n] * top[3] + below[n] * (1 - top[3])).concat(1);
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const behind = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour && colour[3] > 0) layers.push(colour);
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const opacity = (element) => {
    let all = 1;
    for (let each = element; each; each = each.parentElement) all *= Number(getComputedStyle(each).opacity);
    return all;
  };
  const wrong = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let count = 0;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    const box = element.getBoundingClientRect();
    if (!node.textContent.trim() || !box.width || element.closest("script, style, title, .skip, option")) continue;
    const style = getComputedStyle(element);
    let back = behind(element);
    let ink;
    if (element.closest("svg")) {
      const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
      const holds = (each) => { const r = each.getBoundingClientRect(); return r.left < x && x < r.right && r.top < y && y < r.bottom; };
      const rect = [...element.parentElement.querySelectorAll(":scope > rect")].find(holds);
      if (rect) {
        const fill = parse(getComputedStyle(rect).fill);
        if (fill) back = over([...fill.slice(0, 3), Number(getComputedStyle(rect).fillOpacity)], back);
      }
      ink = parse(style.fill);
      if (ink) ink = [...ink.slice(0, 3), Number(style.fillOpacity)];
    } else {
      ink = parse(style.color);
    }
    if (!ink) continue;
    count += 1;
    ink[3] *= opacity(element);
    const found = ratio(over(ink, back), back);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
    if (found < (large ? 3 : 4.5)) wrong.push(`${found.toFixed(2)} ${element.tagName} ${node.textContent.trim().slice(0, 30)}`);
  }
  return { count, wrong };
}"""


@pytest.fixture(params=MODES, ids=list(MODES))
def tab(request: pytest.FixtureRequest, browser: Any, page: Page) -> Iterator[Any]:
    """A tab that the page has given its cookie, and what the console said."""
    width, scheme = MODES[request.param]
    yield from opened(browser, page, width, scheme)


@pytest.fixture
def plain(browser: Any, page: Page) -> Iterator[Any]:
    yield from opened(browser, page, 1280, "light")


def opened(browser: Any, page: Page, width: int, scheme: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab = context.new_page()
    tab.set_default_timeout(30_000)
    tab.said = []
    tab.on("console", lambda message: tab.said.append(message.text))
    tab.on("pageerror", lambda error: tab.said.append(str(error)))
    tab.goto(page.server.url)
    yield tab
    context.close()


def looked_at(page: Page) -> list[str]:
    """A page of each kind."""
    score = page.key("score", where="C = 10 and model.trees = 50")
    other = page.key("score", where="C = 1 and model.trees = 50")
    failed = page.key("broken", status="failed")
    long = next(name for name in page.catalog.names() if name.startswith("a_name"))
    return [
        f"/?name={long}", f"/payload/{page.key(long)}", f"/explain/{page.key(long)}", f"/lineage/{page.key(long)}", "/sweep",
        "/", "/?name=score", "/?where=nonsense+%3D", f"/payload/{page.key('features')}", f"/payload/{page.key('points')}",
        f"/payload/{page.key('hostile')}", f"/payload/{page.key('table')}", f"/payload/{failed}", f"/lineage/{page.key('report')}",
        f"/explain/{page.key('report')}", f"/diff?a={other}&b={score}", "/sweep?name=score", "/running", "/storage",
    ]  # fmt: skip


def test_everything_can_be_read_and_nothing_is_cut(tab: Any, page: Page) -> None:
    for path in looked_at(page):
        answer = tab.goto(page.root + path)
        overflow = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, (path, overflow)
        contrast = tab.evaluate(CONTRAST)
        assert contrast["count"] > 5 and not contrast["wrong"], (path, contrast["wrong"])
        assert answer.status == 200 or "nonsense" in path
    assert not [text for text in tab.said if "400 (Bad Request)" not in text], "scripts, styles and the policy agree"


def test_the_check_of_contrast_finds_what_is_pale(plain: Any) -> None:
    plain.evaluate("() => { document.querySelector('h1').style.color = '#aaa'; }")
    assert any("H1" in each for each in plain.evaluate(CONTRAST)["wrong"])


def test_the_keyboard_reaches_everything_and_shows_where_it_is(plain: Any, page: Page) -> None:
    for path in ("/", f"/payload/{page.key('table')}"):
        plain.goto(page.root + path)
        wanted = plain.evaluate("""() => {
          const all = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary")];
          const seen = all.filter((each) => each.getBoundingClientRect().width);
          seen.forEach((each, number) => { each.dataset.number = number; });
          return seen.length;
        }""")
        reached: set[str] = set()
        for _ in range(wanted + 12):
            plain.keyboard.press("Tab")
            found = plain.evaluate("""() => {
              const here = document.activeElement, style = getComputedStyle(here);
              const isSeen = parseFloat(style.outlineWidth) >= 2 && style.outlineStyle != "none";
              return [here.dataset.number ?? "", here.matches("body") || isSeen];
            }""")
            assert found[1], "what has the focus shows it"
            reached.add(found[0])
        assert len(reached - {""}) == wanted, path


def test_a_filter_changes_table_and_url_without_a_new_page(plain: Any, page: Page) -> None:
    from playwright.sync_api import expect

    assert "token" not in plain.url, "the token has left the address bar"
    plain.evaluate("window.kept = true")
    plain.select_option("select[name=name]", "points")
    expect(plain.locator("#found table tr")).to_have_count(3)
    assert "name=points" in plain.url and plain.evaluate("window.kept")
    plain.fill("input[name=where]", "n = 400")
    plain.keyboard.press("Enter")
    expect(plain.locator("#found table tr")).to_have_count(2)
    plain.click("#found table a")
    plain.wait_for_url("**/payload/points/**")
    plain.context.grant_permissions(["clipboard-read", "clipboard-write"])
    plain.click("[data-copy]")
    expect(plain.locator("#said")).to_contain_text("copied")
    assert plain.evaluate("navigator.clipboard.readText()") == page.key("points", where="n = 400")
    assert not plain.said


def test_without_scripts_it_works_all_the_same(browser: Any, page: Page) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page.server.url)
    tab.select_option("select[name=name]", "score")
    tab.click("form.filters button")
    assert "name=score" in tab.url and tab.locator("#found table tr").count() == 10
    context.close()


def test_hostile_text_runs_nothing(plain: Any, page: Page) -> None:
    plain.on("dialog", lambda dialog: plain.said.append(f"dialog {dialog.message}"))
    for path in ("/?name=hostile", f"/payload/{page.key('hostile')}", f"/lineage/{page.key('hostile')}", "/running"):
        plain.goto(page.root + path)
        assert plain.locator("main script, main img[src=x]").count() == 0
    assert "<script>alert" in plain.text_content("main") and not plain.said


def test_the_static_site_opens_from_its_files(browser: Any, page: Page, tmp_path: Path) -> None:
    site = export(page.catalog, tmp_path / "a site, with a name").folder
    context = browser.new_context(viewport={"width": 500, "height": 900})
    tab = context.new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.goto((site / "index.html").as_uri())
    assert tab.evaluate("getComputedStyle(document.querySelector('.p-badge')).borderRadius") == "9px"
    tab.click("#found table a >> nth=3")
    tab.click("text=Lineage")
    assert tab.locator("svg a").count() and tab.evaluate("document.documentElement.scrollWidth") <= 500
    tab.click("svg a >> nth=0")
    tab.goto((site / f"payload/{page.key('picture')}.html").as_uri())
    assert tab.evaluate("document.querySelector('.panel img').naturalWidth") == 240
    assert not said
    context.close()


JUPYTERLAB = """
.jp-ThemedContainer .jp-RenderedHTMLCommon code { white-space: pre-wrap; line-height: 2; background-color: white; }
.jp-ThemedContainer .jp-RenderedHTMLCommon :not(pre) > code { background-color: grey; padding: 1px 5px; }
"""


def test_in_jupyterlab_a_digest_takes_one_line_too(browser: Any, page: Page) -> None:
    tab = browser.new_page()
    shown = page.catalog.find()._repr_html_()
    frame = f'<div class="jp-ThemedContainer"><div class="jp-RenderedHTMLCommon">{shown}</div></div>'
    tab.set_content(f"<style>{JUPYTERLAB}</style>{frame}")
    sizes = tab.evaluate(
        """() => [...document.querySelectorAll(".p-digest")].map((each) => {
             const style = getComputedStyle(each);
             return [each.getBoundingClientRect().height <= 1.5 * parseFloat(style.fontSize) + 3, each.innerText.length, style.paddingLeft];
           })"""
    )
    tab.close()
    assert len(sizes) > 3 and all(size == [True, 32, "0px"] for size in sizes)
