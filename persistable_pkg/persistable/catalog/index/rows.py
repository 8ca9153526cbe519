"""A record or failure as a row of an index: facts of the file, and the description of its node."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from persistable.catalog.index.leaves import form, is_plain, valued, walk
from persistable.errors import InvalidName, PayloadCorrupted, PayloadUntrusted, StoreTooNew
from persistable.records.failure import FAILED_SUFFIX, Failure
from persistable.records.key import Key
from persistable.records.record import SUFFIX, Record, text_of
from persistable.stores.custom_path import PLACED

DONE, CORRUPT, FAILED, UNTRUSTED = "done", "corrupt", "failed", "untrusted"
ENDINGS = (SUFFIX, FAILED_SUFFIX)
_scan: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_hosts: dict[bytes, str] = {}
_HOST_LINE = b'\n"scheme":'
"""The beginning of the line with the name of the host, which all records of a process have in common."""
_NEEDED = {"params", "version", "started", "seconds", "made"}


class NodeRow(NamedTuple):
    """The description of a node, as the tables have it. Of a node that only failed, class and version are not known.

    params: as JSON. leaves: as JSON by path, in the form that can be compared; None where that is the same. values: see `valued`.
    """

    key: str
    class_reference: str | None
    version: str
    params: str
    leaves: str | None
    values: list[tuple[str, int, Any]]
    upstream: dict[str, str]


def node_row(key: str, class_reference: str | None, version: Any, params: dict[str, Any], upstream: dict[str, str]) -> NodeRow:
    """The description of the node of that key. Raises TypeError for params or upstream that are no dict."""
    if params.__class__ is not dict or upstream.__class__ is not dict:
        raise TypeError("its params or upstream are no dict")
    leaves = None if is_plain(params) else text_of({path: form(tree) for path, tree in walk(params) if '"' not in path})
    number = str(version) if version.__class__ is int else json.dumps(version)
    return NodeRow(key, class_reference, number, text_of(params), leaves, valued(params), upstream)


class Row(NamedTuple):
    """A record or failure at a path of a store, without the facts of its listing."""

    status: str
    name: str
    at: str | None
    node: NodeRow | None
    size: int | None = None
    seconds: float | None = None
    created: float | None = None
    host: str | None = None
    class_reference: str | None = None
    made: str | None = None


def row_of(path: str, data: bytes) -> Row | None:
    """The row of the file at `path`; None for a file that only has the name of a record."""
    return _failed(path, data) if path.endswith(FAILED_SUFFIX) else _recorded(path.removesuffix(SUFFIX), data)


def _recorded(base: str, data: bytes) -> Row | None:
    try:
        record, facts = _parsed(data)
        reference = record.class_reference
        node = node_row(facts["key"], reference, facts["version"], facts["params"], facts.get("upstream") or {})
        seconds = facts["seconds"]
        created = float(facts["started"] + seconds)
    except PayloadUntrusted:
        return _damaged(base, UNTRUSTED)
    except (PayloadCorrupted, StoreTooNew, InvalidName, KeyError, ValueError, TypeError, RecursionError):
        return _damaged(base)
    at = "" if base == node.key else _at(base, node.key)
    if at is None:
        return _damaged(base)
    return Row(DONE, record.key.name, at, node, record.size, seconds, created, facts["host"], reference, facts["made"])


def _parsed(data: bytes) -> tuple[Record, dict[str, Any]]:
    """The record in `data`, and at least those of its members that an index has: in the usual layout three of its lines hold them."""
    try:
        record = Record.parse(data, lines=2)
        start = data.index(_HOST_LINE) + 1
        line = data[start : data.index(b"\n", start)]
        host = _hosts.get(line)
        if host is None:
            if len(_hosts) > 1000:
                _hosts.clear()
            host = _hosts[line] = _scan("{" + line.rstrip(b",").decode() + "}", 0)[0]["host"]
        facts = record.head
        facts["host"] = host
        if facts.keys() >= _NEEDED:
            return record, facts
    except (PayloadCorrupted, StopIteration, ValueError, LookupError, TypeError):
        pass
    record = Record.parse(data).checked()  # damaged, or written by another program, in other lines
    return record, record.facts()


def _failed(path: str, data: bytes) -> Row | None:
    base = path.removesuffix(FAILED_SUFFIX)
    try:
        key = Failure.key_in(data) if base.startswith(PLACED + "/") else base
        place = Key.parse(key or "")
    except InvalidName:
        return None
    at = _at(base, str(place))
    if at is None:
        return None
    failure = Failure.parse(data, place)
    node = node_row(str(place), None, None, failure.params, {})
    return Row(FAILED, place.name, at, node, None, failure.seconds, failure.started + failure.seconds, failure.host)


def _damaged(base: str, state: str = CORRUPT) -> Row | None:
    """The row of a record that cannot, or may not, be read: its path gives the key, unless it is a custom path."""
    if base.startswith(PLACED + "/"):
        return Row(state, "", base.removeprefix(PLACED + "/"), None)
    try:
        key = Key.parse(base)
    except InvalidName:
        return None
    return Row(state, key.name, "", node_row(str(key), None, None, {}, {}))


def _at(base: str, key: str) -> str | None:
    """The custom path of the payload, "" for one that is stored under its key; None where it cannot be stored there."""
    if base == key:
        return ""
    return base.removeprefix(PLACED + "/") if base.startswith(PLACED + "/") else None
