"""`run`: what it promises whatever carries the jobs, and what depends on that."""

import copy
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from persistable import Persistable, Pipeline, Resources, Retry, Status, open_store, plan, run, step
from persistable.errors import (
    Infeasible,
    NotEnforceable,
    ParamsMutated,
    PayloadNotRepresentable,
    RemoteError,
    RunFailed,
    TimedOut,
    WorkerDied,
)
from persistable.events import Event, Failed, Performed, Persisted, Retried, RunFinished, RunStarted, Started
from persistable.executors import Executor, InlineExecutor, ProcessExecutor, ThreadExecutor
from persistable.stores import LocalStore, Store


def mark(place: str, name: str = "x") -> None:
    """Leave a trace of one call that other processes can count."""
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, f"{name}\n".encode())
    os.close(fd)


def marks(place: Any) -> list[str]:
    return Path(place).read_text().splitlines() if Path(place).exists() else []


@step
def number(n: int) -> int:
    return n


@step
def add(*parts: int, log: str = "") -> int:
    if log:
        mark(log)
    return sum(parts)


@step(persist=False)
def passing(n: Any, log: str = "") -> Any:
    if log:
        mark(log)
    return n


@step
def fails(n: int, kind: str = "ValueError") -> int:
    if kind == "exit":
        raise SystemExit(3)
    if kind == "two":
        raise Two("left", "right")
    if kind == "unpicklable":
        error = ValueError("holds a lock")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error
    raise ValueError(f"no good: {n}")


class Two(Exception):
    def __init__(self, left: str, right: str) -> None:
        super().__init__(f"{left} and {right}")


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessExecutor]:
    with ProcessExecutor(2) as executor:
        yield executor


@pytest.fixture(params=["inline", "threads", "processes", "any"])
def executor(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "processes":
        yield request.getfixturevalue("processes")
    elif request.param == "any":
        with ProcessPoolExecutor(2) as pool:
            yield pool
    else:
        yield request.param


def test_targets_and_what_they_need_are_generated_once(executor: Any, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    base = add.step(number.step(1), number.step(2), log=log)
    ends = [add.step(base, number.step(i), log=log) for i in range(3)]
    top = add.step(*ends, log=log)
    result = run(top, ends[0], executor=executor)
    assert len(marks(log)) == 5
    assert result[top].payload == 12 and result[ends[0]].payload == 3
    assert result.counts == {"done": 8, "reused": 0, "failed": 0, "skipped": 0, "cancelled": 0, "stale": 0}
    assert set(result.records) == set(result) and result.records[base.key].params["log"] == log
    assert result.records[base] == result.records[base.key]
    assert run(top, executor=executor).counts["reused"] == 1
    assert len(marks(log)) == 5


def test_a_deleted_payload_is_generated_again_and_nothing_else(executor: Any, tmp_path: Path, store: LocalStore) -> None:
    log = str(tmp_path / "log")
    base = add.step(number.step(1), log=log)
    top = add.step(base, log=log)
    run(top, executor=executor)
    for path in list(store.list("add")):
        if path.startswith(base.key.path) and path.endswith(".pickle"):
            store.delete(path)
    assert run(top, executor=executor).counts["done"] == 0
    assert run(base, executor=executor).counts == {"done": 1, "reused": 1, "failed": 0, "skipped": 0, "cancelled": 0, "stale": 0}


def test_payloads_that_are_not_persisted_are_handed_over_and_run_once_each_time(executor: Any, tmp_path: Path, store: Store) -> None:
    log = str(tmp_path / "log")
    shared = passing.step([1, 2], log=log)
    large = passing.step(b"x" * 200_000, log=log)
    ends = [passing.step([shared, large, i]) for i in range(3)]
    result = run(ends, shared, executor=executor)
    assert [result[end].payload for end in ends] == [[[1, 2], b"x" * 200_000, i] for i in range(3)]
    assert result[shared].payload == [1, 2]
    assert len(marks(log)) == 2
    assert list(store.list()) == [] and not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    run(ends, executor=executor)
    assert len(marks(log)) == 4


def test_failures_are_values_and_stop_only_what_needs_them(executor: Any) -> None:
    bad, good = fails.step(1), add.step(number.step(1))
    after = add.step(bad, good)
    result = run(after, good, executor=executor, errors="return")
    assert result.counts == {"done": 2, "reused": 0, "failed": 1, "skipped": 1, "cancelled": 0, "stale": 0}
    (failure,) = result.failures
    assert result.failures[bad] is result.failures[bad.key] is result.failures[0] is failure
    with pytest.raises(KeyError, match="is not among the failures"):
        result.failures[good]
    assert failure.key == bad.key and isinstance(failure.error, ValueError) and str(failure.error) == "no good: 1"
    assert failure.params == {"n": 1, "kind": "ValueError"} and "in fails" in failure.traceback
    assert result.skipped == {after.key: bad.key}
    assert (bad.status, after.status, good.status) == (Status.FAILED, Status.BLOCKED, Status.DONE)
    with pytest.raises(ValueError, match="no good: 1"):
        failure.reproduce()
    rows = {row["key"]: row for row in result.rows()}
    assert (
        rows[str(bad.key)]["error"] == "ValueError: no good: 1"
        and rows[str(after.key)]["error"] == f"waits for {bad.label}: ValueError: no good: 1"
    )
    assert list(result.to_frame()["status"]).count("skipped") == 1


def test_one_group_is_raised_at_the_end(executor: Any) -> None:
    one, two, good = fails.step(1), fails.step(2), number.step(5)
    with pytest.raises(RunFailed, match="2 of 4 nodes failed, and 1 that need them were skipped") as caught:
        run(add.step(one, two), good, executor=executor)
    assert {str(error) for error in caught.value.exceptions} == {"no good: 1", "no good: 2"}
    assert any(str(one.key) in note for error in caught.value.exceptions for note in error.__notes__)
    assert caught.value.result[good].payload == 5
    matched, _ = caught.value.split(ValueError)
    assert isinstance(matched, RunFailed) and matched.result is caught.value.result


@pytest.mark.parametrize(("kind", "text"), [("exit", "SystemExit: 3"), ("two", "left and right"), ("unpicklable", "holds a lock")])
def test_awkward_errors_fail_their_own_node_and_nothing_else(executor: Any, kind: str, text: str) -> None:
    others = [number.step(i) for i in range(4)]
    result = run(fails.step(1, kind), others, executor=executor, errors="return")
    assert result.counts["done"] == 4 and result.counts["failed"] == 1
    assert text in str(result.failures[0].error)
    assert fails.step(1, kind).status is Status.FAILED


@step
def slow_or_bad(n: int) -> int:
    if n == 0:
        raise ValueError("first")
    time.sleep(0.05)
    return n


def test_fail_fast_stops_at_the_first(executor: Any) -> None:
    nodes = [slow_or_bad.step(n) for n in range(60)]
    result = run(nodes, executor=executor, errors="return", fail_fast=True)
    assert result.counts["failed"] == 1 and result.counts["cancelled"] > 20
    assert run(nodes[1:], executor=executor).counts["failed"] == 0


def test_fail_fast_ends_for_no_failure_of_an_earlier_run(executor: Any) -> None:
    nodes = [slow_or_bad.step(n) for n in range(4)]
    run(nodes[0], executor=executor, errors="return")
    result = run(nodes, executor=executor, errors="return", failed="skip", fail_fast=True)
    assert (result.counts["skipped"], result.counts["done"]) == (1, 3)


@step(retry=Retry(3, on=lambda error: error.errno == 5))
def without_errno(n: int) -> int:
    raise ValueError(n)


def test_a_failure_says_that_the_predicate_of_its_retry_failed(executor: Any) -> None:
    (failure,) = run(without_errno.step(1), executor=executor, errors="return").failures
    assert failure.attempts == 1
    assert "AttributeError: 'ValueError' object has no attribute 'errno'" in "".join(failure.error.__notes__)


@step(retry=Retry(3, delay=0.01))
def flaky(log: str, good: int) -> int:
    mark(log)
    if len(marks(log)) < good:
        raise OSError("not yet")
    return len(marks(log))


@step(retry=Retry(3, delay=0.01, on=KeyError))
def picky(log: str) -> int:
    mark(log)
    raise OSError("another kind")


def test_retries_are_made_as_the_node_asks(executor: Any, tmp_path: Path) -> None:
    heard: list[Event] = []
    node = flaky.step(str(tmp_path / "a"), 3)
    result = run(node, executor=executor, hooks=[heard.append])
    assert result[node].payload == 3 and result[node].record.attempts == 3
    assert [(event.attempt, event.error) for event in heard if isinstance(event, Retried)] == [
        (1, "OSError: not yet"),
        (2, "OSError: not yet"),
    ]
    result = run(flaky.step(str(tmp_path / "b"), 9), picky.step(str(tmp_path / "c")), executor=executor, errors="return")
    assert sorted((failure.key.name, failure.attempts) for failure in result.failures) == [("flaky", 3), ("picky", 1)]
    assert len(marks(tmp_path / "b")) == 3 and len(marks(tmp_path / "c")) == 1


def test_recorded_failures_are_tried_again_or_left(executor: Any, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    node = step(name="twice")(lambda log: (mark(log), 1 // (len(marks(log)) - 1))[1]).step(log)
    after = add.step(node)
    assert run(after, executor=executor, errors="return").counts["failed"] == 1
    left = run(after, executor=executor, failed="skip")
    assert left.counts["skipped"] == 2 and left.skipped == {node.key: node.key, after.key: node.key} and len(marks(log)) == 1
    assert run(after, executor=executor)[after].payload == 1 and node.status is Status.DONE


def test_events_tell_the_whole_story_whoever_carries_the_jobs(executor: Any) -> None:
    heard: list[Event] = []
    good, bad = number.step(1), fails.step(1)
    run(good, bad, executor=executor, errors="return", hooks=[heard.append])
    kinds = [type(event) for event in heard]
    assert kinds[0] is RunStarted and kinds[-1] is RunFinished
    for key, end in ((good.key, Persisted), (bad.key, Failed)):
        mine = [type(event) for event in heard if getattr(event, "key", None) == key]
        assert mine == [Started, end, Performed]
    finished = heard[-1]
    assert isinstance(finished, RunFinished)
    assert finished.counts["done"] == 1 and finished.failures == ((bad.key, "ValueError: no good: 1"),)


def test_a_hook_that_fails_is_reported_and_harms_nothing(executor: Any) -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("hook")

    with pytest.warns(UserWarning, match=r"hook .* raised RuntimeError\('hook'\)"):
        assert run(number.step(77), executor=executor, hooks=[broken]).counts["done"] == 1


class Doubled(Persistable[int, None]):
    number: Persistable[Any, Any]

    def _generate_payload(self, **_: Any) -> int:
        return int(self.number.payload) * 2


def test_classes_and_steps_with_stores_of_their_own_run_alike(executor: Any, tmp_path: Path) -> None:
    source = number.step(4).bind(tmp_path / "elsewhere")
    node = Doubled(tmp_path / "here", number=source)
    result = run(node, executor=executor)
    assert result[node].payload == 8
    assert {path.name for path in tmp_path.iterdir()} >= {"elsewhere", "here"} and not (tmp_path / "store").exists()


def test_a_corrupt_upstream_payload_is_mended_on_the_way(executor: Any, store: LocalStore) -> None:
    base = number.step(5)
    run(base)
    (file,) = [path for path in store.list("number") if path.endswith(".pickle")]
    data = bytearray(store.get(file))
    data[-1] ^= 1
    store.put(file, bytes(data))
    with pytest.warns(UserWarning, match="is not what its record names") if executor in ("inline", "threads") else _nothing():
        assert run(add.step(base), executor=executor).counts["failed"] == 0


class _nothing:  # noqa: N801
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


@step(resources=Resources(db=1))
def query(log: str, n: int) -> int:
    mark(log, "+")
    time.sleep(0.03)
    mark(log, "-")
    return n


def test_named_limits_hold(executor: Any, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with ThreadExecutor(6) as threads:
        carrier = threads if executor == "threads" else executor
        run([query.step(log, n) for n in range(8)], executor=carrier, limits={"db": 2})
    level = highest = 0
    for sign in marks(log):
        level += 1 if sign == "+" else -1
        highest = max(highest, level)
    assert highest <= 2 and len(marks(log)) == 16


def test_what_is_never_there_is_refused_before_anything_begins(executor: Any, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    first = add.step(log=log)
    for resources, limits, what in (
        (Resources(db=3), {"db": 2}, "db=3 .there is 2"),
        (Resources(gpus=1), {}, "gpus=1 .there is 0"),
        (Resources(memory=1 << 60), {}, "memory"),
    ):
        node = step(name="greedy", resources=resources)(lambda x: x).step(first)
        with pytest.raises(Infeasible, match=what) as caught:
            run(node, executor=executor, limits=limits)
        assert caught.value.wanted.keys() == caught.value.available.keys() != set()
    assert marks(log) == []
    with pytest.raises(ValueError, match=r"limits\['db'\] is -1"):
        run(first, executor=executor, limits={"db": -1})
    with pytest.warns(UserWarning, match="asks for dbb, which limits="):
        run(_misspelt(), executor=executor, limits={"db": 1})


def _misspelt() -> Any:
    return step(name="misspelt", resources=Resources(dbb=1))(lambda: 1).step()


def test_time_that_cannot_be_enforced_is_refused() -> None:
    node = step(name="timed", resources=Resources(time=1))(lambda: 1).step()
    for executor in ("inline", "threads"):
        with pytest.raises(NotEnforceable, match=f"the {executor} executor cannot stop work"):
            run(node, executor=executor)
    with ThreadPoolExecutor(1) as pool, pytest.raises(NotEnforceable):
        run(node, executor=pool)


def test_memory_stores_are_refused_where_memory_is_not_shared(processes: Executor) -> None:
    with open_store("memory://"):
        node = number.step(1)
        assert run(node, executor="threads")[node].payload == 1
        with pytest.raises(NotEnforceable, match="in the memory of this process"):
            run(number.step(2), executor=processes)


def threading_lock() -> Any:
    return threading.Lock()


def test_large_payloads_are_handed_over_beside_a_store_in_memory(processes: Executor, tmp_path: Path) -> None:
    with open_store("memory://"):
        large = passing.step(b"x" * 300_000).bind(tmp_path / "data")
        ends = [passing.step([large, i]).bind(tmp_path / "data") for i in range(3)]
        result = run(ends, large, executor=processes)
        assert [result[end].payload for end in ends] == [[b"x" * 300_000, i] for i in range(3)]
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


def test_a_payload_that_cannot_be_handed_over_says_so(processes: Executor) -> None:
    lock = step(name="lock", persist=False)(threading_lock).step()
    node = step(name="uses")(lambda held: 1).step(lock)
    assert run(node, executor="threads").counts["failed"] == 0
    node.delete()
    result = run(node, executor=processes, errors="return")
    assert isinstance(result.failures[0].error, PayloadNotRepresentable) and "cannot be handed to another process" in str(
        result.failures[0].error
    )


@step
def dies(log: str, n: int, how: str = "exit") -> int:
    mark(log, str(n))
    if n == 77:
        if how == "exit":
            os._exit(9)
        os.kill(os.getpid(), signal.SIGSEGV)
    return n


@pytest.mark.parametrize("how", ["exit", "segfault"])
def test_a_worker_that_dies_fails_one_of_200_and_no_other_runs_twice(how: str, tmp_path: Path, processes: Executor) -> None:
    log = str(tmp_path / "log")
    result = run([dies.step(log, n, how) for n in range(200)], executor=processes, errors="return")
    assert result.counts["done"] == 199 and result.counts["failed"] == 1
    assert sorted(map(int, marks(log))) == list(range(200))
    (failure,) = result.failures
    assert isinstance(failure.error, WorkerDied) and failure.error.exitcode == (9 if how == "exit" else -signal.SIGSEGV)
    assert failure.node.status is Status.FAILED


@step(retry=Retry(2, on=WorkerDied))
def dies_once(log: str) -> int:
    mark(log)
    if len(marks(log)) == 1:
        os._exit(1)
    return 5


def test_a_dead_worker_may_be_worth_another_try(tmp_path: Path, processes: Executor) -> None:
    node = dies_once.step(str(tmp_path / "log"))
    assert run(node, executor=processes)[node].payload == 5


@step(resources=Resources(time=2))
def hangs(log: str) -> int:
    import subprocess

    child = subprocess.Popen(["sleep", "600"])
    mark(log, str(child.pid))
    time.sleep(600)
    return 1


def gone(pid: int, seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_a_timeout_ends_the_work_and_all_it_started(tmp_path: Path, store: LocalStore, processes: Executor) -> None:
    log = str(tmp_path / "log")
    node = hangs.step(log)
    result = run(node, add.step(node), number.step(3), executor=processes, errors="return")
    assert result.counts == {"done": 1, "reused": 0, "failed": 1, "skipped": 1, "cancelled": 0, "stale": 0}
    error = result.failures[0].error
    assert isinstance(error, TimedOut) and isinstance(error, TimeoutError) and error.seconds == 2
    assert gone(int(marks(log)[0]))
    assert node.status is Status.FAILED
    names = [path.name for path in (tmp_path / "store" / "hangs").iterdir()]
    assert names == [f"{node.key.digest}.failed.json"]


@step
def half_written(log: str) -> Any:
    from persistable import allocate

    array = allocate((1 << 20,), "f8")
    array[:] = 1
    mark(log)
    time.sleep(600)
    return array


def test_nothing_of_a_killed_attempt_stays(tmp_path: Path, processes: Executor) -> None:
    half_written.node_class.resources = Resources(time=2)
    node = half_written.step(str(tmp_path / "log"))
    run(node, executor=processes, errors="return")
    assert marks(tmp_path / "log") == ["x"]
    names = [path.name for path in (tmp_path / "store" / "half_written").iterdir()]
    assert names == [f"{node.key.digest}.failed.json"]


def test_independent_work_runs_at_the_same_time(tmp_path: Path, processes: Executor) -> None:
    @step
    def meets(folder: str, me: str, other: str) -> bool:
        """Two that wait for each other can only both end if they run at the same time."""
        Path(folder, me).touch()
        until = time.monotonic() + 60
        while not Path(folder, other).exists():
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        return True

    for carrier in ("threads", processes):
        folder = tmp_path / str(carrier)[:9].strip("<")
        folder.mkdir()
        nodes = [meets.step(str(folder), "a", "b"), meets.step(str(folder), "b", "a")]
        with ThreadExecutor(2) as threads:
            result = run(nodes, executor=threads if carrier == "threads" else carrier)
        assert [result[node].payload for node in nodes] == [True, True]


def test_chains_10_000_deep_plan_run_and_load() -> None:
    with open_store("memory://"):
        chain = [add.step()]
        for _ in range(9_999):
            chain.append(add.step(chain[-1]))
        assert len(plan(chain[-1])) == 10_000
        result = run(chain[-1])
        assert result.counts["done"] == 10_000 and result[chain[-1]].load().payload == 0
        assert run(chain[-1]).counts["reused"] == 1


def test_two_runs_at_once_generate_each_node_once(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    nodes = [query.step(log, n) for n in range(6)]
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(run(nodes, executor="threads", store=tmp_path / "store"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 3 and all(result.counts["failed"] == 0 for result in results)
    assert len(marks(log)) == 12


def test_a_pipeline_names_its_targets() -> None:
    a = number.step(1)
    b = add.step(a)
    pipeline = Pipeline(first=a, second=b)
    assert pipeline["second"] is b and list(pipeline) == ["first", "second"] and pipeline.nodes == [a, b]
    assert pipeline.plan().counts == {"generate": 2}
    result = pipeline.run()
    assert result[b].payload == 1 and run(pipeline).counts["reused"] == 2
    assert repr(pipeline) == "<Pipeline: first, second; 2 nodes>"
    assert pipeline.first is pipeline["first"] and copy.copy(pipeline).second is pipeline.second
    with pytest.raises(AttributeError, match="no attribute 'third'; its targets are first, second"):
        _ = pipeline.third
    with pytest.raises(KeyError, match=r"^no target named 'third'; there are first, second"):
        pipeline["third"]
    with pytest.raises(ValueError, match="two targets are named 'number'"):
        Pipeline(a, number.step(2))
    with pytest.raises(TypeError, match="is no node"):
        Pipeline(a=1)


def test_results_give_bound_nodes_and_know_strangers(tmp_path: Path) -> None:
    a, b = number.step(1), number.step(2)
    a._node_store = b._node_store = None  # as if made outside any store
    result = run(a, store=tmp_path / "other")
    assert result[a].store.url.endswith("other") and result[a.key].payload == 1
    assert a in result and b not in result and result.status(a) == "done"
    assert result[b].store.url.endswith("other")
    with pytest.raises(KeyError, match=f"^{b.key} is no node of this run$"):
        result[b.key]
    with pytest.raises(KeyError, match=r"^x is no node of this run$"):
        result["x"]
    with pytest.raises(KeyError, match=r"is no node of this run$"):
        result.status(b)
    assert ">done</span>" in result._repr_html_()
    broken = add.step(a, fails.step(3))
    ended = run(broken, store=tmp_path / "other", errors="return")
    with pytest.raises(KeyError, match=f"^{broken.key} has no record; its outcome is skipped$"):
        ended.records[broken]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"hooks": print}, TypeError, "hooks is .*; give a list of functions"),
        ({"hooks": ["slack"]}, TypeError, r"hooks is \('slack',\); give a list of functions"),
        ({"limits": {"db": "2"}}, TypeError, r"limits\['db'\] is '2'; give a number"),
        ({"limits": {"db": float("nan")}}, ValueError, r"limits\['db'\] is nan; give zero or more"),
    ],
)
def test_options_of_the_wrong_type_are_named(options: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=f"^{says}"):
        run(number.step(1), **options)


@step
def listed(values: list[int]) -> list[int]:
    return values


def test_params_changed_since_fail_their_node_and_persist_nothing(executor: Any, store: Store) -> None:
    values = [1]
    node, other = listed.step(values), number.step(1)
    above = add.step(other, node)
    values.append(2)
    result = run(above, executor=executor, errors="return")
    assert isinstance(result.failures[node].error, ParamsMutated) and result.counts["done"] == 1
    assert not [path for path in store.list("listed") if path.endswith(".record.json")]


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match='errors is "raise" or "return"'):
        run(number.step(1), errors="ignore")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"executor is 'warp'"):
        run(number.step(1), executor="warp")
    assert run().counts["done"] == 0
    assert run([], {}).counts["done"] == 0


def test_remote_errors_name_what_they_stand_for(processes: Executor) -> None:
    result = run(fails.step(3, "unpicklable"), executor=processes, errors="return")
    error = result.failures[0].error
    assert isinstance(error, RemoteError) and error.error == "ValueError" and error.text == "holds a lock" and "in fails" in error.traceback


def test_an_executor_made_elsewhere_is_left_open() -> None:
    with InlineExecutor() as inline, ThreadPoolExecutor(2) as pool:
        for carrier in (inline, pool):
            run(number.step(5), executor=carrier)
            assert carrier.submit(int, "3").result() == 3
