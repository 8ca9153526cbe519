"""An index is always as its store is: whoever changed that, however, and whatever became of the index."""

from __future__ import annotations

import multiprocessing as mp
import os
import random
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from store_kinds import opened

from persistable import Catalog, Persistable, open_store, run, step
from persistable.catalog.index import change_detection
from persistable.catalog.index.index import Index
from persistable.errors import InvalidQuery
from persistable.records.listing import entries
from persistable.stores import LayeredStore, Store, sqlite_connection, sqlite_packs


@step
def number(n: int) -> int:
    return n


@step
def doubled(value: int) -> int:
    return 2 * value


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


@pytest.fixture(params=["folder", "sqlite", "memory", "two folders", "read-only", "cached", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "read-only":
        run(number.step(1000), store=tmp_path / "shared")
        made: Store = LayeredStore(tmp_path / "own", open_store(tmp_path / "shared", readonly=True))
    else:
        made = opened(request.param, tmp_path, request)
    with made as store:
        yield store


def keys(catalog: Catalog) -> set[str]:
    return {str(entry.key) for entry in catalog.find()}


def stored(store: Store) -> set[str]:
    return {str(entry.key) for entry in entries(store) if entry.record is not None}


def test_every_store_is_followed(store: Store, index: Path) -> None:
    catalog = Catalog(store, index=index)
    before = keys(catalog)
    assert before == stored(store)
    nodes: list[Persistable[int, Any]] = [number.step(n) for n in range(5)]
    run(*nodes, store=store)
    assert keys(catalog) == stored(store) == before | {str(node.key) for node in nodes}
    nodes[0].bind(store).delete()
    assert keys(catalog) == stored(store)
    assert str(nodes[0].key) not in keys(catalog)
    last = doubled.step(nodes[1])
    run(last, store=store)
    assert [entry.key for entry in catalog.lineage(last)] == [nodes[1].key]
    assert keys(Catalog(store, index=index)) == keys(Catalog(store, index=None)) == stored(store)
    catalog.rebuild()
    assert keys(catalog) == stored(store)


def test_an_index_made_anew_takes_the_place_of_the_other_when_it_is_whole(tmp_path: Path, index: Path) -> None:
    run(*[number.step(n) for n in range(3)], store=tmp_path / "store")
    catalog = Catalog(tmp_path / "store", index=index)
    assert len(catalog) == 3
    other = Index(catalog.index.url, index)
    seen: list[int] = []

    def interrupted(done: int, wanted: int) -> None:
        seen.append(other.rows("SELECT count(*) FROM records")[0][0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        catalog.rebuild(interrupted)
    assert seen == [3] and catalog.index.rows("SELECT count(*) FROM records") == [(3,)]
    catalog.index.rows("DELETE FROM records")
    catalog.rebuild()
    assert catalog.index.rows("SELECT count(*) FROM records") == [(3,)] and not list(index.parent.glob("*.new*"))


def test_a_replaced_record_is_read_again(store: Store, index: Path) -> None:
    catalog = Catalog(store, index=index)
    node = number.step(3).bind(store)
    node.generate()
    first = catalog[node.key].created
    node.generate()
    assert catalog[node.key].created == node.record.started + node.record.seconds != first  # type: ignore[union-attr, operator]


def test_files_copied_in_and_removed_behind_its_back(tmp_path: Path, index: Path) -> None:
    run(*[number.step(n) for n in range(4)], store=tmp_path / "a")
    run(*[number.step(n) for n in range(2, 8)], store=tmp_path / "b")
    catalog = Catalog(tmp_path / "a", index=index)
    assert len(catalog) == 4
    for file in (tmp_path / "b" / "number").iterdir():
        shutil.copy2(file, tmp_path / "a" / "number")
    assert keys(catalog) == {str(number.step(n).key) for n in range(8)}
    for file in (tmp_path / "a" / "number").glob("*.record.json"):
        if file.stem.startswith(number.step(1).key.digest):
            file.unlink()
    assert len(catalog) == 7
    shutil.rmtree(tmp_path / "a" / "number")
    assert len(catalog) == 0
    shutil.rmtree(tmp_path / "a")
    assert len(catalog) == 0
    shutil.copytree(tmp_path / "b", tmp_path / "a")
    assert keys(catalog) == {str(number.step(n).key) for n in range(2, 8)}


@pytest.mark.parametrize("by_inode", [False, True])
def test_settled_folders_are_believed_and_changed_ones_listed(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch, by_inode: bool
) -> None:
    """As after two seconds: the stamps of folders count."""
    if by_inode:
        monkeypatch.setattr(change_detection, "LARGE", 2)
    monkeypatch.setattr(change_detection, "SETTLED", -1.0)
    run(*[number.step(n) for n in range(4)], store=tmp_path)
    catalog = Catalog(tmp_path, index=index)
    assert len(catalog) == 4
    listed: list[tuple[str, bool]] = []
    listing = change_detection._Folders._listing

    def noted(part: Any, folder: str, stamp: str | None) -> change_detection.FolderState:
        found = listing(part, folder, stamp)
        listed.append((folder, found.by_inode))
        return found

    monkeypatch.setattr(change_detection._Folders, "_listing", noted)
    assert len(catalog) == 4 and not listed
    run(number.step(9), store=tmp_path)
    assert len(catalog) == 5 and listed == [("number", by_inode)]
    run(doubled.step(number.step(9)), store=tmp_path)
    assert len(catalog) == 6 and listed == [("number", by_inode), ("doubled", False)]
    node = number.step(2).bind(tmp_path)
    node.generate()
    created = node.record.started + node.record.seconds  # type: ignore[union-attr]
    assert catalog[node.key].created == created


def test_of_a_sqlite_file_only_packs_that_have_changed_are_read(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after two seconds; members come in packs, are replaced, which takes them out, and go, which dissolves packs."""
    monkeypatch.setattr(change_detection, "SETTLED", -1.0)
    read: list[int] = []
    contents = sqlite_packs.contents
    monkeypatch.setattr(sqlite_packs, "contents", lambda db, pack: read.append(pack) or contents(db, pack))
    chance = random.Random(1)
    with open_store(f"sqlite:///{tmp_path}/data.db") as store:
        catalog = Catalog(store, index=index)
        run(number.over(n=range(300)).bind(store))
        assert len(catalog) == 300 and len(read) > 1
        read.clear()
        run(number.step(-1), store=store)
        assert len(catalog) == 301 and not read
        there, top = set(range(-1, 300)), 300
        for _ in range(12):
            act = chance.randrange(3)
            some = chance.sample(sorted(there), chance.choice([1, 5, len(there) // 4]))
            if act == 0:
                for n in some[:5]:
                    number.step(n).bind(store).generate()
            elif act == 1:
                digests = {number.step(n).key.digest for n in some}
                gone = [path for path in store.list("number") if path.partition("/")[2].partition(".")[0] in digests]
                store.change_many(delete=gone)
                there -= set(some)
            else:
                run(number.over(n=range(top, top + 40)).bind(store))
                there |= set(range(top, top + 40))
                top += 40
            found = {str(entry.key): entry.created for entry in catalog.find()}
            assert found == {str(entry.key): entry.record.started + entry.record.seconds for entry in entries(store) if entry.record}
            assert len(found) == len(catalog) == len(there)
        catalog.rebuild()
        assert len(catalog) == len(there)


def test_a_damaged_record_is_an_entry(tmp_path: Path, index: Path) -> None:
    node = number.step(1).bind(tmp_path)
    node.generate()
    catalog = Catalog(tmp_path, index=index)
    file = tmp_path / f"{node.key}.record.json"
    file.write_bytes(file.read_bytes()[:-20])
    (entry,) = catalog.find()
    assert (entry.status, entry.key) == ("corrupt", node.key)
    assert [each.key for each in catalog.find(status="corrupt")] == [node.key]
    (tmp_path / "number" / "notes.record.json").write_text("mine")
    (tmp_path / "number" / f"{'0' * 32}.record.json").write_bytes((tmp_path / f"{number.step(1).key}.record.json").read_bytes())
    assert len(catalog) == 2, "what lies under another key is damaged, what is no key is nothing"
    node.generate()
    assert catalog[node.key].status == "done"


def test_what_a_damaged_record_hid_is_found_by_once_it_is_sound(tmp_path: Path, index: Path) -> None:
    run(number.step(7), store=tmp_path / "data")
    (path,) = (tmp_path / "data" / "number").glob("*.record.json")
    sound = path.read_bytes()
    path.write_bytes(sound[:50])
    catalog = Catalog(tmp_path / "data", index=index)
    assert [entry.status for entry in catalog.find()] == ["corrupt"]
    path.unlink()
    path.write_bytes(sound)
    assert len(catalog.find("number", n=7)) == len(catalog.find("number", where="n = 7")) == 1


def test_an_index_that_was_closed_is_brought_up_to_date_before_it_answers(tmp_path: Path) -> None:
    run(doubled.step(number.step(1)), store=tmp_path / "data")
    with Catalog(tmp_path / "data", index=None) as catalog:
        (entry,) = catalog.find("doubled")
    assert list(entry.upstream) == ["value"] and "number" in entry.label


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_children_forked_while_other_threads_ask_ask_too(tmp_path: Path, index: Path) -> None:
    run(*(number.step(i) for i in range(20)), store=tmp_path / "data")
    catalog = Catalog(tmp_path / "data", index=index)
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            assert len(catalog.find("number", n=3)) == 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(30)
                os._exit(0 if len(catalog.find("number")) == 20 else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        over.set()
        thread.join()


def test_a_rebuild_takes_no_lock_that_a_fork_holds_while_it_waits_for_the_rebuild(index: Path) -> None:
    whole = Index("file:///there", index)

    def anew() -> None:
        with whole.replacement():
            pass

    with sqlite_connection._registering:  # as while the process forks
        thread = threading.Thread(target=anew, daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.parametrize("damage", ["garbage", "empty", "cut", "another's", "other tables", "other layout", "flipped"])
def test_a_broken_index_is_made_anew(tmp_path: Path, index: Path, damage: str) -> None:
    run(*[number.step(n) for n in range(200)], store=tmp_path / "data")
    assert len(Catalog(tmp_path / "data", index=index)) == 200
    sqlite3.connect(index).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(index.read_bytes())
    if damage == "garbage":
        index.write_bytes(b"no database at all" * 1000)
    elif damage == "empty":
        index.write_bytes(b"")
    elif damage == "cut":
        index.write_bytes(data[: len(data) // 2])
    elif damage == "another's":
        index.unlink()
        run(number.step(7), store=tmp_path / "other")
        assert len(Catalog(tmp_path / "other", index=index)) == 1
    elif damage == "other tables":
        index.unlink()
        with sqlite3.connect(index) as db:
            db.execute("CREATE TABLE nodes (mine)")
    elif damage == "other layout":
        with sqlite3.connect(index) as db:
            db.execute("PRAGMA user_version = 99")
    else:
        for page in range(1, len(data) // 4096):
            data[page * 4096 : page * 4096 + 8] = b"\xff" * 8
        index.write_bytes(data)
    catalog = Catalog(tmp_path / "data", index=index)
    assert len(catalog) == 200
    assert len(catalog.find("number", n=7)) == 1
    run(number.step(1000), store=tmp_path / "data")
    assert len(catalog) == 201


def test_a_page_that_is_damaged_is_no_empty_answer(tmp_path: Path, index: Path) -> None:
    """The damage is met by the question itself, after the index was found up to date: it is made anew, filled, and asked again."""
    run(*[number.step(n) for n in range(200)], store=tmp_path / "data")

    def ask() -> list[int]:
        with Catalog(tmp_path / "data", index=index) as catalog:
            return [
                len(catalog),
                len(catalog.find("number", n=7)),
                len(catalog.find(where="n >= 150")),
                len(catalog.find().ordered("size")),
            ]

    assert ask() == [200, 1, 50, 200]
    sqlite3.connect(index).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    good = index.read_bytes()
    for page in range(1, len(good) // 4096):
        index.write_bytes(good[: page * 4096] + bytes(4096) + good[(page + 1) * 4096 :])
        assert ask() == [200, 1, 50, 200], f"page {page}"


@pytest.mark.parametrize("where", [" or ".join(["n = 1"] * 3000), f"'a' like '{'%a' * 40_000}'"])
def test_a_question_too_large_for_sqlite_is_refused_and_harms_no_index(tmp_path: Path, index: Path, where: str) -> None:
    run(number.step(1), store=tmp_path / "data")
    catalog = Catalog(tmp_path / "data", index=index)
    assert len(catalog) == 1
    inode = index.stat().st_ino
    with pytest.raises(InvalidQuery, match="too much to ask at once"):
        list(catalog.find(where=where))
    assert (len(catalog), index.stat().st_ino) == (1, inode)


def test_a_disk_that_is_full_keeps_nobody_from_asking(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a home folder at its quota, while the data are elsewhere: the index is kept in memory then."""
    run(*[number.step(n) for n in range(300)], store=tmp_path / "data")
    ready = Index._ready  # pyright: ignore[reportPrivateUsage]

    def small(self: Index, place: str) -> sqlite3.Connection:
        db = ready(self, place)
        if place != ":memory:":
            db.execute("PRAGMA max_page_count = 40")
        return db

    monkeypatch.setattr(Index, "_ready", small)
    catalog = Catalog(tmp_path / "data", index=index)
    assert (len(catalog), len(catalog.find("number", n=7))) == (300, 1)
    run(number.step(1000), store=tmp_path / "data")
    assert len(catalog) == 301
    other = Catalog(tmp_path / "data", index=index)
    other.rebuild()
    assert len(other) == 301 and not Path(f"{index}.new").exists()


def test_an_index_that_cannot_be_written_is_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PERSISTABLE_CACHE", str(tmp_path / "file" / "cache"))
    run(number.step(1), store=tmp_path / "data")
    assert len(Catalog(tmp_path / "data")) == 1


def test_the_index_lies_in_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSISTABLE_CACHE", str(tmp_path / "cache"))
    run(number.step(1), store=tmp_path / "data")
    assert len(Catalog(tmp_path / "data")) == len(Catalog(tmp_path / "data")) == 1
    assert len(list((tmp_path / "cache" / "catalog").glob("*.db"))) == 1
    assert not list((tmp_path / "data").rglob("*.db"))
    assert len(Catalog(tmp_path / "data", index="store")) == 1
    assert (tmp_path / "data" / ".persistable" / "catalog.db").exists()
    assert {path for path in open_store(tmp_path / "data").list() if path.endswith(".db")} == set()


def test_a_miss_makes_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSISTABLE_CACHE", str(tmp_path / "cache"))
    node = number.step(1).bind(tmp_path / "data")
    assert node.payload == 1
    assert not (tmp_path / "cache").exists()


def _work(folder: Path, index: Path, first: int, failed: Any) -> None:
    try:
        catalog = Catalog(folder, index=index)
        for n in range(first, first + 15):
            number.step(n).bind(folder).generate()
            assert len(catalog.find("number", n=n)) == 1
    except BaseException as error:
        failed.put(repr(error))
        raise


def test_several_processes_write_and_ask(tmp_path: Path, index: Path) -> None:
    context = mp.get_context("spawn")
    failed = context.Queue()
    workers = [context.Process(target=_work, args=(tmp_path / "data", index, 100 * k, failed)) for k in range(3)]
    for worker in workers:
        worker.start()
    catalog = Catalog(tmp_path / "data", index=index)
    seen = 0
    while any(worker.is_alive() for worker in workers):
        now = len(catalog)
        assert now >= seen
        seen = now
        time.sleep(0.02)
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0], failed.get(timeout=5)
    assert keys(catalog) == stored(open_store(tmp_path / "data"))
    assert len(catalog) == 45


def _build(folder: Path, index: Path) -> None:
    len(Catalog(folder, index=index))


def test_a_process_killed_while_it_builds(tmp_path: Path, index: Path) -> None:
    run(*[number.step(n) for n in range(3000)], store=tmp_path / "data")
    context = mp.get_context("spawn")
    for delay in (0.0, 0.05, 0.1, 0.2):
        worker = context.Process(target=_build, args=(tmp_path / "data", index))
        worker.start()
        while not index.exists() and worker.is_alive():
            time.sleep(0.005)
        time.sleep(delay)
        worker.kill()
        worker.join()
        assert len(Catalog(tmp_path / "data", index=index)) == 3000
        for file in tmp_path.glob("index.db*"):
            os.unlink(file)


class Followed(RuleBasedStateMachine):
    """Records come, go, change and are damaged in two layers, while two catalogs with one index ask."""

    there = Bundle("there")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(os.environ["PERSISTABLE_TEST_FOLDER"]) / f"m{time.monotonic_ns()}"
        self.store = LayeredStore(self.folder / "fast", f"sqlite:///{self.folder}/slow.db")
        self.catalogs = [Catalog(self.store, index=self.folder / "index.db") for _ in range(2)]

    @rule(target=there, n=st.integers(0, 6))
    def generate(self, n: int) -> int:
        number.step(n).bind(self.store).generate()
        return n

    @rule(n=consumes(there))
    def delete(self, n: int) -> None:
        number.step(n).bind(self.store).delete()

    @rule(n=there)
    def lose_the_fast_copy(self, n: int) -> None:
        (self.folder / "fast" / f"{number.step(n).key}.record.json").unlink(missing_ok=True)

    @rule()
    def discard(self) -> None:
        self.catalogs[0].index.discard()
        self.catalogs[1].close()

    @invariant()
    def agrees(self) -> None:
        for catalog in self.catalogs:
            assert keys(catalog) == stored(self.store)

    def teardown(self) -> None:
        for catalog in self.catalogs:
            catalog.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def test_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    monkeypatch.setenv("PERSISTABLE_TEST_FOLDER", str(tmp_path))
    run_state_machine_as_test(
        Followed, settings=settings(max_examples=15, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck))
    )  # type: ignore[no-untyped-call]
