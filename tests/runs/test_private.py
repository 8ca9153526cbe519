"""What one node does to what it was given, no other sees: payloads that are not stored, and params."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persistable import Collected, Persistable, PersistableParams, any_of, optional, run, step
from persistable.errors import PayloadNotRepresentable, RunFailed
from persistable.stores import Store

EXECUTORS = ["inline", "threads", "processes"]
SHARED = [3, 1, 2]


@step(persist=False)
def shared() -> list[int]:
    return SHARED


@step(persist=False)
def nested() -> dict[str, Any]:
    frame = pd.DataFrame({"a": [3, 1, 2]})
    return {"list": [3, 1, 2], "set": {1}, "array": np.arange(3), "frame": frame, "deep": [{"x": [1]}]}


@step
def popped(xs: list[int], times: int) -> list[int]:
    xs.sort()
    for _ in range(times):
        xs.pop()
    return xs


@step
def spoilt(of: dict[str, Any], times: int) -> dict[str, Any]:
    of["list"].pop()
    of["set"].add(times)
    of["deep"][0]["x"].append(times)
    try:
        of["array"][0] = 100
        writable = True
    except ValueError:
        writable = False
    of["frame"]["b"] = times
    return {"list": of["list"], "deep": of["deep"], "writable": writable, "columns": list(of["frame"]), "length": len(of["set"])}


@pytest.mark.parametrize("executor", EXECUTORS)
def test_no_consumer_sees_what_another_has_done_to_a_payload_that_is_not_stored(executor: str) -> None:
    source, rich = shared.step(), nested.step()
    one, two = popped.step(source, 1), popped.step(source, 2)
    bad, worse = spoilt.step(rich, 1), spoilt.step(rich, 2)
    result = run(one, two, bad, worse, source, executor=executor, max_workers=2)
    assert (result[one].payload, result[two].payload) == ([1, 2], [1])
    for node, times in ((bad, 1), (worse, 2)):
        expected = {"list": [3, 1], "deep": [{"x": [1, times]}], "writable": False, "columns": ["a", "b"], "length": 1 + (times > 1)}
        assert result[node].payload == expected
    held = result[source].payload
    assert held == [3, 1, 2] == SHARED
    held.clear()
    assert result[source].payload == SHARED == [3, 1, 2]


def test_outside_a_run_as_well() -> None:
    source = shared.step()
    assert (popped.step(source, 1).payload, popped.step(source, 2).payload) == ([1, 2], [1])
    mine = source.payload
    mine.clear()
    assert SHARED == [3, 1, 2] == shared.step().payload and source.payload is mine == []
    assert popped.step(source, 0).payload == [1, 2, 3]  # what a person holds and has changed is not what is generated from


@step(persist=False)
def handed_on(xs: Any) -> Any:
    return xs


def test_through_others_that_hand_it_on() -> None:
    a = popped.step(any_of(handed_on.step(shared.step()), shared.step()), 1)
    b = popped.step(optional(handed_on.step(shared.step())), 2)
    result = run(a, b)
    assert (result[a].payload, result[b].payload) == ([1, 2], [1])


@step(persist=False)
def items() -> Iterator[tuple[str, list[int]]]:
    yield "a", SHARED


@step
def from_items(them: Collected[list[int]], times: int) -> list[int]:
    for _ in range(times):
        them["a"].pop()
    return them["a"]


def test_items_that_are_not_stored_are_given_anew_each_time() -> None:
    of = items.step()
    one, two = from_items.step(of, 1), from_items.step(of, 2)
    result = run(one, two)
    assert result[one].payload == result[two].payload == SHARED == [3, 1, 2]


BUFFER = np.zeros(3)


@step(persist=False)
def filled(value: float) -> Any:
    BUFFER[:] = value
    return BUFFER


@step
def both(a: Any, b: Any) -> list[float]:
    return [float(a[0]), float(b[0])]


def test_what_a_function_keeps_and_writes_to_again_is_not_what_it_gave() -> None:
    node = both.step(filled.step(1.0), filled.step(2.0))
    assert run(node)[node].payload == [1.0, 2.0] == both.step(filled.step(1.0), filled.step(2.0)).payload


@step(persist=False)
def once(kind: str) -> Any:
    return {"map": map(abs, [1]), "zip": zip([1], [2], strict=True), "iter": iter([1])}[kind]


@pytest.mark.parametrize("kind", ["map", "zip", "iter"])
def test_an_iterator_is_refused_as_a_payload_that_others_are_given(kind: str) -> None:
    with pytest.raises(PayloadNotRepresentable, match=r"can be read only once.*list"):
        once.step(kind).payload
    with pytest.raises(RunFailed):
        run(handed_on.step(once.step(kind)))


def test_what_cannot_be_copied_goes_to_one_only() -> None:
    @step(persist=False)
    def lock() -> Any:
        return threading.Lock()

    @step
    def used(of: Any, n: int) -> bool:
        with of:
            return True

    assert run(used.step(lock.step(), 1)).counts["done"] == 2
    result = run(used.step(lock.step(), 2), used.step(lock.step(), 3), errors="return")
    assert result.counts["failed"] == 1 and "cannot be copied" in str(result.failures[0].error)


# params


@dataclass
class Inner:
    xs: list[int] = field(default_factory=lambda: [1])
    n: int = 0


@dataclass
class Many(PersistableParams):
    a: list[int]
    d: dict[str, list[int]] = field(default_factory=lambda: {"x": [1]})
    array: Any = None
    frame: Any = None
    inner: Inner = field(default_factory=Inner)
    model: Any = None
    n: int = 0


class Changing(Persistable[list[int], Many]):
    def _generate_payload(self, **_: Any) -> list[int]:
        p = self.params
        p.a.append(1)
        p.d["x"].append(1)
        p.inner.xs.append(1)
        p.inner.n = 5
        p.array[0] = 7
        p.frame["new"] = 1
        p.model.fit([[1.0], [2.0]], [1.0, 2.0])
        p.n = 99
        if len(p.a) > 2:
            raise ValueError("its own error")
        return [*p.a, p.n]


def many(*a: int) -> Many:
    from sklearn.linear_model import Ridge

    return Many(list(a), array=np.zeros(3), frame=pd.DataFrame({"a": [1]}), model=Ridge())


@pytest.mark.parametrize("executor", EXECUTORS)
def test_generating_code_changes_its_own_copy_of_the_params(executor: str) -> None:
    params = many(0)
    node = Changing(params=params)
    before = node.params_tree
    again = run(node, executor=executor)[node]
    assert again.payload == [0, 1, 99]
    assert again.record.params == before == node.params_tree == Changing(params=many(0)).params_tree
    assert params.a == [0] and params.n == 0 and params.inner.n == 0 and list(params.frame) == ["a"]
    assert not hasattr(params.model, "coef_")
    assert node.reset_payload() is None and node.payload == [0, 1, 99]
    assert Changing(params=many(0)).key == node.key


@pytest.mark.parametrize("executor", EXECUTORS)
def test_its_own_error_is_what_is_told_whatever_it_did_to_the_params(executor: str, store: Store) -> None:
    node = Changing(params=many(0, 0))
    result = run(node, executor=executor, errors="return")
    assert str(result.failures[0].error) == "its own error" and node.status.value == "failed"
    from persistable.records.record_access import find_failure

    failure = find_failure(store, node.place)
    assert failure is not None and failure.message == "its own error" and failure.params == node.params_tree


@step
def fitted(model: Any, xs: list[int], more: dict[str, Any], at: Any = None) -> list[float]:
    xs.append(5)
    more["x"] = xs
    return [float(model.fit([[0.0], [1.0]], [0.0, 2.0]).coef_[0]), *xs]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_so_do_steps(executor: str) -> None:
    from sklearn.linear_model import LinearRegression

    model, xs, more = LinearRegression(), [1], {"y": [2]}
    nodes = [fitted.step(model, xs, more), fitted.step(model, xs, more, at=(1, [2]))]
    result = run(*nodes, executor=executor)
    for node in nodes:
        assert result[node].payload == pytest.approx([2.0, 1, 5])
        assert result[node].record.params == node.params_tree
    assert (xs, more) == ([1], {"y": [2]}) and not hasattr(model, "coef_")
    assert fitted.step(model, xs, more).key == nodes[0].key


GIVEN = [1]


def test_a_global_that_is_a_param_may_change_meanwhile_and_the_record_says_what_the_key_was_made_of() -> None:
    class Reading(Persistable[int, Many]):
        def _generate_payload(self, **_: Any) -> int:
            GIVEN.append(2)
            return sum(self.params.a)

    try:
        node = Reading(a=GIVEN).generate()
        assert node.payload == 1 and node.record is not None and node.record.params["a"] == [1]
    finally:
        GIVEN[:] = [1]


def test_what_the_code_keeps_on_itself_is_there_afterwards() -> None:
    class Keeping(Persistable[int, Many]):
        def _generate_payload(self, **_: Any) -> int:
            self.seen = len(self.params.a)
            return self.seen

        def _post_generate(self, **_: Any) -> None:
            self.after = self.seen + 1

    node = Keeping(a=[1, 2])
    assert node.payload == 2 and (node.seen, node.after) == (2, 3)


class _Open:
    """Holds something that nobody can copy."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.xs = [1]


def test_recording_a_failure_never_hides_the_error(store: Store) -> None:
    from typing import Annotated

    from persistable import untracked

    @step
    def broken(xs: list[int], by: Annotated[Any, untracked] = None) -> None:
        xs.append(object())  # type: ignore[arg-type]
        raise KeyError("mine")

    node = broken.step([1], by=_Open())
    with pytest.raises(KeyError, match="mine"):
        node.generate()
    assert node.status.value == "failed"
