"""Several runs of one pipeline divide its work: each job runs once, and nobody waits while there is something to do."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from store_kinds import opened

from persistable import Key, Retry, open_store, run, step
from persistable.errors import RemoteError
from persistable.events import Event
from persistable.nodes import capture
from persistable.records import claim_watch, claims, heartbeat
from persistable.runs import chunks
from persistable.runs.batch import PERIOD, Batch
from persistable.stores import Store

RUNNER = Path(__file__).with_name("sharing_runner.py")


def runs(number: int, kind: str, executor: str, workers: int, store: str, jobs: int, seconds: float, log: Path) -> list[dict[str, Any]]:
    words = [kind, executor, str(workers), store, str(jobs), str(log), "now"]
    environment = {**os.environ, "SECONDS_EACH": str(seconds)}
    started = [
        subprocess.Popen([sys.executable, RUNNER, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(number)
    ]
    for each in started:
        assert each.stdout is not None and each.stdout.readline() == "ready\n"
    for each in started:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    found: list[dict[str, Any]] = []
    for each in started:
        out, _ = each.communicate(timeout=100)
        assert each.returncode == 0
        found.append(json.loads(out))
    return found


@pytest.mark.parametrize(
    ("number", "kind", "executor", "place"),
    [
        (2, "nodes", "inline", "data"),
        (2, "total", "threads", "data"),
        (4, "nodes", "processes", "data"),
        (2, "nodes", "inline", "sqlite"),
        (4, "nodes", "inline", "sqlite"),
        (2, "family", "processes", "sqlite"),
    ],
)
def test_each_job_runs_once_and_all_runs_work(number: int, kind: str, executor: str, place: str, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'x.db'}" if place == "sqlite" else str(tmp_path / place)
    jobs, seconds, log = 24, 0.15, tmp_path / "log"
    found = runs(number, kind, executor, 2, store, jobs, seconds, log)
    assert sorted(map(int, log.read_text().split())) == list(range(jobs))
    extra = kind == "total"
    assert sum(each["counts"]["done"] for each in found) == jobs + extra
    for each in found:
        assert sum(each["counts"].values()) == each["counts"]["done"] + each["counts"]["reused"] == jobs + extra
    assert sum(each["counts"]["done"] > 1 for each in found) >= 2
    if executor == "inline":  # more workers than cores tell nothing of a machine that is busy with other tests
        assert max(each["took"] for each in found) < 0.85 * jobs * seconds
        assert max(each["counts"]["done"] for each in found) <= 2 * jobs / number


def test_a_batch_gives_back_what_it_has_no_time_for(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path / 'x.db'}") as store:
        places = [Key("x", f"{number:032x}") for number in range(50)]
        held: list[int] = []

        def perform(number: int, failed_before: bool) -> None:
            held.append(sum(claim_watch.holder_of(store, place.path) is not None for place in places))
            time.sleep(PERIOD / 4)

        batch = Batch(store, places, perform)
        batch.perform(lambda: True)
        ended = [each.number for each in batch.ended]
        assert ended == list(range(len(ended))) and len(ended) < 10 and held[0] == 50
        assert sorted(batch.late) == sorted(batch.left) == list(range(len(ended), 50))
        assert not list(store.list("x"))


def test_the_first_of_a_batch_begins_however_late_that_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def held_up() -> Iterator[None]:
        time.sleep(2 * PERIOD)  # as on a machine with too much to do
        yield

    monkeypatch.setattr(capture, "session", held_up)
    with open_store(f"sqlite:///{tmp_path / 'x.db'}") as store:
        batch = Batch(store, [Key("x", f"{number:032x}") for number in range(50)], lambda number, failed_before: time.sleep(PERIOD / 10))
        batch.perform(lambda: True)
        assert batch.ended and sorted([*batch.left, *(each.number for each in batch.ended)]) == list(range(50))


def test_two_runs_in_two_threads_of_one_process(store: Store) -> None:
    begun: list[int] = []

    @step
    def slow(n: int, seconds: float = 0.1) -> int:
        time.sleep(seconds)
        return n

    def started(event: Event) -> None:
        if type(event).__name__ == "Performed":
            begun.append(1)

    results: list[Any] = []
    nodes = [slow.step(n) for n in range(20)]
    threads = [threading.Thread(target=lambda: results.append(run(nodes, store=store, hooks=[started]))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(result.counts["done"] for result in results) == 20 and all(len(result) == 20 for result in results)
    assert all(set(result.counts) >= {"done", "reused", "failed", "skipped", "cancelled"} for result in results)
    assert all(result.counts["reused"] >= 5 for result in results)


def test_what_another_leaves_unfinished_is_taken_over(store: Store) -> None:
    @step
    def quick(n: int) -> int:
        return n

    nodes = [quick.step(n) for n in range(3)]
    claim = claims.acquire(store, nodes[1].place.path, lambda: False)
    assert claim is not None
    timer = threading.Timer(0.3, claim.release)
    timer.start()
    assert run(nodes).counts["done"] == 3


FROM: list[Any] = []


@step
def lost(n: int) -> int:
    if FROM:  # another process takes over and stores it, while this one is not heard of
        here, there = FROM
        for path in there.list("lost"):
            here.put(path, there.get(path))
        here.delete(f"{lost.step(n).place.path}.claim")
    return n


@pytest.mark.parametrize("place", ["data", "sqlite"])
def test_a_lost_claim_whose_payload_is_stored_counts_as_made_elsewhere(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'x.db'}" if place == "sqlite" else tmp_path / "data")
    there = open_store(tmp_path / "there")
    run(lost.step(5).bind(there))
    monkeypatch.setattr(heartbeat, "TTL", 1e-6)
    FROM[:] = [store, there]
    try:
        result = run(lost.step(5).bind(store))
    finally:
        FROM.clear()
    assert result.counts["reused"] == 1 and not result.failures


BEGUN: list[int] = []


@step
def fails(n: int, seconds: float = 0.15) -> int:
    BEGUN.append(n)
    time.sleep(seconds)
    raise ValueError(f"not {n}")


@step(retry=Retry(2, delay=0.05))
def fails_twice(n: int) -> int:
    return int(fails.__wrapped__(n))


@step
def odd_fail(n: int) -> int:
    if n % 2:
        raise ValueError(f"not {n}")
    return n


@step
def follows(n: int) -> int:
    return n


def both(node: Any, place: Any, **options: Any) -> list[Any]:
    """Two runs of it, of which the second plans while the first is at work."""
    BEGUN.clear()
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(run(node, store=place, errors="return", **options))) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join(60)
    return results


@pytest.mark.parametrize("executor", ["inline", "threads"])
@pytest.mark.parametrize("kind", ["data", "sqlite"])
def test_what_fails_in_one_run_is_not_tried_by_another_that_is_under_way(kind: str, executor: str, tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path / 'x.db'}" if kind == "sqlite" else str(tmp_path / kind)
    with open_store(place):
        node = follows.step(fails.step(1))
    for before in range(2):  # also where it has failed already
        results = both(node, place, executor=executor)
        assert BEGUN == [1]
        assert [result.counts["failed"] for result in results] == [1, 1] and [result.counts["skipped"] for result in results] == [1, 1]
        elsewhere = next(failure for result in results for failure in result.failures if isinstance(failure.error, RemoteError))
        assert (
            elsewhere.error.text == "not 1"
            and "it failed in another run" in str(elsewhere.error)
            and "raise ValueError" in elsewhere.traceback
        )
        assert elsewhere.attempts == before + 1


@pytest.mark.parametrize("kind", ["folder", "sqlite"])
@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_what_has_failed_in_another_run_since_it_was_planned_is_left(executor: str, kind: str, tmp_path: Path) -> None:
    with opened(kind, tmp_path):
        nodes = [fails.step(n, 0.0) for n in range(6)]
    for before in range(2):  # also where it has failed already
        others: list[Any] = []

        def another(event: Event, others: list[Any] = others) -> None:
            if type(event).__name__ == "RunStarted" and not others:
                others.append(None)  # its own beginning is heard here too
                others[0] = run(nodes, errors="return")

        result = run(nodes, errors="return", executor=executor, max_workers=1, hooks=[another])
        assert others[0].counts["failed"] == result.counts["failed"] == 6
        assert all("it failed in another run" in failure.text and failure.attempts == before + 1 for failure in result.failures)
    assert run(nodes, errors="return").failures[nodes[0]].attempts == 1


@pytest.mark.parametrize("kind", ["folder", "sqlite"])
@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_what_has_failed_of_a_large_family_in_another_run_is_left(
    executor: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 200)  # in a folder, each is planned when its turn comes
    with opened(kind, tmp_path) as store:
        family = odd_fail.over(n=range(600))
        for _ in range(2):  # also where it has failed already
            others: list[Any] = []

            def another(event: Event, others: list[Any] = others) -> None:
                if type(event).__name__ == "RunStarted" and not others:
                    others.append(None)
                    others[0] = run(family.nodes[501:503], errors="return")
                    path = f"{family[501].key}.failed.json"  # as of a host whose clock is not ours
                    store.put(path, json.dumps({**json.loads(store.get(path)), "host": "afar", "started": 1.0}).encode())

            result = run(family, errors="return", executor=executor, max_workers=1, hooks=[another])
            assert result.counts["failed"] == 300 and others[0].counts["failed"] == 1
            elsewhere = [failure for failure in result.failures if "it failed in another run, on afar" in failure.text]
            assert [failure.key for failure in elsewhere] == [family[501].key] and "raise ValueError" in elsewhere[0].traceback
        assert not any("another run" in failure.text for failure in run(family, errors="return", executor=executor).failures)


def test_a_batch_tries_again_what_its_own_run_has_tried(tmp_path: Path) -> None:
    BEGUN.clear()
    with open_store(f"sqlite:///{tmp_path / 'x.db'}"):
        failure = run(fails_twice.step(3), errors="return").failures[0]
    assert BEGUN == [3, 3] and isinstance(failure.error, ValueError)


def test_who_retries_may_be_helped(tmp_path: Path) -> None:
    results = both(fails_twice.step(1), str(tmp_path / "data"))
    assert 2 <= len(BEGUN) <= 4 and [result.counts["failed"] for result in results] == [1, 1]


def test_a_node_that_failed_is_tried_by_the_next_run(store: Store) -> None:
    for _ in range(2):
        BEGUN.clear()
        result = run(fails.step(2, 0.0), errors="return")
        assert BEGUN == [2] and isinstance(result.failures[0].error, ValueError)
