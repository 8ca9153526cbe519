"""How a node looks in a notebook: the facts of its record, and a small picture of its lineage."""

from __future__ import annotations

import time
from html import escape
from typing import Any

from persistable.errors import PayloadUntrusted, PersistableError
from persistable.graph import lineage
from persistable.graph.labels import COLOURS
from persistable.nodes import loading
from persistable.nodes.lineage import shown_params
from persistable.nodes.staleness import judged
from persistable.nodes.status import Status, status_of
from persistable.records import access
from persistable.records.amounts import duration_in_words, size_in_words
from persistable.stores.base import Store

MAX_LOOKED = 60
"""In a lineage of so many nodes the picture shows the status of each; to look up more would make a notebook wait."""


def node_html(node: Any, store: Store) -> str:
    """Name, params, key, status, size, age and lineage of `node`, as one self-contained HTML fragment without scripts."""
    status = _status(node, store)
    rows = [("key", f"<code>{escape(str(node.key))}</code>"), ("status", _badge(status))]
    rows += [("store", f"<code>{escape(store.url)}</code>")]
    record = None
    if status in (Status.DONE, Status.STALE, Status.FOREIGN):
        record = access.find_record(store, node.place)
    if record is not None:
        verdict = judged(node, store, record)
        said = [f"made by {verdict.foreign}"] if verdict.foreign else []
        said += [f"stored by {wrong.format}"] if isinstance(wrong := loading.refusal(node, record), PayloadUntrusted) else []
        said += [each for each in (verdict.describe(), *verdict.unknown) if each]
        rows += [("code", escape("; ".join(said)))] if said else []
        rows += [
            ("size", size_in_words(record.size)),
            ("age", f"{duration_in_words(time.time() - record.started)}, took {duration_in_words(record.seconds)}"),
        ]
    rows += [(name, f"<code>{escape(_short(value))}</code>") for name, value in shown_params(node).items()]
    left = "text-align:left;padding:1px 0"
    body = "".join(
        f'<tr><td style="{left};padding-right:12px;color:#7a7f87">{escape(name)}</td><td style="{left}">{cell}</td></tr>'
        for name, cell in rows
    )
    picture = _picture(node, store) if node.upstream else ""
    return (
        f'<div style="font:13px system-ui,sans-serif;line-height:1.5"><strong>{escape(type(node).__name__)}</strong>'
        f'<table style="font-size:13px;border-collapse:collapse;margin:4px 0;border:none">{body}</table>{picture}</div>'
    )


def _badge(status: Status) -> str:
    return f'<span style="background:{COLOURS[status.value]};color:#fff;border-radius:3px;padding:0 6px">{status.value}</span>'


def _status(node: Any, store: Store) -> Status:
    try:
        return status_of(node, node._store or store)
    except (PersistableError, OSError):
        return Status.ABSENT


def _picture(node: Any, store: Store) -> str:
    graph = lineage(node)
    if len(graph.nodes) <= MAX_LOOKED:
        try:
            graph = lineage(node, store=store)
        except (PersistableError, OSError):
            pass  # a picture without colours says more than a traceback
    return graph.html()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
