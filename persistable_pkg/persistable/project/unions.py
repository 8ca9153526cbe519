"""Tables for a declared union: the selection of its class that matches a table.

Classes are distinguished by their tags, fields with a ``Literal`` type, if they have any; else by trying which of them the table fits.
"""

# Values of every type pass through here, so pyright finds unknown types.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from persistable.errors import ConfigError, ParamsError
from persistable.params.building import did_you_mean
from persistable.params.fields import default_of, spec_of
from persistable.params.reducers import dereference
from persistable.project.annotations import bare, fields_of, hints_of
from persistable.project.scalars import config_error, wrong_value_error

USE = "use"
"""The key of a table that names its class, if the classes have no field of this name."""


class Member(NamedTuple):
    """One class of a union, with the tag that pydantic's `Tag` gives it, if any."""

    cls: Any
    tag: Any = None


class ClassUnion(NamedTuple):
    """The classes that a table may match, and pydantic's `Discriminator` function that returns a tag, if any."""

    members: list[Member]
    tell: Callable[[Any], Any] | None = None

    @property
    def classes(self) -> list[Any]:
        return [member.cls for member in self.members]


def union_of(kind: Any, has_fields: Callable[[Any], bool]) -> ClassUnion:
    """The classes with fields that the annotation `kind` admits, however its unions are nested and named."""
    tellers: list[Any] = []
    members = {member.cls: member for member in _members(kind, None, tellers) if has_fields(member.cls)}
    return ClassUnion(list(members.values()), tellers[0] if len(tellers) == 1 else None)


def _members(kind: Any, tag: Any, tellers: list[Any]) -> Iterator[Member]:
    for marker in getattr(kind, "__metadata__", ()):
        tag = getattr(marker, "tag", tag)
        teller = getattr(marker, "discriminator", None)
        teller = getattr(teller, "discriminator", teller)
        if callable(teller):
            tellers.append(teller)
    kind = bare(kind)
    origin = typing.get_origin(kind)
    if origin is typing.Union or origin is types.UnionType:
        for each in typing.get_args(kind):
            yield from _members(each, tag, tellers)
    elif isinstance(origin or kind, type):
        yield Member(origin or kind, tag)


def with_default(union: ClassUnion, default: Any) -> ClassUnion:
    """Replace the declared class by that of `default`, a subclass of it; the only member if none is declared."""
    kind = type(default)
    if kind in union.classes:
        return union
    if not union.members:
        return ClassUnion([Member(kind)])
    return union._replace(members=[member._replace(cls=kind) if issubclass(kind, member.cls) else member for member in union.members])


def chosen(
    union: ClassUnion, table: Mapping[str, Any], where: str, default: Any, make: Callable[[Any, Mapping[str, Any], Any], Any]
) -> Any:
    """Make the value of `table`: an instance of the class of `union` that it matches.

    make: called with a class, the values of its fields, and the object to begin from, or None; raises ConfigError if they do not fit. A
    table that fits the class of `default` changes only the fields that it names. Raises ConfigError, also if several classes fit.
    """
    named = _named(union, table, where)
    if named is not None:
        rest = {name: value for name, value in table.items() if name != USE}
        return make(named, _without_fixed(named, rest), default if type(default) is named else None)
    classes = _told(union, table) or [cls for cls in union.classes if _admits(cls, table)]
    if not classes:
        raise _untagged(union.classes, table, where)
    if len(classes) == 1:
        return make(classes[0], _without_fixed(classes[0], table), default if type(default) is classes[0] else None)
    fit: dict[Any, Any] = {}
    trouble: dict[Any, Exception] = {}
    for cls in classes:
        try:
            fit[cls] = make(cls, _without_fixed(cls, table), default if type(default) is cls else None)
        except Exception as error:  # noqa: BLE001 - a class may raise any error for the values of another
            trouble[cls] = error
    if len(fit) == 1 or (type(default) in fit and _tagged(classes)):
        return fit[type(default)] if len(fit) > 1 else next(iter(fit.values()))
    if fit:
        raise _ambiguous(list(fit), table, where)
    knowing = [cls for cls in classes if table.keys() <= {*fields_of(cls).kinds, *_fixed(cls)}]
    if len(knowing) == 1:
        raise trouble[knowing[0]]
    shown = " or ".join(f"{name} ({', '.join(fields_of(cls).kinds)})" for name, cls in _names(classes).items())
    raise wrong_value_error(dict(table), where, f"a table of {shown}")


# ------------------------------------------------------------------ by name


def _names(classes: list[Any]) -> dict[str, Any]:
    """The classes by their names; by reference if two have the same name."""
    short = [cls.__name__ for cls in classes]
    return {cls.__name__ if short.count(cls.__name__) == 1 else f"{cls.__module__}:{cls.__qualname__}": cls for cls in classes}


def _named(union: ClassUnion, table: Mapping[str, Any], where: str) -> Any:
    """The class that ``use`` names: one of the union, or, by reference, a subclass of one; None if the table has no such entry."""
    if USE not in table or any(USE in fields_of(cls).kinds or fields_of(cls).open for cls in union.classes):
        return None
    name, known = table[USE], _names(union.classes)
    if isinstance(name, str) and str(name) in known:
        return known[str(name)]
    if isinstance(name, str) and ":" in name:
        try:
            found: Any = dereference(str(name))
        except ParamsError as error:
            raise config_error(f"{where}.{USE}", error, known) from error
        if isinstance(found, type) and any(cls in found.__mro__ for cls in union.classes):
            return found
    hint = did_you_mean(str(name), known)
    raise wrong_value_error(name, f"{where}.{USE}", f"one of {', '.join(known)}{hint}", list(known))


def _ambiguous(classes: list[Any], table: Mapping[str, Any], where: str) -> ConfigError:
    names = list(_names(classes))
    taken = any(USE in fields_of(cls).kinds for cls in classes)
    way = "give a field that only one of them has" if taken else f'name the one that is meant: {USE} = "{names[0]}"'
    return config_error(where, f"is {dict(table)!r:.80}, which fits {' and '.join(names)} alike; {way}", names)


# ------------------------------------------------------------------ by tag


def _told(union: ClassUnion, table: Mapping[str, Any]) -> list[Any]:
    """The class with the tag that pydantic's discriminator function returns; empty if there is no function, or no match."""
    if union.tell is None:
        return []
    try:
        tag = union.tell(dict(table))
    except Exception:  # noqa: BLE001 - a user's function may raise anything
        return []
    return [member.cls for member in union.members if member.tag is not None and member.tag == tag]


def _admits(cls: Any, table: Mapping[str, Any]) -> bool:
    """Tell whether the tags in `table`, if any, are those of `cls`."""
    given = [(table[name], choices) for name, choices in _tags(cls).items() if name in table]
    return all(any(is_spelling_of(choice, raw) for choice in choices) for raw, choices in given)


def _tags(cls: Any) -> dict[str, tuple[Any, ...]]:
    """The values that the tags of `cls` may have."""
    literal = {name: bare(kind) for name, kind in fields_of(cls).kinds.items()}
    found = {name: typing.get_args(kind) for name, kind in literal.items() if typing.get_origin(kind) is typing.Literal}
    return {**found, **{name: (value,) for name, value in _fixed(cls).items()}}


def _fixed(cls: Any) -> dict[str, Any]:
    """Tags that the constructor does not take: class variables, and fields with ``init=False``."""
    spec = spec_of(cls) if not typing.is_typeddict(cls) and not hasattr(cls, "_fields") else None
    if spec is None:
        return {}
    set_inside = {field.attr for field in spec.fields if field.alias is None}
    found: dict[str, Any] = {}
    for name, kind in hints_of(cls).items():
        if name in set_inside or typing.get_origin(kind) is typing.ClassVar or kind is typing.ClassVar:
            value = default_of(cls, name)
            value = getattr(cls, name, None) if value is None else value
            if isinstance(value, str | int | enum.Enum):
                found[name] = value
    return found


def _without_fixed(cls: Any, table: Mapping[str, Any]) -> Mapping[str, Any]:
    fixed = _fixed(cls)
    return {name: value for name, value in table.items() if name not in fixed or not is_spelling_of(fixed[name], value)}


def _tagged(classes: list[Any]) -> bool:
    """Tell whether a tag distinguishes all `classes`, so that a table without it means the class of the default."""
    shared = set.intersection(*({*_tags(cls)} for cls in classes))
    return any(len({repr(_tags(cls)[name]) for cls in classes}) == len(classes) for name in shared)


def is_spelling_of(choice: Any, raw: Any) -> bool:
    """Tell whether `raw` is a way to write `choice`, a value or an enum's member."""
    if type(choice) is type(raw) and choice == raw:
        return True
    if isinstance(choice, enum.Enum):
        return is_spelling_of(choice.value, raw) or (isinstance(raw, str) and str(raw) == choice.name)
    return isinstance(raw, str) and str(choice) == str(raw)


def _untagged(classes: list[Any], table: Mapping[str, Any], where: str) -> ConfigError:
    """The error for a tag that no class has."""
    known: dict[str, list[Any]] = {}
    for cls in classes:
        for name, choices in _tags(cls).items():
            known.setdefault(name, []).extend(choices)
    name = next(name for name in table if name in known and not any(is_spelling_of(choice, table[name]) for choice in known[name]))
    shown = [choice.name if isinstance(choice, enum.Enum) else choice for choice in known[name]]
    source = getattr(table[name], "source", None) or f"{where}.{name}"
    return wrong_value_error(table[name], source, "one of " + ", ".join(map(repr, shown)), [str(each) for each in shown])
