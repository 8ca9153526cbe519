"""The contract of stores that are only read, as tests. Subclass `ReadContract`, say how such a store is made, and run it with pytest.

class TestMyArchive(ReadContract):
    def build_store(self, items, folder):
        return MyArchive(write_archive(folder, items))
"""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from persistable.errors import InvalidName, StoreReadOnly
from persistable.stores.base import HIDDEN, Store, extended, stat_many
from persistable.testing.processes import BAD_PATHS, GOOD_PATHS, Gate, in_a_fork, in_processes

_ITEMS = {
    "a/1": b"one",
    "a/b/2": b"two, longer",
    "ab/3": b"",
    "a.b/4": b"4",
    "a b/5": b"5",
    "b/a/6": b"6",
    "A/7": b"7",
    "c": b"c" * 70_000,
    f"{HIDDEN}/x": b"x",
    f"{HIDDEN}/deep/y": b"y",
}
StoreFiller = Callable[[Mapping[str, bytes]], Store]
_LARGE = bytes(range(256)) * 160_000


class ReadingContract:
    """The tests of reading, for stores of every kind."""

    shared_between_processes: ClassVar[bool] = True
    """Other processes see the same bytes."""
    folds_case: ClassVar[bool] = False
    """Names that differ only in case are one name."""
    good_paths: ClassVar[list[str]] = GOOD_PATHS
    """Names that must work."""

    @pytest.fixture
    def fill_store(self) -> StoreFiller:
        """A function that returns a store with some items and nothing else."""
        raise NotImplementedError("give this class a fixture `fill_store` that fills a store")

    @pytest.fixture
    def filled(self, fill_store: StoreFiller) -> Store:
        """A store with a few items."""
        return fill_store(_ITEMS)

    def test_what_is_there_is_read(self, filled: Store) -> None:
        for path, data in _ITEMS.items():
            found = filled.stat(path)
            assert found is not None and found.size == len(data)
            assert found == filled.stat(path)
            assert filled.exists(path)
            assert filled.get(path) == data
            with filled.read(path) as file:
                assert file.read(2) == data[:2]
                assert file.read() == data[2:]
                assert file.read(1) == b""
        assert filled.get_many([*_ITEMS, "absent", "a", "c"]) == _ITEMS
        assert stat_many(filled, [*_ITEMS, "absent"]) == {path: filled.stat(path) for path in _ITEMS}

    def test_what_is_absent_is_a_file_not_found_error(self, filled: Store) -> None:
        for absent in ("nothing", "a", "a/1/c", "a/1.c", *([] if self.folds_case else ["A/1"])):
            with pytest.raises(FileNotFoundError):
                filled.get(absent)
            with pytest.raises(FileNotFoundError):
                filled.read(absent).close()
            assert not filled.exists(absent)
            assert filled.stat(absent) is None
        assert filled.get_many(["nothing", "a"]) == {}

    def test_a_listing_is_of_a_folder(self, filled: Store) -> None:
        assert sorted(filled.list("a")) == ["a/1", "a/b/2"] + (["A/7"] if self.folds_case else [])
        assert list(filled.list("a/b")) == ["a/b/2"]
        assert list(filled.list("c")) == []
        assert list(filled.list("nowhere")) == []
        assert sorted(filled.list()) == ["A/7", "a b/5", "a.b/4", "a/1", "a/b/2", "ab/3", "b/a/6", "c"]
        assert sorted(filled.list(HIDDEN)) == [f"{HIDDEN}/deep/y", f"{HIDDEN}/x"]

    def test_an_empty_store_has_nothing(self, fill_store: StoreFiller) -> None:
        empty = fill_store({})
        assert list(empty.list()) == []
        assert list(empty.list("a/b")) == []
        assert not empty.exists("a")
        assert empty.stat("a") is None
        assert empty.get_many(["a", "b"]) == {}

    def test_it_pickles(self, filled: Store) -> None:
        assert filled.get("a/1") == b"one"  # connections are open now
        copy: Store = pickle.loads(pickle.dumps(filled))
        assert copy == filled
        assert hash(copy) == hash(filled)
        assert copy.url == filled.url
        assert copy.get("a/1") == b"one"

    def test_closing_lets_go_and_the_next_use_opens_again(self, filled: Store) -> None:
        assert filled.get("a/1") == b"one"
        filled.close()
        filled.close()
        assert filled.get("a/1") == b"one"


class ReadContract(ReadingContract):
    """The tests: reading as in `StoreContract`, and the refusal of every change."""

    def build_store(self, items: Mapping[str, bytes], folder: Path) -> Store:
        """Make a store of `items` in the empty folder `folder`. Subclasses define their own."""
        raise NotImplementedError("give this class a method `build_store` that makes a store with these items")

    @pytest.fixture
    def fill_store(self, tmp_path: Path) -> StoreFiller:
        """A function that makes a store of items."""
        return lambda items: self.build_store(items, tmp_path)

    def test_a_scan_is_a_listing_with_stats(self, filled: Store) -> None:
        for prefix in ("", "a", HIDDEN, "c", "nowhere"):
            scanned = list(filled.scan(prefix))
            assert sorted(path for path, _ in scanned) == sorted(filled.list(prefix))
            assert dict(scanned) == {path: filled.stat(path) for path, _ in scanned}

    def test_bytes_of_every_size_come_back(self, tmp_path: Path) -> None:
        sizes = (0, 1, 65535, 65536, 65537, 1 << 20, (5 << 20) + 1)
        items = {f"x/{size}": ((b"%07d" % size) * (size // 7 + 1))[:size] for size in sizes}
        store = self.build_store(items, tmp_path)
        for path, data in items.items():
            assert store.get(path) == data
            with store.read(path) as file:
                assert file.read() == data
        assert store.get_many(items) == items

    def test_a_large_stream_can_be_read_in_pieces_and_sought(self, tmp_path: Path) -> None:
        store = self.build_store({"large": _LARGE, "small": b"0123456789"}, tmp_path)
        with store.read("large") as file:
            assert file.read(10) == _LARGE[:10]
            file.seek(30_000_000)
            assert file.read(1000) == _LARGE[30_000_000:30_001_000]
            file.seek(-5, 2)
            assert file.read() == _LARGE[-5:]
            file.seek(5)
            assert file.read(20_000_000) == _LARGE[5:20_000_005]
        whole = extended(store)
        assert whole.read_range("large", 20_000_000, 20_000_100) == _LARGE[20_000_000:20_000_100]
        assert [whole.read_range("small", first, last) for first, last in ((0, 4), (8, 20), (10, 12), (3, 3))] == [b"0123", b"89", b"", b""]

    @pytest.mark.parametrize("path", BAD_PATHS)
    def test_bad_names_are_refused_everywhere(self, filled: Store, path: str) -> None:
        for call in (filled.get, filled.read, filled.exists, filled.stat, filled.local_path):
            with pytest.raises(InvalidName):
                call(path)
        with pytest.raises(InvalidName):
            filled.get_many(["c", path])
        if path:
            with pytest.raises(InvalidName):
                list(filled.list(path))

    def test_good_names_stay_apart(self, tmp_path: Path) -> None:
        items = {f"{path}/{number}": f"{number} {path}".encode() for number, path in enumerate(self.good_paths)}
        store = self.build_store(items, tmp_path)
        assert store.get_many(items) == items
        assert {path: store.get(path) for path in items} == items
        assert sorted(store.list()) == sorted(items)

    def test_nothing_can_be_changed(self, filled: Store) -> None:
        for change in (
            lambda: filled.put("c", b"1"),
            lambda: filled.create("new", b"1"),
            lambda: filled.write("c").__enter__(),
            lambda: filled.put_many({"c": b"1"}),
            lambda: filled.delete("c"),
        ):
            with pytest.raises(StoreReadOnly):
                change()
        assert filled.get("c") == _ITEMS["c"]

    def test_it_works_in_another_process(self, filled: Store) -> None:
        if self.shared_between_processes:
            assert in_processes(1, _visit, filled) == [(b"one", ["a/b/2"])]

    def test_a_store_in_use_survives_a_fork(self, filled: Store) -> None:
        if not self.shared_between_processes or "fork" not in multiprocessing.get_all_start_methods():
            return
        assert filled.get("a/1") == b"one"  # connections are open now
        assert in_a_fork(_visit, 0, None, filled) == (b"one", ["a/b/2"])
        assert filled.get("a/1") == b"one"


def _visit(_number: int, _gate: Gate | None, store: Store) -> tuple[bytes, list[str]]:
    return store.get("a/1"), list(store.list("a/b"))
