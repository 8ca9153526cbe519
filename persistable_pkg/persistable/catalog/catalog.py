"""`Catalog`: queries and operations on the records of a store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from persistable.catalog import lookup
from persistable.catalog.criteria import criteria
from persistable.catalog.entries import Entries
from persistable.catalog.entry import Entry
from persistable.catalog.index.change_detection import parts_of
from persistable.catalog.index.index import Index, usual_file
from persistable.catalog.index.refresh import is_current, refresh
from persistable.records.key import Key
from persistable.stores.base import HIDDEN, Store, enclosing_store
from persistable.stores.local import LocalStore
from persistable.stores.open import default_url, open_store

if TYPE_CHECKING:
    from datetime import date, timedelta

    from persistable.catalog.cleanup.collection import Collection
    from persistable.catalog.cleanup.pins import Pin
    from persistable.catalog.cleanup.savings import Savings
    from persistable.catalog.cleanup.trash import RestoreResult, Trash
    from persistable.catalog.cleanup.trash_files import EmptyResult
    from persistable.catalog.cleanup.verify import Verification
    from persistable.catalog.evolve.released_import import ReleasedImportResult
    from persistable.catalog.evolve.renaming import Renaming
    from persistable.catalog.reproduce.diff import Diff
    from persistable.catalog.reproduce.reproduce import Reproduction
    from persistable.catalog.share.bundle import ExportResult
    from persistable.catalog.share.bundle_import import ImportResult
    from persistable.catalog.share.view import View
    from persistable.fileio.base import FileIO
    from persistable.nodes.nearest import Nearest
    from persistable.nodes.node import Persistable
    from persistable.nodes.step import Step

    Target = Key | str | os.PathLike[str] | Entry | Persistable[Any, Any]


class Catalog:
    """The records of a store, searched by class, name, params and facts in an index that each query brings up to date.

    store: a path, URL or store; without one the enclosing or default store. index: a file for the index instead of that in the user's
    cache folder, ``"store"`` for one in the store's own folder, or None to keep it in memory. The index can be deleted at any time.
    Arguments called `key` take the same as ``catalog[...]``: a key or its text, a path, an entry or a node.
    """

    def __init__(self, store: Any = None, *, index: str | os.PathLike[str] | Literal["store"] | None = "") -> None:
        if store is None:
            store = enclosing_store() or default_url()
        self.store: Store = open_store(store)
        self.index = Index(self.store.url, _index_file(self.store, index))
        self.index.refill = partial(refresh, store=self.store)
        self.is_layered = len(parts_of(self.store)) > 1

    # find

    def find(
        self,
        selection: type[Persistable[Any, Any]] | Step[..., Any] | str | None = None,
        /,
        *,
        where: str | None = None,
        name: str | None = None,
        status: str | None = None,
        params: Mapping[str, Any] | None = None,
        **equal: Any,
    ) -> Entries:
        """The entries of a class, a step or a name that match, newest first; without any argument every record.

        Params given by keyword must be equal, type included: 100 is not 100.0. With a class or step they are converted as at construction;
        a node matches the upstream in that role. params: the same, for names that are arguments here, and for nested ones by their
        dotted path. status: ``"done"``, ``"corrupt"``, ``"untrusted"``, or ``"failed"`` for failures without a record. where: an SQL
        expression over params (dotted), ``upstream.<role>.<param>``, and the facts key, name, status, size, seconds, created, host, class
        and made; facts win over params of the same name, which ``params.size`` reaches.

        Raises InvalidQuery, UnknownParam, MistypedParam.
        """
        asked = criteria(selection, name, status, where, {**equal, **(params or {})})
        found = Entries(self, asked)
        if where is not None:
            found.check()
        return found

    def __getitem__(self, text: Target) -> Entry:
        """The entry of a key, of the beginning of a key or digest, or of the path of a stored file. Raises UnknownKey."""
        return lookup.entry(self, text)

    def names(self) -> list[str]:
        """The names of all payloads with a record or a failure, in order."""
        return lookup.names(self.current())

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.find())

    def __len__(self) -> int:
        return len(self.find())

    def __contains__(self, text: object) -> bool:
        return lookup.contains(self, text)

    # lineage

    def lineage(self, key: Target) -> list[Entry]:
        """The entries upstream, nearest first; those that are not stored have the status ``"absent"``. Raises UnknownKey."""
        return lookup.ancestors(self, [str(self[key].key)])

    def downstream(self, key: Target) -> list[Entry]:
        """The stored entries downstream, direct and indirect, nearest first. Raises UnknownKey."""
        return lookup.downstream(self, self[key])

    # differences

    def nearest(self, node: Persistable[Any, Any]) -> Nearest | None:
        """The stored payload of the same name that differs from `node` in the fewest params, upstream ones included, and these differences.

        None where nothing of its name is stored.
        """
        from persistable.catalog import nearest

        return nearest.nearest(self, node, self.current())

    def diff(self, a: Target, b: Target, *, payloads: bool = True, rtol: float = 0.0, atol: float = 0.0) -> Diff:
        """Compare two stored payloads: params to the leaf, code by function, versions, facts, and the payloads themselves.

        payloads: False to read none. rtol, atol: relative and absolute difference up to which two numbers in them count as equal.
        Raises UnknownKey, PayloadNotFound, PayloadCorrupted.
        """
        from persistable.catalog.reproduce.diff import diff

        return diff(self, self[a], self[b], payloads=payloads, rtol=rtol, atol=atol)

    # nodes

    def node(self, key: Target, trusted: bool = False) -> Persistable[Any, Any]:
        """The node, rebuilt from its record alone: class or step imported, params and upstream rebuilt, and with the same key.

        trusted: execute the source that records keep of scripts and notebooks (``source=True``), and accept formats of commands and
        downloads that run code; anyone who can write to the store can choose both. Stores with ``trust=`` are always trusted, since the
        records they read are signed.

        Raises UnknownKey, and NotRebuildable, which says what is missing or has changed.
        """
        from persistable.catalog.reproduce import nodes

        return nodes.node(self, self[key], trusted)

    def code(self, key: Target, trusted: bool = False) -> str:
        """Python text that rebuilds the node, imports included, and assigns it to `node`. trusted: as for `node`.

        Raises UnknownKey, NotRebuildable.
        """
        from persistable.catalog.reproduce import nodes

        return nodes.script(self, self[key], trusted)

    def reproduce(self, key: Target, recursive: bool = False, rtol: float = 0.0, atol: float = 0.0, progress: bool = False) -> Reproduction:
        """Generate a stored payload again, from its record alone and without storing it, and compare the two.

        recursive: begin at the sources, generate everything upstream again too, and name the first payload that diverges. rtol, atol:
        relative and absolute difference up to which two numbers count as equal. progress: show a bar. Raises UnknownKey.
        """
        from persistable.catalog.reproduce import nodes

        return nodes.reproduction(self, key, recursive, rtol, atol, progress)

    # evolution

    def rename(
        self,
        selection: type[Persistable[Any, Any]] | Step[..., Any] | str | None = None,
        /,
        *,
        name: tuple[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        classes: Mapping[str, str] | None = None,
        where: str | None = None,
        undo: str | None = None,
    ) -> Renaming:
        """Plan a renaming, which its `apply` carries out: keys change, also those of everything downstream.

        Payloads are not read, and records keep everything else. name: payload name, old and new; only payloads of the old name are renamed
        at all. params: old name to new one, nested ones by their dotted path, ``{"optimizer.rate": "optimizer.lr"}``; ``*`` in it matches
        every item. classes: of nodes, params classes, enums and other classes that params name: ``{"Svm": "SupportVectors"}``, or by path,
        ``{"old.module:Svm": "new.module:Svm"}``, ``{"old.module:": "new.module:"}``. what, where: only records that `find` finds by them.
        undo: instead of all these, the stamp of a renaming; the plan restores the old keys.

        Raises InvalidName, ValueError, InvalidQuery, and UnknownKey for an unknown stamp.
        """
        from persistable.catalog.evolve import rename_plan
        from persistable.catalog.evolve.changes import Changes

        return (
            rename_plan.undoing(self, undo)
            if undo is not None
            else rename_plan.plan(self, Changes(name, params, classes), selection, where)
        )

    def adopt(
        self,
        file: Any,
        node: Persistable[Any, Any],
        *,
        io: FileIO[Any] | None = None,
        replace: bool = False,
        move: bool = False,
    ) -> Entry:
        """Store a file made elsewhere as the payload of `node`; its record has ``made="adopted"``, and the file's name in its notes.

        file: a path or URL, of a folder for formats of several files. It is read and validated, and copied byte for byte. io: its format;
        without it that of the node if that writes such files, else that of the suffix. replace: replace a stored payload. move: move the
        file instead of copying it, if it is on the same file system.

        Raises PayloadExists, UnknownFormat, FileNotFoundError, StoreError for a node that keeps no payload, and the errors of reading and
        `_validate_payload`.
        """
        from persistable.catalog.evolve.adoption import adopt

        return adopt(self, file, node, io, replace=replace, move=move)

    def import_released(
        self,
        folder: str | os.PathLike[str],
        classes: Iterable[type[Persistable[Any, Any]]] | Mapping[str, type[Persistable[Any, Any]]],
        *,
        replace: bool = False,
    ) -> ReleasedImportResult:
        """Import payloads that persistable 1.1 to 1.3 wrote into a folder, under the keys that `classes` give them today.

        The payloads are pickles, and reading one can run code: import only folders whose writers you trust. Each is validated, and written
        in the format of its class; its record has ``made="adopted"``. The folder stays as it is. The result lists files of no given class,
        and files whose params do not fit. classes: as a dict where payloads have other names than their classes. replace: replace stored
        payloads. Raises FileNotFoundError where there is no such folder.
        """
        from persistable.catalog.evolve.released_import import import_released

        return import_released(self, os.fspath(folder), classes, replace)

    # clean up

    def gc(
        self,
        keep: Any = None,
        superseded: bool = False,
        failed: bool = False,
        older_than: timedelta | date | str | float | None = None,
        name: str | None = None,
        max_size: int | float | str | None = None,
    ) -> Collection:
        """Plan a cleanup: the payloads to remove, with reason and size; nothing changes until its `apply` moves them to the trash.

        The reasons add up; being left by a crash is always one. Nothing is removed that is upstream of a payload that stays, at any
        distance, is pinned, is being generated, or is younger than a running generation; read-only layers are left alone.

        keep: nodes, families, pipelines, classes, keys, names, or a collection of such: everything is removed but these and their upstream.
        superseded: payloads that newer code or a newer version replaces. failed: failures. older_than: a timedelta, ``"30d"``, seconds, or
        a date: only payloads made before; by itself a reason. name: only payloads of that name; by itself a reason. max_size: bytes, or
        ``"10 GB"``: payloads are removed, those with the most bytes per second of generation first, until the rest takes no more than that;
        payloads put in by hand stay.

        Raises UnknownKey, ValueError, TypeError.
        """
        from persistable.catalog.cleanup.plan import collect, rules

        return collect(self, rules(self, keep, superseded, failed, older_than, name, max_size))

    def trash(self) -> Trash:
        """The trash: everything that cleanups removed, until it is deleted for good."""
        from persistable.catalog.cleanup.trash import Trash

        return Trash(self)

    def restore(self, *items: Target) -> RestoreResult:
        """Restore payloads from the trash: all of them, or those of these keys, names or stamps of cleanups.

        A payload that was generated again since stays in the trash. Raises UnknownKey for one that is not in the trash.
        """
        from persistable.catalog.cleanup.trash import Trash

        return Trash(self).restore(*items)

    def empty_trash(self, older_than: timedelta | date | str | float | None = None) -> EmptyResult:
        """Delete the content of the trash for good. older_than: only payloads removed before, see `gc`."""
        from persistable.catalog.cleanup.trash import Trash

        return Trash(self).empty(older_than)

    def verify(self, recompute: float = 0.0, progress: Callable[[int, int], None] | None = None) -> Verification:
        """Rebuild the index, read every payload, copies in layers too, and compare it with the sizes and digests in its record.

        recompute: the fraction of all payloads, 0 to 1, that is also generated again and compared; see `reproduce`. progress: is called
        with the numbers of records done and in all. Raises ValueError, and the errors of the store.
        """
        from persistable.catalog.cleanup.verify import verify

        return verify(self, recompute, progress)

    def pin(self, key: Target, reason: str) -> Pin:
        """Pin a payload: cleanups remove neither it nor anything upstream of it; `reason` is shown by `pins`.

        Raises UnknownKey for a payload that is not stored.
        """
        from persistable.catalog.cleanup import pins

        return pins.pin(self, lookup.key_of(self[key]), reason)

    def unpin(self, key: Target) -> bool:
        """Remove the pin of a payload, stored or not; True if there was one."""
        from persistable.catalog.cleanup import pins

        return pins.unpin(self, lookup.key_in(self, key))

    def pins(self) -> list[Pin]:
        """All pins: key, reason, time and host."""
        from persistable.catalog.cleanup import pins

        return pins.pins(self.store)

    def savings(self) -> Savings:
        """The seconds that generation took and the bytes stored, by name, from records alone; uses of a payload are not counted."""
        from persistable.catalog.cleanup.savings import savings

        return savings(self)

    # bundles

    def export(
        self,
        to: str | os.PathLike[str] | Store,
        nodes: Any = None,
        *,
        payloads: Literal["all", "sources", "none"] = "all",
        anonymous: bool = False,
        name: str | None = None,
        description: str | None = None,
        author: str | None = None,
        license: str | None = None,  # noqa: A002 - the word of RO-Crate
        progress: Callable[[int, int], None] | None = None,
    ) -> ExportResult:
        """Write records, everything upstream of them, and their payloads into one zip archive, or a folder to be published.

        to: a path, URL, UPath or store; an archive if it ends in ``.zip``, else a folder, in which an earlier export is replaced.
        nodes: a node, family, pipeline, key, entry, the result of `find`, or a list of such; without them every record. payloads:
        ``"sources"`` are downloads, payloads put in by hand and, upstream of nodes, the inputs that a `Source` reads: the rest can be
        generated again from them. anonymous: leave host, platform, project, untracked params, notes and folders out of the records; signed
        ones stay. name, description, author, license (a URL): for the RO-Crate. progress: is called with the bytes written and in all.

        Raises UnknownKey for a payload that is not stored, PayloadCorrupted for a damaged one, and StoreError for a folder that holds other
        files; no archive is left then.
        """
        from persistable.catalog.share.bundle import export

        about = {"name": name, "description": description, "author": author, "license": license}
        return export(self, to, nodes, payloads, anonymous=anonymous, about=about, progress=progress)

    def import_(
        self,
        source: Any,
        *,
        replace: bool = False,
        verify: bool = True,
        sign: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> ImportResult:
        """Import everything of a bundle, a published folder or another store into this one; payloads already here stay.

        replace: overwrite payloads here that have other bytes. verify: read everything once and compare digests before anything is written;
        False compares them only as each payload is copied. sign: sign untrusted records with the key of this store. progress: is called
        with the bytes done and in all.

        Raises MalformedBundle for a damaged or malicious source, and PayloadUntrusted; nothing is then written.
        """
        from persistable.catalog.share.bundle_import import import_

        return import_(self, source, replace=replace, verify=verify, sign=sign, progress=progress)

    def view(
        self,
        folder: str | os.PathLike[str],
        selection: type[Persistable[Any, Any]] | Step[..., Any] | str | Iterable[Entry] | None = None,
        /,
        *,
        by: str,
        where: str | None = None,
        dry_run: bool = False,
    ) -> View:
        """Make a folder of links to payload files, named after params; the same call updates it and removes stale links.

        selection: a class, step or name, the result of `find`, or a list of entries; without it all entries. where: as for `find`. by: the
        path of each link, with params in braces, dotted where they are nested: ``"{alpha}/{upstream.points.n}"``; also ``{name}``,
        ``{key}``, ``{digest}``, ``{status}`` and ``{made}``, and ``{alpha:.2f}`` as in `format`. The suffix of the file is appended.
        Characters that a file name cannot have become ``-``; part of the digest is added to equal names. Where links are impossible, hard
        links or copies are made. dry_run: only return the result, without any change.

        Raises InvalidQuery, and StoreError for a store without files on this machine, and for a folder that holds other files.
        """
        from persistable.catalog.share.view import view

        asked: Any = selection
        is_question = selection is None or isinstance(selection, str | type) or hasattr(selection, "step")
        return view(self, folder, self.find(asked, where=where) if is_question else asked, by, dry_run=dry_run)

    # the index

    @classmethod
    def known(cls, store: Store) -> Catalog | None:
        """The catalog of `store`, if its default index exists and is up to date; None if that would have to be built first."""
        catalog = cls(store)
        return catalog if catalog.index.is_there() and is_current(catalog.index, catalog.store) else None

    def current(self) -> Index:
        """The index, brought up to date."""
        refresh(self.index, self.store)
        return self.index

    def rebuild(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Rebuild the index from the records alone. The old one is used until the new one is complete, and stays if this fails.

        progress: is called with the numbers of records read and in all.
        """
        with self.index.replacement() as index:
            refresh(index, self.store, progress)

    def close(self) -> None:
        """Close the index and the connections of the store; both are opened again when used."""
        self.index.close()
        self.store.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Catalog of {self.store.url}, {len(self)} records>"

    def _repr_html_(self) -> str:
        from persistable.graph.notebook import Html, card, code

        table = Html(self.find()._repr_html_())  # pyright: ignore[reportPrivateUsage] - that of a notebook
        return card("Catalog", f" of {len(self):,} {'record' if len(self) == 1 else 'records'} in ", code(self.store.url), table)


def _index_file(store: Store, index: str | os.PathLike[str] | None) -> Path | None:
    if index is None or store.url.startswith("memory:"):
        return None
    if index == "":
        return usual_file(store.url)
    if index == "store":
        if not isinstance(store, LocalStore):
            raise ValueError(f"index='store' is for folders; {store.url} is none: name a file")
        return Path(store.root) / HIDDEN / "catalog.db"
    return Path(index)
