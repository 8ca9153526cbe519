"""Families as list inputs: their members are read some hundreds at a time, each as it would be alone."""

import threading
from collections import Counter, UserList, deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from persistable import Persistable, open_store, run, step
from persistable.errors import CorruptPayloadWarning, MistypedParam
from persistable.events import Event, Loaded, subscribe
from persistable.records.record import Record
from persistable.stores import SQLiteStore

NUMBER = 1100
MADE: list[int] = []


@step
def item(n: int) -> list[int]:
    MADE.append(n)
    return [n] * (20_000 if n == 7 else 1)


@step
def total(xs: list[list[int]]) -> int:
    return sum(x[0] for x in xs)


class Apart(Persistable[int, None]):
    """Reads its upstream from threads, from both ends."""

    xs: list[Persistable[Any, Any]]

    def _generate_payload(self, **_: Any) -> int:
        with ThreadPoolExecutor(2) as pool:
            ends = pool.map(lambda nodes: sum(node.payload[0] for node in nodes), (self.xs[:550], self.xs[:549:-1]))
            return sum(ends)


@pytest.fixture(params=["folder", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    MADE.clear()
    return open_store(tmp_path / "data" if request.param == "folder" else f"sqlite:///{tmp_path / 'x.db'}")


def test_members_are_read_together_and_each_record_once(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    family = item.over(n=range(NUMBER)).bind(place)
    run(family)
    parsed: list[int] = []
    calls: Counter[str] = Counter()
    parse = Record.__dict__["parse"].__func__

    def counted(cls: Any, data: bytes, key: Any = None) -> Any:
        parsed.append(1)
        return parse(cls, data, key)

    monkeypatch.setattr(Record, "parse", classmethod(counted))

    def counting(name: str, method: Any) -> Any:
        def call(*args: Any) -> Any:
            calls[name] += 1
            return method(*args)

        return call

    for name in ("get", "get_many", "stat", "exists"):
        monkeypatch.setattr(type(place), name, counting(name, getattr(type(place), name)))
    heard: list[Event] = []
    with subscribe(heard.append):
        assert total.step(family).bind(place).payload == sum(range(NUMBER))
    assert len(MADE) == NUMBER and len(parsed) <= NUMBER + 10
    assert sum(isinstance(event, Loaded) and event.key.name == "item" for event in heard) == NUMBER
    if isinstance(place, SQLiteStore):
        assert sum(calls.values()) < 40


def test_what_is_damaged_or_gone_is_made_anew(place: Any) -> None:
    family = item.over(n=range(NUMBER)).bind(place)
    run(family)
    file = family[600].record.files[0].path
    place.put(file, place.get(file)[:-1])
    place.delete(family[601].place.path + ".record.json")
    MADE.clear()
    with pytest.warns(CorruptPayloadWarning):
        assert total.step(family).bind(place).payload == sum(range(NUMBER))
    assert sorted(MADE) == [600, 601]


def test_threads_may_read_from_both_ends(place: Any) -> None:
    family = item.over(n=range(NUMBER)).bind(place)
    run(family)
    assert Apart(place, xs=list(family.nodes)).payload == sum(range(NUMBER))
    assert threading.active_count() < 20


@step
def halved(xs: tuple[list[int], ...]) -> float:
    return sum(x[0] for x in xs) / 2


@step
def counted(xs: Any) -> int:
    return len(xs)


def test_any_sequence_of_nodes_does_for_a_list_of_them(tmp_path: Path) -> None:
    family = item.over(n=range(3))
    nodes = list(family.nodes)
    for many in (family.nodes, family.values(), deque(nodes), UserList(nodes)):
        assert total.step(many).key == total.step(nodes).key
        assert halved.step(many).key == halved.step(nodes).key
        assert Apart(xs=many).key == Apart(xs=nodes).key
    assert counted.step(family.nodes).key == counted.step(nodes).key
    node = total.step(xs=family.nodes[1:])
    assert run(node, store=tmp_path)[node].payload == 3
    assert run(family.nodes, store=tmp_path).counts["reused"] == 2
    assert [node.key for node in counted.over(xs=family.nodes).nodes] == [node.key for node in counted.over(xs=nodes).nodes]
    with pytest.raises(MistypedParam):
        total.step(deque([[1]]))
    assert counted.step(deque(nodes)).key != counted.step(nodes).key  # what is declared otherwise, or not at all, is given as it is
