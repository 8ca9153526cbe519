"""The pages of payloads: facts with a preview, lineage, explanation of the status, and differences of two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from persistable.catalog.entry import ABSENT, Entry
from persistable.catalog.entry_json import details, row_of
from persistable.catalog.explanation import of_node, of_record
from persistable.catalog.index.rows import FAILED
from persistable.catalog.lineage_graph import picture
from persistable.catalog.lookup import by_keys, upstream_of_all
from persistable.catalog.reproduce.compare import Comparison, compare
from persistable.errors import FormatError, MissingExtra, PayloadCorrupted, PayloadNotFound, PayloadUntrusted, PersistableError
from persistable.graph import Graph
from persistable.params.display import in_words, is_of_nodes, without_credentials
from persistable.params.secret import redact
from persistable.records.failure import Failure
from persistable.records.key import Key
from persistable.records.record import Record
from persistable.web.listing import labels_of
from persistable.web.page import Page, PageRequest, Site, entry_of, find_entry
from persistable.web.preview import preview
from persistable.web.trust import TooLarge, is_imported, payload_of

DOWNSTREAM = 50
"""Most payloads made from one that its page lists."""
LISTED = 200
"""Most payloads of a lineage that are listed below its picture, and most differences of each kind that a page of them lists."""


def payload_page(site: Site, asked: PageRequest) -> Page:
    """The page of a payload: facts and preview. ``read=class``: preview it by the class that its record names."""
    entry = entry_of(site, asked.words)
    record, damage = _record(entry)
    failure = entry.failure
    upstream = entry.upstream
    downstream = entry.downstream
    listed = downstream[:DOWNSTREAM]
    sources = upstream_of_all(site.catalog, listed)
    label = entry.label
    facts: dict[str, Any] = {
        **row_of(entry, label),
        "store": site.catalog.store.url,
        "record": None if record is None else details(site.catalog.store, entry.place, record),
        "damage": damage,
        "failure": None if failure is None else _failure(failure),
        "upstream": {role: row_of(each) for role, each in upstream.items()},
        "downstream": [row_of(each, text) for each, text in zip(listed, labels_of(listed, sources), strict=True)],
        "downstream_total": len(downstream),
        "preview": None if record is None else preview(site, entry, record, asked.query.get("read") == "class"),
    }
    shown = {
        "entry": entry,
        "record": record,
        "params": {name: in_words(tree, name) for name, tree in entry.params_tree.items() if not is_of_nodes(tree)},
        "untracked": {name: in_words(tree, name) for name, tree in (record.untracked if record is not None else {}).items()},
        "upstream": upstream,
        "downstream": listed,
        "downstream_upstream": sources,
        "before": before(site, entry),
    }
    return Page(label, "payload.html", facts, shown)


def _failure(failure: Failure) -> dict[str, Any]:
    facts: dict[str, Any] = {"text": redact(failure.text), "message": redact(failure.message), "traceback": redact(failure.traceback)}
    facts["params"] = without_credentials(failure.params)
    return {**failure._asdict(), "key": str(failure.key), **facts}


def _record(entry: Entry) -> tuple[Record | None, str | None]:
    if entry.status in (ABSENT, FAILED):
        return None, None
    try:
        return entry.record.checked(), None
    except (PayloadNotFound, PayloadCorrupted, PayloadUntrusted) as error:
        return None, redact(str(error))


def before(site: Site, entry: Entry) -> Entry | None:
    """The payload of the same name that was made last before this one, as a default for comparisons."""
    query = (
        "SELECT n.key FROM records r JOIN nodes n ON n.id = r.node WHERE r.name = ? AND r.status = 'done' AND r.created <= ? "
        "AND n.key <> ? ORDER BY r.created DESC, r.id DESC LIMIT 1"
    )
    if entry.key is None or entry.status != "done":
        return None
    rows = site.catalog.index.rows(query, (entry.name, entry.created, str(entry.key)))
    return entry_of(site, [rows[0][0]]) if rows else None


def lineage_page(site: Site, asked: PageRequest) -> Page:
    """The page of everything upstream, or with ``downstream=1`` of everything downstream, as a picture and a list."""
    entry = entry_of(site, asked.words)
    graph = picture(site.catalog, entry, asked.query.get("downstream") == "1")
    catalog = site.catalog
    found = catalog.downstream(entry) if asked.query.get("downstream") == "1" else catalog.lineage(entry)
    around = found[:LISTED]
    facts: dict[str, Any] = {
        **row_of(entry),
        "downstream": asked.query.get("downstream") == "1",
        "nodes": [{"key": str(node.key), "name": node.payload_name, "status": graph.statuses.get(node.key)} for node in graph.nodes],
        "edges": [{"source": str(edge.source), "role": edge.role, "target": str(edge.target)} for edge in graph.edges],
    }
    shown = {"entry": entry, "graph": graph, "drawn": drawn, "around": around, "around_upstream": upstream_of_all(catalog, around)}
    return Page(f"Lineage of {entry.name}", "lineage.html", facts, shown)


def drawn(graph: Graph, links: Mapping[Key, str]) -> tuple[str, str]:
    """The picture; or, without a renderer, an outline in text that names the package to install."""
    try:
        return graph.picture(links), ""
    except MissingExtra as missing:
        return "", f"{graph.text()}\n{missing}"


def explain_page(site: Site, asked: PageRequest) -> Page:
    """The page of the reasons why a payload and everything upstream of it are stored or not.

    From records alone; if its class is imported already, or ``read=class`` requests that, code is compared too.
    """
    entry = entry_of(site, asked.words)
    reference = entry.class_reference or ""
    node, note = None, ""
    if is_imported(reference) or (reference and asked.query.get("read") == "class"):
        try:
            node = entry.node()
        except PersistableError as error:
            note = redact(str(error))
    explanation = of_record(entry.place, site.catalog.store) if node is None else of_node(node, site.catalog.store)
    explanation["why"] = [redact(line) for line in explanation["why"]]
    found = by_keys(site.catalog, site.catalog.index, [row["key"] for row in explanation["upstream"]])
    labels = {str(each.key): label for each, label in zip(found, labels_of(found, upstream_of_all(site.catalog, found)), strict=True)}
    explanation["upstream"] = [{**row, "label": labels[row["key"]], "why": redact(row["why"])} for row in explanation["upstream"]]
    facts = {**row_of(entry), **explanation, "code_compared": node is not None, "note": note}
    return Page(f"Explain {entry.name}", "explain.html", facts, {"entry": entry})


def diff_page(site: Site, asked: PageRequest) -> Page:
    """The page of the differences of ``a`` and ``b``: params to the leaf, code, versions, facts, and content as far as it may be read."""
    a, b = (find_entry(site, asked.query.get(word, "")) for word in ("a", "b"))
    found = site.catalog.diff(a, b, payloads=False)
    by_class = asked.query.get("read") == "class"
    compared, note = _compared(site, a, b, by_class)
    difference = found.to_dict()
    params: dict[str, list[Any]] = difference["params"]
    masked = {path: [without_credentials(each, path.rpartition(".")[2]) for each in pair] for path, pair in params.items()}
    facts: dict[str, Any] = {**difference, "params": masked, "labels": [a.label, b.label]}
    if compared is not None:
        facts |= {"payloads": {"outcome": compared.outcome, "differences": list(map(str, compared.differences))}, "note": ""}
    else:
        facts |= {"payloads": None, "note": note}
    return Page(f"Difference of {a.name} and {b.name}", "diff.html", facts, {"a": a, "b": b, "found": found, "listed": LISTED})


def _compared(site: Site, a: Entry, b: Entry, by_class: bool) -> tuple[Comparison | None, str]:
    try:
        return compare(*(payload_of(site, each, each.record, by_class) for each in (a, b))), ""
    except TooLarge:
        return None, "they are too large to be compared here"
    except (PayloadUntrusted, FormatError):
        return None, "they are read by their class, which would be imported"
    except (PersistableError, OSError) as error:
        return None, redact(f"cannot be compared: {error}")
    except Exception as error:  # noqa: BLE001 - classes of users are imported and called
        return None, redact(f"cannot be compared: {type(error).__name__}: {error}")
