"""Short nodes share calls on engines whose jobs run elsewhere, and the check that each ends as it would alone."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from persistable import events, run, step
from persistable.errors import WorkerDied
from persistable.executors.remote.executor import RemoteExecutor

NUMBER = 40


def check_that_short_nodes_share_calls(executor: RemoteExecutor, store: str | Path, monkeypatch: Any) -> None:
    @step
    def short(n: int) -> int:
        print("this is", n)
        if n == NUMBER - 1:
            raise ValueError("the last but one")
        if n == NUMBER:
            os._exit(3)
        return n

    calls: list[str] = []
    plain = RemoteExecutor.submit_as

    def submit_as(self: RemoteExecutor, identity: str, *arguments: Any) -> Any:
        calls.append(identity)
        return plain(self, identity, *arguments)

    monkeypatch.setattr(RemoteExecutor, "submit_as", submit_as)
    heard: list[events.Event] = []
    nodes = [short.step(n) for n in range(NUMBER + 1)]
    executor.min_call_seconds = 30.0  # whatever else the machine does
    with executor:
        result = run(nodes[:-1], store=store, executor=executor, errors="return", hooks=[heard.append])
        assert len(calls) == len(set(calls)) <= NUMBER / 2, calls
        told = Counter(type(event).__name__ for event in heard)
        assert (told["Started"], told["Persisted"], told["Failed"], told["Performed"]) == (NUMBER, NUMBER - 1, 1, NUMBER)
        assert [result.records[node].output for node in nodes[: NUMBER - 1]] == [f"this is {n}\n" for n in range(NUMBER - 1)]
        (failure,) = result.failures
        assert "ValueError: the last but one" in failure.text and failure.node.params.n == NUMBER - 1
        deadly = run(nodes[-1], *[short.step(n) for n in range(100, 110)], store=store, executor=executor, errors="return")
    assert deadly.counts["done"] + deadly.counts["reused"] == 10
    (failure,) = deadly.failures
    assert isinstance(failure.error, WorkerDied) and failure.node.params.n == NUMBER
