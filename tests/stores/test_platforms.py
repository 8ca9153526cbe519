"""Other platforms and file systems, simulated by patched system calls: Windows, FAT, folded names, coarse clocks, NFS."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persistable import Persistable, Status, open_store, run, step
from persistable.errors import FileInUseWarning, StoreReadOnly, StoreUnavailable
from persistable.fileio import ArrowFileIO, JsonFileIO, NumpyFileIO, PickleFileIO, memory_maps
from persistable.params import mounts
from persistable.records import claim_watch, owners
from persistable.records.failure import Failure
from persistable.stores import LayeredStore, LocalStore, local
from persistable.testing.stores import StoreContract

pytestmark = pytest.mark.filterwarnings("ignore::persistable.errors.UnwatchedCodeWarning")


class System:
    """The module `os` as stores of folders see it, of which some calls are others."""

    def __init__(self, **calls: Any) -> None:
        self.calls = calls

    def __getattr__(self, name: str) -> Any:
        if name in self.calls and self.calls[name] is None:
            raise AttributeError(name)
        return self.calls.get(name) or getattr(os, name)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replaces system calls, by name."""
    return lambda **calls: monkeypatch.setattr(local, "os", System(**calls))


made = {"value": 0, "calls": 0}


class Plain(Persistable[int, None]):
    io = JsonFileIO()

    def _generate_payload(self, **_: Any) -> int:
        made["calls"] += 1
        return made["value"]


class At(Plain):
    pass


class AtOther(Plain):
    pass


At._node_custom_path = "out/x.json"
AtOther._node_custom_path = "out/X.json"


@pytest.fixture(autouse=True)
def fresh() -> None:
    made.update(value=0, calls=0)


def refusing(call: Callable[..., Any], code: int, which: Callable[[str], bool], times: int = 1 << 30) -> Callable[..., Any]:
    """`call`, refused for those paths that it changes which are `which`, so many times."""
    left = [times]

    def refused(*args: Any, **options: Any) -> Any:
        if which(str(args[-1])) and left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code), args[-1])
        return call(*args, **options)

    return refused


# --- Windows: a file that is open, mapped or scanned can be neither removed nor replaced


@pytest.mark.parametrize("kind", [Plain, At])
def test_a_removal_refused_after_the_commit_fails_nothing(tmp_path: Path, system: Callable[..., None], kind: type[Any]) -> None:
    kind(tmp_path).generate()
    made["value"] = 1
    system(unlink=refusing(os.unlink, errno.EACCES, lambda path: ".claim" not in path and ".create" not in path))
    assert kind(tmp_path).generate().payload == 1
    made["value"] = 2
    assert kind(tmp_path).generate().payload == 2 == kind(tmp_path).load().payload
    system()
    kind(tmp_path).generate()  # and with it goes what was left
    assert kind(tmp_path).delete()
    left = [path.name for path in tmp_path.rglob("*") if path.is_file() and ".create" not in path.name]
    assert left == ["store.json"]


def test_one_file_that_cannot_be_removed_keeps_no_other_from_being_removed(tmp_path: Path, system: Callable[..., None]) -> None:
    store = open_store(tmp_path)
    node = Plain(store)
    node.generate()
    (old,) = [path for path in store.list() if not path.endswith(".record.json")]
    failed = node.key.path + ".failed.json"
    store.put(failed, Failure(node.key, "ValueError", "", "", 1, {}, "", 0.0, 0.0, {}).to_bytes())
    system(unlink=refusing(os.unlink, errno.EACCES, lambda path: path.endswith(".failed.json")))
    node.generate()
    assert store.exists(failed) and not store.exists(old)


def test_what_is_in_use_for_a_moment_is_replaced_on_windows_and_refused_at_once_elsewhere(
    tmp_path: Path, system: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    store.put("a/b", b"old")
    system(replace=refusing(os.replace, errno.EACCES, lambda path: path.endswith("b"), 3))
    with pytest.raises(StoreReadOnly):
        store.put("a/b", b"new")
    monkeypatch.setattr(local, "_WINDOWS", True)
    for number, write in enumerate((store.put, lambda path, data: written(store, path, data))):
        system(replace=refusing(os.replace, errno.EACCES, lambda path: path.endswith("b"), 3))
        write("a/b", b"new %d" % number)
        assert store.get("a/b") == b"new %d" % number
    system(open=refusing_first(os.open, errno.EACCES, 2), stat=refusing_first(os.stat, errno.EACCES, 2))
    assert store.get("a/b") == b"new 1" and store.stat("a/b") is not None


def written(store: Any, path: str, data: bytes) -> None:
    with store.write(path) as file:
        file.write(data)


def refusing_first(call: Callable[..., Any], code: int, times: int) -> Callable[..., Any]:
    return refusing(call, code, lambda _: True, times)


def test_a_readable_path_that_is_in_use_is_written_when_it_is_next_loaded(tmp_path: Path, system: Callable[..., None]) -> None:
    At(tmp_path).generate()
    made["value"] = 1
    system(replace=refusing(os.replace, errno.EACCES, lambda path: path.endswith("out/x.json")))
    node = At(tmp_path)
    with pytest.warns(FileInUseWarning, match=r"out/x\.json when it is next loaded"):
        assert node.generate().payload == 1
    assert json.loads((tmp_path / "out" / "x.json").read_bytes()) == 0
    for _ in range(2):
        assert At(tmp_path).payload == 1 and At(tmp_path).status is Status.DONE
    assert made["calls"] == 2
    system()
    assert At(tmp_path).payload == 1
    assert json.loads((tmp_path / "out" / "x.json").read_bytes()) == 1
    assert not list((tmp_path / ".persistable" / "placing").rglob("*-x.json"))


# --- no hard links


@pytest.fixture(params=[errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, None])
def linkless(request: pytest.FixtureRequest, system: Callable[..., None]) -> None:
    """FAT, exFAT and some network mounts; None: a platform that has no such call."""
    system(link=None if request.param is None else refusing(os.link, request.param, lambda _: True))


@pytest.mark.usefixtures("linkless")
def test_without_hard_links_one_of_many_creates_and_one_generates(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            won = list(pool.map(lambda n, number=number: store.create(f"a/{number}", b"%d" % n), range(8)))
            assert won.count(True) == 1 and store.get(f"a/{number}") == b"%d" % won.index(True)
        assert set(pool.map(lambda _: Plain(tmp_path).payload, range(8))) == {0}
    assert made["calls"] == 1
    assert not list(tmp_path.rglob("*.claim*"))


class TestWithoutLinks(StoreContract):
    examples = 10
    rounds = 10

    @pytest.fixture
    def store(self, tmp_path: Path, system: Callable[..., None]) -> LocalStore:
        system(link=refusing(os.link, errno.EPERM, lambda _: True))
        return LocalStore(tmp_path)


def test_a_claim_cut_short_by_a_kill_is_taken_over(tmp_path: Path, system: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    system(link=refusing(os.link, errno.EPERM, lambda _: True))
    monkeypatch.setattr(claim_watch, "_GRACE", 0.05)
    node = Plain(tmp_path)
    open_store(tmp_path).put(node.key.path + ".claim", owners.mine()[:20])
    assert node.payload == 0


# --- names that differ in case only


class Folding(System):
    """A file system on which `Points` and `points` are one, below a folder."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = str(root) + "/"

    def _folded(self, path: Any) -> Any:
        return self._root + path[len(self._root) :].casefold() if isinstance(path, str) and path.startswith(self._root) else path

    def __getattr__(self, name: str) -> Any:
        call = getattr(os, name)
        if name not in ("open", "stat", "access", "link", "unlink", "replace", "makedirs", "scandir", "listdir", "walk"):
            return call
        return lambda *args, **options: call(*[self._folded(arg) for arg in args], **options)


def test_names_that_differ_in_case_only_are_kept_apart_by_their_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "os", Folding(tmp_path))
    monkeypatch.setattr(LocalStore, "local_path", lambda self, path: Path(local.os._folded(self._prefix + path)))

    @step(name="Points")
    def upper() -> str:
        return "upper"

    @step(name="points")
    def lower() -> str:
        return "lower"

    store = open_store(tmp_path)
    for _ in range(2):
        result = run([upper.step(), lower.step()], store=store)
        assert [result[node].payload for node in (upper.step(), lower.step())] == ["upper", "lower"]
    assert result.counts["reused"] == 2
    first, second = At(store), AtOther(store)
    made["value"] = 1
    assert first.payload == 1
    made["value"] = 2
    assert second.payload == 2  # one file: the later has it, and neither is taken for the other
    made["value"] = 3
    assert At(store).payload == 3
    assert At(store).payload == 3


# --- coarse clocks


def test_bytes_changed_within_one_tick_of_a_coarse_clock_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tick = 2_000_000_000

    class Coarse(System):
        @staticmethod
        def fstat(descriptor: int) -> Any:
            real = os.fstat(descriptor)

            class Status:
                st_mtime_ns = real.st_mtime_ns // tick * tick
                st_ctime_ns = real.st_ctime_ns // tick * tick
                st_dev, st_ino, st_size = real.st_dev, real.st_ino, real.st_size

            return Status

    monkeypatch.setattr("persistable.records.files.os", Coarse())

    @step(io=NumpyFileIO())
    def many() -> Any:
        return np.arange(400_000)

    store = open_store(tmp_path)
    node = many.step()
    run(node, store=store)
    (file,) = tmp_path.rglob("*.npy")
    assert run(node, store=store)[node].part(rows=slice(0, 2)).tolist() == [0, 1]
    with file.open("r+b") as raw:  # the same inode, size and tick
        raw.seek(-8, os.SEEK_END)
        raw.write(b"\xff" * 8)
    with pytest.warns(UserWarning, match="its digest is"):
        assert run(node, store=store)[node].payload[-1] == 399_999


# --- network file systems: what another host has done is seen late, and handles go stale


def stale_first(call: Callable[..., Any], which: Callable[[str], bool], times: int) -> Callable[..., Any]:
    left = [times]

    def stale(path: Any, *args: Any, **options: Any) -> Any:
        if which(str(path)) and left[0]:
            left[0] -= 1
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)
        return call(path, *args, **options)

    return stale


def test_a_stale_handle_is_opened_anew_and_one_that_stays_stale_is_an_error(
    tmp_path: Path, system: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    Plain(tmp_path).generate()
    system(open=stale_first(os.open, lambda path: "record" in path, 2), stat=stale_first(os.stat, lambda path: "Plain" in path, 2))
    assert Plain(tmp_path).load().payload == 0
    monkeypatch.setattr(local, "_PAUSES", (0.0, 0.0))
    system(open=stale_first(os.open, lambda path: "record" in path, 1 << 30))
    with pytest.raises(StoreUnavailable, match=r"[Ss]tale"):
        Plain(tmp_path).load()


def test_a_listing_that_lacks_what_is_new_loses_nothing(tmp_path: Path, system: Callable[..., None]) -> None:
    class Empty:
        def __enter__(self) -> Any:
            return self

        def __iter__(self) -> Any:
            return iter(())

        def __exit__(self, *_: object) -> None:
            return None

    system(scandir=lambda _: Empty(), listdir=lambda _: [])
    assert Plain(tmp_path).payload == 0
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    facts = {**json.loads(owners.mine()), "pid": dead.pid, "token": "dead"}
    del facts["check"]
    made["value"] = 1
    store = open_store(tmp_path)
    store.put(Plain(tmp_path).key.path + ".claim", json.dumps(facts).encode())
    assert Plain(tmp_path).generate().payload == 1  # taken over, and swept
    assert Plain(tmp_path).load().payload == 1 and made["calls"] == 2


def test_a_waiter_that_sees_files_of_others_late_loads_what_they_have_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS remembers that a file is absent, until this host itself creates one in that folder."""
    absent: set[str] = set()

    class Remembering(System):
        def __getattr__(self, name: str) -> Any:
            call = getattr(os, name)
            if name == "link":
                return lambda source, target: (call(source, target), absent.clear())[0]
            if name not in ("open", "stat", "access"):
                return call

            def asked(path: Any, *args: Any, **options: Any) -> Any:
                if path in absent or (not os.path.exists(path) and ".tmp" not in str(path)):
                    absent.add(str(path))
                    if name == "access":
                        return False
                    raise FileNotFoundError(errno.ENOENT, "remembered", path)
                return call(path, *args, **options)

            return asked

    apart = open_store(tmp_path / "apart")
    made["value"] = 7
    Plain(apart).generate()
    data = tmp_path / "data"
    node = Plain(data)
    (data / "plain").mkdir(parents=True)
    facts = {**json.loads(owners.mine()), "pid": 1, "start": owners._start_of(1), "token": "other"}
    del facts["check"]
    claim = data / f"{node.key.path}.claim"
    claim.write_text(json.dumps(facts))
    monkeypatch.setattr(local, "os", Remembering())

    def commit() -> None:
        for path in apart.list():
            (data / path).write_bytes((tmp_path / "apart" / path).read_bytes())
        claim.unlink()

    timer = threading.Timer(0.5, commit)
    timer.start()
    assert node.generate().payload == 7
    timer.join()
    assert made["calls"] == 1 and absent


# --- maps


@step(io=NumpyFileIO())
def large_npy() -> Any:
    return np.arange(400_000)


@step(io=PickleFileIO())
def large_pickle() -> Any:
    return np.arange(400_000)


@step(io=ArrowFileIO())
def large_arrow() -> Any:
    import pandas as pd

    return pd.DataFrame({"x": np.arange(400_000)})


LARGE = {"npy": large_npy, "pickle": large_pickle, "arrow": large_arrow}


def large(name: str, store: Any) -> Any:
    node = LARGE[name].step()
    run(node, store=store)
    return node


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The sizes of all that is mapped."""
    sizes: list[int] = []
    real = memory_maps.private_map

    def counted(descriptor: int, size: int, writable: bool = True) -> Any:
        sizes.append(size)
        return real(descriptor, size, writable)

    monkeypatch.setattr("persistable.records.files.private_map", counted)
    memory_maps._on_network.clear()
    yield sizes
    memory_maps._on_network.clear()


@pytest.mark.parametrize("name", ["npy", "pickle", "arrow"])
@pytest.mark.parametrize("kind", ["nfs4", "cifs", "lustre", "fuse.sshfs", "ext4", "fuseblk", ""])
def test_nothing_is_mapped_on_a_network_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped: list[int], name: str, kind: str
) -> None:
    monkeypatch.setattr(memory_maps, "kind_of", lambda _: kind)
    node = large(name, tmp_path)
    mapped.clear()
    assert len(run(node, store=tmp_path)[node].payload) == 400_000
    assert bool(mapped) is (kind in ("ext4", "fuseblk", ""))
    mapped.clear()
    assert len(run(node, store=open_store(tmp_path, mmap=True))[node].payload) == 400_000
    assert mapped


def test_the_kind_of_a_file_system_is_what_the_kernel_says(tmp_path: Path) -> None:
    kinds = {line.split()[line.split().index("-") + 1] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    assert mounts.kind_of(os.stat("/proc").st_dev) == "proc" and "proc" in kinds
    assert mounts.kind_of(1 << 40) == ""


@pytest.mark.parametrize("kind", ["store", "layer", "readonly", "pickled"])
def test_a_store_can_be_told_to_map_nothing(tmp_path: Path, mapped: list[int], kind: str) -> None:
    import pickle

    node = large("npy", tmp_path)
    store: Any = open_store(tmp_path, mmap=False)
    if kind == "layer":
        store = LayeredStore(store)
    if kind == "readonly":
        store = pickle.loads(pickle.dumps(open_store(store, readonly=True)))
    if kind == "pickled":
        store = pickle.loads(pickle.dumps(store))
    mapped.clear()
    assert run(node, store=store)[node].payload[-1] == 399_999
    assert not mapped
    with pytest.raises(ValueError, match="True or False"):
        open_store(tmp_path, mmap="no")


def test_nothing_small_is_mapped(tmp_path: Path, mapped: list[int]) -> None:
    @step(io=NumpyFileIO())
    def small() -> Any:
        return np.arange(100_000)

    node = small.step()
    run(node, store=tmp_path)
    assert len(run(node, store=tmp_path)[node].payload) == 100_000
    assert not mapped


CUT = """
import sys
from pathlib import Path
from persistable import open_store
from persistable.testing import StoreContract
sys.path.insert(0, sys.argv[3])
from stores.test_platforms import large
from persistable import run
store = open_store(sys.argv[1], mmap=False)
node = large(sys.argv[2], store)
payload = run(node, store=store)[node].payload
(file,) = [each for each in Path(sys.argv[1]).glob("large_*/*") if ".record" not in each.name]
with file.open("r+b") as raw:
    raw.truncate(4096)
print(int(payload["x"].sum() if sys.argv[2] == "arrow" else payload.sum()))
"""


@pytest.mark.parametrize("name", ["npy", "pickle", "arrow"])
def test_a_file_cut_in_place_ends_no_process_that_maps_nothing(tmp_path: Path, name: str) -> None:
    code = [sys.executable, "-W", "ignore", "-c", CUT, str(tmp_path), name, str(Path(__file__).parents[1])]
    done = subprocess.run(code, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and int(done.stdout) == sum(range(400_000)), done.stderr
