"""The same pages as a static site: files that a browser opens without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from persistable.catalog.catalog import Catalog
from persistable.catalog.entries import Entries
from persistable.errors import StoreError
from persistable.web.activity import Activity
from persistable.web.app import page_at
from persistable.web.images import image_of
from persistable.web.links import INDEX, Address, Exported, file_of
from persistable.web.listing import ROWS
from persistable.web.pages import Site
from persistable.web.payloads import before
from persistable.web.render import as_html, as_json, assets

MARK = "persistable-site.txt"
"""The file by which a folder is known as an exported site."""


class Written(NamedTuple):
    """An exported site: its folder, and how many payloads and pages are in it."""

    folder: Path
    payloads: int
    pages: int


def export(catalog: Catalog, folder: Path) -> Written:
    """Write every page of `catalog` into `folder`, which is new, empty, or holds an earlier export. Raises StoreError for any other.

    Payloads show what may be read without their class. Filters and differences of any two need the server.
    """
    if folder.exists() and not (folder / MARK).exists() and any(folder.iterdir()):
        raise StoreError(f"{folder} holds something else; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text("A static site that `persistable serve --export` wrote; index.html is its first page.\n", encoding="utf-8")
    site = Site(catalog, Activity())
    entries = catalog.find()
    known = dict.fromkeys(_addresses(site, entries))
    for name, (_, data) in assets().items():
        _write(folder / "static" / name, data)
    for address in known:
        page = page_at(site, address.path, dict(address.query))
        _write(folder / file_of(address), as_html(page, Exported(address, known)).encode())
        _write(folder / file_of(address, ".json"), as_json(page).encode())
        if page.facts.get("preview") is not None and page.facts["preview"]["kind"] == "image":
            found = image_of(site, address.path.split("/")[1:])
            if found is not None:
                _write(folder / f"image/{address.path.removeprefix('payload/')}", found[1])
    return Written(folder, len(entries), len(known))


def _addresses(site: Site, entries: Entries) -> Iterator[Address]:
    catalog = site.catalog
    yield from (Address.of(path) for path in (INDEX, "running", "storage", "sweep"))
    yield from _paged(len(entries))
    for name in catalog.names():
        yield Address.of(INDEX, name=name)
        yield Address.of("sweep", name=name)
        yield from _paged(len(catalog.find(name)), name=name)
    for failure in catalog.find(status="failed"):
        yield from (Address.of(f"{kind}/{failure.key}") for kind in ("payload", "explain"))
    for entry in entries:
        if entry.key is not None:
            yield from (Address.of(f"{kind}/{entry.key}") for kind in ("payload", "lineage", "explain"))
            yield Address.of(f"lineage/{entry.key}", downstream=1)
            earlier = before(site, entry)
            if earlier is not None:
                yield Address.of("diff", a=earlier.key, b=entry.key)


def _paged(total: int, **query: str) -> Iterator[Address]:
    for page in range(2, -(-total // ROWS) + 1):
        yield Address.of(INDEX, **query, page=page)


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
