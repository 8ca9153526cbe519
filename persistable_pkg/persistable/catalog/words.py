"""Entries in words and as HTML: params as people write them, ages, sizes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from persistable.graph.notebook import badge, card, code, html, listing, table
from persistable.params.words import cut, in_words
from persistable.records.amounts import duration_in_words, size_in_words

if TYPE_CHECKING:
    from persistable.catalog.entry import Entry

_ROWS = 50


def label(name: str, params: Mapping[str, Any], upstream: Mapping[str, Entry] = MappingProxyType({})) -> str:
    """``outliers(k=2.0, points=points(n=100))``, cut where it is long."""
    parts = [f"{each}={cut(in_words(tree))}" for each, tree in params.items() if not upstream or not _is_of_nodes(tree)]
    roles: dict[str, list[Entry]] = {}
    for role, entry in upstream.items():
        roles.setdefault(role.partition(".")[0], []).append(entry)
    for role, entries in roles.items():
        first = cut(label(entries[0].name, entries[0].params_tree))
        parts.append(f"{role}={first}" if len(entries) == 1 else f"{role}=[{first}, … {len(entries)} nodes]")
    return f"{name}({cut(', '.join(parts), 160)})"


def _is_of_nodes(tree: Any) -> bool:
    """Tell whether a tree stands for nodes, which are upstream, and what keeps them together."""
    if tree.__class__ is list:
        return bool(tree) and all(map(_is_of_nodes, tree))
    if tree.__class__ is not dict or not tree:
        return False
    return "$node" in tree or all(map(_is_of_nodes, tree.values()))


def age(entry: Entry, now: float | None = None) -> str:
    """The time since the payload was made."""
    return duration_in_words(max(0.0, (time.time() if now is None else now) - entry.created)) if entry.created is not None else ""


def entry_html(entry: Entry) -> str:
    """Name, params, key, size, age and upstream of an entry, as an HTML fragment."""
    rows: list[tuple[object, object]] = [("key", code(str(entry.key or entry.at))), ("status", badge(entry.status))]
    if entry.size is not None:
        rows.append(("size", size_in_words(entry.size)))
    if entry.seconds is not None:
        rows.append(("age", f"{age(entry)}, took {duration_in_words(entry.seconds)}"))
    rows += [("by", code(entry.class_reference))] if entry.class_reference else []
    rows += [(name, code(cut(in_words(tree), 80))) for name, tree in entry.params_tree.items()]
    rows += [(role, html(each.label)) for role, each in entry.upstream.items()]
    return card(entry.name or "?", table(rows))


def entries_html(entries: Iterable[Entry], number: int) -> str:
    """A table of entries: the params that some of them have, each in a column."""
    shown = list(entries)[:_ROWS]
    names = list(dict.fromkeys(name for entry in shown for name in entry.params_tree))[:12]
    now = time.time()
    head = ["name", *names, "status", "size", "age", "key"]
    rows: list[Sequence[object]] = []
    for entry in shown:
        tree = entry.params_tree
        cells = [cut(in_words(tree[name]), 40) if name in tree else "" for name in names]
        size = "" if entry.size is None else size_in_words(entry.size)
        rows.append([entry.name, *cells, badge(entry.status), size, age(entry, now), code(entry.key.digest[:12] if entry.key else "?")])
    return listing(head, rows, number - len(shown))
