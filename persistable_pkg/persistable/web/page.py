"""The pages: for each address the facts that it shows, which are its JSON, and the template for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from persistable.catalog.catalog import Catalog
from persistable.catalog.entry import ABSENT, Entry
from persistable.catalog.lookup import beginning, by_keys
from persistable.errors import InvalidName, UnknownKey
from persistable.project.project import Project
from persistable.records.key import Key
from persistable.web.activity import Activity


class Page(NamedTuple):
    """A page. facts: its content as JSON. shown: further values for its template."""

    title: str
    template: str
    facts: dict[str, Any]
    shown: dict[str, Any]
    status: int = 200


class Site(NamedTuple):
    """The subject of the pages: the records of one store, the activity of this process, and the project, where there is one.

    filters: those of the catalog's page, ``name`` and ``where``, which an export is limited to.
    """

    catalog: Catalog
    activity: Activity
    project: Project | None = None
    filters: Mapping[str, str] = {}


class PageRequest(NamedTuple):
    """A request for a page. words: those of the path after the first. query: by name."""

    words: list[str]
    query: Mapping[str, str]


Maker = Callable[[Site, PageRequest], Page]


def entry_of(site: Site, words: list[str]) -> Entry:
    """The entry of a key, stored or known from a lineage. File paths are never tried. Raises UnknownKey."""
    text = "/".join(words)
    try:
        key = Key.parse(text)
    except InvalidName as error:
        raise UnknownKey(f"{text!r:.100} is no key: write name/digest", text=text, nearest=[]) from error
    index = site.catalog.current()
    (found,) = by_keys(site.catalog, index, [str(key)])
    if found.status == ABSENT and not index.rows("SELECT 1 FROM edges WHERE target = ? LIMIT 1", (str(key),)):
        raise UnknownKey(f"there is no record of {key} in {site.catalog.store.url}", text=text, nearest=[])
    return found


def find_entry(site: Site, text: str) -> Entry:
    """The entry of a key, or of the beginning of one or of a digest. Raises UnknownKey where there is none, or several."""
    try:
        return entry_of(site, text.strip().split("/"))
    except UnknownKey:
        return beginning(site.catalog, text.strip())
