"""Layers, in any arrangement, keep the promises of every store."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.fixtures import Bucket

from persistable.stores import Layer, LayeredStore, LocalStore, MemoryStore, SQLiteStore, open_store
from persistable.stores.layered.mutable import NOTES
from persistable.testing.processes import everything_below
from persistable.testing.stores import StoreContract


class LayeredContract(StoreContract):
    """`plant` puts bytes into the home alone, `peek` looks there alone."""

    examples = 20
    rounds = 15
    many = 200

    def plant(self, store: LayeredStore, path: str, data: bytes) -> None:
        assert store.primary is not None
        store.primary.store.put(path, data)

    def peek(self, store: LayeredStore, path: str) -> bytes | None:
        assert store.primary is not None
        return store.primary.store.get_many([path]).get(path)


class TestMemoryOverLocal(LayeredContract):
    """In other processes the memory is another one, so what they replace does not show in this one's."""

    shared_between_processes = False
    rounds = 30

    @pytest.fixture
    def store(self, tmp_path: Path) -> LayeredStore:
        self.folder = tmp_path / "home"
        return LayeredStore(MemoryStore(), self.folder)

    def leftovers(self, store: LayeredStore) -> list[str]:
        return everything_below(self.folder)


class TestLocalOverSQLite(LayeredContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LayeredStore:
        self.folder = tmp_path / "fast"
        return LayeredStore(LocalStore(self.folder), SQLiteStore(tmp_path / "home.db"))

    def leftovers(self, store: LayeredStore) -> list[str]:
        # what was read is kept in the fast layer: only unfinished writes are left over there
        return [name for name in everything_below(self.folder) if name.endswith(".tmp")] + list(store.list())


class TestSmallFilesOnlyOverLocalOverReadOnly(LayeredContract):
    """Every kind of layer at once: one that takes little, one that is the home, one that is never written."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[LayeredStore]:
        below = tmp_path / "below"
        LocalStore(below).put(".persistable/of-another-store", b"1")
        yield LayeredStore(Layer(tmp_path / "fast", max_bytes=20), Layer(tmp_path / "home", max_bytes=20), open_store(below, readonly=True))
        assert everything_below(below) == [".persistable/of-another-store"]
        fast = tmp_path / "fast"
        copies = [
            name for name in everything_below(fast) if not name.endswith((".tmp", "/store.json")) and not name.startswith(f"{NOTES}/")
        ]
        assert [name for name in copies if (fast / name).stat().st_size > 20] == []


class TestLocalOverS3(LayeredContract):
    examples = 5
    rounds = 4
    many = 150

    @pytest.fixture
    def store(self, tmp_path: Path, s3_bucket: Bucket) -> Iterator[LayeredStore]:
        store = LayeredStore(tmp_path / "fast", open_store(s3_bucket.url, **s3_bucket.options))
        yield store
        store.close()
