"""The slow layer goes down while payloads are made: nothing fails, nothing is lost, nobody waits, and it gets everything later."""

from __future__ import annotations

import pickle
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.fixtures import Bucket
from servers.needs import absent
from servers.switched import Switch, switched

from persistable import Status, run
from persistable.errors import LayersDisagreeWarning, LayerSkippedWarning, StoreError
from persistable.stores import Layer, LayeredStore, LocalStore, MemoryStore, SQLiteStore, Store, open_store
from stores.outage import NOW, RECORD, assert_sound, made, numbers, quick  # noqa: F401 - a fixture


@pytest.fixture
def switch(s3_bucket: Bucket) -> Iterator[Switch]:
    with switched(s3_bucket.options["endpoint_url"]) as switch:
        yield switch


@pytest.fixture
def team(s3_bucket: Bucket, switch: Switch) -> Store:
    options = {**s3_bucket.options, "endpoint_url": switch.endpoint, "config_kwargs": {"retries": {"max_attempts": 0}}}
    return open_store(s3_bucket.url, **options)


@pytest.mark.parametrize("n", [10, 300_000])
@pytest.mark.parametrize("when", ["before", "in the middle"])
@pytest.mark.filterwarnings("ignore::persistable.errors.LayerSkippedWarning")
def test_s3_goes_down(tmp_path: Path, switch: Switch, team: Store, n: int, when: str) -> None:
    disk = LocalStore(tmp_path / "disk")
    store = LayeredStore(MemoryStore(), disk, team)
    first, second, third = numbers.step(n), numbers.step(n + 1), numbers.step(n + 2)
    if when == "before":
        switch.cut()
    else:
        NOW["in the middle"] = switch.cut
    result = run(first, store=store)
    assert not result.failures
    began = time.monotonic()
    run(second, store=store)
    assert second.bind(store).status is Status.DONE
    assert time.monotonic() - began < 5  # known to be down
    assert_sound(disk, first, second)
    assert [path for path in disk.list() if ".claim" in path] == []
    NOW.clear()
    with pytest.raises(StoreError):
        store.sync()
    switch.is_down = False
    if n == 10:
        deadline = time.monotonic() + 60
        while not team.exists(second.key.path + RECORD) and time.monotonic() < deadline:
            store.exists("x")  # the next use
            time.sleep(0.05)
    else:
        pushed = store.sync()
        assert len(pushed) == 4
        assert pushed[-1].endswith(RECORD)
    assert_sound(team, first, second)
    assert list(disk.list(".persistable/pending")) == []
    run(third, store=store)
    assert_sound(team, third)
    assert not [path for path in team.list() if ".claim" in path]
    assert sorted(made) == [n, n + 1, n + 2]


@pytest.mark.filterwarnings("ignore::persistable.errors.LayerSkippedWarning")
def test_another_process_brings_what_one_left(tmp_path: Path, switch: Switch, team: Store) -> None:
    node = numbers.step(10)
    switch.cut()
    run(node, store=LayeredStore(tmp_path, team))
    switch.is_down = False
    later = LayeredStore(tmp_path, team)  # as another process makes it
    assert not later.exists("x")
    assert_sound(team, node)


def test_it_is_reported_once_and_says_where_it_is_kept(tmp_path: Path, switch: Switch, team: Store) -> None:
    switch.cut()
    store = LayeredStore(tmp_path, team)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(3):
            run(numbers.step(n), store=store)
    (warning,) = [each for each in caught if issubclass(each.category, LayerSkippedWarning)]
    assert "kept in file://" in str(warning.message)
    assert "others may generate the same" in str(warning.message)


def broken(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


@pytest.mark.filterwarnings("ignore::persistable.errors.LayerSkippedWarning")
@pytest.mark.parametrize("kind", ["a file in the way", "a damaged database", "both databases"])
def test_a_slow_layer_of_this_machine_fails(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "slow"
    fast: Store = SQLiteStore(tmp_path / "fast.db") if kind == "both databases" else LocalStore(tmp_path / "fast")
    slow: Store = LocalStore(place / "store") if kind == "a file in the way" else SQLiteStore(place)
    broken(place)
    store = LayeredStore(fast, slow)
    nodes = [numbers.step(10), numbers.step(300_000)]
    assert not run(*nodes, store=store).failures
    assert not run(numbers.over(n=list(range(30))), store=store).failures
    place.unlink()
    store.sync()
    assert_sound(slow, *nodes, *(numbers.step(n) for n in range(30)))
    assert list(fast.list(".persistable")) == [".persistable/store.json"]


@pytest.mark.filterwarnings("ignore::persistable.errors.LayerSkippedWarning")
@pytest.mark.parametrize("n", [10_000, 400_000])
def test_a_full_slow_layer(tmp_path: Path, n: int) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False)
    if done.returncode:
        absent("this user may not mount a file system")
    try:
        slow = LocalStore(place)
        store = LayeredStore(tmp_path / "fast", slow)
        node = numbers.step(n)
        assert not run(node, store=store).failures
        assert_sound(store, node)
        for path in slow.list():
            assert not path.endswith(RECORD)
        subprocess.run(["mount", "-o", "remount,size=32m", str(place)], check=True)
        store.sync()
        assert_sound(slow, node)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.filterwarnings("ignore::persistable.errors.LayerSkippedWarning")
def test_what_was_made_in_both_places_is_kept_once(tmp_path: Path, switch: Switch, team: Store, s3_bucket: Bucket) -> None:
    node = numbers.step(10)
    switch.cut()
    store = LayeredStore(tmp_path, team)
    run(node, store=store)
    other = open_store(s3_bucket.url, **s3_bucket.options)
    run(node, store=other)
    theirs = other.get(node.key.path + RECORD)
    switch.is_down = False
    with pytest.warns(LayersDisagreeWarning, match="the one there counts"):
        store.sync()
    assert other.get(node.key.path + RECORD) == theirs
    assert len(list(other.list())) == 2
    assert_sound(store, node)


@pytest.mark.filterwarnings("ignore::persistable.errors.LayerSkippedWarning")
def test_what_is_deleted_meanwhile_is_deleted_there_too(tmp_path: Path, switch: Switch, team: Store) -> None:
    store = LayeredStore(tmp_path, team)
    node = numbers.step(10).bind(store)
    node.generate()
    switch.cut()
    assert node.delete()
    assert not node.exists()
    switch.is_down = False
    store.sync()
    assert not node.exists()
    assert list(team.list()) == []


@pytest.mark.parametrize("slow", ["local", "sqlite"])
def test_a_name_that_a_layer_cannot_hold_says_nothing_of_the_layer(tmp_path: Path, slow: str) -> None:
    """Also where the home takes it: then the caches go without."""
    home = LocalStore(tmp_path / "home") if slow == "local" else SQLiteStore(tmp_path / "home.db")
    store = LayeredStore(tmp_path / "fast", home)
    for path in ("/".join(["y" * 50] * 100), "x/" + "0" * 32 + "." + "1" * 8 + "/y" * 3000):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            if slow == "local":
                for act in (
                    store.get,
                    store.exists,
                    store.delete,
                    lambda path: store.put(path, b"1"),
                    lambda path: store.create(path, b"1"),
                ):
                    with pytest.raises(StoreError, match="too long"):
                        act(path)
            else:
                store.put(path, b"1")
                assert store.get(path) == b"1" and store.exists(path) and home.exists(path)
            store.put("a/b", b"2")
        assert home.get("a/b") == b"2"
        assert LocalStore(tmp_path / "fast").get("a/b") == b"2"


def test_only_a_layer_that_lasts_stands_in(switch: Switch, team: Store) -> None:
    switch.cut()
    with pytest.raises(StoreError):
        numbers.step(10).bind(LayeredStore(MemoryStore(), team)).generate()


@pytest.mark.filterwarnings("ignore::persistable.errors.LayerSkippedWarning")
def test_a_fast_layer_that_is_down_is_not_waited_for(tmp_path: Path, switch: Switch, team: Store) -> None:
    switch.cut()
    store = LayeredStore(Layer(team), tmp_path)
    run(numbers.step(10), store=store)
    began = time.monotonic()
    run(numbers.over(n=list(range(8))), store=store)
    assert time.monotonic() - began < 6


@pytest.mark.filterwarnings("ignore::persistable.errors.LayersDisagreeWarning")
@pytest.mark.parametrize("n", [10, 300_000])
def test_one_read_heals_a_damaged_copy_and_its_record(tmp_path: Path, n: int) -> None:
    fast, slow = LocalStore(tmp_path / "fast"), LocalStore(tmp_path / "slow")
    node = numbers.step(n).bind(LayeredStore(fast, slow))
    node.generate()
    (file,) = node.record.files
    place = fast.local_path(file.path)
    data = bytearray(place.read_bytes())
    data[-1] ^= 1
    place.unlink()
    place.write_bytes(data)
    assert numbers.step(n).bind(LayeredStore(fast, slow)).load().payload.tolist() == list(range(n))
    assert sorted(fast.list()) == sorted(slow.list())
    assert_sound(fast, node)


def test_workers_are_told_what_is_down(tmp_path: Path, switch: Switch, team: Store, capfd: pytest.CaptureFixture[str]) -> None:
    """None of them waits for it again, nothing is lost, and it is said once."""
    store = LayeredStore(tmp_path, team)
    nodes = [numbers.step(n) for n in range(6)]
    switch.cut()
    with pytest.warns(LayerSkippedWarning) as said:
        assert not run(*nodes, store=store, executor="processes", max_workers=2).failures
    assert len([each for each in said if each.category is LayerSkippedWarning]) == 1
    assert "passed over" not in capfd.readouterr().err
    again = pickle.loads(pickle.dumps(store))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not again.exists("x")
        run(numbers.step(6), store=again)
    switch.is_down = False
    again.sync()
    assert_sound(team, *nodes, numbers.step(6))
    assert again == store and pickle.loads(pickle.dumps(again)).pickled_options() is None


def test_a_bucket_that_is_not_there_is_said_plainly_and_once(tmp_path: Path, s3_bucket: Bucket) -> None:
    store = LayeredStore(tmp_path, open_store("s3://no-such-bucket/a", **s3_bucket.options))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(3):
            run(numbers.step(n), store=store)
    said = [each for each in caught if each.category is LayerSkippedWarning]
    assert len(said) == 1
    assert "there is no bucket 'no-such-bucket' here; make it, or correct the name" in str(said[0].message)
