"""Memory, a folder and a server as layers, with the server down, full or lying: payloads are made, kept, and brought to it later.

MongoDB is pymongo over the wire to a mongomock store.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers.switched import Switch, switched

from persistable import Status, run
from persistable.errors import LayerSkippedWarning, PayloadCorrupted, StoreFull, StoreUnavailable
from persistable.stores import LayeredStore, LocalStore, MemoryStore, Store, open_store
from stores.outage import NOW, RECORD, assert_sound, made, numbers, quick  # noqa: F401 - a fixture

LARGE = 700_000
"""Numbers in an array that goes to a database in chunks."""


@dataclass
class Server:
    """A server behind a switch: the store that goes through it, and the same place without it."""

    store: Store
    direct: Store
    switch: Switch


@pytest.fixture(params=["s3", "postgres", "mongo"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with ExitStack() as stack:
        if request.param == "s3":
            bucket = request.getfixturevalue("s3_bucket")
            switch = stack.enter_context(switched(bucket.options["endpoint_url"]))
            options = {**bucket.options, "endpoint_url": switch.endpoint, "config_kwargs": {"retries": {"max_attempts": 0}}}
            yield Server(open_store(bucket.url, **options), open_store(bucket.url, **bucket.options), switch)
        elif request.param == "postgres":
            schema = request.getfixturevalue("postgres_schema")
            switch = stack.enter_context(switched(f"http://127.0.0.1:{schema.server.port}"))
            url = schema.url.replace(f":{schema.server.port}", f":{switch.port}")
            yield Server(open_store(url, timeout=0.2), open_store(schema.url), switch)
        else:
            collection, port = request.getfixturevalue("mongo_collection"), request.getfixturevalue("mongo_server")
            switch = stack.enter_context(switched(f"http://127.0.0.1:{port}"))
            url = collection.url.replace(f":{port}", f":{switch.port}") + "?serverSelectionTimeoutMS=200"
            yield Server(open_store(url, timeout=0.2), open_store(collection.url), switch)


@pytest.mark.filterwarnings("ignore::persistable.errors.LayerSkippedWarning")
@pytest.mark.parametrize("server", ["postgres", "mongo"], indirect=True)  # S3: test_layered_outage
@pytest.mark.parametrize(("n", "when"), [(10, "in the middle"), (LARGE, "in the middle"), (11, "before")])
def test_it_goes_down_and_gets_everything_later(tmp_path: Path, server: Server, n: int, when: str) -> None:
    disk = LocalStore(tmp_path / "disk")
    store = LayeredStore(MemoryStore(), disk, server.store)
    server.store.exists("warm")
    if when == "before":
        server.switch.cut()
    else:
        NOW["in the middle"] = server.switch.cut
    first, second = numbers.step(n), numbers.step(n + 1)
    assert not run(first, second, store=store).failures
    assert second.bind(store).status is Status.DONE
    assert_sound(disk, first, second)
    assert [path for path in disk.list() if ".claim" in path] == []
    NOW.clear()
    with pytest.raises(StoreUnavailable):
        store.sync()
    server.switch.is_down = False
    assert store.sync()[-1].endswith(RECORD)
    assert_sound(server.direct, first, second)
    assert list(disk.list(".persistable/pending")) == []
    run(numbers.step(n + 2), store=store)
    assert_sound(server.direct, numbers.step(n + 2))
    assert not [path for path in server.direct.list() if ".claim" in path]
    assert sorted(made) == [n, n + 1, n + 2]


def test_a_warm_payload_asks_it_nothing(tmp_path: Path, server: Server) -> None:
    """However slow it is."""
    store = LayeredStore(MemoryStore(), tmp_path, server.store)
    node = numbers.step(10)
    run(node, store=store)
    asked = server.switch.asked
    for again in (store, LayeredStore(MemoryStore(), tmp_path, server.store)):
        assert_sound(again, node)
    assert server.switch.asked == asked
    cold = LayeredStore(MemoryStore(), tmp_path / "other", server.store)
    assert_sound(cold, node)
    assert server.switch.asked > asked
    asked = server.switch.asked
    assert_sound(cold, node)
    assert server.switch.asked == asked
    assert made == [10]


@pytest.mark.filterwarnings("ignore::persistable.errors.LayersDisagreeWarning", "ignore::persistable.errors.CorruptPayloadWarning")
def test_it_gives_other_bytes_than_it_was_given(tmp_path: Path, server: Server) -> None:
    node = numbers.step(1000).bind(server.direct)
    node.generate()
    (file,) = node.record.files
    data = bytearray(server.direct.get(file.path))
    data[-1] ^= 1
    server.direct.put(file.path, bytes(data))
    store = LayeredStore(MemoryStore(), tmp_path, server.store)
    with pytest.raises(PayloadCorrupted):
        numbers.step(1000).bind(store).load()
    assert numbers.step(1000).bind(store).payload.tolist() == list(range(1000))
    assert made == [1000, 1000]
    assert_sound(server.direct, numbers.step(1000))


def test_it_has_lost_what_it_said_it_had(tmp_path: Path, server: Server) -> None:
    store = LayeredStore(MemoryStore(), tmp_path, server.store)
    node = numbers.step(10).bind(store)
    node.generate()
    (file,) = node.record.files
    assert server.direct.delete(file.path)
    assert_sound(LayeredStore(MemoryStore(), tmp_path, server.store), numbers.step(10))  # the folder has it
    assert [difference.path for difference in store.differences()] == [file.path]
    assert made == [10]


def test_a_full_database_leaves_payloads_in_the_folder(tmp_path: Path, mongo_server: int) -> None:
    """The error of MongoDB for a full disk; that of PostgreSQL is tried with a real disk in `test_postgres`."""
    full = open_store(f"mongodb://127.0.0.1:{mongo_server}/full{time.time_ns()}/results")
    store = LayeredStore(MemoryStore(), tmp_path, full)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert not run(numbers.step(10), numbers.step(LARGE), store=store).failures
    assert {each.category for each in caught} == {LayerSkippedWarning}
    assert_sound(LocalStore(tmp_path), numbers.step(10), numbers.step(LARGE))
    assert list(full.list()) == []
    with pytest.raises(StoreFull):
        store.sync()
