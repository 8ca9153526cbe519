"""Where a workspace class puts what: its templates, checked against the workflow when the class is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from persistable.errors import InvalidName, UnknownFormat, WorkflowError
from persistable.fileio.base import FileIO
from persistable.params.building import nearest
from persistable.source.inputs import Values
from persistable.template import Template
from persistable.workspace.formats import format_of_node, format_of_seed
from persistable.workspace.ids import part
from persistable.workspace.workflow import Workflow


class Stored:
    """Where something lies, and in what format: what `stored` gives."""

    def __init__(self, template: str, io: FileIO[Any] | None = None) -> None:
        if io is not None and not isinstance(io, FileIO):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"stored({template!r}, io={io!r:.40}): io is a FileIO object, such as CsvFileIO(index=False)")
        self.template = template
        self.io = io

    def __repr__(self) -> str:
        return f"stored({self.template!r}{f', io={self.io!r}' if self.io is not None else ''})"


def stored(template: str, io: FileIO[Any] | None = None) -> Stored:
    """Say where a seed or node of a workflow lies in a workspace.

    Parameters:
        template: a path in the store, ``/``-separated, with the parts of the id as fields in braces: ``"raw/data-{workflow_id}.csv"``. One
            that ends in ``/`` names a folder.
        io: the format; by default what suffix and declared type say.
    """
    return Stored(template, io)


class Layout:
    """The places of one workspace class.

    templates, formats: by name. seeds: the names of the seeds that have a template. id_seeds: those whose template has a field and that
    have no default: where they are, there is an id. fields: what an id is made of.

    Raises WorkflowError for anything that could not work, or would put two things in one file.
    """

    def __init__(self, where: str, workflow: type[Workflow], places: Mapping[str, Stored]) -> None:
        self.where = where
        self.workflow = workflow
        self._recipe = workflow._recipe  # pyright: ignore[reportPrivateUsage]
        seeds = workflow._seed_members  # pyright: ignore[reportPrivateUsage]
        self._check_names(places, seeds)
        self.templates = {name: self._template(name, place) for name, place in places.items()}
        self.seeds = [name for name in self.templates if name in seeds]
        self.steps = [name for name in self._recipe.members if name in self.templates and name not in seeds]
        self.id_seeds = [name for name in self.seeds if self.templates[name].fields and not seeds[name].has_default]
        self.fields = tuple(dict.fromkeys(field for name in self.id_seeds for field in self.templates[name].fields))
        self._check_fields()
        self._check_overlaps()
        self.formats = {name: self._format(name, place) for name, place in places.items()}

    def path(self, name: str, values: Values) -> str:
        """Where the node `name` of the id with these values lies. Raises InvalidName for values that can be no part of a path."""
        template = self.templates[name]
        return template.format(**dict(zip(template.fields, part(self.fields, values, template.fields), strict=True)))

    def _check_names(self, places: Mapping[str, Stored], seeds: Mapping[str, Any]) -> None:
        members, workflow = self._recipe.members, self.workflow.__name__
        for name in places:
            if name not in members:
                near = nearest(name, members)
                hint = f" (did you mean {near!r}?)" if near else ""
                self._refuse(name, f"{workflow} has no seed or node of that name{hint}; it has {', '.join(members)}")
        for name, seed in seeds.items():
            if name not in places and not seed.has_default:
                self._refuse(name, f"{name} is a seed of {workflow}, and nothing says where it lies; write {name} = stored('...')")
        for name in places:
            template = members[name]
            if name not in seeds and not template._persisted:
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
            line = self._recipe.lines[name]
            for seed in sorted(line.seeds):
                missing = [field for field in self._fields_of(seed) if field not in self.templates[name].fields]
                if missing:
                    self._refuse(
                        name,
                        f"{self.templates[name].text!r} has no {{{missing[0]}}}, although {name} depends on the seed {seed}, which has it: "
                        "the payloads of several ids would lie in one file; write the field into the template",
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
                        f"{template.text!r} can be the same path as {found.text!r} of {other}, so that two things would lie in one file; "
                        "put them into folders of their own, or give them other suffixes",
                    )
                if _lies_in(template, found) or _lies_in(found, template):
                    self._refuse(name, f"{template.text!r} and {found.text!r} of {other}: one could lie inside the other; part them")

    def _format(self, name: str, place: Stored) -> FileIO[Any]:
        if place.io is not None:
            return place.io
        template, kind = self.templates[name], self.workflow._kinds[name]  # pyright: ignore[reportPrivateUsage]
        try:
            if name in self.seeds:
                return format_of_seed(template, kind)
            return format_of_node(template, kind, self._recipe.members[name].io)
        except UnknownFormat as error:
            self._refuse(name, str(error), error)

    def _refuse(self, name: str, why: str, cause: Exception | None = None) -> NoReturn:
        where = f"{self.where}.{name}" if name else self.where
        raise WorkflowError(f"{where}: {why}", where=where) from cause


def _lies_in(inner: Template, outer: Template) -> bool:
    """Tell whether some path of `inner` could be in a folder of the name of a path of `outer`."""
    parts = inner.text.rstrip("/").split("/")
    return any(Template("/".join(parts[:depth])).overlaps(outer) for depth in range(1, len(parts)))
