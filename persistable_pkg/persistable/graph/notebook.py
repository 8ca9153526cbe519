"""HTML for notebooks: tables, badges and cards for all that shows itself there, and how a node looks.

Text is escaped here; `Html` is what is written as it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from html import escape

from persistable.errors import PayloadUntrusted, PersistableError
from persistable.graph.graph import lineage
from persistable.graph.labels import COLOURS, OTHER, short
from persistable.nodes import loading
from persistable.nodes.lineage import shown_params
from persistable.nodes.staleness import judged
from persistable.nodes.status import Status, status_of
from persistable.nodes.types import Node, own_store
from persistable.records import access
from persistable.records.amounts import duration_in_words, size_in_words
from persistable.stores.base import Store

MAX_LOOKED = 60
"""Most nodes of a lineage whose status a picture shows; looking up more would make a notebook wait."""


_CARD = "font:13px system-ui,sans-serif;line-height:1.5"
_TABLE = "font:13px system-ui,sans-serif;border-collapse:collapse;margin:4px 0;border:none"
_CELL = "text-align:left;padding:1px 12px 1px 0"


class Html(str):
    """HTML, made from text that is escaped."""

    __slots__ = ()


def html(value: object) -> Html:
    """`value` as HTML: escaped, unless it is `Html`."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def code(text: str) -> Html:
    """`text` as code."""
    return Html(f"<code>{html(text)}</code>")


def badge(word: str, number: int | None = None) -> Html:
    """A status on its colour, with a number before it if one is given."""
    shown = html(word) if number is None else f"{number} {html(word)}"
    return Html(f'<span style="background:{COLOURS.get(word, OTHER)};color:#fff;border-radius:3px;padding:0 6px">{shown}</span>')


def table(rows: Iterable[Sequence[object]], head: Sequence[str] = ()) -> Html:
    """A table of these rows."""
    lines = ["".join(f'<th style="{_CELL}">{html(name)}</th>' for name in head)] if head else []
    lines += ["".join(f'<td style="{_CELL}">{html(cell)}</td>' for cell in row) for row in rows]
    return Html(f'<table style="{_TABLE}">{"".join(f"<tr>{line}</tr>" for line in lines)}</table>')


def listing(head: Sequence[str], rows: Iterable[Sequence[object]], more: int = 0, notes: Iterable[str] = ()) -> Html:
    """A table, how many rows are left out of it, and a line for each note."""
    said = [*([f"and {more} more"] if more > 0 else []), *notes]
    return Html(table(rows, head) + "".join(f"<p>{html(each)}</p>" for each in said))


def card(title: str, *parts: object) -> Html:
    """A card: a title, and what follows it."""
    return Html(f'<div style="{_CARD}"><strong>{html(title)}</strong>{"".join(map(html, parts))}</div>')


def node_html(node: Node, store: Store) -> str:
    """Name, params, key, status, size, age and lineage of `node`, as one self-contained HTML fragment without scripts."""
    status = _status(node, store)
    rows: list[tuple[str, object]] = [("key", code(str(node.key))), ("status", badge(status.value)), ("store", code(store.url))]
    record = None
    if status in (Status.DONE, Status.STALE, Status.FOREIGN):
        with suppress(PayloadUntrusted):
            record = access.find_record(store, node.place)
    if record is not None:
        verdict = judged(node, store, record)
        said = [f"made by {verdict.foreign}"] if verdict.foreign else []
        said += [f"stored by {wrong.format}"] if isinstance(wrong := loading.refusal(node, record), PayloadUntrusted) else []
        said += [each for each in (verdict.describe(), *verdict.unknown) if each]
        rows += [("code", "; ".join(said))] if said else []
        rows += [
            ("size", size_in_words(record.size)),
            ("age", f"{duration_in_words(time.time() - record.started)}, took {duration_in_words(record.seconds)}"),
        ]
    rows += [(name, code(short(value))) for name, value in shown_params(node).items()]
    named = [(Html(f'<span style="color:{OTHER}">{html(name)}</span>'), cell) for name, cell in rows]
    return card(type(node).__name__, table(named), _picture(node, store) if node.upstream else "")


def _status(node: Node, store: Store) -> Status:
    try:
        return status_of(node, own_store(node) or store)
    except (PersistableError, OSError):
        return Status.ABSENT


def _picture(node: Node, store: Store) -> Html:
    graph = lineage(node)
    if len(graph.nodes) <= MAX_LOOKED:
        try:
            graph = lineage(node, store=store)
        except (PersistableError, OSError):
            pass  # a picture without colours says more than a traceback
    return Html(graph.html())
