"""Digests and nodes of many members of a family by number, without creating the members if the result is the same.

Most of the cost of a node is not its digest. If members differ only in plain values of fields, and in members of other such families, the
input of their digests differs only in these bytes: the rest is taken from one member that is created. Everything else (params classes with
their own code, values that are not plain, classes with an ``__init__``) is left to the nodes themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from persistable.families.grid import OPTIONS
from persistable.families.nodeless import DirectGenerator, direct_generator_of
from persistable.nodes.declaration import declaration_of
from persistable.nodes.lineage import walk
from persistable.nodes.node_template import NodeTemplate, has_plain_fields, is_plain_class
from persistable.nodes.step import Step
from persistable.nodes.types import Node, own_store, upstream_of
from persistable.records.key import Key

if TYPE_CHECKING:
    from persistable.families.grid import Column, NodeFactory, UpstreamFamily
    from persistable.families.view import View

Indices = tuple[int, ...]
"""Indices of one member, one for each axis of the factory."""


class Keys(Protocol):
    """Computes the digests of the members of a family."""

    @property
    def model(self) -> Any:
        """A member."""
        ...

    def digests(self, members: Sequence[Indices]) -> list[str] | None:
        """Digests of `members`; None if only the nodes can compute them."""
        ...


def keys_of(view: View) -> Keys | None:
    """The object that computes the digests of the members of `view`; None if only their nodes can."""
    factory = view.factory
    if factory.given or not isinstance(factory.maker, type | Step):
        known: Any = factory.maker  # one that knows the keys of the nodes it makes
        return known if hasattr(known, "digests") and len(factory.axes[0]) else None
    if not all(map(len, factory.axes)) or not _is_plain(factory):
        return None
    upstream: dict[str, tuple[UpstreamFamily, Keys]] = {}
    for each in factory.upstream_families:
        keys = keys_of(each.view) if each.groups is None else None  # nodes are as fast if each takes many upstream nodes
        if keys is None:
            return None
        upstream[factory.role(each.slot)] = (each, keys)
    ends: list[Indices] = [tuple(0 for _ in factory.axes), tuple(len(axis) - 1 for axis in factory.axes)]
    models = [factory.make(indices) for indices in ends]
    columns = {factory.role(column.slot): column for column in factory.columns}
    if not upstream.keys() <= upstream_of(models[0]).keys() or (columns and not has_plain_fields(models[0].params, columns)):
        return None
    made = GridKeys(models[0], columns, upstream)
    return made if made.digests(ends) == [model.key.digest for model in models] else None


class GridKeys:
    """Keys of a grid, whose members differ in plain values and in members of other families."""

    def __init__(self, model: Node, columns: dict[str, Column], upstream: dict[str, tuple[UpstreamFamily, Keys]]) -> None:
        self.model = model
        self._columns = columns
        self._upstream = upstream
        self._template = NodeTemplate(model, columns, upstream)

    def digests(self, members: Sequence[Indices]) -> list[str] | None:
        fields = {name: [values[indices[axis]] for indices in members] for name, (_, axis, values) in self._columns.items()}
        upstream: dict[str, list[bytes]] = {}
        for role, (upstream_family, keys) in self._upstream.items():
            wanted = [upstream_family.view.full(each) for indices in members for each in upstream_family.members(indices)]
            each = list(dict.fromkeys(wanted))
            digests = keys.digests(each)
            if digests is None:
                return None
            known = {indices: bytes.fromhex(digest) for indices, digest in zip(each, digests, strict=True)}
            upstream[role] = [known[indices] for indices in wanted]
        return self._template.digests(fields, upstream, len(members))


def _is_plain(factory: NodeFactory) -> bool:
    """Tell whether only fields and roles vary, and no user code decides their effect on the digest."""
    maker = factory.maker
    roles = [factory.role(each.slot) for each in factory.upstream_families]
    slots = [factory.role(each.slot) for each in factory.columns] + roles
    if maker.__class__ is Step:
        return maker.__wrapped__.__closure__ is None and all(slot in maker.maker.ordinary for slot in slots)
    if not is_plain_class(maker, "__init__", "__new__") or not isinstance(getattr(maker, "payload_name", ""), str):
        return False
    declaration = declaration_of(maker)
    return _OPTIONS.isdisjoint(slots) and all((slot in declaration.roles) == (slot in roles) for slot in slots)


_OPTIONS = frozenset(OPTIONS)


CHUNK = 5000
"""Number of members that are looked up, planned and held in memory together."""


class KeyChunks:
    """Members of a family by number, as of one view: their keys without the nodes, and the nodes on demand.

    nodes: by number. store: theirs, None if they have none of their own. model: one of them.
    """

    def __init__(self, view: View, keys: Keys, nodes: Sequence[Any], store: Any) -> None:
        self._view = view
        self._keys = keys
        self.factory = view.factory
        self._is_range = len(view.shape) == 1 and view.indices == (range(len(nodes)),)
        self.nodes = nodes
        self.model: Node = keys.model
        self.store = store

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[range]:
        """The numbers of each chunk."""
        return (range(first, min(first + CHUNK, len(self))) for first in range(0, len(self), CHUNK))

    def keys(self, numbers: Sequence[int]) -> list[Key]:
        """The keys of these members."""
        name: str = self.model.payload_name
        return [Key(name, digest) for digest in self._digests(numbers)]

    def bases(self, numbers: Sequence[int]) -> list[str]:
        """The paths of these members, without suffix."""
        folder = f"{self.model.payload_name}/"
        return [folder + digest for digest in self._digests(numbers)]

    def rows(self, numbers: Sequence[int]) -> list[tuple[Any, ...]]:
        """The values of these members in the columns of the factory."""
        columns = [(column.axis, column.values) for column in self.factory.columns]
        if self._is_range and len(columns) == 1:
            values = columns[0][1]
            return [(values[number],) for number in numbers]
        return [tuple([values[indices[axis]] for axis, values in columns]) for indices in map(self.indices, numbers)]

    def direct_generator(self, store: Any) -> DirectGenerator | None:
        """The generator of the members into `store` without their nodes; None if nodes are needed."""
        return direct_generator_of(self, store)

    def _digests(self, numbers: Sequence[int]) -> list[str]:
        indices: list[Indices] = [(number,) for number in numbers] if self._is_range else [self.indices(number) for number in numbers]
        digests = self._keys.digests(indices)
        return digests if digests is not None else [self.nodes[number].key.digest for number in numbers]

    def indices(self, number: int) -> Indices:
        """The indices of this member on the axes of the factory."""
        if self._is_range:
            return (number,)
        return self._view.full(self._view.nth(number))


def key_chunks_of(view: View, nodes: Sequence[Any], store: Any) -> KeyChunks | None:
    """Chunks of keys for a family whose members can be processed in parts: everything upstream is stored or external. None for others."""
    keys = keys_of(view) if len(nodes) else None
    if keys is None or any(not (node.is_persisted or node.is_external) for node in walk(keys.model)):
        return None
    return KeyChunks(view, keys, nodes, store if store is not None else own_store(keys.model))
