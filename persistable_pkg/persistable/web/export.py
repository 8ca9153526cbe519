"""The pages as a static site: files that a browser opens without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from persistable.catalog.catalog import Catalog
from persistable.catalog.entries import Entries
from persistable.errors import StoreError
from persistable.project.project import Project
from persistable.web.activity import Activity
from persistable.web.app import page_at
from persistable.web.images import image_of
from persistable.web.links import INDEX, Address, StaticLinks, file_of
from persistable.web.listing import ROWS
from persistable.web.page import Site
from persistable.web.payloads import before
from persistable.web.render import as_html, as_json, assets

MARK = "persistable-site.txt"
"""The file that marks a folder as an exported site; it lists the others."""
_ABOUT = "A static site that `persistable serve --export` wrote; index.html is its first page. Its files:"


class ExportedSite(NamedTuple):
    """An exported site."""

    folder: Path
    """The folder of the site."""
    payloads: int
    """The number of payloads in it."""
    pages: int
    """The number of pages."""


def export(
    catalog: Catalog,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    name: str | None = None,
    where: str | None = None,
    project: Project | None = None,
) -> ExportedSite:
    """Write every page of `catalog` into `folder`, which is new, empty, or holds an earlier export. Raises StoreError for any other.

    Payloads have a preview if they may be read without their class. Filters and differences of any two need the server. progress: is called
    with the numbers of pages written and in all. name, where: as of `Catalog.find`, to write the payloads that match alone; pages over the
    whole store are then left out. project: whose targets have a page, too. Raises InvalidQuery.
    """
    filters = {word: value for word, value in (("name", name), ("where", where)) if value}
    entries = catalog.find(name, where=where)
    _clear(folder)
    site = Site(catalog, Activity(), project, filters)
    known = dict.fromkeys(_addresses(site, entries))
    written: list[str] = []
    try:
        for file, data in _files(site, known, progress):
            written.append(file)
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(data)
    finally:
        (folder / MARK).write_text("\n".join([_ABOUT, *written]) + "\n", encoding="utf-8")
    return ExportedSite(folder, len(entries), len(known))


def _clear(folder: Path) -> None:
    """Remove the files of an earlier export, and no other. Raises StoreError for a folder that holds other files."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / MARK
    if mark.exists():
        inside = folder.resolve()
        for name in mark.read_text(encoding="utf-8").splitlines()[1:]:
            if (folder / name).resolve().is_relative_to(inside):
                (folder / name).unlink(missing_ok=True)
    elif any(folder.iterdir()):
        raise StoreError(f"{folder} holds other files; name a new folder")
    mark.write_text(_ABOUT + "\n", encoding="utf-8")


def _files(site: Site, known: dict[Address, None], progress: Callable[[int, int], None] | None) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every file of the site."""
    yield from ((f"static/{name}", data) for name, (_, data) in assets().items())
    for done, address in enumerate(known, 1):
        page = page_at(site, address.path, dict(address.query))
        yield file_of(address), as_html(page, StaticLinks(address, known)).encode()
        yield file_of(address, ".json"), as_json(page).encode()
        preview: dict[str, Any] | None = page.facts.get("preview")
        if preview is not None and preview["kind"] == "image":
            found = image_of(site, address.path.split("/")[1:])
            if found is not None:
                yield f"image/{address.path.removeprefix('payload/')}", found[1]
        if progress is not None:
            progress(done, len(known))


def _addresses(site: Site, entries: Entries) -> Iterator[Address]:
    catalog = site.catalog
    yield from (Address.of(INDEX), Address.of(INDEX, **site.filters))
    yield from _paged(len(entries), **site.filters)
    if not site.filters:
        yield from (Address.of(path) for path in ("running", "storage", "sweep", *(["targets"] if site.project is not None else [])))
        for name in catalog.names():
            yield Address.of(INDEX, name=name)
            yield Address.of("sweep", name=name)
            yield from _paged(len(catalog.find(name)), name=name)
    for failure in catalog.find(site.filters.get("name"), where=site.filters.get("where"), status="failed"):
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
