"""Runs and plans over what is stale: reused with one warning, made anew with what follows, or refused."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from store_kinds import each_store
from tests.edits import edited

from persistable import plan, run
from persistable.errors import PayloadForeign, RunFailed, StaleCode, StaleCodeWarning

FLOW = """
from persistable import step

made = []

@step
def points(n: int) -> int:
    made.append("points")
    if {clean} == 13:
        raise RuntimeError("bad luck")
    return n + {clean}

@step(persist=False)
def passed(p: int) -> int:
    made.append("passed")
    return p

@step
def half(p: int) -> int:
    made.append("half")
    return p // 10 + {half}

@step
def total(h: int, k: int = 0) -> int:
    made.append("total")
    return h * 10 + k

@step
def report(t: int, q: int) -> str:
    made.append("report")
    return f"{{t}} {{q}}"
"""


store = each_store("folder", "sqlite")


class Flow:
    def __init__(self, clean: int = 1, half: int = 0, name: str = "edited_flow") -> None:
        self.module = edited(FLOW.format(clean=clean, half=half), name)
        self.points = self.module.points.step(3)
        self.passed = self.module.passed.step(self.points)
        self.half = self.module.half.step(self.points)
        self.total = self.module.total.step(self.half)
        self.report = self.module.report.step(self.total, self.passed)

    @property
    def made(self) -> list[str]:
        return list(self.module.made)


def warned(act: Any) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = act()
    return value, [str(each.message) for each in caught if issubclass(each.category, StaleCodeWarning)]


def rows(*targets: Any, **options: Any) -> dict[str, str]:
    return {row.key.name: row.action for row in plan(*targets, **options)}


def test_reused_counted_and_said_once(store: Any) -> None:
    flow = Flow()
    run(flow.report)
    assert run(flow.report).counts["stale"] == 0
    flow = Flow(clean=2)
    (row,) = plan(flow.report)
    assert row.action == "reuse" and "stale" in row.reason and "points" in row.reason
    result, said = warned(lambda: run(flow.report, flow.points, flow.half, flow.total))
    assert len(said) == 1 and f"points of points/{flow.points.key.digest[:8]} changed: 1 stale, 3 made from it" in said[0]
    assert result.counts == {"done": 0, "reused": 4, "failed": 0, "skipped": 0, "cancelled": 0, "stale": 4}
    assert set(result.stale) == {flow.points.key, flow.half.key, flow.total.key, flow.report.key}
    assert flow.total in result.stale and flow.passed not in result.stale
    assert flow.made == []


def test_generate_makes_anew_what_changed_and_what_follows_if_bytes_changed(store: Any) -> None:
    run(Flow().report)
    flow = Flow(clean=2)
    assert rows(flow.report, stale="generate") == {"points": "generate", "half": "follow", "total": "follow", "report": "follow"}
    result, said = warned(lambda: run(flow.report, stale="generate"))
    assert not said
    assert flow.made == ["points", "half", "passed", "report"]  # half is 0 as before, but report reads points by way of passed
    assert result.counts == {"done": 4, "reused": 1, "failed": 0, "skipped": 0, "cancelled": 0, "stale": 0}
    assert result.status(flow.total) == "reused" and result[flow.report].payload == "0 5"
    assert rows(flow.report, stale="generate") == {"report": "reuse"}


def test_early_cutoff(store: Any) -> None:
    run(Flow().total)
    flow = Flow(clean=2)
    result = run(flow.total, stale="generate")
    assert flow.made == ["points", "half"] and result.counts["reused"] == 1
    flow = Flow(clean=2, half=1)
    run(flow.total, stale="generate")
    assert flow.made == ["half", "total"] and flow.total.payload == 10


def test_what_is_gone_in_between_is_made_where_it_is_needed(store: Any) -> None:
    run(Flow().total)
    Flow().half.delete()
    flow = Flow(clean=2)
    assert rows(flow.total, stale="generate") == {"points": "generate", "total": "follow"}
    run(flow.total, stale="generate")
    assert flow.made == ["points", "half", "total"]
    assert rows(flow.total, flow.half) == {"total": "reuse", "half": "reuse"}


def test_the_old_payload_stays_where_making_it_anew_fails(store: Any) -> None:
    run(Flow().report)
    flow = Flow(clean=13)
    result = run(flow.report, stale="generate", errors="return")
    assert result.counts["failed"] == 1 and result.counts["skipped"] == 4 - 1
    assert flow.points.load().payload == 4 and flow.points.status.value == "stale"


def test_raise_begins_nothing(store: Any) -> None:
    run(Flow().total)
    flow = Flow(clean=2)
    assert rows(flow.report, stale="raise")["total"] == "refuse"
    with pytest.raises(StaleCode, match="points of points/") as caught:
        run(flow.report, stale="raise")
    assert caught.value.stale == [flow.points.key, flow.total.key] or set(caught.value.stale) == {flow.points.key, flow.total.key}
    assert flow.made == [] and flow.report.status.value == "absent"
    with pytest.raises(ValueError, match="stale is"):
        run(flow.report, stale="nonsense")  # type: ignore[arg-type]


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_on_other_executors(store: Any, executor: str) -> None:
    run(Flow().report, executor=executor)
    flow = Flow(clean=2)
    result, said = warned(lambda: run(flow.report, flow.half, executor=executor))
    assert result.counts["stale"] == 2 and len(said) == 1
    result = run(flow.report, executor=executor, stale="generate")
    assert result.counts == {"done": 4, "reused": 1, "failed": 0, "skipped": 0, "cancelled": 0, "stale": 0}
    assert rows(flow.report) == {"report": "reuse"} and flow.report.status.value == "done"


def test_put_in_by_hand_is_never_made_again(store: Any) -> None:
    Flow().half.put(7)
    flow = Flow(clean=2, half=3)
    assert flow.half.status.value == "done"
    run(flow.total, stale="generate")
    assert flow.made == ["total"] and flow.half.payload == 7


def test_foreign_is_refused_by_plan_and_run(store: Any) -> None:
    Flow().points.payload
    flow = Flow(clean=2, name="another_flow")
    assert rows(flow.half) == {"points": "refuse", "half": "generate"}
    with pytest.raises(RunFailed) as caught:
        run(flow.half)
    (error,) = caught.value.exceptions
    assert isinstance(error, PayloadForeign) and "edited_flow:points" in str(error) and "another_flow:points" in str(error)
    assert flow.made == [] and caught.value.result.status(flow.half) == "skipped"
    flow.points.accept_code("moved")
    assert run(flow.half).counts["done"] == 1


def test_large_families(store: Any) -> None:
    flow = Flow()
    family = flow.module.total.over(flow.half, k=list(range(600)))
    run(family)
    assert run(family).counts["reused"] == 600
    flow = Flow(clean=2)
    family = flow.module.total.over(flow.half, k=list(range(600)))
    assert {status.value: number for status, number in family.status().items()} == {"stale": 600}
    result, said = warned(lambda: run(family))
    assert result.counts["stale"] == 600 == result.counts["reused"] and len(said) == 1 and "600 made from it" in said[0]
    assert set(family.to_frame(payload=False)["status"]) == {"stale"}
    with pytest.raises(StaleCode):
        run(family, stale="raise")
    result = run(family, stale="generate")
    assert flow.made == ["points", "half"] and result.counts["reused"] == 600 and result.counts["stale"] == 0
    flow = Flow(clean=2, half=4)
    family = flow.module.total.over(flow.half, k=list(range(600)))
    assert run(family, stale="generate").counts["done"] == 601 and len(flow.made) == 601
    assert {status.value: number for status, number in family.status().items()} == {"done": 600}


def test_members_over_members_are_judged_together(store: Any) -> None:
    def families(clean: int) -> Any:
        module = edited(FLOW.format(clean=clean, half=0))
        return module.half.over(module.points.over(n=list(range(40))))

    halves = families(1)
    run(halves)
    halves = families(2)
    assert {status.value: number for status, number in halves.status().items()} == {"stale": 40}
    values, said = warned(lambda: dict(halves.payloads()))
    assert len(values) == 40 and len(said) == 1 and "points" in said[0]
    frame, said = warned(families(2).to_frame)
    assert set(frame["status"]) == {"stale"} and len(frame["payload"]) == 40 and len(said) == 1
    assert run(halves, stale="generate").counts["stale"] == 0
    assert {status.value: number for status, number in halves.status().items()} == {"done": 40}


def test_a_change_that_comes_by_many_ways_counts_each_payload_once(store: Any) -> None:
    """One payload made from five that have changed alike: one is made from it."""
    text = (
        "from persistable import step\n\n@step\ndef part(n: int) -> int:\n    return n + {0}\n\n"
        "@step\ndef all_of(parts: list[int]) -> int:\n    return 1\n"
    )

    def target(number: int) -> Any:
        module = edited(text.format(number))
        return module.all_of.step([module.part.step(n) for n in range(5)])

    run(target(0), store=store, progress=False)
    with pytest.warns(StaleCodeWarning, match=r"^1 payload reused although stale: part of part/\w+ changed: 1 made from it;"):
        run(target(1), store=store, progress=False)
