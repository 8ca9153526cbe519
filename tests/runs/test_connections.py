"""Connections: opened once per run and process, closed on every path out."""

import multiprocessing
import os
import pickle
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from servers.needs import absent

from persistable import connection, run, step
from persistable.events import Event, Performed
from persistable.executors import ProcessExecutor, ThreadExecutor
from persistable.fileio import JsonFileIO
from persistable.runs import chunks
from persistable.stores import MemoryStore


def mark(place: str, text: str) -> None:
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, f"{text} {os.getpid()}\n".encode())
    os.close(fd)


def marks(place: Path) -> list[str]:
    return [line.split()[0] for line in place.read_text().splitlines()]


@contextmanager
def connect(log: str) -> Any:
    mark(log, "open")
    try:
        yield {"log": log}
    finally:
        mark(log, "close")


class Plain:
    def __init__(self, log: str) -> None:
        self.log = log
        mark(log, "open")

    def close(self) -> None:
        mark(self.log, "close")


@step
def load(n: int, db: Any) -> int:
    mark(db["log"] if isinstance(db, dict) else db.log, "use")
    if n < 0:
        raise ValueError(n)
    return n


@step(persist=False)
def both(a: Any, b: Any) -> Any:
    return (a, b)


@pytest.mark.parametrize("factory", [connect, Plain])
def test_one_process_opens_it_once_and_closes_it_when_the_run_is_over(factory: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    db = connection(factory, str(log))
    run([load.step(n, db) for n in range(3)])
    assert marks(log) == ["open", "use", "use", "use", "close"]
    run([load.step(n, db) for n in range(3, 5)], executor="threads")
    assert marks(log)[5:] == ["open", "use", "use", "close"]


def test_a_database_that_is_only_committed_by_leaving_it_is_closed_too(tmp_path: Path) -> None:
    import sqlite3

    opened: list[Any] = []

    def database() -> Any:
        opened.append(sqlite3.connect(tmp_path / "db"))
        return opened[0]

    @step
    def count(db: Any) -> int:
        return int(db.execute("select 1").fetchone()[0])

    run(count.step(connection(database)))
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("select 1")


def test_it_is_closed_after_failures_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    db = connection(connect, str(log))
    run([load.step(n, db) for n in (-1, -2)], errors="return")
    assert marks(log) == ["open", "use", "use", "close"]


def test_each_worker_process_opens_its_own_and_closes_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    db = connection(connect, str(log))
    run([load.step(n, db) for n in range(12)], executor="processes", max_workers=2)
    kept = marks(log)
    assert kept.count("use") == 12 and kept.count("open") == kept.count("close") in (1, 2)
    with ProcessExecutor(1) as pool:  # one that outlives the run closes it when work of another run comes
        run(load.step(20, db), executor=pool)
        before = marks(log)
        run(load.step(21, connection(connect, str(tmp_path / "other"))), executor=pool)
        assert marks(log) == [*before, "close"]


def test_without_a_run_it_lasts_as_long_as_the_generation(tmp_path: Path) -> None:
    log = tmp_path / "log"
    db = connection(connect, str(log))
    assert load.step(1, db).payload == 1
    assert marks(log) == ["open", "use", "close"]
    with pytest.raises(RuntimeError, match="while something is generated"):
        db.open()


def test_it_is_no_part_of_identity_and_pickles(tmp_path: Path) -> None:
    one, other = connection(connect, "a"), connection(Plain, "b")
    assert load.step(1, one).key == load.step(1, other).key != load.step(1, None).key
    assert repr(pickle.loads(pickle.dumps(one))) == "<connection by connect>"
    same = connection(connect, str(tmp_path / "log"))
    a, b = both.step(same, [same, connection(Plain, str(tmp_path / "log"))]).payload
    assert a is b[0] and isinstance(b[1], Plain)


def test_threads_share_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    db = connection(connect, str(log))
    with ThreadExecutor(4) as threads:
        run([load.step(n, db) for n in range(8)], executor=threads)
    assert marks(log).count("open") == marks(log).count("close") == 1


class Unknown(futures.Executor):
    """Nobody knows that it has threads of this process, so that jobs are packed for it."""

    def __init__(self) -> None:
        self._threads = futures.ThreadPoolExecutor(1)

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> futures.Future[Any]:
        return self._threads.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._threads.shutdown(wait, cancel_futures=cancel_futures)


EXECUTORS: dict[str, Any] = {
    "inline": lambda: "inline",
    "threads": lambda: ThreadExecutor(2),
    "pool": lambda: futures.ThreadPoolExecutor(2),
    "unknown": Unknown,
}


@pytest.mark.parametrize("other", EXECUTORS)
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_run_closes_nothing_of_another_run_of_the_same_process(executor: Any, other: Any, tmp_path: Path) -> None:
    logs = [tmp_path / "one", tmp_path / "two"]
    first, second = (connection(connect, str(log)) for log in logs)
    during: list[list[str]] = []

    def between(event: Event) -> None:
        if not isinstance(event, Performed) or during:
            return
        whole = threading.Thread(target=lambda: run(load.step(10, second), executor=EXECUTORS[other](), store=tmp_path))
        whole.start()
        whole.join()
        during.append(marks(logs[0]))

    run([load.step(n, first) for n in range(3)], executor=EXECUTORS[executor](), hooks=[between], store=tmp_path)
    assert "close" not in during[0]
    assert marks(logs[0]) == ["open", "use", "use", "use", "close"] and marks(logs[1]) == ["open", "use", "close"]


def test_a_forked_worker_that_outlives_the_run_closes_its_own_and_nothing_of_the_process_of_the_run(tmp_path: Path) -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        absent("this system does not fork")
    logs = [tmp_path / "here", tmp_path / "one", tmp_path / "two"]
    here, first, second = (connection(connect, str(log)) for log in logs)
    with futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:

        def between(event: Event) -> None:
            if isinstance(event, Performed) and not logs[1].exists():
                run(load.step(1, first), executor=pool, store=tmp_path)
                run(load.step(2, second), executor=pool, store=tmp_path)

        run([load.step(n, here) for n in (3, 4)], hooks=[between], store=tmp_path)
        assert marks(logs[1]) == ["open", "use", "close"]
    assert marks(logs[0]) == ["open", "use", "use", "close"]


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_a_run_of_a_large_family_opens_it_once_for_all_its_chunks(executor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 300)
    log = tmp_path / "log"
    run(load.over(n=range(700), db=connection(connect, str(log))), executor=executor, store=MemoryStore())
    assert (marks(log).count("open"), marks(log).count("use"), marks(log).count("close")) == (1, 700, 1)


@step(io=JsonFileIO())
def numbers(db: Any) -> Iterator[tuple[str, int]]:
    mark(db["log"], "use")
    yield from {"a": 1, "b": 2}.items()


def test_a_run_in_two_stages_opens_it_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    db = connection(connect, str(log))
    run(load.over(numbers.step(db).members, db=db), store=tmp_path)
    assert marks(log) == ["open", "use", "use", "use", "close"]
