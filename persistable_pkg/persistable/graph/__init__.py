"""Lineage as a picture: `lineage` gives a `Graph`, which writes itself as Mermaid, DOT, SVG and plain text."""

from __future__ import annotations

from persistable.graph.base import Edge, Graph, lineage

__all__ = ["Edge", "Graph", "lineage"]
