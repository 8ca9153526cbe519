"""A folder behind a real sshd, through sshfs: claims, commits, dropped connections and killed processes."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from refusals import assert_one_error
from servers.fixtures import SSHServer
from servers.needs import absent, free_port, need
from servers.switched import Switch, switched

from persistable import Persistable
from persistable.errors import StoreError, StoreUnavailable
from persistable.stores import Store, open_store
from persistable.stores import object as object_store
from persistable.stores.base import stat_many
from persistable.stores.filesystem import Files
from persistable.testing.processes import Gate, everything_below, started

LARGE = bytes(range(256)) * 40_000


@pytest.fixture(autouse=True)
def installed() -> None:
    need("sshfs", "asyncssh")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def switch(ssh_server: SSHServer) -> Iterator[Switch]:
    with switched(f"http://127.0.0.1:{ssh_server.port}") as switch:
        yield switch


def opened(server: SSHServer, folder: Path, port: int = 0, **options: Any) -> Store:
    given = {"client_keys": [str(server.key)], "known_hosts": str(server.known_hosts), **options}
    return open_store(f"sftp://{server.user}@127.0.0.1:{port or server.port}{folder}", **given)


class Slow(Persistable[bytes, None]):
    payload_name = "slow"

    def _generate_payload(self, **_: Any) -> bytes:
        waiting.wait()
        return b"made"


class _Waiting:
    gate: Gate | None = None

    def wait(self) -> None:
        if self.gate is not None:
            self.gate.wait()
            time.sleep(600)


waiting = _Waiting()


def generate_and_wait(_number: int, gate: Gate, store: Store) -> None:
    waiting.gate = gate
    Slow(store).generate()


def write_and_wait(_number: int, gate: Gate, store: Store, path: str) -> None:
    with store.write(path) as file:
        file.write(LARGE)
        gate.wait()


def test_what_killed_processes_left_is_removed_by_who_comes_next(ssh_server: SSHServer, folder: Path) -> None:
    """The claim of a generation, and the bytes of a write that never ended."""
    store = opened(ssh_server, folder)
    node = Slow(store)
    with (
        started(1, generate_and_wait, store) as (generating,),
        started(1, write_and_wait, store, node.key.path + ".12345678.bin") as (writing,),
        started(1, write_and_wait, store, "slow/other.bin") as (other,),
    ):
        for process in (generating, writing, other):
            assert process.stdout is not None
            assert process.stdout.readline() == "wait\n"
            process.kill()
            process.wait(30)
    left = everything_below(folder)
    assert any(path.endswith(".claim") for path in left)
    assert len([path for path in left if path.endswith(".tmp")]) == 2
    assert Slow(store).payload == b"made"
    left = everything_below(folder)
    assert not [path for path in left if ".claim" in path]
    assert [path.startswith("slow/.other.bin.") for path in left if path.endswith(".tmp")] == [True]


def switchable(server: SSHServer, folder: Path, switch: Switch) -> Store:
    Path(str(server.known_hosts) + ".switched").write_text(Path(server.known_hosts).read_text().replace(str(server.port), str(switch.port)))
    return opened(server, folder, switch.port, known_hosts=f"{server.known_hosts}.switched")


CALLS: dict[str, Callable[[Store], object]] = {
    "get_many": lambda store: store.get_many(["a/x", "a/y"]) == {"a/x": b"old"},
    "stat_many": lambda store: stat_many(store, ["a/x", "a/y"]).keys() == {"a/x"},
    "put": lambda store: store.put("a/x", b"new") is None and store.get("a/x") == b"new",
    "create": lambda store: store.create("a/y", b"1") and not store.create("a/y", b"2"),
    "write": lambda store: written(store) and store.get("a/x") == LARGE,
    "delete": lambda store: store.delete("a/x") and not store.exists("a/x"),
}


def written(store: Store) -> bool:
    with store.write("a/x") as file:
        file.write(LARGE)
    return True


@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_is_away_for_a_moment_is_waited_for(ssh_server: SSHServer, folder: Path, switch: Switch, call: str) -> None:
    store = switchable(ssh_server, folder, switch)
    store.put("a/x", b"old")
    switch.cut()
    back = threading.Timer(1.0, lambda: setattr(switch, "is_down", False))
    back.start()
    try:
        assert CALLS[call](store)
    finally:
        back.join()


def test_what_was_created_is_known_to_be_ones_own_where_the_answer_was_lost(
    ssh_server: SSHServer, folder: Path, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = switchable(ssh_server, folder, switch)
    store.put("a/x", b"old")
    renamed = Files._plain_rename

    def lost(self: Files, old: str, new: str) -> None:
        renamed(self, old, new)
        monkeypatch.setattr(Files, "_plain_rename", renamed)
        switch.cut()
        switch.is_down = False
        self.fs.cat_file(new)

    monkeypatch.setattr(Files, "_plain_rename", lost)
    assert store.create("a/claim", b"1")
    assert not store.create("a/claim", b"2") and store.get("a/claim") == b"1"


def test_a_connection_that_breaks_in_the_middle_of_a_write_leaves_the_old_bytes(
    ssh_server: SSHServer, folder: Path, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "PATIENCE", 0.5)
    store = switchable(ssh_server, folder, switch)
    store.put("a/x", b"old")

    def write() -> None:
        with store.write("a/x") as file:
            file.write(LARGE)
            switch.cut()
            file.write(LARGE * 2)

    with pytest.raises(StoreUnavailable):
        write()
    assert (folder / "a/x").read_bytes() == b"old"
    with pytest.raises(StoreUnavailable):
        store.get("a/x")
    switch.is_down = False
    assert store.get("a/x") == b"old"
    assert store.create("a/claim", b"1") and not store.create("a/claim", b"2")
    with store.write("a/x") as file:
        file.write(LARGE)
    assert (folder / "a/x").read_bytes() == LARGE


def test_refusals_are_one_error_before_any_work(ssh_server: SSHServer, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "nobody").write_text("")
    assert_one_error(opened(ssh_server, folder, known_hosts=str(tmp_path / "nobody")), StoreError, "Host key is not trusted")
    assert_one_error(opened(ssh_server, folder, client_keys=[], password="hunter2", agent_path=None), StoreError, "Permission denied")
    assert_one_error(opened(ssh_server, folder, free_port()), StoreUnavailable, "check the address")
    assert not folder.exists()


def test_a_full_disk_on_the_other_side(ssh_server: SSHServer, folder: Path) -> None:
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode:
        absent("this user may not mount a file system")
    try:
        store = opened(ssh_server, folder)
        store.put("x", b"old")
        with pytest.raises(StoreError, match="see whether its disk is full"):
            store.put("x", LARGE)
        with pytest.raises(StoreError, match="see whether its disk is full"), store.write("x") as file:
            file.write(LARGE)
        assert store.get("x") == b"old"
        assert everything_below(folder) == ["x"]
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
