"""A node before it has a payload: params, upstream and a name, which together are its key."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from persistable import events
from persistable.errors import RoleClash, UntrackableParam
from persistable.nodes import arguments, generation, roles
from persistable.nodes.binding import NodeT, bound_to
from persistable.nodes.compose import Chainable, Open
from persistable.nodes.declaration import declaration_of
from persistable.nodes.lineage import flattened, nodes_in, rebuilt, walk
from persistable.nodes.transitive_upstream import UpstreamNotSent
from persistable.nodes.types import Node, NodeBase
from persistable.params.coercion import replace_params
from persistable.params.snapshots import capture
from persistable.params.trees import fields_tree
from persistable.records.key import Key, digest_of
from persistable.stores.base import Store
from persistable.stores.open import open_store

if TYPE_CHECKING:
    from persistable.graph import Graph
    from persistable.nodes.node import Persistable


class Described(Chainable, NodeBase):
    """The description of a node: nodes of one description have one key, in any store."""

    def _node_identify(self: Node) -> None:
        nodes: list[tuple[str, Any]] = []
        params, snapshot = capture(self.params, "", nodes)
        for role, node in nodes:
            if self._node_upstream.setdefault(role, node).key != node.key:
                raise RoleClash(f"two upstream nodes of {self.payload_name} would both be {role!r}; name them otherwise", role=role)
        upstream, name, version = self._node_upstream, self.payload_name, self.version
        digests = {role: node.key.digest for role, node in upstream.items()} if upstream else {}
        if type(version) is not int and type(version) is not str:
            _check_version(version, name)
        snapshot.version = version
        self._node_snapshot = snapshot
        self.key = Key(name, digest_of(name, version, params, digests))

    @property
    def persist_hash(self: Node) -> str:
        """The digest, hexadecimal."""
        return self.key.digest

    @property
    def label(self: Node) -> str:
        """The node in words, on one line: ``accuracy(fold=0, model=Svm(C=10.0))``. Long values are cut, secrets masked."""
        from persistable.nodes.label import label

        return label(self)

    @property
    def upstream(self: Node) -> Mapping[str, Persistable[Any, Any]]:
        """The upstream nodes by role."""
        if "_node_left_out" in self.__dict__ and generation.current.get() is not None:
            raise UpstreamNotSent("upstream")
        return MappingProxyType(self._node_upstream)

    @property
    def params_tree(self: Node) -> dict[str, Any]:
        """Params as JSON has them, and under each role the params tree of the node upstream, at any depth.

        Nodes met twice share one dict.
        """
        trees: dict[Key, dict[str, Any]] = {}
        for node in walk(self):
            own = fields_tree(node.params)
            for role, upstream in node._node_upstream.items():
                own[role if role not in own else f"upstream:{role}"] = trees[upstream.key]
            trees[node.key] = own
        return trees[self.key]

    def replace(self: NodeT, /, **changes: Any) -> NodeT:
        """A new node with some params or upstream nodes changed; this one stays as it is.

        A role takes the same values as in the constructor: if it holds several nodes, a family is the list of its members. Raises TypeError
        for a family if it holds one node: `over` makes a node for each member.
        """
        declaration = declaration_of(type(self))
        for name, value in changes.items():
            arguments.check_one_node(self, name, value)
        twin = bound_to(self, self._node_store)
        twin._node_upstream = {}
        fields = arguments.take_roles(twin, declaration, changes)
        given = changes.keys() - fields.keys()
        kept = {
            role: node
            for role, node in self._node_upstream.items()
            if not any(role == name or role.startswith(name + ".") for name in given)
        }
        twin._node_upstream = {**kept, **twin._node_upstream}
        if fields:
            twin.params = replace_params(self.params, fields, type(self).__name__, declaration.params_arguments)
        twin._node_call = None
        twin._node_custom_path = None
        twin._node_remembered = None
        for found in ("_node_makers", "_node_things"):  # of the params and upstream nodes that it had
            twin.__dict__.pop(found, None)
        twin._node_open = arguments.open_roles(twin, declaration) if self._node_open else ()
        if not twin._node_open:
            twin._node_identify()
        return twin

    def bind(self: NodeT, store: str | os.PathLike[str] | Store) -> NodeT:
        """The same node in `store`: of the same key, without a payload in memory."""
        return bound_to(self, open_store(store))

    def _node_open_inputs(self: Node) -> list[Open]:
        many = declaration_of(type(self)).many
        return [Open(role, int(role in many)) for role in self._node_open]

    def _node_fill(self: NodeT, given: dict[str, Any]) -> NodeT:
        filled = bound_to(self, self._node_store)
        filled._node_upstream = dict(self._node_upstream)
        filled._node_open = tuple([role for role in self._node_open if role not in given])
        for name, value in given.items():
            filled.__dict__[name] = value
            roles.check(type(self), declaration_of(type(self)), name, value)
            for place, node in nodes_in(value):
                filled._node_upstream[name + place] = node
        if not filled._node_open:
            filled._node_identify()
        return filled

    def lineage(self: Node, **options: Any) -> Graph:
        """The lineage as a picture with ``svg()``, ``mermaid()`` and ``dot()``; options as for `persistable.graph.lineage`."""
        import persistable

        return persistable.graph.lineage(self, **options)

    def __getstate__(self: Node) -> dict[str, Any]:
        state = {name: value for name, value in list(self.__dict__.items()) if name not in _HERE}
        if "_node_logger" in state:
            state["_node_logger"] = events.picklable_logger(self._node_logger)
        return state

    def __reduce_ex__(self: Node, protocol: Any) -> tuple[Any, ...]:
        return rebuilt, (flattened(self),)

    def __eq__(self: Node, other: object) -> bool:
        """Tell whether `other` describes the same payload: the same key, and the same custom path if it has one."""
        if self is other:
            return True
        same = cast("Any", other)
        if not isinstance(other, NodeBase):
            return NotImplemented
        return not self._node_open and not same._node_open and self.key == same.key and self._node_custom_path == same._node_custom_path

    def __hash__(self: Node) -> int:
        return object.__hash__(self) if self._node_open else hash(self.key)

    def __repr__(self: Node) -> str:
        if self._node_open:
            return f"<{self.payload_name}, open: {', '.join(self._node_open)}>"
        from persistable.nodes.label import params_by_name

        shown = [f"{name}={value}" for name, value in params_by_name(self, 60).items()]
        shown += [f"{role}=<{node.key.name}>" for role, node in self._node_upstream.items()]
        return f"{type(self).__name__}({', '.join(shown)}) [{self.key.digest[:8]}]"

    def _repr_html_(self: Node) -> str:
        if self._node_open:
            return f"<code>{repr(self).strip('<>')}</code>"
        import persistable

        return persistable.graph.node_html(self, self._node_use())


_HERE = frozenset(
    {"_node_payload", "_node_generation", "_node_single_use", "_node_makers", "_node_things", "_node_reader", "_node_remembered"}
)
"""Attributes that stay in this process."""


def _check_version(version: Any, name: str) -> None:
    """Raise UntrackableParam for a version that no record can hold."""
    import json

    try:
        json.dumps(version, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UntrackableParam(
            f"the version of {name} is {version!r:.60}, which a record cannot hold ({error}); give a number or a text", path="version"
        ) from None
