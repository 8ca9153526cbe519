"""Threads that a node's own code starts find what the code itself does, in no store but its own."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persistable import Persistable, PersistableParams, progress, rng, run, scratch, step
from persistable.events import Progressed, subscribe

made: list[str] = []


class P(PersistableParams):
    pass


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made.clear()


def pooled(call: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def threaded(call: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def awaited(call: Callable[[], Any]) -> Any:
    return asyncio.run(asyncio.to_thread(call))


def by_joblib(call: Callable[[], Any]) -> Any:
    joblib = pytest.importorskip("joblib")
    return joblib.Parallel(2, backend="threading")(joblib.delayed(lambda i: call() if i else None)(i) for i in range(2))[1]


WAYS = [pooled, threaded, awaited, by_joblib]


class Points(Persistable[list[float], None]):
    def _generate_payload(self, **_: Any) -> list[float]:
        made.append("points")
        return [1.0, 2.0]


class Aside(Persistable[list[float], None]):
    is_persisted = False

    def _generate_payload(self, **_: Any) -> list[float]:
        made.append("aside")
        return [3.0]


class Using(Persistable[dict[str, Any], None]):
    points: Points
    many: list[Aside]
    way: Any = None

    def _generate_payload(self, **_: Any) -> dict[str, Any]:
        way = type(self).way

        def inside() -> dict[str, Any]:
            self.progress(1, 2)
            (self.scratch / "x").write_text("y")
            points = self.points.payload
            return {
                "points": points,
                "same": points is self.upstream["points"].payload,
                "many": [node.payload for node in self.many],
                "rng": self.rng.integers(1000),
                "scratch": os.listdir(self.scratch),
                "store": self.points.store.url,
            }

        found: dict[str, Any] = way(inside)
        assert found["points"] is self.points.payload and found["rng"] != self.rng.integers(1 << 60)
        return found


@pytest.mark.parametrize("way", WAYS)
def test_upstream_random_numbers_scratch_and_progress(way: Any) -> None:
    Using.way = staticmethod(way)
    node = Using("data", points=Points(), many=[Aside()])
    heard: list[Any] = []
    with subscribe(heard.append):
        found = node.payload
    assert found == {"points": [1.0, 2.0], "same": True, "many": [[3.0]], "rng": found["rng"], "scratch": ["x"], "store": node.store.url}
    assert found["rng"] == np.random.Generator(np.random.PCG64(int(node.key.digest, 16))).integers(1000)
    assert sorted(made) == ["aside", "points"] and os.listdir() == ["data"] and sum(isinstance(event, Progressed) for event in heard) == 1
    made.clear()
    other = Using("data", points=Points(), many=[Aside(), Aside()])
    assert run(other, executor="threads")[other].payload["points"] == [1.0, 2.0]
    assert made == ["aside"] and os.listdir() == ["data"]


@pytest.mark.parametrize("way", WAYS)
def test_what_steps_import(way: Any) -> None:
    @step
    def noisy(n: int) -> list[int]:
        def inside() -> list[int]:
            progress(1)
            (scratch / "x").touch()
            return [int(rng.integers(1000)), len(os.listdir(scratch()))]

        found: list[int] = way(inside)
        return found

    @step
    def plainly(n: int) -> int:
        return int(rng.integers(1000))

    node = noisy.step(1)
    node._node_store = None
    first = run(node, store="data")[node].payload
    assert first == [np.random.Generator(np.random.PCG64(int(node.key.digest, 16))).integers(1000), 1]


both = threading.Barrier(2)
errors: list[str] = []


def test_a_thread_that_may_belong_to_several_is_told_so() -> None:
    errors.clear()

    @step
    def noisy(n: int) -> int:
        both.wait(10)

        def inside() -> None:
            try:
                rng.integers(10)
            except RuntimeError as error:
                errors.append(str(error))

        threaded(inside)
        both.wait(10)
        return n

    run(noisy.step(1), noisy.step(2), executor="threads", max_workers=2, store="memory://several")
    assert len(errors) == 2 and "copy_context" in errors[0]


def test_many_threads_draw_from_one_generator() -> None:
    class Drawing(Persistable[int, None]):
        def _generate_payload(self, **_: Any) -> int:
            with ThreadPoolExecutor(8) as pool:
                return len({id(each) for each in pool.map(lambda _: self.rng, range(64))})

    assert all(Drawing("memory://draw", payload_name=f"draw-{n}").payload == 1 for n in range(20))


def test_when_it_is_over_it_is_over() -> None:
    kept: list[Any] = []

    class Keeping(Persistable[int, None]):
        points: Points

        def _generate_payload(self, **_: Any) -> int:
            kept.extend([self, self.points])
            return 1

    Keeping("data", points=Points()).payload
    with pytest.raises(RuntimeError, match="exists only while"):
        kept[0].rng
    assert kept[1].payload == [1.0, 2.0] and made == ["points"]


alive = [0]
most = [0]


def test_a_chain_that_is_not_stored_holds_what_is_still_needed_and_no_more() -> None:
    class Thing:
        def __init__(self) -> None:
            self._count()

        def _count(self) -> None:
            alive[0] += 1
            most[0] = max(most[0], alive[0])

        def __setstate__(self, state: Any) -> None:
            self._count()

        def __reduce__(self) -> Any:
            return object.__new__, (Thing,), {}

        def __del__(self) -> None:
            alive[0] -= 1

    @step(persist=False)
    def link(before: Any = None, also: Any = None) -> Thing:
        return Thing()

    first = node = link.step()
    for _ in range(50):
        node = link.step(node)
    assert type(node.payload).__name__ == "Thing" and most[0] <= 4
    assert type(link.step(node, first).payload).__name__ == "Thing"
