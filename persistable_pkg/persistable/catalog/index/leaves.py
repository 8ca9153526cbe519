"""Params trees as rows of an index: each path with its value, once exact, and once in a form that can be compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

from blake3 import blake3

from persistable.params.trees import children, rewritten

NULL, BOOL, INT, FLOAT, TEXT, TREE, FORM = range(7)
"""Kinds of values. TREE: a value that no other kind holds, as canonical JSON or its digest; FORM: the form that can be compared."""
_KINDS = {type(None): NULL, bool: BOOL, int: INT, float: FLOAT, str: TEXT}
_PLAIN = frozenset(_KINDS)
LONGEST = 200
"""Characters of a text that an index holds in full; of longer ones it has a digest."""
MOST = 64
"""Elements of a collection that are indexed one by one."""
_BIG = 1 << 63
_LARGEST = 1.7976931348623157e308  # JSON has no infinity
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def exact(tree: Any) -> tuple[int, Any]:
    """Kind and value of a tree, which no other tree has."""
    kind = _KINDS.get(tree.__class__, TREE)
    if kind == TEXT:
        return (TEXT, tree) if len(tree) <= LONGEST else (TREE, _short(tree))
    if kind == TREE or (kind == INT and not -_BIG <= tree < _BIG) or (kind == FLOAT and not tree and str(tree)[0] == "-"):
        return TREE, _short(canonical(tree))
    return (kind, int(tree)) if kind == BOOL else (kind, tree)


def valued(params: dict[str, Any]) -> list[tuple[str, int, Any]]:
    """Path, kind and value of everything in `params`; once more in the form that can be compared, where that differs."""
    plain = _plain(params)
    if plain is not None:
        return plain
    found: list[tuple[str, int, Any]] = []
    for path, tree in walk(params):
        kind, value = exact(tree)
        found.append((path, kind, value))
        if kind == TREE:
            compared = form(tree)
            if compared is not None and (compared.__class__ is not str or len(compared) <= LONGEST):
                found.append((path, FORM, compared))
    return found


def _plain(params: dict[str, Any]) -> list[tuple[str, int, Any]] | None:
    """Path, kind and value of each of `params`; None if any of them needs `walk` and `exact`."""
    found: list[tuple[str, int, Any]] = []  # in one loop: an index may be of a million records, most of which have plain params
    for path, value in params.items():
        kind = _KINDS.get(value.__class__, TREE)
        if kind == TEXT:
            if len(value) > LONGEST:
                return None
        elif kind == INT:
            if not -_BIG <= value < _BIG:
                return None
        elif kind == FLOAT:
            if not value and str(value)[0] == "-":
                return None
        elif kind == BOOL:
            value = int(value)  # noqa: PLW2901 - the same value as an int
        elif kind == TREE:
            return None
        found.append((path, kind, value))
    return found


def canonical(tree: Any) -> str:
    """JSON of `tree`, equal for equal trees: without parts that identity leaves out, and in one order."""
    return _dumps(rewritten(tree, _without_class))


def _without_class(found: dict[str, Any]) -> dict[str, Any]:
    found.pop("$class", None)  # where a class is defined is no part of identity
    return found


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else blake3(text.encode("utf-8", "surrogatepass")).hexdigest(length=16)


def walk(params: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every path in `params` and the tree there, outer ones first: dotted, with the numbers of elements of lists."""
    if is_plain(params):
        yield from params.items()
        return
    stack: list[tuple[str, Any]] = list(params.items())
    stack.reverse()
    while stack:
        path, tree = stack.pop()
        yield path, tree
        if tree.__class__ is dict or tree.__class__ is list:
            found = children(tree)
            if found is not None:
                inner = list(found[1].items())[:MOST]
                stack.extend((f"{path}.{name}", each) for name, each in reversed(inner))


def is_plain(params: dict[str, Any]) -> bool:
    """Tell whether all of `params` are values, with no path below any of them."""
    return _PLAIN.issuperset(map(type, params.values()))


def form(tree: Any) -> Any:
    """The form of a tree in which it can be compared: a number or text; None where there is none. A class is its name, a list JSON."""
    if tree.__class__ in _KINDS:
        return tree
    if tree.__class__ is list:
        return _dumps(list(map(form, tree[:MOST])))
    if "$object" in tree:
        return tree["$object"]
    tag = next((name for name in tree if name[:1] == "$"), "")
    try:
        return _FORMS[tag](tree[tag]) if tag in _FORMS else None if tag else _dumps({name: form(each) for name, each in tree.items()})
    except (TypeError, ValueError, LookupError, ArithmeticError):
        return None


def _whole(content: str) -> int | float | None:
    number = int(content, 0)
    return number if -_BIG <= number < _BIG else float(number)


def _first(content: Any) -> Any:
    return content["$tuple"][0]


def _reference(content: str) -> str:
    return content.rpartition(":")[2]


def _decimal(content: Any) -> float:
    sign, digits, exponent = content["$tuple"]
    return float(f"{'-' if sign else ''}{digits}e{exponent}")


def _fraction(content: Any) -> float:
    above, below = (form(each) for each in content["$tuple"])
    return float(above / below)


def _seconds(content: Any) -> float:
    days, seconds, microseconds = content["$tuple"]
    return float(days * 86400 + seconds + microseconds / 1e6)


def _timestamp(content: Any) -> str:
    from datetime import UTC, datetime, timedelta

    nanoseconds = form(content["$tuple"][0])
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds // 1000)).isoformat().removesuffix("+00:00")


_FORMS: dict[str, Callable[[Any], Any]] = {
    "$int": _whole,
    "$float": lambda content: None if content == "nan" else _LARGEST if content == "inf" else -_LARGEST,
    "$tuple": form,
    "$set": form,
    "$frozenset": form,
    "$date": str,
    "$path": str,
    "$uuid": str,
    "$ipaddress": str,
    "$node": str,
    "$datetime": _first,
    "$time": _first,
    "$decimal": _decimal,
    "$fraction": _fraction,
    "$timedelta": _seconds,
    "$pandas.Timestamp": _timestamp,
    "$enum": itemgetter("member"),
    "$flag": itemgetter("value"),
    "$reference": _reference,
    "$estimator": lambda content: _reference(content["class"]["$reference"]),
    "$regex": itemgetter("pattern"),
}
