"""The graph of a workflow class, and templates that make its nodes for many ids quickly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from persistable.errors import LineageCycle
from persistable.families.workspaces.seeds import Seed
from persistable.nodes.binding import bound_to, move_to, with_nodes
from persistable.nodes.lineage import nodes_in, replace_nodes
from persistable.nodes.node_template import NodeTemplate, has_lasting_params, is_plain_class
from persistable.nodes.step import StepNode, arguments_of, step_of
from persistable.nodes.types import Node, own_store, upstream_of
from persistable.params.encoding import encode


class NodeMaker:
    """Makes the nodes of one definition of a graph, with a template built from the first.

    If user code may decide the identity of a node, or its params contain nodes or mutable values, each is made in full.
    """

    def __init__(self, definition: WorkflowNode) -> None:
        self._definition = definition
        self._template: NodeTemplate | None = None
        self._names_of_roles: list[tuple[str, NodeName]] = []
        self._tried = False

    def node(self, nodes: Mapping[NodeName, Any]) -> Any:
        """A new node with these upstream `nodes`, bound to no store."""
        if self._template is not None:
            return self._template.node({}, {role: nodes[node_name] for role, node_name in self._names_of_roles})
        node = made(self._definition, nodes)
        if not self._tried:
            node_names = {id(nodes[node_name]): node_name for node_name in self._definition.upstream.values()}
            if _is_alike(node) and node_names and len(node_names) == len(set(self._definition.upstream.values())):
                self._names_of_roles = [(role, node_names[id(each)]) for role, each in upstream_of(node).items()]
                self._template = template if (template := NodeTemplate(node, (), upstream_of(node))).makes(node) else None
            self._tried = True
        return node


def _is_alike(node: Node) -> bool:
    """Tell whether no user code decides the identity of the node, and its params contain neither nodes nor mutable values."""
    step: Any = step_of(node)
    plain = is_plain_class(node.__class__) if step is None else step.__wrapped__.__closure__ is None
    inside = list[tuple[str, Any]]()
    encode(node.params, "", inside)
    return plain and not inside and has_lasting_params(node)


NodeName = str | tuple[str, int]
"""The name of a seed or node; for an unnamed one, the name of the member that contains it, and a number."""


class WorkflowNode(NamedTuple):
    """The definition of one node. template: the node on the class. upstream: name of each node in it, by the id of the object.

    seeds: the names of the seeds upstream.
    """

    node_name: NodeName
    template: Any
    upstream: dict[int, NodeName]
    seeds: frozenset[str]


class WorkflowGraph:
    """The definitions of a workflow class, upstream before downstream.

    members: its seeds and nodes by name. names: of every seed and node of it and its bases, by id. An upstream node that has a name is
    resolved by that name in this class, so that a node replaced by a subclass is replaced wherever it is used. Raises LineageCycle.
    """

    def __init__(self, members: Mapping[str, Any], names: Mapping[int, str], where: str) -> None:
        self.members = members
        self._names = names
        self._where = where
        self._objects: dict[NodeName, Any] = dict(members.items())
        self.definitions: dict[NodeName, WorkflowNode] = {}
        self._needed: dict[tuple[str, ...], list[WorkflowNode]] = {}
        for name in members:
            self._add(name)

    def _add(self, name: NodeName) -> None:
        entered: dict[NodeName, None] = {}
        stack = [(name, False)]
        while stack:
            node_name, ready = stack.pop()
            if node_name in self.definitions:
                continue
            upstream = self._upstream(node_name)
            if ready:
                del entered[node_name]
                self.definitions[node_name] = self._definition(node_name, upstream)
                continue
            if node_name in entered:
                self._circle(list(entered), node_name)
            entered[node_name] = None
            stack.append((node_name, True))
            stack.extend((source, False) for source in dict.fromkeys(upstream.values()))

    def _upstream(self, node_name: NodeName) -> dict[int, NodeName]:
        owner = node_name if isinstance(node_name, str) else node_name[0]
        found: dict[int, NodeName] = {}
        for _, node in nodes_in(self._objects[node_name].__dict__):
            name = self._names.get(id(node))
            # a definition that uses the base's member of the same name refers to the base
            own = name is not None and name in self.members and not (name == owner and node is not self.members[name])
            source: NodeName = name if own and name is not None else (owner, id(node))
            found[id(node)] = source
            self._objects.setdefault(source, node)
        return found

    def _definition(self, node_name: NodeName, upstream: dict[int, NodeName]) -> WorkflowNode:
        template = self._objects[node_name]
        own = frozenset([node_name]) if isinstance(template, Seed) and isinstance(node_name, str) else frozenset[str]()
        return WorkflowNode(node_name, template, upstream, own.union(*[self.definitions[source].seeds for source in upstream.values()]))

    def _circle(self, entered: list[NodeName], node_name: NodeName) -> None:
        names = [each if isinstance(each, str) else each[0] for each in [*entered[entered.index(node_name) :], node_name]][::-1]
        nodes = list(dict.fromkeys(names))
        raise LineageCycle(
            f"{self._where}: {' is computed from '.join(reversed([*nodes, nodes[0]]))}, which is a circle; name one of them otherwise",
            nodes=[*nodes, nodes[0]],
        )

    def needed(self, *names: str) -> list[WorkflowNode]:
        """The definitions of these nodes and everything upstream, in order."""
        known = self._needed.get(names)
        if known is None:
            known = self._needed[names] = self._definitions_for(names)
        return known

    def _definitions_for(self, names: tuple[str, ...]) -> list[WorkflowNode]:
        wanted: set[NodeName] = set()
        stack: list[NodeName] = list(names)
        while stack:
            node_name = stack.pop()
            if node_name not in wanted:
                wanted.add(node_name)
                stack.extend(self.definitions[node_name].upstream.values())
        return [definition for node_name, definition in self.definitions.items() if node_name in wanted]


def made(definition: WorkflowNode, nodes: Mapping[NodeName, Any]) -> Any:
    """Make the node of `definition`, bound to no store, with the `nodes` made before as upstream."""
    template = definition.template
    if not definition.upstream:
        return bound_to(template, own_store(template))
    of = _stand_ins(definition, nodes)
    if isinstance(template, StepNode):
        node: StepNode[Any] = template  # pyright: ignore[reportUnknownVariableType]
        again: Any = node.step.maker.node(replace_nodes(arguments_of(node), of))
        move_to(again, own_store(node))  # instead of the enclosing one
        return again
    return with_nodes(template, of)


def _stand_ins(definition: WorkflowNode, nodes: Mapping[NodeName, Any]) -> Callable[[Any], Any]:
    def of(node: Node) -> Any:
        return nodes[definition.upstream[id(node)]]

    return of
