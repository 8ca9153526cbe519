"""A piece of code has one name and one fingerprint wherever it runs: the records of a script are the same on every executor."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from servers.ray_cluster import ENVIRONMENT

import persistable

ROOT = Path(persistable.__path__[0]).parent
SCRIPT = """
import json, sys, warnings
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar
from persistable import Persistable, run, step
from persistable.stores import open_store

FACTOR = 10

@step
def clean(n: int) -> int:
    return n * FACTOR

@step
def inner(n: int) -> int:
    return n - 1

@step
def outer(n: int) -> int:
    return inner.step(n).payload + clean.step(n).payload

@step
def model(points: int, k: int = 1) -> int:
    return points + k

@step
def many(n: int) -> int:
    return n

@dataclass
class P:
    n: int

class Points(Persistable[int, P]):
    def helper(self) -> int:
        return 3
    def _generate_payload(self, **_: Any) -> int:
        return self.params.n + self.helper()

T = TypeVar("T")

class Box(Generic[T]):
    class Inner:
        def __init__(self, v):
            self.v = v

    __slots__ = ("v",)
    def __init__(self, v):
        self.v = self.Inner(v)

class Pair(NamedTuple):
    x: int
    y: int = FACTOR

@step
def boxed(n: int) -> int:
    return Box[int](Pair(n)).v.v.x

class Nested(Persistable[int, P]):
    def _generate_payload(self, **_: Any) -> int:
        return Box(Pair(self.params.n)).v.v.y

@step
def asks(n: int) -> int:
    return boxed.step(n).payload

@step
def asks_a_class(n: int) -> int:
    return Nested(n=n).payload

def executor_of(name):
    if name == "loky":
        from loky import get_reusable_executor
        return get_reusable_executor(max_workers=1)
    if name in ("spawn", "fork", "forkserver"):
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(name))
    if name == "dask":
        from persistable.executors import DaskExecutor
        return DaskExecutor(n_workers=1)
    if name == "ray":
        from persistable.executors import RayExecutor
        return RayExecutor(num_cpus=1)
    return name

def told(node):
    record = node.record
    facts = record.to_dict()
    return [record.class_reference, record.code["python"], record.code["quick"], record.code_parts, facts.get("git_commit"),
            facts.get("upstream_code"), facts.get("lineage"), record.head.get("made_from")]

if __name__ == "__main__":
    how, data = sys.argv[1:]
    nodes = [clean.step(3), model.step(clean.step(4), 2), outer.step(5), Points(n=1), asks.step(6), *[many.step(n) for n in range(2)]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = run(*nodes, asks_a_class.step(6), many.over(n=[7, 8, 9]), store=data, executor=executor_of(how), errors="return")
    store = open_store(data)
    every = [node.bind(store) for node in [*nodes, clean.step(4), clean.step(5), inner.step(5), many.step(8), boxed.step(6), Nested(n=6)]]
    print(json.dumps([
        {str(node.key): told(node) for node in every},
        {str(node.key): node.status.name for node in every},
        {str(failure.key): type(failure.error).__name__ for failure in result.failures},
    ]))
"""


def performed(folder: Path, script: list[str], how: str, data: str) -> Any:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, *script, how, data], cwd=folder, env=env, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A git repository with two scripts whose `clean` differs, and one of them as a module of a package."""
    (tmp_path / "pk").mkdir()
    (tmp_path / "pk" / "__init__.py").write_text("")
    for name in ("ann.py", "pk/ann.py"):
        (tmp_path / name).write_text(SCRIPT)
    (tmp_path / "bob.py").write_text(SCRIPT.replace("return n * FACTOR", "return n + 1000"))
    git = ["git", "-c", "user.email=a@b", "-c", "user.name=a", "-C", str(tmp_path)]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True)
    return tmp_path


def test_every_executor_writes_the_same_record(folder: Path) -> None:
    """Class, fingerprint, lineage and commit; of what is generated inside a worker by a node's own code, too."""
    wanted = performed(folder, ["ann.py"], "inline", "inline")
    assert {row[0].partition(":")[0] for row in wanted[0].values()} == {"ann.py"}
    assert all(row[4] for row in wanted[0].values())
    for how in ("threads", "processes", "loky", "spawn", "dask"):
        assert performed(folder, ["ann.py"], how, how) == wanted, how


@pytest.mark.xdist_group("ray")
def test_ray_writes_the_same_record(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)  # of the cluster that other tests share: this one starts its own
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_TMPDIR", tempfile.mkdtemp(prefix="ray-"))
    assert performed(folder, ["ann.py"], "ray", "ray") == performed(folder, ["ann.py"], "inline", "inline")


def test_a_module_run_with_m_is_called_by_its_name(folder: Path) -> None:
    wanted = performed(folder, ["-m", "pk.ann"], "inline", "inline")
    assert {row[0].partition(":")[0] for row in wanted[0].values()} == {"pk.ann"}
    assert performed(folder, ["-m", "pk.ann"], "processes", "processes") == wanted


@pytest.mark.parametrize("how", ["processes", "loky"])
def test_strangers_are_strangers_in_a_worker_too(folder: Path, how: str) -> None:
    """Another script's step of the same name and other code is refused, in the driver and where a worker meets it."""
    performed(folder, ["ann.py"], how, "data")
    _, states, failures = performed(folder, ["bob.py"], "inline", "data")
    assert performed(folder, ["bob.py"], how, "data")[1:] == [states, failures]
    strange = {key for key, error in failures.items() if error == "PayloadForeign"}
    assert {key.partition("/")[0] for key in strange} == {"clean", "outer"}
    _, states, failures = performed(folder, ["ann.py"], "inline", "data")
    assert not failures
    assert set(states.values()) == {"DONE"}


PICKLED = """
import json, pickle, sys
from persistable import step

@step
def fib(n: int) -> int:
    return n if n < 2 else fib(n - 1) + fib(n - 2)

def captured(k):
    @step
    def times(n: int) -> int:
        return fib(n) * k
    return times

if __name__ == "__main__":
    nodes = [fib.step(6), captured(3).step(6)]
    back = pickle.loads(pickle.dumps(nodes))
    with open("nodes.pickle", "wb") as file:
        pickle.dump(nodes, file)
    print(json.dumps([[str(node.key) for node in nodes] == [str(node.key) for node in back], back[0].step is fib,
                      [node.generate(persist=False).payload for node in back]]))
"""


def test_nodes_of_a_script_can_be_pickled(tmp_path: Path) -> None:
    """By plain pickle; what comes back is of the same step in the same program, and works in another one."""
    (tmp_path / "fib.py").write_text(PICKLED)
    assert performed(tmp_path, ["fib.py"], "", "") == [True, True, [8, 24]]
    nodes = pickle.loads((tmp_path / "nodes.pickle").read_bytes())
    assert [node.generate(persist=False).payload for node in nodes] == [8, 24]
