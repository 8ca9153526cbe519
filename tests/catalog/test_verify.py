"""`Catalog.verify` reads everything and finds what is damaged, gone, or named by no record, in every kind of store and in each layer."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from store_kinds import each_store

from catalog.payloads import Files, number, several, squares
from persistable import Catalog, open_store, run, step
from persistable.catalog.cleanup import verify as verifying
from persistable.stores import LayeredStore, Store


@step
def large(n: int) -> bytes:
    return bytes([n]) * (3 << 20)


@step
def chance(n: int) -> float:
    return random.SystemRandom().random() + n


ALL = [number.step(1), number.step(2), large.step(1), large.step(2), squares.step(3), several.step(4)]


store = each_store("folder", "sqlite", "memory", "two folders", "s3")


def filled(store: Store) -> Catalog:
    run(*ALL, store=store)
    store.put("raw/001.json", b"21")
    assert Files(store)["001"].doubled == 42
    return Catalog(store, index=None)


def test_everything_sound_is_found_sound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "PAGE", 3)
    catalog = filled(store)
    seen: list[tuple[int, int]] = []
    found = catalog.verify(progress=lambda done, total: seen.append((done, total)))
    assert {entry.key for entry in found.sound} == {entry.key for entry in catalog.find()} and len(found.sound) == len(ALL) + 1
    assert (found.corrupt, found.missing, found.orphans, found.diverging) == ([], [], [], []) and found.ok
    assert seen[-1][0] == seen[-1][1] and len(seen) > 2
    copies = 2 if isinstance(store, LayeredStore) else 1
    sizes = sum(entry.size or 0 for entry in catalog.find())
    assert found.size >= sizes * copies
    assert f"{len(ALL) + 1} sound" in repr(found) and "sound" in found._repr_html_()  # pyright: ignore[reportPrivateUsage]


def test_a_record_in_the_place_of_another_is_corrupt(store: Store) -> None:
    """The node says that it is corrupt; so do the catalog, and what reads everything."""
    catalog = filled(store)
    one, other = (f"{node.key}.record.json" for node in ALL[:2])
    for layer in [each.store for each in store.layers] if isinstance(store, LayeredStore) else [store]:
        layer.put(other, layer.get(one))
    assert ALL[1].bind(store).status.value == "corrupt"
    assert [entry.key for entry in catalog.find(status="corrupt")] == [ALL[1].key]
    found = catalog.verify()
    assert [entry.key for entry in found.corrupt] == [ALL[1].key] and "that of " + str(ALL[0].key) in repr(found)


def test_a_flipped_bit_or_a_missing_file_anywhere_is_found(store: Store) -> None:
    catalog = filled(store)
    inner = store.layers[0].store if isinstance(store, LayeredStore) else store  # a copy in a cache counts, too
    places = {str(entry.key): [file.path for file in entry.files] for entry in catalog.find()}
    (items,) = {path.rpartition("/")[0] for path in inner.list("squares") if ".items/" in path}
    places[str(ALL[4].key)] += list(inner.list(items))
    assert sum(map(len, places.values())) == 11
    for key, paths in places.items():
        for path in paths:
            data = inner.get(path)
            for state, damaged in (("corrupt", bytes([data[0] ^ 1]) + data[1:]), ("corrupt", data[:-1]), ("missing", None)):
                if damaged is None:
                    inner.delete(path)
                else:
                    inner.put(path, damaged)
                found = catalog.verify()
                wrong = {"corrupt": found.corrupt, "missing": found.missing}
                assert [str(entry.key) for entry in wrong.pop(state)] == [key] and list(wrong.values()) == [[]], (path, state)
                assert path in found.faults[(found.corrupt or found.missing)[0]].why and not found.ok
                assert len(found.sound) == len(ALL)
            inner.put(path, data)
    assert catalog.verify().ok


def test_a_damaged_record_is_corrupt(tmp_path: Path) -> None:
    catalog = filled(open_store(tmp_path))
    file = tmp_path / f"{ALL[0].key.path}.record.json"
    file.write_bytes(file.read_bytes().replace(b'"made"', b'"mode"'))
    found = catalog.verify()
    assert [entry.key for entry in found.corrupt] == [ALL[0].key] and len(found.sound) == len(ALL)
    assert "corrupt" in repr(found) and "checksum" in repr(found)


def test_orphans_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from persistable.catalog.cleanup import trash_files

    monkeypatch.setattr(trash_files, "SETTLED", -1.0)
    catalog = filled(open_store(tmp_path))
    paths = [f"number/{'a' * 32}.01234567.json", f"{ALL[0].key.path}.01234567.json"]
    for path in paths:
        open_store(tmp_path).put(path, b"x")
    assert catalog.verify().orphans == sorted(paths) == Catalog(open_store(tmp_path, readonly=True), index=None).verify().orphans


def test_a_sample_is_made_again(tmp_path: Path) -> None:
    run(number.step(1), chance.step(1), store=tmp_path)
    by_hand = number.step(3).bind(tmp_path)
    by_hand.put(3)
    catalog = Catalog(tmp_path, index=None)
    found = catalog.verify(recompute=1.0)
    assert [entry.name for entry in found.diverging] == ["chance"] and not found.ok
    assert {entry.name: told.outcome for entry, told in found.reproductions.items()} == {"number": "identical", "chance": "different"}
    assert len(found.reproductions) == 2 and "diverging" in repr(found)
    assert len(catalog.verify(recompute=0.01).reproductions) == 1
    for wrong in (-0.1, 2):
        with pytest.raises(ValueError, match="recompute"):
            catalog.verify(recompute=wrong)


def test_memory_is_flat_for_large_files(tmp_path: Path) -> None:
    script = """
import resource, sys
from persistable import Catalog, step
from persistable.records.files import ExistingFile
import numpy as np
@step(name="huge")
def huge(n: int) -> bytes: return bytes(n)
if sys.argv[2] == "make":
    huge.step(400 << 20).bind(sys.argv[1]).generate()
else:
    catalog = Catalog(sys.argv[1], index=None)
    len(catalog)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert catalog.verify().ok
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 120 << 10, grown
"""
    for act in ("make", "look"):
        done = subprocess.run([sys.executable, "-c", script, str(tmp_path), act], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_record_that_a_damaged_index_hides_is_read(tmp_path: Path) -> None:
    run(*(number.step(n) for n in range(3)), store=tmp_path / "data")
    index = tmp_path / "index.db"
    with Catalog(tmp_path / "data", index=index) as catalog:
        assert len(catalog.find()) == 3
    with closing(sqlite3.connect(index)) as db, db:
        db.execute("UPDATE records SET status = 'dooe' WHERE id = 1")  # as a flipped bit does
    with Catalog(tmp_path / "data", index=index) as catalog:
        assert len(catalog.find()) == 2
        assert len(catalog.verify().sound) == len(catalog.find()) == 3
