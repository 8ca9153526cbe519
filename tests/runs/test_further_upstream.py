"""A node's own code may ask for what is upstream of its upstream: the same on every executor, and generated once for a run."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persistable import Persistable, RunResult, run, step
from persistable.executors import DaskExecutor

EXECUTORS = ["inline", "threads", "processes", "spawn", "loky", "dask"]


@contextmanager
def executor_of(name: str) -> Generator[Any]:
    if name == "spawn":
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            yield pool
    elif name == "loky":
        with pytest.importorskip("loky").ProcessPoolExecutor(1) as pool:
            yield pool
    elif name == "dask":
        pytest.importorskip("distributed")
        with DaskExecutor(n_workers=1) as dask:
            yield dask
    else:
        yield name


def note(log: str, name: str) -> None:
    with Path(log).open("a") as file:
        file.write(name + "\n")


@step(persist=False)
def first(log: str, size: int = 3) -> list[int]:
    note(log, "first")
    return list(range(size, 0, -1))


@step(persist=False)
def second(xs: list[int], log: str) -> list[Any]:
    note(log, "second")
    xs.sort()
    return [xs, len(xs)]


@step
def third(ys: list[Any], log: str) -> list[Any]:
    note(log, "third")
    ys[0].append(0)
    return ys


@step
def both(xs: list[int], ys: list[Any], log: str) -> list[Any]:
    note(log, "both")
    xs.append(9)
    return [xs, ys]


@step
def kept(log: str) -> list[int]:
    note(log, "kept")
    return [3, 1, 2]


class Base(Persistable[Any, None]):
    xs: Persistable[Any, Any]

    def _generate_payload(self, **_: Any) -> Any:
        found: Any = self.xs.payload
        length = len(found)
        if self.xs.payload_name == "first":
            found.sort()
        return length


class Unkept(Base):
    is_persisted = False


class Asks(Persistable[Any, None]):
    base: Base

    def _generate_payload(self, **_: Any) -> Any:
        return [self.base.payload, list(self.base.xs.payload)[:5]]


class AsksByName(Asks):
    def _generate_payload(self, **_: Any) -> Any:
        base = self.base
        return [base.payload, list(getattr(base, "x" + "s").payload)[:5]]


class AsksByRole(Asks):
    def _generate_payload(self, **_: Any) -> Any:
        return [self.base.payload, list(self.base.upstream["xs"].payload)[:5]]


class AsksIfThere(Asks):
    def _generate_payload(self, **_: Any) -> Any:
        name = "xs"
        return [self.base.payload, list(getattr(self.base, name).payload)[:5]] if hasattr(self.base, name) else "not there"


def xs_of(base: Any) -> Any:
    return base.xs.payload


def helped(node: Any) -> Any:
    return xs_of(node.base)


class AsksAHelper(Asks):
    def _generate_payload(self, **_: Any) -> Any:
        return [self.base.payload, list(helped(self))[:5]]


class AsksMany(Persistable[Any, None]):
    bases: list[Base]

    def _generate_payload(self, **_: Any) -> Any:
        return [[base.payload for base in self.bases], list(next(base.xs for base in self.bases).payload)[:5]]


class Outer(Persistable[Any, None]):
    middle: Asks

    def _generate_payload(self, **_: Any) -> Any:
        return [self.middle.payload[0], list(self.middle.base.xs.payload)[:5]]


def ran(executor: str, folder: Path, *nodes: Any) -> tuple[RunResult, Counter[str]]:
    with executor_of(executor) as carrier:
        result = run(*nodes, store=folder / "data", executor=carrier)
    log = folder / "log"
    return result, Counter(log.read_text().split() if log.exists() else [])


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_is_not_stored_is_generated_once_for_all_that_need_it(executor: str, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    xs = first.step(log)
    ys = second.step(xs, log)
    nodes = [third.step(ys, log), both.step(xs, ys, log)]
    result, counts = ran(executor, tmp_path, *nodes)
    assert [result[node].payload for node in nodes] == [[[1, 2, 3, 0], 3], [[3, 2, 1, 9], [[1, 2, 3], 3]]]
    assert counts == dict.fromkeys(("first", "second", "third", "both"), 1)


@pytest.mark.parametrize("asks", [Asks, AsksByRole, AsksAHelper, AsksMany, Outer])
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("size", [3, 50_000])
def test_code_asks_for_what_is_two_levels_up(executor: str, asks: type[Any], size: int, tmp_path: Path) -> None:
    base = Unkept(xs=first.step(str(tmp_path / "log"), size))
    if asks is AsksMany:
        node: Any = AsksMany(bases=[base])
    else:
        node = Outer(middle=Asks(base=base)) if asks is Outer else asks(base=base)
    result, counts = ran(executor, tmp_path, node)
    length: Any = [size] if asks is AsksMany else size
    assert result[node].payload == [length, list(range(size, 0, -1))[:5]]
    assert counts == {"first": 1}
    assert not [path for path in tmp_path.glob("data/.persistable/handed/**/*") if path.is_file()]


@pytest.mark.parametrize("asks", [AsksByName, AsksIfThere])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_code_finds_it_however_it_asks(executor: str, asks: type[Any], tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    nodes = [asks(base=kind(xs=xs)) for kind in (Base, Unkept) for xs in (first.step(log), kept.step(log))]
    result, counts = ran(executor, tmp_path, *nodes)
    assert [result[node].payload for node in nodes] == [[3, [3, 2, 1]], [3, [3, 1, 2]]] * 2
    assert counts["kept"] == 1


@pytest.mark.parametrize("asks", [Asks, AsksByRole, AsksByName])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_between_them_all_is_stored_already(executor: str, asks: type[Any], tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    for xs in (first.step(log), kept.step(log)):
        base = Base(xs=xs)
        ran("inline", tmp_path, base)
        node = asks(base=base)
        result, _ = ran(executor, tmp_path, node)
        assert result[node].payload[0] == 3
        assert sorted(result[node].payload[1]) == [1, 2, 3]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_it_is_not_the_object_that_somebody_has_changed(executor: str, tmp_path: Path) -> None:
    @step
    def array() -> Any:
        return np.arange(3)

    source = array.step().bind(tmp_path / "data")
    source.payload[0] = 100
    node = Asks(base=Base(xs=source))
    result, _ = ran(executor, tmp_path, node)
    assert result[node].payload == [3, [0, 1, 2]]


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_without_a_run(executor: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    node = Asks(tmp_path / "data", base=Unkept(xs=first.step(str(log))))
    if executor == "threads":
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            payload = pool.submit(lambda: node.payload).result()
    else:
        payload = node.payload
    assert payload == [3, [3, 2, 1]]
    assert log.read_text().split() == ["first"]


class Linked(Persistable[int, None]):
    before: Persistable[Any, Any]

    def _generate_payload(self, **_: Any) -> int:
        return self.before.payload + 1


def test_a_chain_sends_no_more_than_it_did(tmp_path: Path) -> None:
    """Names that are asked of the node itself are its own upstream."""
    from persistable.nodes.transitive_upstream import attributes_read, nodes_read

    @step
    def start() -> int:
        return 0

    node: Any = start.step()
    for _ in range(5):
        node = Linked(before=node)
    assert dict(attributes_read(node)) == {}
    assert nodes_read(node) == []
    assert run(node, store=tmp_path, executor="processes")[node].payload == 5
