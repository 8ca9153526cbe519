"""The nodes and payloads of entries: rebuilt and loaded from records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from persistable.catalog import lookup
from persistable.catalog.entry import ABSENT, Entry
from persistable.catalog.index.rows import FAILED
from persistable.catalog.reproduce.facts import Find
from persistable.catalog.reproduce.rebuild import node_of
from persistable.errors import NotRebuildable, PayloadCorrupted, PayloadError, PayloadNotFound, PayloadUntrusted, PersistableError
from persistable.fileio.trust import declared_format, with_schema
from persistable.nodes import loading
from persistable.nodes.binding import move_to
from persistable.nodes.lineage import walk
from persistable.nodes.types import own_store
from persistable.records import record_access
from persistable.records.key import Key
from persistable.records.record import Record
from persistable.stores.base import extended

if TYPE_CHECKING:
    from persistable.catalog.catalog import Catalog
    from persistable.catalog.reproduce.reproduce import Reproduction
    from persistable.nodes.node import Persistable


def finder(catalog: Catalog) -> Find:
    """Return a function that finds the record of a key, at any place in the store; None for a missing or damaged record."""

    def find(key: Key) -> Record | None:
        (found,) = lookup.by_keys(catalog, catalog.index, [str(key)])
        if found.status in (ABSENT, FAILED):
            return None
        try:
            return record_access.find_record(catalog.store, found.place)
        except PayloadCorrupted:
            return None

    return find


def node(catalog: Catalog, entry: Entry, trusted: bool = False) -> Persistable[Any, Any]:
    """The node of `entry`. trusted: as for `Catalog.node`. Raises NotRebuildable."""
    made = node_of(entry.record, catalog.store, finder(catalog), trusted=trusted or _is_signed(catalog))
    nodes = list(walk(made))
    for each, stored in zip(nodes, lookup.by_keys(catalog, catalog.index, [str(each.key) for each in nodes]), strict=True):
        move_to(each, own_store(each), stored.at)
    return made


def _is_signed(catalog: Catalog) -> bool:
    """Tell whether the store accepts records of trusted signers only."""
    return extended(catalog.store).trust is not None


def payload(catalog: Catalog, entry: Entry) -> Any:
    """The payload of `entry`, loaded by its node, or, if that cannot be rebuilt, by a format that is safe."""
    try:
        found = node(catalog, entry)
    except (NotRebuildable, PayloadError) as error:  # an upstream record may be damaged, or not signed as this one is
        return _safely(catalog, entry.record, error)
    return found.load().payload


def _safely(catalog: Catalog, record: Record, cause: PersistableError) -> Any:
    try:
        io = declared_format(record.fileio, None, record.key, record.trusted)
    except PayloadUntrusted as error:
        raise PayloadUntrusted(
            f"{record.key} was stored by {error.format}, which can run code, and its class, which would declare it, cannot be had: "
            f"{cause}. If you trust all who can write to the store, open it with their public keys: open_store(url, trust=[...])",
            key=record.key,
            format=error.format,
        ) from cause
    if record.schema is not None:
        io = with_schema(io, record.schema, record.key)
    try:
        return loading.read(catalog.store, record, io)
    except FileNotFoundError as error:
        raise PayloadNotFound(f"a file of {record.key} is gone: {error}", key=record.key, nearest=None, differences={}) from error


def script(catalog: Catalog, entry: Entry, trusted: bool = False) -> str:
    """Python text that makes the node of `entry`. trusted: as for `Catalog.node`. Raises NotRebuildable."""
    from persistable.catalog.reproduce.script import code_of

    return code_of(entry.record, catalog.store, finder(catalog), trusted=trusted or _is_signed(catalog))


def reproduction(catalog: Catalog, node_or_key: Any, recursive: bool, rtol: float, atol: float, progress: bool) -> Reproduction:
    """Generate a payload again and compare it; impossible where its node cannot be rebuilt. A node is used as it is."""
    from persistable.catalog.reproduce.reproduce import impossible, reproduce
    from persistable.nodes.node import Persistable

    entry = lookup.entry(catalog, node_or_key)
    try:
        made: Any = node_or_key.bind(catalog.store) if isinstance(node_or_key, Persistable) else node(catalog, entry)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    except PersistableError as error:
        return impossible(entry.place.key, error)
    return reproduce(made, recursive=recursive, rtol=rtol, atol=atol, progress=progress)
