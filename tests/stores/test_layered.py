"""Several stores as one: what is where, in which order it comes there, and what is left when something fails."""

from __future__ import annotations

import pickle
import shutil
import socket
import subprocess
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from servers.fixtures import Bucket
from servers.needs import need

from persistable import Persistable, Status, run
from persistable.errors import LayersDisagreeWarning, LayerSkippedWarning, StoreError, StoreReadOnly
from persistable.fileio import BundleFileIO, NumpyFileIO
from persistable.stores import Layer, LayeredStore, LocalStore, MemoryStore, SQLiteStore, Store, open_store
from persistable.stores.forwarding import ForwardingStore
from persistable.stores.layered import outage
from persistable.stores.layered.path_kinds import files_of
from persistable.testing.processes import Gate, in_processes
from stores.test_local import mount

made: list[tuple[str, int]] = []
RECORD = ".record.json"


@dataclass
class NumbersParams:
    n: int


class Numbers(Persistable[NDArray[np.int64], NumbersParams]):
    """Notes each generation; 200,000 are a payload that is streamed and mapped, ten one that goes in a single call."""

    io = NumpyFileIO()

    def _generate_payload(self, **_: Any) -> NDArray[np.int64]:
        made.append((self.store.url, self.params.n))
        return np.arange(self.params.n)


class Parts(Persistable[dict[str, NDArray[np.int64]], None]):
    io = BundleFileIO({"a": NumpyFileIO(), "b": NumpyFileIO(), "c": NumpyFileIO()})

    def _generate_payload(self, **_: Any) -> dict[str, NDArray[np.int64]]:
        made.append((self.store.url, 0))
        return {name: np.arange(10) for name in "abc"}


class Broken(Persistable[int, None]):
    def _generate_payload(self, **_: Any) -> int:
        raise RuntimeError("broken")


SMALL, LARGE = 10, 200_000


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    made.clear()


def assert_sound(store: Store) -> list[str]:
    """Every record in the store has its files there, in their sizes; the paths of the records."""
    records = [path for path in store.list() if path.endswith(RECORD)]
    for path in records:
        for name, size in files_of(store.get(path)) or [("the record is damaged", 0)]:
            found = store.stat(name)
            assert found is not None and found.size == size, name
    return records


def load(store: Store, n: int) -> Store:
    node = Numbers(store, n=n)
    assert np.array_equal(node.payload, np.arange(n))
    return store


# --- reads fall through and fill


def ways_to_read(store: Store, paths: list[str]) -> list[bytes]:
    with store.read(paths[1]) as file:
        streamed = file.read()
    place = store.local_path(paths[2])
    assert place is not None
    return [store.get(paths[0]), streamed, place.read_bytes(), *store.get_many(paths[3:]).values()]


LASTING = [f"numbers/{number:032x}.{number:08x}.npy" for number in range(4)]


@pytest.mark.parametrize("paths", [LASTING, ["a.csv", "b/b.csv", "c.csv"]], ids=["lasting", "changing"])
def test_every_way_of_reading_falls_through_and_leaves_a_copy_in_the_faster_layers(tmp_path: Path, paths: list[str]) -> None:
    fastest, fast, slow = LocalStore(tmp_path / "fastest"), LocalStore(tmp_path / "fast"), MemoryStore()
    everything = {path: path.encode() * 3 for path in paths}
    slow.put_many(everything)
    assert ways_to_read(LayeredStore(fastest, fast, slow), paths) == list(everything.values())
    for filled in (fastest, fast):
        assert filled.get_many(paths) == everything


def test_looking_is_not_reading(tmp_path: Path) -> None:
    fast, slow = MemoryStore(), LocalStore(tmp_path)
    slow.put("a", b"1")
    store = LayeredStore(fast, slow)
    assert store.exists("a") and store.stat("a") is not None and list(store.list()) == ["a"]
    assert list(fast.list()) == []


def test_a_listing_is_of_all_layers_without_repeats() -> None:
    layers = [MemoryStore() for _ in range(3)]
    for number, layer in enumerate(layers):
        layer.put_many({"all": b"", f"only/{number}": b"", "some.claim": b""})
    assert sorted(LayeredStore(*layers).list()) == ["all", "only/0", "only/1", "only/2", "some.claim"]
    assert sorted(LayeredStore(*layers).list("only")) == ["only/0", "only/1", "only/2"]


@pytest.mark.parametrize("n", [SMALL, LARGE])
def test_a_copied_payload_comes_before_its_record(tmp_path: Path, n: int) -> None:
    """One load fills the fast layer completely, and no moment of it shows a record there whose payload is not."""
    home, fast = LocalStore(tmp_path / "home"), LocalStore(tmp_path / "fast")
    node = Numbers(home, n=n).generate()
    assert node.record is not None
    store = LayeredStore(fast, home)
    store.get(node.key.path + RECORD)
    assert list(fast.list()) == []
    store.read(node.record.files[0].path).close()
    assert len(assert_sound(fast)) == 1
    shutil.rmtree(tmp_path / "home")
    load(store, n)
    load(fast, n)
    assert made == [(home.url, n)]


def test_the_record_of_several_files_comes_after_the_last(tmp_path: Path) -> None:
    home, fast = LocalStore(tmp_path / "home"), LocalStore(tmp_path / "fast")
    node = Parts(home).generate()
    assert node.record is not None and len(node.record.files) == 3
    store = LayeredStore(fast, home)
    store.get(node.key.path + RECORD)
    for number, file in enumerate(node.record.files):
        assert not fast.exists(node.key.path + RECORD), number
        store.get(file.path)
    assert fast.exists(node.key.path + RECORD)
    assert sorted(Parts(fast).load().payload) == ["a", "b", "c"]


def test_a_miss_in_the_first_layer_is_no_reason_to_generate(tmp_path: Path) -> None:
    load(open_store(tmp_path / "slow"), LARGE)
    made.clear()
    node = Numbers([MemoryStore(), tmp_path / "middle", tmp_path / "slow"], n=LARGE)
    assert node.exists() and node.status is Status.DONE
    load(node.store, LARGE)
    assert made == []


class Asked(ForwardingStore):
    """A store that notes what it is asked: a layer that is slow, in which each call would be a wait."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.calls: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if callable(found) and not name.startswith("_") and name != "local_path":
            self.calls.append(name)
        return found

    def local_path(self, path: str) -> None:
        return None


@pytest.mark.parametrize("near", ["memory", "folder"])
@pytest.mark.parametrize("size", [10, LARGE])
def test_what_the_nearest_layer_has_does_not_wait_for_a_slow_one(near: str, size: int, tmp_path: Path) -> None:
    far = Asked(LocalStore(tmp_path / "far"))
    nearest: Store = MemoryStore() if near == "memory" else LocalStore(tmp_path / "near")
    for n in (size, size + 1):
        Numbers(LayeredStore(nearest, far), n=n).generate()
    store = LayeredStore(nearest, far)  # another user of the same layers
    far.calls.clear()
    for n in (size, size + 1, size):
        node = Numbers(store, n=n)
        assert node.exists()
        assert node.status is Status.DONE
        assert node.load().payload.sum() == n * (n - 1) // 2
    result = run([Numbers(store, n=n) for n in (size, size + 1)])
    assert result.counts["reused"] == 2
    path = node.record.files[0].path
    assert store.get(path) == nearest.get(path)
    with store.read(path) as file:
        assert file.read() == nearest.get(path)
    assert store.get_many([path]) == {path: nearest.get(path)}
    assert far.calls == []


def test_a_payload_gone_from_the_fast_layer_comes_back_from_the_slow_one(tmp_path: Path) -> None:
    fast, home = LocalStore(tmp_path / "fast"), LocalStore(tmp_path / "home")
    store = LayeredStore(fast, home)
    for n in (SMALL, LARGE):
        node = Numbers(store, n=n).generate()
        assert node.record is not None
        fast.delete(node.record.files[0].path)
        made.clear()
        load(store, n)
        assert made == [] and fast.exists(node.record.files[0].path)


@pytest.mark.parametrize("shared", ["local", "s3"])
def test_the_second_user_computes_nothing(tmp_path: Path, shared: str, request: pytest.FixtureRequest) -> None:
    if shared == "s3":
        bucket: Bucket = request.getfixturevalue("s3_bucket")
        team = open_store(bucket.url, **bucket.options)
    else:
        team = open_store(tmp_path / "team")
    ann, bob = LayeredStore(tmp_path / "ann", team), LayeredStore(tmp_path / "bob", team)
    for n in (SMALL, LARGE):
        load(ann, n)
        load(bob, n)
    assert [n for _, n in made] == [SMALL, LARGE]
    for store in (team, *(each.layers[0].store for each in (ann, bob))):
        assert len(assert_sound(store)) == 2
    bob_alone = open_store(tmp_path / "bob")
    assert np.array_equal(Numbers(bob_alone, n=LARGE).load().payload, np.arange(LARGE))
    store_files = [path for path in team.list() if ".claim" in path]
    assert store_files == []


def test_large_payloads_of_the_fast_local_layer_are_mapped(tmp_path: Path, s3_bucket: Bucket) -> None:
    team = open_store(s3_bucket.url, **s3_bucket.options)
    load(team, LARGE)
    store = LayeredStore(MemoryStore(), tmp_path / "fast", team)
    node = Numbers(store, n=LARGE).load()
    assert node.record is not None
    assert store.local_path(node.record.files[0].path) == tmp_path / "fast" / node.record.files[0].path


# --- max_bytes


def test_a_large_payload_bypasses_a_layer_and_so_does_its_record(tmp_path: Path) -> None:
    little, home = LocalStore(tmp_path / "little"), LocalStore(tmp_path / "home")
    store = LayeredStore(Layer(little, max_bytes=1000), home)
    for n in (SMALL, LARGE):
        load(store, n)
    assert assert_sound(little) == [Numbers(little, n=SMALL).key.path + RECORD]
    made.clear()
    shutil.rmtree(tmp_path / "little")
    for n in (SMALL, LARGE):
        load(store, n)
    assert assert_sound(little) == [Numbers(little, n=SMALL).key.path + RECORD]
    assert made == []


def test_the_limit_counts_for_copies_only() -> None:
    home = MemoryStore()
    store = LayeredStore(MemoryStore(), Layer(home, max_bytes=1))
    store.put("x", b"large")
    assert home.get("x") == b"large"


def test_what_has_grown_too_large_leaves_nothing_old_behind() -> None:
    little, home = MemoryStore(), MemoryStore()
    store = LayeredStore(Layer(little, max_bytes=3), home)

    def streamed(data: bytes) -> None:
        with store.write("x") as file:
            file.write(data)

    for write in (lambda data: store.put("x", data), streamed, lambda data: store.put_many({"x": data, "y": data})):
        write(b"old")
        assert little.get("x") == b"old"
        write(b"newer")
        assert not little.exists("x") and store.get("x") == b"newer"


# --- writes


def test_a_write_goes_to_every_layer_that_may_be_written(tmp_path: Path) -> None:
    memory, local, team = MemoryStore(), LocalStore(tmp_path / "local"), LocalStore(tmp_path / "team")
    store = LayeredStore(memory, local, open_store(team, readonly=True))
    store.put("put", b"1")
    store.put_many({"many": b"2"})
    with store.write("written") as file:
        file.write(b"3")
    everything = {"put": b"1", "many": b"2", "written": b"3"}
    assert memory.get_many(everything) == local.get_many(everything) == everything
    assert not (tmp_path / "team").exists()
    assert store.delete("put") and not memory.exists("put") and not local.exists("put")


def test_a_write_that_the_home_refuses_is_in_no_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    fast = MemoryStore()
    store = LayeredStore(fast, tmp_path / "file" / "home")
    node = Numbers(store, n=SMALL)
    with pytest.raises(StoreError):
        store.put("x", b"1")
    with pytest.raises(StoreError), store.write("x") as file:
        file.write(b"1")
    with pytest.raises(StoreError):
        node.generate()
    assert list(fast.list()) == []


def test_a_cache_that_cannot_be_written_is_reported_once_and_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = LayeredStore(tmp_path / "file" / "cache", tmp_path / "home")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in (SMALL, LARGE):
            load(store, n)
            load(store, n)
    (warning,) = [each for each in caught if issubclass(each.category, LayerSkippedWarning)]
    assert "file/cache could not be written" in str(warning.message)
    assert [n for _, n in made] == [SMALL, LARGE]
    assert len(assert_sound(LocalStore(tmp_path / "home"))) == 2


@pytest.mark.parametrize("how", ["generated", "copied"])
def test_a_full_disk_under_the_fast_layer(tmp_path: Path, how: str) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place))
    try:
        fast, home = LocalStore(place), LocalStore(tmp_path / "home")
        store = LayeredStore(fast, home)
        if how == "copied":
            load(home, LARGE)
            made.clear()
        with pytest.warns(LayerSkippedWarning, match="no room for"):
            load(store, LARGE)
        load(store, SMALL)  # which still has room
        assert made == [(store.url, LARGE), (store.url, SMALL)][how == "copied" :]
        assert assert_sound(fast) == [Numbers(fast, n=SMALL).key.path + RECORD]
        assert len(assert_sound(home)) == 2
        assert [name for name in place.rglob("*") if name.name.endswith(".tmp") and name.stat().st_size] == []
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_with_no_layer_that_may_be_written_everything_is_refused() -> None:
    below = MemoryStore()
    below.put("x", b"1")
    store = LayeredStore(Layer(MemoryStore(), readonly=True), open_store(below, readonly=True))
    assert store.get("x") == b"1" and store.primary is None
    for change in (
        lambda: store.put("x", b""),
        lambda: store.put_many({"x": b""}),
        lambda: store.write("x"),
        lambda: store.create("y", b""),
        lambda: store.delete("x"),
    ):
        with pytest.raises(StoreReadOnly, match="no layer that may be written"):
            change()
    with pytest.raises(StoreReadOnly):
        load(store, SMALL)


# --- read-only layers


def test_a_read_only_layer_is_used_and_left_as_it_is(tmp_path: Path) -> None:
    team = LocalStore(tmp_path / "team")
    load(team, LARGE)
    load(team, SMALL)
    team.put(Numbers(team, n=SMALL).key.path + ".claim", b"{}")
    before = {place: place.stat().st_mtime_ns for place in (tmp_path / "team").rglob("*")}
    made.clear()
    fast, mine = MemoryStore(), LocalStore(tmp_path / "mine")
    store = LayeredStore(fast, mine, open_store(team, readonly=True))
    load(store, LARGE)
    assert made == []
    assert len(assert_sound(mine)) == 1 and assert_sound(fast) == []  # what is mapped from a local layer is not held in memory as well
    Numbers(store, n=SMALL).generate()  # the claim in the team's layer is none here
    assert len(made) == 1
    assert len(assert_sound(fast)) == 1
    with pytest.raises(RuntimeError, match="broken"):
        Broken(store).generate()
    for n in (SMALL, LARGE):
        assert Numbers(store, n=n).delete()
    assert list(fast.list()) == [] and [path for path in mine.list() if not path.endswith(".failed.json")] == []
    assert Numbers(store, n=SMALL).exists()  # deleted here, and still visible below
    assert {place: place.stat().st_mtime_ns for place in (tmp_path / "team").rglob("*")} == before


def test_what_a_read_only_layer_has_cannot_be_created_again() -> None:
    below = MemoryStore()
    below.put("x", b"1")
    assert not LayeredStore(MemoryStore(), Layer(below, readonly=True)).create("x", b"2")


# --- claims and failures


def test_claims_and_failures_are_in_the_home_only(tmp_path: Path) -> None:
    fast, home = MemoryStore(), MemoryStore()
    store = LayeredStore(fast, home)
    for path in ("a/k.claim", "a/k.claim.2", "a/k.beat", "a/k.failed.json", ".persistable/index"):
        fast.put(path, b"of somebody else")
        assert not store.exists(path) and store.get_many([path]) == {} and store.stat(path) is None
        assert store.create(path, b"1") and not store.create(path, b"2")
        assert store.get(path) == home.get(path) == b"1"
        store.put(path, b"3")
        assert fast.get(path) == b"of somebody else"
        assert store.delete(path) and not store.exists(path)
        assert fast.exists(path)
    assert list(store.list()) == list(store.list(".persistable")) == []


def test_a_failure_is_seen_by_everybody(tmp_path: Path) -> None:
    ann, bob = LayeredStore(MemoryStore(), tmp_path), LayeredStore(MemoryStore(), tmp_path)
    with pytest.raises(RuntimeError):
        Broken(ann).generate()
    assert Broken(bob).status is Status.FAILED
    assert list(ann.layers[0].store.list()) == []


def generate_once(number: int, gate: Gate, folder: Path) -> tuple[float, int]:
    store = LayeredStore(folder / f"fast{number}", folder / "home")
    total = 0
    for n in range(1000, 1010):
        gate.wait()
        total += int(Numbers(store, n=n).payload.sum())
    return total, len(made)


def test_processes_that_share_only_the_slow_layer_generate_once(tmp_path: Path) -> None:
    answers = in_processes(3, generate_once, tmp_path)
    assert {total for total, _ in answers} == {sum(n * (n - 1) // 2 for n in range(1000, 1010))}
    assert sum(count for _, count in answers) == 10
    for name in ("fast0", "fast1", "fast2", "home"):
        assert len(assert_sound(LocalStore(tmp_path / name))) == 10


def test_runs_on_processes_compute_once_for_all_users_and_leave_a_read_only_layer_alone(tmp_path: Path, down: SQLiteStore) -> None:
    team = LocalStore(tmp_path / "team")

    def on_processes(store: LayeredStore, *numbers: int) -> dict[str, int]:
        nodes = [Numbers(store, n=n) for n in numbers]
        result = run(nodes, executor="processes", max_workers=2, progress=False)
        assert [len(result[node].payload) for node in nodes] == list(numbers)
        return {action: result.counts[action] for action in ("done", "reused")}

    assert on_processes(LayeredStore(tmp_path / "ann", team), SMALL, LARGE) == {"done": 2, "reused": 0}
    assert on_processes(LayeredStore(tmp_path / "bob", team), LARGE, SMALL) == {"done": 0, "reused": 2}
    before = {place: place.stat().st_mtime_ns for place in (tmp_path / "team").rglob("*")}
    assert on_processes(LayeredStore(tmp_path / "carl", Layer(team, readonly=True)), SMALL, SMALL + 1) == {"done": 1, "reused": 1}
    assert {place: place.stat().st_mtime_ns for place in (tmp_path / "team").rglob("*")} == before
    assert [path for path in team.list() if ".claim" in path] == []
    with pytest.warns(LayerSkippedWarning, match=r"down\.db could not be read"):
        assert on_processes(LayeredStore(tmp_path / "dave", Layer(down, readonly=True)), SMALL) == {"done": 1, "reused": 0}
    for name in ("ann", "bob", "carl", "dave", "team"):
        assert_sound(LocalStore(tmp_path / name))


# --- layers that disagree


def outdated(tmp_path: Path, n: int) -> tuple[LayeredStore, LayeredStore, Numbers]:
    """Ann has replaced the payload that Bob's layer has a copy of; what she has now."""
    ann, bob = LayeredStore(tmp_path / "ann", tmp_path / "team"), LayeredStore(tmp_path / "bob", tmp_path / "team")
    load(ann, n)
    load(bob, n)
    assert list(bob.differences()) == []
    again = Numbers(ann, n=n).generate()
    made.clear()
    return ann, bob, again


def test_a_copy_of_what_was_replaced_is_found(tmp_path: Path) -> None:
    ann, bob, again = outdated(tmp_path, SMALL)
    assert list(ann.differences()) == []
    record, payload = sorted(bob.differences(), key=lambda difference: not difference.path.endswith(RECORD))
    assert record.path == again.key.path + RECORD
    assert sorted(record.found) == [LocalStore(tmp_path / "bob").url, LocalStore(tmp_path / "team").url]
    assert "absent" in payload.found.values()
    load(bob, SMALL)  # what he has is whole
    assert made == []


def test_who_claims_a_key_sees_what_the_home_has(tmp_path: Path) -> None:
    _, bob, again = outdated(tmp_path, SMALL)
    with pytest.warns(LayersDisagreeWarning, match="replaced since"):
        node = Numbers(bob, n=SMALL).generate()
    assert made == [] and node.record is not None and again.record is not None
    assert node.record.attempt_token == again.record.attempt_token
    assert [difference.path for difference in bob.differences() if difference.path.endswith(RECORD)] == []


@pytest.mark.parametrize("n", [SMALL, LARGE])
def test_a_copied_record_whose_payload_is_nowhere_is_dropped(tmp_path: Path, n: int) -> None:
    _, bob, _ = outdated(tmp_path, n)
    for path in list(bob.layers[0].store.list()):
        if not path.endswith(RECORD):
            bob.layers[0].store.delete(path)
    with pytest.warns(LayersDisagreeWarning):
        load(bob, n)
    assert made == [] and len(assert_sound(bob.layers[0].store)) == 1
    assert list(bob.differences()) == []


def test_a_copy_never_replaces_what_is_there() -> None:
    """Two processes share both layers; one copies an old record while the other commits a new one."""
    fast, home = MemoryStore(), MemoryStore()
    node = Numbers(home, n=SMALL).generate()
    assert node.record is not None
    path, (file,) = node.key.path + RECORD, node.record.files
    slow_reader, writer = LayeredStore(fast, home), LayeredStore(fast, home)
    old = slow_reader.get(path)  # remembered, to be placed when the payload has come
    new = node.record.revise({"token": "new"}, {}).to_bytes()
    home.put(path, new)
    slow_reader.get(file.path)
    assert not fast.exists(path)  # the old one was not what the home had
    writer.put(path, new)
    assert fast.get(path) == new != old
    home.delete(path)
    fast.delete(path)
    slow_reader.get(file.path)
    assert not fast.exists(path)


# --- layers that are down


@pytest.fixture
def silent() -> Iterator[tuple[Store, list[int]]]:
    """An S3 server that hangs up on everybody, and the list of its callers."""
    need("s3fs")
    callers: list[int] = []
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def answer() -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            callers.append(1)
            caller.close()

    thread = threading.Thread(target=answer)
    thread.start()
    options = {"endpoint_url": f"http://127.0.0.1:{port}", "key": "k", "secret": "s", "config_kwargs": {"retries": {"max_attempts": 0}}}
    store = open_store("s3://bucket/folder", **options)
    yield store, callers
    store.close()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(30)


@pytest.fixture
def down(tmp_path: Path) -> SQLiteStore:
    """A store whose every call fails, at once: the file is no database."""
    (tmp_path / "down.db").write_bytes(b"no database" * 1000)
    return SQLiteStore(tmp_path / "down.db")


def test_a_layer_that_is_down_is_reported_once_and_passed_over(
    tmp_path: Path, silent: tuple[Store, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    team, callers = silent
    monkeypatch.setattr(outage, "SKIP_SECONDS", 3600.0)
    store = LayeredStore(tmp_path, Layer(team, readonly=True))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load(store, SMALL)
        called = len(callers)
        load(store, LARGE)
        assert not store.exists("absent") and store.get_many(["absent"]) == {} and len(list(store.list())) == 4
    (warning,) = [each for each in caught if issubclass(each.category, LayerSkippedWarning)]
    assert "s3://bucket/folder" in str(warning.message) and "could not be read" in str(warning.message)
    assert called == len(callers) > 0  # it rests, so that a slow failure is not waited for again and again


def test_a_layer_that_was_down_is_asked_again(tmp_path: Path, down: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "SKIP_SECONDS", 0.0)
    store = LayeredStore(tmp_path / "home", Layer(down, readonly=True))
    with pytest.warns(LayerSkippedWarning):
        assert not store.exists("x")
    down.close()
    (tmp_path / "down.db").unlink()
    down.put("x", b"1")
    assert store.get("x") == b"1"


def test_a_cache_that_is_down_does_not_keep_the_payload_from_the_home(tmp_path: Path, down: SQLiteStore) -> None:
    store = LayeredStore(down, tmp_path / "home")
    with pytest.warns(LayerSkippedWarning):
        load(store, LARGE)
    load(store, LARGE)
    assert len(made) == 1
    load(LocalStore(tmp_path / "home"), LARGE)
    assert len(made) == 1


def test_with_the_home_down_copies_are_served_and_nothing_passes_for_absent(down: SQLiteStore) -> None:
    fast = MemoryStore()  # which cannot stand in
    load(fast, SMALL)
    store = LayeredStore(fast, down)
    load(store, SMALL)
    made.clear()
    node = Numbers(store, n=LARGE)
    for ask in (
        node.exists,
        node.generate,
        lambda: node.payload,
        lambda: store.get("absent"),
        lambda: store.get_many(["absent"]),
        lambda: store.read("absent"),
        lambda: store.stat("absent"),
        lambda: list(store.list()),
        lambda: store.put("x", b""),
        lambda: store.create("x", b""),
        lambda: store.delete("x"),
    ):
        with pytest.raises(StoreError):
            ask()
    assert made == [] and len(list(fast.list())) == 2
    below = MemoryStore()
    below.put("x", b"1")
    with pytest.warns(LayerSkippedWarning):
        assert LayeredStore(MemoryStore(), down, Layer(below, readonly=True)).get("x") == b"1"


# --- how layers are named


def test_a_list_is_a_store(tmp_path: Path) -> None:
    one = [str(tmp_path / "fast"), {"url": f"file://{tmp_path}/home", "max_bytes": 10}, {"url": "memory://team", "readonly": True}]
    store = open_store(one)
    assert isinstance(store, LayeredStore)
    assert [(layer.readonly, layer.max_bytes) for layer in store.layers] == [(False, None), (False, 10), (True, None)]
    assert store.primary is store.layers[1]
    assert open_store(list(one)) is store  # so that what it has reported is not reported again
    assert open_store(tuple(one)) == store
    assert open_store(store) is store
    refusing = open_store(one, readonly=True)
    assert isinstance(refusing, LayeredStore) and refusing.primary is None
    with store:
        node = Numbers(None, n=SMALL)
    assert node.store is store


ANN, BOB = "ed25519:" + "a" * 43, "ed25519:" + "b" * 43


def test_its_url_names_every_layer_without_secrets_and_opens_it_again(tmp_path: Path) -> None:
    team = open_store("s3://team/a&b=c", key="me", secret="hush", endpoint_url="http://user:hush@127.0.0.1:9")
    store = LayeredStore(MemoryStore("m"), Layer(tmp_path / "ü x", max_bytes=5, trust=[ANN, BOB]), Layer(team, readonly=True, trust=BOB))
    assert "hush" not in store.url
    for copy in (open_store(store.url), pickle.loads(pickle.dumps(store))):
        assert copy == store and copy.url == store.url
        assert [layer.trust for layer in copy.layers] == [None, (ANN, BOB), (BOB,)]
        assert [layer.store.url for layer in copy.layers] == [layer.store.url for layer in store.layers]
    assert open_store("layered://?layer=memory://m", readonly=True).primary is None
    with pytest.raises(StoreError, match=r"\*\*\*@h/d.*says nothing of a layer") as raised:
        open_store("layered://?layer=postgresql://u:hunter2@h/d&bogus=1")
    assert "hunter2" not in f"{raised.value} {raised.value.url}"
    for wrong in ("layered://", "layered://?readonly=1", "layered://?layer=memory://m&max_bytes=many", "layered://?layer=memory://m&x=1"):
        with pytest.raises((StoreError, ValueError)):
            open_store(wrong)


def test_a_folder_to_read_from_that_is_not_there_is_said(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    gone = tmp_path / "gone"
    for layer in ({"url": str(gone), "readonly": True}, open_store(gone, readonly=True)):
        with pytest.warns(LayerSkippedWarning, match="gone: there is no such folder; mount it, or correct the path"):
            store = open_store([tmp_path / "mine", layer])
        store.put("x", b"1")
        assert store.get("x") == b"1" and not store.exists("y") and not gone.exists()
        recwarn.clear()
        pickle.loads(pickle.dumps(store))
        open_store(store.url)
        open_store([tmp_path / "new", {"url": str(tmp_path), "readonly": True}])
        assert len(recwarn) <= 1


def test_what_is_no_layer_says_so(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="did you mean readonly"):
        open_store([{"url": str(tmp_path), "read_only": True}])
    with pytest.raises(TypeError, match="names no store"):
        open_store([{"readonly": True}])
    with pytest.raises(TypeError, match="give each layer its own"):
        open_store([str(tmp_path)], fsync=True)
    with pytest.raises(ValueError, match="at least one"):
        open_store([])
    with pytest.raises(ValueError, match="number of bytes"):
        Layer(tmp_path, max_bytes=-1)
    durable = open_store([{"url": str(tmp_path), "options": {"fsync": True}}])
    assert isinstance(durable, LayeredStore) and isinstance(durable.layers[0].store, LocalStore) and durable.layers[0].store.fsync


def test_the_project_file_names_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERSISTABLE_STORE", raising=False)
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    load(LocalStore(tmp_path / "team"), SMALL)
    made.clear()
    name = f"memory://{tmp_path.name}"
    (tmp_path / "persistable.toml").write_text(f'store = ["{name}", "data", {{ url = "team", readonly = true, max_bytes = 5 }}]\n')
    node = Numbers(None, n=SMALL)
    assert np.array_equal(node.payload, np.arange(SMALL)) and made == []
    assert len(assert_sound(LocalStore(tmp_path / "data"))) == len(assert_sound(open_store(name))) == 1
    assert node.store is Numbers(None, n=LARGE).store
    for wrong in ("[]", "[1]", '{ url = "x" }', "3"):
        (tmp_path / "persistable.toml").write_text(f"store = {wrong}\n")
        with pytest.raises(ValueError, match="a list of layers"):
            Numbers(None, n=SMALL).exists()
