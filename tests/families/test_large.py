"""Families of very many members: keys without nodes, batches, portions, and what they cost the store."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.families.flows import Outliers, Points, add, joined, made_of, number, scaled, total

from persistable import Family, Persistable, Retry, Status, events, formerly, omit_when, open_store, run, step, untracked
from persistable.errors import PayloadNotFound, RunFailed
from persistable.runs.batch import PERIOD
from persistable.runs.chunks import CHUNK
from persistable.runs.targets import SMALLEST
from persistable.stores import SQLiteStore


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[Any]:
    with open_store(f"sqlite:///{tmp_path}/families.db") as store:
        yield store


# keys


@dataclass(frozen=True)
class FancyParams:
    n: Any
    noise: Annotated[Any, omit_when(0.0)] = 0.0
    jobs: Annotated[Any, untracked] = 1
    size: Annotated[Any, formerly("rows")] = 10
    more: list[Any] = field(default_factory=list)


class Fancy(Persistable[Any, FancyParams]):
    points: Points | None = None

    def _generate_payload(self) -> Any:
        return self.params.n


class Renamed(Fancy):
    payload_name = "other"
    version = 7


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.binary(max_size=8)
some = st.lists(plain, min_size=1, max_size=4, unique_by=lambda value: (value, value == value))


def keys(family: Family[Any]) -> list[Any]:
    key_chunks = family.key_chunks
    assert key_chunks is not None, "left to the nodes"
    return [key for numbers in key_chunks for key in key_chunks.keys(numbers)]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=some, second=some, fixed=plain, data=st.data())
def test_keys_without_nodes_are_those_of_the_nodes(first: list[Any], second: list[Any], fixed: Any, data: st.DataObject) -> None:
    points = Points.over(n=[1, 2, 3])
    for family in (
        made_of.over(first, size=second),
        made_of.over(fixed, size=second),
        Fancy.over(n=first, noise=[0.0, fixed] if fixed != 0 else [0.0], jobs=fixed),
        Renamed.over(n=first, size=second, more=(1, [2])),
        Fancy.over(n=fixed, jobs=second, points=points),
        Renamed.over(n=first, points=points)[:2],
        scaled.over(points, factor=first),
        add.over(a=number.over(n=[1, 2]), b=number.over(n=[1, 2]), c=first),
        made_of.among([{"text": a, "size": fixed} for a in first]),
    ):
        assert keys(family) == [node.key for node in family.nodes]
        part = family.part([sorted(data.draw(st.sets(st.integers(0, len(axis) - 1), min_size=1))) for axis in family.axes])
        assert keys(part) == [node.key for node in part.nodes]


@dataclass
class Rounded:
    n: float

    def __post_init__(self) -> None:
        self.n = round(self.n)


class OfRounded(Persistable[float, Rounded]):
    def _generate_payload(self) -> float:
        return self.params.n


class OwnInit(Persistable[int, None]):
    def __init__(self, n: int) -> None:
        super().__init__(payload_name=f"own-{n % 2}")

    def _generate_payload(self) -> int:
        return 1


class Versioned(Points):
    @property
    def version(self) -> int:
        return self.params.n


def test_where_code_of_the_user_decides_the_nodes_are_asked() -> None:
    offset = 3

    @step
    def closed(n: int) -> int:
        return n + offset

    for family in (
        OfRounded.over(n=[1.2, 2.6]),
        OwnInit.over(n=[1, 2]),
        Versioned.over(n=[1, 2]),
        closed.over(n=[1, 2]),
        Points.over(n=[1, 2], payload_name=["a", "b"]),
        joined.over([1, 2], named=[3, 4]),
        total.over([[1.0], [2.0]]),
        Family.of({"a": Points(n=1)}),
    ):
        key_chunks = family.key_chunks
        assert key_chunks is None or keys(family) == [node.key for node in family.nodes]
        run(family)
        assert family.status() == {Status.DONE: len(family)}
    assert OfRounded.over(n=[1.2, 2.6]).key_chunks is None
    assert Versioned.over(n=[1, 2]).key_chunks is None


def test_unpersisted_members_and_upstream_are_planned_as_a_whole() -> None:
    @step(persist=False)
    def passing(n: int) -> int:
        return n

    assert passing.over(n=range(3)).key_chunks is None
    assert number.over(n=passing.over(n=range(3))).key_chunks is None


# one by one, and together


@step(retry=Retry(2))
def shaky(n: int, bad: tuple[int, ...], calls: Annotated[str, untracked]) -> int:
    with open(calls, "a+") as done:
        done.seek(0)
        before = done.read().split().count(str(n))
        done.write(f"{n}\n")
    if n in bad and (n % 2 or not before):
        raise ValueError(f"{n} is bad")
    return -n


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bad=st.sets(st.integers(0, 24)), seen=st.sets(st.integers(0, 24)))
def test_together_is_as_one_by_one(bad: set[int], seen: set[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    outcomes: list[Any] = []
    folder = tmp_path_factory.mktemp("same")
    for url in (f"sqlite:///{folder}/a.db", str(folder / "b")):
        calls = folder / f"calls-{len(outcomes)}"
        heard: list[Any] = []
        with open_store(url) as store:
            family = shaky.over(n=range(25), bad=tuple(sorted(bad)), calls=str(calls))
            run([family[n] for n in sorted(seen - bad)])
            with events.subscribe(heard.append):
                result = run(family, errors="return")
            records = {str(key): _lasting(record) for key, record in result.records.items()}
            outcomes.append(
                (
                    result.counts,
                    sorted((failure.params["n"], str(failure.error), failure.attempts) for failure in result.failures),
                    family.status(),
                    Counter(calls.read_text().split()) if calls.exists() else Counter(),
                    records,
                    Counter((type(event).__name__, getattr(event, "key", None)) for event in heard),
                    sorted(path.partition(".")[0] for path in store.list()),
                )
            )
    for one_by_one, together in zip(*outcomes, strict=True):
        assert one_by_one == together


def _lasting(record: Any) -> dict[str, Any]:
    passing = ("token", "files", "started", "seconds", "usage", "checksum", "untracked")
    return {name: fact for name, fact in record.to_dict().items() if name not in passing}


@step
def asks_before(n: int) -> int:
    return 1 if n == 0 else asks_before.step(n - 1).payload + 1


def test_a_member_may_ask_for_another_of_the_same_batch() -> None:
    family = asks_before.over(n=range(12))
    run(family)
    assert [payload for _, payload in family.payloads()] == list(range(1, 13))


@step
def asks_after(n: int) -> int:
    return 1 if n == 11 else asks_after.step(n + 1).payload + 1


def test_also_for_one_that_has_not_begun() -> None:
    family = asks_after.over(n=range(12))
    assert run(family).counts["failed"] == 0
    assert family[0].payload == 12


@step
def slow_last(n: int, gate: str) -> int:
    if n == 5:
        until = time.monotonic() + 60
        while not os.path.exists(gate) and time.monotonic() < until:
            time.sleep(0.01)
        return int(os.path.exists(gate))
    return n


def test_what_is_finished_does_not_wait_for_one_that_takes_long(tmp_path: Path, store: Any) -> None:
    import threading

    family = slow_last.over(n=range(10), gate=str(tmp_path / "gate"))
    done: list[int] = []

    def watch() -> None:
        until = time.monotonic() + 50
        while time.monotonic() < until and done[-1:] != [5]:
            done.append(sum(family.bind(store)[n].exists() for n in range(5)))
            time.sleep(PERIOD / 5)
        if done[-1] == 5:
            family[7].generate()  # nobody keeps it from being generated meanwhile
            (tmp_path / "gate").touch()

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = run(family)
    watcher.join()
    assert (result.counts["done"], result.counts["reused"]) == (9, 1)  # one was made by somebody else meanwhile
    assert family[5].payload == 1, "the others were not committed before it ended"


@step
def interrupting(n: int) -> int:
    if n == 6 and not os.environ.get("GO_ON"):
        raise KeyboardInterrupt
    return n


def test_ctrl_c_commits_what_is_finished_and_leaves_no_claim(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    family = interrupting.over(n=range(12))
    with pytest.raises(KeyboardInterrupt):
        run(family)
    assert family.status() == {Status.DONE: 6, Status.ABSENT: 6}
    assert not [path for path in store.list() if ".claim" in path or path.endswith(".failed.json")]
    monkeypatch.setenv("GO_ON", "1")
    assert run(family).counts["done"] == 6


def test_fail_fast_ends_a_batch(store: Any) -> None:
    family = number.over(n=range(30), fail_at=7)
    result = run(family, errors="return", fail_fast=True)
    assert result.counts == {"done": 7, "failed": 1, "cancelled": 22, "reused": 0, "skipped": 0, "stale": 0}
    assert family.status() == {Status.DONE: 7, Status.FAILED: 1, Status.ABSENT: 22}
    assert not [path for path in store.list() if ".claim" in path]


TWO = """
    import os, sys
    from persistable import open_store, run, step

    @step
    def member(n):
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(log, f"{n}\\n".encode())
        os.close(log)
        return n

    with open_store("sqlite:///store.db"):
        print(os.getpid(), flush=True)
        sys.stdin.readline()
        result = run(member.over(n=range(700)))
        assert len(result) == 700 and not result.failures, result
"""


def test_two_processes_generate_each_member_once(tmp_path: Path) -> None:
    script = tmp_path / "flow.py"
    script.write_text(textwrap.dedent(TWO))
    both = [
        subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout is not None and process.stdout.readline()
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        process.communicate(timeout=200)
        assert process.returncode == 0
    made = Counter((tmp_path / "log").read_text().split())
    assert made == Counter(map(str, range(700)))


# very many


class CountingStore(SQLiteStore):
    calls: ClassVar[Counter[str]] = Counter()

    def __getattribute__(self, name: str) -> Any:
        if name in (
            "get",
            "get_many",
            "get_with_neighbours",
            "put",
            "put_many",
            "exists",
            "stat",
            "stat_many",
            "create",
            "create_many",
            "create_bare",
            "change_many",
            "delete",
        ):
            type(self).calls[name] += 1
        return super().__getattribute__(name)


def test_run_status_and_resume_ask_the_store_for_many_at_once(tmp_path: Path) -> None:
    store = CountingStore(tmp_path / "counted.db")
    family = number.over(n=range(3000)).bind(store)
    run([number.over(n=range(0, 3000, 3)).bind(store)[n] for n in range(0, 900, 3)])

    def calls(act: Any) -> int:
        CountingStore.calls.clear()
        act()
        return CountingStore.calls.total()

    # a batch takes a tenth of a second, so their number depends on the machine: at most as many as would be with 10 members in each
    assert calls(lambda: run(family)) < 6 * (3000 / 10)
    assert calls(lambda: run(family)) <= 4
    assert calls(family.status) <= 4
    assert calls(lambda: list(family.payloads())) <= 3 * 6


@step
def tiny(n: int) -> float:
    return n / 2


def test_a_hundred_thousand_members_are_run_resumed_and_looked_at(tmp_path: Path) -> None:
    store = CountingStore(tmp_path / "counted.db")
    family = tiny.over(n=range(100_000)).bind(store)
    assert run(tiny.over(n=range(30_000)).bind(store)).counts["done"] == 30_000
    for n in (7, 29_999):
        family[n].delete()

    def calls(act: Any) -> int:
        CountingStore.calls.clear()
        act()
        return CountingStore.calls.total()

    results: list[Any] = []
    assert calls(lambda: results.append(run(family))) < 100_000 / 10
    assert results[0].counts == {"done": 70_002, "reused": 29_998, "failed": 0, "skipped": 0, "cancelled": 0, "stale": 0}
    assert calls(lambda: results.append(run(family))) <= 2 * 100_000 / CHUNK
    assert results[1].counts["reused"] == 100_000
    assert calls(lambda: results.append(family.status())) <= 2 * 100_000 / CHUNK
    assert results[2] == {Status.DONE: 100_000}
    assert calls(lambda: results.append(sum(payload for _, payload in family.payloads()))) <= 2 * 100_000 / 1_000
    assert results[3] == sum(range(100_000)) / 2


def test_results_of_large_families_tell_what_those_of_single_nodes_do() -> None:
    size = SMALLEST + 20
    family = number.over(n=range(size), fail_at=3)
    run([family[5], family[6]])
    with pytest.raises(RunFailed) as raised:
        run(family)
    result = raised.value.result
    assert result.counts == {"done": size - 3, "reused": 2, "failed": 1, "skipped": 0, "cancelled": 0, "stale": 0}
    assert len(result) == len(list(result)) == len(result.rows()) == size
    assert (result.status(family[3]), result.status(family[5].key), result.status(family[8])) == ("failed", "reused", "done")
    assert result[family[8]].payload == 8 and result[family[8].key].payload == 8
    assert family[8] in result and number.step(-5) not in result
    assert len(result.records) == size - 1
    frame = result.to_frame()
    assert frame["status"].value_counts().to_dict() == {"done": size - 3, "reused": 2, "failed": 1}
    assert frame[frame["status"] == "failed"]["error"].tolist() == ["ValueError: it is 3"]
    assert result[family][7].payload == 7
    assert result.failures[family[3]].params == {"n": 3, "fail_at": 3}
    again = run(family, errors="return")
    assert again.counts == {"done": 0, "reused": size - 1, "failed": 1, "skipped": 0, "cancelled": 0, "stale": 0}
    assert run(family, failed="skip").counts["skipped"] == 1


@step
def once(n: int, log: str) -> int:
    with open(log, "a") as lines:
        lines.write("once\n")
    if n:
        raise ValueError("never")
    return n


@step
def after(source: int, n: int) -> int:
    return source + n


@pytest.mark.parametrize("bad", [0, 1])
def test_what_portions_share_is_performed_once_also_if_it_fails(bad: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from persistable.runs import chunks

    monkeypatch.setattr(chunks, "CHUNK", 200)
    assert CHUNK > 200
    heard: list[Any] = []
    family = after.over(once.step(bad, str(tmp_path / "log")), n=range(SMALLEST + 100))
    result = run(family, errors="return", hooks=[heard.append])
    assert (tmp_path / "log").read_text().split() == ["once"]
    wanted = {"done": 0, "skipped": len(family), "failed": 1} if bad else {"done": len(family) + 1, "skipped": 0, "failed": 0}
    assert result.counts == {**wanted, "reused": 0, "cancelled": 0, "stale": 0}
    assert len(result.failures) == bad
    assert [type(event).__name__ for event in heard if isinstance(event, events.RunStarted | events.RunFinished)] == [
        "RunStarted",
        "RunFinished",
    ]
    assert heard[-1].counts == result.counts


def test_on_processes_and_threads() -> None:
    family = Outliers.over(k=range(1, SMALLEST + 2), points=Points.over(n=[3]))
    assert run(family, executor="threads", max_workers=2).counts["done"] == SMALLEST + 2
    assert family[2, 3].payload == 6


MEMORY = """
    import tracemalloc
    from persistable import open_store, run, step

    @step
    def member(n):
        return n

    with open_store("sqlite:///store.db"):
        run(member.over(n=range(600)))
        tracemalloc.start()
        peaks = []
        for size in (6_500, 16_500):
            tracemalloc.reset_peak()
            family = member.over(n=range(size))
            result = run(family)
            assert result.counts["done"] + result.counts["reused"] == size
            assert sum(family.status().values()) == size
            peaks.append(tracemalloc.get_traced_memory()[1])
        print(peaks[1] - peaks[0])
"""


def test_memory_is_flat_in_the_number_of_members(tmp_path: Path) -> None:
    script = tmp_path / "flow.py"
    script.write_text(textwrap.dedent(MEMORY))
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) / 10_000 < 700, "bytes for each further member: a node alone takes some thousands"


def test_tables_the_best_and_lists_read_many_members_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @step
    def half(n: int) -> float:
        return n / 2

    @step
    def total(xs: list[float]) -> float:
        return sum(xs)

    family = half.over(n=range(1200)).bind(f"sqlite:///{tmp_path / 'x.db'}")
    run(family)
    calls: list[str] = []
    for name in ("get", "exists", "stat"):
        original = getattr(SQLiteStore, name)

        def counted(self: Any, path: str, original: Any = original) -> Any:
            calls.append(path)
            return original(self, path)

        monkeypatch.setattr(SQLiteStore, name, counted)
    table = family.to_frame()
    assert list(table.payload) == [n / 2 for n in range(1200)] and set(table.status) == {"done"} and list(table.n) == list(range(1200))
    assert list(family.to_frame(payload=True).payload) == list(table.payload) and "payload" not in family.to_frame(payload=False)
    assert family.best().key == family[1199].key and family.best(max=False).key == family[0].key
    assert len(calls) < 50
    node = total.step(list(family.nodes)).bind(family.nodes[0].store)
    assert node.payload == sum(range(1200)) / 2
    assert len(calls) < 200
    family[7].delete()
    family[8].put(1000.0)
    table = family.to_frame()
    assert list(table.status[6:9]) == ["done", "absent", "done"] and table.payload[8] == 1000.0
    with pytest.raises(PayloadNotFound, match="1 of 1200 members of half have no stored payload"):
        family.best()
