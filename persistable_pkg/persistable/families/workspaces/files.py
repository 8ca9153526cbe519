"""The files of one seed, at the paths of its template, in the store of a workspace."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from persistable.errors import InputChanged, InputVanished, PayloadNotRepresentable
from persistable.families.sources.files import Files, Folders, each
from persistable.families.sources.input_roots import input_root_of
from persistable.families.sources.inputs import Values, naming
from persistable.fileio.base import FileIO, PartsFileIO
from persistable.fileio.compare import difference
from persistable.records import files
from persistable.records.template import Template
from persistable.stores.base import Store


class SeedFiles:
    """The files at the paths of the template of a seed. Picklable: workers read seeds through it.

    io: their format. kind: the declared type, of which only `pathlib.Path` matters here: then the payload is the path of the file.
    """

    def __init__(self, name: str, store: Store, template: Template, io: FileIO[Any], kind: Any) -> None:
        self.name = name
        self.template = template
        self.io = io
        self._as_path = kind is Path and not isinstance(io, PartsFileIO)
        self._store = store
        root = input_root_of(store)
        if isinstance(io, PartsFileIO):
            self._inputs: Files = Folders(root, template if template.is_folder else Template(template.text + "/"))
        else:
            self._inputs = Files(root, template)
        self._root = root

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of its template."""
        return self.template.fields

    def listed(self) -> dict[Values, Any]:
        """The existing ones, with a stamp that changes with the content; None if changes cannot be detected."""
        return dict(self._inputs.stamps())

    def path(self, values: Values) -> str:
        """Path of one in the store. Raises InvalidName for values that cannot be part of a path."""
        return self.template.format(**dict(zip(self.fields, values, strict=True)))

    def shown(self, values: Values) -> str:
        """Path or URL of one, for people."""
        return self._root.shown(self.path(values))

    def stamp(self, values: Values) -> Any:
        """The stamp of one; None for a folder, or if changes cannot be detected. Raises InputVanished if it does not exist."""
        path = self.path(values)
        try:
            if not isinstance(self._inputs, Folders):
                return self._root.stamp(path)
            if not self._store.exists(path) and next(iter(self._root.files_in(path)), None) is None:
                raise FileNotFoundError(path)
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing(values) from None
        return None  # of a folder: stats of many files save nothing over their content

    def exists(self, values: Values) -> bool:
        """Tell whether one exists."""
        try:
            self.stamp(values)
        except InputVanished:
            return False
        return True

    def content(self, values: Values, stamp: Any) -> str:
        """The digest of the current content. Raises InputVanished."""
        try:
            return self._inputs.content(values, stamp)
        except InputVanished:
            raise self._missing(values) from None

    def contents(self, listed: Iterable[tuple[Values, Any]]) -> dict[Values, str]:
        """The results of `content` for many, read concurrently."""
        wanted = list(listed)
        return dict(zip([values for values, _ in wanted], each(lambda one: self.content(*one), wanted, self._root.at_once), strict=True))

    def load(self, values: Values, content: str) -> Any:
        """The payload of exactly that content. Raises InputVanished, InputChanged, MalformedFile."""
        try:
            if self._as_path:
                return self._fetched(values, content)
            with naming(f"the seed {self.name} at {self.shown(values)}"):
                return self._inputs.load(values, content, self.io)
        except InputVanished:
            raise self._missing(values) from None
        except InputChanged as error:
            raise self._changed(values) from error.__cause__

    def _fetched(self, values: Values, content: str) -> Path:
        if self.content(values, None) != content:
            raise self._changed(values)
        path = self.path(values)
        local = self._root.local(path)
        if local is not None:
            return Path(local)
        target = files.folder_of_this_process() / path.rpartition("/")[2]
        with self._root.reading(path) as source, target.open("xb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
        return target

    def put(self, values: Values, value: Any) -> None:
        """Write `value` to the path, replacing its content. Raises the errors of its format for a value that it cannot represent."""
        path = self.path(values)
        if self._as_path:
            value = files.ExistingFile(shutil.copy2(value, files.folder_of_this_process()))  # a copy that may be moved away
        with naming(f"the seed {self.name} at {self.shown(values)}"):
            if not self._as_path:
                self._check(value)
            written = files.write(self._store, path, self.io, value)
        if isinstance(self.io, PartsFileIO):
            kept = {file.path for file in written.files}
            for old in [old for old in self._store.list(path) if old not in kept]:
                self._store.delete(old)

    def _check(self, value: Any) -> None:
        """Raise PayloadNotRepresentable for a value that only its schema restores: records keep one, seeds do not."""
        self.io.check(value)
        if self.io.schema(value) is None or isinstance(self.io, PartsFileIO):
            return
        found = self.io.loads(self.io.dumps(value))
        flaw = difference(value, found)
        if not flaw and not value.equals(found):
            flaw = f"column {next(name for name in value if not value[name].equals(found[name]))!r} would hold other values"
        if flaw:
            name = type(self.io).__name__
            raise PayloadNotRepresentable(
                f"a seed is read as any other file of {name}: {flaw}; write the file yourself if that is meant, else let the template end "
                "in .parquet or .pickle",
                format=name,
                reason=flaw,
            )

    def _missing(self, values: Values) -> InputVanished:
        where = self.shown(values)
        return InputVanished(f"the seed {self.name} is missing: there is no {where}; put it there, or put(...) it", place=where)

    def _changed(self, values: Values) -> InputChanged:
        where = self.shown(values)
        return InputChanged(
            f"the seed {self.name} at {where} has changed while it was used; ask again, which takes it as it is now", place=where
        )
