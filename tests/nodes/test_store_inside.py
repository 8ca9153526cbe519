"""What names no store is kept, within the code of a node, where that node is: on every executor, and in threads that the code starts."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from persistable import Persistable, Project, Workflow, Workspace, open_store, run, seed, step, stored
from persistable.nodes.generation import default_store
from persistable.stores import enclosing_store


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@step
def other(n: int) -> int:
    return n


@step
def another(n: int) -> int:
    return n


class Plain(Persistable[int, None]):
    def _generate_payload(self, **_: Any) -> int:
        return 1


class Scaled(Workflow):
    raw: str = seed()
    scaled = other.step(7)


class Files(Workspace[Scaled]):
    raw = stored("raw/{name}.txt")


PROJECT = Project(targets={"o": other.step(8)})


def here(call: Callable[[], Any]) -> Any:
    return call()


def threaded(call: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def pooled(call: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


WAYS = {"here": here, "threaded": threaded, "pooled": pooled}


def all_of_them(n: int) -> list[str]:
    run(other.step(n))
    another.step(n).payload
    return [default_store().url, Files().store.url, PROJECT.store.url, Project(targets={}).store.url, Plain().store.url]


@step
def asking(way: str) -> list[str]:
    found: list[str] = WAYS[way](lambda: all_of_them(len(way)))
    return found


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
@pytest.mark.parametrize("way", WAYS)
def test_the_store_of_what_names_none(way: str, executor: str) -> None:
    node = asking.step(way)
    with open_store("around"):
        found = run(node.bind("data"), executor=executor)[node.bind("data")].payload
    assert set(found) == {open_store("data").url}
    assert sorted(os.listdir("data")) == [".persistable", "another", "asking", "other"] and not os.path.exists("persistable-data")
    assert not os.path.exists("around")


EMPTY = Project(targets={})


def test_a_project_does_not_keep_the_store_of_who_asked_first() -> None:
    @step(persist=False)
    def asks(n: int) -> str:
        return EMPTY.store.url

    assert [asks.step(n).bind(f"at-{n}").payload for n in range(2)] == [open_store(f"at-{n}").url for n in range(2)]
    assert EMPTY.store.url == open_store("persistable-data").url


@pytest.mark.parametrize("way", WAYS)
def test_a_store_entered_within_the_code_is_nearer(way: str) -> None:
    outside = other.step(1)

    def inside() -> list[Any]:
        before = Plain()
        with open_store("inner") as store:
            assert enclosing_store() is store
            found = [default_store().url, Files().store.url, Plain().store.url, before.store.url, *all_of_them(2)[:1]]
            run(outside)
        return [*found, enclosing_store(), default_store().url]

    @step
    def asks(n: int) -> Any:
        return WAYS[way](inside)

    with open_store("around"):
        found = asks.step(1).bind("data").payload
    inner, data = open_store("inner").url, open_store("data").url
    assert found == [inner] * 5 + [None, data]
    assert sorted(os.listdir("inner")) == [".persistable", "another", "other"] and sorted(os.listdir()) == ["data", "inner"]


BEGUN, ASKED = threading.Event(), threading.Event()


def test_threads_of_somebody_else_keep_what_they_remember() -> None:
    remembered, plain, found = another.step(3), another.step(4), list[Any]()
    run(remembered, store="mine")

    def ask() -> None:
        BEGUN.wait(10)
        with open_store("entered"):
            found.extend([default_store().url, plain.store.url])
        found.append(remembered.store.url)
        ASKED.set()

    @step
    def lasts(n: int) -> int:
        BEGUN.set()
        assert ASKED.wait(10)
        return n

    thread = threading.Thread(target=ask)
    thread.start()
    run(lasts.step(1), store="data")
    thread.join()
    assert found == [open_store("entered").url] * 2 + [open_store("mine").url]
