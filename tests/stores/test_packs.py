"""Small items that lie together in one row of SQLite: nothing but time and space tells them from those that do not."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import warnings
from hashlib import md5
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from persistable.stores import SQLiteStore, sqlite_packs
from persistable.stores.sqlite_packs import FEWEST, LARGEST, SIZE


def packs(store: SQLiteStore) -> int:
    with sqlite3.connect(store.file) as db:
        found: int = db.execute("SELECT count(*) FROM persistable_packs").fetchone()[0]
    return found


def rows(store: SQLiteStore, table: str = "items") -> int:
    with sqlite3.connect(store.file) as db:
        found: int = db.execute(f"SELECT count(*) FROM persistable_{table}").fetchone()[0]
    return found


def many(count: int, folder: str = "a", size: int = 20) -> dict[str, bytes]:
    """Two items for each of so many bases."""
    items = {f"{folder}/{number:04}.x.pickle": bytes([number % 256]) * size for number in range(count)}
    return items | {f"{folder}/{number:04}.record.json": b"record %d" % number for number in range(count)}


@pytest.fixture
def store(tmp_path: Path) -> SQLiteStore:
    return SQLiteStore(tmp_path / "x.db")


class Zeros(bytes):
    """So many zero bytes, shown in few."""

    def __repr__(self) -> str:
        return f"bytes({len(self)})"


BASES = [f"{folder}/{name}" for folder in ("a", "a/b", ".persistable/c") for name in (*"0123456789", "a.b")]
SUFFIXES = ("", ".record.json", ".claim", ".x.pickle")
paths = st.builds("{}{}".format, st.sampled_from(BASES), st.sampled_from(SUFFIXES))
contents = st.sampled_from((0, 1, LARGEST + 1)).map(Zeros)


def filled(first: int, count: int, suffixes: set[str], data: bytes) -> dict[str, bytes]:
    return {base + suffix: data + base.encode() for suffix in suffixes for base in BASES[first : first + count]}


sets = st.builds(filled, st.integers(0, 20), st.sampled_from((1, 3, 12, 33)), st.sets(st.sampled_from(SUFFIXES), min_size=1), contents)


class Machine(RuleBasedStateMachine):
    """A store, seen through two connections, beside a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.stores = [SQLiteStore(f"{self.folder.name}/x.db") for _ in range(2)]
        self.expected: dict[str, bytes] = {}

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.folder.cleanup()

    @rule(stages=st.lists(sets, min_size=1, max_size=2), gone=st.lists(paths, max_size=5), who=st.integers(0, 1))
    def change_many(self, stages: list[dict[str, bytes]], gone: list[str], who: int) -> None:
        self.stores[who].change_many(*stages, delete=gone)
        for items in stages:
            self.expected |= items
        for path in gone:
            self.expected.pop(path, None)

    @rule(items=sets, who=st.integers(0, 1))
    def create_many(self, items: dict[str, bytes], who: int) -> None:
        created = self.stores[who].create_many(items)
        assert created == items.keys() - self.expected.keys()
        self.expected |= {path: items[path] for path in created}

    @rule(bases=st.sets(st.sampled_from(BASES), min_size=1, max_size=4), who=st.integers(0, 1))
    def create_fresh(self, bases: set[str], who: int) -> None:
        before = {base for base in bases if any(path == base or path.startswith(base + ".") for path in self.expected)}
        items = {base + ".claim": b"me" for base in bases if not base.endswith("a.b")}
        created, fresh = self.stores[who].create_fresh(items)
        assert created == items.keys() - self.expected.keys()
        assert fresh == {path for path in items if path.removesuffix(".claim") not in before}
        self.expected |= {path: items[path] for path in created}

    @rule(path=paths, data=contents, who=st.integers(0, 1))
    def put(self, path: str, data: bytes, who: int) -> None:
        self.stores[who].put(path, data)
        self.expected[path] = data

    @rule(path=paths, data=contents, who=st.integers(0, 1))
    def write(self, path: str, data: bytes, who: int) -> None:
        with self.stores[who].write(path) as file:
            file.write(data)
        self.expected[path] = data

    @rule(path=paths, who=st.integers(0, 1))
    def create(self, path: str, who: int) -> None:
        assert self.stores[who].create(path, b"new") == (path not in self.expected)
        self.expected.setdefault(path, b"new")

    @rule(path=paths, who=st.integers(0, 1))
    def delete(self, path: str, who: int) -> None:
        assert self.stores[who].delete(path) == (path in self.expected)
        self.expected.pop(path, None)

    @rule(wanted=st.sets(paths, max_size=4), who=st.integers(0, 1))
    def neighbours(self, wanted: set[str], who: int) -> None:
        found = self.stores[who].get_with_colocated(wanted)
        assert found.items() <= self.expected.items()
        assert wanted & found.keys() == wanted & self.expected.keys()

    @invariant()
    def all_is_there(self) -> None:
        every = [base + suffix for base in BASES for suffix in SUFFIXES]
        for store in self.stores:
            listed = [*store.list(), *store.list(".persistable")]
            assert sorted(listed) == sorted(self.expected)
            assert sorted(store.list("a")) == sorted(path for path in self.expected if path.startswith("a/"))
            assert store.get_many(every) == self.expected
            stats = store.stat_many(every)
            assert {path: stat.size for path, stat in stats.items()} == {path: len(data) for path, data in self.expected.items()}
            for path in every[::11]:
                assert store.exists(path) == (path in self.expected)
                stat = store.stat(path)
                assert stat == stats.get(path)
                if stat is not None:
                    assert store.get(path) == self.expected[path] == store.read(path).read()


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
TestMachine: Any = Machine.TestCase


def test_what_is_put_together_takes_one_row(store: SQLiteStore) -> None:
    store.put_many(many(100))
    assert (packs(store), rows(store), rows(store, "slots")) == (1, 0, 100)
    store.put_many(many(100, "b", 2000))
    assert packs(store) == 1 + 100 * 2000 // SIZE + 1
    store.put_many({f"c/{number}": b"" for number in range(2 * SIZE // len("c/1000"))})
    assert 6 <= packs(store) <= 8


def test_what_is_large_or_alone_has_a_row_of_its_own(store: SQLiteStore) -> None:
    store.put_many(many(FEWEST - 1))
    store.put_many({f"b/{number}": bytes(LARGEST + 1) for number in range(20)})
    assert (packs(store), rows(store)) == (0, 2 * (FEWEST - 1) + 20)


def test_a_pack_goes_when_what_is_in_it_goes(store: SQLiteStore) -> None:
    items = many(50)
    store.put_many(items)
    for number, path in enumerate(items):
        assert store.delete(path)
        assert rows(store, "gone") in (number + 1, 0)
    assert (packs(store), rows(store), rows(store, "slots"), rows(store, "gone")) == (0, 0, 0, 0)


def test_a_new_content_has_a_new_stamp(store: SQLiteStore) -> None:
    items = many(20)
    store.put_many(items)
    path = next(iter(items))
    before = store.stat(path)
    store.put(path, items[path][::-1])
    assert store.stat(path) != before


@pytest.fixture(scope="module")
def same_hash() -> tuple[str, str]:
    """Two bases that cannot be told apart by their hash."""
    seen: dict[int, str] = {}
    for number in range(500_000):
        base = f"a/{md5(b'%d' % number).hexdigest()}"
        other = seen.setdefault(crc32(base.encode()), base)
        if other != base:
            return other, base
    raise AssertionError("there are none")


def test_two_packs_of_one_hash_go_apart(store: SQLiteStore, same_hash: tuple[str, str]) -> None:
    one, two = same_hash
    between = {f"a/x{number}.r": bytes(2000) for number in range(100)}
    items = {one + ".r": b"one", **between, two + ".r": b"two"}
    store.put_many(items)
    assert packs(store) > 1
    for path in list(items)[:90]:
        store.delete(path)
    assert not store.exists(one + ".r")
    assert store.get(two + ".r") == b"two"
    assert store.get_many([one + ".r", two + ".r"]) == {two + ".r": b"two"}


def test_two_bases_of_one_hash_are_two(store: SQLiteStore, same_hash: tuple[str, str]) -> None:
    one, two = same_hash
    others = {f"a/x{number}.r": b"other" for number in range(20)}
    store.put_many({one + ".r": b"one", **others})
    assert store.get(one + ".r") == b"one"
    assert not store.exists(two + ".r")
    assert store.create(two + ".r", b"two")
    assert (store.get(one + ".r"), store.get(two + ".r")) == (b"one", b"two")
    store.delete(one + ".r")
    store.put_many({one + ".r": b"1", two + ".s": b"2", **{f"a/y{number}.r": b"y" for number in range(20)}})
    assert store.get_many([one + ".r", two + ".r", two + ".s"]) == {one + ".r": b"1", two + ".r": b"two", two + ".s": b"2"}
    assert store.delete(two + ".s") and not store.delete(two + ".s")
    assert store.get(one + ".r") == b"1"


def test_a_pack_that_is_dissolved_while_it_is_listed_is_not_taken_for_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = SQLiteStore(tmp_path / "x.db"), SQLiteStore(tmp_path / "x.db")
    items = many(20)
    mine.put_many(items)
    read = sqlite_packs._Pack

    def slowly(*arguments: Any) -> Any:
        monkeypatch.setattr(sqlite_packs, "_Pack", read)
        other.change_many(delete=items)
        return read(*arguments)

    monkeypatch.setattr(sqlite_packs, "_Pack", slowly)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(mine.list("a"))
    assert not list(mine.list("a"))


def test_what_moves_is_never_missing(store: SQLiteStore) -> None:
    """A pack dissolves while others read and list: what stays is always there."""
    items = many(40)
    kept = [path for path in items if path.endswith("0.record.json")]
    over = threading.Event()
    missed: list[str] = []

    def read() -> None:
        mine = SQLiteStore(store.file)
        while not over.is_set():
            missed.extend(path for path in kept if not mine.exists(path))
            missed.extend(set(kept) - mine.get_many(kept).keys())
            missed.extend(set(kept) - set(mine.list("a")))
            missed.extend(path for path in kept if mine.get(path) != items[path])

    store.put_many(items)
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(15):
            for path in items:
                if path not in kept:
                    store.delete(path)
            store.put_many({path: data for path, data in items.items() if path not in kept})
    finally:
        over.set()
        for reader in readers:
            reader.join(60)
    assert not missed
