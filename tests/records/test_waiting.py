"""Waiting for what somebody else generates: how often a store is asked meanwhile, and what for."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from servers.fixtures import Bucket
from servers.lossy import lossy
from tests.records.waits import between

from persistable import open_store, run, step
from persistable.records import claim_watch, claims, heartbeat, owners
from persistable.stores import LocalStore, MemoryStore, ObjectStore
from persistable.stores.base import Bytes

TTL = 600.0
LOOKS = 200


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []
        for module in (claims, claim_watch):
            monkeypatch.setattr(module, "now", lambda: self.now)
        monkeypatch.setattr(claim_watch.Pauses, "sleep", lambda pauses: self.sleep(pauses.next()))

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def claim_of_other_host() -> bytes:
    facts = {**json.loads(owners.mine()), "host": "elsewhere", "token": "other"}
    del facts["check"]
    return json.dumps(facts).encode()


def claim_of_living_process() -> bytes:
    facts = {**json.loads(owners.mine()), "pid": 1, "start": owners._start_of(1), "token": "other"}
    del facts["check"]
    return json.dumps(facts).encode()


OWNERS = {"other host": claim_of_other_host, "this host": claim_of_living_process}


@pytest.mark.parametrize("owner", OWNERS)
def test_a_waiter_on_a_bucket_makes_one_get_a_look_and_looks_seldom(s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch, owner: str) -> None:
    clock = Clock(monkeypatch)
    with lossy(s3_bucket.options["endpoint_url"], lambda *_: False) as way:
        store = open_store(s3_bucket.url, **{**s3_bucket.options, "endpoint_url": way.endpoint}, claim_ttl=TTL)
        store.put("x/a.claim", OWNERS[owner]())
        began: list[int] = []
        looks = itertools.count()

        def look() -> None:
            number = next(looks)
            if number == 0:
                began.append(len(way.seen))  # what it takes to find out who it is
            store.put("x/a.beat", b"%d" % number) if number % 3 == 0 else None
            if number == LOOKS:
                began.append(len(way.seen))
                store.delete("x/a.claim")

        claim = claims.acquire(store, "x/a", lambda: False, waiting=between(look))
        assert claim is not None
        claim.release()
        asked = [(method, path) for method, path, _ in way.seen[began[0] : began[1]] if method != "PUT" or not path.endswith(".beat")]
        assert {method for method, _ in asked} == {"GET"}
        assert len(asked) <= LOOKS
    assert began[0] <= 12
    assert min(clock.pauses[30:]) > 2 and max(clock.pauses) < 4
    assert len({round(pause, 6) for pause in clock.pauses}) > LOOKS / 2  # by chance


class Counted(MemoryStore):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.calls: Counter[str] = Counter()

    def get(self, path: str) -> bytes:
        self.calls["get"] += 1
        return super().get(path)

    def create(self, path: str, data: Bytes) -> bool:
        self.calls["create"] += ".claim" in path
        return super().create(path, data)

    def stat(self, path: str) -> Any:
        self.calls["stat"] += 1
        return super().stat(path)


def test_nothing_is_created_while_the_holder_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    store = Counted("waiting-counted")
    store.put("x/a.claim", claim_of_living_process())
    looks = itertools.count()

    def look() -> None:
        if next(looks) == LOOKS:
            store.delete("x/a.claim")

    claim = claims.acquire(store, "x/a", lambda: False, waiting=between(look))
    assert claim is not None
    assert store.calls["create"] == 2
    assert store.calls["get"] + store.calls["stat"] <= LOOKS + 12
    claim.release()


def test_an_owner_that_dies_while_it_is_waited_for_is_taken_over_after_its_ttl(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    store = Counted("waiting-dies")
    store.claim_ttl = 60.0
    store.put("x/a.claim", claim_of_other_host())
    last = [0.0]

    def look() -> None:
        if clock.now < 1500:  # it beats, and then no more
            store.put("x/a.beat", b"%f" % clock.now)
            last[0] = clock.now

    claim = claims.acquire(store, "x/a", lambda: False, waiting=between(look))
    assert claim is not None
    assert 60 < clock.now - last[0] < 75
    claim.release()


def test_a_claim_that_is_shown_late_is_not_asked_for_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """On some network file systems a file that another host has made cannot be made, and for some seconds not be seen either."""
    clock = Clock(monkeypatch)

    class Late(MemoryStore):
        refused = 0

        def create(self, path: str, data: Bytes) -> bool:
            Late.refused += clock.now < 1003
            return clock.now >= 1003 and super().create(path, data)

    store = Late("waiting-late")
    claim = claims.acquire(store, "x/a", lambda: False)
    assert claim is not None
    assert 0 < Late.refused < 30
    claim.release()


@step
def made(n: int) -> int:
    return n


def test_a_run_that_meets_claims_asks_for_them_together_and_seldom(monkeypatch: pytest.MonkeyPatch, s3_bucket: Bucket) -> None:
    with lossy(s3_bucket.options["endpoint_url"], lambda *_: False) as way:
        store = open_store(s3_bucket.url, **{**s3_bucket.options, "endpoint_url": way.endpoint})
        nodes = [made.step(n) for n in range(2)]
        held = nodes[0].key.path + ".claim"
        store.put(held, claim_of_living_process())
        monkeypatch.setattr(claim_watch, "poll_of", lambda _: 0.3)
        since: list[int] = []
        sights = claim_watch.ClaimWatch.look

        def look(self: claim_watch.ClaimWatch, found: bytes | None = None) -> str:
            sight = sights(self, found)
            since.append(len(way.seen))
            if len(since) == 20:
                store.delete(held)
            return sight

        monkeypatch.setattr(claim_watch.ClaimWatch, "look", look)
        run(nodes, store=store)
        asked = way.seen[since[4] : since[18]]
        assert len(since) >= 20 and {method for method, _, _ in asked} == {"GET"}
        assert len(asked) == 14


def test_a_second_option_sets_the_beat_and_travels(tmp_path: Path) -> None:
    import pickle

    store = open_store(tmp_path, claim_ttl=30, claim_beat=2)
    assert heartbeat.beat_of(store) == heartbeat.beat_of(pickle.loads(pickle.dumps(store))) == 2
    assert heartbeat.beat_of(open_store(tmp_path)) == heartbeat.TTL / 6
    assert heartbeat.beat_of(open_store([tmp_path, {"url": str(tmp_path / "b"), "options": {"claim_beat": 3}}])) == 3
    claim = claims.acquire(store, "x/a", lambda: False)
    assert claim is not None and claim.beat_every == 2
    claim.release()
    for beat, match in ((0, "give a number of seconds"), (20, "half of that")):
        with pytest.raises(ValueError, match=match):
            open_store(tmp_path, claim_ttl=30, claim_beat=beat)


def test_stores_of_this_machine_are_looked_at_more_often_than_buckets() -> None:
    assert LocalStore.poll < 0.5 < ObjectStore.poll
