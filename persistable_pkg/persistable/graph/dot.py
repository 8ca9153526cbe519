"""A drawing as a Graphviz file."""

from __future__ import annotations

from collections.abc import Iterable

from persistable.graph.layout import Box, Drawing


def write(drawing: Drawing) -> str:
    """The file's text, ending in a newline."""
    lines = [
        "digraph lineage {",
        f'  graph [rankdir={drawing.direction}, bgcolor="transparent", ranksep=0.5, nodesep=0.2];',
        '  node [shape=box, fontname="sans-serif", fontsize=11, color="#7a7f87"];',
        '  edge [fontname="sans-serif", fontsize=9, color="#7a7f87", arrowsize=0.7];',
    ]
    lines += [f"  n{number} [{_attributes(box, drawing)}];" for number, box in enumerate(drawing.boxes)]
    for arrow in drawing.arrows:
        attributes = {"label": _quoted([arrow.label])} if arrow.label else {}
        if not drawing.boxes[arrow.source].members:
            attributes["style"] = "dashed"
        lines.append(f"  n{arrow.source} -> n{arrow.target}{_bracketed(attributes)};")
    return "\n".join([*lines, "}"]) + "\n"


def _attributes(box: Box, drawing: Drawing) -> str:
    styles = ["rounded"] if box.persisted and box.members else ["dashed"]
    attributes = {
        "label": _quoted([box.name, box.detail, *([box.status] if box.statuses else [])]),
        "tooltip": _quoted(box.tooltip),
    }
    if not box.persisted:
        attributes["shape"] = "ellipse"
    if len(box.members) > 1:
        attributes["peripheries"] = "2"
    if box.target:
        attributes["penwidth"] = "2"
    colour = drawing.colour_of(box)
    if colour is not None:
        styles.append("filled")
        attributes |= {"color": f'"{colour}"', "fillcolor": f'"{colour}29"'}
    attributes["style"] = '"' + ",".join(styles) + '"'
    return ", ".join(f"{name}={value}" for name, value in attributes.items())


def _bracketed(attributes: dict[str, str]) -> str:
    return f" [{', '.join(f'{name}={value}' for name, value in attributes.items())}]" if attributes else ""


def _quoted(lines: Iterable[str]) -> str:
    r"""A quoted string of some lines: Graphviz reads backslashes (``\N`` is the node's name) and HTML entities inside quotes."""
    return '"' + r"\n".join(text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") for text in lines) + '"'
