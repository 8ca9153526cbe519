"""Disks that are full, read-only or somebody else's: the store of a folder says what is wrong and leaves nothing."""

import errno
import os
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers.needs import absent

from persistable.errors import PersistableError, StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from persistable.stores import LocalStore, SQLiteStore, Store
from persistable.testing.processes import everything_below


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        absent(f"cannot mount a file system here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(store: Store, path: str, data: bytes) -> None:
    with store.write(path) as file:
        for start in range(0, len(data), 100_000):
            file.write(data[start : start + 100_000])


FULL: dict[str, Callable[[LocalStore, str, bytes], object]] = {
    "put": lambda store, path, data: store.put(path, data),
    "put_many": lambda store, path, data: store.put_many({path: data}),
    "write": fill,
    "create": lambda store, path, data: store.create(path + ".new", data),
    "put_unreferenced": lambda store, path, data: store.put_unreferenced(path + ".new", data),
}


@pytest.mark.parametrize("how", FULL)
def test_a_full_disk(small_disk: Path, how: str) -> None:
    """StoreFull, the old value intact, nothing left; and once there is room, it works."""
    store = LocalStore(small_disk / "root")
    store.put("a/x", b"old")
    before = everything_below(small_disk)
    with pytest.raises(StoreFull, match=r"no room for .*free some space") as caught:
        FULL[how](store, "a/x", b"n" * 2_000_000)
    assert caught.value.path.startswith("a/x")
    assert everything_below(small_disk) == before
    assert store.get("a/x") == b"old"
    FULL[how](store, "a/x", b"n" * 200_000)
    assert sum(len(store.get(path)) for path in store.list()) >= 200_000


def test_a_full_disk_under_sqlite(small_disk: Path) -> None:
    store = SQLiteStore(small_disk / "x.db")
    store.put("a/x", b"old")
    with pytest.raises(StoreFull):
        store.put("a/x", b"n" * 3_000_000)
    with pytest.raises(StoreFull):
        store.put_many({f"a/{number}": b"n" * 10_000 for number in range(300)})
    assert store.get("a/x") == b"old"
    assert list(store.list()) == ["a/x"]


def test_a_read_only_file_system(small_disk: Path) -> None:
    """StoreReadOnly on every change; reading goes on."""
    store = LocalStore(small_disk / "root")
    store.put("a/x", b"old")
    database = SQLiteStore(small_disk / "x.db")
    database.put("a/x", b"old")
    database.close()
    mount("-o", "remount,ro", str(small_disk))
    for change in (*FULL.values(), lambda store, path, data: store.delete(path), lambda store, path, data: store.new_file(path)):
        with pytest.raises(StoreReadOnly, match="may not be written by this user"):
            change(store, "a/x", b"new")
    assert store.get("a/x") == b"old"
    with pytest.raises(StoreReadOnly):
        database.put("a/x", b"new")
    assert database.get("a/x") == b"old"
    assert list(database.list()) == ["a/x"]


AS_NOBODY = """
    import os, sys
    from persistable.errors import *
    from persistable.stores import LocalStore, SQLiteStore
    store, base = LocalStore(sys.argv[1] + "/root"), SQLiteStore(sys.argv[1] + "/x.db")
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    def fails(kind, call, *arguments):
        try:
            call(*arguments)
        except kind as error:
            assert not isinstance(error, FileNotFoundError), error
            assert sys.argv[1] in str(error), error
        else:
            raise AssertionError(f"{call.__name__} did not fail")

    def write(path, data):
        with store.write(path) as file:
            file.write(data)

    assert store.get("open/x") == b"1"
    assert base.get("open/x") == b"1"
    assert sorted(store.list("open")) == ["open/secret", "open/x"]
    for change in (store.put, store.create, write):
        fails(StoreReadOnly, change, "open/y", b"2")
        fails(StoreReadOnly, change, "new/y", b"2")
    fails(StoreReadOnly, store.delete, "open/x")
    fails(StoreReadOnly, store.adopt, sys.argv[1] + "/root/open/x", "open/y")
    fails(StoreReadOnly, base.put, "open/y", b"2")
    fails(StoreError, store.get, "open/secret")
    fails(StoreError, store.read, "open/secret")
    for look in (store.get, store.read, store.exists, store.stat):
        fails(StoreError, look, "closed/x")
    fails(StoreError, store.get_many, ["closed/x"])
    fails(StoreError, lambda prefix: list(store.list(prefix)), "closed")
"""


def test_folders_of_somebody_else(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What may not be read is an error and never missing; what may not be written is StoreReadOnly."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        store = LocalStore(place / "root")
        for path in ("open/x", "open/secret", "closed/x"):
            store.put(path, b"1")
        base = SQLiteStore(place / "x.db")
        base.put("open/x", b"1")
        base.close()
        for inner, mode in (
            ("", 0o555),
            ("root", 0o555),
            ("root/open", 0o555),
            ("root/open/secret", 0),
            ("root/closed", 0),
            ("x.db", 0o444),
        ):
            (place / inner).chmod(mode)
        try:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
            program = [sys.executable, "-c", textwrap.dedent(AS_NOBODY), folder]
            done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        finally:
            for inner in ("", "root", "root/open", "root/closed"):
                (place / inner).chmod(0o755)


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a", b"1")
    with pytest.raises(StoreError, match="needs a folder where there is a file"):
        store.put("a/b", b"2")
    with pytest.raises(StoreError, match="needs a folder where there is a file"):
        LocalStore(tmp_path / "a").put("b", b"2")
    store.put("c/d", b"1")
    with pytest.raises(StoreError, match="is a folder"):
        store.put("c", b"2")
    assert everything_below(tmp_path) == ["a", "c/d"]


def test_nothing_is_made_before_something_is_written(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "deep" / "root")
    assert list(store.list()) == []
    assert not store.exists("x")
    assert not store.delete("a/x")
    assert os.listdir(tmp_path) == []


def test_the_root_is_fixed_when_the_store_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = LocalStore("data")
    monkeypatch.chdir("/")
    store.put("x", b"1")
    assert (tmp_path / "data" / "x").read_bytes() == b"1"
    assert store.local_path("a/y") == tmp_path / "data" / "a" / "y"


def test_a_root_and_folders_behind_links(tmp_path: Path) -> None:
    """Links are followed, and a loop of links ends."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    store = LocalStore(tmp_path / "link")
    store.put("a/x", b"1")
    (tmp_path / "real" / "b").symlink_to("a")
    (tmp_path / "real" / "a" / "loop").symlink_to("..")
    (tmp_path / "real" / "a" / "itself").symlink_to("itself")
    assert store.get("b/x") == b"1"
    listed = set(store.list())
    assert {"a/x", "b/x"} <= listed
    assert len(listed) < 20


def test_a_file_made_in_place_is_adopted(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a/x", b"old")
    source = store.new_file("a/x")
    source.write_bytes(b"new")
    assert source.parent == tmp_path / "a"
    assert list(store.list()) == ["a/x"]
    assert store.get("a/x") == b"old"
    store.adopt(source, "a/x")
    assert store.get("a/x") == b"new"
    other = store.new_file("b/y")
    store.adopt(other, "c/z")
    assert sorted(store.list()) == ["a/x", "c/z"]
    with pytest.raises(StoreError):
        store.adopt(tmp_path / "absent", "d")


def test_a_long_name_has_a_short_enough_temporary_one(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for name in ("x" * 255, "ü" * 127, "🙂" * 63):
        store.put(name, b"1")
        assert store.create(name + "", b"2") is False
        assert store.get(name) == b"1"


def test_repeated_claims_share_one_file_that_goes_when_the_process_ends(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import os, sys
        from persistable.stores import LocalStore
        store = LocalStore(sys.argv[1])
        for number in range(4):
            assert store.create(f"claims/{number}", b"me")
            assert not store.create(f"claims/{number}", b"me")
        assert len(os.listdir(sys.argv[1] + "/.persistable")) == 1
        assert sorted(store.list()) == [f"claims/{number}" for number in range(4)]
        assert list(store.list(".persistable")) == []
        if os.fork() == 0:
            assert store.create("claims/child", b"me") and store.create("claims/child2", b"me")
            assert store.delete("claims/child") and store.delete("claims/child2")
            sys.exit(0)
        assert os.wait()[1] == 0
        assert store.create("claims/after", b"me")
        os.unlink(sys.argv[1] + "/.persistable/" + os.listdir(sys.argv[1] + "/.persistable")[0])  # swept away by somebody
        assert store.create("claims/again", b"me")
    """)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, env=environment)
    assert everything_below(tmp_path) == sorted(["claims/after", "claims/again", *(f"claims/{number}" for number in range(4))])


@pytest.mark.parametrize("fsync", [False, True])
def test_an_unreferenced_item_is_written_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: bool) -> None:
    store = LocalStore(tmp_path, fsync=fsync)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", pytest.fail)
        store.put_unreferenced("a/x", b"one")
        store.put_unreferenced("a/large", memoryview(b"n" * 200_001))
    assert store.get("a/x") == b"one"
    assert len(store.get("a/large")) == 200_001
    store.put_unreferenced("a/x", b"two")  # after all there is one: replaced as a whole
    assert store.get("a/x") == b"two"
    with pytest.raises(StoreError, match="needs a folder where there is a file"):
        store.put_unreferenced("a/x/y", b"2")
    assert everything_below(tmp_path) == ["a/large", "a/x"]


@pytest.mark.parametrize("call", ["write", "close"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_an_unreferenced_item_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises((StoreUnavailable, KeyboardInterrupt)):
            LocalStore(tmp_path).put_unreferenced("a/x", b"one")
    assert everything_below(tmp_path) == []


def test_unfinished_writes_can_be_found(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    old, young = store.new_file("a/x"), store.new_file("a/y")
    old.write_bytes(b"123")
    os.utime(old, (1, 1))
    assert {place: (found.st_size, found.st_mtime == 1) for place, found in store.unfinished()} == {old: (3, True), young: (0, False)}


def test_a_claim_is_never_seen_without_its_content(tmp_path: Path) -> None:
    """A process killed at any moment of `create` leaves the whole claim or none."""
    program = "import sys\nfrom persistable.stores import LocalStore\nstore = LocalStore(sys.argv[1])\nprint(flush=True)\n"
    program += "for n in range(10**9):\n    store.create(f'c/{n}', b'owner' + (b'' if n % 3 else b'%d' % n))\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for pause in (0.0, 0.01, 0.02, 0.03):
        child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / str(pause))], env=environment, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        store = LocalStore(tmp_path / str(pause))
        deadline = time.monotonic() + 60
        while not list(store.list()):
            assert time.monotonic() < deadline
        time.sleep(pause)
        child.kill()
        child.communicate()
        assert child.returncode == -9
        found = list(store.list())
        assert found
        assert all(store.get(path).startswith(b"owner") for path in found)


def test_errors_survive_pickling(tmp_path: Path) -> None:
    import pickle

    store = LocalStore(tmp_path)
    store.put("a", b"1")
    with pytest.raises(PersistableError) as caught:
        store.put("a/b", b"2")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy), copy.path, copy.url) == (StoreError, str(caught.value), "a/b", store.url)


def test_a_file_in_place_of_the_folder_is_no_empty_store(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    for root in (tmp_path / "x", tmp_path / "x" / "y"):
        for listing in (LocalStore(root).list, LocalStore(root).scan):
            with pytest.raises(StoreError, match=r"is no folder.*correct the path"):
                list(listing())
    assert list(LocalStore(tmp_path).list("x")) == []


def test_a_listing_names_only_what_can_be_asked_for(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a/x", b"1")
    for name in ("aux", "COM1.txt", "a:b", "c."):  # none of them a path: Windows has no such files
        (tmp_path / "a" / name).write_bytes(b"2")
    assert {path: store.get(path) for path in store.list()} == {"a/x": b"1"}


def test_an_exclusive_create_waits_for_the_disk_where_there_are_no_links_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    sync = os.fsync

    def noting(descriptor: int) -> None:
        sync(descriptor)
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            synced.append(os.readlink(f"/proc/self/fd/{descriptor}").encode())

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(os, "link", refused)
    assert LocalStore(tmp_path, fsync=True).create("a/x", b"1")
    assert os.fsencode(tmp_path / "a" / "x") in synced
