"""What very many nodes need to be loaded, fetched from their stores in a few calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from persistable.errors import PayloadCorrupted
from persistable.payload import SMALL
from persistable.record import SUFFIX, Record


def fetched(nodes: Sequence[Any]) -> list[Any]:
    """For each node a store to load it from: its own, of which the records and small payloads of all of them are in memory already."""
    by_store: dict[str, tuple[Any, list[Any]]] = {}
    for node in nodes:
        store = node.store
        by_store.setdefault(store.url, (store, []))[1].append(node)
    ready = {url: Fetched(store, _data(store, some)) for url, (store, some) in by_store.items()}
    return [ready[node.store.url] for node in nodes]


def _data(store: Any, nodes: Sequence[Any]) -> dict[str, bytes]:
    records: dict[str, bytes] = store.get_many([node.place.path + SUFFIX for node in nodes])
    wanted: list[str] = []
    for data in records.values():
        try:
            wanted += [file.path for file in Record.parse(data).files if file.size <= SMALL]
        except PayloadCorrupted:
            continue  # whoever loads it is told
    return {**records, **store.get_many(wanted)}


class Fetched:
    """`store`, some of whose content has been read already."""

    def __init__(self, store: Any, data: Mapping[str, bytes]) -> None:
        self._store = store
        self._data = data

    def get(self, path: str) -> bytes:
        data = self._data.get(path)
        found: bytes = data if data is not None else self._store.get(path)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
