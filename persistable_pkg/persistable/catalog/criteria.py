"""The criteria of `find`: a class, step or name, params that are equal, a status, and an expression; as one condition over an index."""

# Values and classes of every type pass through here, so pyright may find unknown types.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Any, NamedTuple

from persistable.catalog.index.index import CLASS, PARAM, ROLE, UPSTREAM, Index
from persistable.catalog.index.leaves import exact
from persistable.catalog.index.rows import CORRUPT, DONE, FAILED, UNTRUSTED
from persistable.catalog.query import Columns, Condition, all_of, parse
from persistable.errors import InvalidName, InvalidQuery, UnknownParam
from persistable.params import encoding
from persistable.params.building import did_you_mean
from persistable.params.fields import NO_PIN, Markers, Spec, spec_of
from persistable.params.trees import tree
from persistable.records.key import check_payload_name

STATES = (DONE, CORRUPT, FAILED, UNTRUSTED)


class Maker(NamedTuple):
    """The class or step whose payloads are queried: its reference, and the default name of its payloads.

    thing: the class, or the `Step`.
    """

    thing: Any
    reference: str
    name: str

    @property
    def is_step(self) -> bool:
        """Tell whether it is a step."""
        return not isinstance(self.thing, type)


class Criteria(NamedTuple):
    """Criteria of a query, not yet resolved against an index.

    maker: the class or step, if one was given. equal: the value that each param must have, or the node in a role, by path.
    """

    maker: Maker | None
    name: str | None
    status: str | None
    where: str | None
    equal: Mapping[str, Any]


def criteria(selection: Any, name: str | None, status: str | None, where: str | None, equal: Mapping[str, Any]) -> Criteria:
    """The criteria of these arguments of `find`. Raises InvalidQuery, InvalidName, UnknownParam, MistypedParam."""
    if status is not None and status not in STATES:
        raise InvalidQuery(
            f"status={status!r:.80}: the status of a record is one of {', '.join(STATES)}; use node.status for stale, running and absent",
            where="",
            part="status",
        )
    maker: Maker | None = None
    if isinstance(selection, str):
        if name is not None and name != selection:
            raise InvalidQuery(f"find({selection!r}, name={name!r}): give the name once", where="", part="name")
        name = selection
    elif selection is not None:
        maker = _maker(selection)
        equal = dict(_converted(maker, equal))
    if name is not None:
        try:
            check_payload_name(name)
        except InvalidName:
            shown = f"{name!r:.80}"
            raise InvalidName(f"find({shown}): no payload can be called that; a condition is where={shown}", name=name) from None
    return Criteria(maker, name, status, where, equal)


def condition(asked: Criteria, index: Index) -> Condition:
    """The condition over an index that is up to date. Raises InvalidQuery for an unknown column, or text that is no expression."""
    parts = [_equal(path, value) for path, value in asked.equal.items()]
    if asked.where is not None:
        parts.append(parse(asked.where, _columns(asked, index)))
    name = "+r.name" if any(part.few for part in parts) else "r.name"  # the sign keeps SQLite from starting with names
    if asked.name is not None:
        parts.append(Condition(f"{name} = ?", (asked.name,)))
    if asked.maker is not None:
        parts.append(_of_maker(asked.maker, index))
    return all_of([*parts, _of_status(asked.status)])


def _of_status(status: str | None) -> Condition:
    if status == FAILED:  # where there is a record as well, a later attempt failed, and the payload is there
        sound = "SELECT 1 FROM records o WHERE o.node = r.node AND o.status IN ('done', 'corrupt', 'untrusted')"
        return Condition(f"r.status = 'failed' AND NOT EXISTS ({sound})")
    return Condition("r.status = ?", (status,)) if status is not None else Condition("r.status IN ('done', 'corrupt', 'untrusted')")


# ------------------------------------------------------------------ classes and steps


def _maker(selection: Any) -> Maker:
    from persistable.nodes.code import class_reference
    from persistable.nodes.declaration import declaration_of
    from persistable.nodes.node import Persistable
    from persistable.nodes.step import Step

    if isinstance(selection, Step):
        found: Any = selection
        return Maker(found, class_reference(found.__wrapped__), found.payload_name)
    if isinstance(selection, type) and issubclass(selection, Persistable):
        return Maker(selection, class_reference(selection), declaration_of(selection).name)
    hint = "; find it by its key: catalog[node.key]" if isinstance(selection, Persistable) else ""
    raise InvalidQuery(f"find() takes a Persistable class, a step or a name, not {selection!r:.80}{hint}", where="", part="")


def _of_maker(maker: Maker, index: Index) -> Condition:
    """The condition that a class made a record: itself, or one of its name that has moved since and makes payloads of the same name."""
    from persistable.nodes.code import is_same_place

    own = maker.reference.partition(":")[2]
    known = [path for (path,) in index.rows("SELECT DISTINCT path FROM columns WHERE kind = ?", (CLASS,))]
    same = [each for each in known if is_same_place(each, maker.reference)]
    moved = [each for each in known if each not in same and each.partition(":")[2] == own]
    marks = ", ".join("?" * len(same)) or "NULL"
    if not moved:
        return Condition(f"(r.class IN ({marks}) OR (r.class IS NULL AND r.name = ?))", (*same, maker.name))
    others = ", ".join("?" * len(moved))
    return Condition(f"(r.class IN ({marks}) OR ((r.class IS NULL OR r.class IN ({others})) AND r.name = ?))", (*same, *moved, maker.name))


def _converted(maker: Maker, equal: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the name in identity and the value of each param, converted as at construction."""
    for name, value in equal.items():
        if encoding.is_node(type(value)) or "." in name:
            yield name, value
            continue
        former, markers, check = _field(maker, name)
        if markers is not None and markers.untracked:
            raise InvalidQuery(f"{maker.name}.{name} is untracked, so no record is found by it", where="", part=name)
        wanted = value if check is None else _checked(check, value, f"{maker.thing.__name__}.{name}")
        pinned = markers is not None and markers.pin is not NO_PIN and exact(tree([markers.pin])[0]) == exact(tree([wanted])[0])
        yield former, _LeftOut.LEFT_OUT if pinned else wanted


def _checked(check: Any, value: Any, place: str) -> Any:
    from persistable.params.coercion import coerce_value

    return coerce_value(check, value, place)


class _LeftOut(Enum):
    """Marker of a value with which a param is left out of identity."""

    LEFT_OUT = "left out"


def _field(maker: Maker, name: str) -> tuple[str, Markers | None, Any]:
    """The name in identity of the param `name`, its markers, and the check of its values. Raises UnknownParam."""
    if maker.is_step:
        made = maker.thing.maker
        made.check_names({name: None})
        markers = made.markers.get(name)
        return (markers.former if markers is not None and markers.former else name), markers, made.check_for(name)
    from persistable.nodes.declaration import declaration_of
    from persistable.params.coercion import field_check

    declaration = declaration_of(maker.thing)
    kind = declaration.params_type
    spec = spec_of(kind) if isinstance(kind, type) else None
    if spec is None:
        return name, None, None
    field = next((each for each in spec.fields if name in (each.attr, each.alias, *each.names)), None)
    if field is None:
        if spec.extras or name in declaration.roles:
            return name, None, None
        raise _unknown(maker, name, [each.attr for each in spec.fields] + list(declaration.roles))
    return field.name, field.markers, field_check(kind, name, declaration.params_arguments)


def _unknown(maker: Maker, name: str, accepted: list[str]) -> UnknownParam:
    hint = did_you_mean(name, accepted)
    return UnknownParam(f"{maker.thing.__name__} takes no {name!r}{hint} (it takes {', '.join(accepted)})", name=name, accepted=accepted)


# ------------------------------------------------------------------ params


def _equal(path: str, value: Any) -> Condition:
    """The condition that the param at `path` equals `value`, type included, or that the node `value` has the role `path`."""
    if encoding.is_node(type(value)):
        return Condition("n.id IN (SELECT node FROM edges WHERE role = ? AND target = ?)", (path, str(value.key)), few=True)
    own = "SELECT node FROM params WHERE path = (SELECT id FROM paths WHERE path = ?)"
    if value is _LeftOut.LEFT_OUT:
        return Condition(f"n.id NOT IN ({own})", (path,))
    kind, content = exact(tree([value], path)[0])  # in a list, as a value at a path: alone, params become fields
    return Condition(f"n.id IN ({own} AND value IS ? AND kind = ?)", (path, content, kind), few=True)


def _columns(asked: Criteria, index: Index) -> Columns:
    """The columns of all records that may match."""
    names = [asked.name] if asked.name is not None else None
    if names is None and asked.maker is not None:
        own = asked.maker.reference.partition(":")[2]
        rows = index.rows("SELECT name, path FROM columns WHERE kind = ?", (CLASS,))
        names = sorted({asked.maker.name, *(name for name, path in rows if path.partition(":")[2] == own)})
    columns = _columns_of(names, index)
    if names is not None:
        columns = columns._replace(of_all=cache(lambda: _columns_of(None, index)))
    if asked.maker is None or columns.params is None:
        return columns
    spec = None if asked.maker.is_step else _spec(asked.maker)
    return columns._replace(params=columns.params | {field.name for field in spec.fields}) if spec is not None else columns


def _spec(maker: Maker) -> Spec | None:
    from persistable.nodes.declaration import declaration_of

    kind = declaration_of(maker.thing).params_type
    return spec_of(kind) if isinstance(kind, type) else None


def _columns_of(names: list[str] | None, index: Index) -> Columns:
    among = "" if names is None else f" WHERE name IN ({', '.join('?' * len(names))})"
    rows = index.rows(f"SELECT DISTINCT kind, path FROM columns{among}", names or ())
    params = frozenset(path for kind, path in rows if kind == PARAM)
    roles = frozenset(path for kind, path in rows if kind == ROLE)
    upstream = [path.rpartition(" ") for kind, path in rows if kind == UPSTREAM]

    def of_role(role: str) -> Columns:
        return _columns_of([name for own, _, name in upstream if own == role], index)

    return Columns(params if rows else None, roles, of_role)
