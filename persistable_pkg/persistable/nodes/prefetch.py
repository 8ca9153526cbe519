"""Records and payloads of very many nodes, fetched from their stores in a few calls."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from persistable import events
from persistable.errors import PayloadCorrupted, PayloadUntrusted, StoreError, StoreTooNew
from persistable.nodes import loading
from persistable.nodes.types import Node
from persistable.records.files import SMALL
from persistable.records.key import Key
from persistable.records.record import SUFFIX, Record
from persistable.records.record_cache import records_at
from persistable.stores.overlay import OverlayStore

AT_ONCE = 500
"""Number of nodes whose payloads are fetched together, and held in memory."""
_KEPT = 4 * AT_ONCE


def fetched(nodes: Sequence[Any]) -> list[Any]:
    """A store to load each node from: its own, with the records and small payloads of all of them in memory already."""
    found: list[Any] = [None] * len(nodes)
    for store, numbers in _by_store([(node, node.store) for node in nodes]):
        ready, _ = _fetch(store, [nodes[number] for number in numbers])
        for number in numbers:
            found[number] = ready
    return found


MANY = 32
"""Number of upstream nodes from which on it pays to read all their records at once."""


class Inputs:
    """Payloads of very many nodes, fetched in batches of some hundreds, each from the requested node on.

    nodes: each with its store, in the likely order of the requests, once for each request.
    """

    def __init__(self, nodes: Sequence[tuple[Any, Any]]) -> None:
        self._wanted = Counter([node.key for node, _ in nodes])
        self._nodes = list({node.key: (node, store) for node, store in nodes}.values())
        self._numbers = {node.key: number for number, (node, _) in enumerate(self._nodes)}
        self._ready: dict[Key, tuple[Any, Record | None]] = {}
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Fetch the first batch now, so that the first request need not wait for it."""
        with self._lock, suppress(StoreError):  # it is raised when a payload is requested
            self._fetch(self._nodes[:AT_ONCE])

    def load(self, node: Node) -> tuple[Any, Record] | None:
        """The payload of `node`, read-only, and its record; None if only an ordinary load can decide."""
        store, record = self._of(node)
        if record is None:
            return None
        has_receiver = events.has_receiver(node._node_logger)
        clock = time.perf_counter() if has_receiver else 0.0
        loading.check_code(node, store, record, whole=False)
        try:
            result = loading.read(store, record, loading.format_of(node, record), writable=False)
        except (FileNotFoundError, PayloadCorrupted):
            return None  # replaced meanwhile, or damaged
        if has_receiver:
            events.emit(events.Loaded(key=node.key, size=record.size, seconds=time.perf_counter() - clock), node._node_logger)
        return result, record

    def _of(self, node: Node) -> tuple[Any, Record | None]:
        """The store to load `node` from, and its record."""
        number = self._numbers.get(node.key)
        if number is None:
            return None, None
        with self._lock:
            if node.key not in self._ready:
                self._fetch(self._nodes[number : number + AT_ONCE])
            self._wanted[node.key] -= 1
            return self._ready[node.key] if self._wanted[node.key] > 0 else self._ready.pop(node.key)

    def _fetch(self, nodes: Sequence[tuple[Any, Any]]) -> None:
        if len(self._ready) > _KEPT:  # several threads may each ask for a later batch
            self._ready.clear()
        for store, numbers in _by_store(nodes):
            ready, records = _fetch(store, [nodes[number][0] for number in numbers])
            for number in numbers:
                place = nodes[number][0].place
                record = records.get(place.path + SUFFIX) if place.__class__ is Key else None
                self._ready[place.key] = ready, record if record is not None and record.key == place.key else None


def stored_upstream(node: Node, store: Any) -> list[tuple[Any, Any]]:
    """The direct upstream nodes of `node` that are persisted and no inputs, each with its store. store: for those that name none."""
    upstream = node._node_upstream.values()
    return [(each, each._node_store or store) for each in upstream if each.is_persisted and not each.is_external]


def _by_store(nodes: Sequence[tuple[Any, Any]]) -> list[tuple[Any, list[int]]]:
    """Each store with the numbers of its nodes."""
    by_store: dict[str, tuple[Any, list[int]]] = {}
    urls: dict[int, str] = {}
    for number, (_, store) in enumerate(nodes):
        url = urls.get(id(store)) or urls.setdefault(id(store), store.url)
        by_store.setdefault(url, (store, []))[1].append(number)
    return list(by_store.values())


def _fetch(store: Any, nodes: Sequence[Any]) -> tuple[OverlayStore, dict[str, Record]]:
    """`store` with the records and small payloads of `nodes` in memory, and the sound records by path."""
    keys = {node.place.path + SUFFIX: node.place if node.place.__class__ is Key else None for node in nodes}
    found = records_at(store, list(keys))
    records: dict[str, Record] = {}
    wanted: list[str] = []
    for path, data in found.items():
        try:
            record = records[path] = Record.parse(data, keys[path])
        except (PayloadCorrupted, PayloadUntrusted, StoreTooNew):
            continue  # its load raises
        wanted += [path for _, path, size, _ in record.head["files"] if size <= SMALL]
    return OverlayStore(store, {**found, **store.get_many(wanted)}), records
