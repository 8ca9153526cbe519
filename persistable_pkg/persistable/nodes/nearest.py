"""The stored payload nearest to a node, of the same name, and the single params in which they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple, cast

from persistable.errors import PayloadNotFound
from persistable.nodes.lineage import walk
from persistable.nodes.provenance import facts_of
from persistable.nodes.rename_hints import hints, records
from persistable.nodes.types import Node
from persistable.params.display import cut, in_words
from persistable.records.description import Description, described, in_lineage, leaves
from persistable.records.record import SUFFIX, Record
from persistable.stores.base import Store

SEARCHED = 1000
"""Records of the same name compared at most if there is no index of them."""
_OF_NAMES, _OF_ONE_NAME = 20, 2


class Nearest(NamedTuple):
    """The stored payload of the same name that differs in the fewest params."""

    record: Record
    """The record of that payload."""
    differences: dict[str, tuple[Any, Any]]
    """The value asked for and the stored one, by dotted path."""

    def __repr__(self) -> str:
        return f"<Nearest {self.record.key}: {difference_in_words(self.differences)}>"


def description_of(node: Node) -> Description:
    """The description from which the key of `node` is made."""
    facts = facts_of(node)
    return Description(str(node.key), facts["version"], facts["params"], facts.get("upstream") or {})


def upstream_of(node: Node) -> Callable[[str], Description | None]:
    """A lookup, by key, of the descriptions of the nodes upstream of `node`."""
    nodes: dict[str, Any] = {}

    def find(key: str) -> Description | None:
        if not nodes:
            nodes.update((str(each.key), each) for each in walk(*node.upstream.values()))
        found = nodes.get(key)
        return None if found is None else description_of(found)

    return find


def nearest(node: Node, store: Store) -> Nearest | None:
    """The nearest stored relative of `node`; None if nothing of its name is stored."""
    indexed = _indexed(node, store)
    return indexed if indexed is not None else least(compared(node, store))


def _indexed(node: Node, store: Store) -> Nearest | None:
    """The nearest by an index of the store; None if there is no current index."""
    import persistable

    catalog = persistable.Catalog.known(store)
    return None if catalog is None else catalog.nearest(cast("Any", node))


def compared(node: Node, store: Store) -> list[Nearest]:
    """Some stored relatives of `node`, each with its differences."""
    wanted, upstream = description_of(node), upstream_of(node)
    paths = list(islice((path for path in store.list(node.key.name) if path.endswith(SUFFIX)), SEARCHED))
    return [
        Nearest(record, leaves(wanted, described(record), upstream, in_lineage(record)))
        for record in records(store, paths).values()
        if record.key != node.key
    ]


def least(found: list[Nearest]) -> Nearest | None:
    """The one of these that differs in the fewest params; of several, the one whose numbers are nearest."""
    return min(found, key=lambda each: distance(each.differences), default=None)


def distance(found: dict[str, tuple[Any, Any]]) -> tuple[int, float]:
    """The number of params that differ, and the sum of their relative differences: 1 for each that is no number."""
    return len(found), sum(map(_apart, found.values()))


def _apart(values: tuple[Any, Any]) -> float:
    asked, stored = values
    if asked.__class__ in (int, float) and stored.__class__ in (int, float):
        scale = abs(asked) + abs(stored)
        return abs(asked - stored) / scale if scale else 0.0
    return 1.0


def rename_hints_for(nodes: Iterable[tuple[Any, Store]]) -> list[str]:
    """Hints at stored payloads that a rename or a new param hides from absent nodes; only a few nodes of each name are checked."""
    lines: dict[str, None] = {}
    looked: dict[tuple[str, str], int] = {}
    for node, store in nodes:
        place = (node.key.name, store.url)
        if (
            node.is_external
            or not node.is_persisted
            or looked.get(place, 0) >= _OF_ONE_NAME
            or (place not in looked and len(looked) >= _OF_NAMES)
        ):
            continue
        looked[place] = looked.get(place, 0) + 1
        found = compared(node, store)
        best = least(found)
        for hint in hints(node, found, None if best is None else best.differences, store):
            lines[f"{node.key.name}: {hint}"] = None
            looked[place] = _OF_ONE_NAME
    return list(lines)


def not_found(node: Node, store: Store) -> PayloadNotFound:
    """The error of a load for which nothing is stored."""
    near = nearest(node, store)
    advice = "; generate() makes it, load_generate() and payload do so when needed"
    if near is None:
        text = f"nothing is stored under {node.key} in {store.url}, nor anything else of that name{advice}"
    else:
        text = f"nothing is stored under {node.key} in {store.url}; "
        text += f"the nearest is {near.record.key} ({difference_in_words(near.differences)}){advice}"
    return PayloadNotFound(
        text, key=node.key, nearest=None if near is None else near.record, differences={} if near is None else near.differences
    )


def difference_in_words(found: dict[str, tuple[Any, Any]]) -> str:
    """``n: 20, stored 10; points.seed: 1, stored 2``."""
    if not found:
        return "all params are equal"
    shown = lines(found)
    return "; ".join(shown[:_MOST]) + (f"; and {len(shown) - _MOST} more" if len(shown) > _MOST else "")


_MOST = 8


def lines(found: dict[str, tuple[Any, Any]]) -> Sequence[str]:
    """``n: 20, stored 10`` for each param that differs."""

    def shown(path: str, tree: Any) -> str:
        return cut(in_words(tree, path.rpartition(".")[2]))

    return [f"{path}: {shown(path, asked)}, stored {shown(path, stored)}" for path, (asked, stored) in found.items()]
