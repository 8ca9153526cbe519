"""One SQLite file in the hands of many: forked processes, several users, crafted contents, a log that grows."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from persistable.errors import StoreError, StoreFull, StoreReadOnly
from persistable.stores import SQLiteStore, sqlite_packs
from persistable.stores.sqlite_connection import WAL_LIMIT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def child(work: Callable[[], object], user: int | None = None, group: int | None = None) -> int:
    """Fork a process that does `work`, as somebody else if so asked. Its number; it ends with status 0 where all went well."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.alarm(60)
        if user is not None and group is not None:
            os.setgroups([group])
            os.setgid(group)
            os.setuid(user)
        work()
        status = 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_children_forked_while_other_threads_write_write_too(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "x.db")
    over = threading.Event()
    written: list[str] = []

    def write(name: str) -> None:
        number = 0
        while not over.is_set():
            number += 1
            items = {f"{name}/{number:06}.{each}": bytes(2000) for each in range(20)}
            store.put_many(items)
            written.extend(items)

    threads = [threading.Thread(target=write, args=(f"thread-{each}",)) for each in range(2)]
    for thread in threads:
        thread.start()
    try:
        children = {}
        for number in range(6):
            time.sleep(0.03)
            children[number] = child(lambda number=number: [store.put(f"child-{number}/{each}", b"x") for each in range(20)])  # type: ignore[misc]
        assert [ended(pid) for pid in children.values()] == [0] * 6
    finally:
        over.set()
        for thread in threads:
            thread.join()
    store.close()
    again = SQLiteStore(tmp_path / "x.db")
    assert again.stat_many(written).keys() == set(written)
    assert all(again.get(f"child-{number}/{each}") == b"x" for number in range(6) for each in range(20))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_what_a_child_writes_stays_when_its_parent_closes_the_file(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "x.db")
    store.put("a", b"1")
    asked, answer = os.pipe()

    def work() -> None:
        store.put("b", b"2")
        os.read(asked, 1)
        store.put("c", b"3")

    pid = child(work)
    while not SQLiteStore(tmp_path / "x.db").exists("b"):
        time.sleep(0.01)
    store.put("d", b"4")
    store.close()
    os.write(answer, b"!")
    assert ended(pid) == 0
    assert sorted(SQLiteStore(tmp_path / "x.db").list()) == ["a", "b", "c", "d"]


needs_root = pytest.mark.skipif(getattr(os, "getuid", lambda: 1)() != 0, reason="only root can be several users")
TEAM = 4242


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder of a team, as `mkdir; chgrp team; chmod 2770` makes it."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    team = tmp_path / "team"
    team.mkdir()
    os.chown(team, 1001, TEAM)
    team.chmod(0o2770)
    return team


@needs_root
@pytest.mark.parametrize("setgid", [True, False])
def test_a_team_writes_one_file_in_turns(shared: Path, setgid: bool) -> None:
    if not setgid:
        shared.chmod(0o770)

    def put(name: str) -> Callable[[], None]:
        def work() -> None:
            os.umask(0o002)
            store = SQLiteStore(shared / "x.db")
            list(store.list())
            store.put(name, b"1")
            if name == "b":
                os._exit(0)  # killed: log and index stay

        return work

    for name, user in (("a", 1001), ("b", 1002), ("c", 1001), ("d", 1002)):
        assert ended(child(put(name), user, TEAM)) == 0
        for file in shared.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o660 | 0o004
    assert sorted(SQLiteStore(shared / "x.db").list()) == ["a", "b", "c", "d"]


@needs_root
def test_who_may_only_read_leaves_nothing_in_the_way_of_the_owner(shared: Path) -> None:
    def write(name: str) -> Callable[[], None]:
        def work() -> None:
            os.umask(0o022)
            SQLiteStore(shared / "x.db").put(name, b"1")

        return work

    def read() -> None:
        store = SQLiteStore(shared / "x.db")
        assert store.get("a") == b"1"
        try:
            store.put("b", b"2")
        except StoreReadOnly:
            return
        raise AssertionError("it may not be written")

    assert ended(child(write("a"), 1001, TEAM)) == 0
    assert ended(child(read, 1002, TEAM)) == 0
    assert ended(child(write("c"), 1001, TEAM)) == 0
    assert ended(child(read, 1002, TEAM)) == 0
    assert sorted(SQLiteStore(shared / "x.db").list()) == ["a", "c"]


ENDLESS = """CREATE VIEW persistable_items AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
    SELECT 'a' path, x'00' data, i stamp FROM n"""


@pytest.mark.parametrize(
    "crafted",
    [
        ENDLESS,
        "CREATE TABLE persistable_items (path TEXT PRIMARY KEY NOT NULL, data BLOB NOT NULL, stamp INTEGER NOT NULL, more AS (abs(1)))",
        "CREATE TABLE persistable_items (path, data, stamp)",
        "CREATE TABLE persistable_packs (id)",
    ],
)
def test_a_crafted_file_is_refused_and_never_hangs(tmp_path: Path, crafted: str) -> None:
    with sqlite3.connect(tmp_path / "x.db") as db:
        db.execute(crafted)
    db.close()
    store = SQLiteStore(tmp_path / "x.db")
    for call in (
        lambda: store.get("a"),
        lambda: store.exists("a"),
        lambda: list(store.list()),
        lambda: store.put("a", b""),
        lambda: store.delete("a"),
    ):
        began = time.monotonic()
        with pytest.raises(
            StoreError, match=r"is damaged, or was not made by this library: persistable_.* Restore a copy, or move the file"
        ):
            call()
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "extra",
    ["TRIGGER t AFTER INSERT ON persistable_items BEGIN DELETE FROM persistable_items; END", "INDEX i ON persistable_items (abs(stamp))"],
)
def test_a_file_with_something_on_our_tables_is_refused(tmp_path: Path, extra: str) -> None:
    SQLiteStore(tmp_path / "x.db").put("a", b"1")
    with sqlite3.connect(tmp_path / "x.db") as db:
        db.execute(f"CREATE {extra}")
    db.close()
    with pytest.raises(StoreError, match="which is not of this library"):
        SQLiteStore(tmp_path / "x.db").get("a")


def grow_log(store: SQLiteStore, folder: Path) -> sqlite3.Connection:
    """The reader that keeps the log from being cut off, which is longer than its limit by now."""
    store.put("a", b"1")
    reader = sqlite3.connect(folder / "x.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM persistable_items").fetchall()
    while (folder / "x.db-wal").stat().st_size < 1.2 * WAL_LIMIT:
        store.put("b", os.urandom(4 << 20))
    return reader


def test_the_log_is_cut_off(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "x.db")
    reader = grow_log(store, tmp_path)
    reader.execute("COMMIT")
    for number in range(200):
        store.put("c", b"%d" % number)
    assert (tmp_path / "x.db-wal").stat().st_size < WAL_LIMIT
    reader.close()


def test_a_log_that_killed_processes_left_is_cut_off_by_the_next(tmp_path: Path) -> None:
    def work() -> None:
        store = SQLiteStore(tmp_path / "x.db")
        grow_log(store, tmp_path)
        os._exit(0)

    assert ended(child(work)) == 0
    store = SQLiteStore(tmp_path / "x.db")
    assert store.get("a") == b"1"
    assert (tmp_path / "x.db-wal").stat().st_size < WAL_LIMIT


def test_a_limit_of_the_size_of_files_is_a_full_store(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")

    def work() -> None:
        store = SQLiteStore(tmp_path / "x.db")
        store.put("a", b"1")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        with pytest.raises(StoreFull, match="no room"):
            [store.put(f"b{number}", os.urandom(100_000)) for number in range(40)]
        with pytest.raises(StoreFull, match="no room"), store.write("c") as file:
            file.write(os.urandom(20 << 20))
        assert store.get("a") == b"1"

    assert ended(child(work)) == 0


def test_who_opens_a_file_that_is_just_being_made_sees_all_tables_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.db"
    seen: list[int] = []

    class Watched(list[str]):
        def __iter__(self) -> Iterator[str]:
            for statement in super().__iter__():
                yield statement
                with closing(sqlite3.connect(file)) as db:
                    seen.append(len(db.execute("SELECT name FROM sqlite_master").fetchall()))

    monkeypatch.setattr(sqlite_packs, "SCHEMA", Watched(sqlite_packs.SCHEMA))
    with SQLiteStore(str(file)) as store:
        store.put("a/b", b"x")
        assert store.get("a/b") == b"x" and len(seen) == 5 and set(seen) == {0}
