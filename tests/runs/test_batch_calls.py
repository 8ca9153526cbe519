"""Nodes that a worker performs as one batch, since their store commits many together, end as they would one by one."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from persistable import Persistable, events, open_store, run, step
from persistable.errors import WorkerDied
from persistable.executors import ThreadExecutor
from persistable.executors.resources import Retry
from persistable.runs import batch_calls
from persistable.runs.batch import LONGEST, Batch, BatchSizer
from persistable.runs.planner import Unit
from persistable.stores import Store

NUMBER = 60


@step
def half(n: int) -> float:
    if n == 7:
        raise ValueError("seven")
    if n == 9 and os.environ.get("DIES"):
        os._exit(3)
    print(f"half of {n}")
    return n / 2


@step
def pair(left: float, right: float) -> float:
    return left + right


class Stubborn(Persistable[int, int]):
    retry = Retry(attempts=3)

    def _generate_payload(self) -> int:
        file = Path(os.environ["TRIED"], str(self.params))
        tried = len(file.read_text()) if file.exists() else 0
        file.write_text("x" * (tried + 1))
        if tried < 2:
            raise OSError("not yet")
        return self.params


@pytest.fixture(params=["threads", "processes"])
def executor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path}/results.db")


def test_they_are_performed_together(executor: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    plain = batch_calls.Batching.members

    def members(batching: batch_calls.Batching, units: Sequence[Unit], given: Callable[[Unit], dict[Any, Any]]) -> list[batch_calls.Member]:
        sizes.append(len(units))
        return plain(batching, units, given)

    monkeypatch.setattr(batch_calls.Batching, "members", members)
    lower = [half.step(n) for n in range(100, 100 + NUMBER)]
    nodes = [pair.step(left=lower[n], right=lower[n + 1]) for n in range(NUMBER - 1)]
    assert run(nodes, store=store, executor=executor).counts["done"] == 2 * NUMBER - 1
    assert max(sizes) > 2
    assert [node.payload for node in nodes] == [(201 + 2 * n) / 2 for n in range(NUMBER - 1)]


def test_batches_that_would_only_wait_for_the_store_are_not_begun(store: Store) -> None:
    tiny, slow, long = BatchSizer(), BatchSizer(), BatchSizer()
    assert tiny.at_once(6) == 7  # nothing is known
    tiny.observe(4, 0.001, store, 0.5)
    assert tiny.at_once(6) == 2
    slow.observe(100, 0.001, store, LONGEST / 2)
    assert slow.at_once(6) == 1
    long.observe(4, 0.04, store, 0.05)
    assert long.at_once(6) == 7


def test_a_call_that_is_dear_takes_no_less_than_it_costs(store: Store) -> None:
    cheap, dear = BatchSizer(), BatchSizer(1, work=10.0)
    for pace in (cheap, dear):
        for _ in range(10):
            pace.observe(100, 1.0, store, 1.2)
    assert cheap.share(30, 10) == 4  # each worker gets some
    assert dear.size == 1000 and dear.share(1000, 100) == 200
    assert dear.at_once(100) == 101  # each with connections of its own
    dear.observe(1, 60.0, store, 60.0)
    assert dear.share(1000, 100) == 1


@pytest.mark.parametrize("number", [400, 600])  # those of a large family go another way
def test_a_slow_store_has_few_batches_at_a_time(number: int, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way: list[int] = []
    seen: list[int] = []
    plain = Batch.perform

    def perform(batch: Batch, go_on: Callable[[], bool]) -> None:
        under_way.append(1)
        seen.append(len(under_way))
        time.sleep(0.1)
        try:
            plain(batch, go_on)
        finally:
            batch.seconds = max(0.1, 20 * sum(ended.seconds for ended in batch.ended))
            under_way.pop()

    monkeypatch.setattr(Batch, "perform", perform)
    family = half.over(n=range(100, 100 + number))
    assert run(family.bind(store), executor=ThreadExecutor(6)).counts["done"] == number
    assert max(seen) > 2  # at first
    assert median(seen[7:]) <= 2  # the first seven began before anything was known; on a busy machine some have time for nothing


def test_one_that_fails_fails_alone(executor: str, store: Store) -> None:
    heard: list[events.Event] = []
    nodes = [half.step(n) for n in range(20)]
    result = run(nodes, store=store, executor=executor, errors="return", hooks=[heard.append])
    assert result.counts["done"] == 19
    (failure,) = result.failures
    assert "ValueError: seven" in failure.text
    assert [node.status.value for node in nodes].count("failed") == 1
    told = Counter(type(event).__name__ for event in heard)
    assert (told["Started"], told["Persisted"], told["Failed"], told["Performed"]) == (20, 19, 1, 20)
    printed = "".join(event.text for event in heard if isinstance(event, events.Printed))
    if executor == "processes":  # what a thread prints is printed here already
        assert sorted(printed.splitlines()) == sorted(f"half of {n}" for n in range(20) if n != 7)


def test_one_that_ends_its_worker_is_to_blame_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIES", "1")
    nodes = [half.step(n) for n in range(8, 28)]
    result = run(nodes, store=store, executor="processes", errors="return")
    assert result.counts["done"] == 19
    (failure,) = result.failures
    assert isinstance(failure.error, WorkerDied)
    assert failure.node.params.n == 9


def test_one_that_wants_another_try_gets_it(executor: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIED", str(tmp_path))
    nodes = [Stubborn(store, n) for n in range(12)]
    assert run(nodes, executor=executor).counts["done"] == 12
    assert {len((tmp_path / str(n)).read_text()) for n in range(12)} == {3}
