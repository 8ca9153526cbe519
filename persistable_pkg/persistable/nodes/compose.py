"""``a >> b``: the upstream of an open node filled in, in a new node. Existing nodes are not changed."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar, cast, overload

from persistable.errors import InputMissing, LineageCycle
from persistable.nodes.lineage import walk
from persistable.nodes.types import Node, is_family

if TYPE_CHECKING:
    from persistable.nodes.node import Persistable


class Open(NamedTuple):
    """An open input: its name, and the number of nodes from which on it takes them all as a list (0: never)."""

    name: str
    many: int = 0


TargetT = TypeVar("TargetT")
OtherT = TypeVar("OtherT", bound="Persistable[Any, Any]")


class Chainable:
    """An operand of ``>>``, on either side."""

    __array_ufunc__ = None  # numpy leaves ``array >> node`` to the node, which raises a clear error

    @overload
    def __rshift__(self, target: list[TargetT] | tuple[TargetT, ...]) -> Nodes[TargetT]: ...  # of several kinds, too
    @overload
    def __rshift__(self, target: OtherT) -> OtherT: ...
    def __rshift__(self, target: object) -> Any:
        return feed(self, target)

    def __rrshift__(self, source: Any) -> Self:
        filled: Self = feed(source, self)
        return filled


class Nodes(Chainable, list[TargetT]):
    """The result of ``a >> [b, c]``: a list of nodes that can be an operand of ``>>`` again."""


def feed(source: Any, target: object) -> Any:
    """``source >> target``: `target` with the nodes of `source` for its open inputs; a list of such nodes for a list of targets.

    A dict of nodes fills the inputs it names; a family is the list of its nodes. Otherwise a node fills the open input that has its
    name, else the first that is open. Raises InputMissing for a source that is open itself, LineageCycle, and TypeError for an
    object that is no node and for surplus nodes.
    """
    if isinstance(target, list | tuple):
        if not target:
            raise TypeError("an empty list stands after >>; put at least one open node into it")
        return Nodes([feed(source, each) for each in cast("Iterable[Any]", target)])
    taker = cast("Node", target)
    sources = _sources(source, taker)
    for each in sources.values() if isinstance(sources, dict) else sources:
        _check(each, taker)
    inputs: list[Open] = list(taker._node_open_inputs()) if is_operand(taker) else _refuse(taker)
    given = _named(sources, inputs, taker) if isinstance(sources, dict) else _matched(sources, inputs, taker)
    return taker._node_fill(given)


def is_operand(thing: Any) -> bool:
    """Tell whether `thing` is a node, finished or open, and not a node class."""
    cls: Any = thing.__class__
    return not isinstance(thing, type) and hasattr(cls, "_node_open_inputs")


def name_of(thing: Any) -> str:
    """The name of a node, or of an object given in place of one, in errors."""
    return str(thing.payload_name) if is_operand(thing) else f"{thing!r:.60}"


def _sources(source: Any, target: Node) -> dict[str, Any] | list[Any]:
    if isinstance(source, dict):
        return cast("dict[str, Any]", source)
    if is_family(source):
        source = list(source.nodes)
    if isinstance(source, list | tuple):
        nodes = list(cast("Iterable[Any]", source))
        if not nodes:
            raise TypeError(f"an empty list stands before >> {name_of(target)}; put at least one node into it")
        return nodes
    return [source]


def _refuse(thing: Any) -> Any:
    raise TypeError(
        f"{name_of(thing)} ({type(thing).__name__}) is no node, so nothing can be joined to it by >>; "
        "use fn.step(...), a Persistable, or a list of them"
    )


def _check(source: Any, target: Node) -> None:
    if not is_operand(source):
        _refuse(source)
    if source is target:
        name = name_of(source)
        raise LineageCycle(f"{name} >> {name}: a node cannot be upstream of itself", nodes=[name, name])
    missing = list(source._node_open)
    if missing:
        text = f"{name_of(source)} >> {name_of(target)}: {name_of(source)} still needs {', '.join(missing)}; fill that first"
        raise InputMissing(text, inputs=missing, roles=missing)


def _named(sources: dict[str, Any], inputs: list[Open], target: Node) -> dict[str, Any]:
    accepted = [each.name for each in inputs]
    for name in sources:
        if name not in accepted:
            raise TypeError(f"{name_of(target)} has no open input {name!r}; open are: {', '.join(accepted) or 'none'}")
    return sources


def _matched(sources: list[Any], inputs: list[Open], target: Node) -> dict[str, Any]:
    """The source for each input: by name first, then in order; an input for several nodes takes all the rest."""
    if not inputs:
        _full(sources[0], target)
    given: dict[str, Any] = {}
    rest: list[Any] = []
    single = {each.name for each in inputs if each.many != 1}
    for node in sources:
        if node.payload_name in single and node.payload_name not in given:
            given[node.payload_name] = node
        else:
            rest.append(node)
    for each in inputs:
        if each.name in given or not rest:
            continue
        if each.many and len(rest) >= each.many:
            given[each.name], rest = rest, []
        else:
            given[each.name] = rest.pop(0)
    if rest:
        raise TypeError(
            f"{name_of(target)} takes {len(inputs)} node{'s' if len(inputs) > 1 else ''} ({', '.join(each.name for each in inputs)}), "
            f"so there is no place for {', '.join(map(name_of, rest))}"
        )
    return given


def _full(source: Any, target: Node) -> None:
    left, right = name_of(source), name_of(target)
    if any(node.key == target.key for node in walk(source)):
        text = f"{left} >> {right}: {right} is upstream of {left} already, so this would be a circle"
        raise LineageCycle(text, nodes=[right, left, right])
    raise TypeError(f"{left} >> {right}: {right} has no open input left; leave out the argument that the node should fill")
