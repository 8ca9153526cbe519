"""Boxes and arrows of a graph's picture: a box for each node or group of like nodes, and at most one arrow between two boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persistable.graph.labels import COLOURS, OTHER, TIMES, line, params_of, roles_in_words
from persistable.graph.recorded import RecordNode
from persistable.records.key import Key

if TYPE_CHECKING:
    from persistable.graph.graph import Graph

MAX_ARROWS = 400
"""Arrows drawn at most: more are unreadable, and Mermaid draws 500 at most."""
_LISTED = 8


@dataclass(frozen=True)
class Box:
    """One node, several like nodes, or (without members) the number of nodes that are not drawn."""

    members: tuple[Any, ...]
    statuses: Mapping[str, int]
    target: bool = False
    undrawn: int = 0

    @property
    def persisted(self) -> bool:
        """Tell whether the payload is stored at all."""
        return not self.members or bool(getattr(self.members[0], "is_persisted", True))

    @property
    def name(self) -> str:
        """The first line of the box."""
        return line(self.members[0].key.name, 28) if self.members else "…"

    @property
    def detail(self) -> str:
        """The second line: the number of members, or the params of the only one, or its digest."""
        if not self.members:
            return f"{self.undrawn:,} more"
        only, *others = self.members
        if others:
            return f"{TIMES} {len(self.members):,}"
        return (line(only.params, 30) if isinstance(only, RecordNode) else params_of(only, 30)) or only.key.digest[:8]

    @property
    def status(self) -> str:
        """The status in words, each with its number where members differ; empty where none is known."""
        if len(self.statuses) == 1 and sum(self.statuses.values()) == len(self.members):
            return line(next(iter(self.statuses)), 40)
        return line(", ".join(f"{number:,} {word}" for word, number in self.statuses.items()), 80)

    @property
    def tooltip(self) -> list[str]:
        """The lines shown when the pointer rests on the box."""
        if not self.members:
            return [f"{self.undrawn:,} nodes farther upstream are not drawn"]
        keys = [line(str(node.key), 200) for node in self.members[:_LISTED]]
        if len(self.members) > _LISTED:
            keys.append(f"… and {len(self.members) - _LISTED:,} more")
        node = self.members[0]
        about = [] if self.persisted else ["not persisted"]
        about += [self.status] if self.statuses else []
        about += [line(node.label, 120)] if len(self.members) == 1 else []
        kind = node.kind if isinstance(node, RecordNode) else type(node).__name__
        return [*keys, line(kind, 80), *(text for text in about if text)]


@dataclass(frozen=True)
class Arrow:
    """An arrow from one box to another, by their numbers."""

    source: int
    target: int
    label: str
    """The roles, where they differ from the payload names of their upstream nodes."""


@dataclass(frozen=True)
class Drawing:
    """Boxes and arrows, and how to draw them."""

    boxes: list[Box]
    arrows: list[Arrow]
    direction: str
    colours: Mapping[str, str]

    def colour(self, word: str) -> str:
        """The colour of a status, as ``#rrggbb``."""
        return self.colours.get(word) or COLOURS.get(word, OTHER)

    def colour_of(self, box: Box) -> str | None:
        """The one colour of a box; None where its status is unknown or its members differ."""
        colours = [self.colour(word) for word, number in box.statuses.items() if number == len(box.members)]
        return colours[0] if colours else None

    def totals(self) -> Counter[str]:
        """Number of nodes in each status."""
        counted: Counter[str] = Counter()
        for box in self.boxes:
            counted.update(box.statuses)
        return counted


def draw(graph: Graph) -> Drawing:
    """Draw each node as a box of its own, if that is readable; else like nodes together; else only the nearest."""
    grouping = _grouping(graph)
    shown = _nearest(grouping, graph.max_nodes)
    number = {group: index for index, group in enumerate(shown)}
    targets = {node.key for node in graph.targets}
    boxes = [_box(grouping.members[group], graph.statuses, targets) for group in shown]
    arrows = [
        Arrow(number[source], number[target], roles_in_words(roles))
        for (source, target), roles in grouping.roles.items()
        if source in number and target in number
    ]
    undrawn = sum(len(members) for group, members in enumerate(grouping.members) if group not in number)
    if undrawn:
        cut = dict.fromkeys(number[target] for source, target in grouping.roles if target in number and source not in number)
        arrows += [Arrow(len(boxes), target, "") for target in cut]
        boxes.append(Box((), {}, undrawn=undrawn))
    return Drawing(boxes, arrows, graph.direction, graph.colours)


def _box(members: list[Any], statuses: Mapping[Key, str], targets: set[Key]) -> Box:
    words = Counter(statuses[node.key] for node in members if node.key in statuses)
    return Box(tuple(members), dict(words.most_common()), any(node.key in targets for node in members))


class _Grouping:
    """Nodes by group, upstream first, and the roles (where they differ from the name) from group to group."""

    def __init__(self, graph: Graph, groups: dict[Key, int]) -> None:
        self.members: list[list[Any]] = [[] for _ in range(max(groups.values(), default=-1) + 1)]
        for node in graph.nodes:
            self.members[groups[node.key]].append(node)
        self.roles: dict[tuple[int, int], dict[str, None]] = {}
        for source, role, target in graph.edges:
            roles = self.roles.setdefault((groups[source], groups[target]), {})
            if role != source.name:
                roles[role] = None
        self.targets = list(dict.fromkeys(groups[node.key] for node in graph.targets))

    def fits(self, boxes: int) -> bool:
        return len(self.members) <= boxes and len(self.roles) <= MAX_ARROWS


def _grouping(graph: Graph) -> _Grouping:
    alone = _Grouping(graph, {node.key: index for index, node in enumerate(graph.nodes)})
    if graph.collapse is None or (len(graph.nodes) <= graph.collapse and alone.fits(graph.max_nodes)):
        return alone
    alike = _Grouping(graph, _groups(graph, lambda source, groups: groups[source.key]))
    if alike.fits(graph.max_nodes):
        return alike
    return _Grouping(graph, _groups(graph, lambda source, _: source.key.name))


def _groups(graph: Graph, upstream: Callable[[Any, dict[Key, int]], Hashable]) -> dict[Key, int]:
    """Number the groups: nodes of one class, payload name and set of upstream nodes, targets apart, are one group.

    `upstream` gives the mark of an upstream node. If that is its group, the groups have no cycle, as the nodes have none: a ladder stays a
    ladder. If it is its name, groups are fewer, and a chain of equal names is one group that is upstream of itself.
    """
    numbers: dict[Hashable, int] = {}
    groups: dict[Key, int] = {}
    targets = {node.key for node in graph.targets}
    for node in graph.nodes:  # upstream first
        above = frozenset(upstream(source, groups) for source in node.upstream.values())
        kind: Hashable = node.__class__
        groups[node.key] = numbers.setdefault((kind, node.key.name, node.key in targets, above), len(numbers))
    return groups


def _nearest(grouping: _Grouping, boxes: int) -> list[int]:
    """The groups that are drawn, upstream first: all, or the nearest to the targets, without too many arrows among them."""
    if grouping.fits(boxes):
        return list(range(len(grouping.members)))
    sources: dict[int, list[int]] = {}
    targets: dict[int, list[int]] = {}
    for source, target in grouping.roles:
        sources.setdefault(target, []).append(source)
        targets.setdefault(source, []).append(target)
    near = dict.fromkeys(grouping.targets)
    queue = list(near)
    for group in queue:  # grows while it is walked
        for source in sources.get(group, ()):
            if source not in near:
                near[source] = None
                queue.append(source)
    kept: set[int] = set()
    arrows = 0
    for group in queue[:boxes]:
        arrows += len(kept.intersection(sources.get(group, ()))) + len(kept.intersection(targets.get(group, ())))
        if arrows > MAX_ARROWS:
            break
        kept.add(group)
    return sorted(kept)
