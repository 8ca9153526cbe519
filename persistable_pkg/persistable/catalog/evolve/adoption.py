"""Adoption of files made elsewhere as payloads: read and validated, stored unchanged, and marked in the record."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from persistable.errors import PayloadExists, StoreError
from persistable.fileio.base import FileIO, PartsFileIO
from persistable.fileio.location import LocalPlace, place
from persistable.fileio.registry import fileio_for
from persistable.nodes import format_check, generation
from persistable.nodes.binding import bound_to
from persistable.nodes.types import Node, check_unchanged, is_node
from persistable.records import record_access
from persistable.records.files import ExistingFile, SharedFile

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog
    from persistable.catalog.entry import Entry

ADOPTED = "adopted"


def adopt(catalog: Catalog, file: Any, node: Node, io: FileIO[Any] | None, *, replace: bool, move: bool) -> Entry:
    """Store `file` as the payload of `node`, as `Catalog.adopt` says."""
    twin = bound(catalog, node, replace)
    where = place(file)
    name = os.path.basename(where.path)
    twin.io = io or format_of(node, name, where.is_folder())
    if isinstance(where, LocalPlace):
        path = Path(where.path)
        if not path.exists():
            raise FileNotFoundError(f"there is no file {path}, so nothing can be adopted")
        _keep(twin, path, name, move)
    else:
        with TemporaryDirectory(prefix="persistable-") as folder:
            path = Path(folder, name)
            remote: Any = where
            remote.fs.get(remote.path, str(path), recursive=where.is_folder())
            _keep(twin, path, name, True)
    return catalog[node.key]


def bound(catalog: Catalog, node: Node, replace: bool) -> Node:
    """`node` bound to the store of `catalog`, to get a payload there. Raises PayloadExists, and StoreError for a node that keeps none."""
    if not is_node(node):
        raise TypeError(f"{node!r:.60} is no node, whose payload the file could become")
    if node.is_external or not node.is_persisted:
        what = "is an input from elsewhere" if node.is_external else "is not persisted"
        raise StoreError(f"{node.label} {what}, so it has no payload here to be adopted", url=catalog.store.url, path="")
    twin = bound_to(node, catalog.store)
    if not replace and record_access.is_there(catalog.store, twin.place):
        where = catalog.store.url
        raise PayloadExists(
            f"there is a payload of {node.key} in {where} already, and it stays; replace=True (--replace) takes the new one", key=node.key
        )
    check_unchanged(twin)
    return twin


def format_of(node: Node, name: str, is_folder: bool = False) -> FileIO[Any]:
    """The format of a file called `name`: the node's own if that writes such files, so that its options count; else that of the suffix.

    Raises UnknownFormat, and PayloadNotRepresentable for a format that yields no payload of the type that `node` declares.
    """
    own: FileIO[Any] = node.payload_io
    if name.lower().endswith(own.suffix) or (is_folder and isinstance(own, PartsFileIO)):
        return own
    found = fileio_for(name)
    format_check.check_file(node, found, name)
    return found


def _keep(twin: Node, path: Path, name: str, move: bool) -> None:
    generation.persist(twin, twin.store, ExistingFile(path) if move else SharedFile(path), made=ADOPTED, notes={ADOPTED: name})
