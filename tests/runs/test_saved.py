"""The seconds that a run saved by what it reused."""

from __future__ import annotations

from typing import Any

import pytest

from persistable import run, step


@step
def first(n: int) -> int:
    return n


@step(persist=False)
def between(value: int) -> int:
    return value


@step
def last(value: int) -> int:
    return value + 1


def test_what_was_reused_counts_with_the_seconds_of_its_making(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: list[Any] = [last.step(between.step(first.step(n=n))) for n in range(3)]
    made = run(*nodes)
    assert made.saved == 0
    again = run(*nodes)
    assert again.counts["reused"] == 3 and again.saved == pytest.approx(sum(made.records[node].seconds for node in nodes))
    family = first.over(n=[0, 1, 7])
    found = run(family)
    assert found.counts["reused"] == 2 and found.saved == pytest.approx(sum(made.records[first.step(n=n)].seconds for n in (0, 1)))
    monkeypatch.setattr("persistable.runs.result._AT_ONCE", 1)
    assert run(*nodes, family).saved == pytest.approx(
        sum(made.records[node].seconds for node in nodes) + found.records[family[7]].seconds + found.saved
    )
    kept = sum(made.records[node].seconds for node in nodes[1:])
    assert nodes[0].delete()
    assert again.saved == pytest.approx(kept)
