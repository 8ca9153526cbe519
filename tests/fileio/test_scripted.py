"""Classes and functions of scripts and notebooks in payloads: today's of that name where they hold the same, else those that were kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEFINED = """
import abc, concurrent.futures, contextlib, dataclasses, enum, functools, multiprocessing, sys
from typing import Any, Generic, NamedTuple, TypeVar
from persistable import Persistable, run, step

class State(enum.Enum):
    DONE = 1
    OPEN = "o"

class Access(enum.Flag):
    READ = 1
    WRITE = 2

class Level(enum.IntEnum):
    LOW = 1

@dataclasses.dataclass
class Data:
    a: int
    b: list

@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    a: int

class Pair(NamedTuple):
    x: int
    y: int

class Failed(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code

class Base(abc.ABC):
    @abc.abstractmethod
    def twice(self): ...

class Plain(Base):
    def __init__(self, a):
        self.a = a

    def twice(self):
        return self.a * 2

    class Inner:
        def __init__(self):
            self.z = 1

class Sub(Plain):
    def more(self):
        self.b = 3

class Slots:
    __slots__ = ("p", "q")
    def __init__(self):
        self.p, self.q = 1, 2

T = TypeVar("T")

class Box(Generic[T]):
    def __init__(self, v):
        self.v = v

def add(x):
    return x + 1
"""

SCRIPT = (
    DEFINED
    + """
@step
def make() -> dict:
    sub = Sub(2)
    sub.more()
    return {"state": State.DONE, "access": Access.READ | Access.WRITE, "level": Level.LOW, "data": Data(1, [State.OPEN]),
            "frozen": Frozen(3),
            "pair": Pair(1, 2), "failed": Failed(4), "plain": Plain(5), "inner": Plain.Inner(), "sub": sub, "slots": Slots(),
            "box": Box[int](3),
            "add": add, "cls": Data, "partial": functools.partial(add, 1), "set": {State.DONE}, "nested": [{"x": (Plain(1), State.OPEN)}]}

def strangers(p):
    right = dict(
        state=p["state"] is State.DONE, access=p["access"] == Access.READ | Access.WRITE, level=p["level"] is Level.LOW,
        data=p["data"] == Data(1, [State.OPEN]), frozen=p["frozen"] == Frozen(3), pair=p["pair"] == Pair(1, 2) and type(p["pair"]) is Pair,
        failed=isinstance(p["failed"], Failed), plain=type(p["plain"]) is Plain, inner=type(p["inner"]) is Plain.Inner,
        sub=type(p["sub"]) is Sub and isinstance(p["sub"], Plain) and p["sub"].b == 3, slots=type(p["slots"]) is Slots,
        box=type(p["box"]) is Box, add=p["add"](1) == add(1), cls=p["cls"] is Data, partial=p["partial"]() == add(1),
        set=State.DONE in p["set"],
        nested=isinstance(p["nested"][0]["x"][0], Base) and p["nested"][0]["x"][1] is State.OPEN)
    return [name for name, fine in right.items() if not fine]

@step
def seen(p, where: str) -> list:
    return strangers(p)

@step
def passed(p) -> dict:
    return p

@step(persist=False)
def handed(where: str) -> dict:
    return make()

@step
def made(where: str) -> dict:
    return make()

@step
def asked(where: str) -> list:
    return strangers(make.step().payload)

@step
def looked(p, look: Any, where: str) -> list:
    return look(p)

@dataclasses.dataclass(frozen=True)
class SeenParams:
    where: str
    state: State

class Seen(Persistable[list, SeenParams]):
    p: Persistable

    def _generate_payload(self, **_):
        return strangers(self.p.payload) + ([] if self.params.state is State.DONE else ["params"])

def executor_of(name):
    if name == "loky":
        import loky
        return loky.ProcessPoolExecutor(1)
    if name in ("spawn", "fork", "forkserver"):
        return concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context(name))
    if name == "dask":
        from persistable.executors import DaskExecutor
        return DaskExecutor(n_workers=1)
    if name == "ray":
        from persistable.executors import RayExecutor
        return RayExecutor(num_cpus=1)
    return contextlib.nullcontext(name)

if __name__ == "__main__":
    assert strangers(make.step().bind("data").payload) == []
    assert strangers(make.step().bind("data").load().payload) == []
    for where in sys.argv[1:]:
        nodes = {
            "passed": seen.step(passed.step(make.step()), where=where),  # its own code names none of the classes
            "step": seen.step(make.step(), where=where),
            "class": Seen(p=make.step(), where=where, state=State.DONE),
            "handed": seen.step(handed.step(where=where), where=where + " handed"),
            "made": seen.step(made.step(where), where=where + " made"),
            "asked": asked.step(where=where),
            "captured": looked.step(make.step(), look=strangers, where=where),
            "member": seen.over(p=make.step(), where=[where + " 1", where + " 2", where + " 3"])[where + " 2"],
        }
        with executor_of(where) as executor:
            for _, node in nodes.items():  # one after the other, in workers that know more each time
                run(node, store="data", executor=executor)
            run(seen.over(p=make.step(), where=[where + " 4", where + " 5", where + " 6"]), store="data", executor=executor)
            nodes["straight"] = seen.step(make.step(), where=where + " 5")
        found = {name: node.bind("data").payload for name, node in nodes.items()}
        found["made"] = strangers(made.step(where).bind("data").payload)
        assert not any(found.values()), (where, found)
    print("fine", make.step().bind("data").load().payload["plain"].twice())
"""
)

OTHER = """
import dataclasses, enum, glob
from persistable.fileio import PickleFileIO

class State(enum.Enum):
    DONE = 3

@dataclasses.dataclass
class Data:
    a: int
    c: int

class Plain:
    def __init__(self, other):
        self.other = other

    def twice(self):
        return self.other

def add(x, y):
    return 0

class Pair:
    pass

first, second = [PickleFileIO().load(glob.glob("data/make/*.pickle")[0]) for _ in range(2)]
assert first["state"] is not State.DONE and first["state"].value == 1
assert type(first["data"]) is not Data and first["data"].b[0].value == "o"
assert type(first["plain"]) is not Plain and first["plain"].twice() == 10
assert first["add"](1) == 2 and first["pair"] == (1, 2) and type(first["pair"]) is not Pair
assert first["state"] is second["state"] and first["data"] == second["data"] and isinstance(first["sub"], type(second["plain"]))
print("fine")
"""


def ran(folder: Path, name: str, text: str, *words: str) -> str:
    script = folder / name
    script.write_text(text)
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}  # of the cluster that other tests share
    done = subprocess.run([sys.executable, script, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


IMPORTED = """
import first, glob
from persistable.fileio import PickleFileIO

(path,) = glob.glob("data/made/*.pickle")
assert first.strangers(PickleFileIO().load(path)) == []
print("fine")
"""


@pytest.mark.parametrize("where", ["inline", "threads", "processes", "spawn", "fork", "forkserver", "loky", "dask", "ray"])
def test_they_are_the_scripts_own_on_every_executor(tmp_path: Path, where: str) -> None:
    if where in ("loky", "ray"):
        pytest.importorskip(where)
    if where == "dask":
        pytest.importorskip("distributed")
    assert ran(tmp_path, "first.py", SCRIPT, where).endswith("fine 10")
    assert ran(tmp_path, "imports.py", IMPORTED) == "fine"


def test_they_are_the_scripts_own_in_every_process(tmp_path: Path) -> None:
    assert ran(tmp_path, "first.py", SCRIPT, "inline") == "fine 10"
    # a method's body was mended, others and a member were added
    mended = SCRIPT.replace("self.a * 2", "self.a * 3").replace("DONE = 1", "DONE = 1\n    LATE = 9")
    mended = mended.replace("class Inner:", "def new(self): pass\n\n    class Inner:")
    mended = mended.replace('step().bind("data").payload) == []', "step()) == []", 1)
    mended = mended.replace("assert strangers(make.step()) == []", "pass")
    assert ran(tmp_path, "first.py", mended) == "fine 15"
    assert ran(tmp_path, "other.py", OTHER) == "fine"


NOTEBOOK = """
from dataclasses import dataclass
from persistable.fileio import PickleFileIO

io = PickleFileIO()
code = "@dataclass\\nclass Cell:\\n    a: int = 1\\n"
exec(code)
data = io.dumps({"cell": Cell(2)})
exec(code)  # the cell is run again
assert io.loads(data)["cell"] == Cell(2)
exec(code + "    b: int = 2\\n")  # and again, with another field: what was made before is not one of these
old = io.loads(data)["cell"]
assert type(old) is not Cell and old.a == 2 and not hasattr(old, "b")
print("fine")
"""


def test_a_cell_that_is_run_again(tmp_path: Path) -> None:
    assert ran(tmp_path, "cells.py", NOTEBOOK) == "fine"


@pytest.mark.parametrize(
    ("then", "now", "fits"),
    [
        ("class A:\n    x: int", "class A:\n    x: int", True),
        ("class A:\n    x: int", "class A:\n    y: int", False),
        ("class A:\n    def f(self): self.x = 1", "class A:\n    def f(self): self.x = 2", True),
        ("class A:\n    def f(self): self.x = 1", "class A:\n    def f(self): self.y = 1", False),
        ("class A:\n    def f(self): pass", "class A:\n    def f(self): pass\n    def g(self): pass", True),
        ("class A:\n    def f(self): pass\n    def g(self): pass", "class A:\n    def f(self): pass", False),
        ("class A:\n    __slots__ = ('a',)", "class A:\n    __slots__ = ('b',)", False),
        ("class A(int): pass", "class A(str): pass", False),
        ("class A: pass", "def A(): pass", False),
        ("class A: pass", "A = 3", False),
        ("class B:\n    x: int\nclass A(B): pass", "class B:\n    y: int\nclass A(B): pass", False),
        ("class B:\n    x: int\nclass A(B): pass", "class B:\n    x: int\nclass A(B): pass", True),
        ("class A:\n    def __init__(self, a): self.x = a", "class A:\n    def __init__(self, b): self.x = b", False),
        ("import enum\nclass A(enum.Enum):\n    X = 1", "import enum\nclass A(enum.Enum):\n    X = 2", False),
        ("def A(x): return 1", "def A(x): return 2", True),
        ("def A(x): return 1", "def A(x, y): return 2", False),
        ("class A:\n    @property\n    def p(self): return 1", "class A:\n    p = 1", True),
    ],
)
def test_what_fits(then: str, now: str, fits: bool) -> None:
    from persistable.fileio.pickle_scripts import _fits, shape_of  # pyright: ignore[reportPrivateUsage]

    before: dict[str, object] = {"__name__": "__main__"}
    after: dict[str, object] = {"__name__": "__main__"}
    exec(then, before)
    exec(now, after)
    assert _fits(after["A"], shape_of(before["A"])) == fits
