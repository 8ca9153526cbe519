"""Owners of claims on platforms without /proc, simulated by patched system calls: they are told dead, or the heartbeat decides."""

from __future__ import annotations

import builtins
import ctypes
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.records.waits import between

from persistable import open_store
from persistable.params import process_identity
from persistable.records import claim_watch, claims, owners
from persistable.stores import Store


@pytest.fixture
def no_proc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A platform that has no /proc, as macOS and Windows."""
    real_open, real_exists = builtins.open, os.path.exists

    def guarded(file: Any, *args: Any, **options: Any) -> Any:
        if str(file).startswith("/proc/"):
            raise FileNotFoundError(file)
        return real_open(file, *args, **options)

    monkeypatch.setattr(builtins, "open", guarded)
    monkeypatch.setattr(os.path, "exists", lambda path: not str(path).startswith("/proc/") and real_exists(path))
    monkeypatch.setattr(owners, "written", b"")
    monkeypatch.setattr(owners, "_me", {})
    yield
    owners.written = b""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path, claim_ttl=0.8)


def claim_of(pid: int) -> bytes:
    facts = {**json.loads(owners.mine()), "pid": pid, "token": "other"}
    del facts["check"]
    return json.dumps(facts).encode()


def dead_pid() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def acquire(store: Store) -> claims.Claim:
    claim = claims.acquire(store, "x/a", lambda: False)
    assert claim is not None
    return claim


@pytest.mark.usefixtures("no_proc")
def test_no_start_is_known_and_a_number_that_is_free_is_dead(store: Store) -> None:
    assert json.loads(owners.mine())["start"] is None
    assert owners.is_dead(claim_of(dead_pid()))
    store.put("x/a.claim", claim_of(dead_pid()))
    waits: list[None] = []
    claim = claims.acquire(store, "x/a", lambda: False, waiting=between(lambda: waits.append(None)))
    assert claim is not None and not waits
    claim.release()


@pytest.mark.usefixtures("no_proc")
def test_a_number_used_again_is_taken_over_when_no_heart_beats(store: Store) -> None:
    store.put("x/a.claim", claim_of(os.getppid()))  # somebody else by now, who knows nothing of it
    waits: list[None] = []
    claim = claims.acquire(store, "x/a", lambda: False, waiting=between(lambda: waits.append(None)))
    assert claim is not None and waits
    claim.release()
    assert not list(store.list())


@pytest.mark.usefixtures("no_proc")
def test_an_owner_whose_heart_beats_is_waited_for(store: Store) -> None:
    store.put("x/a.claim", claim_of(os.getppid()))
    beats, looks = iter(range(1_000_000)), iter(range(1_000_000))
    over = threading.Event()

    def beat_at_each_look() -> None:
        store.put("x/a.beat", b"%d" % next(beats))
        if next(looks) == 40:  # several times the TTL
            store.delete("x/a.claim")
            over.set()

    claim = claims.acquire(store, "x/a", lambda: False, waiting=between(beat_at_each_look))
    assert claim is not None and over.is_set()
    claim.release()


@pytest.mark.usefixtures("no_proc")
def test_a_claim_of_this_process_left_behind_is_taken_over_and_one_in_use_is_not(store: Store) -> None:
    store.put("x/a.claim", owners.mine())
    acquire(store).release()
    held = acquire(store)
    watch = claim_watch.ClaimWatch(store, "x/a")
    assert watch.look() == watch.look() == "held"
    held.release()
    assert watch.look() == "free"


def test_a_claim_without_a_start_is_judged_by_its_heart_also_where_starts_are_known(store: Store) -> None:
    facts = {**json.loads(owners.mine()), "pid": os.getppid(), "start": None, "token": "other"}
    del facts["check"]
    assert owners.state_of(facts) == "unknown"
    store.put("x/a.claim", json.dumps(facts).encode())
    acquire(store).release()


class Kernel:
    """The calls of kernel32 that are used, for processes in a table: number and exit status."""

    def __init__(self, table: dict[int, int], refused: int) -> None:
        self.table, self.refused, self.open = table, refused, 0
        self.OpenProcess = Call(self._open)
        self.GetExitCodeProcess = Call(self._status)
        self.CloseHandle = Call(self._close)

    def _open(self, access: int, inherit: bool, pid: int) -> int | None:
        assert access == 0x1000 and not inherit
        self.open += pid in self.table
        return pid if pid in self.table else None

    def _status(self, handle: Any, into: Any) -> int:
        into._obj.value = self.table[handle.value]
        return 1

    def _close(self, handle: Any) -> int:
        self.open -= 1
        return 1


class Call:
    restype: Any = None

    def __init__(self, act: Any) -> None:
        self.act = act

    def __call__(self, *args: Any) -> Any:
        return self.act(*args)


@pytest.mark.usefixtures("no_proc")
@pytest.mark.parametrize(("refused", "absent"), [(87, "dead"), (5, "unknown")])
def test_windows_is_asked_by_a_handle_and_never_by_a_signal(monkeypatch: pytest.MonkeyPatch, refused: int, absent: str) -> None:
    kernel = Kernel({100: 259, 200: 0}, refused)
    monkeypatch.setattr(ctypes, "WinDLL", lambda name, **_: kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: refused, raising=False)
    monkeypatch.setattr(owners, "_WINDOWS", True)

    def signalled(*_: Any) -> None:
        raise AssertionError("os.kill(pid, 0) is Ctrl-C there")

    monkeypatch.setattr(os, "kill", signalled)
    host = json.loads(owners.mine())["host"]
    states = [owners.state_of({"host": host, "pid": pid, "start": None}) for pid in (100, 200, 300)]
    assert states == ["unknown", "dead", absent]
    assert kernel.open == 0


class Sysctl:
    """The C library of a system whose sysctl knows these values."""

    def __init__(self, values: dict[bytes, bytes]) -> None:
        self.values = values

    def sysctlbyname(self, name: bytes, room: Any, size: Any, new: None, length: Any) -> int:
        if name not in self.values:
            return -1
        room.value = self.values[name]
        size._obj.value = len(self.values[name])
        return 0


@pytest.mark.usefixtures("no_proc")
@pytest.mark.parametrize("name", [b"kern.bootsessionuuid", b"kern.boot_id", b"kern.boottime"])
def test_a_claim_from_before_the_last_start_of_the_machine_is_not_of_this_host(monkeypatch: pytest.MonkeyPatch, name: bytes) -> None:
    found = []
    for value in (b"11111111", b"22222222", b"22222222"):
        monkeypatch.setattr(ctypes, "CDLL", lambda _, value=value: Sysctl({name: value}))
        found.append(process_identity.host())
    assert found[0] != found[1] == found[2]
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert process_identity.host() not in found  # no sysctl: the name alone
