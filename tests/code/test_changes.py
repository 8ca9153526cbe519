"""What counts as a change of the generating code, and what does not: files edited between two processes."""

from __future__ import annotations

from typing import Any

import pytest

from persistable.nodes.code import compare, is_same_code

FILES = {
    "pk/__init__.py": "",
    "pk/deep.py": """
import logging

log = logging.getLogger(__name__)
OFFSET = 3
UNUSED = 4

def deepest(x):
    log.info("called")
    return x + OFFSET

def unused(x):
    return x + UNUSED
""",
    "pk/mid.py": """
from . import deep
from pk.deep import OFFSET as K

def middle(x, *, n=4):
    return deep.deepest(x) * n - K

def captured_target(x):
    return x - 11

def pair(a, b):
    return a + b
""",
    "pk/decorators.py": """
import functools

def wrapping(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)
    return wrapper

def bare(by):
    def decorate(function):
        def inner(*args):
            return by * function(*args)
        return inner
    return decorate
""",
    "pk/flows.py": '''
import enum
import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import pk.mid
from pk.decorators import bare, wrapping
from pk.mid import captured_target, pair

CALLS = []
COUNT = 0
WEIGHTS = {"a": 1.5, "b": [1, 2]}
BASE = 10
DERIVED = [n * BASE for n in range(3)]
SIZE = 5

def build(n):
    return [n, n + 1]

BUILT = build(4)
square = lambda x: x * x
TABLE = {"x": lambda v: v + 1, "y": pk.mid.pair}

def cheap(x, size=SIZE):
    return x * size

def make(n):
    def scaled(x):
        return captured_target(x) * n
    return scaled

triple = make(3)
add_two = functools.partial(pair, 2)

@wrapping
def wrapped(x):
    return x - 1

@bare(by=6)
def bare_wrapped(x):
    return x - 2

@functools.lru_cache
def cached(x):
    return x - 3

class Kind(enum.Enum):
    A = 1
    B = 2

@dataclass
class Options:
    rate: float = 0.1
    name: str = "n"

    def step(self, x):
        return x * self.rate + self._twist(x)

    def _twist(self, x):
        return x % 7

    def never_used(self):
        return 99

class Pair(NamedTuple):
    left: int
    right: int = 2

class Base:
    SHARED = 1

    def inherited(self, x):
        return pk.mid.middle(x)

    def overridden(self, x):
        return x + 100

class Points(Base):
    """Points."""

    FACTOR = 7
    version = 1

    def _generate_payload(self, **untracked: Any) -> Any:
        """Make them."""
        global COUNT
        COUNT += 1
        CALLS.append(1)
        total = self.inherited(1) + self.FACTOR + self.overridden(2) + self.SHARED
        total += square(2) + triple(3) + add_two(4) + wrapped(5) + bare_wrapped(6) + cached(7) + cheap(8)
        total += Options().step(9) + Pair(1).right + Kind.A.value + len(WEIGHTS) + len(TABLE) + DERIVED[0] + BUILT[0]
        return total + self.attribute + self.static(1) + self.of_class() + sum(f"{total:>{10}} {x!r}" == "" for x in range(3))

    def overridden(self, x):
        return x + 1

    @property
    def attribute(self):
        return 12

    @functools.cached_property
    def lazily(self):
        return 13

    @staticmethod
    def static(x):
        return x + 14

    @classmethod
    def of_class(cls):
        return cls.inner()

    @classmethod
    def inner(cls):
        return 15 + cls().lazily

    def _validate_payload(self, payload):
        return payload > 0

    def unrelated(self):
        return 16
''',
}

CHANGES: dict[str, tuple[str, str, str, list[str]]] = {
    "the method": ("pk/flows.py", "total = self.inherited(1)", "total = self.inherited(2)", ["Points._generate_payload"]),
    "another hook": ("pk/flows.py", "payload > 0", "payload > 1", ["Points._validate_payload"]),
    "a helper two modules away": ("pk/deep.py", "return x + OFFSET", "return x - OFFSET", ["deepest"]),
    "a helper one module away": ("pk/mid.py", "* n - K", "* n + K", ["middle"]),
    "a constant two modules away": ("pk/deep.py", "OFFSET = 3", "OFFSET = 30", ["K", "OFFSET"]),
    "a literal default": ("pk/mid.py", "n=4", "n=5", ["middle"]),
    "a constant behind a default": ("pk/flows.py", "SIZE = 5", "SIZE = 6", ["SIZE", "cheap"]),
    "a dictionary": ("pk/flows.py", '"b": [1, 2]', '"b": [1, 3]', ["WEIGHTS"]),
    "a constant behind a constant": ("pk/flows.py", "BASE = 10", "BASE = 11", ["BASE"]),
    "a function that made a constant": ("pk/flows.py", "[n, n + 1]", "[n, n + 2]", ["build"]),
    "the argument that made a constant": ("pk/flows.py", "build(4)", "build(5)", ["BUILT"]),
    "a lambda": ("pk/flows.py", "lambda x: x * x", "lambda x: x + x", ["square"]),
    "a lambda in a table": ("pk/flows.py", "v + 1", "v + 2", ["TABLE", "TABLE.<lambda>"]),
    "a function in a table": ("pk/mid.py", "return a + b", "return a - b", ["pair"]),
    "a closure": ("pk/flows.py", "captured_target(x) * n", "captured_target(x) + n", ["scaled", "make"]),
    "a captured value": ("pk/flows.py", "triple = make(3)", "triple = make(4)", ["scaled"]),
    "what a closure calls": ("pk/mid.py", "x - 11", "x - 12", ["captured_target"]),
    "a partial's argument": ("pk/flows.py", "partial(pair, 2)", "partial(pair, 3)", ["add_two"]),
    "a decorator that wraps": ("pk/decorators.py", "return function(*args)\n", "return function(*args) + 1\n", ["wrapper", "wrapping"]),
    "a decorator that does not": ("pk/decorators.py", "by * function(*args)", "by + function(*args)", ["inner", "bare"]),
    "a decorator's argument": ("pk/flows.py", "@bare(by=6)", "@bare(by=7)", ["inner", "bare_wrapped"]),
    "a function decorated with wraps": ("pk/flows.py", "return x - 1\n", "return x - 10\n", ["wrapped"]),
    "a function decorated without": ("pk/flows.py", "return x - 2\n", "return x - 20\n", ["bare_wrapped"]),
    "a cached function": ("pk/flows.py", "return x - 3\n", "return x - 30\n", ["cached"]),
    "an enum": ("pk/flows.py", "    A = 1", "    A = 3", ["Kind"]),
    "a dataclass default": ("pk/flows.py", "rate: float = 0.1", "rate: float = 0.2", ["Options"]),
    "a helper class's method": ("pk/flows.py", "return x * self.rate", "return x + self.rate", ["Options.step"]),
    "a method that method calls": ("pk/flows.py", "x % 7", "x % 8", ["Options._twist"]),
    "a named tuple": ("pk/flows.py", "right: int = 2", "right: int = 3", ["Pair"]),
    "an inherited method": ("pk/flows.py", "return pk.mid.middle(x)", "return pk.mid.middle(-x)", ["Base.inherited"]),
    "a class attribute": ("pk/flows.py", "FACTOR = 7", "FACTOR = 8", ["Points.FACTOR"]),
    "an inherited attribute": ("pk/flows.py", "SHARED = 1", "SHARED = 2", ["Base.SHARED"]),
    "a property": ("pk/flows.py", "return 12", "return 120", ["Points.attribute"]),
    "a cached property": ("pk/flows.py", "return 13", "return 130", ["Points.lazily"]),
    "a staticmethod": ("pk/flows.py", "x + 14", "x + 140", ["Points.static"]),
    "a classmethod": ("pk/flows.py", "return cls.inner()", "return -cls.inner()", ["Points.of_class"]),
    "a classmethod called by it": ("pk/flows.py", "return 15", "return 150", ["Points.inner"]),
    "a decorator taken away": ("pk/flows.py", "@wrapping\ndef", "def", ["wrapped"]),
    "a counter's start": ("pk/flows.py", "COUNT = 0", "COUNT = 1", ["COUNT"]),
}

SAME: dict[str, tuple[str, str, str]] = {
    "a comment": ("pk/flows.py", "        global COUNT\n", "        # why\n        global COUNT  # because\n"),
    "blank lines": ("pk/flows.py", "class Points(Base):", "\n\n\n\nclass Points(Base):"),
    "a docstring": ("pk/flows.py", '"""Make them."""', '"""Make very many of them.\n\n        Really.\n        """'),
    "a docstring added": ("pk/deep.py", "    log.info", '    """Deep."""\n    log.info'),
    "a docstring taken away": ("pk/flows.py", '        """Make them."""\n', ""),
    "pass on a line of its own": ("pk/mid.py", "return a + b", "pass\n    return a + b"),
    "a long line split": (
        "pk/flows.py",
        "total = self.inherited(1) + self.FACTOR",
        "total = (\n            self.inherited(1)\n            + self.FACTOR"[:0]
        + "total = self.inherited(\n            1,\n        ) + self.FACTOR",
    ),
    "quotes": ("pk/deep.py", '"called"', "'called'"),
    "a string in two pieces": ("pk/deep.py", '"called"', '"cal" "led"'),
    "parentheses": ("pk/deep.py", "return x + OFFSET", "return (x + (OFFSET))"),
    "a literal in hexadecimal": ("pk/flows.py", "return 12\n", "return 0xC\n"),
    "annotations": ("pk/mid.py", "def middle(x, *, n=4):", "def middle(x: float, *, n: int = 4) -> float:"),
    "a local annotation": ("pk/flows.py", "        total = self", "        total: float = self"),
    "an annotated constant": ("pk/flows.py", "SIZE = 5", "SIZE: int = 5"),
    "a function nobody calls": ("pk/deep.py", "x + UNUSED", "x - UNUSED"),
    "a constant nobody reads": ("pk/deep.py", "UNUSED = 4", "UNUSED = 40"),
    "a method nobody calls": ("pk/flows.py", "return 16", "return 160"),
    "a helper's method nobody calls": ("pk/flows.py", "return 99", "return 990"),
    "an overridden method": ("pk/flows.py", "return x + 100", "return x + 1000"),
    "the version": ("pk/flows.py", "version = 1", "version = 2"),
    "a new import": ("pk/flows.py", "import enum", "import enum\nimport json"),
    "a line that is no code": ("pk/mid.py", "return a + b", "'note to self'\n    return a + b"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_named(project: Any, change: str) -> None:
    """Editing what generates is noticed in another process, and named."""
    file, old, new, names = CHANGES[change]
    before = project.write(FILES).fingerprint()
    after = project.edit(file, old, new).fingerprint()
    found = compare(before, after)
    assert not found.same
    assert sorted(found.changed) == sorted(names)
    assert not is_same_code(before, after)


@pytest.mark.parametrize("change", SAME)
def test_cosmetics_are_not_noticed(project: Any, change: str) -> None:
    """Comments, docstrings, layout, annotations and code that is not reached make no difference."""
    file, old, new = SAME[change]
    before = project.write(FILES).fingerprint()
    after = project.edit(file, old, new).fingerprint()
    assert compare(before, after).describe() == ""
    assert is_same_code(before, after)


def test_an_untouched_project_is_equal_by_its_quick_digest(project: Any) -> None:
    """In another process, under another hash seed, the quick digest of unchanged code is the same: no source is read."""
    first = project.write(FILES).fingerprint(PYTHONHASHSEED="1")
    second = project.fingerprint(PYTHONHASHSEED="2")
    assert first.quick
    assert first == second


def test_comments_do_not_even_cost_the_quick_digest(project: Any) -> None:
    """Lines move, the quick digest stays."""
    first = project.write(FILES).fingerprint()
    file, old, new = SAME["a comment"]
    assert first.quick
    assert project.edit(file, old, new).fingerprint().quick == first.quick


def test_everything_reached_has_a_source(project: Any) -> None:
    """In an ordinary package no part has to fall back to bytecode."""
    parts = project.write(FILES).fingerprint().parts
    assert {name for name, part in parts.items() if not part.startswith(("s:", "i:"))} == set()
    assert "unused" not in parts
    assert "Points.unrelated" not in parts


def test_reformatted_by_black_is_the_same(project: Any) -> None:
    """A whole project reformatted, at another line length, compares equal."""
    import black

    before = project.write(FILES).fingerprint()
    for name, text in FILES.items():
        (project.folder / name).write_text(black.format_str(text, mode=black.Mode(line_length=40)))
    assert (project.folder / "pk/flows.py").read_text() != FILES["pk/flows.py"]
    after = project.fingerprint()
    assert compare(before, after).describe() == ""


DOMAIN = """
from dataclasses import dataclass
from persistable import Persistable

@dataclass
class Item:
    cost: int
    def priced(self):
        return self.cost * 2

@dataclass
class ItemsParams:
    n: int
    def most(self):
        return self.n - 1

class Items(Persistable[list[Item], ItemsParams]):
    def _generate_payload(self):
        return []

class Total(Persistable[int, None]):
    items: Items
    def _generate_payload(self):
        return sum(item.priced() for item in self.items.payload) + self.items.params.most()
"""


@pytest.mark.parametrize(("old", "new"), [("cost * 2", "cost * 3"), ("n - 1", "n - 2")], ids=["of its payload", "of its params"])
def test_methods_of_what_a_role_brings_are_noticed(project: Any, old: str, new: str) -> None:
    """The class of a role declares its payload and its params: what is called on them is code of whoever calls it."""
    before = project.write({"pk/__init__.py": "", "pk/domain.py": DOMAIN}).fingerprint("pk.domain:Total")
    after = project.edit("pk/domain.py", old, new).fingerprint("pk.domain:Total")
    assert len(compare(before, after).changed) == 1
