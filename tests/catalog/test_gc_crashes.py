"""Cleaning up, restoring and emptying, cut off at any call of the store or killed at any line: old, new, or garbage that the next finds."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from faults.faulty import FAULTS

from catalog.cut_off import KINDS, cut_off_at_calls, killed_at_lines
from catalog.payloads import Files, number, several, squares
from persistable import Catalog, run, step
from persistable.catalog.cleanup import plan as collecting
from persistable.catalog.cleanup import trash_files
from persistable.errors import PayloadNotFound
from persistable.fileio import JsonFileIO
from persistable.records import owners
from persistable.records.scratch import scratch_folder
from persistable.stores import LayeredStore, LocalStore, MemoryStore, SQLiteStore, Store
from persistable.stores.base import HIDDEN
from persistable.stores.custom_path import PLACED, PLACING


@step
def broken(n: int) -> int:
    raise ValueError(n)


KEPT = number.step(1)
GOING = [number.step(2), squares.step(3), several.step(4)]
SEED = b"21"


def filled(store: Store) -> None:
    """One payload of each kind, and a failure."""
    run(KEPT, *GOING, broken.step(1), store=store, errors="return")
    store.put("raw/001.json", SEED)
    assert Files(store)["001"].doubled == 42


def contents(store: Store) -> dict[str, bytes]:
    """Everything but what lies in the trash, claims, and what stores keep for themselves."""
    paths = [path for prefix in ("", PLACED, PLACING) for path in store.list(prefix)]
    return {path: store.get(path) for path in paths if ".claim" not in path and not path.endswith(".beat")}


def whole_or_gone(store: Store) -> None:
    """What a reader finds is a whole payload or none."""
    assert KEPT.bind(store).load().payload == 1
    wanted: list[tuple[Any, Callable[[Any], Any], Any]] = [
        (GOING[0], lambda payload: payload, 2),
        (GOING[1], dict, {0: 0, 1: 1, 2: 4}),
        (GOING[2], lambda payload: payload, {"count": 4, "words": "wwww"}),
        (Files(store)["001"].node("doubled"), lambda payload: payload, 42),
    ]
    for node, shown, expected in wanted:
        with suppress(PayloadNotFound):
            assert shown(node.bind(store).load().payload) == expected
    assert store.get("raw/001.json") == SEED


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no record names counts at once: nobody else writes here."""
    monkeypatch.setattr(trash_files, "SETTLED", -1.0)


def prepared(store: Store, act: str) -> dict[str, bytes]:
    filled(store)
    before = contents(store)
    if act != "apply":
        Catalog(store, index=None).gc(keep=KEPT).apply()
    return before


def begun(catalog: Catalog, act: str) -> Callable[[], Any]:
    """The act, planned."""
    if act != "apply":
        return catalog.restore if act == "restore" else catalog.empty_trash
    planned = catalog.gc(keep=KEPT)
    assert len(planned) == 5
    return planned.apply


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("act", ["apply", "restore", "empty"])
def test_cut_off_at_any_call(tmp_path: Path, kind: str, fault: str, act: str) -> None:
    calls = range(FAULTS.index(fault) % 2, 400, 2 if kind in ("folder", "memory") else 3)
    parts = partial(prepared, act=act), partial(begun, act=act), partial(recovers, act=act)
    assert cut_off_at_calls(tmp_path, kind, fault, calls, *parts) >= 3


def recovers(store: Store, before: dict[str, bytes], _: int, act: str) -> None:
    whole_or_gone(store)
    catalog = Catalog(store, index=None)
    if act != "empty":
        catalog.restore()
        whole_or_gone(store)
        assert contents(store) == before
        assert not list(store.list(trash_files.FOLDER))
    catalog.gc(keep=KEPT).apply()
    catalog.gc(keep=KEPT).apply()  # what the first made visible
    left = catalog.empty_trash().left
    assert left == [], left
    assert {path.partition(".")[0] for path in contents(store)} == {KEPT.key.path, "raw/001"}
    assert not list(store.list(trash_files.FOLDER)) and len(catalog.gc()) == 0
    assert KEPT.bind(store).load().payload == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("url", ["folder", "sqlite"])
@pytest.mark.parametrize("act", ["apply", "restore", "empty"])
def test_killed_at_any_line(tmp_path: Path, url: str, act: str) -> None:
    first = 1 / 3 if act == "apply" else 0
    parts = partial(prepared, act=act), lambda catalog: begun(catalog, act)(), partial(recovers, act=act)
    assert killed_at_lines(tmp_path, url, 18, first, *parts) > 9


def test_a_load_that_races_gets_the_whole_payload_or_none(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    filled(store)
    catalog = Catalog(store, index=None)
    stop = threading.Event()
    wrong: list[BaseException] = []
    seen = {"whole": 0, "gone": 0}

    def read() -> None:
        while not stop.is_set():
            for node, expected in ((GOING[2], {"count": 4, "words": "wwww"}), (GOING[0], 2)):
                try:
                    assert node.bind(store).load().payload == expected
                    seen["whole"] += 1
                except PayloadNotFound:
                    seen["gone"] += 1
                except BaseException as error:  # noqa: BLE001 - shown below
                    wrong.append(error)
            try:
                payload = GOING[1].bind(store).load().payload
                assert dict(payload) == {0: 0, 1: 1, 2: 4}
            except PayloadNotFound:
                pass
            except BaseException as error:  # noqa: BLE001 - shown below
                wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for thread in readers:
        thread.start()
    for _ in range(25):
        catalog.gc(keep=KEPT).apply()
        catalog.restore()
    stop.set()
    for thread in readers:
        thread.join()
    assert wrong == [] and min(seen.values()) > 0


def test_what_crashes_leave_is_found_and_removed(tmp_path: Path) -> None:
    """Each kind of garbage, as a process that is gone has left it."""
    store = LocalStore(tmp_path)
    filled(store)
    key = GOING[0].key
    dead = b'{"host": "%b", "pid": 4194301, "start": "1", "token": "0"}' % _this_host()
    store.put(f"number/{'a' * 32}.claim", dead)
    store.put(f"number/{'a' * 32}.beat", b"7")
    store.put(f"number/{'a' * 32}.01234567.json", b"half")
    store.put(f"{key.path}.01234567.json", b"an attempt whose record never came")
    store.put(f"{HIDDEN}/scratch/{key.path}/checkpoint", b"of a payload that is stored")
    store.put(f"{PLACING}/computed/01234567-doubled-001.json", b"never moved")
    store.put(f"{HIDDEN}/reach/abc", b"")
    (tmp_path / "number" / f".{'a' * 32}.01234567.json.0123.tmp").write_bytes(b"unfinished")
    catalog = Catalog(store, index=None)
    before = contents(store)
    planned = catalog.gc()
    assert {item.reason for item in planned} == {
        "left by an attempt that was killed",
        "files that no record names",
        "claim of a process that is gone",
        "checkpoints of a payload that is stored",
        "unfinished write",
        "trial of whether the store answers",
    }
    assert {item.name for item in catalog.gc(name="number")} == {"number"}
    assert planned.apply().left == []
    whole_or_gone(store)
    assert len(catalog.gc()) == 0
    assert not list((tmp_path / "number").rglob(".*.tmp")) and not list(tmp_path.rglob("*.claim*")) and not list(tmp_path.rglob("*.beat"))
    catalog.restore()
    assert contents(store) == before
    catalog.gc().apply()
    catalog.empty_trash()
    gone = {f"number/{'a' * 32}.01234567.json", f"{key.path}.01234567.json", f"{PLACING}/computed/01234567-doubled-001.json"}
    assert contents(store) == {path: data for path, data in before.items() if path not in gone}


def _this_host() -> bytes:
    import json

    from persistable.records import owners

    host: str = json.loads(owners.mine())["host"]
    return host.encode()


def test_checkpoints_on_this_machine_of_a_store_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    store = SQLiteStore(tmp_path / "a.db")
    run(KEPT, store=store)
    files = [scratch_folder(store, key) / "deep" / "checkpoint" for key in (KEPT.key, number.step(77).key)]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_bytes(b"work")
    catalog = Catalog(store, index=None)
    assert [(item.reason, item.paths) for item in catalog.gc()] == [("checkpoints of a payload that is stored", (str(files[0]),))]
    assert catalog.gc().apply().left == [] and [file.exists() for file in files] == [False, True]
    os.utime(files[1], (0, 0))
    catalog.gc().apply()
    assert not files[1].exists() and len(catalog.gc()) == 0


def test_a_claim_of_another_host_counts_until_it_has_been_silent_for_a_day(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    filled(store)
    base = f"number/{'d' * 32}"
    store.put(base + ".claim", b'{"host": "elsewhere", "pid": 7, "start": "1", "token": "0"}')
    store.put(base + ".01234567.json", b"half")
    catalog = Catalog(store, index=None)
    assert len(catalog.gc(keep=[])) == 0  # all of it is younger
    os.utime(tmp_path / f"{base}.claim", (0, 0))
    store.put(base + ".beat", b"3")
    assert not any(item.left for item in catalog.gc(keep=KEPT))
    os.utime(tmp_path / f"{base}.beat", (0, 0))
    assert {item.reason for item in catalog.gc()} == {"claim of a process that is gone", "left by an attempt that was killed"}
    assert catalog.gc().apply().left == []
    assert not [path for path in store.list() if path.startswith(base)] and len(catalog.gc()) == 0


class Bucket(MemoryStore):
    """A store whose listing does not tell the age of files, as that of a bucket."""

    age = 0.0

    def modified(self, path: str) -> float | None:
        return time.time() - self.age if self.exists(path) else None


def test_a_claim_of_another_host_beside_a_stored_payload_goes_where_the_listing_tells_no_ages(tmp_path: Path) -> None:
    """Killed between the record and the release of the claim: nobody asks for the claim any more."""
    store = Bucket(str(tmp_path))
    filled(store)
    store.put(f"{KEPT.key.path}.claim", b'{"host": "elsewhere", "pid": 7, "start": "1", "token": "0"}')
    catalog = Catalog(store, index=None)
    assert len(catalog.gc()) == 0
    store.age = 2 * 86400
    assert [item.reason for item in catalog.gc()] == ["claim of a process that is gone"]
    assert catalog.gc().apply().left == []
    assert not store.exists(f"{KEPT.key.path}.claim") and KEPT.bind(store).load().payload == 1


def test_a_claim_goes_from_the_layer_that_stood_in_for_the_primary(tmp_path: Path) -> None:
    fast, slow = LocalStore(tmp_path / "fast"), LocalStore(tmp_path / "slow")
    store = LayeredStore(fast, slow)
    filled(store)
    claim = owners.mine().replace(b'"pid": %d' % os.getpid(), b'"pid": %d' % (2**22 - 1)).partition(b', "check"')[0] + b"}"
    for layer in (fast, slow):
        layer.put(f"{KEPT.key.path}.claim", claim)
        layer.put(f"{KEPT.key.path}.beat", b"3")
    catalog = Catalog(store, index=None)
    assert {item.reason for item in catalog.gc()} == {"claim of a process that is gone"}
    assert catalog.gc().apply().left == []
    assert not [path for layer in (fast, slow) for path in layer.list() if path.endswith((".claim", ".beat"))]
    assert len(catalog.gc()) == 0


def test_what_is_gone_when_it_is_to_be_moved_is_passed_over(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    trash_files._move(store, {"gone/file": f"{trash_files.FOLDER}/stamp/files/gone/file"})
    assert list(store.list(trash_files.FOLDER)) == []


def test_generating_and_cleaning_up_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked for is there, whole, whoever is faster."""
    monkeypatch.setattr(collecting, "SAFETY_MARGIN", -1e12)  # only what is being generated itself stays
    stop = threading.Event()
    wrong: list[BaseException] = []
    taken: list[int] = []

    def generate(offset: int) -> None:
        store = LocalStore(tmp_path)
        try:
            for turn in range(60):
                n = (turn + offset) % 5
                assert number.step(n).bind(store).load_generate().payload == n
                assert dict(squares.step(2).bind(store).load_generate().payload).keys() == {0, 1}
        except BaseException as error:  # noqa: BLE001 - shown below
            if not isinstance(error, PayloadNotFound):  # of an item that went while it was looked at
                wrong.append(error)

    def clean() -> None:
        catalog = Catalog(tmp_path, index=None)
        try:
            while not stop.is_set():
                taken.append(len(catalog.gc(keep=[]).apply().items))
                catalog.restore()
                taken.append(len(catalog.gc(older_than=0).apply().items))
                catalog.empty_trash()
        except BaseException as error:  # noqa: BLE001 - shown below
            wrong.append(error)

    makers = [threading.Thread(target=generate, args=(place,)) for place in range(2)]
    cleaners = [threading.Thread(target=clean) for _ in range(2)]
    for thread in [*makers, *cleaners]:
        thread.start()
    for thread in makers:
        thread.join()
    stop.set()
    for thread in cleaners:
        thread.join()
    assert wrong == [] and sum(taken) > 5
    store = LocalStore(tmp_path)
    catalog = Catalog(store, index=None)
    assert catalog.verify().ok
    catalog.gc(keep=[]).apply()
    catalog.empty_trash()
    assert not list(store.list()) and not list(store.list(trash_files.FOLDER))


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_what_may_still_be_named_is_left_for_an_hour(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy from another store has no claim, and puts the record last."""
    monkeypatch.setattr(trash_files, "SETTLED", 3600.0)
    store: Store = LocalStore(tmp_path) if kind == "folder" else MemoryStore()
    path = f"number/{'b' * 32}.01234567.json"
    store.put(path, b"on its way")
    catalog = Catalog(store, index=None)
    catalog.gc().apply()
    assert [kept.why for kept in catalog.empty_trash().left] == ([] if kind == "folder" else ["a record may be about to name it"])
    assert store.get(path) == b"on its way"
    if kind == "folder":
        os.utime(tmp_path / path, (0, 0))
        assert [item.paths for item in catalog.gc()] == [(path,)]
    else:
        monkeypatch.setattr(trash_files, "SETTLED", -1.0)
        catalog.empty_trash()
        assert not list(store.list())


def test_checkpoints_and_items_that_can_be_gone_on_with_stay_for_a_week(tmp_path: Path) -> None:
    @step(name="cut_off", io=JsonFileIO())
    def cut_off(n: int) -> Iterator[tuple[int, int]]:
        yield 0, n
        yield 1, n
        raise ValueError("cut off")

    run(cut_off.step(1), store=tmp_path, errors="return")
    store = LocalStore(tmp_path)
    store.put(f"{HIDDEN}/scratch/number/{'c' * 32}/checkpoint", b"an hour's work")
    items = [path for path in store.list("cut_off") if ".items/" in path]
    assert len(items) == 2
    catalog = Catalog(store, index=None)
    assert len(catalog.gc()) == 0
    for file in tmp_path.rglob("*"):
        if file.is_file():
            os.utime(file, (0, 0))
    assert {item.reason for item in catalog.gc()} == {"checkpoints that nothing resumed", "items that nothing resumed"}
    assert set(items) <= {path for item in catalog.gc() for path in item.paths}
    before = {path: store.get(path) for path in store.list(HIDDEN)}
    catalog.gc().apply()
    assert not [path for path in store.list("cut_off") if ".items/" in path]
    catalog.restore()
    assert {path: store.get(path) for path in store.list(HIDDEN)} == before
