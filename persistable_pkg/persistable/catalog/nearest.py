"""The stored relative of a node that differs in the fewest params, found among all of its name without reading a record."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from persistable.catalog.index.index import Index
from persistable.catalog.index.leaves import valued
from persistable.catalog.lookup import roles_of
from persistable.nodes.nearest import Nearest, description_of, distance, upstream_of
from persistable.nodes.types import Node, is_node
from persistable.records import record_access
from persistable.records.description import Description, leaves
from persistable.records.key import Key

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog

COMPARED = 2000
"""Relatives compared one by one, at most; of more, those that agree in the most params of their own."""
_OF_ONE_PARAM = 20_000


def nearest(catalog: Catalog, node: Node, index: Index) -> Nearest | None:
    """The nearest relative of `node` in the index; None where nothing of its name is stored."""
    if not is_node(node):
        raise TypeError(f"nearest() takes a node, not {node!r:.60}")
    wanted = description_of(node)
    known = Descriptions(index)
    candidates = _candidates(index, wanted)
    known.load(candidates)
    upstream = upstream_of(node)
    found = [(leaves(wanted, known.of[key], upstream, known.of.get), key) for key in candidates if key in known.of]
    found.sort(key=lambda each: (*distance(each[0]), each[1]))
    for differences, key in found:
        name, _, digest = key.rpartition("/")
        record = record_access.peek(catalog.store, catalog[Key(name, digest)].place)
        if record is not None and not isinstance(record, record_access.Unusable):
            return Nearest(record, differences)
    return None


def _candidates(index: Index, wanted: Description) -> list[str]:
    stored = "n.id IN (SELECT node FROM records WHERE name = ? AND status = 'done') AND n.key <> ?"
    query = f"SELECT n.key FROM nodes n WHERE {stored} ORDER BY n.id DESC LIMIT ?"
    keys = [key for (key,) in index.rows(query, (wanted.name, wanted.key, COMPARED + 1))]
    if len(keys) <= COMPARED:
        return keys
    counted: dict[int, int] = {}
    for path, kind, value in valued(dict(wanted.params)):
        same = "SELECT node FROM params WHERE path = (SELECT id FROM paths WHERE path = ?) AND value IS ? AND kind = ? LIMIT ?"
        for (node,) in index.rows(same, (path, value, kind, _OF_ONE_PARAM)):
            counted[node] = counted.get(node, 0) + 1
    most = sorted(counted, key=lambda node: -counted[node])[: 4 * COMPARED]
    query = f"SELECT n.key FROM json_each(?) e JOIN nodes n ON n.id = e.value WHERE {stored} ORDER BY e.key LIMIT ?"
    return [key for (key,) in index.rows(query, (json.dumps(most), wanted.name, wanted.key, COMPARED))] or keys[:COMPARED]


class Descriptions:
    """The descriptions in an index, by key, loaded with everything upstream of them."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.of: dict[str, Description] = {}

    def load(self, keys: Iterable[str]) -> None:
        """Load the descriptions of `keys` and of everything upstream."""
        level = [key for key in keys if key not in self.of]
        while level:
            self._read(level)
            level = list(
                {target: None for key in level if key in self.of for target in self.of[key].upstream.values() if target not in self.of}
            )

    def _read(self, keys: Sequence[str]) -> None:
        roles = roles_of(self._index, keys)
        query = "SELECT key, version, params FROM nodes WHERE key IN (SELECT value FROM json_each(?)) AND class IS NOT NULL"
        for key, version, params in self._index.rows(query, (json.dumps(keys),)):
            self.of[key] = Description(key, json.loads(version), json.loads(params), roles.get(key, {}))
