"""What was found fresh is looked at again at each look, however little of it is parsed then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from store_kinds import each_store
from tests.edits import edited

from persistable import Persistable, Status, open_store, plan, run
from persistable.errors import StaleCodeWarning

FLOW = """
from persistable import step

def helper(n):
    return n

@step
def first(n: int) -> int:
    return helper(n)

@step(persist=False)
def between(first: int) -> int:
    return first + 1

@step
def last(between: int) -> int:
    return between + 1
"""


store = each_store("folder", "sqlite")


def flow(store: Any) -> tuple[Any, Any, Any]:
    module = edited(FLOW)
    first = module.first.step(1).bind(store)
    last = module.last.step(module.between.step(first)).bind(store)
    assert last.payload == 3
    assert last.status is Status.DONE and last.status is Status.DONE
    return module, first, last


def doubled(n: int) -> int:
    return n * 2


def test_other_bytes_and_the_same_again(store: Any) -> None:
    _, first, last = flow(store)
    first.put(5)
    assert last.status is Status.STALE and last.status is Status.STALE
    first.put(1)
    assert last.status is Status.DONE and last.status is Status.DONE
    first.put(5)
    assert last.status is Status.STALE


def test_code_changed_in_place(store: Any) -> None:
    module, first, last = flow(store)
    before = module.helper
    module.helper = doubled
    assert first.status is Status.STALE and last.status is Status.STALE
    module.helper = before
    assert first.status is Status.DONE and last.status is Status.DONE


def test_runs_look_again_too(store: Any) -> None:
    module, first, last = flow(store)
    before = module.helper
    for _ in range(2):
        assert run(last).counts["stale"] == 0
    module.helper = doubled
    assert plan(last).rows[0].reason.startswith("stored, stale")
    with pytest.warns(StaleCodeWarning):
        assert run(last).counts["stale"] == 1
    module.helper = before
    assert run(last).counts["stale"] == 0
    first.put(5)
    with pytest.warns(StaleCodeWarning):
        assert run(last).counts["stale"] == 1


def test_what_is_gone_is_not_replaced_but_its_code_counts(store: Any) -> None:
    module, first, last = flow(store)
    first.delete()
    assert last.status is Status.DONE and last.status is Status.DONE
    module.helper = doubled
    assert last.status is Status.STALE


def test_own_record_put_over(store: Any) -> None:
    _, first, last = flow(store)
    first.put(5)
    last.generate()
    assert last.status is Status.DONE and last.payload == 7
    first.put(1)
    assert last.status is Status.STALE


def test_the_same_node_elsewhere(store: Any, tmp_path: Path) -> None:
    _, first, last = flow(store)
    with open_store(tmp_path / "other") as other:
        assert last.bind(other).status is Status.ABSENT
    first.put(5)
    assert last.bind(store).status is Status.STALE


def test_a_flipped_bit_upstream_makes_nothing_stale(store: Any) -> None:
    _, first, last = flow(store)
    path = f"{first.key}.record.json"
    sound = store.get(path)
    for position in range(0, sound.index(b"\n") + 20, 4):
        damaged = bytearray(sound)
        damaged[position] ^= 1 << position % 8
        store.put(path, bytes(damaged))
        for _ in range(2):
            assert last.status is Status.DONE, damaged[position - 10 : position + 10]
            assert last.bind(store).status is Status.DONE
    store.put(path, sound[:100])
    assert last.status is Status.DONE
    store.put(path, b"")
    assert last.status is Status.DONE


class Raw(Persistable[int, None]):
    def _generate_payload(self, **_: Any) -> int:
        return 1


class Other(Raw):
    def _generate_payload(self, **_: Any) -> int:
        return 2


class Sum(Persistable[int, None]):
    base: Raw

    def _generate_payload(self, **_: Any) -> int:
        return self.base.payload + 1


def test_a_replaced_upstream_node_brings_its_own_code(store: Any) -> None:
    node = Sum(store, base=Raw(store))
    assert node.payload == 2 and node.status is Status.DONE
    other = node.replace(base=Other(store))
    assert other.payload == 3
    assert other.record is not None
    assert [entry["class"].rpartition(":")[2] for entry in other.record.upstream_code] == ["Other"]
    assert other.status is Status.DONE and Sum(store, base=Other(store)).status is Status.DONE
