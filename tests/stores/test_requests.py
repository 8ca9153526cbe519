"""The number of requests that operations on a bucket take, counted by the server."""

import json
import os
import shutil
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from servers.fixtures import Bucket

from persistable import Status, open_store, run, step
from persistable.stores.base import BaseStore, Store, extended

MANY = 520
"""Members: a family of so many is carried out in portions, and has more objects than a page of a listing."""


@step
def doubled(n: int) -> float:
    return n * 2.0


class Counter:
    """Requests by kind, of what is done within it."""

    def __init__(self, bucket: Bucket) -> None:
        self._place = f"{bucket.options['endpoint_url']}/_requests/{bucket.name}"
        self._store = open_store(bucket.url, **bucket.options)
        self._credentials = {name: option for name, option in bucket.options.items() if name != "endpoint_url"}

    def store(self) -> Store:
        return open_store(self._store.url, **self._credentials)

    @contextmanager
    def counted(self, **expected: int) -> Generator[None]:
        """A block that takes so many of these, and no other."""
        self.ask()
        yield
        assert self.ask() == expected

    def ask(self) -> dict[str, int]:
        """Those since the last time."""
        with urllib.request.urlopen(self._place) as answer:
            found: dict[str, int] = json.load(answer)
            return found


@pytest.fixture
def counter(s3_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter:
    monkeypatch.setenv("PERSISTABLE_CACHE", str(tmp_path / "cache"))
    counter = Counter(s3_bucket)
    counter.store().put("seen", b"")  # the bucket is known to be there
    return counter


@pytest.fixture
def gcs_counter(gcs_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter:
    monkeypatch.setenv("PERSISTABLE_CACHE", str(tmp_path / "cache"))
    counter = Counter(gcs_bucket)
    counter.store().put("seen", b"")
    return counter


def created_and_read(counter: Counter, store: Store) -> tuple[BaseStore, list[str]]:
    """The store with all its calls, and 40 paths that were created in it and read, counted."""
    paths = [f"name/{n:04x}.claim" for n in range(40)]
    many = extended(store)
    with counter.counted(create=40):
        assert many.create_many(dict.fromkeys(paths, b"c")) == set(paths)
    with counter.counted(create=40, head=40):  # refused, and looked whether the refusal is for one's own creation
        assert many.create_many(dict.fromkeys(paths, b"c")) == set()
    with counter.counted(list=1):
        assert many.stat_many(paths).keys() == set(paths)
    with counter.counted(head=8):
        assert many.stat_many(paths[:8]).keys() == set(paths[:8])
    with counter.counted(get=40):
        assert many.get_many(paths).keys() == set(paths)
    return many, paths


def test_calls_about_many_paths_on_gcs(gcs_counter: Counter) -> None:
    store = gcs_counter.store()
    many, paths = created_and_read(gcs_counter, store)
    many.change_many(dict.fromkeys((path + ".x" for path in paths), b""), delete=paths)
    found = gcs_counter.ask()
    assert (
        found.keys() == {"put", "batch"} and found["batch"] == 1 and 40 <= found["put"] <= 60
    )  # gcsfs repeats some when the machine is busy
    assert sorted(store.list("name")) == [path + ".x" for path in paths]


def test_a_family_on_gcs(gcs_counter: Counter) -> None:
    number = 40
    family = doubled.over(n=range(number))
    run(doubled.step(1000), store=gcs_counter.store())  # the format of the store is noted
    gcs_counter.ask()
    assert run(family.bind(gcs_counter.store())).counts["done"] == number
    found = gcs_counter.ask()
    assert number <= found.pop("create") <= 1.6 * number
    assert 2 * number <= found.pop("put") <= 3 * number
    assert sum(found.values()) < 4 * number  # where the machine is slow, batches are of a few, each looked for by itself
    with gcs_counter.counted(list=1, get=number):  # the answer to a put does not tell the generation
        assert run(family.bind(gcs_counter.store())).counts["reused"] == number
    with gcs_counter.counted(list=1):
        assert run(family.bind(gcs_counter.store())).counts["reused"] == number
    with gcs_counter.counted(list=1):
        assert family.bind(gcs_counter.store()).status() == {Status.DONE: number}
    with gcs_counter.counted(list=1, get=number):
        assert dict(family.bind(gcs_counter.store()).payloads()) == {n: n * 2.0 for n in range(number)}


def test_one_node_on_gcs(gcs_counter: Counter) -> None:
    run(doubled.step(1), store=gcs_counter.store())
    gcs_counter.ask()
    with gcs_counter.counted(create=1, put=2, batch=1, get=3, head=3, list=1):
        run(doubled.step(3), store=gcs_counter.store())
    with gcs_counter.counted(get=2):
        assert doubled.step(3).bind(gcs_counter.store()).load().payload == 6.0
    with gcs_counter.counted(get=1, head=1):
        run(doubled.step(3), store=gcs_counter.store())


def test_calls_about_many_paths(counter: Counter) -> None:
    store = counter.store()
    many, paths = created_and_read(counter, store)
    with counter.counted(put=40, delete_many=1):
        many.change_many(dict.fromkeys((path + ".x" for path in paths), b""), delete=paths)
    assert sorted(store.list("name")) == [path + ".x" for path in paths]


def test_a_listing_ends_where_it_tells_of_few(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of some members among very many, each is asked for itself: a page that tells of few costs more."""
    monkeypatch.setattr("persistable.stores.s3.PAGE", 100)
    many = extended(counter.store())
    there = [f"name/{n:04x}.x" for n in range(250)]
    many.put_many(dict.fromkeys(there, b""))
    some = there[::10]
    with counter.counted(list=1, head=15):  # the first page has told of ten
        assert many.stat_many(some).keys() == set(some)
    with counter.counted(list=3):
        assert many.stat_many(there[::5]).keys() == set(there[::5])


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_a_run_of_many_members(executor: str, counter: Counter) -> None:
    family = doubled.over(n=range(MANY))
    counter.ask()
    assert run(family.bind(counter.store()), executor=executor).counts["done"] == MANY
    found = counter.ask()
    # where the machine is slow, some members are given back and claimed again, and claims show that their owner lives
    assert MANY <= found.pop("create") <= 1.1 * MANY
    assert 2 * MANY <= found.pop("put") <= 2.2 * MANY
    # listings, deletions of claims, and looks for members of small batches: of threads on a busy machine most are
    assert sum(found.values()) < (MANY if executor == "inline" else 4 * MANY)


@step
def summed(first: float, second: float) -> float:
    return first + second


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_what_all_members_are_made_from_is_read_once_for_a_batch(executor: str, counter: Counter) -> None:
    """Members of the loop's road, whose upstream is generated first."""
    number = 200
    family = summed.over(first=[float(n) for n in range(number)], second=doubled.step(1))
    assert run(family, store=counter.store(), executor=executor).counts["done"] == number + 1
    found = counter.ask()
    assert found.pop("get") < number / 2  # two for each batch, and for each of the first, which are performed alone
    assert number < found.pop("create") <= 1.6 * number
    assert 2 * number < found.pop("put") <= 3 * number


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_a_run_of_nodes_with_others_upstream(executor: str, counter: Counter) -> None:
    """Those that are no members of a large plain family are claimed and committed together too, wherever they are performed."""
    lower = [doubled.step(n) for n in range(40)]
    nodes = [summed.step(first=lower[n], second=lower[n + 1]) for n in range(39)]
    number = len(lower) + len(nodes)
    run(doubled.step(1000), store=counter.store())  # the format of the store is noted
    counter.ask()
    assert run(nodes, store=counter.store(), executor=executor).counts["done"] == number
    found = counter.ask()
    # where the machine is slow, batches are of a few, each looked for by itself, and some members are claimed again
    assert number <= found.pop("create") <= 1.6 * number
    assert 2 * number <= found.pop("put") <= 3 * number
    assert len(lower) <= found.pop("get") < 3 * len(lower)  # payloads, some once for each of several batches; of records most are known
    assert found.pop("delete", 0) < 0.6 * number  # the claims of a batch are deleted together
    assert sum(found.values()) < 5 * number


def test_many_members_that_are_stored(counter: Counter) -> None:
    family = doubled.over(n=range(MANY))
    run(family.bind(counter.store()))
    counter.ask()
    with counter.counted(list=2):  # what this process has written is known
        assert run(family.bind(counter.store())).counts["reused"] == MANY
    with counter.counted(list=2):
        assert family.bind(counter.store()).status() == {Status.DONE: MANY}
    with counter.counted(list=2, get=MANY):
        assert dict(family.bind(counter.store()).payloads()) == {n: n * 2.0 for n in range(MANY)}
    shutil.rmtree(os.environ["PERSISTABLE_CACHE"])
    with counter.counted(list=2, get=MANY):
        assert run(family.bind(counter.store())).counts["reused"] == MANY


def test_members_that_are_stored_and_what_they_are_made_from(counter: Counter) -> None:
    """Records upstream are known by a listing as well, to whoever judges whether anything has changed."""
    number = 40
    family = summed.over(first=doubled.over(n=range(number)), second=doubled.step(number)).sel(n=range(number))
    run(family, store=counter.store())
    counter.ask()
    with counter.counted(list=2):
        assert run(family, store=counter.store()).counts["reused"] == number
    with counter.counted(list=4, get=number):
        assert len(dict(family.bind(counter.store()).payloads())) == number


def test_a_record_that_was_replaced_is_read_again(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    family = doubled.over(n=range(20)).bind(counter.store())
    run(family)
    assert run(family).counts["reused"] == 20
    node = family.nodes[3]
    with counter.counted(list=1):
        assert run(family).counts["reused"] == 20
    node.generate()  # and noted by this process
    with counter.counted(list=1):
        assert run(family).counts["reused"] == 20
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("PERSISTABLE_CACHE", f"{os.environ['PERSISTABLE_CACHE']}-of-another")
        node.generate()
    counter.ask()
    with counter.counted(list=1, get=1):
        assert run(family).counts["reused"] == 20


def test_records_written_one_by_one_are_known(counter: Counter) -> None:
    """Those of nodes that were no batch, and of other processes of this machine."""
    family = doubled.over(n=range(20)).bind(counter.store())
    for node in family.nodes[:10]:
        node.generate()
    run(family.nodes[10:], executor="processes")
    counter.ask()
    with counter.counted(list=1):
        assert run(family).counts["reused"] == 20


def test_a_damaged_cache_is_made_anew(counter: Counter) -> None:
    family = doubled.over(n=range(20)).bind(counter.store())
    run(family)
    run(family)
    (file,) = Path(os.environ["PERSISTABLE_CACHE"], "records").glob("*.db")
    sound = file.read_bytes()
    at = sound.index(b'{"record":1')
    for damaged in (b"", b"no database" * 500, sound[: len(sound) // 2], sound[:at] + b"X" + sound[at + 1 :]):
        file.write_bytes(damaged)
        assert run(family).counts["reused"] == 20
        counter.ask()
        assert run(family).counts["reused"] == 20
        assert counter.ask() == {"list": 1}


def test_one_node(counter: Counter) -> None:
    run(doubled.step(1), store=counter.store())  # the format of the store is noted
    with counter.counted(create=1, put=2, delete_many=1, get=3, head=3, bucket_head=1):
        run(doubled.step(3), store=counter.store())
    with counter.counted(create=1, put=2, delete=1, get=3, head=4, bucket_head=1):
        run(doubled.step(4), store=counter.store(), executor="threads")
    with counter.counted(get=2):
        assert doubled.step(3).bind(counter.store()).load().payload == 6.0
    with counter.counted(get=1, head=1):
        run(doubled.step(3), store=counter.store())
    with counter.counted(get=1, head=1):
        assert doubled.step(3).bind(counter.store()).status is Status.DONE
