"""A drawing as SVG. Graphviz's dot, through pygraphviz, computes the layout."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from types import MappingProxyType
from typing import Any

from persistable.errors import need
from persistable.graph.labels import line, width
from persistable.graph.layout import Box, Drawing
from persistable.records.key import Key

_ALONE = "<style>.persistable{color:#1f2328}@media(prefers-color-scheme:dark){.persistable{color:#e6edf3}}</style>"
_MARGIN = 6
_CARD = 3  # the offset of each card of a stack
# With more than 100 arrows and more than this for each box, dot would take half a minute: straight lines without roles instead.
_DENSE = 2.5
_layout_lock = threading.Lock()  # Graphviz is not thread-safe


@dataclass(frozen=True)
class _Layout:
    """Pixels from the top left: centres of boxes; for each arrow its curve, its tip, and the centre of its label."""

    width: float
    height: float
    boxes: list[tuple[float, float]]
    arrows: list[tuple[list[tuple[float, float]], tuple[float, float], tuple[float, float] | None]]


def write(drawing: Drawing, inline: bool = False, links: Mapping[Key, str] = MappingProxyType({})) -> str:
    """The text of the SVG. inline: its text takes the colour of the page around it, else one that fits the viewer's light or dark scheme.

    links: the URL that a box of one node leads to.
    """
    sizes = [_size(box) for box in drawing.boxes]
    layout = _layout(drawing, sizes)
    legend, legend_width = _legend(drawing, layout.height)
    across = round(max(layout.width, legend_width) + 2 * _MARGIN)
    down = round(layout.height + (22 if legend else 0) + 2 * _MARGIN)
    box = f'viewBox="{-_MARGIN} {-_MARGIN} {across} {down}" width="{across}" height="{down}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="persistable" {box} role="img" aria-label="lineage"',
        ' font-family="system-ui,sans-serif" font-size="12" fill="currentColor">',
        "" if inline else _ALONE,
        *_arrows(drawing, layout),
        '<g text-anchor="middle">',
        *(_linked(box, links, _box(drawing, box, *position)) for box, *position in zip(drawing.boxes, layout.boxes, sizes, strict=True)),
        "</g>",
        legend,
        "</svg>",
    ]
    return "".join(parts)


def _size(box: Box) -> tuple[float, float]:
    """The size of a box for its text in any common sans-serif font, by columns, so that no installed font changes the layout."""
    return max(72, 7 * width(box.name) + 18, 5.6 * width(box.detail) + 18), 38


def _layout(drawing: Drawing, sizes: list[tuple[float, float]]) -> _Layout:
    pygraphviz = need("pygraphviz", "pygraphviz", "graph", "drawing a lineage")
    if not drawing.boxes:
        return _Layout(0, 0, [], [])
    dense = len(drawing.arrows) > max(100, _DENSE * len(drawing.boxes))
    patience = {"mclimit": "0.1", "nslimit": "1", "splines": "line"} if dense else {}
    with _layout_lock:
        graph = pygraphviz.AGraph(directed=True, rankdir=drawing.direction, ranksep="0.55", nodesep="0.2", **patience)
        try:
            # no text is passed: it would be measured in an installed font, and Graphviz might interpret it
            for number, (across, down) in enumerate(sizes):
                cards = 2 * _CARD if len(drawing.boxes[number].members) > 1 else 0
                size = {"width": (across + cards) / 72, "height": (down + cards) / 72}
                graph.add_node(number, shape="box", label="", fixedsize="true", **size)
            for arrow in drawing.arrows:
                label = {"label": _blank(5.2 * width(arrow.label) + 8)} if arrow.label and not dense else {}
                graph.add_edge(arrow.source, arrow.target, arrowsize="0.7", **label)
            graph.layout(prog="dot")
            return _read(graph, drawing)
        finally:
            graph.close()


def _blank(across: float) -> str:
    """An empty table that reserves room for an arrow's label."""
    size = f'FIXEDSIZE="TRUE" WIDTH="{across:.0f}" HEIGHT="14"'
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLPADDING="0" CELLSPACING="0" {size}><TR><TD {size}></TD></TR></TABLE>>'


def _read(graph: Any, drawing: Drawing) -> _Layout:
    """The positions dot has written into `graph`; its y points up."""
    left, bottom, right, top = (float(number) for number in graph.graph_attr["bb"].split(","))

    def point(text: str) -> tuple[float, float]:
        x, y = text.split(",")
        return float(x) - left, top - float(y)

    boxes = [point(graph.get_node(number).attr["pos"]) for number in range(len(drawing.boxes))]
    arrows: list[tuple[list[tuple[float, float]], tuple[float, float], tuple[float, float] | None]] = []
    for arrow in drawing.arrows:
        found = graph.get_edge(arrow.source, arrow.target).attr
        end, *curve = str(found["pos"]).split()
        place = point(found["lp"]) if found["lp"] else None
        arrows.append(([point(text) for text in curve], point(end.removeprefix("e,")), place))
    return _Layout(right - left, top - bottom, boxes, arrows)


def _arrows(drawing: Drawing, layout: _Layout) -> Iterator[str]:
    yield '<g fill="none" stroke="currentColor" stroke-opacity=".45">'
    heads: list[str] = []
    labels: list[str] = []
    for arrow, (curve, tip, place) in zip(drawing.arrows, layout.arrows, strict=True):
        dashes = "" if drawing.boxes[arrow.source].members else ' stroke-dasharray="3 3"'
        yield f'<path d="{_path(curve)}"{dashes}/>'
        heads.append(_head(curve[-1], tip))
        if arrow.label and place is not None:
            labels.append(f'<text x="{place[0]:.0f}" y="{place[1] + 4:.0f}">{escape(arrow.label, quote=False)}</text>')
    yield "</g>"
    if heads:
        yield f'<path fill-opacity=".6" d="{"".join(heads)}"/>'
    if labels:
        yield f'<g font-size="10" fill-opacity=".75" text-anchor="middle">{"".join(labels)}</g>'


def _path(curve: list[tuple[float, float]]) -> str:
    """The path of Bézier curves, each relative to its start: half as long on a large picture as absolute positions."""
    points = [(round(x), round(y)) for x, y in curve]
    steps: list[int] = []
    for start in range(0, len(points) - 1, 3):
        x0, y0 = points[start]
        for x, y in points[start + 1 : start + 4]:
            steps += [x - x0, y - y0]
    return f"M{points[0][0]} {points[0][1]}c{' '.join(map(str, steps))}".replace(" -", "-")


def _head(start: tuple[float, float], tip: tuple[float, float]) -> str:
    """A triangle from the end of a curve to its tip."""
    across, down = (tip[0] - start[0]) * 0.4, (tip[1] - start[1]) * 0.4
    x0, y0, x1, y1 = start[0] - down, start[1] + across, start[0] + down, start[1] - across
    return f"M{tip[0]:.1f} {tip[1]:.1f}L{x0:.1f} {y0:.1f} {x1:.1f} {y1:.1f}Z"


def _box(drawing: Drawing, box: Box, place: tuple[float, float], size: tuple[float, float]) -> str:
    (x, y), (across, down) = place, size
    radius = 6 if box.persisted else 19
    paint = _paint(drawing, box)
    behind = ""
    if len(box.members) > 1:
        behind = _card_behind(x + _CARD, y - _CARD, size, radius, _paint(drawing, box, filled=False))
        x, y = x - _CARD, y + _CARD
    left, top = x - across / 2, y - down / 2
    card = f'<rect x="{left:.0f}" y="{top:.0f}" width="{across:.0f}" height="{down:.0f}" rx="{radius}"{paint}/>'
    tip = "\n".join(box.tooltip)
    name = f'<text x="{x:.0f}" y="{y - 3:.0f}">{escape(box.name, quote=False)}</text>'
    detail = f'<text x="{x:.0f}" y="{y + 12:.0f}" font-size="10" fill-opacity=".75">{escape(box.detail, quote=False)}</text>'
    shares = _shares(drawing, box, left + radius, top + down - 4, across - 2 * radius)
    return f"<g><title>{escape(tip, quote=False)}</title>{behind}{card}{name}{detail}{shares}</g>"


def _linked(box: Box, links: Mapping[Key, str], drawn: str) -> str:
    url = links.get(box.members[0].key) if len(box.members) == 1 else None
    return f'<a href="{escape(url)}">{drawn}</a>' if url else drawn


def _card_behind(x: float, y: float, size: tuple[float, float], radius: int, paint: str) -> str:
    """The visible corner of a card behind another."""
    across, down, peep = *size, 2 * _CARD
    left, top, right, bottom = x - across / 2 + radius, y - down / 2, x + across / 2, y + down / 2 - radius
    corner = f"V{top:.0f}H{right - radius:.0f}a{radius} {radius} 0 0 1 {radius} {radius}V{bottom:.0f}h{-peep}"
    return f'<path d="M{left:.0f} {top + peep:.0f}{corner}"{paint}/>'


def _paint(drawing: Drawing, box: Box, filled: bool = True) -> str:
    """Attributes of a box: coloured by its status, dashed where nothing is stored, thicker for a target."""
    colour = drawing.colour_of(box)
    paint = ' stroke="currentColor" stroke-opacity=".6"' if colour is None else f' stroke="{colour}"'
    if not filled:
        paint += ' fill="none"'
    else:
        paint += ' fill-opacity=".04"' if colour is None else f' fill="{colour}" fill-opacity=".16"'
    paint += ' stroke-width="2"' if box.target else ""
    return paint if box.members and box.persisted else paint + ' stroke-dasharray="4 3"'


def _shares(drawing: Drawing, box: Box, left: float, top: float, across: float) -> str:
    """A bar at the foot of a stack whose members differ: the share of each status."""
    if len(box.statuses) < 2 and sum(box.statuses.values()) in (0, len(box.members)):
        return ""
    parts: list[str] = []
    for word, number in box.statuses.items():
        share = across * number / len(box.members)
        parts.append(f'<rect x="{left:.1f}" y="{top:.0f}" width="{share:.1f}" height="4" fill="{drawing.colour(word)}"/>')
        left += share
    return "".join(parts)


def _legend(drawing: Drawing, height: float) -> tuple[str, float]:
    """The legend of the colours, with the number of nodes of each, and its width."""
    parts: list[str] = []
    left = 0.0
    for word, number in drawing.totals().most_common(8):
        text = f"{line(word, 24)} {number:,}"
        parts.append(f'<rect x="{left:.0f}" y="{height + 12:.0f}" width="9" height="9" rx="2" fill="{drawing.colour(word)}"/>')
        parts.append(f'<text x="{left + 13:.0f}" y="{height + 20:.0f}">{escape(text, quote=False)}</text>')
        left += 13 + 6 * width(text) + 14
    return (f'<g font-size="11">{"".join(parts)}</g>' if parts else ""), left
