"""The lineage of an entry as a `Graph`, from records alone: nothing is imported."""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from persistable.catalog import lookup
from persistable.catalog.entry import Entry, label
from persistable.graph.graph import Edge, Graph
from persistable.graph.recorded import RecordNode
from persistable.params.display import params_in_words
from persistable.records.key import Key

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog


def picture(catalog: Catalog, entry: Entry, downstream: bool = False) -> Graph:
    """The graph of `entry` and everything upstream of it, or downstream, with the statuses in the records."""
    around = lookup.downstream(catalog, entry) if downstream else lookup.ancestors(catalog, [str(entry.key)])
    entries = {str(each.key): each for each in (entry, *around)}
    found = lookup.roles_of(catalog.index, entries)
    roles = {key: {role: source for role, source in found.get(key, {}).items() if source in entries} for key in entries}
    nodes: dict[str, RecordNode] = {}
    for key in TopologicalSorter({key: list(sources.values()) for key, sources in roles.items()}).static_order():
        nodes[key] = _recorded(entries[key], {role: nodes[source] for role, source in roles[key].items()})
    return Graph(
        targets=(nodes[str(entry.key)],),
        nodes=tuple(nodes.values()),
        edges=tuple(Edge(source.key, role, node.key) for node in nodes.values() for role, source in node.upstream.items()),
        statuses={node.key: entries[key].status for key, node in nodes.items()},
    )


def _recorded(entry: Entry, upstream: dict[str, RecordNode]) -> RecordNode:
    tree = entry.params_tree
    key = entry.key if entry.key is not None else Key(entry.name, "")
    kind = (entry.class_reference or entry.name).rpartition(":")[2]
    return RecordNode(key, label(entry.name, tree), params_in_words(tree), kind, upstream)
