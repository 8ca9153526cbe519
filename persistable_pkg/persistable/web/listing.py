"""The first page: a table of records, filtered, ordered and paged by the URL, in the words of `persistable ls`."""

from __future__ import annotations

from typing import Any, Literal, cast

from persistable.catalog.entries import ORDERS
from persistable.catalog.entry import Entry, label
from persistable.catalog.entry_json import row_of
from persistable.catalog.lookup import upstream_of_all
from persistable.errors import InvalidName, InvalidQuery
from persistable.web.links import INDEX
from persistable.web.page import Page, PageRequest, Site

ROWS = 50
STATES = ("done", "corrupt", "untrusted", "failed")


def catalog_page(site: Site, asked: PageRequest) -> Page:
    """The records that match: ``name``, ``where`` and ``status`` as of `Catalog.find`, ``sort`` as of `persistable ls`, ``page`` from 1."""
    query = {**asked.query, **site.filters}
    filters = {word: query.get(word) or None for word in ("name", "where", "status")}
    sort = asked.query.get("sort", "age")
    sort = sort if sort in ORDERS else "age"
    names = [] if site.filters else site.catalog.names()
    error = ""
    entries: list[Entry] = []
    total, page = 0, max(1, _whole(asked.query.get("page", "1")))
    try:
        found = site.catalog.find(filters["name"], where=filters["where"], status=filters["status"])
        found = found.ordered(cast("Literal['age', 'size', 'name']", sort))
        entries, total = found.page((page - 1) * ROWS, ROWS)
        if total and not entries:
            page = -(-total // ROWS)
            entries, total = found.page((page - 1) * ROWS, ROWS)
    except (InvalidQuery, InvalidName) as wrong:
        error = str(wrong)
    upstream = upstream_of_all(site.catalog, entries)
    facts: dict[str, Any] = {
        "store": site.catalog.store.url,
        "filters": filters,
        "sort": sort,
        "total": total,
        "page": page,
        "pages": max(1, -(-total // ROWS)),
        "names": names,
        "error": error or None,
        "rows": [row_of(entry, text) for entry, text in zip(entries, labels_of(entries, upstream), strict=True)],
    }
    shown = {"entries": entries, "upstream": upstream, "states": STATES, "sorts": tuple(ORDERS), "path": INDEX}
    return Page(filters["name"] or "Catalog", "catalog.html", facts, shown, 400 if error else 200)


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 1


def labels_of(entries: list[Entry], upstream: list[dict[str, Entry]]) -> list[str]:
    """The labels of entries, with their direct upstream."""
    return [label(entry.name, entry.params_tree, sources) for entry, sources in zip(entries, upstream, strict=True)]
