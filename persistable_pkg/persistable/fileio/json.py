"""Formats for JSON-like values: None, bool, int, float, str, lists, and dicts with str keys."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO, ClassVar

from persistable.fileio.base import FileIO

_DEEPEST = 400
_LONGEST_INT_BITS = 14_000  # Python refuses to parse more than 4300 digits
_BATCH = 4096


class JsonLikeFileIO(FileIO[Any]):
    """The base of formats for exactly the values of JSON."""

    def check(self, payload: Any) -> None:
        if reason := why_not_json_like(payload):
            self._refuse(reason)


class JsonFileIO(JsonLikeFileIO):
    """JSON-like values, exactly: refuses tuples, keys other than str, sets, numpy scalars, subclasses, half surrogate pairs.

    Integers of up to 4,000 digits and floats are exact. NaN and infinities are written as Python's json writes them
    (``NaN``, ``Infinity``): strict readers elsewhere may refuse these. `indent` is the number of spaces per level; None: one line.
    """

    name: ClassVar[str] = "JsonFileIO"
    suffix = ".json"

    def __init__(self, indent: int | None = None) -> None:
        self.indent = indent

    def dump(self, payload: Any, file: BinaryIO) -> None:
        pieces = json.JSONEncoder(indent=self.indent).iterencode(payload) if self.indent is not None else _pieces(payload)
        held: list[str] = []
        size = 0
        for piece in pieces:
            held.append(piece)
            size += len(piece)
            if size > 1 << 16:
                file.write("".join(held).encode())
                held.clear()
                size = 0
        if held:
            file.write("".join(held).encode())

    def load(self, file: Any) -> Any:
        try:
            return json.loads(file.read())
        except RecursionError as error:
            raise self._malformed("it is nested too deeply") from error


def _pieces(value: Any) -> Iterator[str]:
    """The text of `value`, large lists and dicts piece by piece: json's own iterencode is several times slower."""
    if type(value) is list and len(value) > _BATCH:
        yield "["
        for first in range(0, len(value), _BATCH):
            yield (", " if first else "") + json.dumps(value[first : first + _BATCH])[1:-1]
        yield "]"
    elif type(value) is dict and len(value) > _BATCH:
        items = iter(value.items())
        opening = "{"
        while batch := dict(islice(items, _BATCH)):
            yield opening + json.dumps(batch)[1:-1]
            opening = ", "
        yield "}"
    elif type(value) is dict and any(type(item) in (list, dict) and len(item) > _BATCH for item in value.values()):
        opening = "{"
        for key, item in value.items():
            yield f"{opening}{json.dumps(key)}: "
            yield from _pieces(item)
            opening = ", "
        yield "}"
    else:
        yield json.dumps(value)


def why_not_json_like(value: Any, path: str = "", depth: int = 0) -> str:
    """The first part of `value` that JSON would not keep, with its place; empty if there is none."""
    kind = type(value)
    if kind is str:
        return "" if value.isascii() or encodable(value) else f"{_at(path)} holds half a surrogate pair"
    if kind is int:
        return "" if value.bit_length() <= _LONGEST_INT_BITS else f"{_at(path)} has more than 4,000 digits"
    if kind in (float, bool, type(None)):
        return ""
    if kind not in (list, dict):
        return f"{_at(path)} is a {kind.__module__}.{kind.__qualname__}; JSON has None, bool, int, float, str, list and dict"
    if depth > _DEEPEST:
        return f"it is nested more than {_DEEPEST} levels deep, or contains itself"
    if kind is list:
        for index, item in enumerate(value):
            if reason := why_not_json_like(item, f"{path}[{index}]", depth + 1):
                return reason
        return ""
    for key, item in value.items():
        if type(key) is not str:
            return f"{_at(path)} has the key {key!r}, and JSON's keys are strings"
        if reason := why_not_json_like(key, f"{path}[{key!r}]", depth) or why_not_json_like(item, f"{path}[{key!r}]", depth + 1):
            return reason
    return ""


def _at(path: str) -> str:
    return f"payload{path}" if path else "it"


def encodable(text: str) -> bool:
    """Tell whether `text` has no half surrogate pairs, for which UTF-8 has no bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
