"""`Source`: external inputs by key, as a family."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from persistable.errors import UnknownFormat
from persistable.family import Family
from persistable.family.following import Following
from persistable.family.layout import Layout
from persistable.fileio.base import FileIO, PartsFileIO
from persistable.key import check_payload_name
from persistable.masked import masked
from persistable.source.address import inputs_at
from persistable.source.files import Keys
from persistable.source.inputs import Inputs, Values
from persistable.source.listing import Listing, Seen
from persistable.source.objects import Objects
from persistable.source.views import Joined, Rekeyed, Where
from persistable.stores.base import Store

PayloadT = TypeVar("PayloadT")


class Source(Family[PayloadT]):
    """Inputs that lie outside, by key: ``Source("s3://books/{book}.txt")`` is a family of one node for each file there is.

    Its members are nodes to give to others, ``summary.over(books)`` or ``summary.step(books["moby"])``. An input is read where it lies, by
    whoever needs it, and never stored. Its identity is its payload name, its key, its content and the format that reads it, not where it
    lies: another content is another node, and what was made from it is made again.

    Nothing is listed before it is used, and then with one listing; contents are read (once, when a plan is made) of those members that are
    asked for, and again only when size or time of change, or the ETag, is another. `refresh` looks again; `run`, `plan`, `status` and
    `to_frame`, of the source or of what is made from it, do so by themselves.

    Parameters:
        where: a path or any URL that `open_store` knows, with fields in braces, which never reach over a separator; one that ends in ``/``
            takes each folder as an input (a `pathlib.Path`, to be read only), whose content is the names and contents of all files in it.
            ``https://`` with `keys`; there content is told by the ETag, else by Last-Modified, else by the bytes. Or a mapping from key to
            object, anything that can be a param. Or your own `Inputs`.
        io: what reads them: a FileIO, or a suffix such as ``".csv"``. Default: that of the template's suffix, else bytes.
        name: the payload name of the members, and for a mapping the name of the axis; default: the last field, or ``item``.
        store: a store in which `where` is a path; default: a relative path counts from the current folder.
        keys: the keys there are, instead of a listing; or a function that gives them, called at each refresh.
        options: for the store, such as ``endpoint_url``; for ``https://`` headers, timeout and attempts, as for `HttpGet`.

    With one field the keys are what stands there, with several they are tuples, on one axis. Families that are over several sources are
    joined by the names of their fields: one member for each key for which all inputs are there. ``rename`` tells fields apart that have
    nothing to do with each other.

    An input that is not what it was when the plan was made raises InputChanged, one that is gone InputVanished.
    """

    def __init__(
        self,
        where: str | os.PathLike[str] | Mapping[Any, PayloadT] | Inputs,
        *,
        io: FileIO[PayloadT] | str | None = None,
        name: str | None = None,
        store: str | os.PathLike[str] | Store | None = None,
        keys: Keys | None = None,
        **options: Any,
    ) -> None:
        inputs: Inputs
        text = ""
        if isinstance(where, Mapping):
            inputs = Objects(cast("Mapping[Any, Any]", where), name or "item")
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
        self._store = None
        listing = Listing(inputs, self.name, _format(io, text) if text or io is not None else None)
        self._following, self._fixed = Following((listing,), listing.layout), None

    def where(self, keep: Callable[[Any], object]) -> Source[PayloadT]:
        """Those for whose key `keep` is true; asked again at each refresh."""
        return cast("Source[PayloadT]", self._derived(Where(keep)))

    def rekey(self, name: Callable[[Any], Any]) -> Source[PayloadT]:
        """The same nodes under other keys: what `name` gives for each key, a value, or a dict of values by field.

        Raises ValueError, when it is used, where two would have one key.
        """
        return cast("Source[PayloadT]", self._derived(Rekeyed(name)))

    def join(self, other: Family[Any]) -> Source[PayloadT]:
        """Those for which `other` has a member too: one that has the same values in the fields of the same names."""
        return cast("Source[PayloadT]", self._derived(Joined(other), *other.roots))

    def bind(self, store: str | os.PathLike[str] | Store) -> Source[PayloadT]:
        """The source itself: inputs are read where they lie."""
        return self

    def prepare(self, layout: Layout, members: Iterable[Any]) -> None:
        seen = cast(Seen, layout.recipe.maker)
        every = cast("list[Values]", layout.recipe.columns[0].values)
        seen.prepare([every[layout.full(places)[0]] for places in members])

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
