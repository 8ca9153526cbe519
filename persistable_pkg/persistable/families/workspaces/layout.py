"""`stored`: the path template and the format of each seed and node of a workspace."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from persistable.errors import InvalidName, UnknownFormat, WorkflowError
from persistable.families.sources.inputs import Values
from persistable.families.workspaces.ids import part
from persistable.families.workspaces.workflow import Workflow
from persistable.fileio import BytesFileIO, fileio_for
from persistable.fileio.base import FileIO, PartsFileIO
from persistable.fileio.plain import KINDS, ScalarFileIO
from persistable.fileio.registry import plain
from persistable.nodes.declared_type import written
from persistable.nodes.format_check import why_not
from persistable.params.building import did_you_mean
from persistable.records.template import Template


def format_of_seed(template: Template, kind: Any) -> FileIO[Any]:
    """The format of seed files, which users write. Tables have no index column."""
    if _class_of(kind) is Path and not template.is_folder:
        return BytesFileIO()  # only the path is used, not the content
    found = format_of_node(template, kind, None)
    if type(found).__name__ == "CsvFileIO":
        from persistable.fileio import CsvFileIO

        return CsvFileIO(index=False)
    return found


def format_of_node(template: Template, kind: Any, own: Any) -> FileIO[Any]:
    """The format of a computed node; `own` is the ``io`` of its step or class."""
    name = template.text.rstrip("/").rpartition("/")[2]
    origin = _class_of(kind)
    if template.is_folder:
        return own if isinstance(own, PartsFileIO) else fileio_for(Path)  # pyright: ignore[reportUnknownVariableType]
    found = _by_suffix(name)
    if isinstance(own, FileIO) and (found is None or type(found) is type(own)):  # pyright: ignore[reportUnknownArgumentType]
        return own  # pyright: ignore[reportUnknownVariableType]
    scalar = getattr(origin, "__name__", "") if origin in KINDS.values() else ""
    if found is None:
        if scalar:
            return ScalarFileIO(scalar)
        if origin is None:
            raise UnknownFormat(
                f"neither the suffix of {name!r} nor a declared type says what its format is; "
                "give io=, for example io=JsonFileIO(), or declare the type",
                format=name,
            )
        return fileio_for(kind)
    if origin is Path and not isinstance(found, PartsFileIO):
        raise UnknownFormat(
            f"{name!r} would be one file, and a Path that is computed is a folder; end the template in '/'", format=type(found).__name__
        )
    if type(found).__name__ == "TextFileIO" and scalar not in ("", "str"):
        return ScalarFileIO(scalar)
    reason = why_not(found, kind)
    if reason:
        raise UnknownFormat(
            f"by its suffix {name!r} would be of {type(found).__name__}, which gives no {written(kind)}: {reason}; "
            "choose another suffix, or give io=",
            format=type(found).__name__,
        )
    return found


def _by_suffix(name: str) -> FileIO[Any] | None:
    suffix = name[name.rfind("}") + 1 :]  # dots in front of a field, or in it, begin no suffix
    if "." not in suffix:
        return None
    try:
        return fileio_for(suffix)
    except UnknownFormat:
        return None


def _class_of(kind: Any) -> Any:
    """The class behind an annotation; None for one without information."""
    if kind is None:
        return None
    kind = plain(kind)
    origin = typing.get_origin(kind) or kind
    return origin if isinstance(origin, type) and origin is not object else None


class Stored:
    """Path template and format of a seed or node, as given to `stored`."""

    def __init__(self, template: str, io: FileIO[Any] | None = None) -> None:
        if io is not None and not isinstance(io, FileIO):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"stored({template!r}, io={io!r:.40}): io is a FileIO object, such as CsvFileIO(index=False)")
        self.template = template
        self.io = io

    def __repr__(self) -> str:
        return f"stored({self.template!r}{f', io={self.io!r}' if self.io is not None else ''})"


def stored(template: str, io: FileIO[Any] | None = None) -> Stored:
    """Store a seed or node of a workflow at a path in a workspace.

    Parameters:
        template: a path in the store, ``/``-separated, with the parts of the id as fields in braces: ``"raw/data-{workflow_id}.csv"``. One
            that ends in ``/`` names a folder.
        io: the format; by default that of suffix and declared type.
    """
    return Stored(template, io)


class Layout:
    """The places of one workspace class.

    templates, formats: by name. seeds: the names of the seeds that have a template. id_seeds: those whose template has a field and that
    have no default: an id exists if their files do. fields: the parts of an id.

    Raises WorkflowError for a layout that could not work, or would store two payloads in one file.
    """

    def __init__(self, where: str, workflow: type[Workflow], places: Mapping[str, Stored]) -> None:
        self.where = where
        self.workflow = workflow
        self._graph = workflow._graph  # pyright: ignore[reportPrivateUsage]
        seeds = workflow._seed_members  # pyright: ignore[reportPrivateUsage]
        self._check_names(places, seeds)
        self.templates = {name: self._template(name, place) for name, place in places.items()}
        self.seeds = [name for name in self.templates if name in seeds]
        self.steps = [name for name in self._graph.members if name in self.templates and name not in seeds]
        self.id_seeds = [name for name in self.seeds if self.templates[name].fields and not seeds[name].has_default]
        self.fields = tuple(dict.fromkeys(field for name in self.id_seeds for field in self.templates[name].fields))
        self._check_fields()
        self._check_overlaps()
        self.formats = {name: self._format(name, place) for name, place in places.items()}

    def path(self, name: str, values: Values) -> str:
        """Path of the node `name` for the id with these values. Raises InvalidName for values that cannot be part of a path."""
        template = self.templates[name]
        return template.format(**dict(zip(template.fields, part(self.fields, values, template.fields), strict=True)))

    def _check_names(self, places: Mapping[str, Stored], seeds: Mapping[str, Any]) -> None:
        members, workflow = self._graph.members, self.workflow.__name__
        for name in places:
            if name not in members:
                hint = did_you_mean(name, members, " ({})")
                self._refuse(name, f"{workflow} has no seed or node of that name{hint}; it has {', '.join(members)}")
        for name, seed in seeds.items():
            if name not in places and not seed.has_default:
                self._refuse(name, f"{name} is a seed of {workflow}, and no path is given for it; write {name} = stored('...')")
        for name in places:
            template = members[name]
            if name not in seeds and not template.is_persisted:
                self._refuse(name, f"{template.payload_name} says persist=False, so it cannot be stored; leave one of them out")

    def _template(self, name: str, place: Stored) -> Template:
        try:
            template = Template(place.template)
            template.format(**dict.fromkeys(template.fields, "x"))
        except InvalidName as error:
            self._refuse(name, str(error), error)
        return template

    def _check_fields(self) -> None:
        if not self.fields:
            self._refuse(
                "",
                "none of its seeds has a field such as {workflow_id} in its template, so no ids can be found; write one into the template",
            )
        for name, template in self.templates.items():
            unknown = [field for field in template.fields if field not in self.fields]
            if unknown:
                self._refuse(
                    name,
                    f"{template.text!r} has the field {{{unknown[0]}}}, which no seed without a default has; ids are made of "
                    + ", ".join(self.fields),
                )
        for name in self.steps:
            definition = self._graph.definitions[name]
            for seed in sorted(definition.seeds):
                missing = [field for field in self._fields_of(seed) if field not in self.templates[name].fields]
                if missing:
                    self._refuse(
                        name,
                        f"{self.templates[name].text!r} has no {{{missing[0]}}}, although {name} depends on the seed {seed}, which has it: "
                        "the payloads of several ids would be stored in one file; write the field into the template",
                    )

    def _fields_of(self, seed: str) -> tuple[str, ...]:
        return self.templates[seed].fields if seed in self.templates else ()

    def _check_overlaps(self) -> None:
        names = list(self.templates)
        for index, name in enumerate(names):
            template = self.templates[name]
            for other in names[:index]:
                found = self.templates[other]
                if template.overlaps(found):
                    self._refuse(
                        name,
                        f"{template.text!r} can be the same path as {found.text!r} of {other}, so that both would be in one file; "
                        "put them into folders of their own, or give them other suffixes",
                    )
                if _lies_in(template, found) or _lies_in(found, template):
                    self._refuse(name, f"{template.text!r} and {found.text!r} of {other}: one could be inside the other; part them")

    def _format(self, name: str, place: Stored) -> FileIO[Any]:
        if place.io is not None:
            return place.io
        template, kind = self.templates[name], self.workflow._kinds[name]  # pyright: ignore[reportPrivateUsage]
        try:
            if name in self.seeds:
                return format_of_seed(template, kind)
            return format_of_node(template, kind, self._graph.members[name].io)
        except UnknownFormat as error:
            self._refuse(name, str(error), error)

    def _refuse(self, name: str, why: str, cause: Exception | None = None) -> NoReturn:
        where = f"{self.where}.{name}" if name else self.where
        raise WorkflowError(f"{where}: {why}", where=where) from cause


def _lies_in(inner: Template, outer: Template) -> bool:
    """Tell whether a path of `inner` could be inside a folder with the name of a path of `outer`."""
    parts = inner.text.rstrip("/").split("/")
    return any(Template("/".join(parts[:depth])).overlaps(outer) for depth in range(1, len(parts)))
