"""A commit is never undone once its record may stand, whichever call of the store fails, loses its answer or is interrupted."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from records.test_first_commit import PROCESS

from faults.faulty import FAULTS, FaultyLocal, FaultySQLite, Remote, failing
from persistable import Persistable
from persistable.errors import LineageCycle, PayloadNotFound, StoreError
from persistable.fileio import BundleFileIO, JsonFileIO
from persistable.records import claims, commit, heartbeat, leftovers
from persistable.records.scratch import own_folder
from persistable.stores import LayeredStore, open_store

pytestmark = pytest.mark.filterwarnings("ignore")
made = {"value": 0}


class Plain(Persistable[int, None]):
    def _generate_payload(self, **_: Any) -> int:
        return made["value"]


class Many(Persistable[Any, None]):
    def _generate_payload(self, **_: Any) -> Any:
        for number in range(2):
            yield number, made["value"]


class AtPath(Persistable[int, None]):
    def _generate_payload(self, **_: Any) -> int:
        return made["value"]


class PartsAtPath(Persistable[dict[str, int], None]):
    io = BundleFileIO({"a": JsonFileIO(), "b": JsonFileIO()})

    def _generate_payload(self, **_: Any) -> dict[str, int]:
        return dict.fromkeys("ab", made["value"])


# as a workspace places them; no class of a user may say it
AtPath._node_custom_path = "out/plain.pickle"
PartsAtPath._node_custom_path = "out/parts.bundle"


STORES: dict[str, Callable[[Path], Any]] = {
    "folder": lambda path: FaultyLocal(path / "data"),
    "sqlite": lambda path: FaultySQLite(path / "data.db"),
    "remote": lambda path: Remote(path / "data"),
    "layered": lambda path: LayeredStore(FaultyLocal(path / "fast"), Remote(path / "slow")),
}
ACTS: dict[str, tuple[type[Any], Callable[[Any], Any]]] = {
    "payload": (Plain, lambda node: node.payload),
    "generate": (Plain, lambda node: node.generate()),
    "put": (Plain, lambda node: node.put(1)),
    "persist": (Plain, lambda node: node.generate(persist=False).persist()),
    "delete": (Plain, lambda node: node.delete()),
    "items": (Many, lambda node: node.generate()),
    "placed": (AtPath, lambda node: node.generate()),
}


def loaded(node: Any) -> Any:
    try:
        payload = node.load().payload
    except PayloadNotFound:
        return None
    if isinstance(payload, int):
        return payload
    (value,) = {value for _, value in payload.items()}
    return value


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persistable.records.commit._PAUSE", 0.001)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("store", STORES)
def test_whichever_call_fails_what_is_there_is_the_old_payload_or_the_new(tmp_path: Path, store: str, act: str) -> None:
    kind, do = ACTS[act]
    hits = 0
    for fault in FAULTS:
        for at in range(200):
            every = 2 if fault in ("lost", "interrupted after") else 7
            if at % every != FAULTS.index(fault) % every:
                continue  # those two are where a record may stand
            where = STORES[store](tmp_path / f"{fault}-{at}".replace(" ", "-"))
            made["value"] = 0
            if act != "payload":
                kind(where).generate()
            before = None if act == "payload" else 0
            made["value"] = 1
            raised = None
            with failing(fault, at) as failed:
                try:
                    do(kind(where))
                except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001
                    raised = error
            if not failed.hit:
                break
            hits += 1
            if store == "layered":
                where.sync()  # the fast one stands in for the slow one until it is asked again
            found = loaded(kind(where))
            after = None if act == "delete" else 1
            if store == "layered":  # a fast layer that could be neither written nor cleared may keep what it had
                assert found in (before, after)
                found = loaded(kind(Remote(Path(where.layers[1].store.root))))
            assert found == after or (raised is not None and found == before), (fault, at, failed.hit, raised, found)
    assert hits > 5


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", [Plain, Many, AtPath, PartsAtPath])
def test_whichever_call_fails_while_a_stand_in_s_payloads_are_brought_home_they_are_whole_there(
    tmp_path: Path, kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persistable.stores.layered.primary.FIRST_LOOK", 1000)  # by `sync` alone
    for fault in FAULTS:
        for at in range(200):
            folder = tmp_path / f"{fault}-{at}"
            where = STORES["layered"](folder)
            made["value"] = 0
            kind(where).generate()
            made["value"] = 1
            slow = Remote(folder / "slow")
            with failing("down", 0, only=Remote):
                kind(where).generate()
            assert loaded(kind(where)) == 1 and loaded(kind(slow)) == 0
            with failing(fault, at) as failed, suppress(KeyboardInterrupt, StoreError):
                where.sync()
            assert loaded(kind(slow)) in (0, 1), (fault, at, failed.hit)
            again = STORES["layered"](folder)  # as another process has it
            again.sync()
            for store in (slow, where, again):
                assert loaded(kind(store)) == 1, (fault, at, failed.hit)
            for layer in again.layers:
                assert not [*layer.store.list(".persistable/pending"), *layer.store.list(".persistable/placing")]
            if not failed.hit:
                break
        assert at > 4


def test_a_payload_at_a_readable_path_that_was_made_in_two_places_is_the_one_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persistable.stores.layered.primary.FIRST_LOOK", 1000)
    where, slow = STORES["layered"](tmp_path), Remote(tmp_path / "slow")
    made["value"] = 1
    with failing("down", 0, only=Remote):
        AtPath(where).generate()
    made["value"] = 2
    AtPath(slow).generate()
    where.sync()
    assert [loaded(AtPath(store)) for store in (slow, where, STORES["layered"](tmp_path))] == [2, 2, 2]


@pytest.mark.parametrize("path", ["x/y.txt", f"x/{'0' * 32}.{'1' * 8}.txt"])
@pytest.mark.parametrize("by", ["this process", "another"])
def test_what_is_being_written_to_a_stand_in_while_the_home_comes_back_arrives_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, by: str
) -> None:
    monkeypatch.setattr("persistable.stores.layered.primary.FIRST_LOOK", 1000)
    where, slow = STORES["layered"](tmp_path), Remote(tmp_path / "slow")
    with failing("down", 0, only=Remote):
        where.put("a/b", b"1")
        block = where.write(path)
        file = block.__enter__()
        file.write(b"first, ")
    (where if by == "this process" else STORES["layered"](tmp_path)).sync()
    file.write(b"second")
    block.__exit__(None, None, None)
    assert where.get(path) == b"first, second"
    STORES["layered"](tmp_path).sync()
    assert slow.get(path) == b"first, second" and slow.get("a/b") == b"1"
    assert STORES["layered"](tmp_path).get(path) == b"first, second"


@pytest.mark.parametrize("path", ["x/y.txt", f"x/{'0' * 32}.record.json"])
def test_layers_of_which_none_answers_say_so(tmp_path: Path, path: str) -> None:
    where = STORES["layered"](tmp_path)
    for call in (where.exists, where.get, where.stat, lambda path: where.get_many([path]), lambda path: where.put(path, b"")):
        with failing("down", 0), pytest.raises(StoreError):
            call(path)


SCRIPTS = Path(__file__).parent


@pytest.mark.parametrize("kind", ["folder", "sqlite"])
def test_interrupts_of_a_process_that_lives_on_lose_nothing_and_keep_nobody_out(tmp_path: Path, kind: str) -> None:
    url = str(tmp_path / "data") if kind == "folder" else f"sqlite:///{tmp_path}/data.db"
    loops = 240 if kind == "folder" else 120
    command = [sys.executable, "-W", "ignore", str(SCRIPTS / "interrupted.py"), url, str(loops), "7"]
    living = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert living.stdin is not None and living.stdout is not None
        said = living.stdout.readline().split()
        assert said[:2] == ["lives", "on"] and int(said[2]) > loops / 2
        check = (
            f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\n"
            "from interrupted import number\n"
            f"for n in range({loops // 2}):\n"
            f"    found = number.step(n=n).bind({url!r}).payload\n"
            f"    assert found in ([n] * 200, [n], [n + {loops // 2}]), (n, found[:3])\n"
        )
        begun = time.monotonic()
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", check], capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - begun < 30
        while list((tmp_path / "data").rglob("*.claim*")):  # the heartbeat of the living process removes those of interrupted calls
            assert time.monotonic() - begun < 30
            time.sleep(0.1)
    finally:
        living.kill()
        living.communicate()


def test_a_claim_whose_call_is_over_is_given_up_while_its_process_lives_on(tmp_path: Path) -> None:
    store = LayeredStore(tmp_path).layers[0].store

    def interrupted() -> None:
        claims.acquire(store, "x/a", lambda: False, claims.current_frame())  # and nobody lets go

    def waits() -> bool:
        return store.exists("x/a.claim")

    interrupted()
    assert waits()
    deadline = time.monotonic() + 30
    while waits() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not waits()

    def held() -> None:
        claim = claims.acquire(store, "x/a", lambda: False, claims.current_frame())
        time.sleep(3 * heartbeat._LOOK)
        assert waits() and claim is not None
        claim.release()

    held()
    assert not waits()


def test_an_owner_that_slept_touches_nothing_at_a_readable_path_and_takes_what_its_successor_committed(tmp_path: Path) -> None:
    begun, go, data = tmp_path / "begun", tmp_path / "go", tmp_path / "data"
    script = [sys.executable, "-W", "ignore", "-c", PROCESS, str(data), str(begun), str(go), "placed"]
    owner = subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(owner.pid, signal.SIGSTOP)
        go.touch()
        other = subprocess.run(script, capture_output=True, text=True, timeout=60)
        assert other.returncode == 0, other.stderr
        file = data / "out" / "x.txt"
        there, inode = file.read_bytes(), file.stat().st_ino
        os.kill(owner.pid, signal.SIGCONT)
        out, err = owner.communicate(timeout=60)
        assert owner.returncode == 0, err
        assert out == other.stdout  # it took the other's
        assert file.read_bytes() == there and file.stat().st_ino == inode
        assert not list((data / ".persistable" / "placing").rglob("*-x.txt"))
    finally:
        owner.kill()
        owner.wait()


def test_scratch_of_a_store_that_is_no_folder_is_nobody_else_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    usual, other = tmp_path / "tmp" / f"persistable-{os.geteuid()}", tmp_path / "state" / "persistable" / "scratch"
    assert own_folder() == usual and stat.S_IMODE(usual.stat().st_mode) == 0o700
    usual.chmod(0o755)
    assert own_folder() == usual and stat.S_IMODE(usual.stat().st_mode) == 0o700
    usual.chmod(0o770)  # anybody of the group may have put something into it
    assert own_folder() == other and stat.S_IMODE(other.stat().st_mode) == 0o700
    usual.rmdir()
    usual.symlink_to(other)
    assert own_folder() == other
    usual.unlink()
    usual.write_text("a file")
    assert own_folder() == other
    other.chmod(0o777)
    with pytest.raises(StoreError, match="XDG_STATE_HOME"):
        own_folder()
    if os.geteuid() == 0:
        usual.unlink()
        other.chmod(0o700)
        usual.mkdir(0o700)
        os.chown(usual, 65534, 65534)
        assert own_folder() == other


class Self(Persistable[int, None]):
    def _generate_payload(self, **_: Any) -> int:
        return int(type(self)(self.store).payload) + 1


class One(Persistable[int, None]):
    def _generate_payload(self, **_: Any) -> int:
        both_begin("one")
        return Other(self.store).payload + 1


class Other(Persistable[int, None]):
    def _generate_payload(self, **_: Any) -> int:
        both_begin("other")
        return One(self.store).payload + 1


begun: set[str] = set()


def both_begin(name: str) -> None:
    begun.add(name)
    deadline = time.monotonic() + 20
    while len(begun) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_node_that_asks_for_its_own_payload_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(LineageCycle) as found:
        Self(tmp_path).payload
    assert found.value.nodes == [str(Self(tmp_path).key)] * 2


def test_two_threads_whose_nodes_ask_for_each_other_are_told_so(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        errors = [asked.exception(60) for asked in [pool.submit(lambda node=node: node(tmp_path).payload) for node in (One, Other)]]
    assert all(isinstance(error, LineageCycle) for error in errors), errors


CIRCLE = """
import sys, time
from pathlib import Path
from persistable import Persistable
from persistable.errors import LineageCycle
class One(Persistable[int, None]):
    def _generate_payload(self, **_):
        begin("one")
        return Other(self.store).payload + 1
class Other(Persistable[int, None]):
    def _generate_payload(self, **_):
        begin("other")
        return One(self.store).payload + 1
def begin(name):
    Path(sys.argv[1], "begun-" + name).touch()
    until = time.monotonic() + 60
    while len(list(Path(sys.argv[1]).glob("begun-*"))) < 2 and time.monotonic() < until: time.sleep(0.01)
try:
    {"one": One, "other": Other}[sys.argv[2]](Path(sys.argv[1], "data")).payload
except LineageCycle as error:
    print(*error.nodes)
"""


def test_two_processes_whose_nodes_ask_for_each_other_are_told_so(tmp_path: Path) -> None:
    script = [sys.executable, "-W", "ignore", "-c", CIRCLE, str(tmp_path)]
    both = [subprocess.Popen([*script, name], stdout=subprocess.PIPE, text=True) for name in ("one", "other")]
    try:
        for asking in both:
            nodes = [node.partition("/")[0] for node in asking.communicate(timeout=100)[0].split()]
            assert nodes in (["one", "other", "one"], ["other", "one", "other"]), nodes
    finally:
        for asking in both:
            asking.kill()
    assert not list((tmp_path / "data").rglob("*.claim*"))


def test_what_a_killed_generation_left_goes_with_the_next_commit_of_its_key(tmp_path: Path) -> None:
    code = """
import os, sys
from persistable import Persistable
from persistable.records import claims, commit as commits, leftovers
class Left(Persistable[object, None]):
    def _generate_payload(self, **_):
        (self.scratch / "x").write_text("x")
        for name in "ab":  # what they have in common is kept in a file of its own
            claims.acquire(self.store, name, lambda: False).release()
        return bytes(3000)
    def _validate_payload(self, payload):
        if len(sys.argv) > 2:
            claims.Claim.confirm = lambda *_: os.kill(os.getpid(), 9)
Left(sys.argv[1]).generate()
"""
    for arguments in (["die"], []):
        subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tmp_path), *arguments], timeout=60)
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "store.json"]
    assert len(left) == 2, left  # record and payload


@pytest.mark.usefixtures("quick")
def test_what_an_attempt_left_in_doubt_goes_with_the_first_commit_long_after_it(tmp_path: Path) -> None:
    left = 0
    for at in range(100):
        store = Remote(tmp_path / str(at))
        with failing("refused", at) as failed, suppress(StoreError):
            Plain(store).generate()
        if not failed.hit:
            break
        failure = Path(store.root) / f"{Plain(store).key.path}.failed.json"
        if not failure.exists() or not list(Path(store.root).rglob("*.pickle")):
            continue
        left += 1
        facts = json.loads(failure.read_bytes())
        failure.write_text(json.dumps({**facts, "started": facts["started"] - 5000}))
        commit.uncertain_tokens.clear()  # as another process
        Plain(store).generate()
        assert (
            len(
                [
                    path
                    for path in Path(store.root).rglob("*")
                    if path.is_file() and ".create" not in path.name and path.name != "store.json"
                ]
            )
            == 2
        )
    assert left


HANDS_OVER = """
import os, sys
from persistable import run, step
from persistable.stores import open_store
@step(persist=False)
def large():
    return bytes(100_000)
@step(persist=False)
def next_one(data, driver):
    if driver:
        os.kill(driver, 9)
        os.kill(os.getpid(), 9)
    return data
@step
def size(data):
    return len(data)
store = open_store(sys.argv[1])
if len(sys.argv) > 2:
    for name in "ab":  # what they have in common is kept in a file of its own
        from persistable.records import claims
        claims.acquire(store, name, lambda: False).release()
driver = os.getpid() if len(sys.argv) > 2 else 0
run(size.step(next_one.step(large.step(), driver)), executor="processes", max_workers=2, store=store)
"""


@pytest.mark.parametrize("kind", ["folder", "sqlite", "layers"])
def test_what_a_killed_run_was_handing_over_goes_with_a_later_run(tmp_path: Path, kind: str) -> None:
    data = tmp_path / "data"
    layers = f"layered://?layer=file://{tmp_path}/fast&layer=file://{data}"
    url = {"folder": str(data), "sqlite": f"sqlite:///{tmp_path}/data.db", "layers": layers}[kind]
    script = [sys.executable, "-W", "ignore", "-c", HANDS_OVER, url]
    alive = leftovers.new_handover_prefix()
    with open_store(url) as store:
        store.put(f"{alive}.x", b"of a run that goes on")
        assert subprocess.run([*script, "die"], timeout=60).returncode == -9
        assert len(list(store.list(".persistable/handed"))) == 2
        if kind != "sqlite":
            assert list(data.rglob(".create*"))
        assert subprocess.run(script, timeout=60).returncode == 0
        assert list(store.list(".persistable/handed")) == [f"{alive}.x"]
    left = {path for path in tmp_path.rglob("*") if path.is_file() and "size" not in path.parts and path.name != "store.json"}
    left -= set(tmp_path.glob("data.db*"))
    assert left == ({data / f"{alive}.x"} if kind != "sqlite" else set())
