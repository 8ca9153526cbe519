"""Worker processes share the cores: numerical libraries take so many threads that all workers together have one each."""

import os
from pathlib import Path
from typing import Any

import pytest

from persistable import Resources, run, step
from persistable.executors import ProcessExecutor
from persistable.executors.machine import cpus
from persistable.executors.thread_limits import VARIABLES


def variables() -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in VARIABLES}


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("workers", [1, 2, 64])
def test_by_default_cores_by_workers(workers: int) -> None:
    with ProcessExecutor(workers) as executor:
        assert executor.submit(variables).result() == dict.fromkeys(VARIABLES, str(max(1, cpus() // workers)))


def test_what_is_set_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    with ProcessExecutor(64) as executor:
        assert executor.submit(variables).result() == {**dict.fromkeys(VARIABLES, "1"), "MKL_NUM_THREADS": "7"}
    with ProcessExecutor(64, environment={"OMP_NUM_THREADS": "5"}) as executor:
        assert executor.submit(variables).result() == {**dict.fromkeys(VARIABLES), "OMP_NUM_THREADS": "5", "MKL_NUM_THREADS": "7"}


def test_as_many_as_its_resources_say(tmp_path: Path) -> None:
    pytest.importorskip("threadpoolctl")

    def loaded(n: int) -> list[int]:
        import numpy as np
        import threadpoolctl

        assert (np.ones((2, 2)) @ np.ones((2, 2))).sum() == 8
        return [each["num_threads"] for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas"]

    one, two = step(name="one")(loaded), step(name="two", resources=Resources(cpus=min(2, cpus())))(loaded)
    nodes: list[Any] = [each.bind(tmp_path) for each in (two.step(1), one.step(2), two.step(3))]
    with ProcessExecutor(cpus()) as executor:
        found = [run(node, executor=executor)[node].payload for node in nodes]
    for threads, wanted in zip(found, (min(2, cpus()), 1, min(2, cpus())), strict=True):
        assert threads == [wanted] * len(threads)
