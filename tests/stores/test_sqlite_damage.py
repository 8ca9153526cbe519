"""One flipped bit anywhere in an SQLite file: no call hangs or fails in somebody else's words, and what is damaged can be made anew."""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from persistable import run, step
from persistable.errors import CorruptPayloadWarning, StoreError
from persistable.stores import SQLiteStore

TABLES = {
    "persistable_packs": ("id", "folder", "paths", "sizes", "stamp", "data"),
    "persistable_slots": ("hash", "pack"),
    "persistable_gone": ("pack", "place"),
    "persistable_items": ("path", "data", "stamp"),
}


def members(folder: str, count: int) -> dict[str, bytes]:
    items = {f"{folder}/{number:08x}.r{number}.pickle": b"payload %d" % number * 3 for number in range(count)}
    return items | {f"{folder}/{number:08x}.record.json": b'{"record": %d}' % number for number in range(count)}


OTHERS = {"other/large": bytes(20_000), "other/claim.claim": b"me", **members("apart", 8)}


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A file with two packs, of one of which something is gone, and rows of their own."""
    store = SQLiteStore(tmp_path / "sound.db")
    store.put_many(members("near", 10))
    for path, data in OTHERS.items():
        if path.startswith("other"):
            store.put(path, data)
    store.put_many({path: data for path, data in OTHERS.items() if path.startswith("apart")})
    store.put("near/00000001.record.json", b"put over")
    store.delete("near/00000002.record.json")
    store.close()
    return tmp_path / "sound.db"


EXPECTED = {**members("near", 10), **OTHERS, "near/00000001.record.json": b"put over"}
del EXPECTED["near/00000002.record.json"]


def flipped(value: Any, bits: random.Random, step: int) -> Iterator[Any]:
    """`value` with one bit changed, for about each byte in `step`."""
    if isinstance(value, int):
        for bit in range(0, 63, step):
            yield value ^ (1 << bit)
        return
    raw = value.encode() if isinstance(value, str) else value
    for place in range(bits.randrange(step), len(raw), step):
        changed = bytearray(raw)
        changed[place] ^= 1 << bits.randrange(8)
        yield bytes(changed)


def look(store: SQLiteStore, wrong: set[str]) -> None:
    """Ask for everything in every way. `wrong`: what may be answered wrongly as a path or content."""
    every = list(EXPECTED)
    for path in every:
        try:
            assert store.get(path) == EXPECTED[path] or path in wrong
        except FileNotFoundError:
            assert path in wrong
        store.exists(path)
        store.stat(path)
    found = store.get_many(every)
    assert all(found.get(path) == EXPECTED[path] for path in every if path not in wrong)
    store.get_with_colocated(every[:3])
    store.stat_many(every)
    listed = list(store.list()), list(store.list("near"))
    assert set(listed[0]) >= EXPECTED.keys() - wrong


def mend(store: SQLiteStore, bulk: bool = True) -> None:
    """Make all anew, one by one and together, and remove it. `bulk`: whether asking for many may find less than each alone."""
    every = list(EXPECTED)
    for path in every[::3]:
        store.put(path, b"new")
        assert store.get(path) == b"new"
    store.put_many(EXPECTED)
    assert store.get_many(every) == EXPECTED
    for path in every[:8]:
        store.delete(path)
        assert not store.exists(path)
        assert store.create(path, b"created")
        assert store.get(path) == b"created"
    store.change_many(delete=every)
    assert not any(map(store.exists, every))
    assert store.get_many(every) == {} or not bulk


@pytest.mark.parametrize(("table", "column"), [(table, column) for table, columns in TABLES.items() for column in columns])
def test_one_flipped_bit_of_a_row_is_mended(sound: Path, tmp_path: Path, table: str, column: str) -> None:
    bits = random.Random(f"{table} {column}")
    packed = {path for path in EXPECTED if not path.startswith("other")}
    with sqlite3.connect(sound) as db:
        keyed = table in ("persistable_packs", "persistable_items")
        order = "ORDER BY rowid" if keyed else ""
        rows = db.execute(f"SELECT {'rowid' if keyed else '*'} FROM {table} {order}").fetchall()
        values = db.execute(f"SELECT {column} FROM {table} {order}").fetchall()
    step = 37 if column in ("paths", "data", "sizes") else 13
    for row, (value,) in list(zip(rows, values, strict=True))[:2]:
        for changed in flipped(value, bits, step if len(str(value)) < 5000 else 5000):
            file = tmp_path / "x.db"
            for suffix in ("", "-wal", "-shm"):
                Path(f"{file}{suffix}").unlink(missing_ok=True)
            shutil.copy(sound, file)
            with sqlite3.connect(file) as db:
                where = "rowid = ?" if keyed else " AND ".join(f"{name} = ?" for name in TABLES[table])
                new = f"CAST(? AS {'TEXT' if isinstance(value, str) else 'BLOB'})" if not isinstance(value, int) else "?"
                try:
                    db.execute(f"UPDATE {table} SET {column} = {new} WHERE {where}", (changed, *row))
                except sqlite3.Error:
                    continue  # two alike, which no flipped bit makes
            db.close()
            store = SQLiteStore(file)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CorruptPayloadWarning)
                if (table, column) in {("persistable_packs", "folder"), ("persistable_packs", "paths"), ("persistable_packs", "sizes")}:
                    if column != "folder":
                        look(store, set())  # put right
                    else:
                        assert store.get_many(EXPECTED) == EXPECTED
                else:
                    look(store, packed if table != "persistable_items" else set(EXPECTED))
                mend(store, table != "persistable_slots")
            store.close()


def test_a_pack_that_is_gone_is_absent_and_made_anew(sound: Path) -> None:
    with sqlite3.connect(sound) as db:
        db.execute("DELETE FROM persistable_packs WHERE folder = 'near'")
    db.close()
    store = SQLiteStore(sound)
    with pytest.warns(CorruptPayloadWarning, match="a pack of small items"):
        assert not store.exists("near/00000003.record.json")
    look(store, {path for path in EXPECTED if path.startswith("near")})
    mend(store)


def test_a_pack_that_cannot_be_mended_where_nothing_may_be_written_is_read_all_the_same(sound: Path) -> None:
    with sqlite3.connect(sound) as db:
        db.execute("UPDATE persistable_packs SET paths = replace(paths, '00000003', '00000ww3') WHERE folder = 'near'")
    db.close()
    sound.chmod(0o444)
    store = SQLiteStore(f"{sound}")
    near = {path for path in EXPECTED if path.startswith("near/00000003")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CorruptPayloadWarning)
        look(store, near)


def test_one_flipped_bit_of_the_file_never_hangs_and_is_told_in_our_words(sound: Path, tmp_path: Path) -> None:
    raw = sound.read_bytes()
    bits = random.Random(11)
    served = refused = 0
    for place in [*range(0, 100, 9), *range(100, len(raw), len(raw) // 40)]:
        changed = bytearray(raw)
        changed[place] ^= 1 << bits.randrange(8)
        file = tmp_path / "x.db"
        for suffix in ("-wal", "-shm"):
            Path(f"{file}{suffix}").unlink(missing_ok=True)
        file.write_bytes(changed)
        store = SQLiteStore(file, timeout=2)
        began = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CorruptPayloadWarning)
            for path in EXPECTED:
                for call in (store.get, store.exists, store.stat, store.delete):
                    try:
                        call(path)
                        served += 1
                    except FileNotFoundError:
                        pass
                    except StoreError:
                        refused += 1
            for several, what in ((store.list, ""), (store.get_many, EXPECTED), (store.put_many, EXPECTED), (store.stat_many, EXPECTED)):
                try:
                    several_at_once: Any = several
                    list(several_at_once(what) or ())
                except StoreError:
                    refused += 1
            store.close()
        assert time.monotonic() - began < 20
    assert served > 8 * refused


@step
def square(n: int) -> int:
    return n * n


@pytest.mark.parametrize("damage", ["paths = CAST(x'ff' || substr(CAST(paths AS BLOB), 2) AS TEXT)", "paths = x'00ff'", "sizes = x'0100'"])
def test_members_of_a_damaged_pack_are_generated_again(tmp_path: Path, damage: str) -> None:
    store = SQLiteStore(tmp_path / "x.db")
    family = square.over(n=list(range(60)))
    run(family, store=store)
    store.close()
    with sqlite3.connect(tmp_path / "x.db") as db:
        db.execute(f"UPDATE persistable_packs SET {damage}")
    db.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CorruptPayloadWarning)
        bound = family.bind(SQLiteStore(tmp_path / "x.db"))
        assert bound.nodes[3].load_generate().payload == 9
        assert bound.nodes[4].delete() in (True, False)
        assert not bound.nodes[4].exists()
        result = run(family, store=store)
        assert len(result.failures) == 0
        again = family.bind(SQLiteStore(tmp_path / "x.db"))
        assert [node.load().payload for node in again.nodes] == [n * n for n in range(60)]
