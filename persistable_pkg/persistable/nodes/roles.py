"""Roles: checks of the node, or collection of nodes, that a declared role takes."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Set
from typing import Any

from persistable.errors import InputMissing, MissingUpstream, UnknownParam, WrongUpstream
from persistable.nodes.declaration import Declaration, declaration_of
from persistable.nodes.declared_type import written
from persistable.nodes.types import Node, NodeBase, is_family, is_node
from persistable.params.building import did_you_mean
from persistable.params.mismatch import Mismatch


def check(kind: type, declaration: Declaration, role: str, value: Any) -> None:
    """Raise WrongUpstream if `role` of the node class `kind` does not take `value`."""
    if role not in declaration.roles:
        return
    if role in declaration.many and value.__class__ not in (list, tuple):
        _of_many(kind, declaration, role, value)
        return
    try:
        declaration.check_of(role).convert(value)
    except Mismatch as mismatch:
        place = mismatch.error(f"{kind.__name__}.{role}").path
        found = described(mismatch.found)
        raise WrongUpstream(
            f"{place} takes {mismatch.wanted}, not {found}" + (f": {mismatch.hint}" if mismatch.hint else ""),
            role=role,
            found=found,
            wanted=mismatch.wanted,
        ) from None


def error_items_for_value(step: str, name: str, node: Node, words: str) -> WrongUpstream:
    """The error for a node that yields items in place of one plain value as the argument of a step."""
    return WrongUpstream(
        f"{step}.{name} takes {words}, not the items that {node.payload_name} yields: one node of each is {step}.over({name}=node.members)",
        role=name,
        found=described(node),
        wanted=words,
    )


def _of_many(kind: type, declaration: Declaration, role: str, node: Node) -> None:
    """Raise WrongUpstream for a single node, or another value that is no list or tuple, in a role of several nodes."""
    words = declaration.check_of(role).words
    raise WrongUpstream(
        f"{kind.__name__}.{role} takes {words}, not {described(node)}: give a list, [node]; all members of a family by {role}=family, or, "
        f"for each of the others along some of its axes, {kind.__name__}.over({role}=family.gather(...))",
        role=role,
        found=described(node),
        wanted=words,
    )


def admitted(cls: Any, value: Any) -> Any:
    """`value`, if it is a node that a role of the class `cls` takes. Raises Mismatch.

    That is a node of the class, of a subclass, or of an earlier definition of it; `optional` and `any_of` of such; and a node that is
    known by its payload alone (a step's, a source's, a download), if that is declared to be the class's or is not declared.
    """
    if isinstance(value, cls):
        return value
    kind: Any = value.__class__
    name = _name(cls)
    if not is_node(value):
        raise Mismatch(value, f"a node of {name}", _instead_of_node(value))
    if _again(kind, cls):
        return value
    inner = value._node_stands_for()
    if inner:
        for each in inner:
            admitted(cls, each)
        return value
    if kind._node_by_payload or kind.is_external:
        given, wanted = value._node_payload_type(), declaration_of(cls).payload_type
        if fits(given, wanted):
            return value
        raise Mismatch(value, f"a node of {name}", f"its payload is declared {written(given)}, that of {name} {written(wanted)}")
    raise Mismatch(value, f"a node of {name}")


def is_known_by_class(node: Node) -> bool:
    """Tell whether a role that takes `node` takes all nodes of its class."""
    kind: Any = node.__class__
    return not (kind._node_by_payload or kind.is_external or node._node_stands_for())


def _name(cls: Any) -> str:
    return str(cls.__qualname__).rpartition("<locals>.")[2]


def _instead_of_node(value: Any) -> str:
    if value.__class__ in (type(None), bool, int, float, str, bytes) or isinstance(value, type):
        return ""
    return "give a list" if isinstance(value, Set | Iterator) else "leave out `.payload`"


def fits(given: Any, wanted: Any) -> bool:
    """Tell whether a payload declared as `given` may replace one declared as `wanted`; True if that cannot be judged."""
    if given == wanted or any(kind is None or kind is Any or isinstance(kind, str | typing.TypeVar) for kind in (given, wanted)):
        return True
    for kind, others in ((given, wanted), (wanted, given)):
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            return any(fits(each, others) for each in typing.get_args(kind))
    mine, its = typing.get_origin(given) or given, typing.get_origin(wanted) or wanted
    if not isinstance(mine, type) or not isinstance(its, type) or getattr(its, "_is_protocol", False):
        return True
    if not issubclass(mine, its) and not _again(mine, its):
        return False
    given_arguments, wanted_arguments = typing.get_args(given), typing.get_args(wanted)
    if its.__module__ == "numpy" or len(given_arguments) != len(wanted_arguments):
        return True
    return all(fits(a, b) for a, b in zip(given_arguments, wanted_arguments, strict=True) if a is not Ellipsis and b is not Ellipsis)


def _again(mine: type, its: type) -> bool:
    return any(base.__qualname__ == its.__qualname__ and base.__module__ == its.__module__ for base in mine.__mro__)


def described(value: Any) -> str:
    """The words for a given value in errors."""
    kind: Any = value.__class__
    if is_family(value):
        return f"a family, {value!r:.60}"
    if is_node(value):
        open_inputs = value.__dict__.get("_node_open")
        return f"a node of {_name(kind)}" + (f" that is still open ({', '.join(open_inputs)})" if open_inputs else "")
    name = _name(kind)
    article = "an" if name[:1].lower() in "aeiou" else "a"
    shown = f" ({value!r:.60})" if kind in (bool, int, float, str, bytes) else ""
    return "None" if value is None else f"{article} {name}{shown}"


def not_a_node(kind: type, role: str, value: Any) -> MissingUpstream:
    """The error for a value that is no node in a role that needs one."""
    hint = _instead_of_node(value)
    made: Any = value
    if isinstance(value, type) and issubclass(value, NodeBase):
        hint = f"make one, {made.__name__}(...)"
    elif hasattr(made, "step") and hasattr(made, "payload_name"):
        hint = f"describe its call, {made.payload_name}.step(...)"
    return MissingUpstream(f"{kind.__name__} needs a node for {role}, not {described(value)}" + (f": {hint}" if hint else ""), roles=[role])


def unknown(kind: type, declaration: Declaration, name: str, value: Any, fields: Iterable[str]) -> UnknownParam:
    """The error for a node under a name that is no role."""
    accepted = [*declaration.roles, *fields]
    hint = did_you_mean(name, accepted)
    return UnknownParam(
        f"{kind.__name__} has no role {name!r}{hint} (its roles are {', '.join(declaration.roles) or 'none'}): declare it by an "
        f"annotation, `{name}: {_name(value.__class__)}`, or give the node in tracked_persistable_dependencies",
        name=name,
        accepted=accepted,
    )


def error_unused_keyword(kind: type, name: str, accepted: list[str]) -> UnknownParam:
    """The error for an untracked keyword that no hook takes."""
    hint = did_you_mean(name, accepted)
    takes = f"they take {', '.join(accepted)}" if accepted else "they take none"
    return UnknownParam(
        f"{name!r} means nothing to {kind.__name__}{hint}: none of its hooks takes it ({takes}); what is identity is a param",
        name=name,
        accepted=accepted,
    )


def refuse_open(taker: str, role: str, nodes: Iterable[tuple[str, Any]]) -> None:
    """Raise InputMissing if one of `nodes`, each with its place, is still open itself."""
    for _, node in nodes:
        missing = list(node.__dict__.get("_node_open") or ())
        if missing:
            raise InputMissing(
                f"{taker} was given {node.payload_name} for {role}, and {node.payload_name} is still open: it needs "
                f"{', '.join(missing)}; fill that first, `node >> it` or {missing[0]}=node",
                inputs=missing,
                roles=missing,
            )
