"""The ids of a workspace: found by listing the files of the seeds that have fields in their templates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from persistable.errors import InvalidName, UnknownMember
from persistable.families.sources.inputs import Values
from persistable.families.workspaces.files import SeedFiles
from persistable.params.building import nearest
from persistable.records.template import Template


class UnfitId(InvalidName, KeyError):
    """An id that cannot be part of a path, and so is not a key of the mapping: `Mapping.get` returns the default for it."""

    __str__ = Exception.__str__  # KeyError's puts the text in quotes


def values_of(fields: tuple[str, ...], workflow_id: Any, where: str) -> Values:
    """The value of each field in an id. Raises UnknownMember for another shape, InvalidName for an id that cannot be part of a path."""
    values: tuple[Any, ...] = workflow_id if len(fields) > 1 and workflow_id.__class__ is tuple else (workflow_id,)
    if len(values) != len(fields) or not all(isinstance(value, str | int) and not isinstance(value, bool) for value in values):
        wanted = "one text" if len(fields) == 1 else f"a tuple ({', '.join(fields)})"
        raise UnknownMember(
            f"an id of {where} is {wanted}, not {workflow_id!r:.60}", axis=", ".join(fields), label=workflow_id, nearest=None
        )
    for field, value in zip(fields, values, strict=True):
        try:
            _alone(field).format(**{field: value})
        except InvalidName as error:
            raise UnfitId(*error.args, **error.__dict__) from None
    return tuple(map(str, values))


@cache
def _alone(field: str) -> Template:
    return Template(f"{{{field}}}")


def id_of(values: Values) -> Any:
    """The id with these values: the value itself if there is one field."""
    return values[0] if len(values) == 1 else values


def part(fields: tuple[str, ...], values: Values, of: tuple[str, ...]) -> Values:
    """Pick the values of the fields `of`."""
    if of == fields:
        return values
    return tuple([values[fields.index(field)] for field in of])


class Listing:
    """One listing of all seeds that have fields.

    ids: those for which every seed exists, sorted. incomplete: the problems of ids for which only some exist, or that cannot be a path.
    stamps: by seed, of every file that was found.
    """

    def __init__(self, fields: tuple[str, ...], seeds: Mapping[str, SeedFiles], needed: Iterable[str]) -> None:
        self.stamps = {name: files.listed() for name, files in seeds.items() if files.fields}
        needed = list(needed)
        rows, known = [()], tuple[str, ...]()
        for name in needed:
            rows, known = _joined(rows, known, list(self.stamps[name]), seeds[name].fields)
        there = [part(known, row, fields) for row in rows]
        self.incomplete: dict[Any, list[str]] = {}
        self.ids: list[Values] = []
        for values in sorted(there):
            try:
                values_of(fields, id_of(values), "")
            except InvalidName as error:
                self.incomplete[id_of(values)] = [str(error)]
            else:
                self.ids.append(values)
        whole = set(there)
        for name in needed:
            for values in self.stamps[name] if len(seeds[name].fields) == len(fields) else ():
                full = part(seeds[name].fields, values, fields)
                if full not in whole and id_of(full) not in self.incomplete:
                    self.incomplete[id_of(full)] = list(self._missing(full, fields, seeds, needed))

    def _missing(self, values: Values, fields: tuple[str, ...], seeds: Mapping[str, SeedFiles], needed: list[str]) -> Iterable[str]:
        for name in needed:
            own = part(fields, values, seeds[name].fields)
            if own not in self.stamps[name]:
                try:
                    yield f"the seed {name} is missing: there is no {seeds[name].shown(own)}"
                except InvalidName as error:
                    yield str(error)


def _joined(rows: list[Any], known: tuple[str, ...], found: list[Values], fields: tuple[str, ...]) -> tuple[list[Any], tuple[str, ...]]:
    """Join every row with every found value that agrees with it on the fields that both have."""
    shared = tuple(field for field in fields if field in known)
    more = tuple(field for field in fields if field not in known)
    by_shared: dict[Values, list[Values]] = {}
    for values in found:
        by_shared.setdefault(part(fields, values, shared), []).append(part(fields, values, more))
    joined = [(*row, *rest) for row in rows for rest in by_shared.get(part(known, row, shared), ())]
    return joined, (*known, *more)


def unknown(where: str, workflow_id: Any, fields: tuple[str, ...], missing: list[str], known: Iterable[Any]) -> UnknownMember:
    """The error for an id that does not exist, with its missing seeds and the nearest id."""
    ids = {text_of(each): each for each in known}
    near = nearest(text_of(workflow_id), ids)
    hint = f"; the nearest id is {ids[near]!r}" if near is not None else f"; there are {len(ids)} ids" if ids else "; there are no ids yet"
    return UnknownMember(
        f"{where} has no {workflow_id!r}: {'; '.join(missing)}{hint}",
        axis=", ".join(fields),
        label=workflow_id,
        nearest=ids[near] if near is not None else None,
    )


def text_of(workflow_id: Any) -> str:
    """An id as text."""
    return "/".join(list(workflow_id)) if workflow_id.__class__ is tuple else str(workflow_id)
