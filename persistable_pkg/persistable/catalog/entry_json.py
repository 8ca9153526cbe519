"""The details of payloads as JSON, for the command line and the local page alike: rows of a list, and whole records."""

from __future__ import annotations

from typing import Any

from persistable.catalog.entry import Entry
from persistable.params.display import without_credentials
from persistable.records.key import Place, Placed
from persistable.records.record import Record
from persistable.stores.base import Store


def details(store: Store, place: Place, record: Record) -> dict[str, Any]:
    """The facts of `record` as JSON, with credentials among the params masked."""
    all_facts = record.to_dict()
    return {
        "key": str(record.key),
        "name": record.key.name,
        "store": store.url,
        "at": place.to if isinstance(place, Placed) else None,
        "size": record.size,
        "stored": record.started + record.seconds,
        "seconds": record.seconds,
        "attempts": record.attempts,
        "made": record.made,
        "class": record.class_reference,
        "format": record.fileio,
        "version": record.version,
        "params": without_credentials(record.params),
        "untracked": without_credentials(record.untracked),
        "upstream": {role: str(key) for role, key in record.upstream.items()},
        "files": [file._asdict() for file in record.files],
        "host": record.host,
        "platform": all_facts.get("platform"),
        "git_commit": record.git_commit,
        "git_dirty": record.git_dirty,
        "git_diff": record.git_diff,
        "usage": record.usage,
        "versions": record.versions,
        "notes": record.notes,
        "output": record.output,
    }


def row_of(entry: Entry, label: str | None = None) -> dict[str, Any]:
    """The facts of an entry in a list."""
    return {
        "key": None if entry.key is None else str(entry.key),
        "name": entry.name,
        "label": entry.label if label is None else label,
        "params": without_credentials(entry.params_tree),
        "at": entry.at,
        "status": entry.status,
        "size": entry.size,
        "seconds": entry.seconds,
        "stored": entry.created,
        "host": entry.host,
        "class": entry.class_reference,
        "made": entry.made,
    }
