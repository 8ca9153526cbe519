"""The page of a sweep: the payloads of one name by two of the params that differ among them, own or upstream, in a matrix."""

# payloads are of types that are known at run time only
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from persistable.catalog.entry import Entry
from persistable.catalog.index.rows import FAILED
from persistable.catalog.nearest import Descriptions
from persistable.errors import InvalidName, PersistableError
from persistable.families.colour_scale import mean
from persistable.families.matrix import MOST, Matrix
from persistable.nodes.status import Status
from persistable.params.display import cut, in_words, is_of_nodes
from persistable.params.trees import absent, leaves_of
from persistable.records.key import check_payload_name
from persistable.records.units import duration_in_words, size_in_words
from persistable.web.page import Page, PageRequest, Site
from persistable.web.trust import TooLarge, payload_of

ENTRIES = 2500
"""Most payloads of one name that are considered, the newest."""
SMALL = 100_000
"""Most bytes of a payload that may be a value of a sweep."""
FACTS = ("seconds", "size")
_STATUS = {"done": Status.DONE, "failed": Status.FAILED, "corrupt": Status.CORRUPT, "untrusted": Status.FOREIGN}
_DEEPEST = 6


class Cell(NamedTuple):
    """The payloads at one pair of values."""

    entries: list[Entry]
    values: list[float]


def sweep_page(site: Site, asked: PageRequest) -> Page:
    """The page of a sweep. ``name``: of payloads; without it, all names are listed. ``x``, ``y``: params. ``by``: the value in a cell.

    by: ``status``, ``seconds``, ``size``, ``payload`` for payloads that are numbers, and ``payload.FIELD`` for dicts of such.
    """
    catalog = site.catalog
    name = asked.query.get("name", "")
    names = [{"name": row.name, "count": row.count} for row in catalog.savings()]
    facts: dict[str, Any] = {"store": catalog.store.url, "name": name or None, "names": names}
    if not name:
        return Page("Sweeps", "sweep.html", {**facts, "axes": []}, {"matrix": None, "cells": {}})
    try:
        check_payload_name(name)
    except InvalidName as error:
        return Page("Sweeps", "error.html", {"error": str(error)}, {}, 404)
    stored, total = catalog.find(name).page(0, ENTRIES)
    failed, failures = catalog.find(name, status=FAILED).page(0, ENTRIES)
    entries = [*stored, *failed]
    settings = _settings(site, entries)
    axes = _varying(settings)
    own = [axis for axis in axes if "." not in axis] or axes
    x = asked.query.get("x") if asked.query.get("x") in axes else (own[-1] if own else "")
    others = [axis for axis in [*reversed(own), *reversed(axes)] if axis != x]
    y = asked.query.get("y") if asked.query.get("y") in axes and asked.query.get("y") != x else (others[0] if others else "")
    bys = ["status", *FACTS, *_measures(site, entries)]
    by = asked.query.get("by") if asked.query.get("by") in bys else (bys[3] if len(bys) > 3 else "status")
    matrix, cells = _matrix(site, name, (str(x), str(y)), str(by), list(zip(entries, settings, strict=True)))
    facts |= {
        "axes": axes,
        "x": x,
        "y": y,
        "by": by,
        "bys": bys,
        "looked_at": len(entries),
        "total": total + failures,
        "columns": list(matrix.columns),
        "rows": list(matrix.rows),
    }
    facts["cells"] = [[_cell_facts(matrix, cells, row, column) for column in range(len(matrix.columns))] for row in range(len(matrix.rows))]
    return Page(f"Sweep of {name}", "sweep.html", facts, {"matrix": matrix, "cells": cells})


def _cell_facts(matrix: Matrix, cells: Mapping[tuple[int, int], Cell], row: int, column: int) -> dict[str, Any]:
    cell = cells.get((row, column))
    value = matrix.values[row][column] if matrix.values is not None else None
    return {
        "statuses": {status.value: number for status, number in matrix.cells[row][column].items()},
        "value": value,
        "keys": [str(entry.key) for entry in cell.entries[:10]] if cell is not None else [],
    }


# params


def _settings(site: Site, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The params of each entry by dotted path, those upstream under their role."""
    known = Descriptions(site.catalog.index)
    known.load([str(entry.key) for entry in entries])
    return [dict(_leaves(known, str(entry.key), entry.params_tree)) for entry in entries]


def _leaves(known: Descriptions, key: str, params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    stack = [("", key, params, 0)]
    while stack:
        prefix, key, params, depth = stack.pop()
        yield from ((prefix + path, tree) for path, tree in leaves_of(params) if not is_of_nodes(tree))
        described = known.of.get(key)
        if described is not None and depth < _DEEPEST:
            for role, source in described.upstream.items():
                if source in known.of:
                    stack.append((f"{prefix}{role}.", source, known.of[source].params, depth + 1))


def _varying(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The paths at which the values differ."""
    paths = dict.fromkeys(path for each in settings for path in each)
    return [path for path in paths if len({_same(each.get(path, absent)) for each in settings}) > 1]


def _same(tree: Any) -> str:
    return "" if tree is absent else json.dumps(tree, sort_keys=True, default=str)


def _order(trees: Mapping[str, Any]) -> list[str]:
    """The values of an axis in order: numbers by size, then others as text, then absent ones."""

    def rank(text: str) -> tuple[int, float, str]:
        tree = trees[text]
        is_number = tree.__class__ in (int, float) and math.isfinite(tree)
        return (2, 0.0, "") if tree is absent else (0, float(tree), "") if is_number else (1, 0.0, in_words(tree))

    return sorted(trees, key=rank)


# values


def _measures(site: Site, entries: Sequence[Entry]) -> list[str]:
    """The measures that payloads of this name have, taken from the first that is stored."""
    first = next((entry for entry in entries if entry.status == "done"), None)
    payload = _payload(site, first) if first is not None else None
    if _is_number(payload):
        return ["payload"]
    if isinstance(payload, dict):
        items: dict[Any, Any] = payload
        return [f"payload.{name}" for name, value in items.items() if isinstance(name, str) and _is_number(value)][:20]
    return []


def _payload(site: Site, entry: Entry) -> Any:
    if entry.size is None or entry.size > SMALL:
        return None
    try:
        return payload_of(site, entry, entry.record, largest=SMALL)
    except (PersistableError, OSError, TooLarge):
        return None
    except Exception:  # noqa: BLE001 - classes of users that are imported already
        return None


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool | str | bytes) and hasattr(value, "__float__") and getattr(value, "ndim", 0) == 0


def _value(site: Site, entry: Entry, by: str) -> float | None:
    if entry.status != "done" or by == "status":
        return None
    if by in FACTS:
        fact = getattr(entry, by)
        return None if fact is None else float(fact)
    payload = _payload(site, entry)
    field = by.partition(".")[2]
    value: Any = payload.get(field) if field and isinstance(payload, dict) else payload
    number = float(value) if _is_number(value) else None
    return number if number is not None and math.isfinite(number) else None


# the matrix


def _matrix(
    site: Site, name: str, axes: tuple[str, str], by: str, found: Sequence[tuple[Entry, Mapping[str, Any]]]
) -> tuple[Matrix, dict[tuple[int, int], Cell]]:
    places: list[dict[str, int]] = []
    labels: list[list[str]] = []
    more: list[int] = []
    for axis in axes:
        trees = {_same(setting.get(axis, absent)): setting.get(axis, absent) for _, setting in found} if axis else {"": absent}
        order = _order(trees)
        places.append({text: at for at, text in enumerate(order[:MOST])})
        labels.append([cut(in_words(trees[text], axis.rpartition(".")[2]), 24) if axis else "" for text in order[:MOST]])
        more.append(max(0, len(order) - MOST))
    made = Matrix(name, axes, (labels[0], labels[1]), (more[0], more[1]))
    cells: dict[tuple[int, int], Cell] = {}
    for entry, setting in found:
        column, row = (places[n].get(_same(setting.get(axis, absent)) if axis else "") for n, axis in enumerate(axes))
        if column is None or row is None:
            continue
        made.cells[row][column][_STATUS.get(entry.status, Status.ABSENT)] += 1
        cell = cells.setdefault((row, column), Cell([], []))
        cell.entries.append(entry)
        value = _value(site, entry, by)
        if value is not None:
            cell.values.append(value)
    made.in_words = {"seconds": duration_in_words, "size": size_in_words}.get(by)
    if by != "status":
        at = range(len(made.columns))
        made.values = [
            [mean(there.values) if (there := cells.get((row, column))) and there.values else None for column in at]
            for row in range(len(made.rows))
        ]
    return made, cells
