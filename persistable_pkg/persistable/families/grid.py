"""Grids: map the arguments of a node to axes, merge equal axes, and build the factory of the members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_args

from persistable.errors import MissingParam, WrongUpstream
from persistable.families.axis import Axis, values_of
from persistable.families.gather import Gathered
from persistable.families.gather import members as gathered
from persistable.families.view import View, view_of
from persistable.nodes.declaration import declaration_of, is_collection
from persistable.nodes.lineage import nodes_in
from persistable.nodes.node import Persistable
from persistable.nodes.roles import fits, refuse_open
from persistable.nodes.step import Step
from persistable.nodes.types import Node, is_family
from persistable.params.annotations import names_of, signature_of
from persistable.params.checks import Scope, bare
from persistable.params.coercion import column, field_check, typed_params
from persistable.stores.open import open_store

if TYPE_CHECKING:
    from persistable.families.family import Family
    from persistable.families.gather import Groups, Layout
    from persistable.families.view import DataSource
    from persistable.params.checks import Check
    from persistable.stores.base import Store

OPTIONS = (
    "persist_data_dir",
    "params",
    "tracked_persistable_dependencies",
    "data_dir",
    "payload_name",
    "payload_io",
    "payload_file_suffix",
    "verbose",
    "logger",
)
"""Arguments of `Persistable` other than params and roles; the first three may be positional."""

Slot = int | str
"""An argument, by position or by name."""


class Column(NamedTuple):
    """An argument whose value is, at each index of one axis, the value there."""

    slot: Slot
    axis: int
    values: Sequence[Any]


class UpstreamFamily(NamedTuple):
    """An argument that is a member of another family, as of `view`, found by its indices along these axes.

    axes: for each axis of the family, the number of ours; None if it is gathered. indices: for each axis, the index on it of each of our
    indices; None if they are equal. groups: for each axis, the indices gathered at each remaining value, None if none are; None as a whole
    for an argument that is one member.
    """

    slot: Slot
    family: Family[Any]
    view: View
    axes: tuple[int | None, ...]
    indices: tuple[Sequence[int] | None, ...]
    groups: tuple[Groups | None, ...] | None = None

    def members(self, indices: Sequence[int]) -> list[tuple[int, ...]]:
        """The indices of the upstream members for our `indices`: of one member, unless several are gathered."""
        places = [
            None if axis is None else indices[axis] if its is None else its[indices[axis]]
            for axis, its in zip(self.axes, self.indices, strict=True)
        ]
        return [cast("tuple[int, ...]", tuple(places))] if self.groups is None else list(gathered(self.groups, places))

    def node(self, indices: Sequence[int]) -> Any:
        """The argument: a node, or the list of the gathered ones."""
        nodes = [self.family.at(each, self.view) for each in self.members(indices)]
        return nodes[0] if self.groups is None else nodes


class NodeFactory:
    """The call that makes each member, with its fixed and varying arguments."""

    def __init__(
        self,
        maker: Any,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        columns: list[Column],
        upstream_families: list[UpstreamFamily],
        axes: list[Axis],
    ) -> None:
        self.maker = maker
        self.name = name
        self.axes = tuple(axes)
        self._args = list(args)
        self._kwargs = dict(kwargs)
        self.columns = columns
        self.upstream_families = upstream_families
        self.remembered: Store | None = None
        """Store of the last run with an explicit store, for members without one."""

    @property
    def _call(self) -> Any:
        return self.maker.step if self.maker.__class__ is Step else self.maker

    def make(self, indices: Sequence[int]) -> Any:
        """A new node: the member at these indices along all axes."""
        args, kwargs = self._args.copy(), self._kwargs.copy()
        for slot, axis, values in self.columns:
            _put(args, kwargs, slot, values[indices[axis]])
        for each in self.upstream_families:
            _put(args, kwargs, each.slot, each.node(indices))
        return self._call(*args, **kwargs)

    @property
    def given(self) -> bool:
        """Tell whether the nodes existed before the family."""
        return self.maker is itself

    def role(self, slot: Slot) -> str:
        """The name of the argument `slot`."""
        return _name(self.maker, slot)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "remembered": None}

    def nodes(self) -> list[Any]:
        """The nodes among its arguments: those that all members are made from, and those on an axis."""
        listed = [column.values for column in self.columns if len(column.values) and isinstance(column.values[0], Persistable)]
        values: list[Any] = [*self._args, *self._kwargs.values(), *[list(each) for each in listed]]
        return [node for value in values for _, node in nodes_in(value)]

    def upstream(self) -> dict[str, Family[Any]]:
        """The upstream families, by argument; each member takes its upstream from these."""
        return {_name(self.maker, each.slot): each.family for each in self.upstream_families}


def itself(node: Node) -> Any:
    """Return the node that was given."""
    return node


def of_nodes(name: str, axis: Axis, nodes: Sequence[Any]) -> NodeFactory:
    """The factory of nodes that exist."""
    return NodeFactory(itself, name, [None], {}, [Column(0, 0, nodes)], [], [axis])


class GridSpec:
    """A call with axes among its arguments; builds the factory of all their combinations on demand.

    joined: params whose values vary together. Raises UnknownParam and MissingParam, as a node with the first values would.
    """

    def __init__(
        self, maker: Any, args: Sequence[Any], kwargs: Mapping[str, Any], joined: Mapping[str, Sequence[Any]] | None = None
    ) -> None:
        self._maker = maker
        self._joined = joined or {}
        self._arguments: dict[Slot, Any] = dict(enumerate(args))
        self._arguments.update(kwargs.items())
        self._lists = {slot: values for slot, value in self._arguments.items() if (values := self._listed(slot, value)) is not None}
        self._families: dict[Slot, Family[Any]] = {slot: value for slot, value in self._arguments.items() if is_family(value)}
        self._gathered: dict[Slot, Gathered[Any]] = {slot: value for slot, value in self._arguments.items() if isinstance(value, Gathered)}
        varying = {*self._lists, *self._families, *self._gathered}
        fixed = {slot: None if slot in varying else value for slot, value in self._arguments.items()}
        firsts = {name: values[0] for name, values in (*self._joined.items(), *self._lists.items()) if values}
        self._refuse_open()
        _check(maker, len(args), {**fixed, **firsts})
        self._joined = {name: self._checked(name, values) for name, values in self._joined.items()}
        self._lists = {slot: self._checked(slot, values) for slot, values in self._lists.items()}
        for slot in fixed.keys() - varying if isinstance(maker, Step) else ():
            self._checked(slot, [fixed[slot]])
        for slot, family in self._families.items():
            _check_single(maker, _name(maker, slot), family)
        for slot, gathering in self._gathered.items():
            _check_many(maker, _name(maker, slot), gathering)
        _open(maker, fixed)
        self._positional = [fixed.pop(index) for index in range(len(args))]
        self._named = cast("dict[str, Any]", fixed)
        self.name = cast("str | None", fixed.get("payload_name")) or (
            maker.payload_name if isinstance(maker, Step) else declaration_of(maker).name
        )

    @property
    def sources(self) -> tuple[DataSource, ...]:
        """The external sources that determine the members."""
        given = [*self._families.values(), *[each.family for each in self._gathered.values()]]
        return tuple(dict.fromkeys(source for family in given for source in family.sources))

    def factory(self) -> NodeFactory:
        """The factory, for the current axes of the families among the arguments."""
        axes = _Axes()
        columns: list[Column] = []
        if self._joined:
            axis = axes.add(Axis(self._joined), "")
            columns += [Column(name, axis, values) for name, values in self._joined.items()]
        given: list[tuple[Slot, Family[Any], View, Layout | None]] = []
        for slot in self._arguments:
            gathering = self._gathered.get(slot)
            family = gathering.family if gathering is not None else self._families.get(slot)
            if family is not None:
                view = family.view
                layout = gathering.layout(view) if gathering is not None else None
                given.append((slot, family, view, layout))
                for each in (layout or view).axes:
                    axes.add(each, _name(self._maker, slot))
            elif slot in self._lists:
                values = self._lists[slot]
                columns.append(Column(slot, axes.add(Axis({_name(self._maker, slot): values}), ""), values))
        upstream_families = [axes.upstream_family(*each) for each in given]
        columns = [Column(slot, axes.number(axis), values) for slot, axis, values in columns]
        return NodeFactory(self._maker, self.name, self._positional, self._named, columns, upstream_families, axes.named())

    def view(self) -> View:
        """The view of all members."""
        return view_of(self.factory())

    def _checked(self, slot: Slot, values: Sequence[Any]) -> Sequence[Any]:
        """Convert the values of an axis to the declared type, in one batch instead of for each member. Raises MistypedParam."""
        name = _name(self._maker, slot)
        check, where = _check_of(self._maker, name)
        return cast("Sequence[Any]", column(check, values, f"{where}.{name}")) if check is not None else values

    def _refuse_open(self) -> None:
        """Raise InputMissing for an open node among the arguments or on an axis: no member could be made from it."""
        for slot, value in (*self._joined.items(), *self._arguments.items()):
            listed: list[Any] | None = cast("Any", value) if isinstance(value, list) else None
            if listed is None or _holds_nodes(next((each for each in listed if each is not None), None)):
                refuse_open(f"{self._maker.__name__}.over", _name(self._maker, slot), nodes_in(value))

    def _listed(self, slot: Slot, value: Any) -> Sequence[Any] | None:
        return None if _name(self._maker, slot) == "tracked_persistable_dependencies" else values_of(value)


class _Axes:
    """The axes of a factory, collected from its arguments, without duplicates.

    Until all are added, they go by the number under which they were added: found axes may still be joined to others.
    """

    def __init__(self) -> None:
        self._axes: list[Axis | None] = []
        self._from: list[str] = []
        self._home: dict[int, int] = {}
        self._joined_to: dict[int, int] = {}

    def add(self, axis: Axis, source: str) -> int:
        """Add `axis` and return its number; an existing equal axis, or the one that it is joined to, is used instead."""
        same = next((number for number, known in enumerate(self._axes) if known is not None and known.is_same_axis(axis)), None)
        if same is None:
            same = self._join(axis)
        if same is None:
            same = len(self._axes)
            self._axes.append(axis)
            self._from.append(source)
        self._home[id(axis)] = same
        return same

    def _join(self, axis: Axis) -> int | None:
        """Join `axis` to all that share a column with it, and return the number of the joined axis; None if there are none."""
        into: int | None = None
        for number, known in enumerate(self._axes):
            if known is None or not known.is_joinable_with(axis):
                continue
            if into is None:
                into, axis = number, known.join(axis)
            else:
                axis = axis.join(known)
                self._axes[number] = None
                self._joined_to[number] = into
            self._axes[into] = axis
        return into

    def number(self, added: int) -> int:
        """Number, among the remaining axes, of the axis added under that number."""
        while added in self._joined_to:
            added = self._joined_to[added]
        return sum(axis is not None for axis in self._axes[:added])

    def upstream_family(self, slot: Slot, family: Family[Any], view: View, layout: Layout | None) -> UpstreamFamily:
        """The argument that is a member of `family`, or several as gathered by `layout`, once all axes are added."""
        left = [axis for axis in self._axes if axis is not None]
        own = layout.left if layout is not None else view.axes
        numbers = [None if axis is None else self.number(self._home[id(axis)]) for axis in own]
        indices = [
            axis.indices_of(left[number]) if axis is not None and number is not None and axis.is_listed else None
            for axis, number in zip(own, numbers, strict=True)
        ]
        same = [
            None if its is None or number is None or its == range(len(left[number])) else its
            for its, number in zip(indices, numbers, strict=True)
        ]
        return UpstreamFamily(slot, family, view, tuple(numbers), tuple(same), layout.groups if layout is not None else None)

    def named(self) -> list[Axis]:
        """The axes, with dotted column names for those from families where plain names would clash."""
        left = [(axis, source) for axis, source in zip(self._axes, self._from, strict=True) if axis is not None]
        counts = Counter(name for axis, _ in left for name in axis.columns)
        return [
            axis.with_column_names({name: f"{source}.{name}" for name in axis.columns if source and counts[name] > 1})
            for axis, source in left
        ]


def _put(args: list[Any], kwargs: dict[str, Any], slot: Slot, value: Any) -> None:
    if isinstance(slot, int):
        args[slot] = value
    else:
        kwargs[slot] = value


def _name(maker: Any, slot: Slot) -> str:
    if isinstance(slot, str):
        return slot
    if isinstance(maker, Step):
        return maker.maker.name_at(slot)
    if isinstance(maker, type) and _own_init(maker):
        return _parameter(maker, slot)
    return OPTIONS[slot] if slot < 3 else str(slot)


def _parameter(maker: Any, slot: int) -> str:
    """The name that a custom ``__init__`` gives its argument at this index; the index if it has no name."""
    parameters = list(signature_of(maker.__init__).parameters.values())[1:]
    named = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    if slot < len(named):
        return named[slot].name
    starred = next((each.name for each in parameters if each.kind is each.VAR_POSITIONAL), "")
    return f"{starred}.{slot - len(named)}" if starred else str(slot)


def _check(maker: Any, positional: int, arguments: dict[Slot, Any]) -> None:
    """Raise for names that the step or the params class does not take, without making a node."""
    if isinstance(maker, Step):
        maker.maker.bind(
            tuple([arguments[index] for index in range(positional)]), {str(k): v for k, v in arguments.items() if isinstance(k, str)}
        )
        return
    declaration = declaration_of(maker)
    kind: Any = declaration.params_type
    if _own_init(maker) or not isinstance(kind, type) or kind is type(None) or positional > 1 or "params" in arguments:
        return
    fields = {name: value for name, value in arguments.items() if isinstance(name, str) and name not in OPTIONS and value is not None}
    fields = {name: value for name, value in fields.items() if name not in declaration.roles and not _holds_nodes(value)}
    try:
        typed_params(kind, fields, maker.__name__, declaration.params_arguments)
    except MissingParam as error:
        absent = [name for name in error.names if name not in arguments]
        if absent:
            raise


def _check_of(maker: Any, name: str) -> tuple[Check | None, str]:
    """The check for an argument of each member, and the owner that errors name; None if only the node can check it."""
    if maker.__class__ is Step:
        return maker.maker.check_for(name), maker.maker.name
    if not isinstance(maker, type) or _own_init(maker) or name in OPTIONS:
        return None, ""
    declaration = declaration_of(maker)
    kind = declaration.params_type
    if name in declaration.roles or not isinstance(kind, type):
        return None, ""
    return field_check(kind, name, declaration.params_arguments), kind.__name__


def _check_single(maker: Any, name: str, family: Family[Any]) -> None:
    """Raise WrongUpstream for a family whose members would be passed one by one to an argument that takes many."""
    if maker.__class__ is Step:
        parameter = maker.maker.parameters.get(name)
        if parameter is None or not is_collection(parameter.annotation):
            return
        payload, wanted = _payload_of(family), bare(parameter.annotation, Scope(names_of(maker.__wrapped__), {}))
        items = [each for each in get_args(wanted) if each is not Ellipsis]
        if payload is None or fits(payload, wanted) or (items and not _is_item(payload, items[0])):
            return
        made, where, words, many = (
            f"{maker.maker.name}.over({name}=...)",
            maker.maker.name,
            str(wanted),
            f"{maker.maker.name}.step({name}=family)",
        )
    elif isinstance(maker, type) and not _own_init(maker) and name in declaration_of(maker).many:
        made, where, words = f"{maker.__name__}.over({name}=...)", maker.__name__, declaration_of(maker).check_of(name).words
        many = f"{maker.__name__}({name}=family)"
    else:
        return
    raise WrongUpstream(
        f"{made} would make one node of each member of {family!r:.80}, and {where}.{name} takes {words}: "
        f"{many} takes all members at once, {name}=family.gather(...) those along some axes",
        role=name,
        found=f"{family!r:.80}",
        wanted=words,
    )


def _check_many(maker: Any, name: str, given: Gathered[Any]) -> None:
    """Raise WrongUpstream for gathered members that would be passed to an argument that takes one."""
    if isinstance(maker, Step):
        parameter = maker.maker.parameters.get(name)
        known = parameter is not None and parameter.annotation not in (parameter.empty, Any)
        if parameter is None or not known or is_collection(parameter.annotation):
            return
        where, wanted = maker.maker.name, str(getattr(parameter.annotation, "__name__", parameter.annotation))
    elif isinstance(maker, type) and not _own_init(maker) and name in (declaration := declaration_of(maker)).roles:
        if name in declaration.many:
            return
        where, wanted = maker.__name__, declaration.check_of(name).words
    else:
        return
    raise WrongUpstream(
        f"{where}.{name} takes {wanted}, one for each member, and {given!r:.80} is a list for each; give the family itself, "
        f"or declare {name} as a list",
        role=name,
        found=f"{given!r:.80}",
        wanted=wanted,
    )


def _is_item(payload: Any, item: Any) -> bool:
    return fits(payload, item) or (payload is int and item in (float, complex)) or (payload is float and item is complex)


def _payload_of(family: Family[Any]) -> Any:
    """The declared payload type of the members of a family; None where it is not known."""
    maker: Any = family.view.factory.maker
    if maker.__class__ is Step:
        return None if maker.maker.result is Any else maker.maker.result
    found: Any = declaration_of(maker).payload_type if isinstance(maker, type) and hasattr(maker, "_node_is_node") else None
    return None if found is Any or isinstance(found, str) else found


def _own_init(maker: Any) -> bool:
    """Tell whether the class has a custom ``__init__``, which alone knows the meaning of its arguments."""
    return maker.__init__ is not cast("Any", Persistable).__init__


def _holds_nodes(value: Any) -> bool:
    return any(True for _ in nodes_in(value)) or is_family(value)


def _open(maker: Any, fixed: dict[Slot, Any]) -> None:
    """Open the store among the arguments, once for all members."""
    if isinstance(maker, Step) or _own_init(maker):
        return
    for slot in (0, "persist_data_dir", "data_dir"):
        if fixed.get(slot) is not None:
            fixed[slot] = open_store(fixed[slot])


def names_store(maker: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Tell whether the call names the store of its nodes."""
    if isinstance(maker, Step):
        return False
    return (bool(args) and _name(maker, 0) in _STORES) or not _STORES.isdisjoint(kwargs)


_STORES = frozenset({"data_dir", "persist_data_dir"})
