"""The graph of a workflow class, and the nodes of many ids made from it without making each anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from blake3 import blake3

from persistable.errors import LineageCycle
from persistable.families.workspaces.seeds import Seed
from persistable.nodes.lineage import nodes_in, swapped
from persistable.nodes.node import Persistable
from persistable.nodes.step import StepNode
from persistable.params.encoding import encode
from persistable.params.snapshots import capture
from persistable.records.key import DIGEST_BYTES, Key, beginning


class Mould:
    """Makes the nodes of one line of a recipe.

    What is the same for all of them is worked out for the first. Where code of the user's may decide what a node is, or where params hold
    nodes or what can change in place, each is made in full.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._cast: _Cast | None = None
        self._tried = False

    def node(self, nodes: Mapping[Slot, Any]) -> Any:
        """The node over those `nodes`, of no store; nobody else has it."""
        if self._cast is not None:
            return self._cast.node(nodes)
        node = made(self._line, nodes)
        if not self._tried:
            self._cast = _cast_of(self._line, node, nodes)
            self._tried = True
        return node


class _Cast:
    """A node as a form for others. before: the bytes that their digests begin with. roles: sorted, with what is in each."""

    def __init__(self, line: Line, model: Any, before: bytes, roles: Mapping[str, Slot]) -> None:
        self._line = line
        self._kind: type[Any] = type(model)
        self._name: str = model.payload_name
        self._before = before
        self._roles = list(roles.items())
        self._parts = [(encode(role), roles[role]) for role in sorted(roles)]
        template: dict[str, Any] = line.template.__dict__
        # containers are copied even if they hold no node, so that what is changed in one node is not changed in another
        varying = {name: template[name] for name, value in model.__dict__.items() if _varies(value) and name != "_upstream"}
        self._flat = {name: _flat(value, line.upstream) for name, value in varying.items() if _is_flat(value)}
        self._deep = {name: value for name, value in varying.items() if name not in self._flat}
        self._same = {name: value for name, value in model.__dict__.items() if not _varies(value)}
        del self._same["key"]

    def node(self, nodes: Mapping[Slot, Any]) -> Any:
        node: Any = object.__new__(self._kind)
        for name, value in self._same.items():  # one by one: attributes of many objects take less memory so
            setattr(node, name, value)
        for name, (values, at) in self._flat.items():
            filled = values.copy()
            for key, slot in at:
                filled[key] = nodes[slot]
            setattr(node, name, filled)
        for name, value in self._deep.items():
            setattr(node, name, swapped(value, lambda each: nodes[self._line.upstream[id(each)]], Persistable))
        node._upstream = {role: nodes[slot] for role, slot in self._roles}
        rest = [role + bytes.fromhex(nodes[slot].key.digest) for role, slot in self._parts]
        node.key = Key(self._name, blake3(self._before + b"".join(rest)).hexdigest(DIGEST_BYTES))
        return node


def _cast_of(line: Line, model: Any, nodes: Mapping[Slot, Any]) -> _Cast | None:
    """The form that `model`, which was made over `nodes`, is for the others of its line; None where there is none."""
    if not line.upstream or not _is_plain(model):
        return None
    inside: list[tuple[str, Any]] = []
    params, snapshot = capture(model.params, "", inside)
    if inside or snapshot.raw is not None or any(raw is not None for _, _, raw in snapshot.rows):
        return None
    template = line.template
    if template._upstream.keys() != model._upstream.keys():
        return None
    if any(_varies(value) and name not in template.__dict__ for name, value in model.__dict__.items()):
        return None
    roles = {role: line.upstream[id(node)] for role, node in template._upstream.items()}
    cast = _Cast(line, model, beginning(model.payload_name, model.version) + params, roles)
    return cast if cast.node(nodes).key == model.key else None


def _is_plain(model: Any) -> bool:
    """Tell whether no code of the user's decides what the node is."""
    kind: type[Any] = model.__class__
    if issubclass(kind, StepNode):
        return model._step.__wrapped__.__closure__ is None  # pyright: ignore[reportUnknownMemberType, reportPrivateUsage]
    own = {name for base in kind.__mro__[: kind.__mro__.index(Persistable)] for name in base.__dict__}
    return _DECIDING.isdisjoint(own) and isinstance(kind.version, int)


_DECIDING = frozenset({"_identify", "_twin", "key", "params", "_upstream", "__setattr__", "__getattribute__"})
"""Hooks by which a class may change its nodes as it likes."""


def _is_flat(value: Any) -> bool:
    return value.__class__ is dict and not any(each.__class__ in (dict, list, tuple) for each in value.values())


def _flat(value: dict[Any, Any], slots: Mapping[int, Slot]) -> tuple[dict[Any, Any], list[tuple[Any, Slot]]]:
    """A dict to be copied, and what is put at which of its names."""
    nodes: dict[Any, Any] = {name: each for name, each in value.items() if isinstance(each, Persistable)}
    return value, [(name, slots[id(node)]) for name, node in nodes.items()]


def _varies(value: Any) -> bool:
    return isinstance(value, Persistable) or value.__class__ in (dict, list, tuple)


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
