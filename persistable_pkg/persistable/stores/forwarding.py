"""`ForwardingStore`: a store that hands every call to another, for classes that change some of them.

The one place that looks whether a store has the optional calls of `BaseStore`: a class of somebody else's may have the protocol alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from persistable.stores.base import BaseStore, Bytes, Listed, Stat, Store

Value = TypeVar("Value")


class _Forwarded:
    """An attribute of the store behind, or `default` where that has none."""

    def __init__(self, default: object) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: ForwardingStore | None, owner: type) -> Any:
        return self._default if instance is None else getattr(instance.store, self._name, self._default)


def _forwarded(default: Value) -> Value:
    return cast("Value", _Forwarded(default))


class ForwardingStore(BaseStore):
    """`store`, whatever its class, with all calls of BaseStore."""

    batches = _forwarded(BaseStore.batches)
    definite = _forwarded(BaseStore.definite)
    adopts = _forwarded(BaseStore.adopts)
    poll = _forwarded(BaseStore.poll)
    claim_ttl = _forwarded(BaseStore.claim_ttl)
    claim_beat = _forwarded(BaseStore.claim_beat)
    mmap = _forwarded(BaseStore.mmap)
    layers = _forwarded(BaseStore.layers)
    signer = _forwarded(BaseStore.signer)
    trust = _forwarded(BaseStore.trust)
    in_memory = _forwarded(BaseStore.in_memory)
    format_seen = _forwarded(BaseStore.format_seen)

    def __init__(self, store: Store) -> None:
        self.store = store

    def said(self) -> dict[str, Any] | None:
        return None  # options are those of the store behind

    @property
    def url(self) -> str:
        return self.store.url

    @property
    def primary_store(self) -> Store:
        return self.store.primary_store if isinstance(self.store, BaseStore) else self

    @property
    def deciding_store(self) -> Store:
        return self.store.deciding_store if isinstance(self.store, BaseStore) else self

    @property
    def exclusive(self) -> bool:
        return bool(getattr(self.store, "exclusive", True))

    # --- the protocol

    def read(self, path: str) -> BinaryIO:
        return self.store.read(path)

    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        return self.store.write(path)

    def create(self, path: str, data: Bytes) -> bool:
        return self.store.create(path, data)

    def get(self, path: str) -> bytes:
        return self.store.get(path)

    def put(self, path: str, data: Bytes) -> None:
        self.store.put(path, data)

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        return self.store.get_many(paths)

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        self.store.put_many(items)

    def exists(self, path: str) -> bool:
        return self.store.exists(path)

    def stat(self, path: str) -> Stat | None:
        return self.store.stat(path)

    def delete(self, path: str) -> bool:
        return self.store.delete(path)

    def list(self, prefix: str = "") -> Iterator[str]:
        return self.store.list(prefix)

    def local_path(self, path: str) -> Path | None:
        return self.store.local_path(path)

    def close(self) -> None:
        self.store.close()

    # --- the optional calls, with BaseStore's way where the store has none of its own

    def _own(self, name: str, default: Value) -> Value:
        return cast("Value", getattr(self.store, name, default))

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        return self._own("scan", super().scan)(prefix)

    def stat_many(self, paths: Iterable[str]) -> dict[str, Stat]:
        return self._own("stat_many", super().stat_many)(paths)

    def create_many(self, items: Mapping[str, Bytes]) -> set[str]:
        return self._own("create_many", super().create_many)(items)

    def change_many(self, *stages: Mapping[str, Bytes], delete: Iterable[str] = ()) -> None:
        return self._own("change_many", super().change_many)(*stages, delete=delete)

    def read_range(self, path: str, first: int, last: int) -> bytes:
        return self._own("read_range", super().read_range)(path, first, last)

    def listing_stamp(self) -> str | None:
        return self._own("listing_stamp", super().listing_stamp)()

    def get_with_colocated(self, paths: Iterable[str]) -> dict[str, bytes]:
        return self._own("get_with_colocated", super().get_with_colocated)(paths)

    def get_stamped(self, paths: Iterable[str]) -> dict[str, tuple[bytes, object | None]]:
        return self._own("get_stamped", super().get_stamped)(paths)

    def list_around(self, paths: Iterable[str]) -> Listed:
        return self._own("list_around", super().list_around)(paths)

    def create_fresh(self, items: Mapping[str, Bytes]) -> tuple[set[str], set[str]]:
        return self._own("create_fresh", super().create_fresh)(items)

    def new_file(self, path: str) -> Path:
        return cast("BaseStore", self.store).new_file(path)

    def adopt(self, source: str | os.PathLike[str], path: str) -> None:
        cast("BaseStore", self.store).adopt(source, path)

    def heal(self, path: str, sound: Callable[[BinaryIO], bool]) -> bool:
        return self._own("heal", super().heal)(path, sound)

    def clear_temporary(self, path: str) -> None:
        self._own("clear_temporary", super().clear_temporary)(path)

    def clear_sources(self, is_unused: Callable[[bytes], bool]) -> None:
        self._own("clear_sources", super().clear_sources)(is_unused)
