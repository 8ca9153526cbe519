"""The keys that a `keep` argument names, their upstream and downstream, and the order in which payloads go to free space."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from persistable.catalog.entries import Entries
from persistable.catalog.entry import Entry
from persistable.catalog.index.index import Index
from persistable.catalog.lookup import downstream_keys, names, roles_of, upstream_keys
from persistable.nodes.lineage import walk
from persistable.nodes.node import Persistable
from persistable.nodes.step import Step
from persistable.records.key import Key, Place, Placed
from persistable.runs.targets import pairs

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog


def keys_of(catalog: Catalog, keep: Any) -> set[str]:
    """The keys of `keep`: nodes and all upstream of them, families, pipelines, classes, steps, keys, names, entries, paths.

    Raises UnknownKey for a text that is neither a name nor a key of something stored, TypeError for anything else.
    """
    known = set(names(catalog.index))
    found: set[str] = set()
    nodes: list[Any] = []
    for target in flat(keep):
        kind: Any = target.__class__
        if isinstance(target, Key | Entry):
            key: Key | None = target.key
            found |= {str(key)} if key is not None else set[str]()
        elif isinstance(target, str) and target in known:
            rows = catalog.index.rows("SELECT n.key FROM records r JOIN nodes n ON n.id = r.node WHERE r.name = ?", (target,))
            found.update(key for (key,) in rows)
        elif isinstance(target, str) or hasattr(kind, "__fspath__"):
            found.add(str(catalog[target].key))
        elif isinstance(target, Step) or (isinstance(target, type) and issubclass(target, Persistable)):
            found.update(str(entry.key) for entry in catalog.find(cast("Any", target)))
        else:
            nodes += [node for node, _ in pairs([target], catalog.store)]
    found.update(str(node.key) for node in walk(*nodes))
    return found


# Values of every type pass through here, so pyright may find unknown types.
def flat(keep: Any) -> Iterator[Any]:
    """Yield the items of `keep`: `keep` itself, or those of any collection, such as the result of `Catalog.find`, however nested."""
    stack: list[Any] = [keep]
    while stack:
        thing: Any = stack.pop()
        kind: Any = thing.__class__
        if not isinstance(thing, Key) and issubclass(kind, list | tuple | set | frozenset | Entries):
            stack.extend(thing)
        elif issubclass(kind, dict):
            stack.extend(cast("dict[Any, Any]", thing).values())
        elif issubclass(kind, Iterator):
            stack.extend(thing)
        else:
            yield thing


def upstream_of(index: Index, keys: Iterable[str]) -> set[str]:
    """`keys` and everything upstream of them, stored or not."""
    given = set(keys)
    return given.union(upstream_keys(index, given))


def stored_downstream(catalog: Catalog, keys: Iterable[Key]) -> list[Place]:
    """The places of stored payloads downstream of `keys`, each after all that was made from it, without `keys`."""
    index, given = catalog.current(), set(map(str, keys))
    return _stored(index, _ordered(index, {*downstream_keys(index, given)})[::-1], given)


def stored_upstream(catalog: Catalog, keys: Iterable[Key]) -> list[Place]:
    """The places of stored payloads upstream of `keys`, each after all that it was made from, without `keys`."""
    index, given = catalog.current(), set(map(str, keys))
    return _stored(index, _ordered(index, upstream_of(index, given)), given)


def _ordered(index: Index, keys: set[str]) -> list[str]:
    """`keys`, each after its upstream."""
    roles = roles_of(index, keys)
    graph = {key: [target for target in roles.get(key, {}).values() if target in keys] for key in sorted(keys)}
    return list(TopologicalSorter(graph).static_order())


def _stored(index: Index, keys: Sequence[str], without: set[str]) -> list[Place]:
    """Every place at which these keys have a record."""
    query = (
        "SELECT DISTINCT n.key, r.at FROM json_each(?) e JOIN nodes n ON n.key = e.value JOIN records r ON r.node = n.id "
        "WHERE r.status IN ('done', 'corrupt', 'untrusted') ORDER BY e.key, r.at"
    )
    rows = index.rows(query, (json.dumps([key for key in keys if key not in without]),))
    found = [(Key.parse(key), at) for key, at in rows]
    return [Placed(*key, to=at) if at else key for key, at in found]


class Cost(NamedTuple):
    """The cost of one stored key: bytes, and seconds of generation."""

    size: int
    seconds: float

    @property
    def bytes_per_second(self) -> float:
        """Bytes stored per second of generation."""
        return self.size / max(self.seconds, 1e-3)


def most_expensive(index: Index, stored: Mapping[str, Cost], removable: set[str], excess: int) -> list[str]:
    """The keys to remove to free `excess` bytes, those with most bytes per second of generation first; all possible ones if too few.

    stored: all keys that stay otherwise. removable: those of them that may go. A key never goes before the keys that were made from it.
    """
    targets: dict[str, list[str]] = {}
    live = upstream_of(index, stored)
    rows = index.rows("SELECT n.key, e.target FROM edges e JOIN nodes n ON n.id = e.node")
    uses: dict[str, int] = dict.fromkeys(live, 0)
    for key, target in rows:
        if key in live:
            targets.setdefault(key, []).append(target)
            uses[target] += 1
    heap = [(-stored[key].bytes_per_second, key) for key in removable if not uses[key]]
    heapify(heap)
    taken: list[str] = []
    while heap and excess > 0:
        _, key = heappop(heap)
        taken.append(key)
        excess -= stored[key].size
        for freed in _released(key, targets, uses, stored):
            if freed in removable:
                heappush(heap, (-stored[freed].bytes_per_second, freed))
    return taken


def _released(key: str, targets: Mapping[str, list[str]], uses: dict[str, int], stored: Mapping[str, Cost]) -> Iterator[str]:
    """Yield the stored keys that no remaining key was made from any more, once `key` is gone."""
    stack = [key]
    while stack:
        for target in targets.get(stack.pop(), ()):
            uses[target] -= 1
            if not uses[target]:
                if target in stored:
                    yield target
                else:
                    stack.append(target)
