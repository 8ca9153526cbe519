"""`Pipeline`: named targets, and all nodes that they need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast, overload

from persistable import graph
from persistable.errors import UnknownMember
from persistable.graph import Graph
from persistable.nodes.compose import is_operand
from persistable.nodes.lineage import walk
from persistable.nodes.types import Node
from persistable.params.building import nearest
from persistable.runs import accept
from persistable.runs import plan as planning
from persistable.runs import run as run_
from persistable.runs.result import RunResult

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    class Runnable(Protocol):
        """A node, family, workspace or pipeline, to a type checker."""

        def run(self, **options: Any) -> RunResult: ...

    TargetT_co = TypeVar("TargetT_co", covariant=True, default=Any)
    OneT = TypeVar("OneT", bound=Runnable)
else:
    from typing import TypeVar

    TargetT_co = TypeVar("TargetT_co", covariant=True)


class Pipeline(Mapping[str, TargetT_co]):
    """Named targets, to run, plan and show together: ``Pipeline(report=report, model=model).run()``.

    A target is a node, or an object that lists its nodes in ``targets``: a family, a workspace, another pipeline. A pipeline adds nothing
    to them: their identity and payloads do not depend on it. Raises TypeError for any other object, InputMissing for an open node.

    ``pipeline["report"]`` and ``pipeline.report`` are the target of that name. A subclass may declare them for a type checker:
    ``report: Report``.
    """

    @overload
    def __init__(self: Pipeline[OneT], *nodes: OneT, **named: OneT) -> None: ...
    @overload
    def __init__(self, *nodes: Runnable, **named: Runnable) -> None: ...
    def __init__(self, *nodes: Any, **named: Any) -> None:
        self._targets: dict[str, Any] = {}
        for node in nodes:
            self._add(node.payload_name if is_operand(node) else getattr(node, "name", type(node).__name__), node)
        for name, node in named.items():
            self._add(name, node)

    def _add(self, name: str, node: Node) -> None:
        if is_operand(node):
            node.key  # noqa: B018 - raises for an open node, with the inputs that it needs
        elif isinstance(node, type) or not hasattr(node, "targets"):
            raise TypeError(f"Pipeline was given {node!r:.60} as {name}, which is no node; give fn.step(...) or a Persistable")
        if name in self._targets:
            raise ValueError(f"two targets are named {name!r}; give them by keyword under names of your choice")
        self._targets[name] = node

    def __getitem__(self, name: str) -> TargetT_co:
        try:
            return cast("TargetT_co", self._targets[name])
        except KeyError:
            raise UnknownMember(
                f"no target named {name!r}; there are {', '.join(self._targets) or 'none'}",
                axis="target",
                label=name,
                nearest=nearest(str(name), self._targets),
            ) from None

    def __getattr__(self, name: str) -> TargetT_co:
        try:
            return cast("TargetT_co", self.__dict__["_targets"][name])
        except KeyError:
            named = ", ".join(self.__dict__.get("_targets", ()))
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}; its targets are {named or 'none'}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    @property
    def targets(self) -> list[TargetT_co]:
        """The named targets: nodes, families and the like."""
        return list(self._targets.values())

    @property
    def nodes(self) -> list[Any]:
        """All nodes of the targets and upstream of them, upstream before downstream."""
        return list(walk(*_nodes_of(self.targets)))

    def run(self, **options: Any) -> RunResult:
        """`persistable.run` of all targets."""
        return run_.run(self, **options)

    def accept_code(self, reason: str) -> int:
        """Accept the code of all stale payloads in it, with `reason`; return their number. See `persistable.accept_code`."""
        return accept.accept_code(self, reason=reason)

    def plan(self, **options: Any) -> planning.Plan:
        """`persistable.plan` of all targets."""
        return planning.plan(self, **options)

    def lineage(self, **options: Any) -> Graph:
        """The lineage of all targets as a picture, see `persistable.graph.lineage`."""
        return graph.lineage(*_nodes_of(self.targets), **options)

    def _repr_html_(self) -> str:
        return self.lineage().html()

    def __repr__(self) -> str:
        return f"<Pipeline: {', '.join(self._targets) or 'empty'}; {len(self.nodes)} nodes>"


def _nodes_of(targets: Iterable[Any]) -> Iterator[Any]:
    for target in targets:
        if is_operand(target):
            yield target
        else:
            listed: Any = target.targets  # a mapping in a project
            yield from _nodes_of(listed.values() if issubclass(listed.__class__, Mapping) else listed)
