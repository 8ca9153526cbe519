"""The hooks of a run hear that run, whatever else this process does, and whichever thread or process does the work."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from persistable import Persistable, run, step
from persistable.events import Event, subscribe
from persistable.stores import Store

Heard = list[tuple[str, str]]


def noting(into: Heard) -> Callable[[Event], None]:
    def hook(event: Event) -> None:
        into.append((type(event).__name__, getattr(event, "key", ("",))[0]))

    return hook


@step
def one(n: int, meet: bool = False) -> int:
    if meet:
        MEETING.wait(20)
    return n


@step
def two(n: int, meet: bool = False) -> int:
    if meet:
        MEETING.wait(20)
    return n


@step
def following(x: int) -> int:
    return x


@step
def plain(n: int) -> int:
    return n


MEETING = threading.Barrier(2)
EACH = {"Started": 1, "Persisted": 1, "Performed": 1}


def of(heard: Heard, name: str) -> dict[str, int]:
    return dict(Counter(kind for kind, key in heard if key == name))


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_runs_in_other_threads_are_not_heard(executor: str, store: Store) -> None:
    first: Heard = []
    second: Heard = []
    everything: Heard = []
    hear_both: Heard = []
    both = noting(hear_both)
    with subscribe(noting(everything)):
        node = one.step(1, meet=True)
        thread = threading.Thread(target=lambda: run(node, store=store, executor=executor, hooks=[noting(first), both]))
        thread.start()
        run(two.step(1, meet=True), executor=executor, hooks=[noting(second), both])
        thread.join(60)
    assert of(first, "one") == EACH == of(second, "two") and not of(first, "two") and not of(second, "one")
    assert of(hear_both, "one") == EACH == of(hear_both, "two")
    assert of(everything, "one") == EACH == of(everything, "two")
    assert of(first, "") == {"RunStarted": 1, "RunFinished": 1} and of(hear_both, "")["RunStarted"] == 2


@step
def outer(n: int) -> int:
    return int(run(plain.step(n + 10), hooks=[noting(INNER)])[plain.step(n + 10)].payload)


INNER: Heard = []


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_a_run_within_a_node_is_a_run_of_its_own(executor: str) -> None:
    INNER.clear()
    heard: Heard = []
    before, after = following.step(outer.step(1)), plain.step(5)
    run(before, after, executor=executor, hooks=[noting(heard)])
    loaded = {"Loaded"} if executor != "processes" else set()
    assert of(heard, "outer") == {**EACH, **dict.fromkeys(loaded, 1)} and of(heard, "following") == EACH
    assert of(heard, "plain") in (EACH, {**EACH, "Loaded": 1}) and of(heard, "")["RunStarted"] == 1
    if executor != "processes":
        assert of(INNER, "plain") in (EACH, {**EACH, "Loaded": 1}) and "outer" not in dict(INNER).values()


class Progressing(Persistable[int, None]):
    def _generate_payload(self, **_: Any) -> int:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(self.progress, 1, 2).result()
        return 1


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_threads_of_the_code_are_heard_by_the_run_they_belong_to(executor: str) -> None:
    heard: Heard = []
    run(Progressing(), executor=executor, hooks=[noting(heard)])
    assert of(heard, "progressing") == {**EACH, "Progressed": 1}


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_many_at_a_time_and_a_hook_that_is_given_twice(executor: str, tmp_path: Any) -> None:
    heard: Heard = []
    hook = noting(heard)
    options: dict[str, Any] = {"max_workers": 1} if executor == "processes" else {}
    with subscribe(hook):
        run([plain.step(n).bind(f"sqlite:///{tmp_path / 'x.db'}") for n in range(40)], executor=executor, hooks=[hook, hook], **options)
    assert of(heard, "plain") == dict.fromkeys(EACH, 40)
