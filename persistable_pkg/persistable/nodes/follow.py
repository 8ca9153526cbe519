"""Items of a payload: the keys committed so far, and each item as it is committed."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import time
from collections.abc import Iterator, KeysView
from typing import Any

from persistable.errors import PayloadNotFound, TimedOut, UpstreamFailed, WorkerDied
from persistable.nodes.types import Node
from persistable.records import claim_watch, items_in_progress, record_access
from persistable.records.failure import Failure
from persistable.records.items import Collected, Entry, Source, folder_of, read_index
from persistable.records.key import Place
from persistable.records.record import Record
from persistable.stores.base import Store

_FIRST_WAIT, _LONGEST_WAIT = 0.005, 0.5
_LISTED_EVERY = 0.25


def committed(node: Node, store: Store) -> KeysView[Any]:
    """Keys of the stored items of `node`, sealed or not. Raises PayloadCorrupted."""
    return entries_at(store, node.place).keys()


def entries_at(store: Store, place: Place) -> dict[Any, Entry]:
    """The stored items of the node at `place` by key, in order."""
    record = record_access.find_record(store, place)
    if record is not None:
        return read_index(store, record) if folder_of(record) is not None else {}
    begun = items_in_progress.find_partial(store, place)
    if begun is None:
        return {}
    return {entry.key: entry for entry in items_in_progress.entries(store, begun).values()}


def follow(node: Node, store: Store, timeout: float | None) -> Iterator[tuple[Any, Any]]:
    """The iterator of `Persistable.follow`."""
    return _Follower(node, store, timeout).items()


class _Follower:
    def __init__(self, node: Node, store: Store, timeout: float | None) -> None:
        self._node = node
        self._store = store
        self._timeout = timeout
        self._source = Source(store, node.key, node._node_format())
        self._seen: set[Any] = set()
        self._number = 0
        self._stuck_at = -1
        self._next_listing = time.monotonic() + _LISTED_EVERY
        self._folder: str | None = None
        self._alive = False
        self._failure = record_access.find_failure(store, node.place)
        """The failure of an earlier attempt, which a later one may make good."""

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Key and payload of each item, once."""
        since, wait = time.monotonic(), _FIRST_WAIT
        while True:
            held = claim_watch.holder_of(self._store, self._node.place.path) is not None  # asked first, so that its last commit is seen
            record = record_access.find_record(self._store, self._node.place)
            if record is not None:
                yield from self._sealed(record)
                return
            news = False
            for entry in self._more():
                news = True
                yield entry.key, self._source.load(entry)
            self._judge(held, news)
            if news:
                since, wait = time.monotonic(), _FIRST_WAIT
                continue
            if self._timeout is not None and time.monotonic() - since > self._timeout:
                raise TimedOut(
                    f"no item of {self._node.key} has come for {self._timeout:g} s ({len(self._seen)} came before)"
                    + ("" if held else "; nobody generates them: run(node) does"),
                    key=self._node.key,
                    seconds=self._timeout,
                )
            time.sleep(wait)
            wait = min(wait * 1.5, claim_watch.poll_of(self._store))

    def _sealed(self, record: Record) -> Iterator[tuple[Any, Any]]:
        folder = folder_of(record)
        if folder is None:
            raise TypeError(f"{self._node.key} is one payload, not items by key; there is nothing to follow")
        if self._folder is not None and folder != self._folder and self._seen:
            raise self._gone()
        whole: Collected[Any] = Collected(self._source, read_index(self._store, record))
        for key in whole:
            if key not in self._seen:
                yield key, whole[key]

    def _more(self) -> list[Entry]:
        begun = items_in_progress.find_partial(self._store, self._node.place)
        if begun is None:
            return []
        if begun.folder != self._folder:
            if self._seen:
                raise self._gone()
            self._folder = begun.folder
        found = items_in_progress.entries_from(self._store, begun, self._number)
        self._number += len(found)
        if not found:
            found = self._beyond(begun)
        found = [entry for entry in found if entry.key not in self._seen]
        self._seen.update(entry.key for entry in found)
        return found

    def _beyond(self, begun: items_in_progress.Unsealed) -> list[Entry]:
        """Items after a missing number: listed only now and then, since mostly there is nothing new."""
        start = time.monotonic()
        if start < self._next_listing:
            return []
        numbered = items_in_progress.entries(self._store, begun, self._number)
        took = time.monotonic() - start
        self._next_listing = start + max(_LISTED_EVERY, 20 * took)
        if numbered and self._stuck_at == self._number:  # missing in two listings in a row, so it is not just late
            self._number = max(numbered) + 1
        self._stuck_at = self._number
        return list(numbered.values())

    def _judge(self, held: bool, news: bool) -> None:
        """Raise if the process that generated the items has ended without sealing them."""
        if held:
            self._alive = True
            return
        failure = record_access.find_failure(self._store, self._node.place)
        if failure is not None and not _same(failure, self._failure):
            raise UpstreamFailed(
                f"{self._node.key} failed after {len(self._seen)} items ({failure.error}: {failure.message}); "
                "they are kept, run(it) goes on",
                key=self._node.key,
            )
        if self._alive and not news and record_access.find_record(self._store, self._node.place) is None:
            raise WorkerDied(
                f"the process that generated {self._node.key} is gone after {len(self._seen)} items, which are kept; "
                "run(node) goes on from there",
                key=self._node.key,
                exitcode=None,
            )

    def _gone(self) -> PayloadNotFound:
        return PayloadNotFound(
            f"the items of {self._node.key} that came so far were deleted, and others are made; follow it again",
            key=self._node.key,
            nearest=None,
            differences={},
        )


def _same(failure: Failure, other: Failure | None) -> bool:
    return other is not None and (failure.attempt, failure.started) == (other.attempt, other.started)
