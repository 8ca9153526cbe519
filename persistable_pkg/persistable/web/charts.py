"""Charts of a page, as SVG without styles of their own: they take the colours of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from persistable.graph.notebook import Html

_WIDTH, _HEIGHT = 480, 120


def histogram(facts: Mapping[str, Any]) -> Html:
    """The counts of a preview as bars."""
    counts: list[int] = facts["counts"]
    most = max(counts) or 1
    across = _WIDTH / len(counts)
    bars = "".join(
        f'<rect x="{place * across + 0.5:.1f}" y="{_HEIGHT - _HEIGHT * count / most:.1f}" width="{max(across - 1, 0.5):.1f}" '
        f'height="{_HEIGHT * count / most:.1f}"><title>{count:,} from {_edge(facts, place)} to {_edge(facts, place + 1)}</title></rect>'
        for place, count in enumerate(counts)
        if count
    )
    words = f"histogram of values from {facts['min']:.6g} to {facts['max']:.6g}"
    return Html(
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT + 18}" role="img" aria-label="{words}"><g class="bars">{bars}</g>'
        f'<path class="axis" d="M0 {_HEIGHT}.5H{_WIDTH}"/>'
        f'<text x="0" y="{_HEIGHT + 15}">{facts["min"]:.6g}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 15}" text-anchor="end">{facts["max"]:.6g}</text></svg>'
    )


def _edge(facts: Mapping[str, Any], place: int) -> str:
    width = (facts["to"] - facts["from"]) / len(facts["counts"])
    return f"{facts['from'] + place * width:.6g}"
