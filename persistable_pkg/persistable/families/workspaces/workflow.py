"""`Workflow`: a class of seeds and steps, with one instance for each id."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from persistable import graph
from persistable.errors import InputMissing, UnknownMember, UnknownParam
from persistable.families.workspaces.class_body import Member, all_members, check, declared, kind_of, names_of, own_members
from persistable.families.workspaces.graph import NodeMaker, NodeName, WorkflowGraph, WorkflowNode
from persistable.families.workspaces.seeds import GivenSeed, Seed
from persistable.fileio.memory_copy import InMemoryCopy
from persistable.nodes import generation
from persistable.nodes.binding import bound_to, move_to
from persistable.nodes.generation import default_store
from persistable.nodes.node import Persistable
from persistable.nodes.status import Status, states_of
from persistable.nodes.types import Node, hold, holds_payload, needs_of, own_store
from persistable.params.building import did_you_mean, nearest
from persistable.params.checks import check_of
from persistable.params.coercion import coerce_value
from persistable.records import record_access
from persistable.runs import accept, plan, run
from persistable.runs.plan import Plan
from persistable.runs.result import RunResult

if TYPE_CHECKING:
    from persistable.graph import Graph


class Binding(ABC):
    """The binding of an instance, which provides its seeds and the locations of its nodes."""

    @abstractmethod
    def seed(self, name: str, before: Any) -> Any:
        """The current node of a seed; `before` if it is unchanged."""

    @abstractmethod
    def placed(self, node_name: NodeName, node: Node) -> Any:
        """Place a new node at its location."""

    @abstractmethod
    def words(self) -> str:
        """The identity of this instance, as text."""


class GivenSeeds(Binding):
    """Seeds given as values or nodes; nothing is stored."""

    def __init__(self, where: str, seeds: Mapping[str, Seed[Any]], values: dict[str, Any]) -> None:
        self._where = where
        self._seeds = seeds
        self._values = values

    def seed(self, name: str, before: Any) -> Any:
        if before is not None:
            return before
        value = self._values.get(name, self._seeds[name].default)
        if isinstance(value, Persistable):
            return value  # pyright: ignore[reportUnknownVariableType]
        if name not in self._values and not self._seeds[name].has_default:
            raise InputMissing(
                f"{self._where} was made without the seed {name}; give it: {self._where}({name}=...)",
                inputs=[name],
                roles=[name],
                name=name,
            )
        return GivenSeed(name, value)

    def placed(self, node_name: NodeName, node: Node) -> Any:
        return unstored(node, None)

    def words(self) -> str:
        return ", ".join(self._values)


def unstored(node: Node, store: Any) -> Any:
    """Make `node` one that is computed on demand, unless it has a store of its own."""
    if own_store(node) is None and not node.is_external:
        node.is_persisted = False
        move_to(node, store)
    return node


class Workflow:
    """Seeds and steps downstream of them, the same for many ids.

    Write a class whose attributes are seeds (`seed`) and nodes over them (``fn.step(raw, 3)``, or a `Persistable`); on the class they are
    nodes, to be used in further ones, on an instance payloads. Instances come from a `Workspace`, ``workspace[id]``, or from values:
    ``Scaling(raw=frame, factor=3).scaled`` is computed in memory, and nothing is stored.

    A subclass may add members and replace them: everything downstream of a replaced one is then computed from the new one.

    Raises WorkflowError, when the class is made, for members that could not be used, and LineageCycle. An instance raises UnknownParam for
    values that are no seeds, InputMissing if a needed seed was not given.
    """

    _graph: ClassVar[WorkflowGraph] = WorkflowGraph({}, {}, "Workflow")
    _makers: ClassVar[dict[NodeName, NodeMaker]] = {}
    _kinds: ClassVar[dict[str, Any]] = {}
    _seed_members: ClassVar[dict[str, Seed[Any]]] = {}

    workflow_id: Any
    """The id in its workspace; None for one made from values."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, node in own_members(cls, Workflow).items():
            setattr(cls, name, Member(name, node))
        members = all_members(cls)
        cls._graph = WorkflowGraph(members, names_of(cls), cls.__name__)
        check(cls, cls._graph)
        cls._makers = {node_name: NodeMaker(definition) for node_name, definition in cls._graph.definitions.items()}
        annotations = declared(cls)
        cls._kinds = {name: kind_of(node, annotations.get(name)) for name, node in members.items()}
        cls._seed_members = {name: node for name, node in members.items() if isinstance(node, Seed)}

    def __init__(self, **seeds: Any) -> None:
        for name, value in seeds.items():
            if name not in self._seed_members:
                raise UnknownParam(
                    f"{type(self).__name__} has no seed {name!r}{_hint(name, self._seed_members)}; "
                    f"its seeds are {', '.join(self._seed_members) or 'none'}",
                    name=name,
                    accepted=list(self._seed_members),
                )
            if self._kinds[name] is not None and not isinstance(value, Persistable):
                seeds[name] = coerce_value(check_of(self._kinds[name], {}), value, f"{type(self).__name__}.{name}")
        self._bind(GivenSeeds(type(self).__name__, self._seed_members, seeds), None)

    def _bind(self, binding: Binding, workflow_id: Any) -> None:
        self._binding = binding
        self.workflow_id = workflow_id
        self._lock = threading.RLock()
        self._nodes: dict[NodeName, Any] = {}
        self._memo: dict[NodeName, InMemoryCopy] = {}

    # nodes

    def node(self, name: str) -> Persistable[Any, Any]:
        """The node of a seed or step of that name, for the current seeds. Raises UnknownMember, InputVanished, InputMissing."""
        self._check_name(name)
        with self._lock:
            self._refresh(name)
            node: Persistable[Any, Any] = self._nodes[name]
            return node

    def _check_name(self, name: str) -> None:
        if name not in self._graph.members:
            near = nearest(str(name), self._graph.members)
            raise UnknownMember(
                f"{type(self).__name__} has no {name!r}{_hint(name, self._graph.members)}; it has {', '.join(self._graph.members)}",
                axis="node",
                label=name,
                nearest=near,
            )

    def _refresh(self, name: str) -> list[WorkflowNode]:
        """Look at the seeds upstream of `name`, and make the nodes that depend on a changed one, or are not made yet."""
        definitions = self._graph.needed(name)
        changed: set[str] = set()
        for definition in definitions:
            if isinstance(definition.template, Seed):
                seed = str(definition.node_name)
                before = self._nodes.get(seed)
                now = self._binding.seed(seed, before)
                if now is not before:
                    self._nodes[seed] = now
                    changed.add(seed)
        if changed:
            for node_name in [
                node_name for node_name in self._nodes if node_name not in changed and self._graph.definitions[node_name].seeds & changed
            ]:
                del self._nodes[node_name]
                self._memo.pop(node_name, None)
        for definition in definitions:
            if definition.node_name not in self._nodes:
                self._nodes[definition.node_name] = self._binding.placed(
                    definition.node_name, self._makers[definition.node_name].node(self._nodes)
                )
        return definitions

    @property
    def nodes(self) -> Mapping[str, Persistable[Any, Any]]:
        """The nodes of seeds and steps by name, as returned by `node`."""
        return _Nodes(self, tuple(self._graph.members))

    @property
    def seeds(self) -> Mapping[str, Persistable[Any, Any]]:
        """The seeds among `nodes`."""
        return _Nodes(self, tuple(self._seed_members))

    @property
    def steps(self) -> Mapping[str, Persistable[Any, Any]]:
        """The computed nodes among `nodes`."""
        return _Nodes(self, tuple([name for name in self._graph.members if name not in self._seed_members]))

    # payloads

    def _payload_of(self, name: str) -> Any:
        with self._lock:
            definitions = self._refresh(name)
            node = self._nodes[name]
            if (
                not holds_payload(node)
                and not node.is_external
                and all(needs_of(self._nodes[definition.node_name]) == "all" for definition in definitions)
            ):
                self._supply(name)
            return node.payload

    def _supply(self, name: str) -> None:
        """Compute the missing upstream of `name`, each node once; payloads that are not stored are kept for later accesses."""
        missing: set[NodeName] = set()
        stack: list[NodeName] = [name]
        while stack:
            node_name = stack.pop()
            node = self._nodes[node_name]
            there = (
                node_name in self._memo or node.is_external or (node.is_persisted and record_access.is_there(_store_of(node), node.place))
            )
            if node_name not in missing and not there:
                missing.add(node_name)
                stack.extend(self._graph.definitions[node_name].upstream.values())
        for definition in self._graph.needed(name):
            if definition.node_name in missing:
                self._compute(definition)
        if not self._nodes[name].is_persisted:
            hold(self._nodes[name], self._memo[name].copy(writable=True))

    def _compute(self, definition: WorkflowNode) -> None:
        node = self._nodes[definition.node_name]
        given = {
            self._nodes[node_name].key: self._memo[node_name].copy(writable=False)
            for node_name in definition.upstream.values()
            if node_name in self._memo
        }
        store = _store_of(node)
        payload = generation.generate(bound_to(node, store), store, {}, seen=(None,), given=given, writable=False)
        if not node.is_persisted:
            self._memo[definition.node_name] = InMemoryCopy(payload, node.key)

    # plan, run and status

    @property
    def targets(self) -> list[Persistable[Any, Any]]:
        """The nodes that `run` and `plan` process by default: those that are stored; if none are, all computed ones."""
        steps = list(self.steps.values())
        return [node for node in steps if node.is_persisted] or steps

    def run(self, *names: str, **options: Any) -> RunResult:
        """`persistable.run` of the nodes of these names; without any, of `targets`."""
        return run.run(self._chosen(names), **options)

    def accept_code(self, reason: str, *names: str) -> int:
        """Mark the stored, stale nodes of these names, by default all, as unaffected by their code changes; return their number."""
        return accept.accept_code(self._chosen(names), reason=reason)

    def plan(self, *names: str, **options: Any) -> Plan:
        """`persistable.plan` of the nodes of these names; without any, of `targets`."""
        return plan.plan(self._chosen(names), **options)

    def _chosen(self, names: tuple[str, ...]) -> list[Any]:
        return [self.node(name) for name in names] if names else self.targets

    def status(self) -> dict[str, Status]:
        """The status of each seed and each node that is stored, by name."""
        shown = {name: node for name, node in self.nodes.items() if node.is_external or node.is_persisted}
        return {name: state.status for name, state in zip(shown, states_of(list(shown.values())), strict=True)}

    def lineage(self, **options: Any) -> Graph:
        """The picture of its nodes and everything upstream, see `persistable.graph.lineage`."""
        return graph.lineage(*self.nodes.values(), **options)

    def _repr_html_(self) -> str:
        from persistable.families.workspaces.overview import workflow_html

        return workflow_html(self)

    def __repr__(self) -> str:
        words = self._binding.words()
        return f"<{type(self).__name__}{' ' if words else ''}{words}: {', '.join(self._graph.members)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return bound, (type(self), self._binding, self.workflow_id)


def bound(cls: type[Any], binding: Binding, workflow_id: Any) -> Any:
    """The instance of a workflow class for `binding`."""
    workflow = object.__new__(cls)
    workflow._bind(binding, workflow_id)
    return workflow


def _store_of(node: Node) -> Any:
    own = own_store(node)
    return own if own is not None else default_store()


def _hint(name: Any, known: Mapping[str, Any]) -> str:
    return did_you_mean(str(name), known, " ({})")


class _Nodes(Mapping[str, Persistable[Any, Any]]):
    """Nodes of one instance by name, made on demand."""

    def __init__(self, workflow: Workflow, names: tuple[str, ...]) -> None:
        self._workflow = workflow
        self._names = names

    def __getitem__(self, name: str) -> Persistable[Any, Any]:
        if name not in self._names:
            self._workflow._check_name(name)  # pyright: ignore[reportPrivateUsage]
            raise KeyError(name)
        return self._workflow.node(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<{', '.join(self._names) or 'nothing'}>"
