"""Jobs as bytes: what goes to other processes, and what comes of it there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from persistable import Persistable, PersistableError, PersistableParams, open_store, run, step
from persistable.executors import ProcessExecutor
from persistable.stores import LocalStore, Store


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessExecutor]:
    with ProcessExecutor(1) as executor:
        yield executor


class Counted(LocalStore):
    """Knows how often stores of its kind were pickled."""

    pickled = 0

    def __reduce__(self) -> tuple[Any, ...]:
        Counted.pickled += 1
        return super().__reduce__()


@dataclass
class P(PersistableParams):
    n: int


class Own(Persistable[int, P]):
    """Says by itself what of it is pickled: less than others, and the number in words."""

    def __getstate__(self) -> Any:
        state = super().__getstate__()
        return {**state, "params": f"number {self.params.n}"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, params=P(int(state["params"].split()[1])))

    def _generate_payload(self, **_: Any) -> int:
        return self.params.n


class Tuple(Own):
    """The same, as a tuple."""

    def __getstate__(self) -> Any:
        return tuple(super().__getstate__().items())

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(dict(state))


@step(persist=False)
def grow(values: list[int], n: int) -> int:
    values.append(n)
    return len(values)


@step(persist=False)
def number(n: int) -> int:
    return n


@step(persist=False)
def total(parts: list[int], text: str = "") -> int:
    return sum(parts)


@step
def stored(n: int) -> int:
    return n


@pytest.mark.parametrize("kind", [Own, Tuple])
def test_classes_that_say_themselves_what_is_pickled_are_taken_at_their_word(kind: Any, processes: ProcessExecutor) -> None:
    nodes = [kind(n=n) for n in range(3)]
    result = run(nodes, executor=processes)
    assert [result[node].payload for node in nodes] == [0, 1, 2]


def test_what_one_node_does_to_its_arguments_no_other_sees(processes: ProcessExecutor) -> None:
    shared = [1, 2]
    nodes = [grow.step(shared, n) for n in range(4)]
    result = run(nodes, executor=processes)
    assert [result[node].payload for node in nodes] == [3, 3, 3, 3]
    assert shared == [1, 2]


def test_nodes_of_one_step_keep_stores_of_their_own(processes: ProcessExecutor, tmp_path: Path) -> None:
    places: list[Store] = [open_store(tmp_path / name) for name in ("a", "b")]
    nodes = [stored.step(n).bind(places[n % 2]) for n in range(6)]
    run(nodes, executor=processes)
    assert [[node.bind(place).exists() for place in places] for node in nodes] == [[True, False], [False, True]] * 3


def test_one_process_is_sent_one_run_after_the_other(processes: ProcessExecutor, tmp_path: Path) -> None:
    for turn, place in enumerate(("a", "b", "a")):
        nodes = [stored.step(n).bind(tmp_path / place) for n in (turn, turn + 10)]
        assert run(nodes, executor=processes).counts["done"] == 2
        assert all(node.exists() for node in nodes)


def test_upstream_payloads_reach_nodes_over_many(processes: ProcessExecutor) -> None:
    ends = [total.step([number.step(n), stored.step(n), number.step(1)]) for n in range(5)]
    result = run(ends, executor=processes)
    assert [result[end].payload for end in ends] == [1, 3, 5, 7, 9]


def test_what_many_nodes_have_in_common_is_not_pickled_for_each(tmp_path: Path, processes: ProcessExecutor) -> None:
    store, before = Counted(tmp_path), Counted.pickled
    nodes = [stored.step(n).bind(store) for n in range(50)]
    run(nodes, executor=processes)
    assert Counted.pickled - before < 5
    assert all(node.exists() for node in nodes)


def test_what_cannot_be_pickled_names_the_node(tmp_path: Path, processes: ProcessExecutor) -> None:
    class Stubborn:
        def __reduce__(self) -> Any:
            raise RuntimeError("never")

    @dataclass
    class Q(PersistableParams):
        n: int

    class Odd(Persistable[int, Q]):
        def _generate_payload(self, **_: Any) -> int:
            return 1

    node = Odd(params=Q(1))
    node.kept = Stubborn()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    result = run(node, executor=processes, errors="return")
    assert isinstance(result.failures[0].error, PersistableError)
    assert str(node.key) in str(result.failures[0].error) and "never" in str(result.failures[0].error)
