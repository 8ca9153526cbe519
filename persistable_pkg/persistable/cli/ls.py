"""`persistable ls`: what is stored, from the records alone."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from persistable.cli.options import COMMON, Common, Word
from persistable.cli.output import Column, note, on_terminal, shown_params, table, write_json_list
from persistable.cli.target import Here, stored_names
from persistable.cli.usage import BadUsage, near
from persistable.records.key import Placed
from persistable.records.listing import Entry, entries


def ls(
    name: Word | None = None,
    /,
    *,
    sort: Literal["name", "size", "age"] = "name",
    limit: Annotated[int | None, Parameter(negative="")] = None,
    common: Common = COMMON,
) -> int:
    """List what is stored: name, key, size, age and params of each payload.

    Parameters
    ----------
    name
        Only payloads of this name, or of this target.
    sort
        The first by name, the largest first, or the youngest first.
    limit
        So many at most.
    """
    if limit is not None and limit < 0:
        raise BadUsage(f"--limit {limit}: give a number of payloads, 0 or more")
    here = Here(common)
    found = sorted(_rows(here, name), key=_ORDER[sort])
    shown = found if limit is None else found[:limit]
    if common.json:
        write_json_list(shown)
        return 0
    _show(shown)
    if not found:
        note(f"nothing is stored in {here.store.url}" if name is None else f"nothing called {name} is stored in {here.store.url}")
    elif len(shown) < len(found):
        note(f"and {len(found) - len(shown)} more")
    return 0


def _rows(here: Here, name: str | None) -> list[dict[str, Any]]:
    enabled = gc.isenabled()
    gc.disable()  # tens of thousands of dicts that all stay: looking for circles among them takes longer than making them
    try:
        return [_row(entry) for entry in _asked(here, name)]
    finally:
        if enabled:
            gc.enable()


def _asked(here: Here, name: str | None) -> Iterator[Entry]:
    if name is None:
        yield from entries(here.store)
        return
    empty = True
    for entry in entries(here.store, name):
        empty = False
        yield entry
    if empty:
        for other in _names_of_target(here, name):
            yield from entries(here.store, other)


def _names_of_target(here: Here, name: str) -> list[str]:
    """The payload names of the members of a target. Raises BadUsage for what is neither a target nor the name of a payload."""
    project = here.project
    if project is not None and name in project.targets:
        return sorted({node.payload_name for node, _ in here.pairs(project[name])} - {name})
    known = [*stored_names(here.store), *(project.targets if project is not None else ())]
    raise BadUsage(f"nothing called {name!r} is stored in {here.store.url}; {near(name, sorted(set(known)))}")


def _row(entry: Entry) -> dict[str, Any]:
    place, record = entry.place, entry.record
    row: dict[str, Any] = {"name": place.name, "key": f"{place.name}/{place.digest}" if place.digest else None}
    row["at"] = place.to if isinstance(place, Placed) else None
    if record is None:
        return {**row, "size": None, "stored": None, "made": "untrusted" if entry.refused is not None else "damaged", "params": {}}
    facts = record.to_dict()
    stored = facts["started"] + facts["seconds"]
    return {**row, "size": record.size, "stored": stored, "made": facts["made"], "params": facts["params"]}


def _by_name(row: dict[str, Any]) -> Any:
    return row["name"], row["key"] or "", row["at"] or ""


def _by_size(row: dict[str, Any]) -> Any:
    return -(row["size"] or 0), *_by_name(row)


def _by_age(row: dict[str, Any]) -> Any:
    return -(row["stored"] or 0.0), *_by_name(row)


_ORDER = {"name": _by_name, "size": _by_size, "age": _by_age}


def _show(rows: list[dict[str, Any]]) -> None:
    from persistable.records.amounts import duration_in_words, size_in_words

    short = on_terminal()
    now = time.time()
    placed = any(row["at"] for row in rows)
    columns = [Column("name"), Column("key"), Column("size", right=True), Column("age", right=True)]
    columns += [Column("at")] * placed + [Column("params", long=True)]
    cells: list[list[str]] = []
    for row in rows:
        digest = (row["key"] or "").rpartition("/")[2]
        damaged = row["made"] == "damaged"
        line = [
            row["name"] or "?",
            digest[:8] if short else row["key"] or "?",
            "?" if damaged else size_in_words(row["size"]),
            "?" if damaged else duration_in_words(max(0.0, now - row["stored"])),
        ]
        line += [row["at"] or ""] * placed
        cells.append([*line, "its record is damaged" if damaged else _params(row)])
    table(columns, cells)


def _params(row: dict[str, Any]) -> str:
    return ("put in by hand " if row["made"] == "put" else "") + shown_params(row["params"])
