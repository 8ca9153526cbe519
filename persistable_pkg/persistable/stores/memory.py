"""Bytes at paths in this process's memory: for tests, and as the fast layer in front of a slow store."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Any, BinaryIO
from weakref import WeakValueDictionary

from persistable.stores.base import BaseStore, Bytes, Stat, check_path, check_prefix, in_folder

# Each operation is one atomic step on a dict: there is no lock that could be held across a fork.
_stamps = count(1)


class _Area(dict[str, tuple[bytes, int]]):
    __slots__ = ("__weakref__",)


_named: dict[str, _Area] = {}
_private: WeakValueDictionary[str, _Area] = WeakValueDictionary()


class MemoryStore(BaseStore):
    """A dict of this process. Stores of one ``name`` share their bytes as long as the process lives; one without a name is private.

    It is pickled by name: that gives the same bytes inside this process, and in any other a store of that name there.
    """

    in_memory = True
    definite = True

    def __init__(self, name: str | None = None) -> None:
        if name is None:
            self.name = f"private-{os.urandom(8).hex()}"
            self._area = _private.setdefault(self.name, _Area())
        else:
            self.name = name
            private = _private.get(name)
            self._area = _named.setdefault(name, _Area()) if private is None else private

    @classmethod
    def from_url(cls, url: str) -> MemoryStore:
        """The store of ``memory://name``."""
        return cls(url.partition("://")[2])

    @property
    def url(self) -> str:
        return "memory://" + self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name,), self.pickled_options()

    def get(self, path: str) -> bytes:
        found = self._area.get(check_path(path))
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "nothing is stored here", f"{self.url}/{path}")
        return found[0]

    def read(self, path: str) -> BinaryIO:
        return io.BytesIO(self.get(path))

    def put(self, path: str, data: Bytes) -> None:
        self._area[check_path(path)] = (bytes(data), next(_stamps))

    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        return self._write(check_path(path))

    @contextmanager
    def _write(self, path: str) -> Generator[BinaryIO]:
        file = _Buffer()
        yield file
        self.put(path, file.getvalue())

    def create(self, path: str, data: Bytes) -> bool:
        entry = (bytes(data), next(_stamps))
        return self._area.setdefault(check_path(path), entry) is entry

    def exists(self, path: str) -> bool:
        return check_path(path) in self._area

    def stat(self, path: str) -> Stat | None:
        found = self._area.get(check_path(path))
        return None if found is None else Stat(len(found[0]), found[1])

    def delete(self, path: str) -> bool:
        return self._area.pop(check_path(path), None) is not None

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        check_prefix(prefix)
        return iter([(path, Stat(len(data), stamp)) for path, (data, stamp) in list(self._area.items()) if in_folder(path, prefix)])


class _Buffer(io.BytesIO):
    """A buffer that keeps the written bytes after the writer closed it."""

    def close(self) -> None:
        return None
