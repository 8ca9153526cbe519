"""HTML for notebooks and the local page: tables, badges and cards, and the view of a node.

Text is escaped here; `Html` is inserted unchanged.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from persistable.errors import PayloadUntrusted, PersistableError
from persistable.graph.graph import lineage
from persistable.nodes.label import params_by_name
from persistable.nodes.status import State, Status, states_in
from persistable.nodes.types import Node, own_store
from persistable.params.display import cut, in_words
from persistable.params.secret import redact
from persistable.records import record_access
from persistable.records.key import Key
from persistable.records.units import duration_in_words, size_in_words
from persistable.stores.base import Store

if TYPE_CHECKING:
    from persistable.nodes.explain import Explanation

MAX_DIFFERENCES = 20
"""Differing params that an explanation lists at most."""
MAX_LOOKED = 60
"""Nodes of a lineage at most for which a picture shows statuses; looking up more would make a notebook wait."""

_KINDS = {
    "p-good": ("done", "sound", "identical", "equal", "reuse", "reused"),
    "p-bad": ("failed", "corrupt", "foreign", "untrusted", "missing", "different", "impossible", "refuse"),
    "p-warn": ("stale", "blocked", "skipped", "leave", "orphans"),
    "p-busy": ("running", "generate", "follow"),
}
_KIND = {word: kind for kind, words in _KINDS.items() for word in words}


class Html(str):
    """HTML, made from text that is escaped."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the HTML unchanged, for templates, which would escape it."""
        return str(self)


class Number(Html):
    """A cell of a table that holds a number with its unit, aligned right."""

    __slots__ = ()


def html(value: object) -> Html:
    """`value` as HTML: escaped, unless it is `Html`."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def number(text: object) -> Number:
    """`text` as a cell that is aligned right."""
    return Number(html(text))


def code(text: str) -> Html:
    """`text` as code."""
    return Html(f"<code>{html(text)}</code>")


def digest(key: Key | None) -> Html:
    """A digest, of which the style shows the beginning; copying it gives the whole digest, and hovering shows the whole key."""
    if key is None:
        return code("?")
    return Html(f'<code class="p-digest" title="{html(str(key))}">{html(key.digest)}</code>')


def badge(word: str, number: int | None = None) -> Html:
    """A status as a coloured badge, with a number before it if one is given."""
    shown = html(word) if number is None else f"{number:,} {html(word)}"
    return Html(f'<span class="p-badge {_KIND.get(word, "")}">{shown}</span>')


def table(rows: Iterable[Sequence[object]], head: Sequence[str] = ()) -> Html:
    """A table of these rows: text aligned left, `Number` right."""
    rows = list(rows)
    right = [isinstance(cell, Number) for cell in rows[0]] if rows else []
    heads = [_cell("th", html(name), place < len(right) and right[place]) for place, name in enumerate(head)]
    lines = [f"<thead><tr>{''.join(heads)}</tr></thead>"] if head else []
    names = [*(f' data-head="{html(name)}"' for name in head), *[""] * max(map(len, rows), default=0)]
    lines += [
        f"<tr>{''.join(_cell('td', html(cell), isinstance(cell, Number), name) for cell, name in zip(row, names, strict=False))}</tr>"
        for row in rows
    ]
    return Html(f'<table class="p-table">{"".join(lines)}</table>')


def _cell(tag: str, content: Html, right: bool, named: str = "") -> str:
    kind = ' class="p-n"' if right else ""
    return f"<{tag}{kind}{named}>{content}</{tag}>"


def listing(head: Sequence[str], rows: Iterable[Sequence[object]], more: int = 0, notes: Iterable[str] = ()) -> Html:
    """A table, unless it is empty, the number of rows left out of it, and a line for each note."""
    rows = list(rows)
    notes_below = [*([f"and {more:,} more"] if more > 0 else []), *notes]
    return _framed(table(rows, head) if rows else "", *(Html(f'<p class="p-note">{html(each)}</p>') for each in notes_below))


def card(title: str, *parts: object) -> Html:
    """A card: a title, and the parts below it."""
    return _framed(Html(f"<strong>{html(title)}</strong>"), *parts)


def bare(fragment: Html) -> Html:
    """`fragment` without its style sheet, for a page that includes it already."""
    return Html(fragment.replace(_style(), ""))


def _framed(*parts: object) -> Html:
    """Frame the parts and put the style sheet before them, once: the copies of frames inside the parts are removed."""
    return Html(f'<div class="p-view">{_style()}{bare(Html("".join(map(html, parts))))}</div>')


@cache
def style_sheet() -> str:
    """The style of all components, as CSS."""
    return Path(__file__).with_suffix(".css").read_text(encoding="utf-8")


@cache
def _style() -> str:
    return f"<style>{' '.join(style_sheet().split())}</style>"


def node_html(node: Node, store: Store) -> str:
    """Name, params, key, status, size, age and lineage of `node`, as one self-contained HTML fragment without scripts."""
    state = _state(node, store)
    rows: list[tuple[str, object]] = [("key", code(str(node.key))), ("status", badge(state.status.value)), ("store", code(store.url))]
    record = None
    if state.stored:
        with suppress(PayloadUntrusted):
            record = record_access.find_record(store, node.place)
    if record is not None:
        verdict = state.verdict
        remarks = [f"made by {verdict.foreign}"] if verdict.foreign else []
        remarks += [f"stored by {verdict.barred.format}"] if isinstance(verdict.barred, PayloadUntrusted) else []
        remarks += [each for each in (verdict.describe(), *verdict.unknown) if each]
        rows += [("code", "; ".join(remarks))] if remarks else []
        rows += [
            ("size", size_in_words(record.size)),
            ("age", f"{duration_in_words(time.time() - record.started)}, took {duration_in_words(record.seconds)}"),
        ]
    rows += [(name, code(value)) for name, value in params_by_name(node).items()]
    named = [(Html(f'<span class="p-name">{html(name)}</span>'), cell) for name, cell in rows]
    return card(type(node).__name__, table(named), _picture(node, store) if node.upstream else "")


def explanation_html(explanation: Explanation, label: str, notes: Sequence[str]) -> str:
    """Status and consequence of an `Explanation`, the params that differ from the nearest stored payload, and the code that has changed."""
    near, status = explanation.nearest, explanation.status
    word = Html("") if status is None else badge(status.value)
    first = explanation.split("\n", 1)[0].rpartition(": ")[2]
    parts: list[object] = [Html("<p>"), word, " ", first, Html("</p>")]
    if near is not None:
        shown = islice(explanation.differences.items(), MAX_DIFFERENCES)
        rows = [[code(path), *(code(cut(in_words(tree, path.rpartition(".")[2]))) for tree in sides)] for path, sides in shown]
        parts += [Html("<p>"), "nearest stored payload: ", near.key.name, " ", digest(near.key), Html("</p>")]
        more = len(explanation.differences) - len(rows)
        parts += [listing(["param", "asked for", "stored"], rows, more) if rows else _note("all its params are equal")]
    if explanation.changes:
        changes = [
            (Html(f"{html(each.key.name)} {digest(each.key)}"), code(each.by), each.change or "stored anew with other bytes")
            for each in explanation.changes
        ]
        parts.append(listing(["payload", "made by", "since then"], changes))
    return card(label, *parts, *map(_note, notes))


def _note(text: str) -> Html:
    return Html(f'<p class="p-note">{html(redact(text))}</p>')


def _state(node: Node, store: Store) -> State:
    try:
        return states_in([(node, own_store(node) or store)])[0]
    except (PersistableError, OSError):
        return State(Status.ABSENT)


def _picture(node: Node, store: Store) -> Html:
    graph = lineage(node)
    if len(graph.nodes) <= MAX_LOOKED:
        try:
            graph = lineage(node, store=store)
        except (PersistableError, OSError):
            pass  # a picture without colours says more than a traceback
    return Html(graph.html())
