"""The target of an export: a zip archive, which appears when it is complete, or a folder of any store."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, BinaryIO, Protocol, cast

from persistable.errors import StoreError
from persistable.stores import manifest
from persistable.stores.base import Store
from persistable.stores.open import open_store
from persistable.stores.zip import SUFFIX, is_zip, parted

_TIME = (1980, 1, 1, 0, 0, 0)
"""The date of every member, fixed so that the same content is always the same bytes."""
_MODE = 0o100644 << 16
_AS_IT_IS = ".nojekyll"
"""The file that makes GitHub Pages publish names with a leading dot too."""


class Sink(Protocol):
    """Takes files, one after the other."""

    url: str

    def open(self, path: str, size: int | None, *, packed: bool) -> AbstractContextManager[BinaryIO]:
        """A stream for the file at `path`, of `size` bytes where that is known. packed: compressed, if the sink compresses at all."""
        ...


@contextmanager
def sink_at(where: Any) -> Generator[Sink]:
    """The sink at a path, URL or UPath: an archive if it ends in ``.zip``, else a folder, which may be a store.

    Raises StoreError for a store in use.
    """
    if isinstance(where, Store):
        opened: AbstractContextManager[Sink] = _folder(where)
    elif getattr(where, "storage_options", None) is not None:  # a UPath, with the options of its file system
        is_archive = str(where.name).lower().endswith(SUFFIX)
        opened = _archive(open_store(where.parent), where.name) if is_archive else _folder(open_store(where))
    else:
        text = os.fspath(cast("str", where))
        folder, name = parted(text)
        opened = _archive(open_store(folder), name) if is_zip(text) else _folder(open_store(text))
    with opened as sink:
        yield sink


@contextmanager
def _archive(store: Store, name: str) -> Generator[Sink]:
    if not _may_replace(store, name):
        raise StoreError(
            f"{name} in {store.url} is no archive that an export has made, so it stays; name another", url=store.url, path=name
        )
    place, mark, query = store.url.partition("?")
    with store.write(name) as stream, zipfile.ZipFile(cast("Any", stream), "w", allowZip64=True) as archive:
        yield _Archive(f"{place.rstrip('/')}/{name}{mark}{query}", archive)


def _may_replace(store: Store, name: str) -> bool:
    """Tell whether there is no file, an empty one, or an earlier export."""
    there = store.stat(name)
    if there is None or not there.size:
        return True
    try:
        with store.read(name) as file, zipfile.ZipFile(file) as archive:
            return manifest.PATH in archive.namelist()
    except zipfile.BadZipFile:
        return False


class _Archive:
    """A zip archive, with members compressed on request only: others can be read by ranges."""

    def __init__(self, url: str, archive: zipfile.ZipFile) -> None:
        self.url = url
        self._archive = archive

    @contextmanager
    def open(self, path: str, size: int | None, *, packed: bool) -> Generator[BinaryIO]:
        member = zipfile.ZipInfo(path, _TIME)
        member.create_system = 3
        member.external_attr = _MODE
        member.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        if size is not None:
            member.file_size = size
        with self._archive.open(member, "w", force_zip64=size is None) as stream:
            yield cast("BinaryIO", stream)


@contextmanager
def _folder(store: Store) -> Generator[Sink]:
    before = _exported(store)
    sink = _Folder(store)
    if before is None:  # the next export recognizes this one, even if it is killed
        pieces: list[bytes] = []
        manifest.write_manifest([], "", pieces.append)
        store.put(manifest.PATH, b"".join(pieces))
    try:
        yield sink
    except BaseException:
        new = sink.written.difference(before or ())
        for path in [*new, *([manifest.PATH] if before is None else [])]:
            with suppress(StoreError):
                store.delete(path)
        raise
    store.put(_AS_IT_IS, b"")
    for path in before or ():  # of an earlier export, last: until then a reader finds all files in its manifest
        if path not in sink.written:
            store.delete(path)


def _exported(store: Store) -> Iterable[str] | None:
    """The files of an earlier export into `store`; None where there was none. Raises StoreError for a store with other files."""
    data = store.get_many([manifest.PATH]).get(manifest.PATH)
    if data is not None:
        return manifest.read_manifest(data, store.url)
    if any(path != _AS_IT_IS for path in store.list()):
        raise StoreError(
            f"{store.url} holds files that no export has put there, so nothing is exported into it; name an empty folder, or one that was "
            "exported before. To copy payloads into a store, use import_",
            url=store.url,
            path="",
        )
    return None


class _Folder:
    """A folder, on this machine or in a bucket."""

    def __init__(self, store: Store) -> None:
        self.url = store.url
        self.written: set[str] = set()
        self._store = store

    @contextmanager
    def open(self, path: str, size: int | None, *, packed: bool) -> Generator[BinaryIO]:
        with self._store.write(path) as stream:
            yield stream
        self.written.add(path)
