"""Notes of renamings, ``.persistable/renamed/<stamp>/<n>.json``, by which any process can undo them later.

A note is written before anything moves. It has each record as it was, so that undoing restores the exact bytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from persistable.catalog.checksummed_json import checked, parsed
from persistable.stores.base import HIDDEN, Store

FOLDER = f"{HIDDEN}/renamed"


class Noted(NamedTuple):
    """A record that was replaced: its path and bytes before, its path after, and the checksum of its successor."""

    before: str
    data: bytes
    after: str
    check: str
    at: str | None


def write(store: Store, stamp: str, number: int, changes: Any, noted: Sequence[Noted]) -> None:
    """Write a note of the records that are about to be moved."""
    rows = [{**each._asdict(), "data": each.data.decode("utf-8", "surrogatepass")} for each in noted]
    store.put(f"{FOLDER}/{stamp}/{number}.json", checked({"at": time.time(), "changes": changes, "moves": rows}))


def stamps(store: Store) -> list[str]:
    """The stamp of each renaming that can be undone, the oldest first."""
    return sorted({path.removeprefix(FOLDER + "/").partition("/")[0] for path in store.list(FOLDER)})


def read(store: Store, stamp: str) -> Iterator[Noted]:
    """Yield the rows in the notes of one renaming. A damaged note is skipped: it was cut off before anything of it moved."""
    for _, data in sorted(store.get_many(list(store.list(f"{FOLDER}/{stamp}"))).items(), key=lambda item: _number(item[0])):
        try:
            rows: Any = parsed(data)["moves"]
            found = [
                Noted(row["before"], row["data"].encode("utf-8", "surrogatepass"), row["after"], row["check"], row["at"]) for row in rows
            ]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        yield from found


def _number(path: str) -> int:
    text = path.rpartition("/")[2].partition(".")[0]
    return int(text) if text.isdigit() else 0


def forget(store: Store, stamp: str) -> None:
    """Remove the notes of a renaming."""
    for path in list(store.list(f"{FOLDER}/{stamp}")):
        store.delete(path)
