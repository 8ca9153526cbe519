"""`persistable ls`: list stored payloads, from an index of the records."""

from __future__ import annotations

import gc
import json
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from persistable.cli.options import COMMON, CommonOptions, TargetArgument
from persistable.cli.output import Column, note, on_terminal, table_of, write_json_list
from persistable.cli.target import CommandContext
from persistable.cli.usage import BadUsage, suggestion
from persistable.params.display import params_in_words, without_credentials

if TYPE_CHECKING:
    from persistable.catalog.entries import Entries


def ls(
    name: TargetArgument | None = None,
    /,
    *,
    where: str | None = None,
    status: Literal["done", "corrupt", "untrusted", "failed"] | None = None,
    sort: Literal["name", "size", "age"] = "name",
    limit: Annotated[int | None, Parameter(negative="")] = None,
    common: CommonOptions = COMMON,
) -> None:
    """List stored payloads: name, key, size, age and params of each.

    Parameters
    ----------
    name
        Only payloads of this name, or of this target.
    where
        Only those for which an expression is true: "n > 50 and upstream.points.n = 10 and seconds > 3".
    status
        Only those of this status; failed lists failures of payloads that are not stored.
    sort
        By name, the largest first, or the youngest first.
    limit
        The maximum number of payloads to list.
    """
    if limit is not None and limit < 0:
        raise BadUsage(f"--limit {limit}: give a number of payloads, 0 or more")
    here = CommandContext(common)
    enabled = gc.isenabled()
    gc.disable()  # tens of thousands of dicts that all stay: collecting garbage among them takes longer than making them
    try:
        found = sorted((row for each in _asked(here, name, where, status) for row in each.rows()), key=_ORDER[sort])
        shown = found[:limit]
        params: list[dict[str, Any]] = json.loads(f"[{','.join(row[_PARAMS] or '{}' for row in shown)}]")  # one call takes half the time
        if common.json:
            write_json_list(map(_facts, shown, params))
            return
        _show(shown, params, _with_upstream(here, shown))
    finally:
        if enabled:
            gc.enable()
    if not found:
        what = "nothing" if name is None else f"nothing called {name}"
        such = "" if where is None and status is None else " that is such"
        note(f"{what}{such} is stored in {here.store.url}")
    elif len(shown) < len(found):
        note(f"and {len(found) - len(shown)} more")


def _asked(here: CommandContext, name: str | None, where: str | None, status: str | None) -> list[Entries]:
    found = here.catalog.find(name, where=where, status=status)
    if name is None or found or name in here.catalog.names():
        return [found]
    return [here.catalog.find(other, where=where, status=status) for other in _names_of_target(here, name)]


def _names_of_target(here: CommandContext, name: str) -> list[str]:
    """The payload names of the members of a target. Raises BadUsage for a name of neither a target nor a payload."""
    project = here.project
    if project is not None and name in project.targets:
        return sorted({node.payload_name for node, _ in here.pairs(project[name])} - {name})
    known = [*here.catalog.names(), *(project.targets if project is not None else ())]
    raise BadUsage(f"nothing called {name!r} is stored in {here.store.url}; {suggestion(name, sorted(set(known)))}")


def _facts(found: tuple[Any, ...], params: dict[str, Any]) -> dict[str, Any]:
    key, _, _, _, name, at, status, size, _, stored, _, made = found
    if status in _UNREADABLE:
        return {"name": name, "key": key, "at": at or None, "size": None, "stored": None, "made": _UNREADABLE[status], "params": {}}
    made = "failed" if status == "failed" else made
    params = without_credentials(params)
    return {"name": name, "key": key, "at": at or None, "size": size, "stored": stored, "made": made, "params": params}


_UNREADABLE = {"corrupt": "damaged", "untrusted": "untrusted"}


def _by_name(found: tuple[Any, ...]) -> Any:
    return found[_NAME], found[_KEY] or "", found[_AT] or ""


def _by_size(found: tuple[Any, ...]) -> Any:
    return 0 if found[_STATUS] in _UNREADABLE else -(found[_SIZE] or 0), *_by_name(found)


def _by_age(found: tuple[Any, ...]) -> Any:
    return 0.0 if found[_STATUS] in _UNREADABLE else -(found[_CREATED] or 0.0), *_by_name(found)


_KEY, _PARAMS, _NAME, _AT, _STATUS, _SIZE, _CREATED, _MADE = 0, 3, 4, 5, 6, 7, 9, 11  # in `COLUMNS`
_ORDER = {"name": _by_name, "size": _by_size, "age": _by_age}


_MANY = 300


def _with_upstream(here: CommandContext, rows: list[tuple[Any, ...]]) -> dict[str, str]:
    """Params by key, with those of the direct upstream; empty for long lists, for which it would be slow."""
    from persistable.catalog.entry import label
    from persistable.catalog.lookup import by_keys, upstream_of_all

    keys = [row[_KEY] for row in rows if row[_KEY]]
    if len(keys) > _MANY:
        return {}
    entries = by_keys(here.catalog, here.catalog.index, keys)
    upstream = upstream_of_all(here.catalog, entries)
    return {
        str(entry.key): label(entry.name, entry.params_tree, sources)[len(entry.name) + 1 : -1]
        for entry, sources in zip(entries, upstream, strict=True)
    }


def _show(rows: list[tuple[Any, ...]], params: list[dict[str, Any]], described: dict[str, str]) -> None:
    from persistable.records.units import duration_in_words, size_in_words

    now = time.time()
    short = on_terminal()
    cells = {
        Column("name"): [row[_NAME] or "?" for row in rows],
        Column("key"): [("?" if key is None else key.rpartition("/")[2][:8] if short else key) for key, *_ in rows],
        Column("size", right=True): [
            "?" if row[_SIZE] is None or row[_STATUS] in _UNREADABLE else size_in_words(row[_SIZE]) for row in rows
        ],
        Column("age", right=True): [
            "?" if row[_STATUS] in _UNREADABLE else duration_in_words(max(0.0, now - row[_CREATED])) for row in rows
        ],
        Column("at"): [row[_AT] or "" for row in rows],
        Column("params", long=True): [_described(row, tree, described) for row, tree in zip(rows, params, strict=True)],
    }
    if not any(cells[Column("at")]):
        del cells[Column("at")]
    table_of(list(cells), list(cells.values()))


def _described(row: tuple[Any, ...], tree: dict[str, Any], described: dict[str, str]) -> str:
    status = row[_STATUS]
    if status in _WHY:
        return _WHY[status]
    key = row[_KEY]
    before = _BEFORE.get("failed" if status == "failed" else row[_MADE], "")
    return before + (described[key] if key in described else params_in_words(tree))


_WHY = {"corrupt": "its record is damaged", "untrusted": "its record has no signature that the store trusts"}
_BEFORE = {"put": "put in by hand ", "adopted": "adopted ", "failed": "failed "}
