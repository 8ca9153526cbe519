"""Values of the type that a field declares, read from TOML values and from plain text.

Identity distinguishes ``1`` from ``1.0`` and from ``"1"``, so a value in a file must become exactly the value that code would have passed.
"""

# Values of every type pass through here, so pyright finds unknown types.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import collections.abc as abc
import enum
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from persistable.errors import ConfigError, ParamsError, PersistableError
from persistable.params.annotations import required_keys, tuple_items
from persistable.params.reducers import dereference
from persistable.project.annotations import bare, fields_of, in_words, parameters_of
from persistable.project.scalars import SCALARS, UntypedText, check_names, config_error, number_of, wrong_value_error
from persistable.project.unions import ClassUnion, Member, chosen, is_spelling_of, union_of, with_default

_NOTHING = ("none", "null")
_WORDS = ("None", "True", "False")
_LISTS = (list, abc.Sequence, abc.MutableSequence, abc.Iterable, abc.Collection)
_DICTS = (dict, abc.Mapping, abc.MutableMapping)
_SETS = {set: set, frozenset: frozenset, abc.Set: frozenset, abc.MutableSet: set}


def read(kind: Any, raw: Any, where: str) -> Any:
    """Convert `raw`, from a file, an environment variable or a caller, to a value of the annotated type `kind`.

    Text is read in the notation of that type: ``false``, ``2024-01-31``, the name of an enum's member, ``[1, 2]`` for a list; classes,
    functions and objects of other types by reference, ``module:name``. A value of the type is returned unchanged. Raises ConfigError,
    naming `where`.
    """
    where = raw.source if isinstance(raw, UntypedText) else where
    declared, kind = kind, bare(kind)
    if kind is Any or kind is object:
        return literal(raw) if isinstance(raw, UntypedText) else raw
    origin = typing.get_origin(kind)
    if _is_union(kind):
        return _one_of(kind, raw, where, declared)
    if origin is typing.Literal:
        return _choice(kind, raw, where)
    held = origin or kind
    if held in SCALARS:
        return SCALARS[held](raw, where)
    if held in _LISTS or held is tuple or held in _SETS or held in _DICTS:
        return _collection(held, kind, raw, where)
    if held is type or held is abc.Callable:
        return _referred(raw, where, callable, in_words(kind))
    if isinstance(held, type):
        return _of_class(held, kind, raw, where)
    return literal(raw) if isinstance(raw, UntypedText) else raw  # a protocol or an unknown type


def literal(text: str) -> Any:
    """The value of `text` as a TOML, JSON or Python literal; as plain text if it is none."""
    import ast
    import json
    import tomllib

    plain = str(text)
    if "\n" not in plain:
        try:
            return tomllib.loads(f"it = {plain}")["it"]
        except (tomllib.TOMLDecodeError, KeyError):
            pass
    parse: Callable[[str], Any]
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(plain)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return plain


def read_fields(cls: Any, given: Mapping[str, Any], where: str, default: Any = None) -> Any:
    """Make a params object of class `cls` from a table of its fields, based on the object `default` if there is one."""
    from persistable.params.building import build, replaced

    fields = fields_of(cls)
    if not fields.open:
        check_names(given, list(fields.kinds), where)
    values = {
        name: read_field(fields.kinds.get(name, Any), raw, f"{where}.{name}", fields.defaults.get(name)) for name, raw in given.items()
    }
    try:
        return replaced(default, values) if default is not None else build(cls, values)
    except ParamsError as error:
        raise config_error(where, error, fields.kinds) from error
    except Exception as error:
        error.add_note(f"while reading {where}")
        raise


def read_arguments(
    maker: Callable[..., Any], given: Mapping[str, Any], where: str, without: Sequence[str] = (), others: Any = Any
) -> dict[str, Any]:
    """Read the keywords of a call of `maker` from a table, each with the type of its parameter.

    without: parameters that a table may not set. others: the type of keywords that are no parameters, if it takes such.
    """
    fields = parameters_of(maker, skip=int(isinstance(maker, type)))
    if not fields.open:
        check_names(given, [name for name in fields.kinds if name not in without], where)
    return {name: read(fields.kinds.get(name, others), raw, f"{where}.{name}") for name, raw in given.items()}


def read_field(kind: Any, raw: Any, where: str, default: Any = None) -> Any:
    """Read as `read` does, except that a table for a field whose default is a params object changes only the fields that it names."""
    if default is None or not _is_params(type(default)):
        return read(kind, raw, where)
    table = literal(raw) if isinstance(raw, UntypedText) and raw.lstrip().startswith("{") else raw
    if not isinstance(table, Mapping):
        return read(kind, raw, where)
    return _of_union(kind, with_default(union_of(kind, _has_fields), default), table, where, default)


def _of_union(kind: Any, union: ClassUnion, table: Mapping[str, Any], where: str, default: Any = None) -> Any:
    """Read a table as the matching class of `union`; if none matches, as the dict that `kind` may admit as well."""

    def make(cls: Any, given: Mapping[str, Any], base: Any) -> Any:
        return read_fields(cls, given, where, base) if _is_params(cls) else _of_class(cls, cls, given, where)

    try:
        return chosen(union, table, where, default, make)
    except ConfigError:
        members = [bare(each) for each in typing.get_args(bare(kind))] if _is_union(bare(kind)) else []
        dicts = [each for each in members if (typing.get_origin(each) or each) in _DICTS]
        if not dicts:
            raise
        return read(dicts[0], table, where)


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _has_fields(cls: Any) -> bool:
    if typing.is_typeddict(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields")):
        return True
    return not getattr(cls, "__pydantic_root_model__", False) and _is_params(cls)


# ------------------------------------------------------------------ the kinds of types


def _one_of(kind: Any, raw: Any, where: str, declared: Any) -> Any:
    members = [bare(member) for member in typing.get_args(kind)]
    text = isinstance(raw, UntypedText)
    if type(None) in members:
        if raw is None or (isinstance(raw, str) and (text or str not in members) and raw.lower() in _NOTHING):
            return None
        members.remove(type(None))
    table = literal(raw) if text and raw.lstrip().startswith("{") else raw
    if isinstance(table, Mapping):
        union = union_of(declared, _has_fields)
        if union.members:
            return _of_union(kind, union, table, where)
    exact = [member for member in members if type(raw) is member]
    if isinstance(raw, str):
        last = [member for member in members if member in (str, Any)]
        exact = last if not text else []
        members = [member for member in members if member not in last] + last
    trouble: list[str] = []
    for member in [*exact, *members]:
        try:
            if member is str and text:
                return _unquoted(raw)
            return read(member, raw, where)
        except ConfigError as error:
            trouble.append(str(error))
    if len(members) == 1:
        raise ConfigError(trouble[0], where=where, accepted=[])
    raise wrong_value_error(raw, where, in_words(kind))


def _unquoted(text: str) -> str:
    """`text` without its quotes, if any, which distinguish the text ``"none"`` from None."""
    found = literal(text) if text[:1] in ('"', "'") else text
    return str(found if isinstance(found, str) else text)


def _choice(kind: Any, raw: Any, where: str) -> Any:
    choices = typing.get_args(kind)
    for choice in choices:
        if type(choice) is type(raw) and choice == raw:
            return choice
    for choice in choices:
        if isinstance(choice, enum.Enum) and is_spelling_of(choice, raw):
            return choice
    if isinstance(raw, str):
        for choice in choices:
            if str(choice) == raw or (str(choice) in _WORDS and str(choice).lower() == raw.lower()):
                return choice
    raise wrong_value_error(raw, where, "one of " + ", ".join(map(repr, choices)), [str(choice) for choice in choices])


def _collection(held: Any, kind: Any, raw: Any, where: str) -> Any:
    arguments = typing.get_args(kind)
    if isinstance(raw, str):
        raw = literal(raw)
    if held in _DICTS:
        if not isinstance(raw, Mapping):
            raise wrong_value_error(raw, where, 'a table, such as {a = 1} or {"a": 1}')
        key, value = arguments or (Any, Any)
        return {read(key, name, where): read(value, item, f"{where}.{name}") for name, item in raw.items()}
    if not isinstance(raw, list | tuple | set | frozenset | range):
        raise wrong_value_error(raw, where, "a list, such as [1, 2]")
    items = list(raw)
    if held is tuple:
        return _tuple(kind, items, where)
    item_kind = arguments[0] if arguments else Any
    made = [read(item_kind, item, f"{where}[{place}]") for place, item in enumerate(items)]
    return _SETS[held](made) if held in _SETS else made


def _tuple(kind: Any, items: list[Any], where: str) -> tuple[Any, ...]:
    kinds = tuple_items(kind, bare)
    if ... in kinds:
        at = kinds.index(...)
        kinds = (*kinds[: at - 1], *[kinds[at - 1]] * (len(items) - len(kinds) + 2), *kinds[at + 1 :])
    if len(kinds) != len(items):
        raise wrong_value_error(items, where, f"a list of {len(kinds)} values")
    return tuple([read(kind, item, f"{where}[{place}]") for place, (kind, item) in enumerate(zip(kinds, items, strict=True))])


def _of_class(cls: type, kind: Any, raw: Any, where: str) -> Any:
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and issubclass(cls, numpy.generic | numpy.ndarray):
        return _of_numpy(numpy, cls, kind, raw, where)
    if typing.is_typeddict(cls):
        return _named(cls, raw, where)
    if isinstance(raw, cls) and not isinstance(raw, UntypedText):
        return raw
    if issubclass(cls, enum.Enum):
        return (_flags if issubclass(cls, enum.Flag) else _member)(cls, raw, where)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _named(cls, raw, where)
    if getattr(cls, "__pydantic_root_model__", False):
        root_model: Any = cls
        return root_model(read(root_model.model_fields["root"].annotation, raw, where))
    if _is_params(cls):
        table = literal(raw) if isinstance(raw, str) else raw
        if isinstance(table, Mapping):
            return _of_union(cls, ClassUnion([Member(cls)]), table, where)
        if isinstance(raw, str) and _REFERENCE.fullmatch(raw):
            return _referred(raw, where, lambda value: isinstance(value, cls), in_words(kind))
        raise wrong_value_error(raw, where, f"a table of {', '.join(fields_of(cls).kinds) or 'nothing'}")
    if issubclass(cls, PurePath) and isinstance(raw, str):
        return cls(str(raw))
    for base in cls.__mro__[1:-1]:
        if base in SCALARS:
            return _made(cls, SCALARS[base](raw, where), where)
    if cls.__module__ in ("ipaddress", "zoneinfo") and isinstance(raw, str):
        return _made(cls, str(raw), where)
    return _referred(raw, where, lambda value: isinstance(value, cls), in_words(kind))


def _made(cls: Any, value: Any, where: str) -> Any:
    try:
        return cls(value)
    except Exception as error:
        raise config_error(where, f"is {value!r:.60}, which is no {cls.__name__}: {error}") from error


def _is_params(cls: Any) -> bool:
    from persistable.params.fields import spec_of
    from persistable.params.reduced_values import Refused

    try:
        return isinstance(cls, type) and spec_of(cls) is not None
    except Refused:
        return False


def _flags(cls: Any, raw: Any, where: str) -> Any:
    """Read combined flags: a list of names, names with ``|`` between them, or their number."""
    found = literal(raw) if isinstance(raw, str) and raw.lstrip().startswith(("[", "(", '"', "'")) else raw
    if isinstance(found, str) and "|" in found:
        found = [name.strip() for name in found.split("|")]
    if isinstance(found, list | tuple | set | frozenset):
        made = cls(0)
        for item in found:
            made |= _member(cls, item, where)
        return made
    number = int(found) if isinstance(found, str) and found.strip().isdecimal() else found
    if type(number) is int:
        try:
            return cls(number)
        except ValueError:
            raise wrong_value_error(
                raw, where, f"one of {', '.join(cls.__members__)}, or some with | between", list(cls.__members__)
            ) from None
    return _member(cls, found, where)


def _member(cls: Any, raw: Any, where: str) -> Any:
    if isinstance(raw, cls):
        return raw
    if isinstance(raw, str):
        raw = raw.strip().removeprefix(f"{cls.__name__}.")
    members: dict[str, Any] = cls.__members__
    if isinstance(raw, str) and raw in members:
        return members[raw]
    for member in members.values():
        if is_spelling_of(member, raw):
            return member
    raise wrong_value_error(raw, where, f"one of {', '.join(members)}", members)


def _named(cls: Any, raw: Any, where: str) -> Any:
    """Read a named tuple, from a list or table of its fields, or a typed dict, from a table."""
    hints = fields_of(cls).kinds
    table = literal(raw) if isinstance(raw, str) else raw
    is_tuple = issubclass(cls, tuple)
    if is_tuple and isinstance(table, list | tuple) and len(table) <= len(hints):
        table = dict(zip(hints, table, strict=False))
    if not isinstance(table, Mapping):
        raise wrong_value_error(raw, where, f"a {'list or ' if is_tuple else ''}table of {', '.join(hints)}")
    check_names(table, list(hints), where)
    required = hints.keys() - getattr(cls, "_field_defaults", {}).keys() if is_tuple else required_keys(cls)
    missing = [name for name in hints if name in required and name not in table]
    if missing:
        raise wrong_value_error(raw, where, f"a value for {', '.join(missing)} too")
    values = {name: read(hints[name], item, f"{where}.{name}") for name, item in table.items()}
    return cls(**values) if is_tuple else values


def _of_numpy(numpy: Any, cls: Any, kind: Any, raw: Any, where: str) -> Any:
    if isinstance(raw, cls):
        return raw
    try:
        if issubclass(cls, numpy.ndarray):
            types_in = [argument for argument in typing.get_args(kind)[1:] for argument in typing.get_args(argument)]
            dtype = types_in[0] if types_in and isinstance(types_in[0], type) and types_in[0] not in _ABSTRACT else None
            found = literal(raw) if isinstance(raw, str) else raw
            if not isinstance(found, list):
                raise wrong_value_error(raw, where, "a list, such as [1.0, 2.0]")
            return numpy.array(found, dtype=dtype)
        if issubclass(cls, numpy.datetime64 | numpy.timedelta64 | numpy.str_):
            return cls(str(raw) if isinstance(raw, str) else raw)
        if issubclass(cls, numpy.bool_):
            return cls(SCALARS[bool](raw, where))
        whole = issubclass(cls, numpy.integer)
        number = number_of(int if whole else complex if issubclass(cls, numpy.complexfloating) else float, raw, where)
        made = cls(number)
        if whole and int(made) != number:
            raise OverflowError(f"{number} is out of its range")
        return made
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, PersistableError):
            raise
        raise config_error(where, f"is {raw!r:.60}, which is no {cls.__name__}: {error}") from error


_ABSTRACT: tuple[Any, ...] = (Any,)


_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def _referred(raw: Any, where: str, fits: Callable[[Any], bool], words: str) -> Any:
    if isinstance(raw, str) and _REFERENCE.fullmatch(raw):
        try:
            raw = dereference(str(raw))
        except ParamsError as error:
            raise config_error(where, error) from error
    if not isinstance(raw, UntypedText) and fits(raw):
        return raw
    raise wrong_value_error(raw, where, f"{words}, as module:name")


__all__ = ["literal", "read", "read_arguments", "read_field", "read_fields"]
