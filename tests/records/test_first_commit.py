"""A claim that is lost costs no finished work: whoever finishes first commits, and whoever comes later takes what is there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from store_kinds import each_named_store

from persistable import Persistable, open_store, run, step
from persistable.errors import ClaimLost
from persistable.fileio import JsonFileIO
from persistable.records import claims, owners
from persistable.stores import LocalStore, Store
from persistable.stores.base import Bytes

pytestmark = pytest.mark.filterwarnings("ignore")
during: list[Callable[[], None]] = []
value = ["own"]


class Plain(Persistable[str, None]):
    def _generate_payload(self, **_: Any) -> str:
        made = value[0]
        acts, during[:] = list(during), []
        for act in acts:
            act()
        return made


class AtPath(Plain):
    payload_name = "at"
    io = JsonFileIO()


AtPath._node_custom_path = "out/x.json"


store = each_named_store("folder", "sqlite", "memory", "layers", "s3", claim_ttl=0.01)


@pytest.fixture(autouse=True)
def clean() -> Any:
    value[0] = "own"
    yield
    during.clear()


def other_claim(pid: int = 1) -> bytes:
    facts = {**json.loads(owners.mine()), "host": "elsewhere", "pid": pid, "token": "other"}
    del facts["check"]
    return json.dumps(facts).encode()


def loses_its_claim(store: Store, node: Any, epoch: int = 2) -> Callable[[], None]:
    def lose() -> None:
        time.sleep(0.02)  # longer than the TTL of the stores here
        store.put(f"{node.place.path}.claim.{epoch}", other_claim())

    return lose


def others_commit(store: Store, kind: type[Any]) -> Callable[[], None]:
    """What another process does that has taken over."""

    def commit() -> None:
        apart = open_store(f"memory://apart-{time.monotonic_ns()}")
        value[0] = "others'"
        kind(apart).generate()
        value[0] = "own"
        for path in sorted([*apart.list(), *apart.list(".persistable/placed")], key=lambda path: path.endswith(".json")):
            if "store.json" not in path:
                store.put(path, apart.get(path))

    return commit


@pytest.mark.parametrize("kind", [Plain, AtPath])
def test_an_owner_that_lost_its_claim_commits_where_nobody_has(store: Store, kind: type[Any]) -> None:
    node = kind(store)
    during.append(loses_its_claim(store, node))
    assert node.generate().payload == "own"
    assert kind(store).load().payload == "own"


@pytest.mark.parametrize("kind", [Plain, AtPath])
def test_it_takes_what_others_have_committed_first(store: Store, kind: type[Any]) -> None:
    node = kind(store)
    during.extend([loses_its_claim(store, node), others_commit(store, kind)])
    assert node.generate().payload == "others'"
    assert kind(store).load().payload == "others'"
    assert len([path for path in store.list() if not path.endswith((".json", ".beat")) and "claim" not in path]) <= 1


@pytest.mark.parametrize("kind", [Plain, AtPath])
def test_a_successor_takes_what_its_predecessor_committed_late(store: Store, kind: type[Any]) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    node = kind(store)
    facts = {**json.loads(owners.mine()), "pid": dead.pid, "token": "other"}
    del facts["check"]
    store.put(node.place.path + ".claim", json.dumps(facts).encode())
    during.append(others_commit(store, kind))
    assert node.generate().payload == "others'"
    assert kind(store).load().payload == "others'"


def test_the_creation_of_the_record_decides(tmp_path: Path) -> None:
    """Both have seen that nothing is there."""

    class Late(LocalStore):
        def create(self, path: str, data: Bytes) -> bool:
            if path.endswith(".record.json"):
                others_commit(self, Plain)()
            return super().create(path, data)

    store = Late(tmp_path)
    store.claim_ttl = 0.01
    node = Plain(store)
    during.append(loses_its_claim(store, node))
    assert node.generate().payload == "others'"
    assert len(list(tmp_path.glob("Plain*/*.pickle"))) + len(list(tmp_path.glob("plain*/*.pickle"))) <= 1


def test_the_same_with_an_older_payload_there(store: Store) -> None:
    value[0] = "older"
    Plain(store).generate()
    value[0] = "own"
    node = Plain(store)
    during.append(loses_its_claim(store, node))
    assert node.generate().payload == "own" == Plain(store).load().payload
    for path in (".claim.2", ".claim"):
        store.delete(node.place.path + path)
    value[0] = "newer"
    node = Plain(store)
    during.extend([loses_its_claim(store, node), others_commit(store, Plain)])
    assert node.generate().payload == "others'" == Plain(store).load().payload


def test_a_failure_after_others_have_committed_is_not_recorded(store: Store) -> None:
    def fail() -> None:
        raise OSError("the scratch folder has gone")

    node = Plain(store)
    during.extend([loses_its_claim(store, node), others_commit(store, Plain), fail])
    assert node.generate().payload == "others'"
    assert not store.exists(node.place.path + ".failed.json")


def test_a_payload_put_in_by_hand_is_not_put_over_one_of_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    node = Plain(store)
    commit = [others_commit(store, Plain)]

    def is_lost(_: claims.Claim) -> bool:
        if not commit:
            return False
        commit.pop()()
        return True

    monkeypatch.setattr(claims.Claim, "is_lost", is_lost)
    with pytest.raises(ClaimLost, match="load its payload"):
        node.put("by hand")
    assert Plain(store).load().payload == "others'"


calls: list[int] = []


@step
def number(n: int) -> int:
    calls.append(n)
    return n


def test_members_of_a_batch_whose_claims_were_lost_are_committed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [number.step(n) for n in range(12)]
    taken = {node.key.path for node in nodes[::2]}
    there = {node.key.path for node in nodes[::4]}
    others = open_store("memory://others-of-a-batch")
    run(nodes[::4], store=others)
    calls.clear()
    lost = claims.Claims.lost

    def losing(self: claims.Claims, bases: set[str]) -> set[str]:
        for path in others.list():
            if path.partition(".")[0] in there and not path.endswith("store.json"):
                store.put(path, others.get(path))
        return bases & taken | lost(self, bases)

    monkeypatch.setattr(claims.Claims, "lost", losing)
    result = run(nodes, store=store, executor="inline")
    assert not result.failures and len(set(calls)) == len(calls) >= 12 - len(there)  # nothing twice
    monkeypatch.undo()
    for base in taken:
        store.delete(base + ".claim")
    again = run(nodes, store=store)
    assert [again[node].payload for node in nodes] == list(range(12))


PROCESS = """
import os, sys, time
from persistable import Persistable
from persistable.records import claims, heartbeat
from persistable.records.key import Placed
heartbeat.TTL = 1.5
class At(Persistable[str, None]):
    def _generate_payload(self, **_):
        open(sys.argv[2], "w").write("begun")
        while not os.path.exists(sys.argv[3]): time.sleep(0.01)
        return f"by {os.getpid()} " * 1000
if sys.argv[4] == "placed":
    At._node_custom_path = "out/x.txt"
print(At(sys.argv[1]).generate().payload[:20])
"""


@pytest.mark.parametrize("kind", ["plain", "placed"])
def test_an_owner_that_slept_and_finishes_before_its_successor(tmp_path: Path, kind: str) -> None:
    def start(name: str) -> subprocess.Popen[str]:
        arguments = [str(tmp_path / "data"), str(tmp_path / f"{name}-begun"), str(tmp_path / f"{name}-go"), kind]
        return subprocess.Popen([sys.executable, "-W", "ignore", "-c", PROCESS, *arguments], stdout=subprocess.PIPE, text=True)

    def wait_for(name: str) -> None:
        deadline = time.monotonic() + 60
        while not (tmp_path / f"{name}-begun").exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    first = start("first")
    wait_for("first")
    os.kill(first.pid, signal.SIGSTOP)
    second = start("second")
    try:
        wait_for("second")
        (tmp_path / "first-go").touch()
        os.kill(first.pid, signal.SIGCONT)
        out, _ = first.communicate(timeout=60)
        assert f"by {first.pid} " in out
        (tmp_path / "second-go").touch()
        assert second.communicate(timeout=60)[0] == out
    finally:
        for process in (first, second):
            process.kill()
            process.wait()
