"""The store of a MongoDB collection, by the real driver over the wire to a server that keeps its documents in mongomock: no MongoDB.

What a real server does beyond that (replica sets, users, write concerns, query plans) is not seen here.
"""

from __future__ import annotations

import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import gridfs
import pymongo
import pytest
from pymongo import monitoring
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect
from refusals import PASSWORD, assert_hidden, assert_one_error
from servers.fixtures import MongoCollection
from servers.needs import free_port
from servers.switched import Switch, switched

from persistable import Secret
from persistable.errors import MissingExtra, StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from persistable.stores import MongoStore, open_store
from persistable.testing.processes import Gate, started

LARGE = bytes(range(256)) * 40_000


@pytest.fixture
def store(mongo_collection: MongoCollection) -> Iterator[MongoStore]:
    store = MongoStore(mongo_collection.url)
    yield store
    store.close()


@pytest.fixture
def switch(mongo_server: int) -> Iterator[Switch]:
    with switched(f"http://127.0.0.1:{mongo_server}") as switch:
        yield switch


def chunks(collection: MongoCollection) -> int:
    found: int = collection.database["results.large.chunks"].count_documents({})
    return found


# ------------------------------------------------------------------ large items


def test_a_large_item_is_a_file_of_gridfs(store: MongoStore, mongo_collection: MongoCollection) -> None:
    store.put("a/x", LARGE)
    with store.write("a/y") as file:
        for first in range(0, len(LARGE), 1_000_000):
            file.write(LARGE[first : first + 1_000_000])
    bucket = gridfs.GridFSBucket(mongo_collection.database, "results.large")
    for path in ("a/x", "a/y"):
        assert bucket.open_download_stream_by_name(path).read() == LARGE
        assert store.get(path) == LARGE
    assert store.read_range("a/x", 3_000_000, 5_000_000) == LARGE[3_000_000:5_000_000]
    store.put("a/x", b"small")
    assert store.delete("a/y")
    assert chunks(mongo_collection) == 0
    assert list(bucket.find({})) == []


def write_much_and_wait(_number: int, gate: Gate, store: MongoStore, path: str) -> None:
    with store.write(path) as file:
        file.write(LARGE * 3)  # the driver keeps 16 MB before it sends them
        gate.wait()


def test_what_a_killed_writer_left_is_removed_by_who_writes_next(store: MongoStore, mongo_collection: MongoCollection) -> None:
    store.put("a/x.1", LARGE)
    sound = chunks(mongo_collection)
    with started(1, write_much_and_wait, store, "a/x.2") as (writer,):
        assert writer.stdout is not None
        assert writer.stdout.readline() == "wait\n"
        writer.kill()
        writer.wait(30)
    assert chunks(mongo_collection) > sound
    store.clear_temporary("a/y")
    assert chunks(mongo_collection) > sound
    store.clear_temporary("a/x")
    assert chunks(mongo_collection) == sound
    assert store.get("a/x.1") == LARGE


def test_chunks_that_were_lost_are_no_commit(store: MongoStore) -> None:
    store.put("x", b"old")

    def write() -> None:
        with store.write("x") as file:
            file.write(LARGE * 3)
            store.clear_temporary("x")  # by one who takes this writer for dead

    with pytest.raises(StoreUnavailable, match="write it again"):
        write()
    assert store.get("x") == b"old"


def test_what_is_replaced_while_it_is_read_is_an_error(store: MongoStore) -> None:
    store.put("x", LARGE * 6)
    with store.read("x") as file:
        assert file.read(10) == LARGE[:10]
        store.put("x", LARGE)
        with pytest.raises(StoreError, match="read it again"):
            file.read()


# ------------------------------------------------------------------ a server that goes away


def through(switch: Switch, collection: MongoCollection, **options: Any) -> MongoStore:
    return MongoStore(f"mongodb://127.0.0.1:{switch.port}/{collection.database.name}/results?serverSelectionTimeoutMS=300", **options)


def test_a_server_that_is_gone_for_a_moment_is_waited_for(switch: Switch, mongo_collection: MongoCollection) -> None:
    store = through(switch, mongo_collection)
    store.put("x", LARGE)

    def back() -> None:
        time.sleep(1)
        switch.is_down = False

    switch.cut()
    threading.Thread(target=back).start()
    assert store.create("claim", b"1")
    assert not store.create("claim", b"2")
    with store.read("x") as file:
        assert file.read(10) == LARGE[:10]
        switch.cut()
        threading.Thread(target=back).start()
        assert file.read() == LARGE[10:]
    switch.cut()
    threading.Thread(target=back).start()
    assert pickle.loads(pickle.dumps(store)).get("claim") == b"1"
    store.close()


def test_it_is_not_waited_for_longer_than_was_said(switch: Switch, mongo_collection: MongoCollection) -> None:
    store = through(switch, mongo_collection, timeout=0.1)
    store.put("x", b"1")
    switch.cut()
    with pytest.raises(StoreUnavailable):
        store.put("x", b"2")
    switch.is_down = False
    assert store.get("x") == b"1"


@pytest.mark.parametrize("data", [b"mine", LARGE])
def test_a_claim_whose_answer_was_lost_is_known_to_be_ones_own(store: MongoStore, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    store.put("theirs", b"1")
    insert, lost = Collection.insert_many, list[int]()

    def losing(own: Any, documents: Any, **options: Any) -> Any:
        try:
            return insert(own, documents, **options)
        finally:
            if not lost:
                lost.append(1)
                raise AutoReconnect("connection closed")

    monkeypatch.setattr(Collection, "insert_many", losing)
    assert store.create_many({"mine": data, "theirs": data}) == {"mine"}
    assert lost
    assert store.get("mine") == data
    assert store.get("theirs") == b"1"


# ------------------------------------------------------------------ few requests


class Counted(monitoring.CommandListener):
    """The names of the commands that were sent."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


def test_a_call_about_many_items_is_few_requests(mongo_collection: MongoCollection, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted()
    made = pymongo.MongoClient
    monkeypatch.setattr(
        "persistable.stores.mongo.client.MongoClient", lambda *given, **options: made(*given, **options, event_listeners=[counted])
    )
    store = MongoStore(mongo_collection.url + "?appName=counted")
    items = {f"a/{number:04}": b"%d" % number for number in range(500)}
    store.put("b", b"")

    def count(call: Callable[[], object]) -> list[str]:
        counted.names.clear()
        call()
        return counted.names

    assert count(lambda: store.put_many(items)) == ["find", "update"]
    assert count(lambda: store.create_many({**items, "c": b""})) == ["insert"]
    assert set(count(lambda: store.get_many(items))) == {"find", "getMore"}
    assert len(count(lambda: store.stat_many(items))) == 2
    assert len(count(lambda: list(store.scan("a")))) == 2
    assert count(lambda: store.change_many({"r": b"1"}, {"s": b"2"}, delete=items)) == [
        "find",
        "update",
        "find",
        "update",
        "find",
        "getMore",
        "delete",
    ]
    assert sorted(store.list()) == ["b", "c", "r", "s"]
    store.close()


def test_a_listing_of_several_pages_is_whole(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persistable.stores.database.PAGE", 7)
    names = {*(f"a/{number}" for number in range(40)), "a/b/c", ".persistable/x", ".persistable-x", "~", "\U0010fffe"}
    store.put_many(dict.fromkeys(names, b""))
    assert sorted(store.list()) == sorted(names - {".persistable/x"})
    assert list(store.list(".persistable")) == [".persistable/x"]


# ------------------------------------------------------------------ errors and secrets


def test_a_server_that_is_not_there() -> None:
    began = time.monotonic()
    quick = "?serverSelectionTimeoutMS=300"
    assert_one_error(f"mongodb://me:hunter2@127.0.0.1:{free_port()}/works{quick}", StoreUnavailable, "refused", "check the address")
    assert_one_error(f"mongodb://me:hunter2@no-such-host.invalid/works{quick}", StoreUnavailable, "no-such-host.invalid")
    assert time.monotonic() - began < 15


def test_errors_of_a_server_are_told_apart(mongo_server: int) -> None:
    place = f"127.0.0.1:{mongo_server}"
    assert_one_error(f"mongodb://me:hunter2@{place}/works/results", StoreError, "does not let this user in", "?authSource=")
    assert_one_error(f"mongodb://{place}/forbidden/results", StoreReadOnly, "may not be written", "readWrite")
    assert_one_error(f"mongodb://{place}/closed/results", StoreError, "may not be read")
    assert_one_error(f"mongodb://{place}/full/results", StoreFull, "free some space")
    store = open_store(f"mongodb://{place}/full/results")
    for write in (lambda: store.put("x", LARGE), lambda: store.put_many({"x": b"", "y": b""}), lambda: store.create("x", LARGE)):
        with pytest.raises(StoreFull):
            write()
    assert list(store.list()) == []


def test_a_collection_of_somebody_else_is_left_alone(store: MongoStore, mongo_collection: MongoCollection) -> None:
    mongo_collection.database["results"].insert_one({"price": 3})
    assert_one_error(mongo_collection.url, StoreError, "is not one of a store")


@pytest.mark.parametrize("way", ["url", "option", "secret"])
def test_a_password_is_never_shown(mongo_server: int, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", PASSWORD)
    given = {"url": None, "option": PASSWORD, "secret": Secret("DATABASE_PASSWORD")}[way]
    front = f"me:{quote(PASSWORD, safe='')}" if given is None else "me"
    store = open_store(f"mongodb://{front}@127.0.0.1:{mongo_server}/works/results", **({"password": given} if given else {}))
    assert store.url == f"mongodb://me@127.0.0.1:{mongo_server}/works/results"
    assert_hidden(store, store.url)
    assert pickle.loads(pickle.dumps(store)) == store
    if way == "secret":
        assert b"hunter2" not in pickle.dumps(store)
    with pytest.raises(StoreError, match="does not let this user in") as caught:
        store.get("x")
    assert_hidden(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mongodb://host", "is no URL of a collection"),
        ("mongodb://me:hunter2/x@host/db/c", "percent-encoded"),
        ("mongodb://host/a$b/c", "cannot be its database"),
        ("mongodb://host/db/c$d", "cannot be its collection"),
        ("mongodb://me:hunter2@host:port/db/c", "is no URL of a collection"),
    ],
)
def test_a_wrong_url_is_said_when_it_is_opened(url: str, words: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(url)
    assert words in str(caught.value)
    assert_hidden(caught.value, caught.value.url)


@pytest.mark.parametrize("url", ["mongodb://h1:1,h2:2/db/c.d?replicaSet=rs0", "mongodb://a%40b@host/db/c", "mongodb://host/db/persistable"])
def test_its_url_opens_an_equal_store(url: str) -> None:
    assert open_store(url).url == url
    assert open_store(open_store(url).url) == open_store(url)
    assert open_store("mongodb://host/db") == open_store("mongodb://host/db/persistable")


def test_a_namespace_is_a_collection_beside_it(mongo_collection: MongoCollection) -> None:
    ann = open_store(mongo_collection.url + "?appName=x", namespace="ann")
    ann.put("x", b"1")
    assert not open_store(mongo_collection.url).exists("x")
    assert open_store(f"{mongo_collection.url}.ann").get("x") == b"1"


def test_without_its_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("persistable.stores.mongo")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pymongo", None)
    with pytest.raises(MissingExtra, match=r"pip install 'persistable\[mongo\]'"):
        open_store("mongodb://me:hunter2@host/db/c")


def test_it_says_what_it_is(store: MongoStore) -> None:
    assert store.info() == {"store": "MongoStore", "url": store.url, "exclusive": True, "in_memory": False}
