"""Reading payloads for a page, under the rules of trust that the store has.

Read without request: formats whose files hold data only, records of a signer that the store trusts, pickles of plain values, and formats
declared by a class that this process has imported already. Anything else is read on request only, by the class that the record names, which
is imported then: the request declares trust in it, as with `Catalog.node`.
"""

from __future__ import annotations

import sys
from typing import Any

from persistable.catalog.entry import Entry
from persistable.errors import FormatError, PayloadUntrusted
from persistable.fileio.base import FileIO
from persistable.fileio.pickle_plain import PlainPickleFileIO
from persistable.fileio.trust import declared_format, with_schema
from persistable.nodes import loading
from persistable.records.record import Record
from persistable.web.page import Site

LARGEST = 128_000_000
"""Most bytes of a payload that are read for a page."""


class TooLarge(Exception):
    """Error for a payload that is larger than a page reads."""


def payload_of(site: Site, entry: Entry, record: Record, by_class: bool = False, largest: int = LARGEST) -> Any:
    """The payload of `entry`. by_class: read it by the class that the record names, if no other way is safe.

    Raises PayloadUntrusted where only that class could read it, TooLarge, and the errors of reading.
    """
    if record.size > largest:
        raise TooLarge
    try:
        return loading.read(site.catalog.store, record, safe_format(record), writable=False)
    except (PayloadUntrusted, FormatError):
        if not by_class and not is_imported(record.class_reference):
            raise
    return entry.payload


def safe_format(record: Record) -> FileIO[Any]:
    """The format that reads `record` without its class. Raises PayloadUntrusted where there is none."""
    try:
        io = declared_format(record.fileio, None, record.key, record.trusted)
    except PayloadUntrusted:
        if record.fileio.get("io") != "PickleFileIO":
            raise
        return PlainPickleFileIO(**record.fileio.get("options", {}))
    return io if record.schema is None else with_schema(io, record.schema, record.key)


def is_imported(reference: str) -> bool:
    """Tell whether this process has imported the module that a reference names, so that no code runs to get it."""
    return reference.partition(":")[0] in sys.modules
