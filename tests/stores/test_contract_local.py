"""The stores of one machine keep the promises of every store."""

import io
import struct
from itertools import accumulate
from pathlib import Path

import pytest

from persistable.stores import LocalStore, MemoryStore, SQLiteStore
from persistable.testing.processes import everything_below
from persistable.testing.stores import StoreContract


class TestLocalStore(StoreContract):
    examples = 100
    rounds = 100

    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(tmp_path / "root")

    def plant(self, store: LocalStore, path: str, data: bytes) -> None:
        target = Path(store.root, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def peek(self, store: LocalStore, path: str) -> bytes | None:
        target = Path(store.root, path)
        return target.read_bytes() if target.is_file() else None

    def leftovers(self, store: LocalStore) -> list[str]:
        return everything_below(Path(store.root))


class TestDurableLocalStore(TestLocalStore):
    examples = 10
    rounds = 10
    many = 50

    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(tmp_path / "root", fsync=True)


class TestMemoryStore(StoreContract):
    shared_between_processes = False
    examples = 100
    rounds = 200

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


class TestSQLiteStore(StoreContract):
    examples = 60
    rounds = 40

    @pytest.fixture
    def store(self, tmp_path: Path) -> SQLiteStore:
        return SQLiteStore(tmp_path / "deep" / "store.db")

    def peek(self, store: SQLiteStore, path: str) -> bytes | None:
        import sqlite3

        if not Path(store.file).exists():
            return None
        other = sqlite3.connect(store.file)
        try:
            row = other.execute("SELECT data FROM persistable_items WHERE path = ?", (path,)).fetchone()
            packs = other.execute("SELECT id, paths, sizes, data FROM persistable_packs").fetchall()
            gone = set(other.execute("SELECT pack, place FROM persistable_gone"))
        except sqlite3.OperationalError:
            return None
        finally:
            other.close()
        for pack, paths, sizes, data in packs:
            names = paths.split("\n")  # sizes of two bytes each, then a checksum
            ends = list(accumulate(struct.unpack(f"<{len(names)}H", sizes[: 2 * len(names)]), initial=0))
            for place, name in enumerate(names):
                if name == path and (pack, place) not in gone:
                    assert row is None, "it is in two places"
                    row = (data[ends[place] : ends[place + 1]],)
        return None if row is None else io.BytesIO(row[0]).getvalue()
