"""Steps: plain functions that can also be nodes."""

import pickle
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Annotated, Any

import cloudpickle
import numpy as np
import pytest

from persistable import (
    Command,
    OpenNode,
    Persistable,
    Status,
    allocate,
    omit_when,
    open_store,
    progress,
    rng,
    run,
    scratch,
    step,
    untracked,
)
from persistable.errors import InputMissing, InvalidName, MissingUpstream, MistypedParam, UnknownParam, UntrackableParam
from persistable.events import Progressed, subscribe
from persistable.fileio import JsonFileIO, NumpyFileIO


@step
def points(n: int, seed: int = 3) -> list[int]:
    """Some points."""
    return list(range(seed, seed + n))


@step
def outliers(points: list[int], k: float = 3.0, jobs: Annotated[int, untracked] = 1) -> list[int]:
    return [point for point in points if point > k]


@step(name="total", version=2, io=JsonFileIO())
def add(*parts: list[int], start: int = 0, **more: list[int]) -> int:
    return start + sum(map(sum, parts)) + sum(map(sum, more.values()))


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Any:
    with open_store(tmp_path / "store") as store:
        yield store


def test_a_call_is_still_the_plain_function() -> None:
    assert points(2) == [3, 4]
    assert outliers([1, 5], k=2) == [5]
    assert points.__doc__ == "Some points." and points.__name__ == "points"


def test_a_step_call_is_a_node_whose_arguments_are_params_and_upstream() -> None:
    p = points.step(4)
    node = outliers.step(p, k=4.0)
    assert isinstance(node, Persistable)
    assert node.payload == [5, 6]
    assert dict(node.upstream) == {"points": p}
    assert node.params.k == 4.0
    assert node.params_tree == {"k": 4.0, "points": {"n": 4, "seed": 3}}
    assert node.record is not None
    assert node.record.params == {"k": 4.0} and node.record.untracked == {"jobs": 1}
    assert outliers.step(p, k=4.0).load().payload == [5, 6]


def test_identity_is_the_arguments_however_they_are_given() -> None:
    key = points.step(4).key
    assert key == points.step(n=4).key == points.step(4, 3).key == points.step(seed=3, n=4).key
    assert key != points.step(4, seed=4).key
    p = points.step(1)
    assert outliers.step(p, jobs=1).key == outliers.step(p, jobs=8).key
    assert outliers.step(p).key != outliers.step([3]).key and outliers.step([3], k=2).key == outliers.step([3], k=2.0).key


def test_nodes_are_found_anywhere_in_the_arguments_and_the_rest_counts_too() -> None:
    a, b = points.step(1), points.step(2)

    @step
    def collect(things: Any) -> Any:
        return things

    node = collect.step([a, {"best": b, "other": 7}, (a, None)])
    assert node.payload == [[3], {"best": [3, 4], "other": 7}, ([3], None)]
    assert dict(node.upstream) == {"things.0": a, "things.1.best": b, "things.2.0": a}
    different = [[a, 1], [a, 2], [1, a], (a, 1), {"0": a}, [a], a]
    assert len({collect.step(each).key for each in different}) == len(different)


def test_starred_parameters_take_nodes_and_constants() -> None:
    a, b = points.step(1), points.step(2)
    node = add.step(a, b, [1], start=10, extra=a)
    assert node.payload == 10 + 3 + 7 + 1 + 3
    assert node.key.name == "total"
    assert add.step().payload == 0
    assert add.step(a, b).key != add.step(b, a).key


def test_options_are_those_of_a_class(store: Any) -> None:
    @step(io=NumpyFileIO(), version="b")
    def ones(n: int) -> Any:
        return np.ones(n)

    node = ones.step(3)
    assert node.payload.tolist() == [1, 1, 1]
    assert any(path.endswith(".npy") for path in store.list("ones"))

    @step(io="auto")
    def table(n: int) -> np.ndarray[Any, Any]:
        return np.ones(n)

    assert isinstance(table.step(2).payload_io, NumpyFileIO)


def test_wrong_names_are_refused_with_those_that_are_right() -> None:
    with pytest.raises(UnknownParam, match=r"points takes no 'sed'; did you mean 'seed'\? \(it takes n, seed\)") as caught:
        points.step(1, sed=1)
    assert caught.value.accepted == ["n", "seed"]
    with pytest.raises(UnknownParam, match="2 positional arguments"):
        points.step(1, 2, 3)
    with pytest.raises(UnknownParam, match="twice"):
        points.step(1, n=2)
    with pytest.raises(MistypedParam, match=r"points\.n .*lock"):
        points.step(threading.Lock())
    with pytest.raises(TypeError, match="takes no verison"):
        step(verison=2)  # type: ignore[call-overload]
    with pytest.raises(InvalidName, match="payload_name"):
        step(lambda: 1)


def test_a_forgotten_step_call_is_noticed() -> None:
    with pytest.raises(TypeError, match=r"given the step points itself for points; give a node of it, points\.step"):
        outliers.step(points)


def test_a_function_without_a_name_is_told_how_to_get_one() -> None:
    with pytest.raises(InvalidName, match=r"'<lambda>': .* of a step @step\(name=\.\.\.\)"):
        step(lambda n: n)
    assert step(name="same")(lambda n: n).step(1).payload == 1


def test_a_call_that_is_given_nodes_says_what_to_call_instead() -> None:
    """By the name that the program has for the function, which need not be that of its payload."""
    with pytest.raises(TypeError, match=r"^add\(\.\.\.\) computes at once and was given the node points; call add\.step"):
        add(points.step(2))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^outliers\(\.\.\.\) computes at once and was given <Family points: n \(2\)>; call outliers\.o"):
        outliers(points=points.over(n=[1, 2]))  # type: ignore[arg-type]


def test_what_is_no_plain_function_is_no_step() -> None:
    async def fetch() -> int:
        return 1

    with pytest.raises(TypeError, match="async"):
        step(fetch)
    with pytest.raises(TypeError, match="for functions"):
        step(int)


def test_an_open_node_has_no_key_and_says_what_it_needs() -> None:
    node: Any = outliers.step(k=2.0)
    assert isinstance(node, OpenNode)
    assert repr(node) == "<outliers, open: points>"
    for use in (lambda: node.key, lambda: node.payload, node.generate, node.run, lambda: add.step(node)):
        with pytest.raises(InputMissing, match=r"outliers (still needs points|is still open: it needs points)") as caught:
            use()
        assert caught.value.inputs == ["points"]
        assert isinstance(caught.value, MissingUpstream)
    assert not hasattr(node, "key") and not hasattr(node, "payload")
    assert node.fill(points=[9]).payload == [9]
    again = pickle.loads(cloudpickle.dumps(node))
    assert again.fill(points=[9]).key == node.fill(points=[9]).key


def test_replace_changes_arguments_and_makes_a_new_node() -> None:
    node = outliers.step(points.step(4), k=4.0)
    other = node.replace(k=5.0)
    assert (node.payload, other.payload) == ([5, 6], [6])
    assert node.replace(points=[7]).payload == [7]
    with pytest.raises(UnknownParam):
        node.replace(kk=1)


def test_markers_in_the_signature_mean_what_they_mean_in_a_class() -> None:
    def before(n: int) -> int:
        return n

    def after(n: int, noise: Annotated[float, omit_when(0.0)] = 0.0) -> int:
        return n

    old, new = step(name="grown")(before), step(name="grown")(after)
    assert old.step(1).key == new.step(1).key == new.step(1, noise=0.0).key != new.step(1, noise=0.5).key


def test_captured_variables_are_identity() -> None:
    def made(factor: Any, helper: Any = None) -> Any:
        @step
        def scaled(n: int) -> Any:
            return n * factor if helper is None else helper(n)

        return scaled

    assert made(2).step(1).key == made(2).step(1).key != made(3).step(1).key
    assert made(3).step(2).payload == 6
    with pytest.raises(UntrackableParam, match="closure_variables"):
        made(threading.Lock()).step(1)

    def shift(by: int) -> Any:
        return lambda n: n + by

    assert made(1, shift(1)).step(1).key != made(1, shift(2)).step(1).key


def test_a_node_that_is_not_persisted_runs_each_time(store: Any) -> None:
    calls: list[int] = []

    @step(persist=False)
    def shout(n: int) -> int:
        calls.append(n)
        return n

    node = shout.step(1)
    assert node.payload == 1 and shout.step(1).payload == 1
    assert calls == [1, 1]
    assert list(store.list()) == []
    assert node.explain().endswith("is not persisted: payload generates it each time")


def test_untracked_keywords_reach_untracked_parameters_only() -> None:
    seen: list[int] = []

    @step
    def parallel(n: int, jobs: Annotated[int, untracked] = 1) -> int:
        seen.append(jobs)
        return n

    parallel.step(1).generate(jobs=4)
    assert seen == [4] and parallel.step(1).payload == 1
    with pytest.raises(UnknownParam, match="'n' means nothing to parallel"):
        parallel.step(1).generate(jobs=4, n=7)


def test_what_a_method_finds_on_self_a_function_imports() -> None:
    @step
    def walk(n: int) -> Any:
        assert isinstance(rng, np.random.Generator)
        (scratch / "note").write_text("x")
        assert Path(scratch).joinpath("note").read_text() == "x"
        progress(1, n)
        out = allocate((n,), "f8")
        out[:] = rng.normal(size=n)
        return out

    heard: list[Any] = []
    with subscribe(heard.append):
        first = walk.step(3).generate().payload.copy()
    assert [(event.done, event.total) for event in heard if isinstance(event, Progressed)] == [(1, 3)]
    node = walk.step(3)
    assert np.array_equal(node.generate().payload, first)
    assert not np.array_equal(walk.step(4).payload[:3], first)
    progress(1, 2)  # a plain call has nobody to tell
    with pytest.raises(RuntimeError, match="rng exists only while"):
        rng.normal()
    assert not isinstance(rng, np.random.Generator)


def test_a_changed_helper_is_noticed_behind_steps(tmp_path: Path) -> None:
    script = tmp_path / "flow.py"
    text = """
        from persistable import step, open_store

        @step
        def clean(n):
            return n + 1

        @step
        def model(n):
            return clean(n) * 2

        if __name__ == "__main__":
            with open_store("store"):
                node = model.step(1)
                print(node.status.name, node.payload)
    """
    script.write_text(textwrap.dedent(text))
    assert _output(script) == ["ABSENT 4"]
    script.write_text(script.read_text().replace("n + 1", "n + 2"))
    assert _output(script) == ["STALE 4"]


def _output(script: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-W", "ignore", str(script)], cwd=script.parent, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_nodes_pickle_with_their_lineage() -> None:
    node = outliers.step(points.step(4), k=4.0)
    for dumps in (pickle.dumps, cloudpickle.dumps):
        again = pickle.loads(dumps(node))
        assert again.key == node.key and again.payload == [5, 6] and again.params.k == 4.0
    local = step(name="local")(lambda n: n)
    assert cloudpickle.loads(cloudpickle.dumps(local.step(1))).payload == 1


def test_nodes_among_the_arguments_are_shown_once() -> None:
    a, b = points.step(1), points.step(2)
    assert repr(add.step(a, b, start=3)).startswith("add(start=3, more={}, parts.0=<points>, parts.1=<points>) [")
    assert "start=3" in add.step(a, b, start=3).lineage().mermaid()


def test_replace_changes_what_only_keywords_take() -> None:
    @step
    def scaled(n: int, **factors: float) -> float:
        return n * sum(factors.values())

    node = scaled.step(1, a=2, b=3)
    assert node.replace(b=4).key == scaled.step(1, a=2, b=4).key
    assert node.replace(n=5, c=6).key == scaled.step(5, a=2, b=3, c=6).key
    with pytest.raises(MistypedParam, match=r"scaled\.b"):
        node.replace(b="x")
    source = scaled.step(7)
    assert node.replace(b=source).upstream == {"factors.b": source}


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("it has no text")


@step
def speechless() -> int:
    raise Speechless


def test_an_error_that_cannot_say_what_it_is_is_a_failure_like_others() -> None:
    node = speechless.step()
    with pytest.raises(Speechless):
        node.generate()
    assert node.status is Status.FAILED
    (failure,) = run(node, errors="return").failures
    assert "Speechless: <no message: its __str__ raises>" in str(failure)


class Greedy(Persistable[int, None]):
    resources: Any = 2


def test_policies_of_another_type_are_refused_before_anything_runs() -> None:
    wrong: Any = 3
    with pytest.raises(TypeError, match=r"retry of .*points is 3; give a Retry, such as Retry\(3\)"):
        step(retry=wrong)(points.__wrapped__).step(1)
    with pytest.raises(TypeError, match=r"resources of .*Greedy is 2; give a Resources, such as Resources\(cpus=2\)"):
        Greedy()
    with pytest.raises(TypeError, match="retry of Command is 3"):
        Command("true", retry=wrong)
