"""Lookup of entries by key, by the beginning of one, by the path of a file, and by lineage."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from persistable.catalog.entry import ABSENT, COLUMNS, Entry
from persistable.catalog.index.change_detection import parts_of
from persistable.catalog.index.index import Index
from persistable.catalog.index.rows import ENDINGS
from persistable.catalog.query import Condition, first_layer_only
from persistable.errors import InvalidName, InvalidQuery, UnknownKey
from persistable.records.key import Key
from persistable.stores.custom_path import PLACED
from persistable.stores.signing_keys import TRUSTING

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog

_OF_KEY = re.compile(r"([^/]+/[0-9a-f]{32})(?:[./].*)?", re.DOTALL)
_DIGITS = re.compile(r"[0-9a-f]*")
SHOWN = 5
"""Keys that an error lists."""


def entry(catalog: Catalog, text: Any) -> Entry:
    """The entry that `text` names. Raises UnknownKey where there is none, or several."""
    if isinstance(text, Entry):
        return text
    key: Any = getattr(text, "key", text)
    index = catalog.current()
    if isinstance(key, Key):
        found = by_keys(catalog, index, [str(key)])
        if found and found[0].status != ABSENT:
            return found[0]
        raise _unknown(index, str(key), f"there is no record of {key} in {catalog.store.url}")
    if not isinstance(key, str | os.PathLike):
        raise TypeError(f"{text!r:.60} names no record: give a key, the beginning of one, the path of a stored file, a node or an entry")
    path = os.fspath(cast("str | os.PathLike[str]", key))
    within = _within(catalog, path)
    found = _of_path(catalog, index, within) if within is not None else []
    return found[0] if found else _beginning(catalog, index, path, "key or file")


def key_of(entry: Entry) -> Key:
    """The key of `entry`. Raises UnknownKey where a damaged record hides it."""
    if entry.key is None:
        raise UnknownKey(f"the record of {entry.at} is damaged, so its key is not known", text=str(entry.at), nearest=[])
    return entry.key


def key_in(catalog: Catalog, text: Any) -> Key:
    """The key that `text` is, has or identifies, whether or not it is stored. Raises UnknownKey."""
    key: Any = getattr(text, "key", text)
    if isinstance(key, Key):
        return key
    try:
        return Key.parse(str(key))
    except InvalidName:
        return key_of(entry(catalog, text))


def contains(catalog: Catalog, text: object) -> bool:
    """Tell whether there is one entry that `text` names."""
    try:
        entry(catalog, text)
    except (UnknownKey, InvalidQuery, TypeError):
        return False
    return True


def _within(catalog: Catalog, path: str) -> str | None:
    """The path in the store of `path`: a URL or path in its folder, or a relative path; None for a file elsewhere."""
    if "://" in path:
        before = catalog.store.url.partition(TRUSTING)[0].rstrip("/") + "/"
        return path.removeprefix(before) if path.startswith(before) else None
    for part in parts_of(catalog.store):
        if part.root is not None and (os.path.isabs(path) or os.path.exists(path)):
            place, root = os.path.abspath(path), part.root
            for one, other in ((place, root), (os.path.realpath(place), os.path.realpath(root))):
                if one.startswith(os.path.join(other, "")):
                    return os.path.relpath(one, other).replace(os.sep, "/")
    return None if os.path.isabs(path) else path.replace(os.sep, "/")


def _of_path(catalog: Catalog, index: Index, path: str) -> list[Entry]:
    """The entry of the file at `path` in the store: a record, a file of a payload, or a file in the folder of one."""
    own = _OF_KEY.fullmatch(path)
    if own is not None:
        return [each for each in by_keys(catalog, index, [own[1]]) if each.status != ABSENT]
    for ending in ENDINGS:
        path = path.removesuffix(ending)
    path = path.removeprefix(PLACED + "/")
    while path:  # a payload of several files is a folder somewhere above
        folder, _, name = f"{PLACED}/{path}".rpartition("/")
        for ending in ENDINGS:
            where = Condition("p.path = ? AND r.file = ?", (folder, name + ending))
            found = _rows(
                catalog, index, where, "FROM folders p CROSS JOIN records r ON r.folder = p.id LEFT JOIN nodes n ON n.id = r.node"
            )
            if found:
                return found[:1]
        path = path.rpartition("/")[0]
    return []


def names(index: Index) -> list[str]:
    """The names that have a record or a failure, in order; one lookup per name, however many records each has."""
    found: list[str] = []
    while True:
        last = found[-1] if found else ""
        rows = index.rows("SELECT name FROM records WHERE name > ? ORDER BY name LIMIT 1", (last,))
        if not rows:
            return found
        found.append(rows[0][0])


def beginning(catalog: Catalog, text: str) -> Entry:
    """The entry whose key or digest begins with `text`; paths are not searched. Raises UnknownKey where there is none, or several."""
    return _beginning(catalog, catalog.current(), text)


def _beginning(catalog: Catalog, index: Index, text: str, asked: str = "key") -> Entry:
    name, _, digest = text.rpartition("/")
    is_digest = text and _DIGITS.fullmatch(digest)
    keys = _keys_from(index, [name] if name else names(index), digest, 1000) if is_digest else []
    if len(keys) == 1:
        return by_keys(catalog, index, keys)[0]
    if keys:
        some = ", ".join(key[: -32 + 12] for key in keys[:SHOWN])
        raise UnknownKey(
            f"{text!r:.100} is the beginning of {len(keys)} keys: {some}{' ...' if len(keys) > SHOWN else ''}; write more of it",
            text=text,
            nearest=keys,
        )
    raise _unknown(index, text, f"no {asked} in {catalog.store.url} is or begins with {text!r}")


def _keys_from(index: Index, among: Iterable[str], digest: str, most: int) -> list[str]:
    """The keys of these names whose digest begins with `digest` and that have a record or failure, at most `most` of each name."""
    query = "SELECT key FROM nodes WHERE key >= ? AND key < ? AND EXISTS (SELECT 1 FROM records WHERE node = nodes.id) LIMIT ?"
    return [key for each in among for (key,) in index.rows(query, (f"{each}/{digest}", f"{each}/{digest}g", most))]


def _unknown(index: Index, text: str, why: str) -> UnknownKey:
    """The error for an unknown key, with the nearest known ones."""
    name, _, digest = text.rpartition("/")
    known = names(index)
    if name and name not in known:
        from difflib import get_close_matches

        near = get_close_matches(name, known, n=3)
        hint = f"; nothing is called {name!r}" + (f", did you mean {near[0]!r}?" if near else "")
        return UnknownKey(why + hint, text=text, nearest=near)
    for length in range(len(digest), 3, -1):
        near = _keys_from(index, [name] if name else known, digest[:length], SHOWN)
        if near:
            return UnknownKey(f"{why}; the nearest is {near[0]}", text=text, nearest=near)
    return UnknownKey(why, text=text, nearest=[])


# ------------------------------------------------------------------ rows


def _rows(catalog: Catalog, index: Index, where: Condition, source: str | None = None) -> list[Entry]:
    where = first_layer_only(where, catalog.is_layered)
    query = f"SELECT {COLUMNS} {where.source if source is None else source} WHERE {where.sql} ORDER BY {_BEST}"
    return [Entry(catalog, row) for row in index.rows(query, where.values)]


_BEST = "CASE r.status WHEN 'done' THEN 0 WHEN 'corrupt' THEN 1 WHEN 'untrusted' THEN 1 ELSE 2 END, r.created DESC"


def by_keys(catalog: Catalog, index: Index, keys: Iterable[str]) -> list[Entry]:
    """An entry for each of these keys, in their order: of its record, else of its failure, else an absent one."""
    wanted = list(dict.fromkeys(keys))
    among = "SELECT value FROM json_each(?)"
    found: dict[str, Entry] = {}
    for each in _rows(catalog, index, Condition(f"r.node IN (SELECT id FROM nodes WHERE key IN ({among}))", (json.dumps(wanted),))):
        found.setdefault(str(each.key), each)
    query = f"SELECT {COLUMNS} FROM nodes n LEFT JOIN records r ON 0 WHERE n.key IN ({among})"
    for row in index.rows(query, (json.dumps([key for key in wanted if key not in found]),)):
        found[row[0]] = _absent(catalog, row)
    return [found[key] if key in found else _absent(catalog, (key, *[None] * 11)) for key in wanted]


def by_rows(catalog: Catalog, index: Index, numbers: Sequence[int]) -> dict[int, Entry]:
    """The entries of records and failures, by the ids of their rows."""
    query = f"SELECT r.id, {COLUMNS} FROM records r LEFT JOIN nodes n ON n.id = r.node WHERE r.id IN (SELECT value FROM json_each(?))"
    return {number: Entry(catalog, tuple(row)) for number, *row in index.rows(query, (json.dumps(numbers),))}


def _absent(catalog: Catalog, row: tuple[Any, ...]) -> Entry:
    """The entry of a key without a record; `row` has the facts of its description, if there is one."""
    return Entry(catalog, (*row[:4], row[0].rpartition("/")[0], None, ABSENT, *row[7:]))


# ------------------------------------------------------------------ lineage


def roles_of(index: Index, keys: Iterable[str]) -> dict[str, dict[str, str]]:
    """The keys directly upstream of each key, by role; a key with nothing upstream is not in it."""
    query = (
        "SELECT n.key, e.role, e.target FROM nodes n JOIN edges e ON e.node = n.id "
        "WHERE n.key IN (SELECT value FROM json_each(?)) ORDER BY e.role"
    )
    found: dict[str, dict[str, str]] = {}
    for key, role, target in index.rows(query, (json.dumps(list(keys)),)):
        found.setdefault(key, {})[role] = target
    return found


def upstream_of_all(catalog: Catalog, entries: Iterable[Entry]) -> list[dict[str, Entry]]:
    """The entries directly upstream of each of `entries`, by role, read together."""
    keys = [str(entry.key) for entry in entries]
    roles = roles_of(catalog.index, keys)
    sources = [target for each in roles.values() for target in each.values()]
    by_key = {str(each.key): each for each in by_keys(catalog, catalog.index, sources)}
    return [{role: by_key[target] for role, target in roles.get(key, {}).items()} for key in keys]


def ancestors(catalog: Catalog, keys: Iterable[str]) -> list[Entry]:
    """The entries upstream of `keys`, without those of `keys`, nearest first."""
    return by_keys(catalog, catalog.index, upstream_keys(catalog.index, keys))


def upstream_keys(index: Index, keys: Iterable[str]) -> list[str]:
    """The keys upstream of `keys`, stored or only known from lineages, nearest first, without `keys`."""
    query = "SELECT DISTINCT target FROM edges WHERE node IN (SELECT id FROM nodes WHERE key IN (SELECT value FROM json_each(?)))"
    return _levels(index, keys, query)


def downstream(catalog: Catalog, entry: Entry, levels: int | None = None) -> list[Entry]:
    """The stored entries downstream of `entry`, nearest first. levels: steps downstream at most; None for all."""
    found = by_keys(catalog, catalog.index, downstream_keys(catalog.index, [str(entry.key)], levels))
    return [each for each in found if each.status != ABSENT]


def downstream_keys(index: Index, keys: Iterable[str], levels: int | None = None) -> list[str]:
    """The keys downstream of `keys`, stored or only known from lineages, nearest first, without `keys`. levels: as for `downstream`."""
    query = "SELECT key FROM nodes WHERE id IN (SELECT node FROM edges WHERE target IN (SELECT value FROM json_each(?)))"
    return _levels(index, keys, query, levels)


def _levels(index: Index, keys: Iterable[str], query: str, levels: int | None = None) -> list[str]:
    """The keys that `query` reaches from `keys`, level by level, without `keys`."""
    level = list(dict.fromkeys(keys))
    seen, first = dict.fromkeys(level), len(level)
    while level and (levels is None or levels > 0):
        level = [each for (each,) in index.rows(query, (json.dumps(level),)) if each not in seen]
        seen.update(dict.fromkeys(level))
        levels = None if levels is None else levels - 1
    return list(seen)[first:]
