"""Entries in words and as HTML: params as people write them, ages, sizes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from persistable.graph.notebook import Html, badge, card, code, digest, html, listing, number, table
from persistable.params.words import cut, in_words, is_of_nodes
from persistable.records.amounts import duration_in_words, size_in_words

if TYPE_CHECKING:
    from persistable.catalog.entry import Entry

_ROWS = 50
_PARAMS = 12
"""Most params that have a column of their own."""


def age(entry: Entry, now: float | None = None) -> str:
    """The time since the payload was made."""
    return duration_in_words(max(0.0, (time.time() if now is None else now) - entry.created)) if entry.created is not None else ""


def entry_html(entry: Entry) -> str:
    """Name, params, key, size, age and upstream of an entry, as an HTML fragment."""
    rows: list[tuple[object, object]] = [("status", badge(entry.status)), ("key", code(str(entry.key or entry.at)))]
    if entry.size is not None:
        rows.append(("size", size_in_words(entry.size)))
    if entry.seconds is not None:
        rows.append(("age", f"{age(entry)}, took {duration_in_words(entry.seconds)}"))
    rows += [("by", code(entry.class_reference))] if entry.class_reference else []
    rows += [(name, code(cut(in_words(tree, name), 80))) for name, tree in entry.params_tree.items() if not is_of_nodes(tree)]
    rows += [(role, html(each.label)) for role, each in entry.upstream.items()]
    return card(entry.name or "?", table(rows))


def entries_html(entries: Iterable[Entry], total: int, none: str) -> str:
    """A table of entries: the params that some of them have, each in a column. none: what is said where there are none."""
    shown = list(entries)[:_ROWS]
    head, rows = entries_table(shown, lambda entry: html(entry.name))
    return listing(head, rows, total - len(shown), [] if shown else [none])


def entries_table(
    entries: Sequence[Entry], named: Callable[[Entry], Html], labels: Sequence[str] = ()
) -> tuple[list[str], list[Sequence[object]]]:
    """Head and rows of a table of entries, for notebooks and the local page alike.

    named: gives the first cell of an entry. labels: what each is called with its params, instead of a column for each param.
    """
    names = [] if labels else list(dict.fromkeys(name for entry in entries for name in entry.params_tree))[:_PARAMS]
    now = time.time()
    rows: list[Sequence[object]] = []
    for place, entry in enumerate(entries):
        tree = entry.params_tree
        params = [labels[place]] if labels else [_param(tree[name], name) if name in tree else "" for name in names]
        size = "" if entry.size is None else size_in_words(entry.size)
        took = "" if entry.seconds is None else duration_in_words(entry.seconds)
        facts = (number(size), number(took), number(age(entry, now)))
        rows.append([named(entry), *params, badge(entry.status), *facts, digest(entry.key)])
    return ["name", *(["params"] if labels else names), "status", "size", "took", "age", "key"], rows


def _param(tree: Any, name: str) -> object:
    text = cut(in_words(tree, name), 40)
    return number(text) if tree.__class__ in (int, float) else text
