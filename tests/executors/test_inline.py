"""InlineExecutor: the contract, and what is special about running at once."""

from __future__ import annotations

from collections.abc import Iterator
from threading import get_ident

import pytest

from persistable.executors import InlineExecutor
from persistable.executors.resources import Resources
from persistable.testing import ExecutorContract
from persistable.testing import executor_tasks as tasks


class TestInlineExecutor(ExecutorContract):
    sends_notes = False
    script = "from persistable.executors import InlineExecutor; executor = InlineExecutor()"
    immediate = True
    too_much = Resources(cpus=100_000)

    @pytest.fixture
    def executor(self) -> Iterator[InlineExecutor]:
        with InlineExecutor() as executor:
            yield executor


def test_it_runs_here_and_now() -> None:
    executor = InlineExecutor()
    future = executor.submit(get_ident)
    assert future.done()
    assert future.result() == get_ident()


def test_what_is_given_is_the_object_itself() -> None:
    things: list[int] = []
    InlineExecutor().submit(things.append, 1)
    assert things == [1]


def test_ctrl_c_reaches_the_caller() -> None:
    with pytest.raises(KeyboardInterrupt):
        InlineExecutor().submit(tasks.interrupt)
