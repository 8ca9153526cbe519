"""Stores with items in memory keep the promises of every store; what is put into a buffer is there, and nowhere else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

import pytest

from persistable import run, step
from persistable.stores import LocalStore, MemoryStore, SQLiteStore, Store, open_store, register_store
from persistable.stores.base import BaseStore, Bytes, Stat, extended
from persistable.stores.overlay import BufferedStore, OverlayStore
from persistable.testing.processes import everything_below
from persistable.testing.stores import StoreContract


class TestOverlayContract(StoreContract):
    """Changes go through, here to a folder."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> OverlayStore:
        self.folder = tmp_path / "behind"
        return OverlayStore(LocalStore(self.folder))

    def plant(self, store: OverlayStore, path: str, data: bytes) -> None:
        store.store.put(path, data)

    def peek(self, store: OverlayStore, path: str) -> bytes | None:
        return store.store.get_many([path]).get(path)

    def leftovers(self, store: OverlayStore) -> list[str]:
        return everything_below(self.folder)


class TestBufferContract(StoreContract):
    """Small items wait in the memory of this process, without stamps."""

    shared_between_processes = False
    stamps = False

    @pytest.fixture
    def store(self) -> BufferedStore:
        return BufferedStore(MemoryStore())


class BareStore:
    """The protocol alone, without BaseStore."""

    def __init__(self, inner: BaseStore) -> None:
        for name in (
            "read",
            "write",
            "create",
            "get",
            "put",
            "get_many",
            "put_many",
            "exists",
            "stat",
            "delete",
            "list",
            "local_path",
            "close",
        ):
            setattr(self, name, getattr(inner, name))
        self.url = inner.url


class TestForwardingContract(StoreContract):
    """A store of somebody else's class has the optional calls too."""

    shared_between_processes = False

    @pytest.fixture
    def store(self) -> Store:
        return extended(BareStore(MemoryStore()))  # type: ignore[arg-type]


class ProtocolStore(BareStore):
    """All of the protocol, and nothing else."""

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Stat]]:
        return iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


def remembered(url: str) -> ProtocolStore:
    """A factory for `register_store`."""
    return ProtocolStore(MemoryStore(url.partition("://")[2]))


@step
def one_more(n: int) -> int:
    return n + 1


def test_an_opened_store_has_the_optional_calls_too() -> None:
    register_store("remembered", f"{__name__}:remembered", replace=True)
    given: Any = remembered("remembered://given")
    for n, store in enumerate([open_store(given), open_store("remembered://named"), open_store(given, claim_ttl=300)]):
        assert isinstance(store, BaseStore)
        assert not store.batches
        assert run(one_more.step(n), store=store).counts["done"] == 1
    assert open_store(given) == open_store(given)


BEHIND = {"a/1": b"one", "a/2": b"two", "b/3": b"three"}


@pytest.fixture(params=["memory", "local", "sqlite"])
def behind(request: pytest.FixtureRequest, tmp_path: Path) -> BaseStore:
    kinds: dict[str, BaseStore] = {
        "memory": MemoryStore(),
        "local": LocalStore(tmp_path / "folder"),
        "sqlite": SQLiteStore(tmp_path / "file.db"),
    }
    store = kinds[request.param]
    store.put_many(BEHIND)
    return store


def content(store: BaseStore) -> dict[str, bytes]:
    """The paths and bytes that every way of reading must give alike."""
    paths = [*BEHIND, "a/new", "nowhere"]
    found = store.get_many(paths)
    assert {path for path in paths if store.exists(path)} == found.keys()
    assert {path: stat.size for path, stat in store.stat_many(paths).items()} == {path: len(data) for path, data in found.items()}
    assert {path: stat for path in paths if (stat := store.stat(path))}.keys() == found.keys()
    assert sorted(store.list()) == sorted(found)
    assert sorted(store.list("a")) == sorted(path for path in found if path.startswith("a/"))
    assert store.get_with_colocated(paths).items() >= found.items()
    for path in paths:
        if path in found:
            assert store.get(path) == found[path]
            with store.read(path) as file:
                assert file.read() == found[path]
            continue
        for read in (store.get, store.read):
            with pytest.raises(FileNotFoundError):
                read(path)
    return found


def test_items_in_memory_are_read_first(behind: BaseStore) -> None:
    store = OverlayStore(behind, {"a/1": b"in memory", "a/new": b"new", "b/3": None})
    assert content(store) == {"a/1": b"in memory", "a/2": b"two", "a/new": b"new"}
    assert content(behind) == BEHIND


def test_a_change_goes_to_the_store_and_drops_the_item(behind: BaseStore) -> None:
    store = OverlayStore(behind, {"a/1": b"in memory", "a/2": b"in memory", "a/new": b"new", "b/3": None})
    assert not store.create("a/new", b"other")
    assert store.get("a/new") == b"new"
    store.put("a/1", b"put")
    with store.write("a/2") as file:
        file.write(b"written")
    assert store.delete("a/new")
    assert not store.delete("b/3")
    assert content(store) == content(behind) == {"a/1": b"put", "a/2": b"written"}
    assert store.items == {}


def test_what_is_buffered_is_there_and_not_in_the_store(behind: BaseStore) -> None:
    store = BufferedStore(behind)
    store.put("a/1", b"changed")
    store.put_many({"a/new": bytearray(b"new")})
    assert store.delete("a/2")
    assert not store.delete("a/2")
    assert not store.delete("nowhere")
    assert content(store) == {"a/1": b"changed", "a/new": b"new", "b/3": b"three"}
    assert content(behind) == BEHIND
    behind.change_many(store.puts, delete=store.deletes)
    assert content(behind) == {"a/1": b"changed", "a/new": b"new", "b/3": b"three"}


def test_the_last_change_of_a_path_counts(behind: BaseStore) -> None:
    store = BufferedStore(behind)
    store.delete("a/1")
    store.put("a/1", b"again")
    store.put("a/new", b"new")
    store.delete("a/new")
    with store.write("b/3") as file:
        file.write(b"streamed")
    assert content(store) == {"a/1": b"again", "a/2": b"two", "b/3": b"streamed"}
    behind.change_many(store.puts, delete=store.deletes)
    assert content(behind) == {"a/1": b"again", "a/2": b"two", "b/3": b"streamed"}


def test_exclusive_creation_is_decided_by_the_store(behind: BaseStore) -> None:
    store = BufferedStore(behind)
    store.put("a/new", b"waits")
    store.delete("a/2")
    assert store.create_many({"a/new": b"x", "a/1": b"x", "a/2": b"created"}) == {"a/2"}
    assert behind.get("a/2") == b"created"
    assert content(store) == {**BEHIND, "a/2": b"created", "a/new": b"waits"}


def test_an_item_in_memory_that_is_damaged_is_read_anew(behind: BaseStore) -> None:
    def is_sound(file: BinaryIO) -> bool:
        return file.read() == b"one"

    store = OverlayStore(behind, {"a/1": b"0ne"})
    assert store.heal("a/1", is_sound)
    assert store.get("a/1") == b"one"
    assert not store.heal("a/1", is_sound)


def test_options_are_those_of_the_store_behind(tmp_path: Path) -> None:
    local, sqlite = LocalStore(tmp_path / "folder"), SQLiteStore(tmp_path / "file.db")
    local.mmap, sqlite.claim_ttl = False, 7.0
    over_local, over_sqlite = BufferedStore(local), BufferedStore(sqlite)
    assert (over_local.adopts, over_local.batches, over_local.mmap, over_local.claim_ttl) == (True, False, False, None)
    assert (over_sqlite.adopts, over_sqlite.batches, over_sqlite.mmap, over_sqlite.claim_ttl) == (False, True, None, 7.0)
    assert over_local.url == local.url
    over_local.put("a", b"1")
    assert over_local != BufferedStore(local)


def test_a_file_can_be_filled_in_place_through_an_overlay(tmp_path: Path) -> None:
    store = OverlayStore(LocalStore(tmp_path), {"a": b"old"})
    file = store.new_file("a")
    file.write_bytes(b"new")
    store.adopt(file, "a")
    assert store.get("a") == b"new"


def test_optional_calls_of_a_class_that_derives_from_nothing_are_found() -> None:
    class Counting(BareStore):
        def stat_many(self, paths: list[str]) -> dict[str, Stat]:
            return {path: Stat(42, None) for path in paths}

        def heal(self, path: str, sound: object) -> bool:
            return path == "damaged"

    store = extended(Counting(MemoryStore()))  # type: ignore[arg-type]
    assert store.stat_many(["x"]) == {"x": Stat(42, None)}
    assert store.heal("damaged", lambda _: True)
    assert not store.heal("other", lambda _: True)
    items: dict[str, Bytes] = {"x": b"1"}
    assert store.create_fresh(items) == ({"x"}, set())
    assert store.get_with_colocated(["x", "y"]) == {"x": b"1"}
