"""The code of functions and objects among the params is watched as that of the step is."""

from __future__ import annotations

from typing import Any

HELPERS = """
import functools
from dataclasses import dataclass, field
from typing import Any, Callable

BASE = 1.0

def trim(x):
    return x * 1

def scale(x, by=2.0):
    return trim(x) * by * BASE

def wrapped(fn):
    @functools.wraps(fn)
    def inner(*args):
        return fn(*args) + 0
    return inner

@wrapped
def decorated(x):
    return x * 7

@functools.singledispatch
def dispatched(x):
    return x

@dispatched.register
def _of_float(x: float):
    return x * 8

class Plain:
    OFFSET = 5

    @staticmethod
    def stat(x):
        return x * 3

    @classmethod
    def build(cls, x):
        return x * 4 + cls.OFFSET

    def __call__(self, x):
        return x

@dataclass(frozen=True)
class Model:
    rate: float = 0.5
    inner: Any = None

    def fit(self, x):
        return self._core(x) * self.rate

    def _core(self, x):
        return x * 9

    def plot(self):
        return None

class Child(Model):
    pass

@dataclass(frozen=True)
class Holder:
    fn: Callable
    tag: str = "a"
"""
FLOW = """
import functools, json, sys
from typing import Any
from dataclasses import dataclass
import h
from persistable import Persistable, step

@step
def apply(fn: Any, x: float) -> Any:
    if isinstance(fn, dict):
        fn = list(fn.values())
    while isinstance(fn, (list, tuple)):
        fn = fn[0]
    if hasattr(fn, "tag"):
        fn = fn.fn
    for name in ("fit", "build"):
        fn = getattr(fn, name, fn)
    return fn(x)

@dataclass
class WithParams:
    fn: Any
    x: float = 2.0

class With(Persistable[Any, WithParams]):
    def _generate_payload(self, **_: Any) -> Any:
        return apply(self.params.fn, self.params.x)

FNS = {
    "function": lambda: h.scale,
    "partial": lambda: functools.partial(h.scale, by=3.0),
    "list": lambda: [h.scale, h.trim],
    "tuple in a dict": lambda: {"a": (h.scale,)},
    "decorated": lambda: h.decorated,
    "dispatched": lambda: h.dispatched,
    "static": lambda: h.Plain.stat,
    "class method": lambda: h.Plain.build,
    "class": lambda: h.Plain,
    "object": lambda: h.Model(0.25),
    "object of a subclass": lambda: h.Child(0.25),
    "object in an object": lambda: h.Holder(h.scale),
    "nested object": lambda: h.Model(0.25, h.Model(0.5, h.Holder(h.trim))),
}

def node(kind, how):
    fn = FNS[kind]()
    return apply.step(fn, 2.0) if how == "step" else With(fn=fn)

if __name__ == "__main__":
    from persistable.stores import open_store
    out = {}
    with open_store("data"):
        for kind in FNS:
            for how in ("step", "class"):
                each = node(kind, how)
                if sys.argv[1] == "make":
                    each.generate()
                out[f"{kind}, {how}"] = [each.status.name, str(each.explain())]
    print(json.dumps(out))
"""
KINDS = [
    "function", "partial", "list", "tuple in a dict", "decorated", "dispatched", "static", "class method", "class", "object",
    "object of a subclass", "object in an object", "nested object",
]  # fmt: skip


EDITS = {
    "return trim(x) * by * BASE": ({"function", "partial", "list", "tuple in a dict", "object in an object"}, "h.scale"),
    "return x * 1": ({"function", "partial", "list", "tuple in a dict", "object in an object", "nested object"}, "trim"),
    "BASE = 1.0": ({"function", "partial", "list", "tuple in a dict", "object in an object"}, "BASE"),
    "return x * 7": ({"decorated"}, "decorated"),
    "return x * 8": ({"dispatched"}, "_of_float"),
    "return x * 3": ({"static", "class"}, "stat"),
    "return x * 4 + cls.OFFSET": ({"class method", "class"}, "build"),
    "return x * 9": ({"object", "object of a subclass", "nested object"}, "_core"),
    "    rate: float = 0.5": (set[str](), "the default of a field stands in the params"),
    "        return None": ({"object", "object of a subclass", "nested object"}, "plot"),
}


def test_an_edit_of_what_the_params_bring_is_noticed(project: Any) -> None:
    """STALE, naming the function, for those that use it; everything else stays DONE."""
    project.write({"h.py": HELPERS, "flow.py": FLOW})
    made = project.last("flow.py", "make")
    assert all(status == "DONE" for status, _ in made.values()), made
    for old, (wanted, named) in EDITS.items():
        new = old.replace("1.0", "1.5") if "=" in old else f"{old} + 1"
        found = project.write({"h.py": HELPERS}).edit("h.py", old, new).last("flow.py", "look")
        for key, (status, said) in found.items():
            kind = key.partition(",")[0]
            if kind in wanted:
                assert status == "STALE", f"{old}: {key}"
                assert named in said, said
            elif (old, kind) not in {("return x * 3", "class method"), ("return x * 4 + cls.OFFSET", "static")}:
                assert status == "DONE", f"{old}: {key}: {said}"


def test_plain_params_bring_nothing(project: Any) -> None:
    """Functions of libraries, arrays and numbers are no code of the user's own, and the node's code is that of its class."""
    project.write(
        {
            "flow.py": """
import json, math, statistics
from typing import Any
from persistable import step
from persistable.nodes.own_code import code_of_node, given_things

@step
def apply(fn: Any, x: Any) -> Any:
    return fn(x)

nodes = [apply.step(fn, [1.0, 2.0]) for fn in (statistics.mean, math.fsum, max, str.upper, json.dumps)]
print(json.dumps([len(given_things(node)) for node in nodes] + [len({id(code_of_node(node)) for node in nodes})]))
"""
        }
    )
    assert project.last("flow.py") == [0, 0, 0, 0, 0, 1]
