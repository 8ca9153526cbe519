"""A store in the memory of one process is of no use to others, whatever it is called or wrapped in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from persistable import run, step
from persistable.errors import NotEnforceable
from persistable.stores import LayeredStore, MemoryStore, ObjectStore, open_store
from persistable.stores.base import BaseStore, Stat
from persistable.stores.reach import in_memory, is_shared


class Renamed(MemoryStore):
    """Of another URL."""

    @property
    def url(self) -> str:
        return "team://" + self.name


class Namespaced(BaseStore):
    """A view of another store."""

    def __init__(self, below: Any) -> None:
        self.below = below

    @property
    def url(self) -> str:
        return "namespaced://x"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("below", "in_memory"):
            raise AttributeError(name)
        return getattr(self.below, name)

    def get(self, path: str) -> bytes:
        return bytes(self.below.get("x/" + path))

    def put(self, path: str, data: Any) -> None:
        self.below.put("x/" + path, data)

    def create(self, path: str, data: Any) -> bool:
        return bool(self.below.create("x/" + path, data))

    def stat(self, path: str) -> Stat | None:
        found: Stat | None = self.below.stat("x/" + path)
        return found

    def exists(self, path: str) -> bool:
        return self.stat(path) is not None

    def delete(self, path: str) -> bool:
        return bool(self.below.delete("x/" + path))

    def read(self, path: str) -> Any:
        return self.below.read("x/" + path)

    def write(self, path: str) -> Any:
        return self.below.write("x/" + path)

    def list(self, prefix: str = "") -> Any:
        return (path[2:] for path in self.below.list("x/" + prefix if prefix else "x"))


class Own(MemoryStore):
    """Says nothing of itself: bytes in a dict of its own."""

    in_memory = None  # type: ignore[assignment]

    @property
    def url(self) -> str:
        return "own://x"


class Folded(MemoryFileSystem):  # type: ignore[misc]
    protocol = "folded"


def kept(tmp_path: Path) -> Path:
    (tmp_path / "kept").mkdir()
    return tmp_path / "kept"


IN_MEMORY: list[Callable[[Path], Any]] = [
    lambda _: open_store("memory://reach"),
    lambda _: MemoryStore(),
    lambda _: Renamed(),
    lambda folder: LayeredStore("memory://reach", open_store(str(folder), readonly=True)),
    lambda folder: open_store(["memory://reach", {"url": str(folder), "readonly": True}]),
    lambda folder: LayeredStore(str(folder), "memory://reach"),
    lambda folder: LayeredStore(LayeredStore("memory://a", open_store(str(folder), readonly=True)), open_store(str(folder), readonly=True)),
    lambda _: Namespaced(MemoryStore()),
    lambda _: ObjectStore(fsspec.filesystem("memory"), "/reach"),
    lambda _: ObjectStore(DirFileSystem("/reach", fsspec.filesystem("memory")), "x"),
    lambda _: ObjectStore(DirFileSystem("/x", DirFileSystem("/reach", fsspec.filesystem("memory"))), "x"),
    lambda _: ObjectStore("simplecache::memory://reach"),
    lambda _: ObjectStore(Folded(), "/reach"),
]


@pytest.mark.parametrize("number", range(len(IN_MEMORY)))
def test_it_answers_for_itself(tmp_path: Path, number: int) -> None:
    assert in_memory(IN_MEMORY[number](tmp_path))


def test_what_others_reach_is_not_in_memory(tmp_path: Path) -> None:
    folder = str(tmp_path)
    for store in (
        open_store(folder),
        open_store(f"sqlite:///{folder}/x.db"),
        LayeredStore("memory://reach", folder),
        ObjectStore(DirFileSystem(folder, fsspec.filesystem("file")), "x"),
        Namespaced(open_store(folder)),
    ):
        assert not in_memory(store)
        assert is_shared(store)


@step
def twice(n: int) -> int:
    return 2 * n


@pytest.mark.parametrize("number", [3, 7, 9])
def test_a_run_on_processes_is_refused(tmp_path: Path, number: int) -> None:
    node = twice.step(4)
    with pytest.raises(NotEnforceable, match="in the memory of this process"):
        run(node, store=IN_MEMORY[number](tmp_path), executor="processes", max_workers=1)


def test_a_class_that_says_nothing_is_tried_out(tmp_path: Path) -> None:
    assert not is_shared(Own("somewhere"))
