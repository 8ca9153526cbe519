"""The pages over a whole store: running work, targets and storage."""

from __future__ import annotations

from typing import Any

from persistable.catalog.entry_json import row_of
from persistable.catalog.lookup import upstream_of_all
from persistable.errors import PersistableError, UnknownKey
from persistable.params.secret import redact
from persistable.project.overview import rows
from persistable.stores.base import BaseStore
from persistable.web.listing import labels_of
from persistable.web.page import Page, PageRequest, Site

LATEST = 20


def running_page(site: Site, _: PageRequest) -> Page:
    """The page of running work: generations of any process, progress of a run of this process, latest results, failures."""
    catalog = site.catalog
    latest = list(catalog.find()[:LATEST])
    upstream = upstream_of_all(catalog, latest)
    failed = catalog.find(status="failed")
    failures = list(failed[:LATEST])
    facts: dict[str, Any] = {
        "store": catalog.store.url,
        "run": site.activity.run(),
        "running": site.activity.running(catalog.store),
        "latest": [row_of(entry, text) for entry, text in zip(latest, labels_of(latest, upstream), strict=True)],
        "failed": [{**row_of(entry), **_failure(entry)} for entry in failures],
        "failed_total": len(failed),
    }
    return Page("Running", "running.html", facts, {"latest": latest, "upstream": upstream, "failures": failures})


def _failure(entry: Any) -> dict[str, Any]:
    try:
        failure = entry.failure
    except (PersistableError, OSError):
        failure = None
    return {"error": None if failure is None else redact(failure.text), "attempt": None if failure is None else failure.attempt}


def targets_page(site: Site, _: PageRequest) -> Page:
    """The page of the project's targets: stages and stored payloads of each. Modules that they name are imported, as `status` does."""
    project = site.project
    if project is None:
        raise UnknownKey("this page is of a store alone: call `persistable serve` in the folder of a project", text="targets", nearest=[])
    found = rows(project, project.stages, project.store)
    shown = [{**row._asdict(), "shown": redact(row.shown), "error": redact(row.error)} for row in found]
    return Page("Targets", "targets.html", {"store": site.catalog.store.url, "project": str(project.file or ""), "targets": shown}, {})


def storage_page(site: Site, _: PageRequest) -> Page:
    """The page of stored payloads, by name: number, bytes, and seconds of generation."""
    savings = site.catalog.savings()
    largest = sorted(savings, key=lambda each: -each.size)
    rows = [{"name": each.name, "count": each.count, "seconds": each.seconds, "size": each.size} for each in largest]
    store = site.catalog.store
    info = store.info() if isinstance(store, BaseStore) else {}
    plain = {name: value for name, value in info.items() if isinstance(value, str | int | float | bool)}
    facts = {"store": store.url, "size": savings.size, "seconds": savings.seconds, "names": rows, "info": plain}
    return Page("Storage", "storage.html", facts, {})
