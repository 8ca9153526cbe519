"""`Source`: a family of external inputs by key, selected, filtered and joined."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast, overload

from persistable.errors import InvalidName, UnknownFormat, UnknownParam
from persistable.families import Family
from persistable.families.axis import Axis, frozen
from persistable.families.sources.files import Files, Folders, Keys
from persistable.families.sources.input_nodes import Listing, ListingSnapshot
from persistable.families.sources.input_roots import input_root_of
from persistable.families.sources.inputs import Inputs, Objects, Values
from persistable.families.sources.rows import Rows, rows_at
from persistable.families.view import LiveView, View
from persistable.fileio.base import FileIO, PartsFileIO
from persistable.params.masking import masked
from persistable.records.key import check_payload_name
from persistable.records.template import Template
from persistable.stores.base import Store
from persistable.stores.open import open_store


@dataclass(frozen=True)
class FilterMembers:
    """Keeps the members for whose key `keep` is true."""

    keep: Callable[[Any], object]

    def __call__(self, view: View) -> View:
        labels = view.axes[0].labels
        return view.part([[index for index, label in enumerate(labels) if self.keep(label)]])


@dataclass(frozen=True)
class RekeyMembers:
    """Renames the keys of the members."""

    name: Callable[[Any], Any]

    def __call__(self, view: View) -> View:
        axis = view.axes[0]
        rows = [_row(self.name(label), label, axis) for label in axis.labels]
        fields = list(rows[0]) if rows else list(axis.columns)
        first: dict[Any, Any] = {}
        for row, label in zip(rows, axis.labels, strict=True):
            if list(row) != fields:
                raise ValueError(
                    f"rekey() gives {', '.join(row)} for {label!r:.60} and {', '.join(fields)} for the first; give all the same"
                )
            new = frozen(tuple(row.values()))
            if first.setdefault(new, label) is not label:
                shown = new[0] if len(new) == 1 else new
                raise ValueError(f"rekey() gives {shown!r:.60} for both {first[new]!r:.60} and {label!r:.60}; a key must find one input")
        return view._replace(axes=(Axis({field: [row[field] for row in rows] for field in fields}, is_listed=True),))


def _row(new: Any, label: Any, axis: Axis) -> dict[str, Any]:
    kind: Any = new.__class__
    if issubclass(kind, dict):
        return {str(field): value for field, value in new.items()}
    if len(axis.columns) > 1:
        raise TypeError(f"rekey() gives {new!r:.60} for {label!r:.60}; where there are several fields ({axis.name}), give a dict of fields")
    return {axis.name: new}


@dataclass(frozen=True, eq=False)
class JoinMembers:
    """Keeps the members that match one of `other` in the fields of the same names."""

    other: Family[Any]

    def __call__(self, view: View) -> View:
        axis = view.axes[0]
        their = self.other.axes
        for one in their:
            common = [name for name in axis.columns if name in one.columns]
            if common:
                known = {frozen(values) for values in zip(*[one.columns[name] for name in common], strict=True)}
                mine = zip(*[axis.columns[name] for name in common], strict=True)
                return view.part([[index for index, values in enumerate(mine) if frozen(values) in known]])
        names = [name for one in their for name in one.columns]
        raise UnknownParam(
            f"join: {', '.join(names)} of {self.other!r} and {', '.join(axis.columns)} have no name in common; rename() one of them",
            name=axis.name,
            accepted=names,
        )


_FIELD = re.compile(r"(?<!\{)(?:\{\{)*\{(?!\{)")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+)(?:::[^/]*)?://")


def inputs_at(where: str, store: str | os.PathLike[str] | Store | None, keys: Keys | None, options: dict[str, Any]) -> Inputs:
    """The inputs at a path or URL with fields, in `store` if one is given."""
    scheme = _URL.match(where)
    if store is not None:
        if scheme is not None:
            raise ValueError(f"{masked(where)} says where it is by itself; give the path in the store, or leave store= out")
        root, template = input_root_of(open_store(store, **options)), Template(where)
    elif scheme is not None and scheme[1].lower() in ("http", "https"):
        from persistable.families.sources.http import Pages

        return Pages(where, keys, **options)
    elif scheme is not None and _FIELD.search(where) is None and (rows := rows_at(where, scheme[1].lower(), options)) is not None:
        if keys is not None:
            raise TypeError(f"keys of Source is for paths; take some of the rows of {masked(where)} by where(), or make a view")
        return rows
    else:
        source, text = _split(where, scheme[0] if scheme is not None else "")
        root, template = input_root_of(open_store(source, **options)), Template(text)
    if not template.fields:
        raise InvalidName(
            f"{template.text!r} has no field in braces, so it names one input, without a key; write one, as in {{book}}.txt",
            name=template.text,
        )
    return (Folders if template.is_folder else Files)(root, template, keys)


def _split(where: str, scheme: str) -> tuple[str, str]:
    """The folder that contains all paths, as a path or URL, and the template relative to it."""
    where, chain = _unchained(where)
    address, mark, query = where.partition("?") if scheme else (where, "", "")
    rest = address[len(scheme) :]
    first = _FIELD.search(rest)
    fixed = rest[: first.start()] if first is not None else rest
    if scheme == "memory://":
        source = rest.partition("/")[0]  # the name of the store; the rest is a path in it
        source = source if len(source) < len(fixed) else ""
    else:
        source = fixed.rpartition("/")[0]
        if not source and fixed.startswith("/"):
            source = "/"
    if scheme and not source and scheme != "memory://" and not chain:
        shown = masked(where)
        raise InvalidName(f"{shown!r}: the field is in place of the host or bucket; write that out", name=shown)
    text = rest[len(source) :].lstrip("/")
    return f"{scheme}{_plain(source)}{mark}{query}{chain}" if scheme else os.path.expanduser(_plain(source)) or ".", text


def _unchained(where: str) -> tuple[str, str]:
    """Split a chained URL into first part and rest: ``zip://{k}.txt::s3://b/a.zip`` into ``zip://{k}.txt`` and ``::s3://b/a.zip``."""
    scheme = _URL.match(where)
    at = where.find("::", scheme.end()) if scheme is not None else -1
    return (where, "") if at < 0 else (where[:at], where[at:])


def _plain(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")


PayloadT = TypeVar("PayloadT")
OtherT = TypeVar("OtherT")


class Source(Family[PayloadT]):
    """External inputs by key: ``Source("s3://books/{book}.txt")`` is a family of one node for each file.

    Its members are nodes to pass to others, ``summary.over(books)`` or ``summary.step(books["moby"])``. An input is read in place by each
    node that needs it, and never stored. Its identity is its payload name, its key, its content and the format that reads it, not its path:
    changed content makes another node, and everything downstream is generated again.

    Inputs are listed at the first use, all at once; the contents of the members used are read once, when a plan is made, and again only
    after size or time of change, or the ETag, have changed. `refresh` lists again; `run`, `plan`, `status` and `to_frame`, of the source or
    of families downstream, call it themselves.

    Parameters:
        where: a path or any URL that `open_store` knows, with fields in braces, which never match a separator; one that ends in ``/`` makes
            each folder an input (a `pathlib.Path`, read-only), whose content is the names and contents of all files in it.
            ``postgresql://host/db?table=spectra`` and ``mongodb://host/db/spectra`` without fields: each row or document is an input, a
            dict of its columns, identified by its content; ``oci://registry/repository``: each tag. ``https://`` with `keys`: content is
            identified by the ETag, else by Last-Modified, else by the bytes. Or a mapping from key to object, anything that can be a param.
            Or your own `Inputs`.
        io: their format: a FileIO, or a suffix such as ``".csv"``. Default: that of the template's suffix, else bytes.
        name: the payload name of the members, and for a mapping the name of the axis; default: the last field, or ``item``.
        store: a store in which `where` is a path; default: a relative path counts from the current folder.
        keys: the existing keys, instead of a listing; or a function that returns them, called at each refresh.
        options: for the store, such as ``endpoint_url``; for ``https://`` headers, timeout and attempts, as for `HttpGet`; for tables and
            collections ``key="id"``, the columns that identify a row, ``columns=``, those of the payload (all others; one name: its value),
            and ``stamp=``, a column that changes with the row.

    With one field the keys are its values, with several they are tuples, on one axis. Families that are over several sources are joined by
    the names of their fields: one member for each key that all of them have. Use ``rename`` for unrelated fields of the same name.

    An input that has changed since the plan was made raises InputChanged, one that was removed InputVanished.
    """

    @overload
    def __init__(self: Source[OtherT], where: Mapping[Any, OtherT], *, name: str | None = None) -> None: ...
    @overload
    def __init__(
        self: Source[OtherT],
        where: str | os.PathLike[str] | Inputs,
        *,
        io: FileIO[OtherT],
        name: str | None = None,
        store: str | os.PathLike[str] | Store | None = None,
        keys: Keys | None = None,
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: Source[Any],
        where: str | os.PathLike[str] | Inputs,
        *,
        io: str | None = None,
        name: str | None = None,
        store: str | os.PathLike[str] | Store | None = None,
        keys: Keys | None = None,
        **options: Any,
    ) -> None: ...
    def __init__(
        self,
        where: str | os.PathLike[str] | Mapping[Any, Any] | Inputs,
        *,
        io: FileIO[Any] | str | None = None,
        name: str | None = None,
        store: str | os.PathLike[str] | Store | None = None,
        keys: Keys | None = None,
        **options: Any,
    ) -> None:
        inputs: Inputs
        text = ""
        if isinstance(where, Mapping):
            inputs = Objects(where, name or "item")
        elif isinstance(where, str | os.PathLike) or hasattr(where, "storage_options"):
            text, options = _text(where, options)
            inputs = inputs_at(text, store, keys, options)
        elif isinstance(where, Inputs):  # pyright: ignore[reportUnnecessaryIsInstance] - not every caller is type checked
            inputs = where
        else:
            raise TypeError(f"a source is a path or URL with fields, a mapping from key to object, or Inputs; it was given {where!r:.60}")
        if not text and (store is not None or keys is not None or options):
            given = [*(["store"] if store is not None else []), *(["keys"] if keys is not None else []), *options]
            raise TypeError(f"{', '.join(given)} of Source is for paths and URLs; {type(where).__name__} takes none")
        self.name = check_payload_name(name or inputs.fields[-1])
        self._node_store = None
        is_file = bool(text)
        if isinstance(inputs, Rows):
            is_file, inputs.has_format = False, io is not None
        listing = Listing(inputs, self.name, _format(io, text if is_file else "") if is_file or io is not None else None)
        self._live_view, self._fixed = LiveView((listing,), listing.view), None

    def where(self, keep: Callable[[Any], object]) -> Source[PayloadT]:
        """Keep the members for whose key `keep` is true; it is called again at each refresh."""
        return cast("Source[PayloadT]", self._derived(FilterMembers(keep)))

    def rekey(self, name: Callable[[Any], Any]) -> Source[PayloadT]:
        """The same nodes under the keys that `name` returns for each key: a value, or a dict of values by field.

        Raises ValueError, when the family is used, if two members would have the same key.
        """
        return cast("Source[PayloadT]", self._derived(RekeyMembers(name)))

    def join(self, other: Family[Any]) -> Source[PayloadT]:
        """Keep the members that match one of `other`: with the same values in the fields of the same names."""
        return cast("Source[PayloadT]", self._derived(JoinMembers(other), *other.sources))

    def bind(self, store: str | os.PathLike[str] | Store) -> Source[PayloadT]:
        """Return the source itself: inputs are read in place."""
        return self

    def prepare(self, view: View, members: Iterable[Any]) -> None:
        seen = cast(ListingSnapshot, view.factory.maker)
        every = cast("list[Values]", view.factory.columns[0].values)
        seen.prepare([every[view.full(indices)[0]] for indices in members])

    def __repr__(self) -> str:
        sizes = f"{axis.name} ({len(axis)})" if (axis := next(iter(self.axes), None)) is not None else "one input"
        return f"<Source {self.name}: {sizes}>"


def _text(where: Any, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if isinstance(where, str):
        return where, options
    folder = "/" if str(where).endswith("/") else ""
    if hasattr(where, "storage_options") and getattr(where, "protocol", "") not in ("", "file", "local"):
        return str(where), {**where.storage_options, **options}
    return os.fsdecode(where) + folder, options


def _format(io: Any, text: str) -> FileIO[Any]:
    from persistable.fileio import BytesFileIO, FolderFileIO, fileio_for

    text, _ = _unchained(text)
    folder = text.endswith("/")
    if io is None:
        try:
            io = fileio_for(text.partition("?")[0].rstrip("/"))
        except UnknownFormat:
            io = FolderFileIO() if folder else BytesFileIO()
        if folder and not isinstance(io, PartsFileIO):
            io = FolderFileIO()
    elif isinstance(io, str):
        io = fileio_for(io)
    if not isinstance(io, FileIO):
        raise TypeError(f'io of Source is {io!r}; give a FileIO, or a suffix such as ".csv"')
    if folder and not isinstance(io, PartsFileIO):
        raise TypeError(f"{masked(text)} names folders, and {io!r} reads one file; leave out the / at its end, or io")
    return io  # pyright: ignore[reportUnknownVariableType]
