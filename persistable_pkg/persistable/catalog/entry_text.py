"""Entries in words and as HTML: params as people write them, ages, sizes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from persistable.catalog.entry import params_and_sources, sources_in_words
from persistable.graph.notebook import Html, badge, card, code, digest, html, listing, number, table
from persistable.params.display import cut, in_words, is_of_nodes
from persistable.records.units import duration_in_words, size_in_words

if TYPE_CHECKING:
    from persistable.catalog.entry import Entry

_COLUMNS = 12
"""Most params and roles that have a column each."""


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


def entries_html(entries: Sequence[Entry], upstream: Sequence[Mapping[str, Entry]], total: int, none: str) -> str:
    """An HTML table of these entries, of `total` in all. upstream: the entries upstream of each, by role. none: the text if empty."""
    head, rows = entries_table(entries, upstream, lambda entry: html(entry.name))
    return listing(head, rows, total - len(entries), [] if entries else [none])


def entries_table(
    entries: Sequence[Entry], upstream: Sequence[Mapping[str, Entry]], named: Callable[[Entry], Html]
) -> tuple[list[str], list[Sequence[object]]]:
    """Head and rows of a table of entries, for notebooks and the local page alike.

    Entries of one name have a column for each param and each role, where these are few; else all of them are in one.

    upstream: the entries directly upstream of each, by role. named: returns the first cell of an entry.
    """
    sources = [sources_in_words(each) for each in upstream]
    trees = [
        {name: tree for name, tree in entry.params_tree.items() if not roles or not is_of_nodes(tree)}
        for entry, roles in zip(entries, sources, strict=True)
    ]
    names = list(dict.fromkeys(name for each in (*trees, *sources) for name in each))
    apart = len({entry.name for entry in entries}) == 1 and len(names) <= _COLUMNS
    now = time.time()
    rows: list[Sequence[object]] = []
    for entry, tree, roles in zip(entries, trees, sources, strict=True):
        if apart:
            params = [roles[name] if name in roles else _param(tree[name], name) if name in tree else "" for name in names]
        else:
            params = [params_and_sources(tree, roles)]
        size = "" if entry.size is None else size_in_words(entry.size)
        took = "" if entry.seconds is None else duration_in_words(entry.seconds)
        facts = (number(size), number(took), number(age(entry, now)))
        rows.append([named(entry), *params, badge(entry.status), *facts, digest(entry.key)])
    return ["name", *(names if apart else ["params"]), "status", "size", "took", "age", "key"], rows


def _param(tree: Any, name: str) -> object:
    text = cut(in_words(tree, name), 40)
    return number(text) if tree.__class__ in (int, float) else text
