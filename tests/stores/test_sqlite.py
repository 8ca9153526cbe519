"""What is particular to the store in one SQLite file."""

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from persistable.errors import StoreError, StoreUnavailable
from persistable.stores import SQLiteStore


def test_reading_makes_no_file(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "deep" / "x.db")
    assert not store.exists("a")
    assert store.get_many(["a"]) == {}
    assert not store.delete("a")
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"hello, I am a text file, quite long enough to be looked at" * 20)
    store = SQLiteStore(tmp_path / "x.db")
    for call in (lambda: store.get("a"), lambda: store.put("a", b"1")):
        with pytest.raises(StoreError, match="is not an SQLite database"):
            call()
    assert (tmp_path / "x.db").read_bytes().startswith(b"hello")


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.db") as other:
        other.execute("CREATE TABLE theirs (a)")
        other.execute("INSERT INTO theirs VALUES (7)")
    store = SQLiteStore(tmp_path / "x.db")
    assert not store.exists("a")
    store.put("a", b"1")
    assert store.get("a") == b"1"
    assert sqlite3.connect(tmp_path / "x.db").execute("SELECT a FROM theirs").fetchall() == [(7,)]


def test_a_lock_that_stays_is_unavailable_and_one_that_goes_is_waited_for(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "x.db", timeout=0.2)
    store.put("a", b"1")
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="stayed locked"):
        store.put("a", b"2")
    assert store.get("a") == b"1"  # readers do not wait
    patient = SQLiteStore(tmp_path / "x.db", timeout=20)
    timer = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    timer.start()
    patient.put("a", b"3")
    timer.join()
    assert store.get("a") == b"3"
    other.close()


def test_a_file_that_is_replaced_is_opened_anew(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "x.db")
    store.put("a", b"1")
    store.close()
    os.unlink(tmp_path / "x.db")
    assert not store.exists("a")
    store.put("b", b"2")
    assert list(store.list()) == ["b"]
    held = SQLiteStore(tmp_path / "x.db")
    assert held.get("b") == b"2"
    for name in os.listdir(tmp_path):
        os.unlink(tmp_path / name)
    held.put("c", b"3")
    assert list(held.list()) == ["c"]


def test_what_is_too_large_is_refused_in_words(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "x.db")
    store.put("a", b"1")
    with pytest.raises(StoreError, match=r"takes .* at most; keep large payloads in a folder"):
        store.put("a", bytes(1_000_000_001))
    assert store.get("a") == b"1"


def test_a_long_write_is_kept_off_memory_and_stored_whole(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "x.db")
    with store.write("a") as file:
        for number in range(20):
            file.write(bytes([number]) * 1_000_000)
    assert store.get("a") == b"".join(bytes([number]) * 1_000_000 for number in range(20))


def test_threads_that_end_leave_no_connections(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "x.db")
    store.put("a", b"1")
    for _ in range(20):
        thread = threading.Thread(target=store.get, args=("a",))
        thread.start()
        thread.join()
    assert len(store._connections.open) <= 3


def test_a_batch_that_fails_is_absent_as_a_whole(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "x.db")
    store.put("a", b"old")
    with sqlite3.connect(tmp_path / "x.db") as other:
        other.execute("CREATE TRIGGER no BEFORE INSERT ON persistable_items WHEN NEW.path = 'c' BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(StoreError):
        store.put_many({"a": b"new", "b": b"new", "c": b"new"})
    assert store.get_many(["a", "b", "c"]) == {"a": b"old"}


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder, not an SQLite database; name a file"):
        SQLiteStore(tmp_path).get("x")
    with pytest.raises(StoreError, match="is a folder, not an SQLite database; name a file"):
        SQLiteStore(tmp_path).put("x", b"1")
