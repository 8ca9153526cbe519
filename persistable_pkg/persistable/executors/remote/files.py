"""The files of one job, reachable by its worker and its driver: in a folder, or under a prefix in a store."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

from persistable.stores.base import Store


class JobFiles(ABC):
    """Small files by name, as used by the worker of a job. Each is written atomically."""

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Write a file; one of that name is replaced."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one of that name; tell whether it was written. Of concurrent calls, one succeeds."""

    @abstractmethod
    def get(self, name: str) -> bytes:
        """Read a file. Raises FileNotFoundError."""

    @abstractmethod
    def names(self) -> Collection[str]:
        """List the names of all files."""


class FolderFiles(JobFiles):
    """Files in a folder that only its owner can read."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def make(self) -> None:
        """Make the folder. Raises FileExistsError if it is there."""
        self.folder.mkdir(mode=0o700)

    def put(self, name: str, data: bytes) -> None:
        self._half(name, data).replace(self.folder / name)

    def create(self, name: str, data: bytes) -> bool:
        half = self._half(name, data)
        try:
            os.link(half, self.folder / name)
        except FileExistsError:
            return False
        finally:
            half.unlink()
        return True

    def _half(self, name: str, data: bytes) -> Path:
        half = self.folder / f".{name}.{uuid4().hex}"
        try:
            with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
        except OSError:
            half.unlink(missing_ok=True)
            raise
        return half

    def get(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def names(self) -> Collection[str]:
        with suppress(FileNotFoundError):
            return [name for name in os.listdir(self.folder) if not name.startswith(".")]
        return []

    def remove(self) -> None:
        """Remove all files; harmless if there are none."""
        shutil.rmtree(self.folder, ignore_errors=True)


class StoreFiles:
    """Files under a prefix in a store, for workers that share no file system with their driver."""

    def __init__(self, store: Store, prefix: str) -> None:
        self.store = store
        self.prefix = prefix

    def put(self, name: str, data: bytes) -> None:
        """Write a file; one of that name is replaced."""
        self.store.put(f"{self.prefix}/{name}", data)

    def get(self, name: str) -> bytes:
        """Read a file. Raises FileNotFoundError."""
        return self.store.get(f"{self.prefix}/{name}")

    def remove(self) -> None:
        """Remove all files; harmless if there are none."""
        for path in list(self.store.list(self.prefix)):
            self.store.delete(path)


SharedFiles: TypeAlias = FolderFiles | StoreFiles
"""Files that both a worker and its driver reach."""
