"""Implementations that are looked up when the code runs: dispatch by type, and registries that decorators fill."""

from __future__ import annotations

from typing import Any

import pytest

from persistable.nodes.code import code_of, compare

FILES = {
    "base.py": """
import functools
REGISTRY = {}
PAIRS = []
def register(fn):
    REGISTRY[fn.__name__] = fn
    return fn
class Table:
    def __init__(self):
        self.entries = {}
    def add(self, fn):
        self.entries[fn.__name__] = (fn)
        return fn
TABLE = Table()
class Plugin:
    known = {}
    def __init_subclass__(cls):
        Plugin.known[cls.__name__] = cls
@functools.singledispatch
def area(x):
    raise TypeError(x)
class Shapes:
    @functools.singledispatchmethod
    def area(self, x):
        return 0
    @area.register
    def _(self, x: int):
        return x * 11
""",
    "impls.py": """
import functools
from base import PAIRS, TABLE, Plugin, area, register
def part(x):
    return x * 1
@register
def first(x):
    return part(x) * 2
@register
def second(x):
    return x * 3
PAIRS.append((first, "a"))
@TABLE.add
def third(x):
    return x * 4
class Fourth(Plugin):
    def run(self, x):
        return x * 5
@area.register
def _of_int(x: int):
    return x * 6
@area.register(str)
def _of_text(x):
    return x * 7
@functools.singledispatch
def local(x):
    return x * 8
@local.register
def _local(x: float):
    return x * 9
HERE = {}
def here(name):
    def put(fn):
        HERE[name] = fn
        return fn
    return put
@here("a")
def at_home(x):
    return x * 10
""",
    "flow.py": """
import base, impls
from base import REGISTRY, PAIRS, TABLE, Plugin, Shapes, area
from impls import HERE, local

def by_name(x): return REGISTRY["first"](x)
def by_module(x): return base.REGISTRY["second"](x)
def by_pair(x): return PAIRS[0][0](x)
def by_table(x): return TABLE.entries["third"](x)
def by_class(x): return Plugin.known["Fourth"]().run(x)
def by_type(x): return area(x)
def by_local(x): return local(x)
def by_method(x): return Shapes().area(x)
def by_home(x): return HERE["a"](x)
def by_module_attribute(x): return base.area(x)
""",
}
EDITS = {
    "by_name": ("part(x) * 2", "first"),
    "by_module": ("x * 3", "second"),
    "by_pair": ("x * 1\n", "part"),
    "by_table": ("x * 4", "third"),
    "by_class": ("x * 5", "Fourth.run"),
    "by_type": ("x * 6", "_of_int"),
    "by_module_attribute": ("x * 7", "_of_text"),
    "by_local": ("x * 9", "_local"),
    "by_method": ("x * 11", "Shapes._"),
    "by_home": ("x * 10", "at_home"),
}
SHOW = """
import importlib, json, sys
from persistable.nodes.code import code_of
module = importlib.import_module("flow")
print(json.dumps({name: code_of(thing).fingerprint().to_json() for name, thing in vars(module).items() if name.startswith("by_")}))
"""


def taken(project: Any) -> dict[str, Any]:
    from persistable.nodes.code import Fingerprint

    return {name: Fingerprint.from_json(data) for name, data in project.last("-c", SHOW).items()}


def test_implementations_are_noticed(project: Any) -> None:
    """Each edit is named by the functions that may reach it, by the quick digest too."""
    before = taken(project.write(FILES))
    again = taken(project)
    assert all(compare(before[name], again[name]).same and before[name].quick == again[name].quick for name in before)
    for name, (old, part) in EDITS.items():
        file = next(each for each, text in FILES.items() if old in text)
        project.write(FILES).edit(file, old, old.replace("x", "(x + 1)", 1))
        now = taken(project)
        assert part in compare(before[name], now[name]).changed, name
        assert not now[name].quick or before[name].quick != now[name].quick
    project.write({**FILES, "impls.py": FILES["impls.py"] + "@area.register\ndef _of_float(x: float):\n    return x\n"})
    assert compare(before["by_type"], taken(project)["by_type"]).added == ["_of_float"]


def test_a_plugin_that_is_not_imported_is_not_missed(project: Any) -> None:
    """What another module registers is there once that module is imported: until then nothing is said of it."""
    before = taken(project.write(FILES))
    flow = FILES["flow.py"].replace("import base, impls", "import base").replace("from impls import HERE, local", "HERE = local = None")
    now = taken(project.write({**FILES, "flow.py": flow}))
    assert compare(before["by_name"], now["by_name"]).same


@pytest.mark.parametrize("how", ["dispatch", "registry", "replaced"])
def test_what_is_registered_later_is_a_new_look(how: str) -> None:
    """In one process: the code is looked at anew once there is another implementation, or another in its place."""
    namespace: dict[str, Any] = {"__name__": "later"}
    exec(
        "import functools\n"
        "@functools.singledispatch\ndef area(x):\n    return 0\nREGISTRY = {}\ndef old(x):\n    return 1\nREGISTRY['a'] = old\n"
        "def entry(x):\n    return area(x), REGISTRY['a'](x)\n",
        namespace,
    )
    entry = namespace["entry"]
    first = code_of(entry)
    assert code_of(entry) is first
    text = {
        "dispatch": "@area.register\ndef new(x: int):\n    return 1\n",
        "registry": "def new(x):\n    return 2\nREGISTRY['b'] = new\n",
        "replaced": "def new(x):\n    return 2\nREGISTRY['a'] = new\n",
    }[how]
    exec(text, namespace)
    assert code_of(entry) is not first
    assert "new" in code_of(entry).parts
