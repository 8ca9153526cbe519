"""Values made again from the tag and content they were reduced to."""

# Values of every type pass through here, so pyright may find what it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from persistable.errors import ParamsError
from persistable.params.references import dereference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ARRAYS = ("array", "matrix", "recarray", "masked", "scalar", "dtype", "numpy.ma.masked")
_PANDAS = ("pandas.Timestamp", "pandas.Timedelta", "pandas.Period", "pandas.Interval", "pandas.offset", "pandas.NaT", "pandas.NA")


def rebuild(tag: str, content: Any, where: str = "") -> Any:
    """The value that was reduced to `content` under `tag`; `where` is the reference of its class, for types of the user's.

    Raises ParamsError for types that cannot be made again from what is kept.
    """
    if tag in _ARRAYS:
        from persistable.params import arrays

        return arrays.rebuild(tag, content)
    if tag in _PANDAS:
        from persistable.params import frames

        return frames.rebuild(tag, content)
    if where and tag in _OF_USERS:
        return _OF_USERS[tag](dereference(where), content)
    found = _REBUILD.get(tag)
    if found is None:
        raise ParamsError(f"a value of kind {tag!r} cannot be made again from a record; give it anew")
    return found(content)


_OF_USERS: dict[str, Any] = {
    "enum": lambda cls, content: cls[content["member"]],
    "flag": lambda cls, content: cls(content["value"]),
    "namedtuple": lambda cls, content: cls._make(value for _, value in content[1]),
}


def _datetime(content: Any) -> Any:
    from datetime import datetime, timedelta, timezone

    made = datetime.fromisoformat(content[0]).replace(fold=content[1])
    if len(content) < 3:
        return made
    return made.replace(tzinfo=timezone(content[2]) if isinstance(content[2], timedelta) else content[2])


def _namespace(content: Any) -> Any:
    from argparse import Namespace

    return Namespace(**content)


def _time(content: Any) -> Any:
    from datetime import time, timedelta, timezone

    made = time.fromisoformat(content[0]).replace(fold=content[1])
    if len(content) < 3:
        return made
    return made.replace(tzinfo=timezone(content[2]) if isinstance(content[2], timedelta) else content[2])


def _date(content: str) -> Any:
    from datetime import date

    return date.fromisoformat(content)


def _timedelta(content: Any) -> Any:
    from datetime import timedelta

    return timedelta(*content)


def _timezone(content: Any) -> Any:
    from datetime import timezone

    return timezone(content)


def _zoneinfo(content: str) -> Any:
    from zoneinfo import ZoneInfo

    return ZoneInfo(content)


def _decimal(content: Any) -> Any:
    from decimal import Decimal

    return Decimal((content[0], tuple(map(int, content[1])), content[2]))


def _fraction(content: Any) -> Any:
    from fractions import Fraction

    return Fraction(*content)


def _uuid(content: str) -> Any:
    from uuid import UUID

    return UUID(content)


def _path(content: str) -> Any:
    from pathlib import Path

    return Path(content)


def _regex(content: Any) -> Any:
    import re

    return re.compile(content["pattern"], content["flags"])


def _ipaddress(content: str) -> Any:
    from ipaddress import ip_address

    return ip_address(content)


def _partial(content: Any) -> Any:
    from functools import partial

    return partial(content["func"], *content["args"], **content["keywords"])


def _collection(name: str, content: Any) -> Any:
    import collections

    if name == "defaultdict":
        return collections.defaultdict(content["default_factory"], content["items"])
    if name == "deque":
        return collections.deque(content["items"], content["maxlen"])
    return getattr(collections, name)(content)


def _mappingproxy(content: Any) -> Any:
    from types import MappingProxyType

    return MappingProxyType(content)


def _array(content: Any) -> Any:
    from array import array

    make: Any = array
    return make(*content)


def _module(content: str) -> Any:
    from importlib import import_module

    return import_module(content)


def _union(content: Any) -> Any:
    from functools import reduce
    from operator import or_

    return reduce(or_, sorted(content, key=lambda part: part is type(None)))


def _alias(content: Any) -> Any:
    origin, args = content
    return origin[args if len(args) != 1 else args[0]]


def _estimator(content: Any) -> Any:
    return content["class"](**content["params"])


def _scorer(content: Any) -> Any:
    from importlib import import_module

    response = content["response"]
    make = import_module("sklearn.metrics").make_scorer
    taken = {"response_method": tuple(response) if isinstance(response, list) else response}
    return make(content["function"], greater_is_better=content["sign"] > 0, **taken, **content["options"])


_REBUILD: dict[str, Any] = {
    "sklearn.scorer": _scorer,
    "Counter": lambda content: _collection("Counter", content),
    "Ellipsis": lambda _: ...,
    "NotImplemented": lambda _: NotImplemented,
    "OrderedDict": lambda content: _collection("OrderedDict", content),
    "alias": _alias,
    "argparse.Namespace": _namespace,
    "array.array": _array,
    "bytearray": bytearray,
    "complex": lambda content: complex(*content),
    "date": _date,
    "datetime": _datetime,
    "decimal": _decimal,
    "defaultdict": lambda content: _collection("defaultdict", content),
    "deque": lambda content: _collection("deque", content),
    "estimator": _estimator,
    "fraction": _fraction,
    "ipaddress": _ipaddress,
    "mappingproxy": _mappingproxy,
    "module": _module,
    "partial": _partial,
    "path": _path,
    "range": lambda content: range(*content),
    "reference": dereference,
    "regex": _regex,
    "slice": lambda content: slice(content["start"], content["stop"], content["step"]),
    "time": _time,
    "timedelta": _timedelta,
    "timezone": _timezone,
    "union": _union,
    "uuid": _uuid,
    "zoneinfo": _zoneinfo,
}
