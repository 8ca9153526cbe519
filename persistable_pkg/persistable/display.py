"""How a node looks in a notebook: the facts of its record, and a small picture of its lineage."""

from __future__ import annotations

import time
from html import escape
from typing import Any

from persistable import stored
from persistable.errors import PersistableError
from persistable.lineage import own_params
from persistable.status import Status, status_of
from persistable.stores.base import Store

MAX_DRAWN = 24
_COLOURS = {
    Status.DONE: "#1a7f5a",
    Status.ABSENT: "#7a7f87",
    Status.RUNNING: "#2563b8",
    Status.FAILED: "#c0392b",
    Status.BLOCKED: "#b06a00",
    Status.CORRUPT: "#c0392b",
    Status.STALE: "#b06a00",
}


def node_html(node: Any, store: Store) -> str:
    """Name, params, key, status, size, age and lineage of `node`, as one self-contained HTML fragment without scripts."""
    status = _status(node, store)
    rows = [("key", f"<code>{escape(str(node.key))}</code>"), ("status", _badge(status))]
    rows += [("store", f"<code>{escape(store.url)}</code>")]
    record = None
    if status in (Status.DONE, Status.STALE):
        record = stored.find_record(store, node.key)
    if record is not None:
        rows += [
            ("size", size_in_words(record.size)),
            ("age", f"{duration_in_words(time.time() - record.started)}, took {duration_in_words(record.seconds)}"),
        ]
    rows += [(name, f"<code>{escape(_short(value))}</code>") for name, value in params_shown(node).items()]
    left = "text-align:left;padding:1px 0"
    body = "".join(
        f'<tr><td style="{left};padding-right:12px;color:#7a7f87">{escape(name)}</td><td style="{left}">{cell}</td></tr>'
        for name, cell in rows
    )
    picture = lineage_svg(node, store) if node.upstream else ""
    return (
        f'<div style="font:13px system-ui,sans-serif;line-height:1.5"><strong>{escape(type(node).__name__)}</strong>'
        f'<table style="font-size:13px;border-collapse:collapse;margin:4px 0;border:none">{body}</table>{picture}</div>'
    )


def params_shown(node: Any) -> dict[str, Any]:
    """The node's own tracked params by field name: values where they can be had, else as the record has them."""
    return {name: getattr(node.params, name, content) for name, content in own_params(node).items()}


def size_in_words(size: float) -> str:
    """``12 B``, ``3.4 kB``, ``1.2 GB``; powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def duration_in_words(seconds: float) -> str:
    """``12 ms``, ``3.4 s``, ``5 min``, ``2 h``, ``3 d``."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for limit, divisor, unit in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.1f} {unit}"
    return f"{seconds / 86400:.1f} d"


def _badge(status: Status) -> str:
    return f'<span style="background:{_COLOURS[status]};color:#fff;border-radius:3px;padding:0 6px">{status.value}</span>'


def _status(node: Any, store: Store) -> Status:
    try:
        return status_of(node, node._store or store)
    except (PersistableError, OSError):
        return Status.ABSENT


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def lineage_svg(node: Any, store: Store) -> str:
    """The lineage of `node` as an SVG: upstream to the left, a column for each distance; the nearest nodes where there are very many."""
    columns, drawn = _columns(node)
    width, height, gap_x, gap_y = 150, 34, 46, 12
    tallest = max(len(column) for column in columns)
    places: dict[Any, tuple[float, float]] = {}
    for index, column in enumerate(columns):
        offset = (tallest - len(column)) * (height + gap_y) / 2
        for row, member in enumerate(column):
            places[member.key] = (index * (width + gap_x), offset + row * (height + gap_y))
    parts = [
        _arrow(places[source.key], places[member.key], width, height)
        for member in drawn
        for source in member.upstream.values()
        if source.key in places
    ]
    parts += [_box(member, _status(member, store), places[member.key], width, height) for member in drawn]
    total_width, total_height = len(columns) * (width + gap_x) - gap_x, tallest * (height + gap_y) - gap_y
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total_width} {total_height}" width="{total_width}" height="{total_height}" '
        f'style="max-width:100%;height:auto" font-family="system-ui,sans-serif" role="img" aria-label="lineage">{"".join(parts)}</svg>'
    )


def _arrow(source: tuple[float, float], target: tuple[float, float], width: float, height: float) -> str:
    start, end = source[0] + width, target[0]
    middle, y0, y1 = (start + end) / 2, source[1] + height / 2, target[1] + height / 2
    return f'<path d="M{start} {y0}C{middle} {y0} {middle} {y1} {end} {y1}" fill="none" stroke="#9aa0a6"/>'


def _box(node: Any, status: Status, place: tuple[float, float], width: float, height: float) -> str:
    x, y = place
    name = node.key.name if len(node.key.name) <= 19 else node.key.name[:18] + "…"
    text = f'x="{x + width / 2}" fill="#fff" text-anchor="middle"'
    return (
        f"<g><title>{escape(str(node.key))}: {status.value}</title>"
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{_COLOURS[status]}"/>'
        f'<text {text} y="{y + 14}" font-size="12">{escape(name)}</text>'
        f'<text {text} y="{y + 28}" font-size="10" opacity=".75">{node.key.digest[:8]}</text></g>'
    )


def _columns(node: Any) -> tuple[list[list[Any]], list[Any]]:
    """The nearest nodes of the lineage by their longest distance to `node`, the farthest column first."""
    near: dict[Any, Any] = {}
    queue = [node]
    for member in queue:  # grows while it is walked: nearest first
        if member.key not in near and len(near) < MAX_DRAWN:
            near[member.key] = member
            queue.extend(member.upstream.values())
    distance = dict.fromkeys(near, 0)
    for _ in near:  # longest path by relaxation; a lineage has no cycles, so as many rounds as nodes suffice
        moved = False
        for member in near.values():
            for source in member.upstream.values():
                if source.key in distance and distance[source.key] < distance[member.key] + 1:
                    distance[source.key] = distance[member.key] + 1
                    moved = True
        if not moved:
            break
    columns: list[list[Any]] = [[] for _ in range(max(distance.values()) + 1)]
    for key, member in near.items():
        columns[-1 - distance[key]].append(member)
    return columns, list(near.values())
