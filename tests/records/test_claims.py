"""Claims: one owner at a time, whatever dies, sleeps or races."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from persistable import open_store
from persistable.errors import ClaimLost
from persistable.records import claim_watch, claims, heartbeat, owners
from persistable.records.key import Key
from persistable.stores import LocalStore, Store
from persistable.stores.base import Bytes

KEY = Key("x", "0" * 32)


def owner(host: str | None = None, pid: int | None = None, start: str | None = None, token: str = "other") -> bytes:
    mine = json.loads(owners.mine())
    return json.dumps({"host": host or mine["host"], "pid": pid or mine["pid"], "start": start or mine["start"], "token": token}).encode()


def dead_pid() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


def acquire(store: Store) -> claims.Claim:
    claim = claims.acquire(store, "x/a", lambda: False)
    assert claim is not None
    return claim


def test_a_released_claim_leaves_nothing(store: Store) -> None:
    claim = acquire(store)
    assert list(store.list()) == ["x/a.claim"]
    claim.release()
    assert not list(store.list())


def test_a_claim_of_a_dead_process_of_this_host_is_taken_over_at_once_and_the_row_is_cleared(store: Store) -> None:
    store.put("x/a.claim", owner(pid=dead_pid()))
    begun = time.monotonic()
    claim = acquire(store)
    assert time.monotonic() - begun < heartbeat.TTL / 3  # it did not wait for a heartbeat; a busy machine may take its time otherwise
    assert sorted(store.list()) == ["x/a.claim", "x/a.claim.2"]
    claim.release()
    assert not list(store.list())


def test_a_process_number_used_again_is_not_mistaken_for_the_owner(store: Store) -> None:
    store.put("x/a.claim", owner(pid=os.getpid(), start="1"))
    acquire(store).release()


def test_a_claim_cut_short_or_of_garbage_does_not_block_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "TTL", 0.3)
    for content in (b"", b"{", b"[]", b'{"pid": "x"}'):
        store.put("x/a.claim", content)
        acquire(store).release()
        assert not list(store.list())


def test_a_claim_of_another_host_is_taken_over_only_when_its_heartbeat_stands_still(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "TTL", 0.6)
    store.put("x/a.claim", owner(host="elsewhere", pid=1))
    stop, beats = threading.Event(), [time.monotonic()]

    def heart() -> None:
        while not stop.wait(0.1):
            beats.append(time.monotonic())
            store.put("x/a.beat", b"%d" % len(beats))

    thread = threading.Thread(target=heart)
    thread.start()
    timer = threading.Timer(1.5, stop.set)
    timer.start()
    claim = acquire(store)
    taken = time.monotonic()
    timer.join()
    thread.join()
    # whatever the machine did meanwhile: only after a silence, be it the wanted one or one of a thread that was not let run
    heard = [beat for beat in beats if beat < taken]
    assert max(later - earlier for earlier, later in itertools.pairwise([*heard, taken])) > 0.6
    claim.release()


def test_an_owner_that_was_taken_over_notices_before_it_commits(store: Store) -> None:
    claim = acquire(store)
    claim.confirm(KEY)
    store.put("x/a.claim.2", owner())
    claim.ttl = 0.0  # as if it had been held for long
    with pytest.raises(ClaimLost, match="nothing was committed here"):
        claim.confirm(KEY)
    claim.release()
    assert sorted(store.list()) == ["x/a.claim", "x/a.claim.2"]  # the other's row stays


def test_an_owner_whose_file_is_gone_or_another_s_has_lost(store: Store) -> None:
    claim = acquire(store)
    claim.ttl = 0.0
    store.delete("x/a.claim")
    with pytest.raises(ClaimLost):
        claim.confirm(KEY)
    store.put("x/a.claim", owner())
    with pytest.raises(ClaimLost):
        claim.confirm(KEY)
    claim.release()
    assert list(store.list()) == ["x/a.claim"]


def test_a_row_left_without_its_beginning_still_counts(store: Store) -> None:
    """An owner killed while letting go, lowest first, leaves the upper end of the row."""
    store.put("x/a.claim.2", owner(pid=dead_pid()))
    claim = acquire(store)
    claim.confirm(KEY)
    claim.release()
    assert not list(store.list())


@pytest.mark.parametrize("row", [(".claim.2",), (".claim.2", ".claim.3")])
def test_who_comes_while_a_row_is_released_leaves_no_claim(store: Store, row: tuple[str, ...]) -> None:
    """An owner that took over releases the lowest first. A claim made then would stay, and name a process that lives."""
    for suffix in row:
        store.put(f"x/a{suffix}", owner(pid=1, host="elsewhere"))
    before = sorted(store.list())
    assert claims.take_over(store, "x/a") is None
    with pytest.raises(claims.GeneratedElsewhere):
        claims.acquire(store, "x/a", lambda: False, waits=False)
    several = claims.Claims(store, ["x/a", "x/b"])
    assert several.bases == {"x/b"}
    several.release()
    assert sorted(store.list()) == before


def test_who_succeeds_a_row_with_a_gap_leaves_no_claim(store: Store) -> None:
    store.put("x/a.claim", owner(pid=dead_pid()))
    store.put("x/a.claim.3", owner(pid=1, host="elsewhere"))
    assert claims.take_over(store, "x/a") is None
    assert sorted(store.list()) == ["x/a.claim", "x/a.claim.3"]


def test_the_heartbeat_of_who_was_taken_over_goes_with_the_row(store: Store) -> None:
    gone = owner(pid=dead_pid())
    for name in ("x/a", "x/b"):
        store.put(f"{name}.claim", gone)
        store.put(f"{name}.beat", b"3")
    acquire(store).release()
    claim_watch.forget_dead(store, ["x/b"])
    assert not list(store.list())


def test_waiting_ends_when_the_work_is_done(store: Store) -> None:
    done: list[bool] = []
    first = acquire(store)
    found: list[claims.Claim | None] = []
    waiting = threading.Thread(target=lambda: found.append(claims.acquire(store, "x/a", lambda: bool(done))))
    waiting.start()
    time.sleep(0.1)
    done.append(True)
    first.release()
    waiting.join(60)
    assert found == [None] or (found[0] is not None and found[0].waited)


def test_a_long_generation_keeps_its_heart_beating_and_an_idle_process_has_no_heart(tmp_path: Path) -> None:
    code = f"""
import threading, time
from persistable import open_store
from persistable.records import claim_watch, claims, heartbeat, owners
heartbeat.TTL = 1.2
store = open_store({str(tmp_path)!r})
hearts = lambda: [t for t in threading.enumerate() if t.name == "persistable-heartbeat"]
def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
assert not hearts()
claim = claims.acquire(store, "x/a", lambda: False)
wait_for(lambda: store.exists("x/a.beat") and int(store.get("x/a.beat")) >= 2)
assert hearts()
claim.release()
time.sleep(0.5)  # beats
assert not list(store.list()), list(store.list())
wait_for(lambda: not hearts())
claims.acquire(store, "x/a", lambda: False).release()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_letting_go_waits_for_a_beat_under_way(tmp_path: Path) -> None:
    """Else the beat would come after the clearing, and stay."""

    class Slow(LocalStore):
        def put(self, path: str, data: Bytes) -> None:
            beating.set()
            letting_go.wait(60)
            time.sleep(0.1)
            super().put(path, data)

    beating, letting_go, store = threading.Event(), threading.Event(), Slow(tmp_path)
    claim = acquire(store)
    beat = threading.Thread(target=claim.beat)
    beat.start()
    assert beating.wait(60)
    letting_go.set()
    claim.release()
    beat.join()
    assert not list(store.list())


def test_a_claim_that_was_let_go_beats_no_more(store: Store) -> None:
    claim = acquire(store)
    claim.release()
    successor = acquire(store)
    claim.beat()
    assert list(store.list()) == ["x/a.claim"]
    successor.release()


def test_after_a_fork_the_child_is_somebody_else(store: Store) -> None:
    mine = owners.mine()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, owners.mine())
        os._exit(0)
    os.waitpid(pid, 0)
    child = json.loads(os.read(read, 1000))
    assert child["pid"] == pid and child["token"] != json.loads(mine)["token"]


class Row(RuleBasedStateMachine):
    """Any interleaving of creations, deaths, takeovers and releases cut short leaves at most one owner that believes it is one."""

    def __init__(self) -> None:
        super().__init__()
        self.store = open_store(f"memory://row-{id(self)}")
        self.dead: set[str] = set()
        self.names = iter(range(1000))
        self.owners: dict[str, int] = {}

    def _as(self, name: str) -> None:
        owners.written = json.dumps({"host": f"host-{name}", "pid": 1, "start": "1", "token": name}).encode()
        owners._me.update(host=f"host-{name}", pid=1, start="1", token=name)

    @rule()
    def try_to_acquire(self) -> None:
        name = str(next(self.names))
        self._as(name)
        holder, epoch = claim_watch.highest(self.store, "a/b")
        if holder is None:
            predecessor, epoch = None, 1
        elif json.loads(holder)["token"] in self.dead:
            predecessor, epoch = holder, epoch + 1
        else:
            return
        if claims._create(self.store, "a/b", epoch, predecessor):
            self.owners[name] = epoch
        self._check()

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def is_judged_dead(self, data: st.DataObject) -> None:
        self.dead.add(data.draw(st.sampled_from(sorted(self.owners))))

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), steps=st.integers(0, 4))
    def release(self, data: st.DataObject, steps: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.owners)))
        epoch = self.owners[name]
        self._as(name)
        if self._believes(name):
            for number in list(range(1, epoch + 1))[:steps]:
                self.store.delete(claim_watch.path_of("a/b", number))
            if steps < epoch:
                self.dead.add(name)  # killed while letting go
                return
        del self.owners[name]
        self._check()

    def _believes(self, name: str) -> bool:
        self._as(name)
        mine = claim_watch.content_of(self.store, claim_watch.path_of("a/b", self.owners[name])) == owners.mine()
        return mine and not self.store.exists(claim_watch.path_of("a/b", self.owners[name] + 1))

    def _check(self) -> None:
        believing = [name for name in self.owners if name not in self.dead and self._believes(name)]
        assert len(believing) <= 1, believing

    def teardown(self) -> None:
        owners.written = b""
        for path in list(self.store.list()):
            self.store.delete(path)


TestRow = Row.TestCase
TestRow.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("kind", ["folder", "sqlite", "memory", "layers"])
def test_the_ttl_is_said_of_a_store_and_travels_with_it(tmp_path: Path, kind: str) -> None:
    where: object = {
        "folder": str(tmp_path),
        "sqlite": f"sqlite:///{tmp_path}/x.db",
        "memory": "memory://ttl",
        "layers": [str(tmp_path / "a"), {"url": str(tmp_path / "b"), "options": {"claim_ttl": 0.5}}],
    }[kind]
    usual = open_store(where)  # type: ignore[arg-type]
    store = usual if kind == "layers" else open_store(where, claim_ttl=0.5)  # type: ignore[arg-type]
    assert heartbeat.ttl_of(store) == heartbeat.ttl_of(pickle.loads(pickle.dumps(store))) == 0.5
    if kind != "layers":
        assert heartbeat.ttl_of(usual) == heartbeat.TTL == heartbeat.ttl_of(open_store(where))  # type: ignore[arg-type]
    store.put("x/a.claim", owner(host="elsewhere", pid=1))
    begun = time.monotonic()
    claim = acquire(store)
    assert 0.4 < time.monotonic() - begun < 30
    claim.release()
    with pytest.raises(ValueError, match="claim_ttl"):
        open_store(str(tmp_path), claim_ttl=0)
