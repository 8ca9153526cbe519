"""How a node may end other than well: each end is a failure of that node, with frames and in words of ours."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from persistable import Status, open_store, run, step
from persistable.errors import RemoteError, StoreUnavailable, UnknownParam, WorkerDied
from persistable.stores import LocalStore, MemoryStore, ObjectStore, SQLiteStore, Store


class Halt(BaseException):
    pass


ENDS: dict[str, Any] = {"exit": SystemExit, "cancelled": asyncio.CancelledError, "own": Halt, "generator": GeneratorExit}


@step
def ends(how: str) -> int:
    raise ENDS[how](3)


@step
def one(n: int) -> int:
    return n


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_it_is_a_failure_of_that_node(store: Store, executor: str, how: str) -> None:
    bad = ends.step(how)
    result = run(bad, one.step(1), executor=executor, errors="return")
    assert result.counts["failed"] == result.counts["done"] == 1
    failure = result.failures[0]
    assert isinstance(failure.error, RemoteError) and ENDS[how].__name__ in failure.error.error
    assert "in ends" in failure.traceback and "raise ENDS[how](3)" in failure.traceback
    assert bad.status is Status.FAILED
    assert "raise ENDS[how](3)" in store.get(f"{bad.key}.failed.json").decode()


def test_by_itself_it_is_raised_as_it_is() -> None:
    with pytest.raises(Halt):
        ends.step("own").payload


@step
def interrupts() -> int:
    raise KeyboardInterrupt


def test_an_interrupt_ends_the_run() -> None:
    node = interrupts.step()
    with pytest.raises(KeyboardInterrupt):
        run(node, errors="return")
    assert node.status is Status.ABSENT


@step
def dies(how: int) -> int:
    if how < 0:
        os.kill(os.getpid(), -how)
    os._exit(how)


@pytest.mark.parametrize(("how", "says"), [(-signal.SIGKILL, "SIGKILL.*out of memory"), (-signal.SIGSEGV, "SIGSEGV"), (7, "exit status 7")])
def test_a_worker_that_died(how: int, says: str) -> None:
    node = dies.step(how)
    failure = run(node, executor="processes", errors="return").failures[0]
    assert isinstance(failure.error, WorkerDied) and failure.error.exitcode == how and failure.error.key == node.key
    with pytest.raises(WorkerDied, match=rf"{node.key} was not finished: worker process \d+ .*{says}"):
        raise failure.error
    assert "perform_packed" not in failure.traceback + str(failure.error)


def test_a_worker_whose_run_is_gone_says_nothing(tmp_path: Path) -> None:
    code = """
import os, signal
from persistable.executors import ProcessExecutor
pool = ProcessExecutor(2)
pool.submit(len, "abc")
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL and done.stderr == ""


def test_a_channel_that_is_closed_says_nothing() -> None:
    code = """
import os, socket
from persistable.executors.processes.child import main
ours, theirs = socket.socketpair()
tokens, numbers = os.pipe()
life, held = os.pipe()
ours.close()
os.setpgrp()
main(theirs.detach(), tokens, life)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stderr == ""


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda at: open_store(f"{at}", fsnyc=True), "fsnyc.*did you mean fsync"),
        (lambda at: open_store(f"file://{at}", fsnyc=True), "fsnyc.*did you mean fsync"),
        (lambda at: open_store(f"sqlite:///{at}/x.db", tiemout=3), "tiemout.*did you mean timeout"),
        (lambda at: open_store("memory://x", fsync=True), "fsync"),
        (lambda at: open_store("s3://bucket", bogus=1), "s3://.*bogus"),
        (lambda at: open_store("s3://bucket", endpont_url="x"), "endpont_url.*did you mean endpoint_url"),
        (lambda at: open_store("gs://bucket", porject="x"), "porject.*did you mean project"),
        (lambda at: open_store("layered://?layer=memory://a", raedonly=True), "raedonly.*did you mean readonly"),
        (lambda at: LocalStore(at, fsnyc=True), "LocalStore.*fsnyc.*did you mean fsync"),  # type: ignore[call-arg]
        (lambda at: SQLiteStore(at / "x.db", tiemout=3), "SQLiteStore.*tiemout.*did you mean timeout"),  # type: ignore[call-arg]
        (lambda at: MemoryStore(nmae="x"), "MemoryStore.*nmae.*did you mean name"),  # type: ignore[call-arg]
        (lambda at: ObjectStore("s3://bucket", secrte="x"), "secrte.*did you mean secret"),
    ],
)
def test_an_option_that_no_store_has(tmp_path: Path, make: Any, says: str) -> None:
    with pytest.raises(UnknownParam, match=says):
        make(tmp_path)


def test_options_that_there_are(tmp_path: Path) -> None:
    open_store("s3://bucket", endpoint_url="http://127.0.0.1:1", key="a", secret="b", client_kwargs={}, profile="x", anon=False)
    open_store("gs://bucket", token="anon", project="x")
    open_store(tmp_path, fsync=True, readonly=True)


def test_a_store_that_cannot_be_reached_says_so_in_one_line() -> None:
    store = open_store(
        "s3://bucket", endpoint_url="http://127.0.0.1:9", key="a", secret="b", config_kwargs={"retries": {"max_attempts": 0}}
    )
    with pytest.raises(StoreUnavailable) as raised:
        store.get("x")
    import traceback

    said = "".join(traceback.format_exception(raised.value))
    assert "aiohttp" not in said.partition("StoreUnavailable")[0] and said.count("Traceback") == 1 and "\n" not in str(raised.value)
