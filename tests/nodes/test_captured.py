"""What a step captured is part of its identity: values, functions, classes and modules; what has no name is refused."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persistable import Persistable, Status, plan, run, step
from persistable.errors import ParamsMutated, PayloadForeign, UntrackableParam


def mean(xs: list[int]) -> float:
    return sum(xs) / len(xs)


def largest(xs: list[int]) -> float:
    return max(xs)


def metric(fn: Any) -> Any:
    @step
    def score(xs: list[int]) -> Any:
        return fn(xs)

    return score


def plain(fn: Callable[..., Any]) -> Callable[..., Any]:
    def inner(*args: Any) -> Any:
        return fn(*args)

    return inner


def wrapping(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def inner(*args: Any) -> Any:
        return fn(*args)

    return inner


def switch(loud: bool) -> Any:
    if loud:

        @step
        def chosen(n: int) -> int:
            return n * 100
    else:

        @step
        def chosen(n: int) -> int:
            return n

    return chosen


def by_helper(loud: bool) -> Any:
    if loud:

        def helper(n: int) -> int:
            return n * 100
    else:

        def helper(n: int) -> int:
            return n

    @step
    def chosen(n: int) -> int:
        return helper(n)

    return chosen


class Meters:
    factor = 1

    def run(self, xs: list[int]) -> int:
        return xs[0] * self.factor

    @classmethod
    def read(cls, xs: list[int]) -> int:
        return xs[0] * cls.factor


class Feet(Meters):
    factor = 3


def of_class(cls: type) -> Any:
    @step
    def score(xs: list[int]) -> Any:
        return cls().run(xs)

    return score


def class_of(k: int) -> type:
    class Scaled(Meters):
        factor = k

    return Scaled


def class_under(loud: bool) -> type:
    if loud:

        class Chosen(Meters):
            def run(self, xs: list[int]) -> int:
                return 100
    else:

        class Chosen(Meters):  # type: ignore[no-redef]
            def run(self, xs: list[int]) -> int:
                return 1

    return Chosen


def method_of(k: int) -> type:
    class Closing(Meters):
        def run(self, xs: list[int]) -> int:
            return k

    return Closing


def by_default(k: int) -> Any:
    def helper(n: int, k: int = k) -> int:
        return n * k

    return helper


def nested(k: int) -> Any:
    def outer(xs: list[int]) -> Any:
        def inner() -> int:
            return xs[0] * k

        return inner()

    return outer


def of_module(module: Any) -> Any:
    @step
    def score(xs: list[int]) -> Any:
        return module.fmean(xs) if hasattr(module, "fmean") else module.fsum(xs)

    return score


@step
@plain
def first(xs: list[int]) -> Any:
    return xs[0]


@step
@plain
def last(xs: list[int]) -> Any:
    return xs[-1]


PAIRS: dict[str, tuple[Any, Any]] = {
    "functions": (metric(mean), metric(largest)),
    "builtins": (metric(min), metric(max)),
    "partials": (metric(functools.partial(pow, 2)), metric(functools.partial(pow, 3))),
    "functions behind a decorator": (metric(plain(mean)), metric(plain(largest))),
    "functions behind functools.wraps": (metric(wrapping(mean)), metric(wrapping(largest))),
    "steps under decorators without functools.wraps": (first, last),
    "definitions under if": (switch(True), switch(False)),
    "helpers under if": (by_helper(True), by_helper(False)),
    "classes": (of_class(Meters), of_class(Feet)),
    "classes by a captured attribute": (of_class(class_of(1)), of_class(class_of(3))),
    "classes under if": (of_class(class_under(True)), of_class(class_under(False))),
    "methods that capture": (of_class(method_of(1)), of_class(method_of(3))),
    "class methods": (metric(Meters.read), metric(Feet.read)),
    "defaults of captured functions": (metric(by_default(1)), metric(by_default(2))),
    "captured by a captured function": (metric(nested(1)), metric(nested(2))),
    "modules": (of_module(statistics), of_module(math)),
    "steps": (metric(first), metric(last)),
    "lists of functions": (metric([mean]), metric([largest])),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_steps_that_differ_in_what_they_captured_share_no_key(kind: str) -> None:
    argument: Any = 1 if "under if" in kind and "classes" not in kind else [1, 2]
    one, other = (made.step(argument).key for made in PAIRS[kind])
    assert one.digest != other.digest
    assert one == PAIRS[kind][0].step(argument).key


def test_made_twice_alike_is_one_key() -> None:
    assert metric(mean).step([1]).key == metric(mean).step([1]).key
    assert metric(by_default(2)).step([1]).key == metric(by_default(2)).step([1]).key
    assert of_class(class_of(3)).step([1]).key == of_class(class_of(3)).step([1]).key
    assert switch(True).step(1).key == switch(True).step(1).key


def test_payloads_are_their_own(tmp_path: Path) -> None:
    scores = [metric(fn).step([1, 2, 6]).bind(str(tmp_path)).payload for fn in (mean, largest)]
    assert scores == [3.0, 6]


LAMBDAS = [lambda xs: xs[0], lambda xs: xs[-1]]


def unnamed() -> list[Any]:
    made = type("Made", (Meters,), {})
    return [LAMBDAS[0], *[(lambda xs: xs[0]), (lambda xs: xs[1])], made, Meters().run, functools.partial(LAMBDAS[0])]


@pytest.mark.parametrize("number", range(6))
def test_what_no_name_tells_apart_is_refused(number: int) -> None:
    """Lambdas, classes made by `type`, methods of objects: the error names the variable and a way out."""
    with pytest.raises(UntrackableParam, match="closure_variables") as refused:
        metric(unnamed()[number]).step([1, 2])
    assert "To go on" in str(refused.value)


def test_a_function_defined_anew_is_not_the_one_that_was_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after the cell of a notebook was run again with other code: its name stands for another function now."""
    old = metric(mean)
    namespace: dict[str, Any] = {"__name__": __name__}
    exec("def mean(xs):\n    return 0\n", namespace)
    monkeypatch.setitem(globals(), "mean", namespace["mean"])
    with pytest.raises(UntrackableParam, match="defined anew"):
        old.step([1, 2])


def test_a_variable_bound_late_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a loop all functions share the variable: what was made in the first round would compute with the value of the last."""
    monkeypatch.chdir(tmp_path)
    nodes = []
    for k in (1, 2):

        @step
        def scaled(n: int) -> int:
            return n * k  # noqa: B023

        nodes.append(scaled.step(3))
    with pytest.raises(ParamsMutated, match="k, a variable that scaled captured"):
        _ = nodes[0].payload
    assert nodes[1].payload == 6


def test_a_variable_that_the_step_assigns_is_state(tmp_path: Path) -> None:
    count = 0

    @step
    def counting(n: int) -> int:
        nonlocal count
        count += 1
        return n

    node = counting.step(1).bind(str(tmp_path))
    assert [node.load_generate().payload for _ in range(2)] == [1, 1]
    assert count == 1


def test_a_step_without_captures_keeps_its_key() -> None:
    def make() -> Any:
        @step
        def alone(n: int) -> int:
            return n

        return alone

    @step
    def alone(n: int) -> int:
        return n + 1

    assert make().step(1).key == alone.step(1).key
    assert "closure_variables" not in (make().step(1).params_tree or {})


def test_a_name_of_its_own_is_a_way_out() -> None:
    """Functions of one name that a function defines are numbered; those that are given a name need no number."""
    assert switch(True).step(1).params_tree != switch(False).step(1).params_tree

    def named(loud: bool) -> Any:
        if loud:

            @step(name="loud")
            def chosen(n: int) -> int:
                return n * 100
        else:

            @step(name="quiet")
            def chosen(n: int) -> int:
                return n

        return chosen

    loud, quiet = named(True).step(1), named(False).step(1)
    assert loud.key != quiet.key
    assert "closure_variables" not in quiet.params_tree


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_they_run_elsewhere_too(executor: str, tmp_path: Path) -> None:
    nodes = [metric(mean).step([1, 2, 6]), of_class(class_of(3)).step([2]), first.step([7, 8]), switch(True).step(2)]
    from persistable import run

    result = run(*nodes, store=str(tmp_path), executor=executor, max_workers=1)
    assert [result[node].payload for node in nodes] == [3.0, 6, 7, 200]


def counted_from(start: int) -> type[Persistable[int, None]]:
    class Counted(Persistable[int, None]):
        START = start

        def _generate_payload(self) -> int:
            return self.START

    return Counted


def counted_by(step_: int) -> type[Persistable[int, None]]:
    class Counted(Persistable[int, None]):
        def _generate_payload(self) -> int:
            return 10 * step_

    return Counted


@pytest.mark.parametrize("make", [counted_from, counted_by])
def test_two_classes_of_one_name_do_not_share_a_run(make: Callable[[int], Any], tmp_path: Path) -> None:
    """A function that makes classes: what one makes is no payload of the other, and where it is stored that is told."""
    one, other = make(1)(), make(2)()
    assert one.key == other.key
    with pytest.raises(PayloadForeign, match="two classes that are both called"):
        run(one, other, store=tmp_path, progress=False)
    with pytest.raises(PayloadForeign, match="or make the difference a param"):
        plan(one, other, store=tmp_path)
    assert not list(tmp_path.rglob("*.record.json"))
    run(one, make(1)(), store=tmp_path, progress=False)
    assert other.bind(tmp_path).status is Status.STALE
    assert make(1)().bind(tmp_path).status is Status.DONE
