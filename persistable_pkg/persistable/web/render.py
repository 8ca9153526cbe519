"""Pages as HTML and as JSON. Templates escape everything but the HTML that components of `graph.notebook` made."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from persistable.catalog.entry import Entry
from persistable.catalog.entry_text import age, entries_table
from persistable.errors import need
from persistable.graph import Graph
from persistable.graph.notebook import Html, badge, code, digest, html, number, style_sheet, table
from persistable.params.display import cut, in_words
from persistable.records.key import Key
from persistable.records.units import duration_in_words, size_in_words
from persistable.runs.progress import in_words as left_in_words
from persistable.web.links import Links
from persistable.web.page import Page
from persistable.web.sweeps import Cell

FOLDER = Path(__file__).parent
_TYPES = {".css": "text/css", ".js": "text/javascript", ".txt": "text/plain"}


def as_html(page: Page, links: Links) -> str:
    """The page as an HTML document."""
    made: str = _environment().get_template(page.template).render(page=page, facts=page.facts, links=links, **page.shown)
    return made


def as_json(page: Page) -> str:
    """The facts of the page as JSON."""
    return json.dumps(page.facts, ensure_ascii=False, default=str, allow_nan=False)


def assets() -> dict[str, tuple[str, bytes]]:
    """The files that pages need: name to media type and content."""
    found = {path.name: (_TYPES[path.suffix], path.read_bytes()) for path in sorted((FOLDER / "static").iterdir())}
    return {**found, "components.css": ("text/css", style_sheet().encode())}


@cache
def _environment() -> Any:
    jinja2 = need("jinja2", "jinja2", "serve", "the local page")
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        badge=badge, code=code, digest=digest, number=number, table=table, html=html, histogram=histogram, key_of=_key_of,
        entries_table=_entries, link=_link, rows_of=_rows_of, urls=_urls, cell_urls=_cell_urls, narrow=_narrow, now=time.time,
    )  # fmt: skip
    made.filters.update(
        size=size_in_words, duration=duration_in_words, words=in_words, cut=cut, left=left_in_words, count=_count, moment=_moment, age=age
    )
    return made


def _key_of(text: str | None) -> Key | None:
    return None if text is None else Key.parse(text)


def _link(links: Links, text: object, path: str, **query: object) -> Html:
    """`text` as a link to a page; plain text where there is no such page."""
    url = links.to(path, **query)
    return Html(f'<a href="{html(url)}">{html(text)}</a>') if url else html(text)


def _entries(links: Links, entries: Sequence[Entry], upstream: Sequence[Mapping[str, Entry]]) -> Html:
    """The table of entries that a notebook shows, its names linked to their pages."""

    def named(entry: Entry) -> Html:
        return html(entry.name or "?") if entry.key is None else _link(links, entry.name, f"payload/{entry.key}")

    head, rows = entries_table(entries, upstream, named)
    return table(rows, head)


def _rows_of(links: Links, rows: Sequence[dict[str, Any]]) -> Html:
    """A table of upstream statuses that explain another: payload, status and reason."""
    cells = [
        (_link(links, row["label"], f"payload/{row['key']}"), badge(row["status"]), row["why"], digest(Key.parse(row["key"])))
        for row in rows
    ]
    return table(cells, ("payload", "status", "why", "key"))


def _narrow(made: Html) -> Html:
    """A table that is no wider than its content."""
    return Html(made.replace('class="p-table"', 'class="p-table narrow"', 1))


def _urls(links: Links, graph: Graph) -> dict[Key, str]:
    """The URL of the page of each node of a picture."""
    return {node.key: links.to(f"payload/{node.key}") for node in graph.nodes}


def _cell_urls(links: Links, cells: Mapping[tuple[int, int], Cell]) -> dict[tuple[int, int], str]:
    """The URL of the first payload of each cell, the newest."""
    return {place: links.to(f"payload/{cell.entries[0].key}") for place, cell in cells.items()}


def _count(value: int) -> str:
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


# charts, as SVG without styles of their own: they take the colours of the page

_WIDTH, _HEIGHT = 480, 120


def histogram(facts: Mapping[str, Any]) -> Html:
    """The counts of a preview as bars."""
    counts: list[int] = facts["counts"]
    most = max(counts) or 1
    across = _WIDTH / len(counts)
    bars = "".join(
        f'<rect x="{place * across + 0.5:.1f}" y="{_HEIGHT - _HEIGHT * count / most:.1f}" width="{max(across - 1, 0.5):.1f}" '
        f'height="{_HEIGHT * count / most:.1f}"><title>{count:,} from {_edge(facts, place)} to {_edge(facts, place + 1)}</title></rect>'
        for place, count in enumerate(counts)
        if count
    )
    words = f"histogram of values from {facts['min']:.6g} to {facts['max']:.6g}"
    return Html(
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT + 18}" role="img" aria-label="{words}"><g class="bars">{bars}</g>'
        f'<path class="axis" d="M0 {_HEIGHT}.5H{_WIDTH}"/>'
        f'<text x="0" y="{_HEIGHT + 15}">{facts["min"]:.6g}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 15}" text-anchor="end">{facts["max"]:.6g}</text></svg>'
    )


def _edge(facts: Mapping[str, Any], place: int) -> str:
    width = (facts["to"] - facts["from"]) / len(facts["counts"])
    return f"{facts['from'] + place * width:.6g}"
