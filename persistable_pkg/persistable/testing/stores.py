"""The contract of stores, as tests. Subclass `StoreContract`, give it a `store` fixture, and run it with pytest.

class TestMyStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return MyStore(tmp_path)
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from persistable.errors import InvalidName
from persistable.stores.base import BaseStore, Store, enclosing_store, stat_many
from persistable.testing.processes import BAD_PATHS, contend, in_a_fork, in_processes, visit
from persistable.testing.store_commits import CommitContract
from persistable.testing.store_listing import ListingContract
from persistable.testing.store_writes import WritingContract, fail_while_writing

_SLOW = settings(
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
        HealthCheck.differing_executors,
    ],
)


class StoreContract(CommitContract, ListingContract, WritingContract):
    """The tests. Class attributes hold the promises of a store, so that the same tests serve every store."""

    # --- one value

    def test_put_is_what_peek_finds(self, store: Store) -> None:
        store.put("a/b", b"one")
        assert self.peek(store, "a/b") == b"one"
        store.put("a/b", b"two, longer")
        assert self.peek(store, "a/b") == b"two, longer"

    def test_bytes_of_every_kind_are_stored_alike(self, store: Store) -> None:
        import array

        numbers = array.array("d", [1.5, -2.0, 3.25])
        whole = bytes(range(256))
        line_ends = (b"\r", b"\n", b"\r\n", b"\n\r", b"a\r\nb\r", b"\n\na\r\n")
        views = (memoryview(b"abc"), memoryview(numbers), memoryview(whole)[::2], memoryview(whole)[7:9])
        for data in (b"", bytearray(b"abc"), *line_ends, *views):
            expected = bytes(data)
            store.put("put", data)
            assert store.get("put") == expected
            store.delete("created")
            assert store.create("created", data)
            assert store.get("created") == expected
            with store.write("written") as file:
                file.write(data if isinstance(data, bytes | bytearray) or data.contiguous else bytes(data))
            assert store.get("written") == expected
            store.put_many({"many": data})
            assert store.get_many(["many"]) == {"many": expected}

    def test_bytes_of_every_size_come_back(self, store: Store) -> None:
        # around the sizes at which implementations change their method
        for size in (0, 1, 65535, 65536, 65537, 1 << 20, (5 << 20) + 1):
            data = (b"%07d" % size) * (size // 7 + 1)
            data = data[:size]
            store.put("put", data)
            assert store.get("put") == data
            with store.write("written") as file:
                file.write(data[: size // 3])
                file.write(data[size // 3 :])
            with store.read("written") as file:
                assert file.read() == data
            found = store.stat("written")
            assert found is not None
            assert found.size == size

    def test_any_bytes_come_back(self, store: Store) -> None:
        @settings(_SLOW, max_examples=self.examples)
        @given(st.binary(max_size=2000), st.integers(0, 20), st.integers(0, 2000))
        def check(seed: bytes, repeats: int, cut: int) -> None:
            data = seed * (1 + repeats * 25)
            store.put("x", data)
            assert store.get("x") == data
            with store.write("y") as file:
                file.write(data[:cut])
                file.write(data[cut:])
            assert self.peek(store, "y") == data

        check()

    def test_a_stream_can_be_read_in_pieces_and_sought(self, store: Store) -> None:
        data = bytes(range(256)) * 4000
        self.plant(store, "x", data)
        with store.read("x") as file:
            assert file.read(10) == data[:10]
            file.seek(500_000)
            assert file.read(1000) == data[500_000:501_000]
            file.seek(-5, 2)
            assert file.read() == data[-5:]
            file.seek(0)
            assert file.read() == data

    def test_a_stamp_changes_when_the_bytes_do(self, store: Store) -> None:
        store.put("x", b"one")
        first, again = store.stat("x"), store.stat("x")
        assert first is not None
        assert first == again
        if not self.stamps:
            assert first.stamp is None
            return
        seen = {first.stamp}
        for data in (b"two", b"six", b"longer"):
            store.put("x", data)
            found = store.stat("x")
            assert found is not None
            assert found.stamp not in seen
            seen.add(found.stamp)

    def test_delete_says_whether_something_was_there(self, store: Store) -> None:
        assert not store.delete("a")
        self.plant(store, "a/x", b"1")
        self.plant(store, "a/y", b"2")
        assert not any(map(store.delete, ("nothing", "a", "a/x/c", "a/x.c")))
        assert store.delete("a/x")
        assert self.peek(store, "a/x") is None
        assert self.peek(store, "a/y") == b"2"
        assert not store.delete("a/x")
        assert list(store.list()) == ["a/y"]

    # --- exclusive creation

    def test_create_only_where_nothing_is(self, store: Store) -> None:
        assert store.create("a/claim", b"first")
        assert self.peek(store, "a/claim") == b"first"
        if not self.creates:
            return
        assert not store.create("a/claim", b"second")
        assert self.peek(store, "a/claim") == b"first"
        assert store.delete("a/claim")
        assert store.create("a/claim", b"third")
        assert not store.create("a/claim", b"third")  # same bytes, still taken
        assert self.peek(store, "a/claim") == b"third"
        assert list(store.list()) == ["a/claim"]

    def test_one_of_many_threads_creates(self, store: Store) -> None:
        if not (self.exclusive and self.creates):
            return
        gate = threading.Barrier(8)

        def attempt(number: int, path: str) -> bool:
            gate.wait(60)
            return store.create(path, b"owner %d" % number)

        with ThreadPoolExecutor(8) as threads:
            for turn in range(self.rounds):
                path = f"claims/{turn}"
                won = list(threads.map(attempt, range(8), [path] * 8))
                assert sum(won) == 1
                assert store.get(path) == b"owner %d" % won.index(True)

    def test_one_of_many_processes_creates(self, store: Store) -> None:
        if not (self.exclusive and self.creates and self.shared_between_processes):
            return
        wins = in_processes(8, contend, store, self.rounds)
        for turn in range(self.rounds):
            owners = [number for number, won in enumerate(wins) if won[turn]]
            assert len(owners) == 1
            assert store.get(f"claims/{turn}") == b"owner %d" % owners[0]

    # --- names

    @pytest.mark.parametrize("path", BAD_PATHS)
    def test_bad_names_are_refused_everywhere(self, store: Store, path: str) -> None:
        calls: list[Callable[[], object]] = [
            lambda: store.get(path),
            lambda: store.read(path),
            lambda: store.put(path, b""),
            lambda: store.create(path, b""),
            lambda: store.write(path),
            lambda: store.exists(path),
            lambda: store.stat(path),
            lambda: store.delete(path),
            lambda: store.local_path(path),
            lambda: store.get_many(["fine", path]),
            lambda: store.put_many({"fine": b"", path: b""}),
        ]
        if path:
            calls += [lambda: store.list(path), lambda: store.scan(path)]
        for call in calls:
            with pytest.raises(InvalidName):
                call()
        assert path not in list(store.list())

    def test_good_names_stay_apart(self, store: Store) -> None:
        # folders and files of one name cannot both be on a disk
        paths = [path for path in self.good_paths if path != "a"]
        if self.folds_case:
            paths.remove("A")
        for path in paths:
            store.put(path, path.encode())
        assert sorted(store.list()) == sorted(paths)
        assert {path: self.peek(store, path) for path in paths} == {path: path.encode() for path in paths}
        assert [path for path in paths if not store.exists(path)] == []
        assert store.get_many(paths) == {path: path.encode() for path in paths}
        for path in paths:
            assert store.delete(path)
        assert list(store.list()) == []

    # --- batches

    def test_batches_equal_single_calls(self, store: Store) -> None:
        items = {f"a/{number}": b"%d" % number * number for number in range(50)}
        store.put_many(items)
        assert {path: self.peek(store, path) for path in items} == items
        assert store.get_many([*items, "a/absent", "b", "a"]) == items
        assert store.get_many(iter(["a/3", "a/3"])) == {"a/3": items["a/3"]}
        assert store.get_many([]) == {}
        store.put_many({})
        store.put_many({"a/1": b"new", "c/d": b""})
        assert store.get_many(["a/1", "c/d"]) == {"a/1": b"new", "c/d": b""}

    # --- being passed around

    def test_it_works_in_another_process(self, store: Store) -> None:
        if not self.shared_between_processes:
            return
        store.put("a/x", b"here")
        assert in_processes(1, visit, store) == [(b"here", ["a/x"], self.creates)]
        assert store.get("a/y") == b"there"

    def test_a_store_in_use_survives_a_fork(self, store: Store) -> None:
        if not self.shared_between_processes or "fork" not in multiprocessing.get_all_start_methods():
            return
        store.put("a/x", b"here")  # connections are open now
        assert in_a_fork(visit, 0, None, store) == (b"here", ["a/x"], self.creates)
        assert store.get("a/y") == b"there"
        assert store.get("a/x") == b"here"

    def test_inside_a_block_it_is_the_default(self, store: Store) -> None:
        assert enclosing_store() is None
        with store as entered:
            assert entered is store
            with store:
                assert enclosing_store() is store
            assert enclosing_store() is store
            store.put("x", b"1")

            def elsewhere() -> Store | None:
                with store:
                    pass
                return enclosing_store()

            with ThreadPoolExecutor(1) as threads:
                assert threads.submit(elsewhere).result() is None  # a block counts in its own thread only
            assert enclosing_store() is store
        assert enclosing_store() is None
        assert store.get("x") == b"1"  # leaving a block closes connections, not the store

    # --- against a model

    def test_it_behaves_like_a_dict(self, store: Store) -> None:
        machine = _machine(store, self.creates)
        run_state_machine_as_test(machine, settings=settings(_SLOW, max_examples=max(3, self.examples // 3), stateful_step_count=25))


_PATHS = st.sampled_from(["a", "b/1", "b/2", "b/c/3", "bc/4", ".persistable/5", "ü/ö", "A"])
_DATA = st.binary(max_size=40) | st.binary(min_size=1, max_size=3).map(lambda data: data * 30_000)


def _machine(store: Store, creates: bool) -> type[RuleBasedStateMachine]:  # noqa: C901 - a list of rules
    class LikeADict(RuleBasedStateMachine):
        """The same operations on the store and on a dict give the same answers."""

        def __init__(self) -> None:
            super().__init__()
            self.model: dict[str, bytes] = {}
            for path in [*store.list(), *store.list(".persistable")]:
                store.delete(path)

        @rule(path=_PATHS, data=_DATA)
        def put(self, path: str, data: bytes) -> None:
            store.put(path, data)
            self.model[path] = data

        @rule(path=_PATHS, data=_DATA, cut=st.integers(0, 50))
        def write(self, path: str, data: bytes, cut: int) -> None:
            with store.write(path) as file:
                file.write(data[:cut])
                file.write(memoryview(data)[cut:])
            self.model[path] = data

        @rule(path=_PATHS, data=_DATA)
        def abort(self, path: str, data: bytes) -> None:
            with pytest.raises(ZeroDivisionError):
                fail_while_writing(store, path, data, ZeroDivisionError())

        @rule(path=_PATHS, data=_DATA)
        def create(self, path: str, data: bytes) -> None:
            if creates or path not in self.model:
                assert store.create(path, data) == (path not in self.model)
                self.model.setdefault(path, data)

        @rule(path=_PATHS)
        def delete(self, path: str) -> None:
            assert store.delete(path) == (path in self.model)
            self.model.pop(path, None)

        @rule(items=st.dictionaries(_PATHS, _DATA, max_size=4))
        def put_many(self, items: dict[str, bytes]) -> None:
            store.put_many(items)
            self.model.update(items)

        @rule(paths=st.lists(_PATHS, max_size=6))
        def get_many(self, paths: list[str]) -> None:
            assert store.get_many(paths) == {path: self.model[path] for path in paths if path in self.model}

        @rule(items=st.dictionaries(_PATHS, _DATA, max_size=4), more=st.dictionaries(_PATHS, _DATA, max_size=2), gone=st.sets(_PATHS))
        def change_many(self, items: dict[str, bytes], more: dict[str, bytes], gone: set[str]) -> None:
            if isinstance(store, BaseStore):
                store.change_many(items, more, delete=gone)
                self.model = {path: data for path, data in {**self.model, **items, **more}.items() if path not in gone}

        @rule(items=st.dictionaries(_PATHS, _DATA, max_size=4))
        def create_many(self, items: dict[str, bytes]) -> None:
            if isinstance(store, BaseStore) and (creates or not items.keys() & self.model.keys()):
                assert store.create_many(items) == items.keys() - self.model.keys()
                self.model = {**items, **self.model}

        @rule(paths=st.lists(_PATHS, max_size=6))
        def stat_many(self, paths: list[str]) -> None:
            found = stat_many(store, paths)
            assert {path: stat.size for path, stat in found.items()} == {p: len(self.model[p]) for p in paths if p in self.model}

        @rule(path=_PATHS)
        def get(self, path: str) -> None:
            found = store.stat(path)
            if path in self.model:
                assert store.get(path) == self.model[path]
                assert found is not None
                assert found.size == len(self.model[path])
            else:
                assert found is None
                with pytest.raises(FileNotFoundError):
                    store.get(path)

        @rule()
        def close(self) -> None:
            store.close()

        @invariant()
        def lists_what_is_there(self) -> None:
            hidden = {path for path in self.model if path.startswith(".persistable/")}
            assert sorted(store.list()) == sorted(set(self.model) - hidden)
            assert sorted(store.list(".persistable")) == sorted(hidden)
            assert sorted(store.list("b")) == sorted(path for path in self.model if path.startswith("b/"))

    return LikeADict
