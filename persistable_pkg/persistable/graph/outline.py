"""A drawing as an outline in plain text."""

from __future__ import annotations

from persistable.graph.layout import Box, Drawing

_DEEPEST = 20
"""Most levels of indentation; deeper nodes stay at that depth."""


def write(drawing: Drawing) -> str:
    """One line for each box, below its downstream box and one level deeper; a box met again is named but not followed again."""
    sources: dict[int, list[tuple[int, str]]] = {}
    for arrow in drawing.arrows:
        sources.setdefault(arrow.target, []).append((arrow.source, arrow.label))
    used = {arrow.source for arrow in drawing.arrows if arrow.source != arrow.target}
    tops = [number for number, box in enumerate(drawing.boxes) if box.target or number not in used]
    stack = [(number, "", 0) for number in reversed([*(top for top in tops if top not in used), *(top for top in tops if top in used)])]
    seen: set[int] = set()
    lines: list[str] = []
    while stack:
        number, role, depth = stack.pop()
        if depth == 0 and number in seen:
            continue
        again = number in seen
        seen.add(number)
        lines.append("  " * min(depth, _DEEPEST) + _line(drawing.boxes[number], role, again))
        if not again:
            stack.extend((source, label, depth + 1) for source, label in reversed(sources.get(number, [])))
    return "".join(text + "\n" for text in lines)


def _line(box: Box, role: str, again: bool) -> str:
    name = f"{role}: {box.name}" if role else box.name
    if again:
        return f"{name} {box.detail}, see above"
    about = ([box.status] if box.statuses else []) + ([] if box.persisted else ["not persisted"])
    return f"{name} {box.detail}" + (f" [{', '.join(about)}]" if about else "")
