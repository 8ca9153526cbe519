"""How a project looks: counts of its payloads by status, and its table in a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Any

from persistable.errors import PersistableError
from persistable.graph.labels import COLOURS
from persistable.nodes.status import Status, seen_of
from persistable.runs.plan import pairs
from persistable.stores.base import Store

BATCH = 1000
"""So many payloads are looked up at once."""


def counts(target: Any, store: Store) -> Counter[Status]:
    """How many payloads of `target` are in which status."""
    if getattr(target.__class__, "_is_family", False):
        found: Counter[Status] = target.status()
        return found
    nodes = [node if node._store is not None else node._twin(where) for node, where in pairs([target], store)]
    total: Counter[Status] = Counter()
    for start in range(0, len(nodes), BATCH):
        total.update(seen.status for seen in seen_of(nodes[start : start + BATCH]))
    return total


def html(project: Mapping[str, Any], stages: Mapping[str, tuple[str, ...]], store: Store, name: str) -> str:
    """Name, store, and a table of the targets with what is stored of each; what is wrong with one is said in its row."""
    left = "text-align:left;padding:2px 12px 2px 0"
    rows: list[str] = []
    for target in project:
        where = ", ".join(stage for stage, names in stages.items() if target in names)
        what, states = _row(project, target, store)
        cells = (escape(target), escape(where), f"<code>{escape(what)}</code>", states)
        rows.append("<tr>" + "".join(f'<td style="{left}">{cell}</td>' for cell in cells) + "</tr>")
    head = "".join(f'<th style="{left}">{title}</th>' for title in ("target", "stages", "", "status"))
    return (
        f'<div style="font:13px system-ui,sans-serif;line-height:1.5"><strong>{escape(name)}</strong> <code>{escape(store.url)}</code>'
        f'<table style="font-size:13px;border-collapse:collapse;margin:4px 0;border:none"><tr>{head}</tr>{"".join(rows)}</table></div>'
    )


def _row(project: Mapping[str, Any], name: str, store: Store) -> tuple[str, str]:
    try:
        target = project[name]
    except Exception as error:  # noqa: BLE001 - a notebook shows the other targets all the same
        return "", f"{escape(type(error).__name__)}: {escape(str(error))}"
    shown = repr(target)
    try:
        states = " ".join(map(_badge, *zip(*counts(target, store).items(), strict=True)))
    except (PersistableError, OSError) as error:
        states = escape(f"the store cannot be read: {error}")
    except TypeError:
        states = "none"
    return shown if len(shown) <= 80 else shown[:77] + "...", states


def _badge(status: Status, number: int) -> str:
    colour = COLOURS[status.value]
    return f'<span style="background:{colour};color:#fff;border-radius:3px;padding:0 6px">{number} {status.value}</span>'
