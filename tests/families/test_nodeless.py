"""Members that are generated without their nodes: nothing but the time it takes tells them from those that have one."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import persistable
from persistable import Persistable, Resources, Retry, Status, connection, events, formerly, omit_when, open_store, run, step, untracked
from persistable.families import nodeless
from persistable.nodes.binding import bound_to
from persistable.records.record_access import find_failure
from persistable.runs import targets

RUNS = 0


@pytest.fixture(autouse=True)
def small_families_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "SMALLEST", 1)


@step
def anything(n: Any, kind: str = "", m: int = 1) -> Any:
    """A payload of that kind."""
    if kind == "fails" and n != 0:
        raise ValueError(f"{n} is bad")
    if kind == "leaves":
        raise SystemExit(3)
    if kind == "rng":
        return float(persistable.rng.random())
    if kind == "scratch":
        (persistable.scratch / "kept").write_text(str(n))
        return (persistable.scratch / "kept").read_text()
    if kind == "progress":
        persistable.progress(1, 2)
    if kind == "large":
        return bytes(3 << 20)
    if kind == "many":
        return list(range(3000))
    if kind == "items":
        return ((key, key * 2) for key in range(3))
    if kind == "array":
        import numpy as np

        return np.arange(5)
    if kind == "unfit":
        return (each for each in ()).send  # nothing takes this
    if kind == "nested":
        return anything.step(n, "").payload
    return {"n": n, "m": [m, (None, 2.5, "text")]}


def lasting(record: Any) -> dict[str, Any]:
    passing = ("token", "files", "started", "seconds", "checksum", "versions", "items", "usage")
    return {name: fact for name, fact in record.to_dict().items() if name not in passing}


def _failed(node: Any, store: Any) -> tuple[Any, ...]:
    failure = find_failure(store, node.place)
    return (str(node.key), *((failure.error, failure.message, failure.attempt, str(failure.params)) if failure is not None else ()))


def told(folder: Path, url: str, family: Any, nodes: bool, **options: Any) -> dict[str, Any]:
    """All that is known after a run of `family` in a new store: of its members, or of single nodes."""
    heard: list[Any] = []
    with open_store(url.format(folder)) as store, pytest.MonkeyPatch.context() as patch:
        if nodes:
            patch.setattr(targets, "SMALLEST", 1 << 40)
        members = list(family.bind(store).nodes)
        with events.subscribe(heard.append):
            result = run(family.bind(store), errors="return", **options)
        records = {str(node.key): lasting(node.record) for node in members if node.exists()}
        return {
            "counts": result.counts,
            "failures": sorted((str(each.key), repr(each.error), each.attempts, each.params) for each in result.failures),
            "rows": sorted((row["key"], row["status"], row["attempts"], row["error"]) for row in result.rows()),
            "records": records,
            "payloads": {str(node.key): str(node.load().payload) for node in members if node.exists()},
            "status": family.bind(store).status(),
            "failed": sorted(_failed(node, store) for node in members),
            "events": Counter((type(event).__name__, getattr(event, "key", None)) for event in heard),
            # where a generation fails, its scratch folder stays; only a folder has that in the store
            "paths": sorted(path.partition(".")[0] for path in [*store.list(), *store.list(".persistable")] if "/scratch/" not in path),
        }


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=1 << 50, max_value=1 << 70)
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.binary(max_size=200)
)


def as_label(value: Any) -> Any:
    """Equal for values that a key of the family would not tell apart, such as True and 1.0."""
    return "nan" if value != value else (type(value) if isinstance(value, str | bytes) else None, value)


kinds = st.sampled_from(["", "", "", "fails", "leaves", "rng", "scratch", "progress", "large", "many", "items", "array", "unfit", "nested"])


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(values=["\ud800"], kinds=["", "scratch"])
@given(values=st.lists(scalars, min_size=1, max_size=5, unique_by=as_label), kinds=st.lists(kinds, min_size=1, max_size=3, unique=True))
def test_all_that_is_left_is_as_of_nodes(values: list[Any], kinds: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    if "nested" in kinds and "" in kinds:
        kinds.remove("nested")  # who of the two makes it is a matter of order
    family = anything.over(values, kinds, m=7)
    folder = tmp_path_factory.mktemp("same")
    assert told(folder, "sqlite:///{}/a.db", family, False) == told(folder, "{}/b", family, True)


def test_it_is_what_plain_families_of_functions_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    write = nodeless.DirectGenerator._write
    monkeypatch.setattr(nodeless.DirectGenerator, "_write", lambda self, *given: written.append(write(self, *given)) or written[-1])
    with open_store(f"sqlite:///{tmp_path}/a.db"):
        assert run(anything.over(range(50), m=[1, 2])).counts["done"] == 100
        assert written == [True] * 100
        assert run(anything.over(range(50), m=[1, 2])).counts["reused"] == 100
        assert len(written) == 100


@step(retry=Retry(2))
def tried(n: int) -> int:
    return n


@step(resources=Resources(memory=1 << 20))
def measured(n: int) -> int:
    return n


@step
def seen(n: int, jobs: Annotated[int, untracked] = 1) -> int:
    return n


@step
def connected(n: int, to: Any) -> int:
    return n + to


@step
def listed(n: int, more: Any) -> int:
    return n


@step
def pinned(n: int, m: Annotated[int, omit_when(3)] = 3) -> int:
    return n


@step
def renamed(n: Annotated[int, formerly("k")]) -> int:
    return n


@step
def after(n: int, source: Any) -> int:
    return n


class Own(Persistable[int, Any]):
    def _generate_payload(self) -> int:
        return 1


def test_what_takes_a_node_has_one(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/a.db") as store:
        for family in (
            tried.over(n=[1, 2]),
            measured.over(n=[1, 2]),
            seen.over(n=[1, 2]),
            connected.over(n=[1, 2], to=connection(int, 3)),
            listed.over(n=[1, 2], more=[[1], [2]]),
            listed.over(n=[1, 2], more=[[1], 2]),
            connected.over(n=[1, 2], to=[3, connection(int, 4)]),
            after.over(n=[1, 2], source=[1, tried.step(1)]),
            pinned.over(n=[1, 2], m=[3, 4]),
            renamed.over(n=[1, 2]),
            after.over(n=[1, 2], source=tried.step(1)),
            after.over(n=[1, 2], source=tried.over(n=[1, 2])),
        ):
            key_chunks = family.key_chunks
            assert key_chunks is None or key_chunks.direct_generator(store) is None
            run(family)
            assert family.status() == {Status.DONE: len(family)}
            for node in family.nodes:
                again = bound_to(node, open_store(tmp_path / "folder"))
                again.generate()
                assert lasting(again.record) == lasting(node.record)
        key_chunks = anything.over(range(3)).key_chunks
        assert key_chunks is not None
        assert key_chunks.direct_generator(open_store(tmp_path / "folder")) is None


def test_versions_imported_meanwhile_are_in_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lately_imported.py").write_text("__version__ = '4.2'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with open_store(f"sqlite:///{tmp_path}/a.db"):
        family = importing.over(n=range(4))
        run(family)
        assert ["lately_imported" in node.record.versions for node in family.nodes] == [False, False, True, True]
    del sys.modules["lately_imported"]


@step
def importing(n: int) -> int:
    if n >= 2:
        import lately_imported  # type: ignore[import-not-found]

        del lately_imported
    return n


@pytest.fixture
def flaky(tmp_path: Path) -> Iterator[Any]:
    with open_store(f"sqlite:///{tmp_path}/a.db"):
        yield at_first


@step
def at_first(n: int) -> int:
    global RUNS
    RUNS += 1
    if n == 2 and RUNS < 5:
        raise ValueError("not yet")
    return n


def test_attempts_are_counted_on(flaky: Any) -> None:
    family = flaky.over(n=range(4))
    assert run(family, errors="return").counts["failed"] == 1
    assert _failed(family[2], family[2]._node_use())[3] == 1
    assert run(family).counts == {"done": 1, "reused": 3, "failed": 0, "skipped": 0, "cancelled": 0, "stale": 0}
    assert family[2].record.attempts == 2
    assert len(_failed(family[2], family[2]._node_use())) == 1


def test_who_listens_hears_each_member(tmp_path: Path) -> None:
    heard: list[Any] = []
    with open_store(f"sqlite:///{tmp_path}/a.db"):
        run(anything.over(range(3)), hooks=[heard.append])
    names = [type(event).__name__ for event in heard]
    assert names[0] == "RunStarted" and names[-1] == "RunFinished"
    assert Counter(names) == {"RunStarted": 1, "Started": 3, "Persisted": 3, "Performed": 3, "RunFinished": 1}
    assert heard[0].jobs == {"anything": 3} and heard[0].expected == {}
    assert heard[-1].counts["done"] == 3
    with open_store(f"sqlite:///{tmp_path}/a.db"):
        run(anything.over(range(6)), hooks=[heard.append])
    assert 0 < [event for event in heard if isinstance(event, events.RunStarted)][1].expected["anything"] < 60


# by other processes


def test_other_processes_leave_the_same(tmp_path: Path) -> None:
    family = anything.over(
        [0, 1, "text", None, 2.5], ["", "fails", "leaves", "rng", "scratch", "progress", "large", "many", "items", "unfit"], m=7
    )
    ways = [
        told(tmp_path, url, family, nodes, executor="processes", max_workers=2)
        for url, nodes in (("sqlite:///{}/a.db", False), ("sqlite:///{}/b.db", True))
    ]
    assert ways[0] == ways[1]


def test_a_family_on_processes_is_sent_many_to_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    request = nodeless.DirectGenerator.request
    monkeypatch.setattr(
        nodeless.DirectGenerator, "request", lambda self, keys, *given: sent.append(len(keys)) or request(self, keys, *given)
    )
    with open_store(f"sqlite:///{tmp_path}/a.db"):
        family = anything.over(range(3000))
        assert run(family, executor="processes", max_workers=2).counts["done"] == 3000
        assert max(sent) > 16
        assert [payload["n"] for _, payload in family.payloads()] == list(range(3000))


@step
def cold(n: int) -> int:
    """Takes long the first time in a process."""
    global RUNS
    RUNS += 1
    if RUNS == 1:
        time.sleep(0.4)
    return n


def test_a_slow_start_of_workers_is_not_taken_for_members_that_take_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    request = nodeless.DirectGenerator.request
    monkeypatch.setattr(
        nodeless.DirectGenerator, "request", lambda self, keys, *given: sent.append(len(keys)) or request(self, keys, *given)
    )
    with open_store(f"sqlite:///{tmp_path}/a.db"):
        assert run(cold.over(n=range(2000)), executor="processes", max_workers=2).counts["done"] == 2000
    assert max(sent) > 16


@step
def deadly(n: int) -> int:
    import os

    if n == 7:
        os._exit(1)
    return n


def test_a_member_that_takes_its_process_down_fails_alone(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/a.db") as store:
        result = run(deadly.over(n=range(40)), executor="processes", max_workers=2, errors="return")
        assert result.counts == {"done": 39, "failed": 1, "reused": 0, "skipped": 0, "cancelled": 0, "stale": 0}
        assert [failure.params["n"] for failure in result.failures] == [7]
        assert not [path for path in store.list() if ".claim" in path]


@step
def long(n: int, log: str) -> int:
    import os
    import time

    with open(log, "a") as lines:
        lines.write(f"{os.getpid()}\n")
    time.sleep(0.25)
    return n


def test_members_that_take_long_are_sent_alone(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/a.db"):
        result = run(long.over(n=range(12), log=str(tmp_path / "log")), executor="processes", max_workers=2)
    assert result.counts["done"] == 12
    running_generations = Counter((tmp_path / "log").read_text().split())
    assert len(running_generations) == 2 and sum(running_generations.values()) == 12


def test_fail_fast_on_processes(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/a.db") as store:
        result = run(anything.over(range(20_000), "fails"), executor="processes", max_workers=2, errors="return", fail_fast=True)
        assert result.counts["failed"] >= 1 and result.counts["cancelled"] > 5000
        assert not [path for path in store.list() if ".claim" in path]


MAIN = """
from persistable import open_store, run, step

OFFSET = 3

@step
def here(n, m):
    if n == 600:
        raise LookupError("not this one")
    return n + m + OFFSET

if __name__ == "__main__":
    with open_store("sqlite:///main.db"):
        family = here.over(n=range(700), m=2)
        result = run(family, executor="processes", max_workers=2, errors="return")
        print(result.counts["done"], result.failures[0].error, result.failures[0].reproduce.__name__)
        print(sum(node.load().payload for node in family.nodes if node.exists()), run(family, errors="return").counts["reused"])
"""


def test_functions_of_a_script_go_by_value(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(MAIN)
    done = subprocess.run([sys.executable, "flow.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["699 not this one reproduce", f"{sum(range(700)) - 600 + 5 * 699} 699"]


STOPPED = """
import time
from persistable import open_store, run, step

@step
def member(n):
    time.sleep(0.002)
    with open("log", "a") as lines:
        lines.write(f"{n}\\n")
    return n

if __name__ == "__main__":
    with open_store("sqlite:///store.db"):
        print(run(member.over(n=range(1500)), executor="processes", max_workers=2).counts)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_what_is_stopped_keeps_what_is_committed_and_is_gone_on_with(how: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(STOPPED)
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    process = subprocess.Popen([sys.executable, "flow.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until = time.monotonic() + 100
    while time.monotonic() < until and sum(path.endswith(".record.json") for path in store.list()) < 200:
        time.sleep(0.02)
    process.send_signal(how)
    process.communicate(timeout=60)
    done = {path.partition(".")[0] for path in store.list() if path.endswith(".record.json")}
    assert 200 <= len(done) < 1500
    if how == signal.SIGINT:
        assert not [path for path in store.list() if ".claim" in path]
    again = subprocess.run([sys.executable, "flow.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    counts = ast.literal_eval(again.stdout)
    assert counts["reused"] >= len(done) and counts["done"] + counts["reused"] == 1500
    made = Counter((tmp_path / "log").read_text().split())
    assert len(made) == 1500 and set(made.values()) <= {1, 2}
    assert sum(made.values()) - 1500 <= 1500 - len(done), "something was done twice that was committed"
    assert not [path for path in store.list() if ".claim" in path]
