"""`NodeTemplate`: digests and nodes of many alike nodes, without making each.

Making a node takes five times as long as its digest: arguments, params class, snapshot, the object itself. Nodes that differ only in the
values of some params and in the nodes of some roles differ in their canonical bytes only there; the rest is taken from one that is made.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from blake3 import blake3

from persistable.nodes.lineage import nodes_in, replace_nodes
from persistable.nodes.node import Persistable
from persistable.nodes.types import Node
from persistable.params import encoding
from persistable.params.encoding import encode
from persistable.params.snapshots import Snapshot, row_of, tracked_rows
from persistable.records.key import DIGEST_BYTES, Key, beginning


class _Field(NamedTuple):
    """A param that varies. key: the bytes of its name. pin: the bytes of the value at which identity leaves it out."""

    name: str
    key: bytes
    pin: bytes | None

    def encoded(self, value: Any) -> bytes:
        scalar = encoding.SCALARS.get(value.__class__)
        return scalar(value) if scalar is not None else encode(value, self.name)

    def piece(self, raw: Mapping[str, bytes], nodes: Mapping[str, Any]) -> bytes:
        value = raw[self.name]
        return b"" if value == self.pin else self.key + value

    def column(self, values: Sequence[Any]) -> list[bytes] | None:
        """The bytes of many values; None if one of them is not plain."""
        key, pin, scalars = self.key, self.pin, encoding.SCALARS
        try:
            raw = [scalars[type(value)](value) for value in values]
        except KeyError:
            return None
        return [key + one for one in raw] if pin is None else [b"" if one == pin else key + one for one in raw]


class _Role(NamedTuple):
    """A role whose node varies."""

    name: str

    def piece(self, raw: Mapping[str, bytes], nodes: Mapping[str, Any]) -> bytes:
        return bytes.fromhex(nodes[self.name].key.digest)


_NO_ROLE = _Role("")
Part = bytes | _Field | _Role
_NO_STATE: Mapping[str, Any] = MappingProxyType({})


class NodeTemplate:
    """A maker of digests and nodes of one kind.

    A node that the model holds in several places, or under several roles, is one node in each node that is made, too.

    Parameters:
        model: one of the nodes.
        fields: names of the params that vary; their class must have a fixed set of fields.
        roles: names of the roles whose nodes vary.
    """

    def __init__(self, model: Node, fields: Collection[str] = (), roles: Collection[str] = ()) -> None:
        self._class: type[Any] = model.__class__
        self._name: str = model.payload_name
        self._params: Any = model.params
        self._rows: Sequence[tuple[str, Any, bytes | None]] = model._node_snapshot.rows
        self._version: Any = model._node_snapshot.version
        self._parts = _parts_of(model, fields, roles)
        self._fields = [part for part in self._parts if isinstance(part, _Field)]
        role_of = {id(node): _Role(role) for role, node in model._node_upstream.items()}
        own = {"key", "_node_upstream", *(("params", "_node_snapshot") if fields else ())}
        state: dict[str, Any] = {name: value for name, value in model.__dict__.items() if name not in own}
        self._same = {name: value for name, value in state.items() if not _is_copied(value)}
        # containers are copied even if they hold no node: a change in one node must not change another
        self._copied = {
            name: replace_nodes(value, lambda node: role_of.get(id(node), _NO_ROLE)) for name, value in state.items() if _is_copied(value)
        }

    def digests(self, fields: Mapping[str, Sequence[Any]], upstream: Mapping[str, Sequence[bytes]], number: int) -> list[str] | None:
        """The digests of `number` nodes; None if a value is not plain, so that only making a node gives its digest.

        Parameters:
            fields: for each param that varies, its values in these nodes.
            upstream: for each role that varies, the digests of its nodes, as bytes.
        """
        columns: list[Any] = []
        for part in self._parts:
            if isinstance(part, _Field):
                column = part.column(fields[part.name])
                if column is None:
                    return None
                columns.append(column)
            else:
                columns.append(upstream[part.name] if isinstance(part, _Role) else part)
        if len(columns) == 3 and isinstance(columns[0], bytes) and isinstance(columns[2], bytes):
            before, varying, after = columns
            return [blake3(before + piece + after).hexdigest(DIGEST_BYTES) for piece in varying]
        whole = [[column] * number if isinstance(column, bytes) else column for column in columns]
        return [blake3(b"".join(pieces)).hexdigest(DIGEST_BYTES) for pieces in zip(*whole, strict=True)]

    def digest(self, fields: Mapping[str, Any]) -> str:
        """The digest of one node of these values, plain or not. Raises UntrackableParam for a value that cannot be part of an identity."""
        return self._digest({field.name: field.encoded(fields[field.name]) for field in self._fields}, {})

    def _digest(self, raw: Mapping[str, bytes], nodes: Mapping[str, Any]) -> str:
        pieces = [part if isinstance(part, bytes) else part.piece(raw, nodes) for part in self._parts]
        return blake3(b"".join(pieces)).hexdigest(DIGEST_BYTES)

    def node(self, fields: Mapping[str, Any], nodes: dict[str, Any], state: Mapping[str, Any] = _NO_STATE) -> Any:
        """A new node.

        Parameters:
            fields: the value of each param that varies.
            nodes: the node of each role; the new node keeps this dict.
            state: attributes that differ from those of the model.
        """
        node: Node = object.__new__(self._class)
        for name, value in self._same.items():  # one by one: attributes of many objects take less memory so
            setattr(node, name, value)
        for name, value in self._copied.items():
            setattr(node, name, replace_nodes(value, lambda role: nodes[role.name], _Role))
        raw: dict[str, bytes] = {}
        if self._fields:
            raw = {field.name: field.encoded(fields[field.name]) for field in self._fields}
            node.params = self._params_with(fields)
            rows = [row_of(name, fields[name], raw[name]) if name in raw else (name, was, kept) for name, was, kept in self._rows]
            node._node_snapshot = Snapshot(tuple(rows), None, version=self._version)
        node._node_upstream = nodes
        node.key = Key(self._name, self._digest(raw, nodes))
        for name, value in state.items():
            setattr(node, name, value)
        return node

    def _params_with(self, fields: Mapping[str, Any]) -> Any:
        """Params like those of the model, of a class that has no code of its own to run."""
        params = object.__new__(self._params.__class__)
        params.__dict__.update(self._params.__dict__)
        params.__dict__.update(fields)
        return params

    def makes(self, model: Node) -> bool:
        """Tell whether `node` makes nodes like `model`: every node in it has a role, and the key is the same."""
        if any(role is _NO_ROLE for _, role in nodes_in(self._copied, _Role)):
            return False
        fields = {field.name: getattr(self._params, field.name) for field in self._fields}
        return bool(self.node(fields, dict(model._node_upstream)).key == model.key)


def _parts_of(model: Node, fields: Collection[str], roles: Collection[str]) -> list[Part]:
    """The canonical bytes of the nodes, and between them the params and roles that vary."""
    parts: list[Part] = [beginning(model.payload_name, model.version)]
    rows = tracked_rows(model.params.__class__) if fields else None
    if rows is None:
        parts.append(encode(model.params, "", []))
    else:
        parts.append(rows[0])
        for name, key, pin in rows[1]:
            raw = encoding.field_bytes(model.params, name, [], []) if name not in fields else b""
            parts.append(_Field(name, key, pin) if name in fields else b"" if raw == pin else key + raw)
        parts.append(b"})")
    for role in sorted(model._node_upstream):
        parts += [encode(role), _Role(role) if role in roles else bytes.fromhex(model._node_upstream[role].key.digest)]
    merged: list[Part] = []
    for part in parts:
        if isinstance(part, bytes) and merged and isinstance(merged[-1], bytes):
            merged[-1] += part
        else:
            merged.append(part)
    return merged


def _is_copied(value: Any) -> bool:
    return isinstance(value, Persistable) or value.__class__ in (dict, list, tuple)


def is_plain_class(cls: type[Any], *hooks: str) -> bool:
    """Tell whether no code of the user's decides the identity and state of the nodes of `cls`; `hooks`: more members it may not define."""
    own = {name for base in cls.__mro__[: cls.__mro__.index(Persistable)] for name in base.__dict__}
    return own.isdisjoint({*_DECIDING, *hooks}) and isinstance(cls.version, int)


def has_lasting_params(node: Node) -> bool:
    """Tell whether no tracked param of `node` can change in place."""
    snapshot = node._node_snapshot
    return snapshot.raw is None and all(raw is None for _, _, raw in snapshot.rows)


_DECIDING = frozenset({"_node_identify", "key", "params", "_node_upstream", "__setattr__", "__getattribute__"})


def has_plain_fields(params: Any, fields: Collection[str]) -> bool:
    """Tell whether each of these fields can be set without running code of the user's."""
    kind: Any = params.__class__
    if (
        "__dataclass_fields__" not in kind.__dict__
        or getattr(kind, "__post_init__", None) is not None
        or kind.__new__ is not object.__new__
    ):
        return False
    generated = kind.__init__.__code__.co_filename == "<string>"  # by dataclasses, and so without side effects
    if not generated or not (kind.__dataclass_params__.frozen or kind.__setattr__ is object.__setattr__):
        return False
    known = kind.__dataclass_fields__
    if any(name not in known or not known[name].init or getattr(kind.__dict__.get(name), "__set__", None) is not None for name in fields):
        return False
    return tracked_rows(kind) is not None
