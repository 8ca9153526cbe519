"""`run` on Ray and Dask: the same promises as on this machine's processes."""

import logging
import os
import sys
import threading
import time
from contextvars import copy_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persistable import Persistable, Resources, Retry, Status, progress, run, step
from persistable.errors import Infeasible, NotEnforceable, RemoteError, TimedOut, WorkerDied
from persistable.events import Event, Performed, Persisted, Progressed, RunFinished, RunStarted, Started
from persistable.executors import Executor
from persistable.records import claims
from persistable.stores import Store

pytestmark = pytest.mark.xdist_group("ray")


def mark(place: str, text: str) -> None:
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, f"{text}\n".encode())
    os.close(fd)


def marks(place: Path) -> list[str]:
    return place.read_text().splitlines() if place.exists() else []


class Two(Exception):
    def __init__(self, left: str, right: str) -> None:
        super().__init__(f"{left} and {right}")


@step
def number(n: int) -> int:
    return n


@step
def add(*parts: int) -> int:
    return sum(parts)


@step(persist=False)
def passing(n: Any, log: str = "") -> Any:
    if log:
        mark(log, "x")
    return n


@step
def bad(n: int) -> int:
    raise Two("left", "right")


@step(retry=Retry(3, delay=0.01))
def flaky(log: str) -> int:
    mark(log, "x")
    if len(marks(Path(log))) < 2:
        raise OSError("not yet")
    return 7


@step
def dies(log: str, n: int) -> int:
    mark(log, str(n))
    if n == 77:
        os._exit(9)
    return n


class Doubled(Persistable[int, None]):
    number: Persistable[Any, Any]

    def _generate_payload(self, **_: Any) -> int:
        return int(self.number.payload) * 2


def test_a_diamond_with_classes_and_payloads_that_are_not_persisted(cluster: Executor, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    top = passing.step(number.step(4), log=log)
    ends = [add.step(top, number.step(i)) for i in range(3)]
    join = passing.step([add.step(*ends), Doubled(number=top)])
    heard: list[Event] = []
    result = run(join, executor=cluster, hooks=[heard.append])
    assert result[join].payload == [15, 8] and marks(tmp_path / "log") == ["x"]
    assert sum(isinstance(event, Persisted) for event in heard) == 9 and sum(isinstance(event, Started) for event in heard) == 11
    assert run(add.step(*ends), executor=cluster).counts["reused"] == 1


def test_failures_and_retries(cluster: Executor, tmp_path: Path) -> None:
    after, again = add.step(bad.step(1)), flaky.step(str(tmp_path / "log"))
    result = run(after, again, number.step(9), executor=cluster, errors="return")
    assert result.counts == {"done": 2, "reused": 0, "failed": 1, "skipped": 1, "cancelled": 0, "stale": 0}
    error = result.failures[0].error
    assert isinstance(error, RemoteError) and error.text == "left and right"
    assert result[again].record.attempts == 2 and bad.step(1).status is Status.FAILED


def test_a_worker_that_dies_fails_one_of_200_and_no_other_runs_twice(cluster: Executor, tmp_path: Path) -> None:
    log = tmp_path / "log"
    result = run([dies.step(str(log), n) for n in range(200)], executor=cluster, errors="return")
    assert result.counts["done"] + result.counts["reused"] == 199 and result.counts["failed"] == 1
    assert isinstance(result.failures[0].error, WorkerDied)
    assert sorted(int(mark) for mark in marks(log) if mark != "77") == [n for n in range(200) if n != 77]


def test_a_thousand_tiny_nodes(cluster: Executor) -> None:
    nodes = [passing.step(n) for n in range(1000)]
    result = run(nodes, executor=cluster)
    assert [result[node].payload for node in nodes] == list(range(1000))


def test_a_large_array_goes_to_many_nodes(cluster: Executor) -> None:
    @step(persist=False)
    def total(array: Any, n: int) -> float:
        return float(array.sum()) + n

    array = passing.step(np.ones(2_000_000))
    nodes = [total.step(array, n) for n in range(4)]
    result = run(nodes, executor=cluster)
    assert [result[node].payload for node in nodes] == [2_000_000.0 + n for n in range(4)]


def test_a_timeout_is_enforced_or_refused(cluster: Executor, tmp_path: Path) -> None:
    @step(resources=Resources(time=2))
    def hangs(n: int) -> int:
        time.sleep(600)
        return n

    if not cluster.can_stop:
        with pytest.raises(NotEnforceable):
            run(hangs.step(1), executor=cluster)
        return
    result = run(hangs.step(1), number.step(31), executor=cluster, errors="return")
    assert isinstance(result.failures[0].error, TimedOut) and result.counts["done"] == 1
    names = [path.name for path in (tmp_path / "store" / "hangs").iterdir()]
    assert names == [f"{hangs.step(1).key.digest}.failed.json"]


def test_what_the_cluster_never_has_is_refused_before_anything_begins(cluster: Executor, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    greedy = step(name="greedy", resources=Resources(memory=1 << 60))(lambda x: x).step(passing.step(1, log=log))
    with pytest.raises(Infeasible, match="memory"):
        run(greedy, executor=cluster)
    assert marks(tmp_path / "log") == []


def test_a_hook_hears_its_own_run_and_no_other_on_the_same_cluster(cluster: Executor, store: Store) -> None:
    heard: dict[str, list[Event]] = {"one": [], "two": []}
    ready = threading.Barrier(2)

    def perform(name: str, nodes: list[Any]) -> None:
        ready.wait(60)
        run(nodes, executor=cluster, store=store, hooks=[heard[name].append])

    mine = {name: [add.step(number.step(first + n), 1) for n in range(20)] for name, first in (("one", 1000), ("two", 2000))}
    threads = [threading.Thread(target=perform, args=(name, nodes)) for name, nodes in mine.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    for name, nodes in mine.items():
        keys = {node.key for node in nodes} | {node.upstream["parts.0"].key for node in nodes}
        told = [event for event in heard[name] if isinstance(event, Started | Persisted | Performed)]
        assert {event.key for event in told} == keys and len(told) == 3 * len(keys)
        assert [type(event) for event in heard[name] if isinstance(event, RunStarted | RunFinished)] == [RunStarted, RunFinished]


def test_a_claim_that_is_held_elsewhere_keeps_no_worker(cluster: Executor, store: Store) -> None:
    held, free = [number.step(n) for n in range(100, 108)], [number.step(n) for n in range(200, 204)]
    held_claims = [claims.acquire(store, node.place.path, lambda: False) for node in held]
    left: list[int] = []

    def release() -> None:
        until = time.monotonic() + 100
        while time.monotonic() < until and not all(node.exists() for node in free):
            time.sleep(0.02)
        left.append(sum(not node.exists() for node in free))
        for claim in held_claims:
            assert claim is not None
            claim.release()

    other = threading.Thread(target=copy_context().run, args=(release,))
    other.start()
    result = run(held, free, executor=cluster)
    other.join()
    assert left == [0] and result.counts["done"] == 12


# what nodes print, log and report


@step
def talk(n: int) -> int:
    print("hello", n)
    sys.stdout.buffer.write("bytes \N{EURO SIGN}\n".encode())
    print("mistake", file=sys.stderr)
    logging.getLogger("mine.train").info("loss is %d", n)
    for i in range(1, 4):
        progress(i, 3)
        time.sleep(0.3)
    print("end", end="")
    return n


def test_what_nodes_print_log_and_report_gets_here(cluster: Executor, capsys: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "mine")
    heard: list[Event] = []
    result = run([talk.step(1), talk.step(2)], executor=cluster, hooks=[heard.append])
    out, err = capsys.readouterr()
    for n in (1, 2):
        assert result.records[talk.step(n)].output == (f"hello {n}\nbytes \N{EURO SIGN}\nmistake\nINFO mine.train: loss is {n}\nend")
        for line in (f"hello {n}", "bytes \N{EURO SIGN}", "end"):
            assert out.count(f"talk(n={n}): {line}\n") == 1
        assert f"talk(n={n}): mistake\n" in err
        done = [event.done for event in heard if isinstance(event, Progressed) and event.key == talk.step(n).key]
        assert done and done == sorted(done) and done[-1] == 3
    records = [record for record in caplog.records if record.name == "mine.train"]
    assert sorted(record.getMessage() for record in records) == ["loss is 1", "loss is 2"]
    assert {(record.levelno, record.module) for record in records} == {(logging.INFO, "test_clusters")}


@step
def floods(n: int) -> int:
    for i in range(200_000):
        print("line", i)
    return n


def test_who_prints_much_neither_floods_nor_stops_the_run(cluster: Executor, capsys: Any) -> None:
    result = run(floods.step(1), executor=cluster)
    out = capsys.readouterr().out
    output = result.records[floods.step(1)].output
    assert len(out.replace("floods(n=1): ", "")) < 1_200_000 and output.endswith("line 199999\n") and len(output.encode()) <= 1 << 16
