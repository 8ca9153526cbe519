"""The graph of a workflow class, and the nodes of many ids made from it without making each anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from persistable.errors import LineageCycle
from persistable.families.workspaces.seeds import Seed
from persistable.nodes.lineage import nodes_in, swapped
from persistable.nodes.node import Persistable
from persistable.nodes.step import StepNode
from persistable.nodes.template import NodeTemplate, is_plain_class
from persistable.params.encoding import encode


class NodeMaker:
    """Makes the nodes of one line of a recipe, by a template made from the first.

    Where code of the user's may decide what a node is, or where params hold nodes or what can change in place, each is made in full.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._template: NodeTemplate | None = None
        self._slots: list[tuple[str, Slot]] = []
        self._tried = False

    def node(self, nodes: Mapping[Slot, Any]) -> Any:
        """The node over those `nodes`, of no store; nobody else has it."""
        if self._template is not None:
            return self._template.node({}, {role: nodes[slot] for role, slot in self._slots})
        node = made(self._line, nodes)
        if not self._tried:
            slots = {id(nodes[slot]): slot for slot in self._line.upstream.values()}
            if _is_alike(node) and slots and len(slots) == len(set(self._line.upstream.values())):
                self._slots = [(role, slots[id(each)]) for role, each in node._upstream.items()]
                self._template = template if (template := NodeTemplate(node, (), node._upstream)).makes(node) else None
            self._tried = True
        return node


def _is_alike(node: Any) -> bool:
    """Tell whether no code of the user's decides what the node is, and its params hold neither nodes nor what can change in place."""
    cls: Any = node.__class__
    plain = node._step.__wrapped__.__closure__ is None if issubclass(cls, StepNode) else is_plain_class(cls)
    before, inside = node._snapshot, list[tuple[str, Any]]()
    encode(node.params, "", inside)
    return plain and not inside and before.raw is None and all(raw is None for _, _, raw in before.rows)


Slot = str | tuple[str, int]
"""The name of a seed or node; of one that has none, the name of what it is a part of, and a number."""


class Line(NamedTuple):
    """One node to be made. template: as it stands on the class. upstream: what stands in it, by its id, and whose slot that is.

    seeds: the names of those that it depends on.
    """

    slot: Slot
    template: Any
    upstream: dict[int, Slot]
    seeds: frozenset[str]


class Recipe:
    """The lines of a workflow class, upstream before downstream.

    members: its seeds and nodes by name. names: of every seed and node of it and its bases, by id. A node that stands in another by an
    object that has a name is whatever has that name in this class, so that one that a subclass replaces is replaced wherever it is used.
    Raises LineageCycle.
    """

    def __init__(self, members: Mapping[str, Any], names: Mapping[int, str], where: str) -> None:
        self.members = members
        self._names = names
        self._where = where
        self._objects: dict[Slot, Any] = dict(members.items())
        self.lines: dict[Slot, Line] = {}
        self._needed: dict[tuple[str, ...], list[Line]] = {}
        for name in members:
            self._add(name)

    def _add(self, name: Slot) -> None:
        entered: dict[Slot, None] = {}
        stack = [(name, False)]
        while stack:
            slot, ready = stack.pop()
            if slot in self.lines:
                continue
            upstream = self._upstream(slot)
            if ready:
                del entered[slot]
                self.lines[slot] = self._line(slot, upstream)
                continue
            if slot in entered:
                self._circle(list(entered), slot)
            entered[slot] = None
            stack.append((slot, True))
            stack.extend((source, False) for source in dict.fromkeys(upstream.values()))

    def _upstream(self, slot: Slot) -> dict[int, Slot]:
        owner = slot if isinstance(slot, str) else slot[0]
        found: dict[int, Slot] = {}
        for _, node in nodes_in(self._objects[slot].__dict__, Persistable):
            name = self._names.get(id(node))
            # what a name meant in a base class, used to define it anew, is the base's
            own = name is not None and name in self.members and not (name == owner and node is not self.members[name])
            source: Slot = name if own and name is not None else (owner, id(node))
            found[id(node)] = source
            self._objects.setdefault(source, node)
        return found

    def _line(self, slot: Slot, upstream: dict[int, Slot]) -> Line:
        template = self._objects[slot]
        own = frozenset([slot]) if isinstance(template, Seed) and isinstance(slot, str) else frozenset[str]()
        return Line(slot, template, upstream, own.union(*[self.lines[source].seeds for source in upstream.values()]))

    def _circle(self, entered: list[Slot], slot: Slot) -> None:
        names = [each if isinstance(each, str) else each[0] for each in [*entered[entered.index(slot) :], slot]][::-1]
        nodes = list(dict.fromkeys(names))
        raise LineageCycle(
            f"{self._where}: {' is computed from '.join(reversed([*nodes, nodes[0]]))}, which is a circle; name one of them otherwise",
            nodes=[*nodes, nodes[0]],
        )

    def needed(self, *names: str) -> list[Line]:
        """The lines of these and of all they are made from, in order."""
        known = self._needed.get(names)
        if known is None:
            known = self._needed[names] = self._lines_for(names)
        return known

    def _lines_for(self, names: tuple[str, ...]) -> list[Line]:
        wanted: set[Slot] = set()
        stack: list[Slot] = list(names)
        while stack:
            slot = stack.pop()
            if slot not in wanted:
                wanted.add(slot)
                stack.extend(self.lines[slot].upstream.values())
        return [line for slot, line in self.lines.items() if slot in wanted]


def made(line: Line, nodes: Mapping[Slot, Any]) -> Any:
    """The node of `line`, of no store, over the `nodes` that are made already."""
    template = line.template
    if not line.upstream:
        return template._twin(template._store)
    of = _stand_ins(line, nodes)
    if isinstance(template, StepNode):
        node: Any = template  # pyright: ignore[reportUnknownVariableType]
        again: Any = node._step.maker.node(swapped(node._arguments, of, Persistable))
        again._store = node._store  # and not the enclosing one
        return again
    twin = template._twin(template._store)
    twin.__dict__ = swapped(twin.__dict__, of, Persistable)
    twin._identify()
    return twin


def _stand_ins(line: Line, nodes: Mapping[Slot, Any]) -> Callable[[Any], Any]:
    def of(node: Any) -> Any:
        return nodes[line.upstream[id(node)]]

    return of
