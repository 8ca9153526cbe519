"""The contract of writes, as tests: part of `StoreContract`. Every reader sees a whole value or none, also after any failure."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from persistable.stores.base import Store, extended
from persistable.testing.processes import in_processes, replace_and_read, started, values, write_and_wait
from persistable.testing.store_access import StoreAccess


class WritingContract(StoreAccess):
    """The tests, see `StoreContract`."""

    def test_nothing_is_visible_until_the_block_ends(self, store: Store) -> None:
        with store.write("a/new") as file:
            file.write(b"x" * 300_000)
            assert self.peek(store, "a/new") is None
            assert not store.exists("a/new")
            assert list(store.list()) == []
        assert self.peek(store, "a/new") == b"x" * 300_000

    def test_the_old_bytes_stay_until_the_block_ends(self, store: Store) -> None:
        self.plant(store, "a/x", b"old")
        with store.write("a/x") as file:
            file.write(b"new")
            file.flush()
            assert store.get("a/x") == b"old"
        assert store.get("a/x") == b"new"

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit, SystemExit])
    def test_an_exception_in_the_block_leaves_the_old_bytes_and_nothing_else(self, store: Store, error: type[BaseException]) -> None:
        self.plant(store, "a/x", b"old")
        before = self.leftovers(store)
        for path in ("a/x", "a/new"):
            with pytest.raises(error):
                fail_while_writing(store, path, b"n" * 6_000_000, error())
        assert store.get("a/x") == b"old"
        assert not store.exists("a/new")
        assert self.leftovers(store) == before

    def test_an_unreferenced_item_is_stored_as_by_put(self, store: Store) -> None:
        extended(store).put_unreferenced("a/new", b"one")
        assert self.peek(store, "a/new") == b"one"
        self.plant(store, "a/x", b"old")
        extended(store).put_unreferenced("a/x", b"new")
        assert self.peek(store, "a/x") == b"new"
        assert sorted(store.list()) == ["a/new", "a/x"]

    def test_closing_the_stream_does_not_commit(self, store: Store) -> None:
        with pytest.raises(RuntimeError, match="after close"):
            fail_while_writing(store, "x", b"part", RuntimeError("after close"), close=True)
        assert self.peek(store, "x") is None
        with store.write("x") as file:
            file.write(b"whole")
            file.close()
        assert self.peek(store, "x") == b"whole"

    def test_an_empty_block_stores_no_bytes_not_nothing(self, store: Store) -> None:
        with store.write("x"):
            pass
        assert self.peek(store, "x") == b""

    def test_readers_get_a_whole_value_among_threads(self, store: Store) -> None:
        wholes = values()
        store.put("x", wholes[0])
        stop = threading.Event()

        def replace(mine: bytes) -> None:
            while not stop.is_set():
                store.put("x", mine)

        with ThreadPoolExecutor(2) as threads:
            writers = [threads.submit(replace, value) for value in wholes[1:3]]
            try:
                for _ in range(self.rounds * 2):
                    assert store.get("x") in wholes
                    with store.read("x") as file:
                        assert file.read() in wholes
            finally:
                stop.set()
            for writer in writers:
                writer.result()

    def test_readers_get_a_whole_value_among_processes(self, store: Store) -> None:
        if not self.shared_between_processes:
            return
        wholes = values()
        store.put("x", wholes[0])
        for problems in in_processes(3, replace_and_read, store, self.rounds):
            assert problems == []
        assert store.get("x") in wholes

    def test_a_killed_writer_leaves_the_old_bytes(self, store: Store) -> None:
        if not self.shared_between_processes:
            return
        self.plant(store, "a/x", b"old")
        for path in ("a/x", "a/new"):
            with started(1, write_and_wait, store, path) as (writer,):
                assert writer.stdout is not None
                assert writer.stdout.readline() == "wait\n"
                writer.kill()
                assert writer.wait(30) == -9
        assert store.get("a/x") == b"old"
        assert not store.exists("a/new")
        assert list(store.list()) == ["a/x"]
        assert list(store.list("a")) == ["a/x"]


def fail_while_writing(store: Store, path: str, data: bytes, error: BaseException, close: bool = False) -> None:
    """Raise `error` in the block of a `write`, after these bytes. close: close the stream before."""
    with store.write(path) as file:
        file.write(data)
        if close:
            file.close()
        raise error
