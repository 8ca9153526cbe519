"""`await node.aload()`, and what blocks used where an event loop runs, as in a notebook."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from persistable import Persistable, Status, open_store, run, step
from persistable.errors import InputMissing, PayloadNotFound, RunFailed

begun = threading.Event()
may_end = threading.Event()
ran: list[Any] = []
named: ContextVar[str] = ContextVar("named")


@pytest.fixture(autouse=True)
def anew() -> None:
    begun.clear()
    may_end.clear()
    ran.clear()


@step
def slow(n: int) -> int:
    ran.append(n)
    begun.set()
    assert may_end.wait(20)
    return n


@step
def double(n: int) -> int:
    ran.append(n)
    return 2 * n


@step
def failing(kind: str) -> int:
    raise {"value": ValueError, "stop": StopIteration, "attribute": AttributeError}[kind]("no such number")


def test_the_loop_goes_on_while_a_payload_is_generated() -> None:
    async def main() -> list[Any]:
        node = slow.step(3)
        waiting = asyncio.create_task(node.aload())
        assert await asyncio.to_thread(begun.wait, 20)
        assert not waiting.done()
        may_end.set()
        return [await waiting, await node.aload(), node.payload, await slow.step(3).aload()]

    assert asyncio.run(main()) == [3, 3, 3, 3] and ran == [3]


def test_several_at_once_and_the_same_ones_once() -> None:
    async def main() -> list[int]:
        nodes = [double.step(n % 10) for n in range(50)]
        return list(await asyncio.gather(*[node.aload() for node in nodes], *[double.step(node).aload() for node in nodes]))

    found = asyncio.run(main())
    assert found == [2 * (n % 10) for n in range(50)] + [4 * (n % 10) for n in range(50)]
    assert len(ran) == 20


@pytest.mark.parametrize("kind", ["value", "attribute", "stop"])
def test_errors_arrive(kind: str) -> None:
    async def main() -> Any:
        return await asyncio.wait_for(failing.step(kind).aload(), 20)

    with pytest.raises((ValueError, AttributeError, RuntimeError)) as caught:
        asyncio.run(main())
    error = caught.value if kind != "stop" else caught.value.__cause__  # a coroutine can raise no StopIteration
    assert "no such number" in str(error) and failing.step(kind).status is Status.FAILED


class Doubled(Persistable[int, None]):
    pass


class Open(Persistable[int, None]):
    points: Doubled


def test_an_open_node_says_what_it_needs() -> None:
    with pytest.raises(InputMissing, match="points"):
        asyncio.run(Open().aload())


def test_a_cancelled_task_leaves_the_generation_alone() -> None:
    async def main() -> int:
        task = asyncio.create_task(slow.step(4).aload())
        assert await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        may_end.set()
        return await slow.step(4).aload()

    assert asyncio.run(main()) == 4 and ran == [4] and slow.step(4).status is Status.DONE


def test_the_end_of_the_loop_waits_for_what_has_begun() -> None:
    async def main() -> None:
        task = asyncio.create_task(slow.step(5).aload())
        assert await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        threading.Timer(0.05, may_end.set).start()

    asyncio.run(main())
    assert slow.step(5).status is Status.DONE


def test_context_variables_and_the_enclosing_store_reach_the_thread(tmp_path: Path) -> None:
    @step
    def naming() -> str:
        return named.get()

    async def main() -> str:
        named.set("here")
        with open_store(tmp_path / "inner"):
            return await naming.step().aload()

    assert asyncio.run(main()) == "here" and any((tmp_path / "inner").iterdir())


def test_inside_a_generation_its_upstream_is_read_for_it() -> None:
    class Sum(Persistable[int, None]):
        one: Persistable[int, Any]
        many: list[Persistable[int, Any]]

        def _generate_payload(self, **_: Any) -> int:
            async def total() -> int:
                return sum(await asyncio.gather(self.one.aload(), *[node.aload() for node in self.many]))

            return asyncio.run(total())

    nodes = [double.step(n) for n in range(4)]
    assert Sum(one=nodes[3], many=nodes[:3]).payload == 12


@pytest.mark.parametrize("persist", [True, False])
def test_a_family(persist: bool) -> None:
    @step(persist=persist)
    def half(n: int) -> float:
        if n == 7:
            raise ValueError("not seven")
        return n / 2

    async def main() -> Any:
        return await half.over(n=[1, 2]).aload(), await half.over(n=[]).aload()

    assert asyncio.run(main()) == ({1: 0.5, 2: 1.0}, {})
    with pytest.raises(RunFailed):
        asyncio.run(half.over(n=[1, 7]).aload(executor="threads"))
    with pytest.raises(PayloadNotFound):
        dict(half.over(n=[1, 7]).payloads())


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_what_blocks_works_where_a_loop_runs(executor: str, store: Any) -> None:
    async def main() -> list[int]:
        nodes = [double.step(n) for n in range(3)]
        result = run(*nodes, executor=executor)
        return [result[node].payload for node in nodes] + [double.step(9).payload]

    assert asyncio.run(main()) == [0, 2, 4, 18]


async def later(n: int) -> int:
    await asyncio.sleep(0.001)
    return n + 1


@step
def awaiting(n: int) -> int:
    return asyncio.run(later(n))


@step
def awaiting_many(values: list[int]) -> int:
    total = 0
    for value in values:
        total += asyncio.run(later(value))
    return total


def test_a_step_may_run_a_loop_of_its_own_where_one_runs() -> None:
    async def main() -> Any:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        members = awaiting.over(n=[2, 3])
        found = [awaiting.step(1).payload, *[payload for _, payload in run(members)[members].payloads()]]
        found.append(awaiting_many.step([awaiting.step(5), awaiting.step(6)]).payload)
        assert (asyncio.get_running_loop(), asyncio.current_task()) == (loop, task)
        with pytest.raises(ValueError, match="no such number"):
            failing.step("value").payload
        assert (asyncio.get_running_loop(), asyncio.current_task()) == (loop, task)
        return found, await awaiting.step(9).aload()

    assert asyncio.run(main()) == ([2, 3, 4, 15], 10)


def test_pools_of_two_nodes_at_work_at_once_keep_them_apart() -> None:
    together = threading.Barrier(2)

    class Pooled(Persistable[list[Any], None]):
        many: list[Persistable[int, Any]]

        def _generate_payload(self, **_: Any) -> list[Any]:
            together.wait(20)
            with ThreadPoolExecutor(4) as pool:
                payloads = list(pool.map(lambda node: node.payload, self.many))
                list(pool.map(lambda n: self.progress(n, 4), range(4)))
                drawn = pool.submit(lambda: int(self.rng.integers(1 << 40))).result()
            together.wait(20)
            return [payloads, drawn]

    nodes = [Pooled(many=[double.step(n), double.step(n + 1)]) for n in range(2)]
    heard: list[Any] = []
    result = run(*nodes, executor="threads", max_workers=2, hooks=[heard.append])
    assert [result[node].payload[0] for node in nodes] == [[0, 2], [2, 4]]
    assert len({result[node].payload[1] for node in nodes}) == 2
    assert {event.key for event in heard if type(event).__name__ == "Progressed"} == {node.key for node in nodes}
