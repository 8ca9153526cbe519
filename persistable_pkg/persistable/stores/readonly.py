"""Stores that may only be read: a layer shared by others, an archive, somebody else's bucket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from persistable.errors import StoreReadOnly
from persistable.stores.base import BaseStore, Bytes, Listed, Stat, Store, check_path, extended, stat_many
from persistable.stores.reach import in_memory


class Unwritable(BaseStore):
    """The base of stores that are only read: every call that would change something is refused by StoreReadOnly, which says `why`."""

    why: str

    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        self._refuse(path)

    def create(self, path: str, data: Bytes) -> bool:
        self._refuse(path)

    def put(self, path: str, data: Bytes) -> None:
        self._refuse(path)

    def put_many(self, items: Mapping[str, Bytes]) -> None:
        for path in items:
            self._refuse(path)

    def delete(self, path: str) -> bool:
        self._refuse(path)

    def _refuse(self, path: str) -> NoReturn:
        check_path(path)
        raise StoreReadOnly(f"{path} cannot be changed in {self.url}: {self.why}", url=self.url, path=path)


class ReadOnlyStore(Unwritable):
    """`inner`, with every call that would change something refused by StoreReadOnly."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.trust = extended(inner).trust
        how, mend = ("readonly=True", "open it without") if self.trust is None else ("trust= and without sign=", "give the key to sign by")
        self.why = f"it was opened with {how}; {mend}"
        mmap = extended(inner).mmap
        if mmap is not None:
            self.mmap = mmap

    @property
    def url(self) -> str:
        return self.inner.url

    @property
    def exclusive(self) -> bool:
        """Of the store itself."""
        return extended(self.inner).exclusive

    @property
    def in_memory(self) -> bool:
        """Tell whether it is in the memory of this process only."""
        return in_memory(self.inner)

    def info(self) -> dict[str, Any]:
        """Of the store itself, which may not be written here."""
        return {**super().info(), **({"trust": list(self.trust)} if self.trust is not None else {})}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.inner,), self.said()

    def read(self, path: str) -> BinaryIO:
        return self.inner.read(path)

    def get(self, path: str) -> bytes:
        return self.inner.get(path)

    def get_stamped(self, paths: Iterable[str]) -> dict[str, tuple[bytes, object | None]]:
        return extended(self.inner).get_stamped(paths)

    def list_around(self, paths: Iterable[str]) -> Listed:
        return extended(self.inner).list_around(paths)

    def get_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        return self.inner.get_many(paths)

    def exists(self, path: str) -> bool:
        return self.inner.exists(path)

    def stat(self, path: str) -> Stat | None:
        return self.inner.stat(path)

    def stat_many(self, paths: Iterable[str]) -> dict[str, Stat]:
        return stat_many(self.inner, paths)

    def list(self, prefix: str = "") -> Iterator[str]:
        return self.inner.list(prefix)

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        return extended(self.inner).scan(prefix)

    def read_range(self, path: str, first: int, last: int) -> bytes:
        return extended(self.inner).read_range(path, first, last)

    def listing_stamp(self) -> str | None:
        return extended(self.inner).listing_stamp()

    def local_path(self, path: str) -> Path | None:
        return self.inner.local_path(path)

    def close(self) -> None:
        self.inner.close()
