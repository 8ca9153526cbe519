"""`Check`: a declared type, compiled to a function that tests values and converts those that differ from it only in form.

A check returns the value it was given (the same object) if there is nothing to convert, or an exactly equal one of the type (`1.0`
for `1`, a tuple for a list), or raises Mismatch. Types that cannot be judged (protocols, arrays, type variables and others) accept any
value. ``docs/design/declared-types.md`` lists the rule of each kind of type.
"""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import abc
import collections
import collections.abc
import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePath
from typing import Any, NamedTuple

from persistable.errors import ParamsError
from persistable.params.annotations import aliased, evaluated, names_for, required_keys, tuple_items
from persistable.params.building import did_you_mean
from persistable.params.field_checks import anything, of_class
from persistable.params.mismatch import Mismatch, as_python, is_placeholder, listed, mismatch_unless_placeholder
from persistable.params.numpy_scalars import is_concrete, is_scalar
from persistable.params.scalar_checks import EXACT, instance_of, is_of, number_of, path_of, scalar_of

Converter = Callable[[Any], Any]


class Check(NamedTuple):
    """exact: the types whose values all fit as they are. convert: checks all other values. words: the type, for errors."""

    exact: frozenset[type]
    convert: Converter
    words: str
    conclusive: bool = True
    """False for types that cannot be tested, such as protocols: they accept any value, so that a union tries them last."""

    def at(self, step: Any, value: Any) -> Any:
        """Return `value`, held at `step` of another value, checked. Raises Mismatch with that step."""
        if type(value) in self.exact:
            return value
        try:
            return self.convert(value)
        except Mismatch as mismatch:
            raise mismatch.under(step) from None


class Scope(NamedTuple):
    """The scope of names and type variables in an annotation."""

    names: Mapping[str, Any]
    bound: Mapping[Any, Any]


_SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes})
ANYTHING = Check(_SCALARS, anything, "Any")
_ARRAYS = ("numpy", "pandas", "polars", "pyarrow", "xarray", "torch", "jax", "jaxtyping", "scipy", "dask", "zarr", "cupy", "tensorflow")
_PLAIN_METACLASSES = {type, abc.ABCMeta, enum.EnumMeta}
_DEEPEST = 50


def check_pin(pin: Any, check: Check, place: str) -> None:
    """Raise ParamsError if the value of `omit_when` is one that the field at `place` never has, so that it would never be left out."""
    if type(pin) in check.exact:
        return
    from persistable.params.encoding import encode

    try:
        made = check.convert(pin)
    except Mismatch:
        raise ParamsError(f"{place}: omit_when({pin!r}) is never met, since {place} takes {check.words}") from None
    if encode(made, place) != encode(pin, place):
        raise ParamsError(f"{place}: omit_when({pin!r}) is never met, since {place} takes {check.words}; write omit_when({made!r})")


def check_of(annotation: Any, names: Mapping[str, Any], bound: Mapping[Any, Any] | None = None) -> Check:
    """The check for an annotation. Text and forward references in it are evaluated among `names`; `bound` maps type variables to types."""
    try:
        return _compiled(annotation, Scope(names, bound or {}), 0)
    except (RecursionError, TypeError, AttributeError, ValueError):  # an unusual annotation may raise any of these: it cannot be judged
        return ANYTHING


def of_all(parameter: inspect.Parameter, names: Mapping[str, Any]) -> Any:
    """The annotation of a parameter; of ``*args`` and ``**kwargs`` the type of the tuple or dict that they form."""
    annotation: Any = parameter.annotation
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        if isinstance(annotation, str):  # in brackets, as a star alone is no expression
            annotation = next(iter(typing.get_args(evaluated(f"tuple[{annotation}]", dict(names)))), Any)
        is_unpacked = getattr(annotation, "__unpacked__", False) or typing.get_origin(annotation) is typing.Unpack
        return tuple[annotation] if is_unpacked else tuple[annotation, ...]
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        annotation = bare(annotation, Scope(names, {}))
        return typing.get_args(annotation)[0] if typing.get_origin(annotation) is typing.Unpack else dict[str, annotation]
    return annotation


def _compiled(annotation: Any, scope: Scope, depth: int) -> Check:
    if depth > _DEEPEST:  # an alias that names itself
        return ANYTHING
    inner = partial(_compiled, scope=scope, depth=depth + 1)
    kind = bare(annotation, scope)
    if kind is Any or kind is object:
        return ANYTHING
    if kind is type(None):
        return Check(frozenset({kind}), EXACT[kind], "None")
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Union or origin is types.UnionType:
        return _union([inner(each) for each in arguments])
    if origin is typing.Literal:
        return _literal(arguments)
    cls: Any = origin or kind
    if cls is getattr(typing, "LiteralString", None):
        cls = str
    if not isinstance(cls, type):
        return _unjudged(kind)
    if cls in EXACT:
        return Check(frozenset({cls}), EXACT[cls], cls.__name__)
    build = _GENERIC.get(cls)
    if build is not None:
        return build(cls, tuple_items(kind, partial(bare, scope=scope)) if cls is tuple else arguments, inner)
    return _of_class(cls, arguments, kind, scope)


def bare(annotation: Any, scope: Scope) -> Any:
    """The type inside an annotation, without `Annotated` and its like; `Any` where it is unknown."""
    for _ in range(_DEEPEST):
        if annotation is None:
            return type(None)
        if isinstance(annotation, str):
            annotation = evaluated(annotation, dict(scope.names))
        elif isinstance(annotation, typing.ForwardRef):
            annotation = evaluated(annotation.__forward_arg__, dict(scope.names))
        elif isinstance(annotation, typing.TypeVar):
            if annotation not in scope.bound:
                return Any
            annotation = scope.bound[annotation]
        elif hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
        elif typing.get_origin(annotation) in _WRAPPERS:
            annotation = typing.get_args(annotation)[0]
        elif type(annotation).__name__ == "InitVar":
            annotation = annotation.type
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        elif type(typing.get_origin(annotation)).__name__ == "TypeAliasType":
            annotation = aliased(annotation)
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        else:
            return Any if annotation is typing.Final or annotation is inspect.Parameter.empty else annotation
    return Any


_WRAPPERS = (typing.Final, typing.Required, typing.NotRequired, typing.ClassVar, getattr(typing, "ReadOnly", typing.Final))


def _words(kind: Any) -> str:
    if isinstance(kind, type) and not typing.get_args(kind):
        return kind.__qualname__.rpartition("<locals>.")[2]
    return str(kind).replace("typing.", "").replace("collections.abc.", "")


def _unjudged(kind: Any, fits: Callable[[Any], bool] = lambda value: type(value) not in _SCALARS, made: Converter = anything) -> Check:
    """A check for a type that cannot be judged: it applies `made` only. A union tries it last, for values that `fits` accepts."""

    def convert(value: Any) -> Any:
        return made(value)

    convert.fits = fits  # type: ignore[attr-defined]
    return Check(frozenset(), convert, _words(kind), conclusive=False)


# ------------------------------------------------------------------ choices


def _union(members: list[Check]) -> Check:
    if any(member is ANYTHING for member in members):
        return ANYTHING
    words = " or ".join(dict.fromkeys(member.words for member in members))
    sure = [member.convert for member in members if member.conclusive]
    unsure = [member.convert for member in members if not member.conclusive]

    roles = [member.convert for member in members if any(getattr(each, "_node_is_node", False) is True for each in member.exact)]

    def convert(value: Any) -> Any:
        kept: list[Any] = []
        trouble: Mismatch | None = None
        asked = roles if roles and getattr(type(value), "_node_is_node", False) is True else sure  # a node fits all but roles
        for member in asked:
            try:
                made = member(value)
            except Mismatch as mismatch:
                if mismatch.at or trouble is None or (mismatch.hint and not trouble.hint):
                    trouble = mismatch
                continue
            if made is value:
                return value
            kept.append(made)
        if kept:
            return kept[0]
        for member in unsure:
            if member.fits(value):  # type: ignore[attr-defined]
                return member(value)
        if trouble is not None and (trouble.at or asked is roles):
            raise trouble
        return mismatch_unless_placeholder(value, words, trouble.hint if trouble is not None else "")

    return Check(frozenset[type]().union(*[member.exact for member in members]), convert, words)


def _literal(choices: tuple[Any, ...]) -> Check:
    known = {(type(choice), choice): choice for choice in choices}
    words = "one of " + ", ".join(map(repr, choices))
    texts = [choice for choice in choices if isinstance(choice, str)]

    def convert(value: Any) -> Any:
        made = as_python(value)
        try:
            if (type(made), made) in known:
                return made
        except TypeError:
            pass
        return mismatch_unless_placeholder(value, words, did_you_mean(value, texts, "{}") if isinstance(value, str) else "")

    return Check(frozenset(), convert, words)


# ------------------------------------------------------------------ containers


def _items(value: Any, item: Check) -> list[Any] | None:
    """The items of `value`, some of them converted; None where none had to be."""
    return None if {*map(type, value)} <= item.exact else _each(value, [item] * len(value))


def _list(_: Any, arguments: tuple[Any, ...], inner: Callable[[Any], Check]) -> Check:
    item = inner(arguments[0]) if arguments else ANYTHING
    words = f"list[{item.words}]" if arguments else "list"

    def convert(value: Any) -> Any:
        if type(value) is not list and type(value) is not tuple:
            return value if isinstance(value, list) else listed(value) or mismatch_unless_placeholder(value, words)
        changed = _items(value, item)
        return changed if changed is not None else value if type(value) is list else list(value)

    return Check(frozenset(), convert, words)


def _tuple(_: Any, arguments: tuple[Any, ...], inner: Callable[[Any], Check]) -> Check:
    at = arguments.index(...) if ... in arguments else len(arguments)
    many = inner(arguments[at - 1]) if at < len(arguments) else None
    first, last = [[inner(each) for each in part] for part in (arguments[: at - 1] if many else arguments, arguments[at + 1 :])]
    least = len(first) + len(last)
    parts = [each.words for each in first] + ([f"*tuple[{many.words}, ...]"] if many else []) + [each.words for each in last]
    words = f"tuple[{', '.join(parts) or '()'}]" if least or many is None else "tuple" if many is ANYTHING else f"tuple[{many.words}, ...]"

    def convert(value: Any) -> Any:
        if not isinstance(value, tuple | list):
            value = listed(value) or mismatch_unless_placeholder(value, words)
        if type(value) is not tuple and type(value) is not list:
            return value  # a named tuple
        if many is not None and not least:
            changed: Any = _items(value, many)
        elif len(value) < least or (many is None and len(value) > least):
            raise Mismatch(value, words, f"it holds {len(value)} item{'s' if len(value) != 1 else ''}")
        else:
            changed = _each(value, first if many is None else [*first, *[many] * (len(value) - least), *last])
        return value if changed is None and type(value) is tuple else tuple(value if changed is None else changed)

    return Check(frozenset(), convert, words)


def _each(value: Any, checks: list[Check]) -> list[Any] | None:
    changed: list[Any] | None = None
    for place, (each, check) in enumerate(zip(value, checks, strict=True)):
        made = check.at(place, each)
        if made is not each:
            changed = list(value) if changed is None else changed
            changed[place] = made
    return changed


def _set(cls: Any, arguments: tuple[Any, ...], inner: Callable[[Any], Check]) -> Check:
    item = inner(arguments[0]) if arguments else ANYTHING
    name = cls.__name__.lower() if cls in (set, frozenset) else cls.__name__
    words = f"{name}[{item.words}]" if arguments else name

    def convert(value: Any) -> Any:
        if cls is frozenset and type(value) is set:
            value = frozenset(value)
        if not isinstance(value, cls):
            return mismatch_unless_placeholder(
                value, words, f"write {name}(...) of it" if isinstance(value, list | tuple | set | frozenset) else ""
            )
        if type(value) is not set and type(value) is not frozenset:
            return value
        changed = _items(value, item)
        return value if changed is None else type(value)(changed)

    return Check(frozenset(), convert, words)


def _dict(cls: Any, arguments: tuple[Any, ...], inner: Callable[[Any], Check]) -> Check:
    if cls is collections.Counter and arguments:
        arguments = (arguments[0], int)
    key, item = (inner(each) for each in arguments) if len(arguments) == 2 else (ANYTHING, ANYTHING)
    name = cls.__name__
    words = f"{name}[{key.words}, {item.words}]" if arguments else name

    def convert(value: Any) -> Any:
        if not isinstance(value, cls):
            return mismatch_unless_placeholder(value, words)
        if not isinstance(value, dict):
            return value
        changes = _pairs(value, key, item)
        if changes is None:
            return value
        made = value.copy()
        made.clear()
        made.update(changes)
        return made

    return Check(frozenset(), convert, words)


def _pairs(value: dict[Any, Any], key: Check, item: Check) -> dict[Any, Any] | None:
    changed = False
    made: dict[Any, Any] = {}
    for name, each in value.items():
        new_name, new = key.at((name,), name), item.at((name,), each)
        changed = changed or new_name is not name or new is not each
        made[new_name] = new
    return made if changed else None


def _sequence(cls: Any, arguments: tuple[Any, ...], inner: Callable[[Any], Check]) -> Check:
    item = inner(arguments[0]) if arguments else ANYTHING
    words = f"{cls.__name__}[{item.words}]" if arguments else cls.__name__
    ordered = cls in (collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Reversible)

    def convert(value: Any) -> Any:
        kind = type(value)
        if kind is str or kind is bytes:
            if item is not ANYTHING and value:
                _items([value[0]], item)
            return value
        if kind in _SCALARS:
            return mismatch_unless_placeholder(value, words)
        if kind is list or kind is tuple or (not ordered and kind in (set, frozenset)):
            changed = _items(value, item)
            return value if changed is None else kind(changed)
        if ordered and kind in (set, frozenset, dict):
            return mismatch_unless_placeholder(value, words)
        return value if isinstance(value, cls) or hasattr(value, "__iter__") else mismatch_unless_placeholder(value, words)

    return Check(frozenset(), convert, words)


def _deque(_: Any, arguments: tuple[Any, ...], inner: Callable[[Any], Check]) -> Check:
    item = inner(arguments[0]) if arguments else ANYTHING

    def convert(value: Any) -> Any:
        if not isinstance(value, collections.deque):
            return mismatch_unless_placeholder(value, "deque")
        changed = _items(value, item)
        return value if changed is None else collections.deque(changed, value.maxlen)

    return Check(frozenset(), convert, "deque")


_GENERIC: dict[Any, Callable[[Any, tuple[Any, ...], Callable[[Any], Check]], Check]] = {
    list: _list,
    tuple: _tuple,
    **dict.fromkeys((set, frozenset, collections.abc.Set, collections.abc.MutableSet), _set),
    **dict.fromkeys((dict, collections.abc.Mapping, collections.abc.MutableMapping, collections.OrderedDict), _dict),
    **dict.fromkeys((collections.defaultdict, collections.Counter), _dict),
    collections.abc.Sequence: _sequence,
    collections.abc.MutableSequence: _sequence,
    collections.abc.Reversible: _sequence,
    collections.abc.Collection: _sequence,
    collections.abc.Iterable: _sequence,
    collections.deque: _deque,
    collections.abc.Callable: lambda cls, *_: _unjudged(cls, callable),
    type: lambda cls, *_: _unjudged(cls, lambda value: isinstance(value, type)),
}

# ------------------------------------------------------------------ classes


def _of_class(cls: Any, arguments: tuple[Any, ...], kind: Any, scope: Scope) -> Check:
    if getattr(cls, "_node_is_node", False) is True:
        return Check(frozenset({cls}), cls.checked_role, _words(cls))
    if is_scalar(cls) and is_concrete(cls):
        return _unjudged(kind, partial(is_of, cls), scalar_of(cls))
    if cls.__module__.partition(".")[0] in _ARRAYS or getattr(cls, "_is_protocol", False):
        return _unjudged(kind, _protocol(cls) if getattr(cls, "_is_protocol", False) else lambda value: type(value) not in _SCALARS)
    if typing.is_typeddict(cls):
        return _typed_dict(cls, names_for(cls))
    if issubclass(cls, PurePath):
        return Check(frozenset(), path_of(cls), cls.__name__)
    if cls.__module__ == "numbers":
        return Check(frozenset(), number_of(cls), cls.__name__)
    if cls.__module__ == "collections.abc" or is_placeholder(cls) or not _is_plain(cls):
        return _unjudged(kind)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _named_tuple(cls, names_for(cls))
    if cls.__module__ in ("datetime", "decimal", "fractions", "uuid", "re", "builtins", "zoneinfo", "ipaddress"):
        return Check(frozenset({cls}), instance_of(cls), _words(cls))
    return Check(frozenset(), of_class(cls, arguments, _words(kind), scope.bound), _words(kind))


def _is_plain(cls: Any) -> bool:
    """Tell whether ``isinstance`` tests real membership in `cls`."""
    return type(cls) in _PLAIN_METACLASSES or "__pydantic_decorators__" in cls.__dict__


def _protocol(cls: Any) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        try:
            return isinstance(value, cls)
        except TypeError:  # a protocol that is not for run time
            return type(value) not in _SCALARS

    return fits


def _typed_dict(cls: Any, names: dict[str, Any]) -> Check:
    hints = {name: check_of(annotation, names) for name, annotation in typing.get_type_hints(cls, include_extras=True).items()}
    words, required = cls.__qualname__.rpartition("<locals>.")[2], required_keys(cls)

    def convert(value: Any) -> Any:
        if not isinstance(value, dict):
            return mismatch_unless_placeholder(value, words)
        absent = sorted(required - value.keys())
        if absent:
            raise Mismatch(value, words, f"it has no {', '.join(map(repr, absent))}")
        changes: dict[Any, Any] = {}
        for name, each in value.items():
            check = hints.get(name)
            if check is None:
                raise Mismatch(value, words, f"it has no {name!r}{did_you_mean(str(name), hints, ': {}')}")
            made = check.at((name,), each)
            if made is not each:
                changes[name] = made
        return {**value, **changes} if changes else value

    return Check(frozenset(), convert, words)


def _named_tuple(cls: Any, names: dict[str, Any]) -> Check:
    from persistable.params.annotations import own_annotations

    hints = own_annotations(cls)
    checks = [check_of(hints.get(name, Any), names) for name in cls._fields]
    fields: list[str] = list(cls._fields)
    is_one = of_class(cls, (), _words(cls), {})

    def convert(value: Any) -> Any:
        value = is_one(value)
        if is_placeholder(type(value)):
            return value
        try:
            changed = _each(tuple(value), checks)
        except Mismatch as mismatch:
            mismatch.at[0] = fields[mismatch.at[0]]
            raise
        return value if changed is None else cls._make(changed)

    return Check(frozenset(), convert, _words(cls))
