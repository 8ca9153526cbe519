"""Payloads that newer ones supersede: of a higher version, own or upstream, or made by later code of the same class.

By version: another stored payload has the same name and params, and so has everything upstream; no version, own or upstream, is lower,
and one is higher. By code: the latest payload of the same class and Python was made by other code; payloads downstream of one of these are
superseded too. Accepted code counts as the code that accepted it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from persistable.catalog.cleanup.trash_files import UNREADABLE
from persistable.catalog.index.index import Index
from persistable.catalog.index.leaves import canonical
from persistable.catalog.lookup import downstream_keys
from persistable.records.record import SUFFIX, Record

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog

VERSION = "there is a newer version"
CODE = "made by code that has changed since"
UPSTREAM = "made from payloads of older code"
_NODE = re.compile(r'"\$node":"[^"]*"')
_BATCH = 2000


class Made(NamedTuple):
    """One stored payload: its key, the path prefix of its record, and the time at which it was made."""

    key: str
    base: str
    created: float


def superseded(catalog: Catalog, stored: Sequence[Made]) -> dict[str, str]:
    """The reason, by key, of those of `stored` that are superseded."""
    by_version = dict.fromkeys(_by_version(catalog.index, {made.key: made.created for made in stored}), VERSION)
    by_code = dict.fromkeys(_by_code(catalog, stored), CODE)
    keys = {made.key for made in stored}
    made_from = dict.fromkeys(keys.intersection(downstream_keys(catalog.index, by_code)), UPSTREAM)
    return {**made_from, **by_code, **by_version}


# ------------------------------------------------------------------ versions


class _Node(NamedTuple):
    """A description: its version, and the keys upstream by role."""

    version: Any
    upstream: dict[str, str]


def _by_version(index: Index, created: Mapping[str, float]) -> Iterator[str]:
    nodes, params = _described(index)
    groups: dict[bytes, list[str]] = {}
    shapes = _shapes(nodes, params)
    for key in created:
        shape = shapes.get(key)
        if shape is not None:
            groups.setdefault(shape, []).append(key)
    for keys in groups.values():
        for key in keys if len(keys) > 1 else ():
            if any(_is_newer(nodes, created, other, key) for other in keys if other != key):
                yield key


def _described(index: Index) -> tuple[dict[str, _Node], dict[str, str]]:
    """Every description in the index, and its params in a form that does not depend on versions upstream."""
    nodes: dict[str, _Node] = {}
    params: dict[str, str] = {}
    keys: dict[int, str] = {}
    for number, key, version, tree in index.rows("SELECT id, key, version, params FROM nodes WHERE class IS NOT NULL"):
        keys[number] = key
        nodes[key] = _Node(json.loads(version), {})
        params[key] = _NODE.sub('"$node":""', canonical(json.loads(tree)))
    for number, role, target in index.rows("SELECT node, role, target FROM edges"):
        if number in keys:
            nodes[keys[number]].upstream[role] = target
    return nodes, params


def _shapes(nodes: Mapping[str, _Node], params: Mapping[str, str]) -> dict[str, bytes]:
    """A digest, by key, of name, params and everything upstream, without versions; keys without description have none."""
    shapes: dict[str, bytes] = {}
    stack = [(key, False) for key in nodes]
    while stack:
        key, ready = stack.pop()
        node = nodes.get(key)
        if node is None or key in shapes:
            continue
        if not ready:
            stack.append((key, True))
            stack.extend((target, False) for target in node.upstream.values() if target not in shapes)
            continue
        parts = [key.rpartition("/")[0], params[key]]
        parts += [f"{role} {shapes.get(node.upstream[role], node.upstream[role].encode()).hex()}" for role in sorted(node.upstream)]
        shapes[key] = blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return shapes


def _is_newer(nodes: Mapping[str, _Node], created: Mapping[str, float], one: str, other: str) -> bool:
    """Tell whether no version in the lineage of `one` is lower than its counterpart in that of `other`, and some are higher."""
    later = created[one] > created[other]
    seen: set[tuple[str, str]] = set()
    stack = [(one, other)]
    higher = False
    while stack:
        pair = stack.pop()
        if pair in seen or pair[0] == pair[1]:
            continue
        seen.add(pair)
        mine, theirs = (nodes[key] for key in pair)
        if mine.version != theirs.version:
            if not _is_higher(mine.version, theirs.version, later):
                return False
            higher = True
        stack.extend((target, theirs.upstream[role]) for role, target in mine.upstream.items())
    return higher


def _is_higher(version: Any, other: Any, later: bool) -> bool:
    """Tell whether `version` is higher: by comparing numbers; of other versions that of the later payload is higher."""
    if all(isinstance(each, int | float) and not isinstance(each, bool) for each in (version, other)):
        return bool(version > other)
    return later


# ------------------------------------------------------------------ code


class _Code(NamedTuple):
    """The code that made a payload, according to its record."""

    made: Made
    class_reference: str
    python: str
    quick: str


def _by_code(catalog: Catalog, stored: Sequence[Made]) -> Iterator[str]:
    latest: dict[tuple[str, str], _Code] = {}
    found = list(_codes(catalog, stored))
    for code in found:
        place = code.class_reference, code.python
        if place not in latest or latest[place].made.created < code.made.created:
            latest[place] = code
    for code in found:
        if code.quick != latest[code.class_reference, code.python].quick:
            yield code.made.key


def _codes(catalog: Catalog, stored: Sequence[Made]) -> Iterator[_Code]:
    """Yield the code that made each of `stored`, where the record has it."""
    for first in range(0, len(stored), _BATCH):
        some = {made.base + SUFFIX: made for made in stored[first : first + _BATCH]}
        for path, record in _records(catalog, some):
            code = record.code
            if code is not None and code["quick"]:
                yield _Code(some[path], record.class_reference, code["python"], code["quick"])


def _records(catalog: Catalog, paths: Iterable[str]) -> Iterator[tuple[str, Record]]:
    for path, data in catalog.store.get_many(paths).items():
        try:
            yield path, Record.parse(data)
        except UNREADABLE:
            continue
