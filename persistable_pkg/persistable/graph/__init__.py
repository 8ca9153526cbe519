"""Lineage as a picture: `lineage` gives a `Graph`, which writes itself as Mermaid, DOT, SVG and plain text."""

from __future__ import annotations

from persistable.graph.graph import Edge, Graph, lineage
from persistable.graph.notebook import explanation_html, node_html

__all__ = ["Edge", "Graph", "explanation_html", "lineage", "node_html"]
