"""Selection of entries by nodes, families, keys and queries, with everything upstream of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from persistable.catalog.cleanup.reachability import flat
from persistable.catalog.entry import ABSENT, Entry
from persistable.catalog.index.rows import FAILED
from persistable.catalog.lookup import ancestors
from persistable.nodes.lineage import walk
from persistable.records.key import Key
from persistable.runs.targets import pairs

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog


def selected(catalog: Catalog, targets: Any) -> list[Entry]:
    """The stored entries of a selection, and everything stored upstream of them, each once and in the order of their keys.

    targets: a node, family, pipeline, key, path, entry, the result of `find`, or a list of such; None for every record. Nodes that are not
    persisted are replaced by their upstream. Raises UnknownKey for a node or key that is not stored.
    """
    asked = list(catalog.find()) if targets is None else list(_asked(catalog, targets))
    found = {(each.key, each.at): each for each in asked if each.status != FAILED}
    if targets is not None:
        for each in ancestors(catalog, [str(entry.key) for entry in asked if entry.key is not None]):
            if each.status not in (ABSENT, FAILED):
                found.setdefault((each.key, each.at), each)
    return [found[place] for place in sorted(found, key=lambda place: (str(place[0]), place[1] or ""))]


def inputs(catalog: Catalog, targets: Any) -> list[Any]:
    """The nodes of external inputs upstream of the nodes in a selection, each once; keys and entries have no location of inputs."""
    given = [] if targets is None else [each for each in flat(targets) if not _is_stored(each)]
    return [node for node in walk(*(node for node, _ in pairs(given, catalog.store))) if node.is_external]


def _is_stored(item: Any) -> bool:
    """Tell whether it is a key, path or entry, not a node."""
    return isinstance(item, Entry | Key | str) or hasattr(item, "__fspath__")


def _asked(catalog: Catalog, item: Any) -> Iterator[Entry]:
    for each in flat(item):
        if _is_stored(each):
            yield catalog[each]
        else:
            yield from _stored([node for node, _ in pairs([each], catalog.store)], catalog)


def _stored(nodes: Iterable[Any], catalog: Catalog) -> Iterator[Entry]:
    """Yield the entry of each node; for nodes that are never stored, the entries of their upstream."""
    seen: set[Key] = set()
    pending = list(nodes)
    for node in pending:  # grows while it is walked
        if node.key in seen:
            continue
        seen.add(node.key)
        if node.is_persisted and not node.is_external:
            yield catalog[node.key]
        else:
            pending.extend(node.upstream.values())
