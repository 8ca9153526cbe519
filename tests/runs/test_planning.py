"""Planning touches nothing: it is driven here with lists of what stores hold and of what happened."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persistable import Pipeline, Project, Workspace, open_store, plan, run, step
from persistable.errors import InputMissing
from persistable.nodes.status import State, Status
from persistable.runs.planner import Planner, Unit
from persistable.stores import MemoryStore

ABSENT = State(Status.ABSENT, why="nothing is stored")
STORED = State(Status.DONE, True, "t", "stored")
FAILED = State(Status.FAILED, why="its last attempt failed")


@step
def node(name: str, *sources: Any) -> str:
    return name


@step(persist=False)
def passing(name: str, *sources: Any) -> str:
    return name


def name_of(unit: Any) -> str:
    return str(unit.node.params.name)


class Driver:
    """Drives a plan with made-up stores: `holds` maps names to what is found under them."""

    def __init__(self, targets: list[Any], holds: dict[str, State] | None = None, failed: str = "retry") -> None:
        store = MemoryStore()
        self.looks: list[list[str]] = []
        self.holds = holds or {}
        self.planner = Planner([(target, store) for target in targets], self.look, failed=failed)
        self.decided = self.planner.decide()

    def look(self, units: list[Unit]) -> list[State]:
        self.looks.append([name_of(unit) for unit in units])
        return [self.holds.get(name_of(unit), ABSENT) for unit in units]

    def names(self, field: str) -> list[str]:
        return [name_of(unit) for unit in getattr(self.decided, field)]

    def carry_out(self, succeeds: Callable[[str], bool] = lambda name: True) -> tuple[list[list[str]], dict[str, str]]:
        """The names begun in each round when all of a round end before the next, and those skipped with their causes."""
        rounds: list[list[str]] = []
        skipped: dict[str, str] = {}
        start = self.planner.start()
        while start is not None:
            skipped.update({name_of(unit): name_of(cause) for unit, cause in start.skipped})
            rounds.append([name_of(unit) for unit in start.units])
            start = self.planner.go_on([(unit, succeeds(name_of(unit))) for unit in start.units])
        return [each for each in rounds if each], skipped


def diamond() -> tuple[Any, Any, Any, Any]:
    a = node.step("a")
    b, c = node.step("b", a), node.step("c", a)
    return a, b, c, node.step("d", b, c)


def test_a_diamond_runs_each_node_once_upstream_first() -> None:
    driver = Driver([diamond()[3]])
    assert driver.names("needed") == ["a", "b", "c", "d"]
    assert driver.carry_out() == ([["a"], ["b", "c"], ["d"]], {})


def test_what_is_stored_needs_nothing_upstream() -> None:
    driver = Driver([diamond()[3]], {"d": STORED})
    assert driver.looks == [["d"]]
    assert (driver.names("needed"), driver.names("reused")) == ([], ["d"])
    driver = Driver([diamond()[3]], {"b": STORED, "a": STORED})
    assert driver.names("needed") == ["c", "d"]
    assert set(driver.names("reused")) == {"a", "b"}
    assert driver.carry_out()[0] == [["c"], ["d"]]


def test_a_gap_in_the_middle_is_filled_without_what_lies_before_it() -> None:
    _a, b, _, d = diamond()
    driver = Driver([d, b], {"a": STORED, "c": STORED})
    assert driver.names("needed") == ["b", "d"]


def test_unpersisted_nodes_run_when_something_needs_them() -> None:
    a = passing.step("a")
    b = node.step("b", a)
    assert Driver([b], {"b": STORED}).names("needed") == []
    driver = Driver([b])
    assert driver.looks == [["b"]] and driver.names("needed") == ["a", "b"]
    assert Driver([a]).names("needed") == ["a"]


def test_a_failure_skips_what_depends_on_it_and_nothing_else() -> None:
    _, b, _, d = diamond()
    e, f = node.step("e", d), node.step("f", b)
    rounds, skipped = Driver([e, f]).carry_out(lambda name: name != "c")
    assert rounds == [["a"], ["b", "c"], ["f"]]
    assert skipped == {"d": "c", "e": "c"}


def test_recorded_failures_are_retried_or_left() -> None:
    _, _b, _, d = diamond()
    assert Driver([d], {"b": FAILED}).names("needed") == ["a", "b", "c", "d"]
    driver = Driver([d], {"b": FAILED, "a": STORED}, failed="skip")
    assert driver.names("left") == ["b"]
    rounds, skipped = driver.carry_out()
    assert rounds == [["c"]] and skipped == {"d": "b"}
    assert "failures are left" in driver.decided.left[0].reason


def test_one_node_in_two_stores_is_two_jobs_and_one_in_one_store_is_one() -> None:
    here, there = MemoryStore(), MemoryStore()
    a = node.step("a")
    twins = [node.step("b", a), node.step("b", node.step("a"))]
    assert len(Driver(twins).decided.needed) == 2
    bound = [a.bind(here), a.bind(there), a.bind(here)]
    assert len(Driver(bound).decided.needed) == 2


def test_long_chains_are_looked_at_in_few_rounds_and_not_too_far() -> None:
    chain = [node.step("0")]
    for i in range(1, 1000):
        chain.append(node.step(str(i), chain[-1]))
    driver = Driver([chain[-1]])
    assert len(driver.looks) <= 12 and sum(map(len, driver.looks)) == 1000
    driver = Driver([chain[-1]], {"900": STORED})
    assert len(driver.decided.needed) == 99 and sum(map(len, driver.looks)) <= 2 * 100


def test_a_wide_run_finishes_one_branch_before_it_begins_the_next() -> None:
    branches = [node.step(f"out{i}", node.step(f"in{i}")) for i in range(3)]
    order = [name_of(unit) for unit in sorted(Driver(branches).decided.needed, key=lambda unit: unit.order)]
    assert order == ["in0", "out0", "in1", "out1", "in2", "out2"]


@st.composite
def graphs(draw: Any) -> tuple[list[Any], dict[str, list[str]]]:
    made: list[Any] = []
    edges: dict[str, list[str]] = {}
    for i in range(draw(st.integers(1, 12))):
        sources = [made[j] for j in draw(st.lists(st.integers(0, i - 1), max_size=3, unique=True))] if i else []
        made.append((node if draw(st.booleans()) else passing).step(str(i), *sources))
        edges[str(i)] = [source.params.name for source in sources]
    return made, edges


@given(graphs(), st.data())
@settings(max_examples=200)
def test_every_needed_node_begins_once_and_after_its_upstream(graph: Any, data: Any) -> None:
    """A model: what is needed is what a naive recursion says, nothing begins before what it needs has succeeded, all end or are skipped."""
    nodes, edges = graph
    persisted = {each.params.name: each.is_persisted for each in nodes}
    stored = {name for name in edges if persisted[name] and data.draw(st.booleans())}
    broken = {name for name in edges if data.draw(st.integers(0, 5)) == 0}
    targets = data.draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=3))
    needed: set[str] = set()

    def need(name: str) -> None:
        if name not in stored and name not in needed:
            needed.add(name)
            for source in edges[name]:
                need(source)

    for target in targets:
        need(target.params.name)
    driver = Driver(targets, dict.fromkeys(stored, STORED))
    assert set(driver.names("needed")) == needed and len(driver.names("needed")) == len(needed)
    rounds, skipped = driver.carry_out(lambda name: name not in broken)
    begun = [name for each in rounds for name in each]
    assert len(begun) == len(set(begun)) and {*begun, *skipped} == needed and not {*begun} & {*skipped}
    place = {name: number for number, each in enumerate(rounds) for name in each}
    for name in begun:
        for source in edges[name]:
            if source in needed:
                assert place[source] < place[name] and source not in broken
    for name in skipped:
        assert any(source in skipped or source in broken for source in edges[name])


def test_a_plan_is_a_table_of_what_and_why_and_touches_nothing(tmp_path: Path) -> None:
    with open_store(tmp_path / "store"):
        a, b, c, d = diamond()
        before = plan(d)
        assert not (tmp_path / "store").exists()
        assert [(row.key, row.action) for row in before] == [(each.key, "generate") for each in (a, b, c, d)]
        assert before[3].after == (b.key, c.key) and before.jobs == [a.key, b.key, c.key, d.key]
        d.run()
        b.delete()
        after = plan(d, b)
        assert after.counts == {"reuse": 2, "generate": 1}
        assert str(after).splitlines()[0] == "2 to reuse, 1 to generate"
        assert {row.reason for row in after} == {"stored", "nothing is stored"}
        frame = after.to_frame()
        assert list(frame["action"]) == ["reuse", "reuse", "generate"]
        assert ">generate</span>" in after._repr_html_()
        Path(next((tmp_path / "store" / "node").glob(f"{a.key.digest}.*.pickle"))).unlink()
        assert "its payload is damaged" in plan(a)[0].reason


def test_what_is_nothing_to_run_is_refused() -> None:
    with pytest.raises(TypeError, match="3 is nothing to run"):
        plan(3)
    for kind in (Workspace, Pipeline, Project):
        with pytest.raises(TypeError, match=f"{kind.__name__}'> is nothing to run"):
            run(kind)
    with pytest.raises(InputMissing, match="still needs name"):
        plan(node.step())


def test_the_picture_of_a_plan_shows_what_is_made_anew_and_what_is_reused(tmp_path: Path) -> None:
    root = node.step("root")
    first = node.step("first", root).bind(tmp_path)
    first.generate()
    second = node.step("second", first, node.step("other", root))
    todo = plan(second, store=tmp_path)
    picture = todo.lineage()
    shown = {str(each.params.name): picture.statuses.get(each.key) for each in picture.nodes}
    assert shown == {"root": "reuse", "first": "reuse", "other": "generate", "second": "generate"}
    assert picture.targets == (second,)
    assert todo.lineage(direction="TB").direction == "TB"
    assert "reuse 2" in picture.svg() and "generate 2" in picture.svg()
