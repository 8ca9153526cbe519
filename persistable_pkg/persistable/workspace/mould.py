"""`Mould`: the nodes of many ids, which differ only in what is upstream of them, each for little more than its digest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blake3 import blake3

from persistable.core import Persistable
from persistable.key import DIGEST_BYTES, Key, beginning
from persistable.lineage import swapped
from persistable.params.canonical import encode
from persistable.params.watching import capture
from persistable.steps import StepNode
from persistable.workspace.recipe import Line, Slot, made


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
