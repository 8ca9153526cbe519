"""A drawing as a Mermaid flowchart."""

from __future__ import annotations

import re

from persistable.graph.layout import Box, Drawing

# Characters to write as #number;. Mermaid interprets them even inside quotes (quotes, brackets, `%%{`, backticks, HTML), or Markdown does,
# as emphasis or, at the start of a line, as a list.
_SPECIAL = re.compile(r"[^\w .,:=+\xd7…/()-]|(?<![^\W_])_|_(?![^\W_])|^[-+]|(?<=^\d)[.)]|(?<=^\d\d)[.)]")


def write(drawing: Drawing) -> str:
    """The flowchart, ending in a newline."""
    lines = [f"flowchart {drawing.direction}"]
    lines += [f"  n{number}{_shape(box)}" for number, box in enumerate(drawing.boxes)]
    for arrow in drawing.arrows:
        line = "-.->" if not drawing.boxes[arrow.source].members else "-->"
        label = f'|"{_escape(arrow.label)}"|' if arrow.label else ""
        lines.append(f"  n{arrow.source} {line}{label} n{arrow.target}")
    return "\n".join(lines + _classes(drawing)) + "\n"


def _shape(box: Box) -> str:
    label = _escape(box.name) + "<br/>" + _escape(box.detail)
    if box.statuses:
        label += "<br/>" + _escape(box.status)
    opening, closing = ("[[", "]]") if len(box.members) > 1 else ("(", ")") if box.members else (">", "]")
    if not box.persisted:
        opening, closing = ("{{", "}}") if len(box.members) > 1 else ("([", "])")
    return f'{opening}"{label}"{closing}'


def _classes(drawing: Drawing) -> list[str]:
    colours: dict[str, list[str]] = {}
    for number, box in enumerate(drawing.boxes):
        colour = drawing.colour_of(box)
        if colour is not None:
            colours.setdefault(colour, []).append(f"n{number}")
    lines: list[str] = []
    for number, colour in enumerate(sorted(colours)):
        lines.append(f"  classDef c{number} fill:{colour}29,stroke:{colour}")
        lines.append(f"  class {','.join(colours[colour])} c{number}")
    targets = [f"n{number}" for number, box in enumerate(drawing.boxes) if box.target]
    if targets:
        lines += ["  classDef target stroke-width:3px", f"  class {','.join(targets)} target"]
    return lines


def _escape(text: str) -> str:
    return _SPECIAL.sub(lambda found: f"#{ord(found.group())};", text)
