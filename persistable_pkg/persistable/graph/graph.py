"""`Graph`: a picture of nodes, their edges and their status, in several languages."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal, NamedTuple

from persistable.errors import MissingExtra
from persistable.graph import dot, mermaid, outline, svg
from persistable.graph.labels import COLOURS
from persistable.graph.layout import draw
from persistable.nodes.lineage import walk
from persistable.nodes.status import Status, states_of
from persistable.records.key import Key
from persistable.stores.base import Store
from persistable.stores.open import open_store

Direction = Literal["LR", "TB"]
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class Edge(NamedTuple):
    """An arrow of a graph."""

    source: Key
    """The node upstream."""
    role: str
    """The name under which the target has it."""
    target: Key
    """The node downstream."""


@dataclass(frozen=True, repr=False)
class Graph:
    """The lineage of some nodes, as `lineage` found it. It never changes, so the same graph always gives the same text."""

    targets: tuple[Any, ...]
    """The nodes that were asked for; their boxes have a thicker border."""
    nodes: tuple[Any, ...]
    """Every node of the lineage once, upstream before downstream."""
    edges: tuple[Edge, ...]
    """Every upstream under its role, in the order of `nodes`."""
    statuses: Mapping[Key, str] = field(default_factory=dict[Key, str])
    """A word for each node that has one; it decides the colour of the node's box."""
    direction: Direction = "LR"
    """The direction of the arrows: ``"LR"`` to the right, ``"TB"`` downward."""
    collapse: int | None = 60
    """Most nodes that are drawn one by one; of more, those of one payload name with like upstream nodes are one box. None: no limit."""
    max_nodes: int = 300
    """Most boxes, those nearest to the targets; the others are counted in one."""
    colours: Mapping[str, str] = field(default_factory=dict[str, str])
    """``#rrggbb`` by word of `statuses`."""

    def mermaid(self) -> str:
        """A Mermaid flowchart, as GitHub, MyST and JupyterLab render it between ```` ```mermaid ```` fences."""
        return mermaid.write(draw(self))

    def dot(self) -> str:
        """A Graphviz file; tooltips hold keys and params."""
        return dot.write(draw(self))

    def svg(self) -> str:
        """A picture: one self-contained file without scripts, with dark text on light or light text on dark as the viewer's system prefers.

        Raises MissingExtra without ``persistable[graph]``, which does the layout.
        """
        return svg.write(draw(self))

    def picture(self, links: Mapping[Key, str]) -> str:
        """The same for a page, in its text colour; links: the URL that the box of a node leads to. Raises MissingExtra as `svg` does."""
        return svg.write(draw(self), inline=True, links=links)

    def text(self) -> str:
        """An outline in plain text: each node above its upstream nodes. Needs nothing installed."""
        return outline.write(draw(self))

    def html(self) -> str:
        """The picture for a notebook, in the text colour of the page; without ``persistable[graph]``, `text` and the install command."""
        drawing = draw(self)
        try:
            picture = svg.write(drawing, inline=True)
        except MissingExtra as missing:
            listing = escape(outline.write(drawing))
            return f'<pre style="line-height:1.4">{listing}</pre><div style="opacity:.7;font-size:12px">{escape(str(missing))}</div>'
        return f'<div style="overflow:auto;max-width:100%">{picture}</div>'

    def _repr_html_(self) -> str:
        return self.html()

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        return (
            f"<Graph of {len(self.nodes)} nodes and {len(self.edges)} edges, for {', '.join(node.key.name for node in self.targets[:3])}>"
        )


def lineage(
    *nodes: Any,
    status: bool | Mapping[Key, str | Status] | None = None,
    store: str | os.PathLike[str] | Store | None = None,
    direction: Direction = "LR",
    collapse: int | None = 60,
    max_nodes: int = 300,
    colours: Mapping[str, str] | None = None,
) -> Graph:
    """Return the graph of `nodes` and everything upstream of them. No payload is loaded.

    Parameters:
        nodes: the targets. Without any, the graph is empty.
        status: True looks each node's status up, once, in a few batches: records, failures and claims are read, sizes of payloads are not
            compared (``node.status`` does that). Or a mapping of key to a word of your own, such as the action of a plan. By default,
            looked up if `store` is given.
        store: where to look: a path, URL or `Store`. Nodes bound to a store are looked up there; without one, each in the store it uses.
        direction: ``"LR"``, upstream at the left, or ``"TB"``, upstream at the top.
        collapse: with more nodes than this, those of one payload name with like upstream nodes are drawn as one stacked box,
            with their number; None: never.
        max_nodes: boxes at most, for the nodes nearest to the targets; the others are counted in one more box.
        colours: ``#rrggbb`` for words of `status`, beside those of `Status`.

    Raises TypeError for a target that is no node, ValueError for an invalid `direction`, `collapse`, `max_nodes` or colour, StoreError
    where the status cannot be looked up.
    """
    if direction not in ("LR", "TB"):
        raise ValueError(f"direction is {direction!r}; it must be 'LR' or 'TB'")
    if max_nodes < 1 or (collapse is not None and collapse < 0):
        raise ValueError(f"collapse={collapse!r}, max_nodes={max_nodes!r}: collapse is None or at least 0, max_nodes at least 1")
    for word, colour in (colours or {}).items():
        if not _COLOUR.fullmatch(colour):
            raise ValueError(f"the colour of {word!r} is {colour!r}; give it as '#rrggbb'")
    for node in nodes:
        if not hasattr(node, "upstream"):
            raise TypeError(
                f"lineage() draws nodes, and was given {node!r:.60}; of a family or a list give each: lineage(*family.values())"
            )
    found = tuple(walk(*nodes))
    targets = {node.key: node for node in nodes}
    return Graph(
        targets=tuple(targets.values()),
        nodes=found,
        edges=tuple(Edge(source.key, role, node.key) for node in found for role, source in node.upstream.items()),
        statuses=_statuses(found, status, store),
        direction=direction,
        collapse=collapse,
        max_nodes=max_nodes,
        colours={**COLOURS, **(colours or {})},
    )


def _statuses(nodes: tuple[Any, ...], status: bool | Mapping[Key, str | Status] | None, store: Any) -> dict[Key, str]:
    if isinstance(status, Mapping):
        return {key: word.value if isinstance(word, Status) else str(word) for key, word in status.items()}
    if status is False or (status is None and store is None):
        return {}
    states = states_of(nodes, None if store is None else open_store(store))
    found = [(node, state.status) for node, state in zip(nodes, states, strict=True)]
    # ABSENT means nothing for a node that is never stored
    return {node.key: seen.value for node, seen in found if seen is not Status.ABSENT or node.is_persisted}
