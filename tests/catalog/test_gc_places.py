"""Cleaning up where payloads lie at readable paths, in buckets, and where records are signed."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_kinds import each_store

from persistable import Catalog, Workflow, Workspace, open_store, run, seed, step, stored
from persistable.catalog.cleanup import trash_files
from persistable.errors import PayloadNotFound
from persistable.fileio import JsonFileIO
from persistable.stores import LayeredStore, Store
from persistable.stores.base import HIDDEN
from persistable.stores.custom_path import PLACED


@step(io=JsonFileIO())
def twice(n: int) -> int:
    return 2 * n


@step(io=JsonFileIO())
def more(n: int) -> int:
    return n + 1


class Doubling(Workflow):
    raw = seed(int)
    doubled = twice.step(raw)
    result = more.step(doubled)


class Files(Workspace[Doubling]):
    raw = stored("raw/{workflow_id}.json")
    doubled = stored("computed/doubled-{workflow_id}.json")
    result = stored("results/{workflow_id}.json")


store = each_store("folder", "sqlite", "memory", "two folders", "cached", "s3", "signed")


def contents(store: Store) -> dict[str, bytes]:
    return {path: store.get(path) for prefix in ("", PLACED) for path in store.list(prefix)}


def filled(store: Store) -> Files:
    for number in (1, 2, 3):
        store.put(f"raw/{number}.json", b"%d" % number)
    workspace = Files(store)
    assert [workspace[name].result for name in ("1", "2", "3")] == [3, 5, 7]
    return workspace


def test_payloads_at_readable_paths_go_and_come_back_and_inputs_stay(store: Store) -> None:
    workspace = filled(store)
    before = contents(store)
    catalog = Catalog(store, index=None)
    planned = catalog.gc(keep=workspace["2"].node("result"))
    assert {item.entry.at for item in planned if item.entry is not None} == {
        f"{folder}{number}.json" for folder in ("computed/doubled-", "results/") for number in (1, 3)
    }
    assert all(f"{PLACED}/{item.entry.at}.record.json" in item.paths for item in planned if item.entry is not None)
    assert len(catalog.gc(keep=workspace)) == 0
    assert planned.apply().left == []
    with pytest.raises(PayloadNotFound):
        workspace["1"].node("result").bind(store).load()
    assert workspace["2"].node("result").load().payload == 5
    assert {path for path in contents(store) if path.startswith("raw/")} == {f"raw/{number}.json" for number in (1, 2, 3)}
    assert catalog.restore().left == []
    assert contents(store) == before
    catalog.gc(keep=workspace["2"].node("result")).apply()
    assert catalog.empty_trash().left == []
    kept = {
        path
        for path in before
        if not path.removeprefix(PLACED + "/").startswith(("computed/doubled-1", "computed/doubled-3", "results/1", "results/3"))
    }
    assert contents(store).keys() == kept
    assert not list(store.list(trash_files.FOLDER)) and len(catalog.gc()) == 0
    assert Files(store)["1"].result == 3  # and is made anew when it is asked for


def test_somebodys_own_file_at_such_a_path_is_left_alone(store: Store) -> None:
    workspace = filled(store)
    store.put("results/1.json", b"8")  # as long as before
    store.put("results/2.json", b"edited by hand")
    catalog = Catalog(store, index=None)
    catalog.gc(name="more").apply()
    assert store.get("results/1.json") == b"8" and store.get("results/2.json") == b"edited by hand"
    catalog.restore()
    assert store.get("results/1.json") == b"8" and store.get("results/2.json") == b"edited by hand"
    assert workspace["3"].node("result").load().payload == 7
    catalog.gc(name="more").apply()
    store.put("results/3.json", b"by hand")
    catalog.empty_trash()
    assert [store.get(f"results/{number}.json") for number in (1, 2, 3)] == [b"8", b"edited by hand", b"by hand"]


def test_what_lies_there_by_now_is_not_replaced(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    filled(store)
    catalog = Catalog(store, index=None)
    catalog.gc(name="more").apply()
    store.put("results/1.json", b"by hand")
    back, left = catalog.restore()
    assert len(back) == 2 and [kept.why for kept in left] == ["there is a file at results/1.json by now"]
    assert store.get("results/1.json") == b"by hand"


def test_a_layer_that_is_behind_keeps_what_it_has_not_handed_on(tmp_path: Path) -> None:
    fast = open_store(tmp_path / "fast")
    store = LayeredStore(fast, tmp_path / "slow")
    node = twice.step(4)
    run(node, store=store)
    fast.put(f"{HIDDEN}/pending/{node.key.path}.record.json", b'{"gone": false, "new": true}')
    open_store(tmp_path / "slow").delete(f"{node.key.path}.record.json")
    taken = Catalog(store, index=None).gc(keep=[]).apply()
    assert node.bind(store).load().payload == 8
    assert all("not been brought" in kept.why or "changed" in kept.why for kept in taken.left)
