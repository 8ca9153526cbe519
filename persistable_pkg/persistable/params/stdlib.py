"""Values of standard-library types: each reduced to a tag and plain content, and rebuilt from them."""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import sys

from persistable.params.fields import name_in_identity
from persistable.params.reduced_values import Parts, Refused, Tagged
from persistable.params.reducers import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from persistable.params.reduced_values import Reduce


def reducer(cls: type) -> Reduce | None:
    """The function that reduces values of `cls`, if it comes with Python or is an enum or named tuple; else None."""
    if any(base.__module__ == "enum" for base in cls.__mro__) and isinstance(cls, sys.modules["enum"].EnumMeta):
        return _flag if issubclass(cls, sys.modules["enum"].Flag) else _enum
    if tuple in cls.__mro__[1:] and isinstance(getattr(cls, "_fields", None), tuple) and hasattr(cls, "_make"):
        return _namedtuple
    found = _EXACT.get(f"{cls.__module__}:{cls.__qualname__}")
    # a class of the user's may have such a name too: only the one that can be imported by it is meant
    module = sys.modules.get(cls.__module__)
    if found is not None and (
        cls.__module__ == "builtins" or getattr(module, cls.__qualname__, None) is cls or cls.__module__ in _ELSEWHERE
    ):
        return found
    return None


_ELSEWHERE = ("types",)

# ------------------------------------------------------------------ made by users


def _enum(value: Any) -> Tagged:
    content = Parts({"class": name_in_identity(type(value)), "member": value.name})
    from persistable.errors import UntrackableParam
    from persistable.params.encoding import encode

    try:
        encode(value._value_)
    except UntrackableParam:
        pass  # a member is distinguished by its name as well
    else:
        content["value"] = value._value_
    return Tagged("enum", content, type(value))


def _flag(value: Any) -> Tagged:
    return Tagged("flag", Parts({"class": name_in_identity(type(value)), "value": value._value_}), type(value))


def _namedtuple(value: Any) -> Tagged:
    if getattr(value, "__dict__", None):
        raise Refused("it holds attributes beside its fields", "make it a dataclass")
    cls = type(value)
    return Tagged("namedtuple", (name_in_identity(cls), tuple(zip(cls._fields, tuple(value), strict=True))), cls)


# ------------------------------------------------------------------ times


def _clock(value: Any) -> Tagged:
    """A ``datetime`` or ``time``."""
    tag, zone = "datetime" if hasattr(value, "year") else "time", value.tzinfo
    if zone is None:
        return Tagged(tag, (value.isoformat(), value.fold))
    text = value.replace(tzinfo=None).isoformat()
    offset = fixed_offset(zone)
    return Tagged(tag, (text, value.fold, zone) if offset is None else (text, 0, _duration(offset)))


def fixed_offset(zone: Any) -> Any:
    """The offset of a zone that has one for all times, on every machine; None for any other, whose identity is its name."""
    kind = type(zone).__name__
    if kind in ("ZoneInfo", "tzlocal", "tzfile"):  # those of dateutil have no names
        return None
    try:
        return zone.utcoffset(None)
    except Exception:  # noqa: BLE001 - a zone of the user
        return None


def _duration(value: Any) -> Tagged:
    return Tagged("timedelta", (value.days, value.seconds, value.microseconds))


def _zone(value: Any) -> Tagged:
    if value.key is None:
        raise Refused("this time zone was read from a file and has no name", "make it with ZoneInfo(name)")
    return Tagged("zoneinfo", value.key)


# ------------------------------------------------------------------ numbers and containers


def _decimal(value: Any) -> Tagged:
    sign, digits, exponent = value.as_tuple()
    return Tagged("decimal", (sign, "".join(map(str, digits)), exponent))


def _partial(value: Any) -> Tagged:
    if value.__dict__:
        raise Refused("this partial holds attributes of its own", "make it anew from its function and arguments")
    return Tagged("partial", Parts(func=value.func, args=value.args, keywords=value.keywords))


def _alias(value: Any) -> Any:
    import typing

    origin = typing.get_origin(value)
    if origin is None:
        return Tagged("reference", reference(value))
    if origin is typing.Union or type(value).__name__ == "UnionType":
        return Tagged("union", frozenset(typing.get_args(value)))
    return Tagged("alias", (origin, typing.get_args(value)))


def _special(value: Any) -> Tagged:
    return Tagged("reference", f"typing:{value._name}")


def _module(value: Any) -> Tagged:
    found: Any = sys.modules.get(value.__name__)
    if found is not value:
        raise Refused(f"importing {value.__name__} gives another module", "name a module that can be imported")
    return Tagged("module", value.__name__)


def _content(tag: str, content: Callable[[Any], Any]) -> Reduce:
    return lambda value: Tagged(tag, content(value))


_PATH = _content("path", lambda p: p.as_posix())
_PATHS = ("PurePath", "PurePosixPath", "PureWindowsPath", "Path", "PosixPath", "WindowsPath")

_EXACT: dict[str, Reduce] = {
    **{f"{module}:{name}": _PATH for module in ("pathlib", "pathlib._local") for name in _PATHS},
    "argparse:Namespace": _content("argparse.Namespace", lambda n: dict(vars(n))),
    "array:array": _content("array.array", lambda a: (a.typecode, a.tolist())),
    "builtins:NotImplementedType": _content("NotImplemented", lambda _: None),
    "builtins:bytearray": _content("bytearray", bytes),
    "builtins:complex": _content("complex", lambda c: (c.real, c.imag)),
    "builtins:ellipsis": _content("Ellipsis", lambda _: None),
    "builtins:mappingproxy": _content("mappingproxy", dict),
    "builtins:module": _module,
    "builtins:range": _content("range", lambda r: (r.start, r.stop, r.step)),
    "builtins:slice": _content("slice", lambda s: Parts(start=s.start, stop=s.stop, step=s.step)),
    "collections.abc:_CallableGenericAlias": _alias,
    "collections:Counter": _content("Counter", dict),
    "collections:OrderedDict": _content("OrderedDict", lambda d: tuple(d.items())),
    "collections:defaultdict": lambda value: Tagged("defaultdict", Parts(default_factory=value.default_factory, items=dict(value))),
    "collections:deque": _content("deque", lambda d: Parts(items=list(d), maxlen=d.maxlen)),
    "datetime:date": _content("date", lambda d: d.isoformat()),
    "datetime:datetime": _clock,
    "datetime:time": _clock,
    "datetime:timedelta": _duration,
    "datetime:timezone": _content("timezone", lambda z: z.utcoffset(None)),
    "decimal:Decimal": _decimal,
    "fractions:Fraction": _content("fraction", lambda f: (f.numerator, f.denominator)),
    "functools:partial": _partial,
    "ipaddress:IPv4Address": _content("ipaddress", str),
    "ipaddress:IPv6Address": _content("ipaddress", str),
    "re:Pattern": _content("regex", lambda p: Parts(pattern=p.pattern, flags=p.flags)),
    "types:GenericAlias": _alias,
    "types:UnionType": _alias,
    "typing:Union": _alias,
    "typing:_AnnotatedAlias": _alias,
    "typing:_CallableGenericAlias": _alias,
    "typing:_GenericAlias": _alias,
    "typing:_LiteralGenericAlias": _alias,
    "typing:_SpecialForm": _special,
    "typing:_SpecialGenericAlias": _special,
    "typing:_TypedCacheSpecialForm": _special,
    "typing:_UnionGenericAlias": _alias,
    "uuid:UUID": _content("uuid", str),
    "zoneinfo:ZoneInfo": _zone,
}
