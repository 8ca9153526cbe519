"""Large families on workers of clusters, many members to a task."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import pytest

from persistable import Status, open_store, run, step
from persistable.executors import Executor
from persistable.families import nodeless

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.timeout(300)]


@pytest.fixture(autouse=True, scope="module")
def by_value() -> Iterator[None]:
    """Workers cannot import the modules of the tests."""
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


@step
def halved(n: int) -> float:
    if n == 611:
        raise ValueError("it is 611")
    return n / 2


def test_members_are_sent_many_to_a_task(cluster: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    request = nodeless.DirectGenerator.request
    monkeypatch.setattr(
        nodeless.DirectGenerator, "request", lambda self, keys, *given: sent.append(len(keys)) or request(self, keys, *given)
    )
    with open_store(f"sqlite:///{tmp_path}/data.db"):
        family = halved.over(n=range(1500))
        result = run(family, executor=cluster, errors="return")
        assert result.counts == {"done": 1499, "failed": 1, "reused": 0, "skipped": 0, "cancelled": 0, "stale": 0}
        assert max(sent) > 16
        assert [(failure.params["n"], str(failure.error)) for failure in result.failures] == [(611, "it is 611")]
        assert family.status() == {Status.DONE: 1499, Status.FAILED: 1}
        assert sum(payload for _, payload in family[:600].payloads()) == sum(range(600)) / 2
        assert run(family, executor=cluster, errors="return").counts["reused"] == 1499
